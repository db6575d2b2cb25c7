"""Labelled images: what a sample and a data set are, and what can be wrong with one.

    classes_alike({"train": train, "test": test})     # class ids mean the same in both
    whole = join([train, valid, test])

Readers of all formats build `Sample`s through `make_sample` and report every problem to a `Report`: the
strict one raises at the first error, `check_dataset` collects them all.
"""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from duckdetect.data.names import Finder, NamingError, Places
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import (
    check_segmentation,
    segmentation_area,
    turn_outline,
    turn_xyxy,
)
from duckdetect.imaging.io import ImageHead, image_head, load_image
from duckdetect.utils.reading import as_path
from duckdetect.utils.schema import short
from duckdetect.utils.terminal import printable
from duckdetect.utils.words import composed, plural, some_names

SPLIT_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}

"""The splits, and what people name their folders and files, in small or capital letters."""

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
        return printable(f"{where}{self.what}: {self.cure}")

    @classmethod
    def of(cls, error: UserError, path: Path) -> Problem:
        """An error that was raised about a file or folder."""
        what, _, cure = str(error).rpartition(": ")
        return cls(str(path), what.removeprefix(f"{path} "), cure)


Report = Callable[[Problem], None]


@dataclass(frozen=True)
class ReadOptions:
    """What a user says of labels that do not say it themselves.

    Attributes:
        labels_as_stored: They were drawn on the stored pixels of pictures that EXIF turns.
        merge_classes: Classes whose names differ in case or blanks only are one.
        allow_outside: Folders outside the data set that its labels may name pictures in.
        spellings: For `merge_classes`: how each name was first spelt, over all splits.
    """

    labels_as_stored: bool = False
    merge_classes: bool = False
    allow_outside: tuple[Path, ...] = ()
    spellings: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        given = self.allow_outside
        if isinstance(given, str | Path):
            given = (given,)
        folders = tuple(as_path(folder, "allow_outside") for folder in given)
        if gone := next((folder for folder in folders if not folder.is_dir()), None):
            raise UserError(f"{gone}, which labels may name pictures in, is no folder: give one")
        object.__setattr__(self, "allow_outside", folders)


_OPTIONS: ContextVar[ReadOptions | None] = ContextVar("read_options", default=None)


@contextlib.contextmanager
def read_options(options: ReadOptions) -> Iterator[None]:
    """Read labels so within the block, whoever reads them there (training, evaluation, reports)."""
    if not isinstance(options, ReadOptions):
        raise UserError(f"the options are {options!r}: give a ReadOptions")
    token = _OPTIONS.set(options)
    try:
        yield
    finally:
        _OPTIONS.reset(token)


def current_options() -> ReadOptions:
    """What `read_options` says here."""
    return _OPTIONS.get() or ReadOptions()


class Reading:
    """What a reader works with: where problems go, how pictures are found, what the user said.

    Attributes:
        report: Told of every problem; so is the `Reading` itself when it is called.
        finder: Finds files by the names that labels give them, inside the data set.
        options: What the user said of the labels.
        turned: Pictures that EXIF turns, whose labels do not tell which way up they were drawn.
        bar: Counts the pictures that were read, if there is one.
    """

    def __init__(self, root: Path, report: Report, beside: Sequence[Path] = ()) -> None:
        self.report = report
        self.options = current_options()
        self.finder = Finder(root, self.options.allow_outside, beside)
        self.turned: list[Path] = []
        self.bar: Any = None

    def __call__(self, problem: Problem) -> None:
        """Report a problem."""
        self.report(problem)

    def warn(self, where: str | Path, what: str, cure: str) -> None:
        """Report what is only suspicious."""
        self.report(Problem(str(where), what, cure, "warning"))

    def image(self, where: str, name: str, places: Places) -> Path | None:
        """The picture of that name, reported if there is none or no single one."""
        try:
            return self.finder.find(name, places)
        except NamingError as error:
            self.report(Problem(where, error.what, error.cure))
            return None

    def inside(self, path: Path) -> Path:
        """The same path, of a label file that is about to be read.

        Raises:
            UserError: If it lies outside the data set, also by a link.
        """
        try:
            return self.finder.check(path)
        except NamingError as error:
            raise UserError(str(error)) from None

    def all_inside(self, paths: Iterable[Path]) -> list[Path]:
        """Those of many label files that lie inside the data set; the others are reported."""
        found = []
        for path in paths:
            try:
                found.append(self.finder.check(path))
            except NamingError as error:
                self.report(Problem(str(path), error.what, error.cure))
        return found

    def frame_hw(self, image: Path) -> tuple[int, int] | None:
        """The size that normalised numbers are parts of; None if the picture is broken."""
        try:
            head = image_head(image)
        except UserError:
            return None  # make_sample tells of the picture
        return head.stored_hw if self.options.labels_as_stored else head.size_hw

    def classes(self, where: str | Path, names: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
        """A table of classes, each name once and without blanks around it, and the place of each."""
        stripped = [name.strip() or name for name in names]
        places: dict[str, list[str]] = {}
        for i, name in enumerate(stripped):
            places.setdefault(name, []).append(str(i))
        for name, at in places.items():
            if len(at) > 1:
                named = some_names(at) if len(at) > 4 else " and ".join(at)
                what = f"{_number_word(len(at))} classes are named {name!r} (numbers {named})"
                self.warn(where, what, "they are read as one, rename one if they are not")
        table = tuple(dict.fromkeys(stripped))
        number = {name: i for i, name in enumerate(table)}
        return table, [number[name] for name in stripped]


def _number_word(n: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(n, str(n))


def strict(problem: Problem) -> None:
    """Raise UserError for an error, pass over a warning."""
    if problem.severity == "error":
        raise UserError(str(problem))


def noting(notes: list[Problem]) -> Report:
    """A report that raises UserError for an error, and keeps warnings in `notes`."""

    def report(problem: Problem) -> None:
        strict(problem)
        notes.append(problem)

    return report


_COLUMNS = {
    "xyxy": np.float32, "class_id": np.int64, "crowd": bool, "score": np.float32,
    "hard_negatives": np.float32, "outlined": bool,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture with its boxes.

    Attributes:
        path: The picture's file.
        image_id: Its id in the data set, which numbers its samples from 1 where two have the same.
        size_hw: (height, width) in pixels, after EXIF rotation.
        xyxy: (N, 4) float32, pixels, inside the picture.
        class_id: (N,) int64, from 0.
        crowd: (N,) bool: neither trained on nor counted as missed (COCO's iscrowd, VOC's difficult).
        segmentation: For each box COCO polygons, a run-length encoding, or None; None if none has any.
        score: (N,) float32, 0 to 1, of boxes that a detector suggests; None for labels.
        hard_negatives: (H, 4) float32, pixels: where a detector was wrong, and which are background.
        whole: Whether somebody looked at all of it. If not, only the boxes and the hard negatives are
            known; the rest is neither object nor background (data/corrections.py).
        outlined: (N,) bool: whose outline the computer made (data/outline.py); None for no box's.
    """

    path: Path
    image_id: int
    size_hw: tuple[int, int]
    xyxy: np.ndarray
    class_id: np.ndarray
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    segmentation: tuple[Any, ...] | None = None
    score: np.ndarray | None = None
    hard_negatives: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    whole: bool = True
    outlined: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, Path):
            object.__setattr__(self, "path", as_path(self.path, "a sample's path"))
        for name, dtype in _COLUMNS.items():
            value = getattr(self, name)
            if value is None or isinstance(value, np.ndarray):
                continue
            try:
                column = np.asarray(value, dtype)
            except (TypeError, ValueError):
                raise ValueError(f"{self.path}: {name} is {value!r}: give an array") from None
            if name in ("xyxy", "hard_negatives") and not column.size:
                column = column.reshape(-1, 4)
            object.__setattr__(self, name, column)
        if self.class_id.ndim != 1:
            raise ValueError(f"{self.path}: class_id is of shape {self.class_id.shape}, not (N,)")
        n = len(self.class_id)
        if self.crowd.size == 0:
            object.__setattr__(self, "crowd", np.zeros(n, bool))
        if self.xyxy.shape != (n, 4) or self.crowd.shape != (n,):
            raise ValueError(f"{self.path}: {n} classes, boxes of shape {self.xyxy.shape}")
        if not np.isfinite(self.xyxy).all() or (self.xyxy[:, 2:] <= self.xyxy[:, :2]).any():
            raise ValueError(f"{self.path}: boxes must be finite, with x2 > x1 and y2 > y1")
        if self.segmentation is not None and len(self.segmentation) != n:
            raise ValueError(f"{self.path}: {n} boxes, {len(self.segmentation)} segmentations")
        if self.score is not None and self.score.shape != (n,):
            raise ValueError(f"{self.path}: {n} boxes, scores of shape {self.score.shape}")

        if n and self.class_id.min() < 0:
            raise ValueError(f"{self.path}: class {self.class_id.min()}: classes count from 0")

    @property
    def known_xyxy(self) -> np.ndarray:
        """(N + H, 4) float32, the boxes and the hard negatives: what somebody said something of."""
        return np.concatenate([self.xyxy, self.hard_negatives])

    def load(self) -> np.ndarray:
        """The picture, (H, W, 3) uint8 RGB; UserError if it cannot be read or changed its size."""
        image = load_image(self.path)
        if image.shape[:2] != self.size_hw:
            raise UserError(
                f"{self.path} is {_size(image.shape[:2])} now, was {_size(self.size_hw)} when "
                "labelled: put the labelled picture back"
            )
        return image


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Labelled pictures: `root` is where they were read from, `classes` are names by class id.

    `options` is what the user said of the labels when they were read; None if they were not.
    `label_files` are those that it was read from.
    """

    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    options: ReadOptions | None = field(default=None, compare=False)
    label_files: frozenset[Path] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.root, Path):
            object.__setattr__(self, "root", as_path(self.root, "a data set's root"))
        for name, kind, what in (("classes", str, "names"), ("samples", Sample, "Samples")):
            value = getattr(self, name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, name, value)
            if not isinstance(value, tuple) or not all(isinstance(one, kind) for one in value):
                raise UserError(f"{name} of a data set are {short(value)}: give {what}")
        # As of samples of two data sets put together: COCO would take their boxes for one picture's.
        if len({sample.image_id for sample in self.samples}) < len(self.samples):
            numbered = (replace(one, image_id=i) for i, one in enumerate(self.samples, 1))
            object.__setattr__(self, "samples", tuple(numbered))
        most = max((int(s.class_id.max()) for s in self.samples if len(s.class_id)), default=-1)
        if most >= len(self.classes):
            (first, *_) = (s.path for s in self.samples if (s.class_id == most).any())
            raise UserError(
                f"{first} has a box of class {most}, and there are {len(self.classes)}, from 0: name all"
            )

    def __repr__(self) -> str:
        counts = f"{plural(len(self), 'picture')}, {plural(self.n_boxes, 'box')}"
        return f"Dataset({str(self.root)!r}, {counts}, classes={list(self.classes)})"

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def n_boxes(self) -> int:
        """Boxes in all pictures, crowds too."""
        return sum(len(sample.class_id) for sample in self.samples)

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The samples with these indices.

        Raises:
            UserError: If there are not so many.
        """
        if len(indices) and not -len(self) <= min(indices) <= max(indices) < len(self):
            raise UserError(
                f"there are {len(self)} samples, from 0: {list(indices)[:9]} are not all there"
            )
        return replace(self, samples=tuple(self.samples[i] for i in indices))

    def evenly(self, most: int) -> Dataset:
        """All samples, or of more than `most` so many, evenly chosen."""
        n = min(len(self), most)
        return self.subset(np.linspace(0, len(self) - 1, n).round().astype(int).tolist())

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
                **({} if score is None else {"score": round(float(score), 4)}),
                **({"outline_by": "computer"} if computed else {}),
            }
            for sample in self.samples
            for (x1, y1, x2, y2), class_id, crowd, mask, score, computed in zip(
                sample.xyxy.astype(float),
                sample.class_id,
                sample.crowd,
                sample.segmentation or [None] * len(sample.class_id),
                [None] * len(sample.class_id) if sample.score is None else sample.score,
                [False] * len(sample.class_id) if sample.outlined is None else sample.outlined,
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
    hint: str = ""  # the cure if the box reaches beyond the picture, where the reader knows one


def are_parts(numbers: Iterable[float]) -> bool:
    """Whether corners or sizes are parts of a picture's sides, not pixels: from 0 to 1, not all whole.

    A box that reaches a little beyond its picture makes no pixels of the others.
    """
    known = list(numbers)
    within = all(-_BEYOND <= v <= 1 + _BEYOND for v in known)
    return bool(known) and within and any(v not in (0, 1) for v in known)


def are_normalised(labels: Iterable[Label]) -> bool:
    """Whether boxes that should be in pixels are parts of the sides."""
    return are_parts(value for label in labels for value in label.xyxy)


_BEYOND = 0.02  # of a side, as YOLO's numbers may reach
NORMALISED = "its boxes are normalised: all their numbers are from 0 to 1", "export them in pixels"


def make_sample(
    path: Path,
    image_id: int,
    declared_hw: tuple[int, int] | None,
    labels: Sequence[Label],
    reading: Reading | Report,
    upright: bool = True,
) -> Sample | None:
    """Check a picture and its boxes; boxes with a problem are reported and left out.

    Args:
        path: The picture's file.
        image_id: Its id.
        declared_hw: The size that the labels say it has, if they do.
        labels: Its boxes.
        reading: Told of every problem; knows what the user said of the labels.
        upright: Whether the tool is known to show pictures as EXIF turns them; if it is not, and the
            sizes do not tell either, the picture is noted in `reading.turned`.

    Returns:
        The sample, or None if the picture itself cannot be used.
    """
    if not isinstance(reading, Reading):
        reading = Reading(path.parent, reading)
    if reading.bar is not None:
        reading.bar.update()
    try:
        head = image_head(path)
    except UserError as error:
        reading(Problem.of(error, path))
        return None
    if head.n_frames > 1:
        what = f"holds {head.n_frames} pictures (an animation or a sequence): the first one is used"
        reading.warn(path, what, "save its frames as pictures to use the others")
    as_stored = reading.options.labels_as_stored and head.orientation != 1
    size_hw = head.stored_hw if as_stored else head.size_hw
    misfit = _misfit(head, size_hw, declared_hw, labels, as_stored)
    if misfit is not None:
        reading(Problem(str(path), *misfit))
        return None
    told = declared_hw is not None and head.stored_hw != head.size_hw
    if head.orientation != 1 and labels and not (as_stored or upright or told):
        reading.turned.append(path)
    report = reading.report
    checked = [(label, _check(label, size_hw, report)) for label in labels]
    good = [(label, xyxy) for label, xyxy in checked if xyxy is not None]
    segmentation = tuple(_outline(label, size_hw, report) for label, _ in good)
    xyxy = np.array([xyxy for _, xyxy in good], np.float32).reshape(-1, 4)  # (N, 4)
    if as_stored:
        xyxy = turn_xyxy(xyxy, head.orientation, size_hw)
        segmentation = tuple(turn_outline(o, head.orientation, size_hw) for o in segmentation)
    return Sample(
        path,
        image_id,
        head.size_hw,
        xyxy,
        np.array([label.class_id for label, _ in good], np.int64),
        np.array([label.crowd for label, _ in good], bool),
        segmentation if any(segmentation) else None,
    )


def _misfit(
    head: ImageHead,
    size_hw: tuple[int, int],
    declared_hw: tuple[int, int] | None,
    labels: Sequence[Label],
    as_stored: bool,
) -> tuple[str, str] | None:
    """Why labels cannot be of this picture, and the cure; None if they can."""
    stored = "--labels-as-stored reads them so, or label the picture again as viewers turn it"
    if declared_hw is not None and declared_hw != size_hw:
        what = f"is {_size(size_hw)}, but its labels say {_size(declared_hw)}"
        if not as_stored and declared_hw == head.stored_hw:
            return f"{what}, the size of its stored pixels, which its EXIF data turn", stored
        if as_stored and declared_hw == head.size_hw:
            return f"{what}, its size as viewers turn it", "leave --labels-as-stored out for it"
        swapped = " (width and height swapped)" if declared_hw == size_hw[::-1] else ""
        return f"{what}{swapped}", "use the picture that was labelled, or label this one again"
    if as_stored or head.stored_hw == head.size_hw or not labels:
        return None
    shown, other = (
        all(_fits(label.xyxy, hw) for label in labels) for hw in (head.size_hw, head.stored_hw)
    )
    if other and not shown:
        what = "has boxes that only fit its stored pixels, which its EXIF data turn"
        return what, stored
    return None


def _fits(xyxy: Sequence[float], size_hw: tuple[int, int]) -> bool:
    height, width = size_hw
    slack_x, slack_y = max(1, _OVERHANG * width), max(1, _OVERHANG * height)
    x1, y1, x2, y2 = xyxy
    return x1 >= -slack_x and y1 >= -slack_y and x2 <= width + slack_x and y2 <= height + slack_y


def _check(label: Label, size_hw: tuple[int, int], report: Report) -> np.ndarray | None:
    """The box clipped to the picture, (4,) float32, or None if it is wrong."""
    height, width = size_hw
    shown = f"box ({', '.join(f'{v:g}' for v in label.xyxy)})"

    def refuse(what: str, hint: str = "") -> None:
        report(Problem(label.where, f"{shown} {what}", hint or "draw it again or remove it"))

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
        refuse(f"reaches beyond the picture of {_size(size_hw)}", label.hint)
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
        parts[0].options,
        frozenset().union(*(part.label_files for part in parts)),
    )


def class_table(names: Sequence[str], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """For each of `names` its id among `classes`, -1 for none: (number of names,) int64."""
    ids: dict[str, int] = {}
    for i, name in enumerate(classes):
        ids.setdefault(name, i)
    return np.array([ids.get(name, -1) for name in names], np.int64)


def _with_classes(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    if dataset.classes == classes:
        return dataset
    table = class_table(dataset.classes, classes)
    samples = tuple(
        replace(s, class_id=table[s.class_id] if len(s.class_id) else s.class_id)
        for s in dataset.samples
    )
    return replace(dataset, classes=classes, samples=samples)


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
    return _with_classes(val, train.classes)


def alike_classes(names: Sequence[str]) -> list[list[str]]:
    """Groups of class names that differ in case, blanks or what nobody sees only."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(_spelling(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def alike_warning(names: Sequence[str]) -> tuple[str, str]:
    """What to tell of such a group, and the cure."""
    shown = list(map(repr, names))
    only = "case or blanks"
    if len({_seen(name) for name in names}) < len(names):
        shown, only = list(map(ascii, names)), "what nobody sees"
    what = f"the classes {', '.join(shown)} differ in {only} only"
    return what, "rename them alike, or give --merge-classes, if they are the same"


def merge_classes(dataset: Dataset, spellings: dict[str, str]) -> Dataset:
    """One class for names that differ in case or blanks only, spelt as it was met first.

    Args:
        dataset: The data set.
        spellings: Those met so far, in other splits too; added to.
    """
    names = [spellings.setdefault(_spelling(name), name) for name in dataset.classes]
    classes = tuple(dict.fromkeys(names))
    return _with_classes(replace(dataset, classes=tuple(names)), classes)


def _seen(name: str) -> str:
    """A name without what has no width, its letters as Windows and Linux write them."""
    return "".join(sign for sign in composed(name) if unicodedata.category(sign) != "Cf")


def _spelling(name: str) -> str:
    return " ".join(_seen(name).split()).casefold()
