"""Writing YOLO: a text file of normalised boxes or outlines for each picture, and `data.yaml`.

Our own and not supervision's writer (0.31): that rounds to five decimals, a fortieth of a pixel in a
picture of 4,000, draws outlines as pixels and traces them anew, without three quarters of their
points, and makes a separate object of each part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from duckdetect.errors import UserError
from duckdetect.samples import Dataset

# What is read back is kept in single precision: nine decimals are finer than that.
_DECIMALS = 9


def write_settings(path: Path, classes: Sequence[str], folders: Mapping[str, str]) -> None:
    """Write `data.yaml`.

    Args:
        path: The file.
        classes: Their names by class id.
        folders: For `train`, `valid` and `test` the folder of pictures, from the file's own.

    Raises:
        UserError: If there is no class: nothing reads such a file.
    """
    if not classes:
        raise UserError(f"{path.parent.name} would have no class, which YOLO needs: label a box")
    keys = {"train": "train", "valid": "val", "test": "test"}
    settings: dict[str, Any] = {keys[split]: folder for split, folder in folders.items()}
    settings |= {"nc": len(classes), "names": list(classes)}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def write_labels(folder: Path, dataset: Dataset, file_names: Sequence[str]) -> Counter[str]:
    """Write a text file for each picture, an empty one where there is no object.

    Args:
        folder: An existing folder.
        dataset: What to write.
        file_names: For each sample the name of its picture.

    Returns:
        What the format cannot hold, and how often that was met.
    """
    lost: Counter[str] = Counter()
    for sample, name in zip(dataset.samples, file_names, strict=True):
        size_wh = np.array(sample.size_hw[::-1], float)
        outlines = sample.segmentation or [None] * len(sample.class_id)
        lines = []
        for xyxy, class_id, crowd, outline in zip(
            sample.xyxy.astype(float), sample.class_id, sample.crowd, outlines, strict=True
        ):
            if crowd:
                # Written, it would be learnt as one object; Ultralytics leaves them out as well.
                lost["crowd or difficult boxes are left out: YOLO cannot mark them"] += 1
                continue
            points = None
            if isinstance(outline, dict):
                lost["masks of run lengths are left out, their boxes kept: YOLO has none"] += 1
            elif outline:
                points = _one_outline(outline, size_wh)
                lost["outlines of several parts are joined by lines: YOLO holds one part"] += (
                    len(outline) > 1
                )
            if points is None:
                values = np.concatenate([(xyxy[:2] + xyxy[2:]) / 2, xyxy[2:] - xyxy[:2]])
                values /= np.tile(size_wh, 2)
            else:
                values = (points / size_wh).ravel()
                extent = np.concatenate([points.min(axis=0), points.max(axis=0)])
                lost["boxes move by over a pixel: YOLO takes them from the outlines"] += bool(
                    np.abs(extent - xyxy).max() > 1
                )
            numbers = [np.format_float_positional(v, _DECIMALS, trim="-") for v in values]
            lines.append(f"{class_id} {' '.join(numbers)}\n")
        (folder / f"{Path(name).stem}.txt").write_text("".join(lines), encoding="utf-8")
    return lost


def _one_outline(polygons: Sequence[Sequence[float]], size_wh: np.ndarray) -> np.ndarray | None:
    """The polygons inside the picture, joined into one: (N, 2) pixels, None if no area is left.

    A part is joined where it comes nearest, by a line there and back that has no area. All parts
    turn the same way round, so that the area of the whole is the sum of theirs.
    """
    parts = [np.clip(np.array(p, float).reshape(-1, 2), 0, size_wh) for p in polygons]
    parts = [part for part in parts if _area(part) != 0]
    if len(parts) < 2:
        return parts[0] if parts else None
    parts = [part if _area(part) > 0 else part[::-1] for part in parts]
    whole = parts[0]
    for part in parts[1:]:
        distance = np.linalg.norm(whole[:, None] - part[None], axis=2)  # (N, M)
        here, there = np.unravel_index(int(distance.argmin()), distance.shape)
        ring = np.concatenate([part[there:], part[: there + 1]])
        whole = np.concatenate([whole[: here + 1], ring, whole[here:]])
    return whole


def _area(points: np.ndarray) -> float:
    """With a sign: positive if the points turn from x to y."""
    x, y = (points - points[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
