"""YOLO's text files of labels; yolo.py and yolo_plain.py find them.

A line is `class x_centre y_centre width height` or, for a polygon, `class x1 y1 x2 y2 x3 y3 ...`, all
as parts of the picture's width and height. A picture without a text file, or with an empty one, has
no object.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from duckdetect.errors import UserError
from duckdetect.pictures import natural_key, picture_size_hw
from duckdetect.samples import Dataset, Label, Problem, Report, Sample, make_sample

CLASS_FILES = ("classes.txt", "obj.names")
"""What LabelImg and Label Studio, and CVAT, name the list of classes."""


def read_pictures(
    root: Path, classes: tuple[str, ...], pictures: Sequence[Path], report: Report
) -> Dataset:
    """Read the labels of pictures, each from `labels` in place of `images` in its path, or beside it."""
    by_folder: dict[Path, list[Path]] = {}
    for picture in pictures:
        by_folder.setdefault(picture.parent, []).append(picture)
    places = {folder: _labels_folder(folder) for folder in by_folder}
    for folder, of_folder in by_folder.items():
        _report_left_over(of_folder, folder, places[folder], report)
    samples: list[Sample] = []
    for picture in pictures:
        labels = _labels(picture, places[picture.parent], len(classes), report)
        sample = make_sample(picture, len(samples) + 1, None, labels, report)
        if sample is not None:
            samples.append(sample)
    return Dataset(root, classes, tuple(samples))


def read_text(path: Path) -> str:
    """A text file's content, with or without a byte order mark."""
    content = path.read_bytes()
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8-sig", errors="replace")


def _labels_folder(folder: Path) -> Path:
    """`labels` in place of the last `images` of the pictures' folder, or that folder itself."""
    if "images" not in folder.parts:
        return folder
    last = len(folder.parts) - 1 - folder.parts[::-1].index("images")
    beside = Path(*folder.parts[:last], "labels", *folder.parts[last + 1 :])
    return beside if beside.is_dir() else folder


def _report_left_over(
    pictures: list[Path], folder: Path, labels_folder: Path, report: Report
) -> None:
    """Tell of labels without a picture, pictures that share one, and of no labels at all."""
    if not any((labels_folder / f"{picture.stem}.txt").is_file() for picture in pictures):
        what = f"none of its {len(pictures)} pictures has a text file of labels"
        report(Problem(str(folder), what, "put them beside the pictures or in `labels`"))
    counts = Counter(picture.stem for picture in pictures)
    for picture in pictures:
        if counts[picture.stem] > 1 and (labels_folder / f"{picture.stem}.txt").is_file():
            what = f"shares its labels {picture.stem}.txt with another picture"
            report(Problem(str(picture), what, "rename one, with labels of its own"))
    if labels_folder != folder:  # among the pictures, a text file may be anything
        for path in sorted(labels_folder.glob("*.txt"), key=natural_key):
            if path.stem not in counts and path.name not in CLASS_FILES:
                what = f"has no picture in {folder}"
                report(Problem(str(path), what, "put the picture there, or remove its labels"))


def _labels(picture: Path, folder: Path, n_classes: int, report: Report) -> list[Label]:
    path = folder / f"{picture.stem}.txt"
    if not path.is_file():
        return []
    try:
        height, width = picture_size_hw(picture)
    except UserError:
        return []  # make_sample tells of the picture
    text = read_text(path)
    scale = np.array([width, height], float)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        problem, label = _parse_line(where, line, n_classes, scale)
        if problem:
            report(problem)
        if label:
            found.append(label)
    return found


def _parse_line(
    where: str, line: str, n_classes: int, scale: np.ndarray
) -> tuple[Problem | None, Label | None]:
    fields = line.split()
    try:
        # Some tools write the class as 0.0.
        class_number, values = float(fields[0]), np.array([float(v) for v in fields[1:]])
    except ValueError:
        return Problem(where, f"{line[:60]!r} is not all numbers", "export it again"), None
    if not (class_number.is_integer() and 0 <= class_number < n_classes):
        what = f"there is no class {fields[0]} (there are {n_classes}, from 0)"
        return Problem(where, what, "mend the number or add the name to data.yaml"), None
    class_id = int(class_number)
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        what = f"has {len(values)} numbers after the class"
        return Problem(where, what, "give 4 for a box, or pairs for 3 or more points"), None
    if not np.isfinite(values).all() or (values < -0.02).any() or (values > 1.02).any():
        return Problem(where, "a coordinate is not from 0 to 1", "export it normalised"), None
    if len(values) == 4:
        centre, size = values[:2] * scale, values[2:] * scale
        return None, Label(where, [*(centre - size / 2), *(centre + size / 2)], class_id)
    points = values.reshape(-1, 2) * scale
    xyxy = [*points.min(axis=0), *points.max(axis=0)]
    return None, Label(where, xyxy, class_id, segmentation=[points.ravel().tolist()])
