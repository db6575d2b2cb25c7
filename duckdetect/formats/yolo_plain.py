"""YOLO without `data.yaml`: LabelImg's and Label Studio's `classes.txt`, CVAT's `obj.data`.

images/a.jpg  labels/a.txt  classes.txt       Label Studio
a.jpg  a.txt  classes.txt                     LabelImg
obj.data  obj.names  train.txt  obj_train_data/a.jpg  obj_train_data/a.txt     CVAT's YOLO 1.1
"""

from __future__ import annotations

from pathlib import Path

from duckdetect.errors import UserError
from duckdetect.formats.yolo import find_file, listed_pictures
from duckdetect.formats.yolo_lines import CLASS_FILES, read_pictures, read_text
from duckdetect.pictures import list_pictures
from duckdetect.samples import SPLIT_NAMES, Dataset, Report

_LISTS = "obj.data"


def find(folder: Path) -> dict[str | None, Path]:
    """The file that says what there is, by split; None where there are none."""
    if (folder / _LISTS).is_file():
        settings = _settings(folder / _LISTS)
        splits = [s for s, names in SPLIT_NAMES.items() if any(name in settings for name in names)]
        return dict.fromkeys(splits or ["train"], folder / _LISTS)
    for name in CLASS_FILES:
        # A list of classes alone says little: other tools write one, too.
        if (folder / name).is_file() and any(
            path.name not in CLASS_FILES
            for place in (folder, folder / "labels")
            for path in place.glob("*.txt")
        ):
            return {None: folder / name}
    return {}


def read(source: Path, split: str | None, report: Report) -> Dataset:
    """Read the pictures of a folder with `classes.txt`, or one split of `obj.data`."""
    folder = source.parent
    if source.name != _LISTS:
        images = folder / "images"
        pictures = list_pictures(images if images.is_dir() else folder)
        return read_pictures(folder, _class_names(source), pictures, report)
    settings = _settings(source)
    listed = next((settings[n] for n in SPLIT_NAMES[split or "train"] if n in settings), None)
    if listed is None:
        raise UserError(f"{source} names no list of pictures (train = train.txt): export it again")
    names = folder / settings.get("names", "obj.names").replace("\\", "/").rpartition("/")[2]
    if not names.is_file():
        raise UserError(f"{names} is missing: export the labels again")
    path = find_file([folder], listed.replace("\\", "/"))
    if path is None:
        raise UserError(f"{source}: the list {listed!r} is missing: export the labels again")
    pictures = listed_pictures(path, folder, report)
    return read_pictures(folder, _class_names(names), pictures, report)


def _class_names(path: Path) -> tuple[str, ...]:
    lines = [line.strip() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:  # an empty line between others keeps its number
        lines.pop()
    if not lines:
        raise UserError(f"{path} is empty: write a class name a line")
    return tuple(lines)


def _settings(path: Path) -> dict[str, str]:
    """Lines of `key = value`."""
    pairs = (line.partition("=") for line in read_text(path).splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}
