"""Masks as pixels: from COCO's outlines, to its run lengths and back.

    mask = rasterise(annotation["segmentation"], size_hw)  # (h, w) bool
    row["segmentation"] = encode_mask(mask)                # for a JSON file
    mask = decode_rle(row["segmentation"])

Which outlines can be used is checked in segmentation.py, when labels are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from duckdetect.segmentation import run_lengths

if TYPE_CHECKING:
    from supervision import Detections

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


def tight_xyxy(masks: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The smallest boxes around masks (N, h, w), as (N, 4) float32; zeros around an empty mask."""
    xyxy = np.zeros((len(masks), 4), np.float32)
    for row, mask in zip(xyxy, masks, strict=True):
        columns, lines = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if len(columns):
            row[:] = columns[0], lines[0], columns[-1] + 1, lines[-1] + 1
    return xyxy


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
