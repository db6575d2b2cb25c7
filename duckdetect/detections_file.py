"""Reads detections.json back, as `write_detections_json` of render.py wrote it.

    for image_id, file_name, detections in read_detections("results/new/detections.json"):
        picture = draw_detections(load_picture(folder / file_name), detections, classes)

A picture in which nothing was found is not in the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect.errors import UserError
from duckdetect.masks import RLE_KEY, rle_column
from duckdetect.segmentation import check_segmentation, is_number

if TYPE_CHECKING:
    from supervision import Detections


def read_detections(path: str | Path) -> list[tuple[int, str, Detections]]:
    """The detections of each picture, in the file's order.

    Args:
        path: detections.json.

    Returns:
        (image_id, file_name, detections) as `write_detections_json` took them: boxes in pixels,
        scores, class ids from 0, names in `data["class_name"]`; masks as run lengths, which are
        drawn and written again as masks are (`masks.decode_rle` makes pixels of one).

    Raises:
        UserError: If the file is missing or something else.
    """
    path = Path(path)
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}): detect again") from error
    by_picture: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        trouble = _trouble(row)
        if trouble:
            raise UserError(f"{path}, detection {number}: {trouble}: detect again")
        by_picture.setdefault((row["image_id"], row["file_name"]), []).append(row)
    return [(*picture, _detections(found)) for picture, found in by_picture.items()]


def _trouble(row: Any) -> str | None:
    if not isinstance(row, dict):
        return "is no detection"
    category_id, box = row.get("category_id"), row.get("bbox")
    if type(row.get("image_id")) is not int:
        return "has no image_id"
    if not isinstance(category_id, int) or category_id < 1:
        return "has no category_id from 1"
    if not isinstance(row.get("file_name"), str) or not is_number(row.get("score")):
        return "has no file_name or score"
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
        return "has no bbox of four numbers"
    outline = row.get("segmentation")
    if outline is None:
        return None
    size_hw = outline.get("size") if isinstance(outline, dict) else None
    if not isinstance(size_hw, list) or [type(side) for side in size_hw] != [int, int]:
        return "its mask has no size"
    return check_segmentation(outline, (size_hw[0], size_hw[1]))[1]


def _detections(rows: list[dict[str, Any]]) -> Detections:
    import supervision as sv

    x, y, width, height = np.array([row["bbox"] for row in rows], np.float64).T
    data: dict[str, Any] = {
        "class_name": np.array([str(row.get("category_name", "")) for row in rows])
    }
    if all(row.get("segmentation") for row in rows):
        data[RLE_KEY] = rle_column([row["segmentation"] for row in rows])
    return sv.Detections(
        xyxy=np.stack([x, y, x + width, y + height], axis=1).astype(np.float32),
        confidence=np.array([row["score"] for row in rows], np.float32),
        class_id=np.array([row["category_id"] - 1 for row in rows], np.int64),
        tracker_id=np.array([row["track_id"] for row in rows], np.int64)
        if all(type(row.get("track_id")) is int for row in rows)
        else None,
        data=data,
    )
