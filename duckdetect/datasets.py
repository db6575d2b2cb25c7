"""Reading labelled pictures: COCO, Pascal VOC and YOLO, recognised by themselves; folders and zips.

dataset = load_dataset("images")            # a folder of labelled pictures
test = load_dataset("export.zip", "test")   # an export with train, valid and test in it
valid = load_dataset("split.json", "valid") # what `split_dataset` wrote
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from duckdetect.errors import UserError
from duckdetect.formats import coco, voc, yolo, yolo_plain
from duckdetect.joining import join
from duckdetect.samples import SPLIT_NAMES, Dataset, Problem, Report, Sample, strict
from duckdetect.split_files import picture_name, read_split_file
from duckdetect.zips import unpacked

__all__ = [
    "Dataset",
    "Problem",
    "Sample",
    "describe_dataset",
    "find_splits",
    "load_dataset",
    "read_dataset",
    "require_boxes",
]

# A folder may hold a list of classes beside Pascal VOC's files: plain YOLO comes last.
_READERS = (coco, yolo, voc, yolo_plain)


def load_dataset(path: str | Path, split: str | None = None) -> Dataset:
    """Read labelled pictures: a folder, a zip or a split file.

    The format is found out: `_annotations.coco.json` (Roboflow) or another COCO file in the folder or
    in `annotations/` (CVAT, Label Studio); `data.yaml` (YOLO); XML files beside the pictures or in
    `Annotations/` (Pascal VOC); YOLO's text files with `classes.txt` (LabelImg, Label Studio) or
    `obj.data` (CVAT). Pictures without objects are kept where the labels name them (COCO's `images`,
    an XML file without objects, an image of a YOLO split); pictures that no label names are left out.

    Args:
        path: A labelled folder, or one with splits: `train`, `valid`, `test` below it, a COCO file for
            each in `annotations/`, or as `data.yaml` says. A zip of any of these is unpacked once,
            into the cache. A split file takes the pictures it names from where it says; its splits
            share one table of classes. A split's own folder will do, too, also where it is none:
            "export.zip/test", "split.json/test".
        split: Which of them. If None, what the folder itself holds, and where it holds nothing but
            splits, `train`.

    Raises:
        UserError: At the first thing that is wrong; `check_dataset` lists all of them.
    """
    return read_dataset(Path(path), split, strict)


def load_training(
    path: str | Path, val: str | Path | None = None, use_valid: bool = True
) -> tuple[Dataset, Dataset | None]:
    """The pictures to train on and those to watch training with.

    Args:
        path: As `load_dataset`.
        val: Labelled pictures to watch with. If None, the `valid` split beside the `train` split that
            `path` holds, if there is one.
        use_valid: Whether that split may be taken.

    Raises:
        UserError: As `load_dataset`.
    """
    parts = list_parts(Path(path))
    if val is None and use_valid and None not in parts and "valid" in parts:
        return load_dataset(path), load_dataset(path, "valid")
    return load_dataset(path), None if val is None else load_dataset(val)


def read_dataset(path: Path, split: str | None, report: Report) -> Dataset:
    """`load_dataset` with all problems told to `report`; what has none is returned."""
    parts = _parts(path)
    if split is None:
        part = parts.get(None) or parts.get("train")
    else:
        itself = path.resolve().name in SPLIT_NAMES.get(split, ())
        part = parts.get(split) or (parts.get(None) if itself else None)
    if part is None:
        splits = ", ".join(name for name in parts if name is not None)
        cure = f"give one of {splits}" if splits else "leave the split out to read all of it"
        raise UserError(f"{path} has no split {split or 'train'!r}: {cure}")
    if part.reader is None:
        return read_dataset(part.source, None, report)
    return _checked(part.reader.read(part.source, part.split, report), report)


def find_splits(path: Path) -> dict[str, Path]:
    """The splits of a folder, `train`, `valid` and `test`: each one's folder or file of labels."""
    return {name: part.source for name, part in _parts(path).items() if name is not None}


def list_parts(path: Path) -> list[str | None]:
    """What `read_dataset` can read in a folder: its splits, and None for labels of its own."""
    return list(_parts(path))


def holds_labels(path: Path) -> bool:
    """Whether labels can be read there, good or bad ones; a folder named `test` alone is none."""

    def passed(problem: Problem) -> None:
        """All that counts is that there is something."""

    try:
        return any(len(read_dataset(path, name, passed)) > 0 for name in list_parts(path))
    except UserError:
        return False


class _Reader(Protocol):
    def find(self, folder: Path) -> dict[str | None, Path]: ...
    def read(self, source: Path, split: str | None, report: Report) -> Dataset: ...


class _SplitReader:
    """Reads the pictures that a split file names out of all that its data set holds."""

    def find(self, folder: Path) -> dict[str | None, Path]:
        return {}

    def read(self, source: Path, split: str | None, report: Report) -> Dataset:
        file = read_split_file(source)
        data = unpacked(file.data)
        whole = join([read_dataset(data, name, report) for name in list_parts(data)])
        samples = {picture_name(sample.path, data): sample for sample in whole}
        wanted = file.splits[split or "train"]
        for name in wanted:
            if name not in samples:
                what = f"the picture {name!r} is not among those of {data}"
                report(Problem(str(source), what, "put it back, or split the data set again"))
        left = samples.keys() - {name for names in file.splits.values() for name in names}
        if left:
            what = f"{len(left)} pictures are in no split ({sorted(left)[0]} ...)"
            cure = "split the data set again to use them"
            report(Problem(str(source), what, cure, "warning"))
        found = tuple(samples[name] for name in wanted if name in samples)
        return Dataset(source, whole.classes, found)


class _Part(NamedTuple):
    reader: _Reader | None  # None: `source` is a folder that is yet to be looked into
    source: Path
    split: str | None = None


def _parts(path: Path) -> dict[str | None, _Part]:
    """All that can be read in a folder by split; None stands for what the folder itself holds."""
    if not path.exists():
        return _named_split(path)
    if path.is_file() and path.suffix.lower() == ".json":
        return {split: _Part(_SplitReader(), path, split) for split in read_split_file(path).splits}
    path = unpacked(path)
    if not path.is_dir():
        raise UserError(f"{path} is a file: give the folder of labelled pictures, or a zip of it")
    parts: dict[str | None, _Part] = {}
    readers: tuple[_Reader, ...] = _READERS
    for reader in readers:
        found = reader.find(path)
        if found:
            parts = {split: _Part(reader, source, split) for split, source in found.items()}
            break
    labelled = bool(parts)
    for split, names in SPLIT_NAMES.items():
        for folder in (path / name for name in names):
            # Beside labels of its own, a folder may hold one of this name that means something else.
            if folder.is_dir() and split not in parts and (_has_labels(folder) or not labelled):
                parts[split] = _Part(None, folder)
    return parts or _of_parent(path) or _nothing(path)


def _named_split(path: Path) -> dict[str | None, _Part]:
    """`export.zip/test` and the like: a split that is no folder of its own."""
    for split, names in SPLIT_NAMES.items():
        if path.name in names and path.parent.exists():
            part = _parts(path.parent).get(split)
            if part is not None:
                return {None: part}
    raise UserError(f"{path} is not there: give a folder of labelled pictures")


def _has_labels(folder: Path) -> bool:
    readers: tuple[_Reader, ...] = _READERS
    return any(reader.find(folder) for reader in readers)


def _of_parent(path: Path) -> dict[str | None, _Part]:
    """YOLO's settings lie above its splits."""
    path = path.resolve()
    for split, source in yolo.find(path.parent).items():
        if split is not None and path.name in SPLIT_NAMES[split]:
            return {None: _Part(yolo, source, split)}
    return {}


def _nothing(path: Path) -> dict[str | None, _Part]:
    files = coco.json_files(path)
    if len(files) == 1:
        coco.parse(files[0])  # raises: it says why the one file that may hold labels does not
    raise UserError(
        f"{path} holds no labels (_annotations.coco.json, data.yaml or XML files): "
        "draw boxes with duckdetect.annotate, or give a labelled folder"
    )


def require_boxes(dataset: Dataset) -> None:
    """Raise UserError if there is nothing to learn: no picture, or no box in any of them."""
    if not dataset.samples:
        raise UserError(f"{dataset.root} holds no labelled picture: draw boxes on some first")
    if not any((~sample.crowd).any() for sample in dataset.samples):
        raise UserError(
            f"{dataset.root} has no box in any of its {len(dataset)} pictures: "
            "draw boxes around the object with duckdetect.annotate"
        )


def describe_dataset(dataset: Dataset) -> list[str]:
    """A few lines for people: pictures, boxes, classes, sizes."""
    empty = sum(len(s.class_id) == 0 for s in dataset.samples)
    lines = [f"{len(dataset)} pictures, {dataset.n_boxes} boxes, {empty} pictures without a box"]
    counts = Counter(int(c) for s in dataset.samples for c in s.class_id)
    width = max((len(name) for name in dataset.classes), default=0)
    lines += [f"  {name:<{width}}  {counts[i]}" for i, name in enumerate(dataset.classes)]
    parts = [
        np.sqrt(np.prod(s.xyxy[:, 2:] - s.xyxy[:, :2], axis=1) / np.prod(s.size_hw))
        for s in dataset.samples
    ]
    if dataset.n_boxes:
        low, middle, high = np.quantile(np.concatenate(parts), [0, 0.5, 1])
        lines.append(
            f"box sides, of the picture's: {low:.0%} to {high:.0%}, half of them over {middle:.0%}"
        )
        areas = np.concatenate(
            [np.prod(s.xyxy[:, 2:] - s.xyxy[:, :2], axis=1) for s in dataset.samples]
        )
        small, large = int((areas < 32**2).sum()), int((areas >= 96**2).sum())
        lines.append(
            f"box areas, as COCO counts: {small} small (under 32x32 pixels), "
            f"{len(areas) - small - large} medium, {large} large (96x96 or more)"
        )
    return lines


def _checked(dataset: Dataset, report: Report) -> Dataset:
    """Tell of pictures that share a name: results and merged labels go by it."""
    for name, count in Counter(sample.path.name for sample in dataset.samples).items():
        if count > 1:
            report(
                Problem(
                    str(dataset.root),
                    f"{count} entries are named {name}",
                    "give each picture a name of its own, labelled once",
                )
            )
    return dataset
