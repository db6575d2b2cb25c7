"""Boxes, polygons, run-length encodings and masks as geometry; IoU.

    outline, problem = check_segmentation(annotation["segmentation"], size_hw)
    mask = rasterise(outline, size_hw)                     # (h, w) bool
    row["segmentation"] = encode_mask(mask)                # for a JSON file
    mask = decode_rle(row["segmentation"])

A polygon is a flat list x1, y1, x2, y2, ... in pixels, an object a list of them. A run-length encoding
is `{"size": [height, width], "counts": runs}`: runs of pixels outside and inside the object in turn,
down the columns, as numbers or as pycocotools' string. `check_segmentation` refuses what makes
pycocotools fail, or silently take something else: four numbers are a box to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from supervision import Detections


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
    if not isinstance(counts, str):
        raise TypeError("run lengths must be a list or a text")
    return _unpacked(counts)


_MOST_BITS = 60  # of a run's length; no picture has so many pixels


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
            if shift > _MOST_BITS:
                raise ValueError(f"a run before character {position} is too long")
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


Mask = npt.NDArray[np.bool_]  # (h, w), or (N, h, w) for several

Rle = dict[str, Any]  # {"size": [height, width], "counts": str}

RLE_KEY = "segmentation"

"""Where `Detections.data` holds the run lengths of masks that were compacted."""


def to_rle(outline: Any, size_hw: tuple[int, int]) -> Rle:
    """A good outline as COCO's compressed run lengths; a thousandth of a mask's memory.

    Args:
        outline: Polygons or a run-length encoding that `check_segmentation` found good.
        size_hw: The picture's height and width in pixels.
    """
    from pycocotools import mask as coco_mask

    height, width = size_hw
    if isinstance(outline, dict):
        if not isinstance(outline["counts"], list):
            return {"size": [height, width], "counts": outline["counts"]}
        merged = coco_mask.frPyObjects(outline, height, width)
    else:
        # pycocotools walks along every edge: a corner far outside would cost gigabytes. Corners
        # within a picture's side of the picture stay where they are.
        low, high = [-width, -height], [2 * width, 2 * height]
        polygons = [
            np.clip(np.array(polygon, float).reshape(-1, 2), low, high).ravel().tolist()
            for polygon in outline
        ]
        merged = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return {"size": [height, width], "counts": merged["counts"].decode()}


def merged_rles(rles: Sequence[Rle]) -> Rle:
    """The pixels of any of these masks, of one size."""
    from pycocotools import mask as coco_mask

    merged = coco_mask.merge(list(rles))
    return {"size": list(merged["size"]), "counts": merged["counts"].decode()}


def rasterise(outline: Any, size_hw: tuple[int, int]) -> Mask:
    """A good outline as pixels, exactly as pycocotools draws it.

    Args:
        outline: As in `to_rle`.
        size_hw: The picture's height and width in pixels.

    Returns:
        (h, w) bool; all False for an outline that is thinner than a pixel.
    """
    return decode_rle(to_rle(outline, size_hw))


def draw_outlines(
    outlines: Sequence[Any], size_hw: tuple[int, int], out_hw: tuple[int, int] | None = None
) -> Mask | None:
    """The outlines of a picture's objects as pixels, for showing and for learning.

    Args:
        outlines: N outlines as in `to_rle`, None for an object that has none.
        size_hw: The picture's height and width in pixels.
        out_hw: The masks' height and width, if another: pixels are picked, not mixed.

    Returns:
        (N, h, w) bool, all False for an object without an outline; None if none has one.
    """
    if not any(outlines):
        return None
    out_hw = size_hw if out_hw is None else out_hw
    rows, columns = (
        ((np.arange(out) + 0.5) * size / out).astype(np.int64)
        for out, size in zip(out_hw, size_hw, strict=True)
    )
    masks = np.zeros((len(outlines), *out_hw), bool)
    for mask, outline in zip(masks, outlines, strict=True):
        if outline:
            mask[:] = rasterise(outline, size_hw)[rows[:, None], columns]
    return masks


def encode_mask(mask: npt.NDArray[Any]) -> Rle:
    """A mask (h, w) as COCO's compressed run lengths, with `counts` as JSON can hold them."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def decode_rle(rle: Rle) -> Mask:
    """Run lengths as a mask (h, w) bool.

    Raises:
        ValueError: If they do not fill the picture.
    """
    height, width = rle["size"]
    runs = run_lengths(rle["counts"])
    if sum(runs) != height * width:
        raise ValueError(f"run lengths of {sum(runs)} pixels in a picture of {height * width}")
    inside = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(inside, runs).reshape(width, height).T)


def area(rle: Rle) -> int:
    """How many pixels a mask has."""
    from pycocotools import mask as coco_mask

    return int(coco_mask.area(rle))


def rle_iou(one: Rle, other: Rle) -> float:
    """The IoU of two masks of one size."""
    from pycocotools import mask as coco_mask

    return float(coco_mask.iou([one], [other], [0])[0, 0])


def tight_xyxy(masks: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The smallest boxes around masks (N, h, w), as (N, 4) float32; zeros around an empty mask."""
    xyxy = np.zeros((len(masks), 4), np.float32)
    for row, mask in zip(xyxy, masks, strict=True):
        columns, lines = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if len(columns):
            row[:] = columns[0], lines[0], columns[-1] + 1, lines[-1] + 1
    return xyxy


def outline_xyxy(outline: Any, size_hw: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The smallest box (4,) around a good outline."""
    from pycocotools import mask as coco_mask

    if isinstance(outline, dict):
        x, y, width, height = coco_mask.toBbox(to_rle(outline, size_hw))
        return np.array([x, y, x + width, y + height])
    points = np.concatenate([np.array(polygon, float).reshape(-1, 2) for polygon in outline])
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def compacted(detections: Detections) -> Detections:
    """The same detections with run lengths in `data[RLE_KEY]` instead of masks, if they have any.

    A hundred masks of a photo take a gigabyte, their run lengths a few hundred kilobytes.
    """
    import supervision as sv

    rles = detection_rles(detections)
    if rles is None:
        return detections
    return sv.Detections(
        xyxy=detections.xyxy,
        confidence=detections.confidence,
        class_id=detections.class_id,
        tracker_id=detections.tracker_id,
        data={**detections.data, RLE_KEY: rle_column(rles)},
    )


def rle_column(rles: Sequence[Rle | None]) -> npt.NDArray[np.object_]:
    """Run lengths (N,) as `Detections.data` takes them: a column that is filtered with its rows."""
    column = np.empty(len(rles), object)
    column[:] = list(rles)
    return column


def detection_rles(detections: Detections) -> list[Rle] | None:
    """The run lengths of each detection's mask, compacted or not; None if there are no masks."""
    if detections.mask is not None:
        return [encode_mask(np.asarray(mask)) for mask in detections.mask]
    if RLE_KEY in detections.data:
        return list(detections.data[RLE_KEY])
    return None


def detection_masks(detections: Detections) -> Iterable[Mask] | None:
    """Each detection's mask in turn, compacted or not; None if there are no masks."""
    if detections.mask is not None:
        return (np.asarray(mask) for mask in detections.mask)
    if RLE_KEY in detections.data:
        return (decode_rle(rle) for rle in detections.data[RLE_KEY])
    return None


def to_xywh(xyxy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Corners (D, 4) as x, y, width, height (D, 4) float64: COCO's order."""
    xyxy = np.asarray(xyxy, np.float64)
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def to_normalised(
    xyxy: npt.NDArray[Any], size_hw: Sequence[int], filled_hw: npt.ArrayLike = (1.0, 1.0)
) -> npt.NDArray[Any]:
    """Pixels of a picture as parts of a model's input: xyxy (N, 4) to y1x1y2x2 (N, 4), same type.

    Args:
        xyxy: (N, 4) float, pixels of the picture.
        size_hw: The picture's height and width.
        filled_hw: (2,), the parts of the input's height and width that the picture fills.
    """
    scale_hw = (np.asarray(filled_hw) / np.asarray(size_hw)).astype(xyxy.dtype)
    return np.asarray(xyxy[:, [1, 0, 3, 2]] * np.tile(scale_hw, 2))


def from_normalised(
    y1x1y2x2: npt.NDArray[Any], size_hw: Sequence[int], filled_hw: npt.ArrayLike = (1.0, 1.0)
) -> npt.NDArray[Any]:
    """The inverse of `to_normalised`; what a box reaches beyond the picture is not clipped."""
    scale_hw = (np.asarray(size_hw) / np.asarray(filled_hw)).astype(y1x1y2x2.dtype)
    return np.asarray(y1x1y2x2[:, [1, 0, 3, 2]] * np.tile(scale_hw[::-1], 2))


def pairwise_iou(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes xyxy, (T, 4) and (N, 4): (T, N)."""
    one, other = one[:, None].astype(float), other[None].astype(float)
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    common = sides.clip(min=0).prod(axis=-1)
    areas = (one[..., 2:] - one[..., :2]).prod(axis=-1) + (other[..., 2:] - other[..., :2]).prod(
        axis=-1
    )
    return np.asarray(common / np.maximum(areas - common, 1e-9))


def turn_points(points: np.ndarray, orientation: int, stored_hw: tuple[int, int]) -> np.ndarray:
    """Where points of the stored pixels lie in the picture as it is shown.

    Args:
        points: (..., 2), x and y in pixels of the stored picture.
        orientation: EXIF's, 1 to 8 (CIPA DC-008, "Orientation").
        stored_hw: (height, width) of the stored picture.
    """
    height, width = stored_hw
    x, y = points[..., 0], points[..., 1]
    if orientation in (2, 3, 7, 8):
        x = width - x
    if orientation in (3, 4, 6, 7):
        y = height - y
    return np.stack([y, x] if orientation >= 5 else [x, y], axis=-1)


def turn_xyxy(xyxy: np.ndarray, orientation: int, stored_hw: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) of the stored pixels in the picture as it is shown; see `turn_points`."""
    corners = turn_points(xyxy.reshape(-1, 2, 2), orientation, stored_hw)  # (N, 2, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def turn_outline(outline: Any, orientation: int, stored_hw: tuple[int, int]) -> Any:
    """Polygons or run lengths of the stored pixels in the picture as it is shown."""
    if outline is None:
        return None
    if isinstance(outline, dict):
        mask = decode_rle(outline)
        mask = mask.T if orientation >= 5 else mask
        if orientation in (2, 3, 6, 7):
            mask = mask[:, ::-1]
        if orientation in (3, 4, 7, 8):
            mask = mask[::-1]
        return encode_mask(np.ascontiguousarray(mask))
    return [
        turn_points(np.array(p, float).reshape(-1, 2), orientation, stored_hw).ravel().tolist()
        for p in outline
    ]


def turned_box_xyxy(xyxy: Sequence[float], degrees: float) -> list[float]:
    """The outer box of a box that is turned about its middle, clockwise as it is seen."""
    x1, y1, x2, y2 = xyxy
    angle = math.radians(degrees)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    half_w = ((x2 - x1) * cos + (y2 - y1) * sin) / 2
    half_h = ((x2 - x1) * sin + (y2 - y1) * cos) / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return [x - half_w, y - half_h, x + half_w, y + half_h]
