"""A Mask R-CNN small enough to be trained in tests: the zoo's configuration on five layers.

All but the two feature extractors is the API's, built by its own builder from the zoo's settings;
anchors, proposals and masks are scaled down with the input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from helpers.bases import views

from duckdetect.data.augment import View
from duckdetect.models.tfod.api import model_builder, model_pb2, pipeline_pb2, text_format
from duckdetect.models.tfod.load import build_two_stage
from duckdetect.models.tfod.rcnn import RcnnModel

_Extractor = model_builder.faster_rcnn_meta_arch.FasterRCNNKerasFeatureExtractor
_BatchNorm = model_builder.hyperparams_builder.freezable_batch_norm.FreezableBatchNorm
MASK_RCNN_CONFIG = Path(__file__).parent / "data" / "mask_rcnn.pbtxt"


class TinyExtractor(_Extractor):
    """Four layers before the proposals, stride 8, and one after them."""

    def preprocess(self, resized_inputs):
        return (2.0 / 255.0) * resized_inputs - 1.0

    def _block(self, inputs, depth, stride):
        out = tf.keras.layers.Conv2D(
            depth, 3, stride, "same", use_bias=False, kernel_initializer="he_normal"
        )(inputs)
        return tf.keras.layers.ReLU()(_BatchNorm(training=self._train_batch_norm)(out))

    def get_proposal_feature_extractor_model(self, name=None):
        inputs = out = tf.keras.Input([None, None, 3])
        for depth, stride in ((24, 2), (48, 2), (64, 2), (64, 1)):
            out = self._block(out, depth, stride)
        return tf.keras.Model(inputs, out, name=name)

    def get_box_classifier_feature_extractor_model(self, name=None):
        inputs = tf.keras.Input([None, None, 64])
        return tf.keras.Model(inputs, self._block(inputs, 96, 1), name=name)


model_builder.FASTER_RCNN_KERAS_FEATURE_EXTRACTOR_CLASS_MAP["tiny"] = TinyExtractor


def zoo_config() -> Any:
    """The zoo's Mask R-CNN as a `DetectionModel` message."""
    return text_format.Parse(MASK_RCNN_CONFIG.read_text(), model_pb2.DetectionModel())


def tiny_config(side_px: int = 128, masks: bool = True) -> Any:
    """The zoo's configuration, scaled down."""
    config = zoo_config()
    rcnn = config.faster_rcnn
    rcnn.image_resizer.fixed_shape_resizer.height = side_px
    rcnn.image_resizer.fixed_shape_resizer.width = side_px
    rcnn.feature_extractor.type = "tiny"
    rcnn.feature_extractor.batch_norm_trainable = True
    anchors = rcnn.first_stage_anchor_generator.grid_anchor_generator
    anchors.height = anchors.width = 64
    anchors.height_stride = anchors.width_stride = 8
    rcnn.first_stage_box_predictor_depth = 64
    rcnn.first_stage_minibatch_size = 32  # of few anchors, few match
    rcnn.first_stage_max_proposals = 32
    rcnn.second_stage_batch_size = 16
    rcnn.initial_crop_size = 7
    head = rcnn.second_stage_box_predictor.mask_rcnn_box_predictor
    head.mask_height = head.mask_width = 14
    head.mask_prediction_num_conv_layers = 2
    head.predict_instance_masks = masks
    if not masks:
        rcnn.number_of_stages = 2
    return config


def tiny_rcnn(num_classes: int = 1, seed: int = 0, config: Any = None) -> RcnnModel:
    """The small model with random weights, the same for the same seed."""
    tf.keras.utils.set_random_seed(seed)
    return build_two_stage("tiny", config or tiny_config(), num_classes, seed)


def write_archive(folder: Path, base: RcnnModel, num_classes: int) -> Path:
    """The zoo's archive of a model, unpacked; the checkpoint is written by the API's own model."""
    message = pipeline_pb2.TrainEvalPipelineConfig()
    message.model.CopyFrom(tiny_config())
    message.model.faster_rcnn.num_classes = num_classes
    folder.mkdir(parents=True)
    (folder / "pipeline.config").write_text(text_format.MessageToString(message))
    tf.train.Checkpoint(model=base.model).write(str(folder / "checkpoint" / "ckpt-0"))
    return folder


def matched_views(base: RcnnModel, n: int, seed: int = 0) -> list[View]:
    """Noise pictures with 0 to 3 boxes near what an untrained first stage proposes, each an ellipse."""
    rng = np.random.default_rng(seed)
    made = []
    for i, view in enumerate(views(n, base.num_classes, seed)):
        height, width = view.image.shape[:2]
        inputs, filled_hw = base.prepare(tf.constant(view.image))
        first = base.objectness(base.features(inputs[tf.newaxis]), training=True)
        boxes, count = base.propose(*first, filled_hw[tf.newaxis])
        parts = base.to_parts(boxes)[0].numpy()[: int(count[0])]
        near = parts[rng.permutation(len(parts))[: i % 4]]
        y1x1y2x2 = np.clip(near + rng.normal(0, 0.01, near.shape), 0, 1)
        xyxy = y1x1y2x2[:, [1, 0, 3, 2]] * [width, height, width, height]
        class_id = rng.integers(0, base.num_classes, len(xyxy))
        masks = ellipses(xyxy, (height, width))
        made.append(View(view.image, xyxy.astype(np.float32), class_id, view.name, masks))
    return made


def ellipses(xyxy: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """(N, H, W) bool: the ellipse that fills each box."""
    masks = np.zeros((len(xyxy), *size_hw), bool)
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    for mask, (x1, y1, x2, y2) in zip(masks, xyxy, strict=True):
        y = (rows - (y1 + y2) / 2) / ((y2 - y1) / 2)
        x = (columns - (x1 + x2) / 2) / ((x2 - x1) / 2)
        mask[:] = x**2 + y**2 <= 1
    return masks


def provide(base: RcnnModel, views: list[View]) -> tuple[tf.Tensor, tf.Tensor]:
    """Give the API's model the views' boxes and masks; its inputs and their shapes."""
    boxes, classes, masks, inputs, shapes = [], [], [], [], []
    for view in views:
        height, width = view.image.shape[:2]
        image, shape = base.model.preprocess(tf.constant(view.image[None], tf.float32))
        scale = np.array([height, width, height, width], np.float32)
        boxes.append(tf.constant(view.xyxy[:, [1, 0, 3, 2]] / scale, tf.float32))
        classes.append(tf.one_hot(view.class_id, base.num_classes))
        if view.masks is not None:
            masks.append(tf.constant(base.input_masks(view.masks), tf.float32))
        inputs.append(image)
        shapes.append(shape)
    base.model.provide_groundtruth(
        groundtruth_boxes_list=boxes,
        groundtruth_classes_list=classes,
        groundtruth_masks_list=masks or None,
    )
    return tf.concat(inputs, axis=0), tf.concat(shapes, axis=0)


def stock_losses(base: RcnnModel, views: list[View]) -> dict[str, float]:
    """The API's own prediction and loss on these views."""
    inputs, shapes = provide(base, views)
    losses = base.model.loss(base.model.predict(inputs, shapes), shapes)
    names = {
        "box": "BoxClassifierLoss/localization_loss",
        "class": "BoxClassifierLoss/classification_loss",
        "mask": "BoxClassifierLoss/mask_loss",
        "proposal_box": "RPNLoss/localization_loss",
        "proposal_class": "RPNLoss/objectness_loss",
    }
    found = {ours: losses.get(f"Loss/{theirs}") for ours, theirs in names.items()}
    return {name: float(loss) for name, loss in found.items() if loss is not None}
