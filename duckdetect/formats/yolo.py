"""YOLO: `data.yaml` with the class names, and for each picture a text file of normalised boxes.

A line is `class x_centre y_centre width height` or, for a polygon, `class x1 y1 x2 y2 x3 y3 ...`, all
as parts of the picture's width and height. A picture without a text file, or with an empty one, has
no object.
"""

from __future__ import annotations

import codecs
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from duckdetect.errors import UserError
from duckdetect.pictures import list_pictures, natural_key, picture_size_hw
from duckdetect.samples import SPLIT_NAMES, Dataset, Label, Problem, Report, Sample, make_sample

_YAML = ("data.yaml", "dataset.yaml", "data.yml")


def find(folder: Path) -> dict[str | None, Path]:
    """The YAML file of a folder for each split that it names; `train` at least.

    Others must be there, too: Roboflow names them all, also those that an export does not have.
    """
    source = next((folder / name for name in _YAML if (folder / name).is_file()), None)
    if source is None:
        return {}
    found: dict[str | None, Path] = {"train": source}
    for split in ("valid", "test"):
        with contextlib.suppress(UserError):  # `read` tells what is wrong with the file
            _pictures_folder(source, _settings(source), split)
            found[split] = source
    return found


def read(source: Path, split: str | None, report: Report) -> Dataset:
    """Read one split that a YAML file names, `train` if None."""
    settings = _settings(source)
    classes = settings["names"]
    folder = _pictures_folder(source, settings, split or "train")
    pictures = list_pictures(folder)
    labels_folder = _labels_folder(folder)
    _report_left_over(pictures, folder, labels_folder, report)
    samples: list[Sample] = []
    for picture in pictures:
        labels = _labels(picture, labels_folder, len(classes), report)
        sample = make_sample(picture, len(samples) + 1, None, labels, report)
        if sample is not None:
            samples.append(sample)
    return Dataset(source.parent, classes, tuple(samples))


def _settings(source: Path) -> dict[str, Any]:
    """The YAML file's content, its `names` a tuple."""
    try:
        settings = yaml.safe_load(source.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{source} is not YAML ({reason}): export the labels again") from error
    names = settings.get("names") if isinstance(settings, dict) else None
    if isinstance(names, dict):
        # Ultralytics numbers them; a gap would shift all classes after it.
        names = [names[i] for i in sorted(names)] if set(names) == set(range(len(names))) else None
    if not isinstance(names, list) or not names:
        raise UserError(
            f"{source} is no YOLO data file: give `names`, a list of class names or numbered from 0"
        )
    return {**settings, "names": tuple(str(name) for name in names)}


def _named(settings: dict[str, Any], split: str) -> Any:
    """What the YAML file says of a split's pictures, or None."""
    return next((settings[key] for key in SPLIT_NAMES[split] if settings.get(key)), None)


def _pictures_folder(source: Path, settings: dict[str, Any], split: str) -> Path:
    named = _named(settings, split)
    if not isinstance(named, str):
        what = f"has no split {split!r}" if named is None else f"{split!r} is {str(named)[:60]!r}"
        raise UserError(f"{source}: {what}: give the folder of its pictures")
    relative = named.replace("\\", "/")
    parts = [part for part in relative.split("/") if part not in ("", ".", "..")]
    bases = [source.parent / str(settings.get("path") or ""), source.parent]
    # Roboflow writes "../train/images" although the folder lies beside data.yaml; others write paths
    # of the machine that the labels were made on, whose last parts may hold here.
    tails = ["/".join(parts), relative, "/".join(parts[-2:]), *parts[-1:]]
    for base in bases:
        for tail in tails:
            for folder in (base / tail / "images", base / tail):
                if folder.is_dir() and any(folder.glob("*.*")):
                    return folder
    raise UserError(
        f"{source}: the folder {relative!r} of split {split!r} is missing or empty: mend its path"
    )


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
            if path.stem not in counts and path.name != "classes.txt":
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
    content = path.read_bytes()
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if utf_16 else "utf-8-sig", errors="replace")
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
