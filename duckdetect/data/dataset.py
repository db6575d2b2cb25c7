"""Labelled images: what a sample and a data set are, and what can be wrong with one.

    classes_alike({"train": train, "test": test})     # class ids mean the same in both
    whole, origin = join([train, valid, test])

Readers of all formats build `Sample`s through `make_sample` and report every problem to a `Report`: the
strict one raises at the first error, `check_dataset` collects them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from duckdetect.errors import UserError
from duckdetect.imaging.geometry import check_segmentation, segmentation_area
from duckdetect.imaging.io import image_size_hw, load_image

SPLIT_NAMES = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}

"""The splits, and what people name their folders and files."""

# Tools round boxes outwards; what sticks out further than this part of the picture is a mistake.
_OVERHANG = 0.02


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data set; as text one line: where, what, cure."""

    where: str
    what: str
    cure: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        # An error taken over from a reader may name a file below `where` itself.
        where = "" if self.what.startswith(self.where) else f"{self.where}: "
        return f"{where}{self.what}: {self.cure}"

    @classmethod
    def of(cls, error: UserError, path: Path) -> Problem:
        """An error that was raised about a file or folder."""
        what, _, cure = str(error).rpartition(": ")
        return cls(str(path), what.removeprefix(f"{path} "), cure)


Report = Callable[[Problem], None]


def strict(problem: Problem) -> None:
    """Raise UserError for an error, pass over a warning."""
    if problem.severity == "error":
        raise UserError(str(problem))


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture with its boxes.

    Attributes:
        path: The picture's file.
        image_id: Its id in the data set.
        size_hw: (height, width) in pixels, after EXIF rotation.
        xyxy: (N, 4) float32, pixels, inside the picture.
        class_id: (N,) int64, from 0.
        crowd: (N,) bool: neither to be learnt nor counted as missed (COCO's iscrowd, VOC's difficult).
        segmentation: For each box COCO polygons, a run-length encoding, or None; None if none has any.
    """

    path: Path
    image_id: int
    size_hw: tuple[int, int]
    xyxy: np.ndarray
    class_id: np.ndarray
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    segmentation: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.class_id)
        if self.crowd.size == 0:
            object.__setattr__(self, "crowd", np.zeros(n, bool))
        if self.xyxy.shape != (n, 4) or self.crowd.shape != (n,):
            raise ValueError(f"{self.path}: {n} classes, boxes of shape {self.xyxy.shape}")
        if not np.isfinite(self.xyxy).all() or (self.xyxy[:, 2:] <= self.xyxy[:, :2]).any():
            raise ValueError(f"{self.path}: boxes must be finite, with x2 > x1 and y2 > y1")
        if self.segmentation is not None and len(self.segmentation) != n:
            raise ValueError(f"{self.path}: {n} boxes, {len(self.segmentation)} segmentations")

    def load(self) -> np.ndarray:
        """The picture, (H, W, 3) uint8 RGB; UserError if it cannot be read or changed its size."""
        image = load_image(self.path)
        if image.shape[:2] != self.size_hw:
            raise UserError(
                f"{self.path} is {_size(image.shape[:2])} now, was {_size(self.size_hw)} when "
                "labelled: put the labelled picture back"
            )
        return image


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures: `root` is where they were read from, `classes` are names by class id."""

    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def n_boxes(self) -> int:
        """Boxes in all pictures, crowds too."""
        return sum(len(sample.class_id) for sample in self.samples)

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The samples with these indices."""
        return replace(self, samples=tuple(self.samples[i] for i in indices))

    def to_coco(self) -> dict[str, Any]:
        """As COCO's JSON: image ids and order of the samples, category ids = class id + 1.

        `area` is the segmentation's where there is one, as in COCO, where it decides what counts as
        a small, medium or large object; else the box's.
        """
        annotations = [
            {
                "id": 0,
                "image_id": sample.image_id,
                "category_id": int(class_id) + 1,
                "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                "area": segmentation_area(mask) if mask else float((x2 - x1) * (y2 - y1)),
                "iscrowd": int(crowd),
                **({"segmentation": mask} if mask else {}),
            }
            for sample in self.samples
            for (x1, y1, x2, y2), class_id, crowd, mask in zip(
                sample.xyxy.astype(float),
                sample.class_id,
                sample.crowd,
                sample.segmentation or [None] * len(sample.class_id),
                strict=True,
            )
        ]
        return {
            "images": [
                {
                    "id": sample.image_id,
                    "file_name": sample.path.name,
                    "height": sample.size_hw[0],
                    "width": sample.size_hw[1],
                }
                for sample in self.samples
            ],
            "annotations": [{**a, "id": i + 1} for i, a in enumerate(annotations)],
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(self.classes)],
        }


@dataclass(frozen=True)
class Label:
    """One box as a reader found it, unchecked."""

    where: str
    xyxy: Sequence[float]
    class_id: int
    crowd: bool = False
    segmentation: Any = None


def make_sample(
    path: Path,
    image_id: int,
    declared_hw: tuple[int, int] | None,
    labels: Sequence[Label],
    report: Report,
) -> Sample | None:
    """Check a picture and its boxes; boxes with a problem are reported and left out.

    Args:
        path: The picture's file.
        image_id: Its id.
        declared_hw: The size that the labels say it has, if they do.
        labels: Its boxes.
        report: Told of every problem.

    Returns:
        The sample, or None if the picture itself cannot be used.
    """
    try:
        size_hw = image_size_hw(path)
    except UserError as error:
        report(Problem.of(error, path))
        return None
    if declared_hw is not None and declared_hw != size_hw:
        turned = declared_hw == size_hw[::-1]
        report(
            Problem(
                str(path),
                f"is {_size(size_hw)}, but its labels say {_size(declared_hw)}"
                + (" (its EXIF data turn it)" if turned else ""),
                "label the picture again as it is shown"
                if turned
                else "use the picture that was labelled, or label this one again",
            )
        )
        return None
    checked = [(label, _check(label, size_hw, report)) for label in labels]
    good = [(label, xyxy) for label, xyxy in checked if xyxy is not None]
    segmentation = tuple(_outline(label, size_hw, report) for label, _ in good)
    return Sample(
        path,
        image_id,
        size_hw,
        np.array([xyxy for _, xyxy in good], np.float32).reshape(-1, 4),  # (N, 4)
        np.array([label.class_id for label, _ in good], np.int64),
        np.array([label.crowd for label, _ in good], bool),
        segmentation if any(segmentation) else None,
    )


def _check(label: Label, size_hw: tuple[int, int], report: Report) -> np.ndarray | None:
    """The box clipped to the picture, (4,) float32, or None if it is wrong."""
    height, width = size_hw
    shown = f"box ({', '.join(f'{v:g}' for v in label.xyxy)})"

    def refuse(what: str) -> None:
        report(Problem(label.where, f"{shown} {what}", "draw it again or remove it"))

    # Judged in the precision that is kept: a box may be empty in it.
    with np.errstate(over="ignore"):
        xyxy = np.asarray(label.xyxy, np.float64).astype(np.float32)
    corner, opposite, size_wh = xyxy[:2], xyxy[2:], np.array([width, height], np.float32)
    overhang = np.maximum(1, _OVERHANG * size_wh)
    clipped = np.concatenate([np.maximum(corner, 0), np.minimum(opposite, size_wh)])
    if not np.isfinite(xyxy).all():
        refuse("holds a number that is not finite")
    elif (opposite < corner).any():
        refuse("is inverted: its right or lower side comes first")
    elif (opposite == corner).any():
        refuse("is empty")
    elif (corner < -overhang).any() or (opposite > size_wh + overhang).any():
        refuse(f"reaches beyond the picture of {_size(size_hw)}")
    elif (clipped[2:] <= clipped[:2]).any():
        refuse(f"lies outside the picture of {_size(size_hw)}")
    else:
        return clipped
    return None


def _outline(label: Label, size_hw: tuple[int, int], report: Report) -> Any:
    """The label's segmentation without what cannot be used; its box stands without it, too."""
    outline, trouble = check_segmentation(label.segmentation, size_hw)
    if trouble:
        cure = "the box is kept without it, draw it again for masks"
        report(Problem(label.where, trouble, cure, "warning"))
    return outline


def _size(size_hw: Sequence[int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"


Key = TypeVar("Key")


def classes_alike(parts: Mapping[Key, Dataset]) -> dict[Key, Dataset]:
    """The same data sets, all with the classes of all, in the order in which they come first.

    Each split of an export has a table of its own; Pascal VOC's hold only what has a box there.
    """
    classes = tuple(dict.fromkeys(name for part in parts.values() for name in part.classes))
    return {key: _with_classes(part, classes) for key, part in parts.items()}


def join(parts: Sequence[Dataset]) -> Dataset:
    """All samples as one data set, with image ids from 1; `root` is the first one's."""
    alike = classes_alike(dict(enumerate(parts)))
    samples = [sample for part in alike.values() for sample in part.samples]
    return Dataset(
        parts[0].root,
        alike[0].classes,
        tuple(replace(sample, image_id=i) for i, sample in enumerate(samples, 1)),
    )


def _with_classes(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    if dataset.classes == classes:
        return dataset
    table = np.array([classes.index(name) for name in dataset.classes], np.int64)
    samples = tuple(
        replace(s, class_id=table[s.class_id] if len(s.class_id) else s.class_id)
        for s in dataset.samples
    )
    return Dataset(dataset.root, classes, samples)


def in_classes_of(val: Dataset, train: Dataset) -> Dataset:
    """The validation pictures with the training's class ids; classes go by their names.

    Raises:
        UserError: If a box is of a class that the training does not know.
    """
    used = {val.classes[i] for sample in val.samples for i in sample.class_id}
    unknown = sorted(used - set(train.classes))
    if unknown:
        raise UserError(
            f"{val.root} labels {', '.join(map(repr, unknown))}, which {train.root} does not: "
            "train on these classes too, or take them out"
        )
    table = np.array(
        [train.classes.index(n) if n in train.classes else -1 for n in val.classes], int
    )
    samples = tuple(replace(s, class_id=table[s.class_id].astype(s.class_id.dtype)) for s in val)
    return replace(val, classes=train.classes, samples=samples)
