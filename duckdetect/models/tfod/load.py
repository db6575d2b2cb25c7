"""From a base's files to a model: the Object Detection API's builder, and the weights restored.

base = load_base(fetch("ssd_mobilenet_v2"), num_classes=1)
base = load_two_stage(fetch("mask_rcnn"), num_classes=1)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdetect.errors import UserError, of_system, reason_of
from duckdetect.models.interfaces import Sizes
from duckdetect.models.tfod.api import model_pb2, parse_config, pipeline_pb2, resize_input
from duckdetect.models.tfod.checkpoints import (
    checkpoint_class_head,
    checkpoint_last_layers,
    restore_checkpoint,
    restore_frozen_graph,
)
from duckdetect.models.tfod.rcnn import RcnnModel
from duckdetect.models.tfod.ssd import SsdModel
from duckdetect.models.weights import BaseFiles

NO_CHANGE = Sizes()

_MOST_INPUT_PX = 4096  # EfficientDet D7's is 1536

_FROZEN_CONFIG = Path(__file__).with_name("ssd_mobilenet_v2.pbtxt")


def load_base(files: BaseFiles, num_classes: int, seed: int = 0) -> SsdModel:
    """Build a base model of the SSD family for new classes and restore its weights.

    Args:
        files: Where its weights and pipeline.config lie, from `zoo.fetch`.
        num_classes: How many classes the new class head tells apart, at least 1.
        seed: Seed of the new class head's weights.

    Raises:
        UserError: If the configuration is not of the SSD family or the weights do not fit it.
    """
    name = files.spec.name
    if files.frozen_graph is not None:
        config = parse_config(_FROZEN_CONFIG, model_pb2.DetectionModel())
        base = build_base(name, config, num_classes, seed)
        base.own_class_head = restore_frozen_graph(base.model, files.frozen_graph, base.levels)
        return base
    config, checkpoint = _zoo_files(files)
    base = build_base(name, config, num_classes, seed)
    restore_checkpoint(base.model, checkpoint)
    base.own_class_head = checkpoint_class_head(checkpoint, base.levels)
    return base


def load_two_stage(
    files: BaseFiles, num_classes: int, seed: int = 0, sizes: Sizes = NO_CHANGE
) -> RcnnModel:
    """The same for a Faster or Mask R-CNN; `sizes` changes its sizes."""
    config, checkpoint = _zoo_files(files)
    base = build_two_stage(files.spec.name, config, num_classes, seed, sizes)
    restore_checkpoint(base.model, checkpoint)
    base.own_last_layers = checkpoint_last_layers(checkpoint, base)
    return base


def _zoo_files(files: BaseFiles) -> tuple[Any, Path]:
    """The `DetectionModel` message of a zoo's archive, and its checkpoint."""
    if files.pipeline_config is None or files.checkpoint is None:
        raise UserError(f"{files.folder} lacks a pipeline.config or a checkpoint: fetch it again")
    message = parse_config(files.pipeline_config, pipeline_pb2.TrainEvalPipelineConfig())
    return message.model, files.checkpoint


def build_base(name: str, config: Any, num_classes: int, seed: int = 0) -> SsdModel:
    """Build a model of the SSD family from a `DetectionModel` message, with random weights."""
    _check_kind(name, config, "ssd")
    config = type(config).FromString(config.SerializeToString())
    config.ssd.num_classes = num_classes
    # Batch statistics of a handful of images would ruin those trained on COCO.
    config.ssd.freeze_batchnorm = True
    with _told(name):
        _check_input(config.ssd.image_resizer)
        base = SsdModel(name, config)
    base.reset_class_head(seed)
    return base


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Say what is wrong with a configuration, which may be a stranger's, in one line."""
    try:
        yield
    except Exception as error:  # the API's builders and TensorFlow raise a dozen kinds
        if isinstance(error, UserError) or of_system(error) is not None:
            raise
        reason = reason_of(error)
        raise UserError(
            f"{name} cannot be built from its pipeline.config ({reason}): get the base's files again"
        ) from error


def _check_input(resizer: Any) -> None:
    kind = resizer.WhichOneof("image_resizer_oneof")
    sides = [
        value
        for field, value in (getattr(resizer, kind).ListFields() if kind else ())
        if field.name in ("height", "width", "min_dimension", "max_dimension")
    ]
    if not sides or not 0 < min(sides) <= max(sides) <= _MOST_INPUT_PX:
        raise ValueError(f"images of {sides} pixels")


def _check_kind(name: str, config: Any, kind: str) -> None:
    if config.WhichOneof("model") != kind:
        raise UserError(
            f"{name} is a {config.WhichOneof('model')} model, not {kind}: fetch it again, or choose "
            "another base (`duckdetect bases` lists them)"
        )


def build_two_stage(
    name: str, config: Any, num_classes: int, seed: int = 0, sizes: Sizes = NO_CHANGE
) -> RcnnModel:
    """Build a Faster or Mask R-CNN from a `DetectionModel` message, with random weights."""
    _check_kind(name, config, "faster_rcnn")
    config = type(config).FromString(config.SerializeToString())
    rcnn = config.faster_rcnn
    depth_classes = rcnn.num_classes
    rcnn.num_classes = num_classes
    rcnn.feature_extractor.batch_norm_trainable = False  # as above
    # These say how a TPU shall compute the same.
    rcnn.use_static_shapes = rcnn.use_static_balanced_label_sampler = False
    rcnn.use_matmul_gather_in_matcher = rcnn.use_matmul_crop_and_resize = False
    if sizes.input_size is not None:
        resize_input(rcnn.image_resizer, sizes.input_size)
    if sizes.proposals is not None:
        rcnn.first_stage_max_proposals = sizes.proposals
    n_proposals = rcnn.first_stage_max_proposals
    if sizes.proposal_batch is not None and sizes.proposal_batch > n_proposals:
        raise UserError(
            f"proposal_batch is {sizes.proposal_batch}, but {name} makes {n_proposals} proposals: "
            "lower it or raise --proposals"
        )
    # Fewer proposals than the model's own batch of them: all are trained on.
    rcnn.second_stage_batch_size = sizes.proposal_batch or min(
        rcnn.second_stage_batch_size, n_proposals
    )
    with _told(name):
        _check_input(rcnn.image_resizer)
        base = RcnnModel(name, config, depth_classes)
    base.reset_last_layers(seed)
    return base
