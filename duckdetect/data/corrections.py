"""Corrections: what a person said of a detector's results, to train again on.

    corrections = read_corrections("corrections.json", classes)
    both = with_corrections(dataset, corrections)

A file of them names pictures and what somebody saw there; boxes are x, y, width, height in pixels, as in
detections.json:

    {"format": "duckdetect corrections 1", "pictures": [
      {"file": "new/a.jpg", "whole": true, "objects": [{"class": "duck", "bbox": [12, 30, 80, 64]}]},
      {"file": "new/b.jpg", "wrong": [{"bbox": [200, 40, 50, 50]}]},
      {"file": "new/c.jpg", "objects": [{"class": "duck", "bbox": [5, 5, 90, 70]}]}]}

`file` is relative to the file's own folder, or absolute; what we write also has its `sha256`, so that
no other picture takes its place. Of a `whole` picture all objects are listed; it becomes a labelled
picture. Of another one, `objects` are some that were missed and `wrong` are false detections; the rest
of it nobody has looked at, and it is neither object nor background. An object may also have COCO's
`segmentation`, and `"crowd": true`, which is not trained on. Where they are added to pictures, a copy
under another name is that picture.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from duckdetect.data.dataset import Dataset, Label, Sample, are_normalised, make_sample, strict
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import pairwise_iou, to_xywh
from duckdetect.utils.files import file_sha256, write_json
from duckdetect.utils.schema import Fields, is_path, parse_json, read_json, rows_of
from duckdetect.utils.words import some_names

FORMAT = "duckdetect corrections 1"

_CURE = "see docs/training.md for what it holds"

# What is said of a box that overlaps an earlier one by more is said of the same thing.
SAME_IOU = 0.5


def is_corrections(path: Path) -> bool:
    """Whether a file says that it holds corrections; labels do not."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    content = parse_json(path, _CURE)
    return isinstance(content, dict) and "corrections" in str(content.get("format"))


def read_corrections(path: str | Path, classes: Sequence[str]) -> Dataset:
    """Read a file of corrections as labelled pictures, some of them known in part.

    Args:
        path: The file.
        classes: The detector's.

    Raises:
        UserError: If the file, a picture or a box is not as it should be, or a class is unknown.
    """
    path = Path(path)
    fields = read_json(path, _CURE)
    if fields.text("format") != FORMAT:
        fields.fail(f"its format is not {FORMAT!r}")
    _only(fields, "format", "pictures")
    said: list[tuple[Fields, str, list[Label], list[Label], bool]] = []
    sums: dict[str, str] = {}
    boxes: dict[str, list[Label]] = {}  # a picture that is spoken of often is opened once
    for row in rows_of(fields.list("pictures"), f"{path}: pictures", _CURE):
        _only(row, "file", "sha256", "whole", "objects", "wrong")
        name = row.text("file")
        if not is_path(name):
            row.fail("file is no path")
        labels = [_label(one, classes) for one in _rows(row, "objects")]
        wrong = [_label(one) for one in _rows(row, "wrong")]
        whole = row.flag("whole", default=False)
        if not (whole or labels or wrong):
            row.fail("it says nothing of its picture: give objects, wrong, or whole")
        if row.has("sha256"):
            sums.setdefault(name, row.text("sha256"))
        said.append((row, name, labels, wrong, whole))
        boxes.setdefault(name, []).extend([*labels, *wrong])
    if are_normalised(label for of_image in boxes.values() for label in of_image):
        fields.fail("its boxes are normalised, and should be in pixels")
    pictures: dict[str, Sample] = {}
    for name, of_image in boxes.items():
        quoted = json.dumps(name, ensure_ascii=False)
        if not (path.parent / name).is_file():
            raise UserError(
                f"{path}: the picture {quoted} is not there: put it back, or remove its entry"
            )
        if name in sums and file_sha256(path.parent / name) != sums[name]:
            raise UserError(
                f"{path}: the picture {quoted} is another one than was corrected: put it back as it was, "
                "or remove its entry"
            )
        picture = make_sample(path.parent / name, 0, None, of_image, strict)
        assert picture is not None  # strict would have raised
        pictures[name] = picture
    done: Counter[str] = Counter()
    found = _Pictures((), copies=False)  # as it was written: a click is found by its file
    for row, name, labels, wrong, whole in said:
        middle = done[name] + len(labels)
        sample = _some_boxes(pictures[name], done[name], middle)
        done[name] = middle + len(wrong)
        negatives_xyxy = pictures[name].xyxy[middle : done[name]]
        outlines = zip(labels, _outlines(sample), strict=True)
        for number, (label, outline) in enumerate(outlines, 1):
            if label.segmentation and not outline:
                row.fail(f"the outline of object {number} cannot be read")
        # Handed back as one class and labelled as another: where an object is, nothing is wrong.
        negatives_xyxy = apart(negatives_xyxy, sample.xyxy)
        earlier = found.get(sample.path)
        if whole and earlier is not None and earlier.whole:
            row.fail(f"{name} is there twice as a whole picture")
        found.add(replace(sample, hard_negatives=negatives_xyxy, whole=whole))
    if not found.samples:
        fields.fail("it holds no picture")
    return found.numbered(Dataset(path.parent, tuple(classes), ()))


def _some_boxes(sample: Sample, start: int, stop: int) -> Sample:
    """The sample with these of its boxes alone."""
    outlines = (sample.segmentation or ())[start:stop]
    return replace(
        sample,
        xyxy=sample.xyxy[start:stop],
        class_id=sample.class_id[start:stop],
        crowd=sample.crowd[start:stop],
        segmentation=outlines if any(outlines) else None,
    )


def _only(row: Fields, *names: str) -> None:
    for name in row.values:
        if name not in names:
            row.fail(f"{name!r} is not known there, only {', '.join(names)}")


def _rows(row: Fields, key: str) -> list[Fields]:
    if not row.has(key):
        return []
    return list(rows_of(row.list(key), f"{row.where}: {key}", row.cure))


def _label(one: Fields, classes: Sequence[str] | None = None) -> Label:
    _only(
        one, "class", "bbox", "score", *(("segmentation", "crowd") if classes is not None else ())
    )
    if one.has("score"):
        one.number("score", 0, 1)
    class_id = 0
    if classes is not None:
        name = one.text("class")
        if name not in classes:
            raise UserError(
                f"{one.where}: the detector knows no {name!r}: give one of {', '.join(classes)}, or "
                "train a new class with --add-to"
            )
        class_id = list(classes).index(name)
    x, y, width, height = one.numbers("bbox", 4)
    crowd, outline = one.flag("crowd", default=False), one.values.get("segmentation")
    return Label(one.where, (x, y, x + width, y + height), class_id, crowd, outline)


def write_corrections(path: str | Path, corrections: Dataset) -> None:
    """Write corrections as `read_corrections` reads them, whole or not at all."""
    path = Path(path)

    def entry(sample: Sample) -> dict[str, Any]:
        objects = [
            {
                "class": corrections.classes[class_id],
                "bbox": bbox,
                **({"segmentation": outline} if outline else {}),
                **({"crowd": True} if crowd else {}),
            }
            for class_id, bbox, outline, crowd in zip(
                sample.class_id, _bboxes(sample.xyxy), _outlines(sample), sample.crowd, strict=True
            )
        ]
        wrong = [{"bbox": bbox} for bbox in _bboxes(sample.hard_negatives)]
        try:  # from the folder, so that both can move
            file = Path(os.path.relpath(sample.path.resolve(), path.resolve().parent)).as_posix()
        except ValueError:  # another drive
            file = str(sample.path.resolve())
        return {
            "file": file,
            "sha256": file_sha256(sample.path),
            "whole": sample.whole,
            "objects": objects,
            **({"wrong": wrong} if wrong else {}),
        }

    write_json(path, {"format": FORMAT, "pictures": [entry(s) for s in corrections.samples]})


def _bboxes(xyxy: np.ndarray) -> list[list[float]]:
    return [[round(float(v), 2) for v in row] for row in to_xywh(xyxy)]


def with_corrections(dataset: Dataset, corrections: Dataset) -> Dataset:
    """A data set with corrections; what is said of a picture that it has already is added to that.

    A `whole` picture replaces what was known of it. Else an object that was missed and a hard negative
    are added, and what contradicts them goes.

    Args:
        dataset: Labelled pictures, or earlier corrections.
        corrections: Of the same classes.
    """
    pictures = _Pictures(dataset.samples)
    for new in corrections.samples:
        pictures.add(new)
    return pictures.numbered(dataset)


def copies_text(known: Iterable[Sample], corrections: Dataset) -> str:
    """Which corrected pictures are copies of known ones, for people; "" if none is."""
    pictures, copies = _Pictures(known), []
    for sample in corrections.samples:
        place = pictures.place(sample.path)
        if place != sample.path.resolve():
            copies.append(f"{sample.path.name} with {place.name}")
        pictures.add(sample)
    names = some_names(copies)
    return f"copies among the corrections are merged with their originals: {names}" if names else ""


class _Pictures:
    """Samples by their pictures' places; with `copies` a copy under another name has its original's."""

    def __init__(self, samples: Iterable[Sample], copies: bool = True) -> None:
        self.samples: dict[Path, Sample] = {}
        self._copies = copies
        # A check sum is needed of few; cameras without compression make all files of one size.
        self._by_size: dict[int, list[Path]] = {}
        self._by_sum: dict[str, Path] = {}
        self._sums: dict[Path, str] = {}
        for sample in samples:
            self._put(sample.path.resolve(), sample)

    def get(self, path: Path) -> Sample | None:
        """The sample of this picture."""
        return self.samples.get(self.place(path))

    def add(self, new: Sample) -> None:
        """Add what is said of a picture to what is known of it."""
        place = self.place(new.path)
        self._put(place, _merged(self.samples[place], new) if place in self.samples else new)

    def numbered(self, dataset: Dataset) -> Dataset:
        """The data set with these samples."""
        numbered = (replace(one, image_id=i) for i, one in enumerate(self.samples.values(), 1))
        return replace(dataset, samples=tuple(numbered))

    def _put(self, place: Path, sample: Sample) -> None:
        if place not in self.samples and place.is_file():
            self._by_size.setdefault(place.stat().st_size, []).append(place)
        self.samples[place] = sample

    def place(self, path: Path) -> Path:
        """Where the picture lies, or the known one that it is a copy of."""
        place = path.resolve()
        if not self._copies or place in self.samples or not place.is_file():
            return place
        alike = self._by_size.get(place.stat().st_size)
        if alike is None:
            return place
        for one in alike:
            self._by_sum.setdefault(self._sum(one), one)
        alike.clear()
        return self._by_sum.get(self._sum(place), place)

    def _sum(self, path: Path) -> str:
        if path not in self._sums:
            self._sums[path] = file_sha256(path)
        return self._sums[path]


def _merged(old: Sample, new: Sample) -> Sample:
    negatives = np.concatenate([apart(old.hard_negatives, new.xyxy), new.hard_negatives])
    if new.whole:
        return replace(new, hard_negatives=negatives)
    kept = is_apart(old.xyxy, new.known_xyxy)
    outlines = list(itertools.compress(_outlines(old), kept)) + _outlines(new)
    return replace(
        old,
        xyxy=np.concatenate([old.xyxy[kept], new.xyxy]),
        class_id=np.concatenate([old.class_id[kept], new.class_id]),
        crowd=np.concatenate([old.crowd[kept], new.crowd]),
        segmentation=tuple(outlines) if any(outlines) else None,
        hard_negatives=negatives,
    )


def _outlines(sample: Sample) -> list[Any]:
    """A sample's outlines, None where a box has none."""
    return list(sample.segmentation or [None] * len(sample.class_id))


def is_apart(xyxy: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) bool: which boxes (N, 4) are of none of the things that the others (M, 4) are of."""
    return np.asarray((pairwise_iou(xyxy, others) <= SAME_IOU).all(axis=1))


def apart(xyxy: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The boxes that `is_apart` names."""
    return np.asarray(xyxy[is_apart(xyxy, others)])
