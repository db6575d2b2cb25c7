"""detections.json: COCO's results format with names, written and read.

write_detections_json("results/new/detections.json", records, classes)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect.errors import UserError
from duckdetect.imaging.geometry import (
    RLE_KEY,
    check_segmentation,
    detection_rles,
    is_number,
    rle_column,
    to_xywh,
)
from duckdetect.imaging.io import MAX_PIXELS
from duckdetect.utils.outputs import own_output
from duckdetect.utils.schema import parse_json

if TYPE_CHECKING:
    from supervision import Detections

Record = (
    tuple[int, str, "Detections"]  # image_id, file_name, what was found there
    | tuple[int, str, "Detections", dict[str, Any]]  # and more that is written with each detection
)


_MOST_PX = 1e9  # beyond any image; float32 holds it

_MOST_ID = 1 << 53  # what a JSON number holds exactly


def write_detections_json(
    path: str | Path,
    records: Iterable[Record],
    classes: Sequence[str],
    verb: str | None = None,
    digits: int | None = 3,
) -> None:
    """Write detections in COCO's results format and two names more, one detection a line.

    Detections with identities get "track_id" as well.

    Args:
        path: The file; an older one is replaced once all is written.
        records: (image_id, file_name, detections) for each picture, and a dictionary of what else
            each detection's line shall say, if anything; may be a generator.
        classes: Name of each class id; `category_id` is the class id + 1, as in a data set's COCO.
        verb: As in `own_output`.
        digits: To which boxes are rounded; None for all, so that what is read is what was.
    """
    # What a file's name holds beside Unicode becomes JSON's own escape.
    errors = "backslashreplace"
    with (
        own_output(path, verb) as part,
        part.open("w", encoding="utf-8", errors=errors) as file,
    ):
        between = "[\n"
        for image_id, file_name, detections, *more in records:
            for row in _rows(image_id, file_name, detections, classes, digits):
                row = {**row, **(more[0] if more else {})}
                file.write(between + json.dumps(row, allow_nan=False, ensure_ascii=False))
                between = ",\n"
        file.write("[]\n" if between == "[\n" else "\n]\n")


def _rows(
    image_id: int,
    file_name: str,
    detections: Detections,
    classes: Sequence[str],
    digits: int | None,
) -> Iterator[dict[str, Any]]:
    if len(detections) == 0:
        return
    if detections.confidence is None or detections.class_id is None:
        raise ValueError("detections need scores and class ids to be written")
    # float32 corners and their differences are exact in float64.
    xywh = to_xywh(detections.xyxy)
    xywh = xywh if digits is None else xywh.round(digits)
    rles = detection_rles(detections)
    for index, bbox in enumerate(xywh.tolist()):
        class_id = int(detections.class_id[index])
        row: dict[str, Any] = {
            "image_id": int(image_id),
            "file_name": file_name,
            "category_id": class_id + 1,
            "category_name": classes[class_id],
            "bbox": bbox,
            # The shortest number that is this score: 0.87, not 0.8700000047683716.
            "score": float(str(detections.confidence[index])),
        }
        if detections.tracker_id is not None:
            row["track_id"] = int(detections.tracker_id[index])
        if rles is not None:
            row["segmentation"] = rles[index]
        yield row


def file_names(paths: Sequence[Path]) -> dict[Path, str]:
    """What each picture is called in the tables: its name, behind its folders where several share it."""
    names = {path: path.name for path in paths}
    for depth in range(2, 1 + max((len(path.parts) for path in names), default=0)):
        count = Counter(names.values())
        shared = [path for path, name in names.items() if count[name] > 1]
        names.update({path: Path(*path.parts[-depth:]).as_posix() for path in shared})
    return names


def read_detections(
    path: str | Path, cure: str = "detect again", check_masks: bool = True
) -> list[tuple[int, str, Detections]]:
    """The detections of each picture, in the file's order.

    Args:
        path: detections.json, or COCO's results without its names, as runs of 0.1.0 keep them.
        cure: What an error tells the user to do.
        check_masks: Whether every mask's run lengths are read, a millisecond each.

    Returns:
        (image_id, file_name, detections) as `write_detections_json` took them: boxes in pixels,
        scores, class ids from 0, names in `data["class_name"]`; masks as run lengths, which are
        drawn and written again as masks are (`masks.decode_rle` makes pixels of one).

    Raises:
        UserError: If the file is missing or something else.
    """
    path = Path(path)
    rows = parse_json(path, cure)
    by_image: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        trouble = _trouble(row, check_masks)
        if trouble:
            raise UserError(f"{path}, detection {number}: {trouble}: {cure}")
        by_image.setdefault((row["image_id"], row.get("file_name", "")), []).append(row)
    return [(*image, _detections(found)) for image, found in by_image.items()]


def _trouble(row: Any, check_masks: bool) -> str | None:
    if not isinstance(row, dict):
        return "is no detection"
    category_id, box = row.get("category_id"), row.get("bbox")
    if type(row.get("image_id")) is not int or not 0 <= row["image_id"] < _MOST_ID:
        return "has no image_id"
    if type(category_id) is not int or not 1 <= category_id < _MOST_ID:
        return "has no category_id from 1"
    if row.get("track_id") is not None and not _is_id(row["track_id"]):
        return "has a track_id that is no whole number"
    if not isinstance(row.get("file_name", ""), str):
        return "has a file_name that is no text"
    if not is_number(row.get("score")) or not 0 <= row["score"] <= 1:
        return "has no score from 0 to 1"
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_pixel, box)):
        return "has no bbox of four numbers"
    if box[2] < 0 or box[3] < 0:
        return "has a bbox of a negative width or height"
    outline = row.get("segmentation")
    if outline is None:
        return None
    size_hw = outline.get("size") if isinstance(outline, dict) else None
    if not isinstance(size_hw, list) or len(size_hw) != 2 or not all(map(_is_id, size_hw)):
        return "its mask has no size"
    if size_hw[0] * size_hw[1] > MAX_PIXELS:
        return f"its mask is larger than any image that is read ({MAX_PIXELS / 1e6:.0f} megapixels)"
    return check_segmentation(outline, (size_hw[0], size_hw[1]))[1] if check_masks else None


def _is_pixel(value: Any) -> bool:
    return is_number(value) and abs(value) < _MOST_PX


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST_ID


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
