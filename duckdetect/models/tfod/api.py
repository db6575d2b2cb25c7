"""The TF2 Object Detection API, imported with care, and its pipeline configurations."""

from __future__ import annotations

import importlib.util
import logging
import sys
import types
import warnings
from pathlib import Path
from typing import Any

from duckdetect.errors import UserError

if "tensorflow_io" not in sys.modules and importlib.util.find_spec("tensorflow_io") is None:
    sys.modules["tensorflow_io"] = types.ModuleType("tensorflow_io")

try:
    with warnings.catch_warnings():
        # The API is no longer maintained: its deprecations are known and not for the user to fix.
        warnings.simplefilter("ignore")
        from google.protobuf import text_format
        from object_detection.builders import model_builder
        from object_detection.core import box_list, box_list_ops, target_assigner
        from object_detection.protos import model_pb2, pipeline_pb2
        from object_detection.utils import ops
except ModuleNotFoundError as error:
    raise UserError(
        f"the TF2 Object Detection API cannot be imported ({error}): run "
        "`pip install --no-deps --require-hashes -r requirements-odapi.txt`"
    ) from error

# The API logs each layer that it builds at INFO, through absl; errors still come through.
logging.getLogger("absl").setLevel(logging.ERROR)

__all__ = [
    "box_list",
    "box_list_ops",
    "input_hw",
    "model_builder",
    "model_pb2",
    "ops",
    "parse_config",
    "pipeline_pb2",
    "resize_input",
    "target_assigner",
    "text_format",
]


def parse_config(path: Path, message: Any) -> Any:
    """Read a text file into a message, or raise UserError."""
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except text_format.ParseError as error:
        raise UserError(f"{path} is no pipeline.config ({error}): fetch the base again") from error


def input_hw(name: str, resizer: Any) -> tuple[int, int]:
    """The model's input size in pixels; every image is brought to it."""
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    if kind == "keep_aspect_ratio_resizer":
        settings = resizer.keep_aspect_ratio_resizer
        if settings.pad_to_max_dimension:
            return settings.max_dimension, settings.max_dimension
    raise UserError(
        f"{name}: its image resizer {kind} has no fixed size: choose another base model"
    )


def resize_input(resizer: Any, size: int) -> None:
    """Give a model an input of another size in pixels, the longer side if they differ."""
    if resizer.WhichOneof("image_resizer_oneof") == "keep_aspect_ratio_resizer":
        settings = resizer.keep_aspect_ratio_resizer
        scale = size / settings.max_dimension
        settings.min_dimension = round(settings.min_dimension * scale)
        settings.max_dimension = size
    else:
        fixed = resizer.fixed_shape_resizer
        scale = size / max(fixed.height, fixed.width)
        fixed.height, fixed.width = round(fixed.height * scale), round(fixed.width * scale)
