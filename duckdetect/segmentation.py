"""COCO's outlines of objects: polygons and run-length encodings, checked and measured.

    outline, trouble = check_segmentation(annotation["segmentation"], size_hw)
    area = segmentation_area(outline)

A polygon is a flat list x1, y1, x2, y2, ... in pixels, an object a list of them. A run-length encoding
is `{"size": [height, width], "counts": runs}`: runs of pixels outside and inside the object in turn,
down the columns, as numbers or as pycocotools' string. What is checked here is what makes pycocotools
fail, or silently take something else: four numbers are a box to it. Their pixels: masks.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def check_segmentation(value: Any, size_hw: tuple[int, int]) -> tuple[Any, str | None]:
    """What of a segmentation can be used, and what is wrong with the rest.

    Args:
        value: As the annotation has it.
        size_hw: The picture's size in pixels, which a run-length encoding must have.

    Returns:
        The good polygons, the encoding or None, and what is wrong or None.
    """
    if not value:
        return None, None
    if isinstance(value, dict):
        trouble = _rle_trouble(value, size_hw)
        return (None, trouble) if trouble else (value, None)
    if not isinstance(value, list):
        return None, "its outline is no list of polygons"
    troubles = [_polygon_trouble(polygon) for polygon in value]
    good = [polygon for polygon, trouble in zip(value, troubles, strict=True) if not trouble]
    return good or None, next((trouble for trouble in troubles if trouble), None)


def segmentation_area(value: Any) -> float:
    """The area in square pixels of what `check_segmentation` found good.

    Polygons are measured by the shoelace formula and summed, as COCO's own `area` is; pixels of a
    run-length encoding are counted.
    """
    if isinstance(value, dict):
        return float(sum(run_lengths(value["counts"])[1::2]))
    return float(sum(_shoelace(np.array(polygon, float).reshape(-1, 2)) for polygon in value))


def _shoelace(points: np.ndarray) -> float:
    x, y = (points - points[0]).T  # near the origin, where products of coordinates stay exact
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _polygon_trouble(polygon: Any) -> str | None:
    if not isinstance(polygon, list) or not all(is_number(v) for v in polygon):
        return "a polygon of its outline is no list of finite numbers"
    if len(polygon) % 2:
        return f"a polygon of its outline has {len(polygon)} numbers, not pairs"
    if len(polygon) < 6:
        return f"a polygon of its outline has {len(polygon) // 2} points, not 3 or more"
    return None


def _rle_trouble(value: dict[str, Any], size_hw: tuple[int, int]) -> str | None:
    if value.get("size") != list(size_hw):
        return f"its mask's size is {value.get('size')!r}, the picture's {list(size_hw)}"
    try:
        runs = run_lengths(value.get("counts"))
    except (IndexError, TypeError, ValueError):
        return "its mask's run lengths cannot be read"
    if min(runs, default=0) < 0 or sum(runs) != math.prod(size_hw):
        return "its mask's run lengths do not fill the picture"
    return None


def run_lengths(counts: Any) -> list[int]:
    """The runs outside and inside an object in turn, from a list or pycocotools' string.

    Raises:
        IndexError, TypeError, ValueError: If they cannot be read.
    """
    if isinstance(counts, list):
        if not all(type(v) is int for v in counts):
            raise TypeError("run lengths must be whole numbers")
        return counts
    return _unpacked(counts)


def _unpacked(text: str) -> list[int]:
    """Read pycocotools' string: six bits a character, five of the number and one for "more follows".

    The last character's highest bit of the five is the sign; from the fourth number on, the
    difference to the number two before is written.
    """
    runs: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            bits = ord(text[position]) - 48
            if not 0 <= bits < 64:
                raise ValueError(f"character {position} is not of this encoding")
            value |= (bits & 31) << shift
            more = bool(bits & 32)
            position += 1
            shift += 5
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False
