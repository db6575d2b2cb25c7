"""SSD-family models of the TF2 Object Detection API: RetinaNet, SSD MobileNet, EfficientDet.

`load_base` builds a model from its pipeline.config with the user's number of classes, restores all
but the class head, and offers it as a `base.BaseModel`: the frozen part and the heads apart, so that
training need not run the frozen part again. Losses, matching, coding and layers are the API's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from duckdetect.bases.od_api_config import parse_config
from duckdetect.bases.od_api_import import model_pb2, pipeline_pb2
from duckdetect.bases.od_api_ssd import SsdModel
from duckdetect.bases.od_api_weights import (
    checkpoint_class_head,
    restore_checkpoint,
    restore_frozen_graph,
)
from duckdetect.errors import UserError
from duckdetect.zoo import BaseFiles

_FROZEN_CONFIG = Path(__file__).with_name("ssd_mobilenet_v2.pbtxt")


def load_base(files: BaseFiles, num_classes: int, seed: int = 0) -> SsdModel:
    """Build a base model for new classes and restore its weights.

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
    if files.pipeline_config is None or files.checkpoint is None:
        raise UserError(f"{files.folder} lacks a pipeline.config or a checkpoint: fetch it again")
    config = parse_config(files.pipeline_config, pipeline_pb2.TrainEvalPipelineConfig()).model
    base = build_base(name, config, num_classes, seed)
    restore_checkpoint(base.model, files.checkpoint)
    base.own_class_head = checkpoint_class_head(files.checkpoint, base.levels)
    return base


def build_base(name: str, config: Any, num_classes: int, seed: int = 0) -> SsdModel:
    """Build a model from a `DetectionModel` message, with random weights."""
    if config.WhichOneof("model") != "ssd":
        raise UserError(
            f"{name} is a {config.WhichOneof('model')} model: choose one of the SSD family "
            "(`duckdetect bases` lists them)"
        )
    config = type(config).FromString(config.SerializeToString())
    config.ssd.num_classes = num_classes
    # Batch statistics of a handful of pictures would ruin the ones learnt from COCO.
    config.ssd.freeze_batchnorm = True
    base = SsdModel(name, config)
    base.reset_class_head(seed)
    return base
