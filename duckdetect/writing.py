"""Writing a folder of labelled pictures in one of the formats; `converting` and `splitting` use it.

lost = write_splits({"train": train, "valid": valid}, "yolo", "ducks-yolo")
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from duckdetect.datasets import holds_labels
from duckdetect.errors import UserError
from duckdetect.files import atomic_path
from duckdetect.formats import coco, voc, yolo_writing
from duckdetect.joining import classes_alike
from duckdetect.pictures import PICTURE_SUFFIXES
from duckdetect.samples import Dataset

FORMATS = ("coco", "voc", "yolo")


def write_splits(
    parts: Mapping[Any, Dataset], to: str, out: str | Path, overwrite: bool = False
) -> list[str]:
    """Write data sets with copies of their pictures; the folder appears whole or not at all.

    coco is Roboflow's layout, `SPLIT/_annotations.coco.json`; voc an XML file beside each picture in
    `SPLIT/`; yolo `data.yaml`, `SPLIT/images` and `SPLIT/labels`. What is not of a split (None) goes
    into the folder itself, in YOLO into `train`.

    Args:
        parts: A data set for each split, `train`, `valid`, `test` or None.
        to: "coco", "voc" or "yolo".
        out: The folder.
        overwrite: Replace a data set that is there already.

    Returns:
        A line for each thing that the format cannot hold.

    Raises:
        UserError: If the format is unknown, the folder holds something, or a name cannot be written.
    """
    out = Path(out)
    if to not in FORMATS:
        raise UserError(f"there is no format {to!r}: give one of {', '.join(FORMATS)}")
    parts = classes_alike(parts)
    check_out(out, parts.values(), overwrite)
    if to == "yolo" and None in parts:
        if "train" in parts:
            raise UserError(
                f"{parts[None].root} holds labels of its own and a train split, both would be YOLO's "
                "train: write them one by one"
            )
        parts = {split or "train": part for split, part in parts.items()}
    with atomic_path(out) as folder:
        folder.mkdir()
        lost: Counter[str] = Counter()
        for split, part in parts.items():
            lost += _WRITERS[to](folder / (split or ""), part)
        if to == "yolo":
            classes = next(iter(parts.values())).classes
            folders = {str(split): f"{split}/images" for split in parts}
            yolo_writing.write_settings(folder / "data.yaml", classes, folders)
    return [f"{count} {what}" for what, count in lost.items() if count]


def file_names(dataset: Dataset, by_stem: bool) -> list[str]:
    """A name for each sample's picture that no other has, its own where that is free.

    Args:
        dataset: Its samples may come from several folders.
        by_stem: Two names must differ in more than the suffix (YOLO and Pascal VOC name a picture's
            labels by it). Case does not count, as on Windows and Macs.
    """
    taken: set[str] = set()
    names = []
    for sample in dataset.samples:
        path, number = sample.path, 1
        name = path.name
        while (Path(name).stem if by_stem else name).casefold() in taken:
            number += 1
            name = f"{path.stem}_{number}{path.suffix}"
        taken.add((Path(name).stem if by_stem else name).casefold())
        names.append(name)
    return names


def _write_coco(folder: Path, dataset: Dataset) -> Counter[str]:
    names = file_names(dataset, by_stem=False)
    lost = _copy(dataset, folder, names)
    coco.write_coco(folder / coco.ROBOFLOW, dataset, names)
    return lost


def _write_voc(folder: Path, dataset: Dataset) -> Counter[str]:
    _check_names(dataset)
    names = file_names(dataset, by_stem=True)
    return _copy(dataset, folder, names) + voc.write(folder, dataset, names)


def _write_yolo(folder: Path, dataset: Dataset) -> Counter[str]:
    _check_names(dataset)
    names = file_names(dataset, by_stem=True)
    lost = _copy(dataset, folder / "images", names)
    labels = folder / "labels"
    labels.mkdir()
    return lost + yolo_writing.write_labels(labels, dataset, names)


_WRITERS: dict[str, Callable[[Path, Dataset], Counter[str]]] = {
    "coco": _write_coco,
    "voc": _write_voc,
    "yolo": _write_yolo,
}


def _copy(dataset: Dataset, folder: Path, names: Sequence[str]) -> Counter[str]:
    folder.mkdir(parents=True, exist_ok=True)
    lost: Counter[str] = Counter()
    for sample, name in zip(dataset.samples, names, strict=True):
        try:
            # The bytes alone: pictures of a read-only place must not make the copies read-only.
            shutil.copyfile(sample.path, folder / name)
        except OSError as error:
            raise UserError(
                f"{sample.path} cannot be copied ({error.strerror}): check it, and the space left"
            ) from error
        lost["pictures are renamed: two would have the same name"] += name != sample.path.name
    return lost


def _check_names(dataset: Dataset) -> None:
    for sample in dataset.samples:
        name = sample.path.name
        if sample.path.suffix.lower() not in PICTURE_SUFFIXES or name.startswith("."):
            raise UserError(
                f"{sample.path} would not be taken for a picture: name it as one "
                f"({', '.join(PICTURE_SUFFIXES)})"
            )
    for name in dataset.classes:
        if not name.isprintable() or name != name.strip():
            raise UserError(f"{dataset.root}: the class name {name!r} cannot be written: rename it")


def check_out(out: Path, sources: Iterable[Dataset], overwrite: bool) -> None:
    """Refuse to put a folder in the place of something that is not an older data set."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file, not a folder: choose another --out")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{out} holds something already: choose another --out, or --overwrite it")
    for dataset in sources:
        for sample in dataset.samples:
            if sample.path.resolve().is_relative_to(out.resolve()):
                raise UserError(f"{out} holds the pictures to be read: choose another --out")
    if not holds_labels(out):
        raise UserError(f"{out} holds something else than a data set: choose another --out")
