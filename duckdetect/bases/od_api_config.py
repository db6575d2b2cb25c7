"""Reading the Object Detection API's configuration messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from duckdetect.bases.od_api_import import text_format
from duckdetect.errors import UserError


def parse_config(path: Path, message: Any) -> Any:
    """Read a text file into a message, or raise UserError."""
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except text_format.ParseError as error:
        raise UserError(f"{path} is no pipeline.config ({error}): fetch the base again") from error


def input_hw(name: str, resizer: Any) -> tuple[int, int]:
    """The model's input size in pixels; every picture is brought to it."""
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
