"""Restoring weights: checkpoints and frozen graphs of the zoo; the base's own class head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from duckdetect.errors import UserError
from duckdetect.models.interfaces import ClassHead, LastLayer, Level
from duckdetect.utils.reading import read_bytes

if TYPE_CHECKING:
    from duckdetect.models.tfod.rcnn import RcnnModel

# The first id of each, from COCO's table of categories; ids that the data set dropped are counted too.
_FIRST_ID = {
    "person": 1,
    "vehicle": 2,
    "outdoor": 10,
    "animal": 16,
    "accessory": 26,
    "sports": 34,
    "kitchen": 44,
    "food": 52,
    "furniture": 62,
    "electronic": 72,
    "appliance": 78,
    "indoor": 84,
}

N_CLASSES = 90

COCO_GROUPS = tuple(
    max((first, name) for name, first in _FIRST_ID.items() if first <= number)[1]
    for number in range(1, N_CLASSES + 1)
)

"""The supercategory of each class id, from 0."""

BOX = "box_encodings"

CLASS = "class_predictions_with_background"

# RetinaNet, section 4.1 (arXiv 1708.02002): the last class layer starts with normal weights of this
# deviation and a bias that gives every anchor a foreground probability of 0.01.
_CLASS_KERNEL_STDDEV = 0.01

_CLASS_BIAS = -float(np.log((1 - 0.01) / 0.01))

_CLASS_HEAD = f"model/_box_predictor/_prediction_heads/{CLASS}"

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"

_FROZEN_SCOPE = "FeatureExtractor/MobilenetV2/"

_FROZEN_VARIABLE = {
    "kernel": "weights",
    "depthwise_kernel": "depthwise_weights",
    "bias": "biases",
}


def checkpoint_view(model: Any) -> tf.train.Checkpoint:
    """The part of a model that a zoo checkpoint restores: all but its class-specific layers.

    For RetinaNet this is what TensorFlow's few-shot notebook restores; it does for both kinds of box
    predictor. Attribute names are those that the API's checkpoints were written with.
    """
    if hasattr(model, "_mask_rcnn_box_predictor"):
        return _two_stage_view(model)
    predictor = model._box_predictor
    parts: dict[str, Any] = {}
    if hasattr(predictor, "_base_tower_layers_for_heads"):
        parts["_base_tower_layers_for_heads"] = predictor._base_tower_layers_for_heads
        # The towers' convolutions once more, as levels share them: checkpoints name them by this path.
        parts["_head_scope_conv_layers"] = predictor._head_scope_conv_layers
        parts["_additional_projection_layers"] = predictor._additional_projection_layers
        parts["_box_prediction_head"] = predictor._box_prediction_head
    else:
        parts["_shared_nets"] = predictor._shared_nets
        parts["_prediction_heads"] = tf.train.Checkpoint(**{BOX: predictor._prediction_heads[BOX]})
    return tf.train.Checkpoint(
        model=tf.train.Checkpoint(
            _feature_extractor=model._feature_extractor,
            _box_predictor=tf.train.Checkpoint(**parts),
        )
    )


def reset_class_layer(layer: Any, rng: np.random.Generator) -> None:
    """Give a one-stage class head's last layer new weights."""
    for variable in layer.weights:
        if "bias" in variable.name:
            variable.assign(tf.fill(variable.shape, _CLASS_BIAS))
        else:
            value = rng.normal(0.0, _CLASS_KERNEL_STDDEV, variable.shape)
            variable.assign(value.astype(np.float32))


def _two_stage_view(model: Any) -> tf.train.Checkpoint:
    """Of a Faster or Mask R-CNN's last layers only those are restored that all classes share."""
    predictor = model._mask_rcnn_box_predictor
    parts: dict[str, Any] = {}
    if predictor._box_prediction_head._share_box_across_classes:
        parts["_box_prediction_head"] = predictor._box_prediction_head
    heads = {}
    for name, head in predictor._third_stage_heads.items():
        layers = head._mask_predictor_layers
        kept = layers if head._masks_are_class_agnostic else layers[:-1]
        heads[name] = tf.train.Checkpoint(_mask_predictor_layers=list(kept))
    if heads:
        parts["_third_stage_heads"] = tf.train.Checkpoint(**heads)
    return tf.train.Checkpoint(
        model=tf.train.Checkpoint(
            **{
                name: getattr(model, name)
                for name in (
                    "_feature_extractor_for_proposal_features",
                    "_first_stage_box_predictor_first_conv",
                    "_first_stage_box_predictor",
                    "_feature_extractor_for_box_classifier_features",
                )
            },
            _mask_rcnn_box_predictor=tf.train.Checkpoint(**parts),
        )
    )


def restore_checkpoint(model: Any, prefix: Path) -> None:
    """Restore a built model from a TF2 checkpoint such as `checkpoint/ckpt-0`.

    Raises:
        UserError: If the checkpoint cannot be read, or lacks a variable that it should hold.
    """
    try:
        status = checkpoint_view(model).read(str(prefix))
        # Keras' empty containers hold no variable; all others must have found their value.
        status.assert_existing_objects_matched()
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"{prefix} does not fit this model ({_first_line(error)}): "
            "fetch the base model again, or give the checkpoint that belongs to its pipeline.config"
        ) from error
    # IndexError: TensorFlow's table of what belongs together, a protocol buffer, read from noise.
    except (tf.errors.OpError, OSError, IndexError) as error:
        raise UserError(
            f"{prefix} cannot be read ({_first_line(error)}): fetch the base model again"
        ) from error


def restore_frozen_graph(model: Any, path: Path, levels: Sequence[Level]) -> ClassHead:
    """Restore the built SSD MobileNet V2 from its frozen graph, constant by constant.

    Returns:
        The graph's own class head, for COCO's 90 classes.

    Raises:
        UserError: If the file is no such graph, or a constant is missing or has another shape.
    """
    constants = _read_constants(path)
    targets = {_frozen_name(v.name): v for v in model._feature_extractor.variables}
    for level, head in enumerate(model._box_predictor._prediction_heads[BOX]):
        kernel, bias = head._box_encoder_layers[-1].weights
        targets[f"BoxPredictor_{level}/BoxEncodingPredictor/weights"] = kernel
        targets[f"BoxPredictor_{level}/BoxEncodingPredictor/biases"] = bias
    for name, variable in targets.items():
        value = constants.get(name)
        if value is None or value.shape != tuple(variable.shape):
            found = "is missing" if value is None else f"has the shape {value.shape}"
            raise UserError(
                f"{path}: the constant {name} {found}, expected {tuple(variable.shape)}: "
                "give the frozen graph of ssd_mobilenet_v2_coco_2018_03_29"
            )
        variable.assign(value)
    scopes = [f"BoxPredictor_{i}/ClassPredictor" for i in range(len(levels))]
    return _by_class(
        [constants[f"{scope}/weights"] for scope in scopes],
        [constants[f"{scope}/biases"] for scope in scopes],
        levels,
    )


def checkpoint_class_head(prefix: Path, levels: Sequence[Level]) -> ClassHead | None:
    """A checkpoint's own class head; None where it is not one convolution."""
    reader = tf.train.load_checkpoint(str(prefix))
    found: dict[str, list[np.ndarray]] = {"kernel": [], "bias": []}
    for i in range(len(levels)):
        for name, values in found.items():
            for place in ("", f"{i}/"):  # one head for all levels, or one for each
                key = f"{_CLASS_HEAD}/{place}_class_predictor_layers/0/{name}{_VALUE}"
                if reader.has_tensor(key):
                    values.append(reader.get_tensor(key))
                    break
            else:
                return None
    return _by_class(found["kernel"], found["bias"], levels)


def checkpoint_last_layers(prefix: Path, base: RcnnModel) -> dict[str, LastLayer]:
    """A two-stage checkpoint's own class-specific layers, by the names of `base.last_layers`."""
    reader = tf.train.load_checkpoint(str(prefix))
    predictor = base.predictor
    lists = {
        "class": (
            "_class_prediction_head/_class_predictor_layers",
            predictor._class_prediction_head,
        ),
        "box": ("_box_prediction_head/_box_encoder_layers", predictor._box_prediction_head),
    }
    if base.has_masks:
        head = predictor._third_stage_heads["mask_predictions"]
        place = "_third_stage_heads/mask_predictions/_mask_predictor_layers"
        lists["mask"] = (place, head)
    found = {}
    for name, (layer, _) in base.last_layers().items():
        place, head = lists[name]
        at = next(
            i for i, known in enumerate(getattr(head, place.split("/")[-1])) if known is layer
        )
        key = f"model/_mask_rcnn_box_predictor/{place}/{at}"
        found[name] = LastLayer(
            reader.get_tensor(f"{key}/kernel{_VALUE}"), reader.get_tensor(f"{key}/bias{_VALUE}")
        )
    return found


def _by_class(
    kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray], levels: Sequence[Level]
) -> ClassHead:
    """Channels are numbered by anchor, then by class: give each an axis of its own."""
    q = [level.anchors_per_cell for level in levels]
    by_class = tuple(b.reshape(n, -1) for b, n in zip(biases, q, strict=True))
    is_coco = by_class[0].shape[1] == N_CLASSES + 1
    return ClassHead(
        tuple(k.reshape(*k.shape[:3], n, -1) for k, n in zip(kernels, q, strict=True)),
        by_class,
        COCO_GROUPS if is_coco else None,
    )


def _read_constants(path: Path) -> dict[str, np.ndarray]:
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(read_bytes(path))
    except Exception as error:  # protobuf's DecodeError lives elsewhere in each of its versions
        raise UserError(
            f"{path} cannot be read as a frozen graph ({_first_line(error)}): fetch it again"
        ) from error
    return {
        node.name: tf.make_ndarray(node.attr["value"].tensor)
        for node in graph.node
        if node.op == "Const" and node.name.startswith(("FeatureExtractor/", "BoxPredictor_"))
    }


def _frozen_name(keras_name: str) -> str:
    """Map a Keras variable's name to the frozen graph's, e.g. block_3_expand -> expanded_conv_3."""
    layer, variable = keras_name.removesuffix(":0").split("FeatureMaps/")[-1].rsplit("/", 1)
    if layer.startswith("layer_"):
        layer = re.sub(r"_depthwise_batchnorm$", "_depthwise/BatchNorm", layer)
        layer = re.sub(r"_batchnorm$", "/BatchNorm", layer)
        layer = re.sub(r"_conv$", "", layer)
    else:
        layer = re.sub(r"^bn_Conv1$", "Conv1_BN", layer).replace("Conv_1_bn", "Conv_1_BN")
        layer = re.sub(r"_BN$", "/BatchNorm", layer)
        layer = re.sub(r"^Conv1\b", "Conv", layer)
        layer = re.sub(r"^block_(\d+)_", r"expanded_conv_\1/", layer)
        layer = re.sub(r"^expanded_conv_(?=[a-z])", "expanded_conv/", layer)
    return f"{_FROZEN_SCOPE}{layer}/{_FROZEN_VARIABLE.get(variable, variable)}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
