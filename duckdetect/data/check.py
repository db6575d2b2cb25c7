"""Checking labelled images: all problems at once, and images that are in two splits.

    problems = check_dataset("export.zip")      # what `duckdetect check` prints

A test on images that training has seen says more than is true, so near-duplicates across splits count
as problems too.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from duckdetect.data.dataset import (
    Dataset,
    Problem,
    ReadOptions,
    Sample,
    alike_classes,
    alike_warning,
    read_options,
)
from duckdetect.data.formats import csv_table, yolo
from duckdetect.data.formats.places import IMAGE_FOLDERS, LABEL_FOLDERS, children, split_word
from duckdetect.data.loading import describe_dataset, list_parts, read_dataset
from duckdetect.data.similar import clip_name, image_hash, near_across
from duckdetect.errors import PlaceError, UserError
from duckdetect.imaging.geometry import outline_xyxy, pairwise_iou
from duckdetect.imaging.io import is_dark_or_flat, list_folder
from duckdetect.utils.progress import DELAY_S, progress_bar
from duckdetect.utils.reading import as_path, decoded, read_head
from duckdetect.utils.words import counted, some_names

_MOST = 10  # lines for each pair of splits; the rest is counted

_CURE = "keep them in one split, `duckdetect split` does"


def find_leaks(
    parts: Mapping[str | None, Dataset], hashes: Mapping[Path, np.ndarray]
) -> list[Problem]:
    """A warning for each clip with frames in several splits, and for near-duplicates in two.

    Args:
        parts: The data set of each split; None for a folder's own labels.
        hashes: `image_hash` of each picture that could be read.
    """
    if len(parts) < 2:
        return []
    where = [(split, sample.path) for split, part in parts.items() for sample in part]
    return _clips(parts, where) + _pairs(where, hashes)


def _clips(
    parts: Mapping[str | None, Dataset], where: list[tuple[str | None, Path]]
) -> list[Problem]:
    counts: dict[str, Counter[str]] = {}
    for split, path in where:
        clip = clip_name(path)
        if clip is not None:
            counts.setdefault(clip, Counter())[_name(split)] += 1
    root = str(next(iter(parts.values())).root.parent)
    return [
        Problem(
            root,
            f"the clip or source {clip!r} has pictures in "
            + ", ".join(f"{split} ({n})" for split, n in count.items()),
            _CURE,
            "warning",
        )
        for clip, count in counts.items()
        if len(count) > 1
    ]


def _pairs(
    where: list[tuple[str | None, Path]], hashes: Mapping[Path, np.ndarray]
) -> list[Problem]:
    where = [(split, path) for split, path in where if path in hashes]
    if not where:
        return []
    found: list[Problem] = []
    counts: Counter[tuple[str, str]] = Counter()
    part = _numbers([_name(split) for split, _ in where])
    clip = _numbers([clip_name(path) for _, path in where])
    # A line for each picture, however many it resembles.
    for i, j in near_across(np.stack([hashes[path] for _, path in where]), part, clip):
        (split, path), (other_split, other) = where[i], where[j]
        between = (_name(split), _name(other_split))
        counts[between] += 1
        if counts[between] <= _MOST:
            what = f"is nearly the same as {path} of {between[0]}"
            found.append(Problem(str(other), what, _CURE, "warning"))
    for (split_name, other_name), n in counts.items():
        if n > _MOST:
            what = f"{n - _MOST} more are nearly the same as a picture of {split_name}"
            found.append(Problem(other_name, what, _CURE, "warning"))
    return found


def _numbers(names: Sequence[str | None]) -> np.ndarray:
    """(N,) int, the same for the same name; -1 for None."""
    number: dict[str, int] = {}
    return np.array([-1 if n is None else number.setdefault(n, len(number)) for n in names], int)


def _name(split: str | None) -> str:
    return split or "its own labels"


_TINY_PX = 8

_SAME_PLACE_IOU = 0.3  # of a box and what is around its outline; people draw boxes loosely

_MOST_OF_PICTURE = 20  # warnings of one kind

_TINY_PART = 0.01  # of the picture's side: three pixels of a 300-pixel input

_WHOLE_PART = 0.98


def check_dataset(
    path: str | Path, split: str | None = None, options: ReadOptions | None = None
) -> list[Problem]:
    """List all problems of labelled pictures, errors first; empty if there are none.

    If no split is named, the folder's own labels and all its splits are checked, also for pictures
    that are nearly the same, or frames of one clip, in two splits. Every labelled picture is decoded.
    What stops `load_dataset` or training is an error; what is only suspicious is a warning.

    Args:
        path: As `load_dataset` takes it.
        split: One of them.
        options: What the labels do not say themselves; those of `read_options` if None.

    Raises:
        UserError: If there is nothing at this path, or no place to unpack a zip.
    """
    with contextlib.nullcontext() if options is None else read_options(options):
        return _check(as_path(path, "the data"), split)


def _check(path: Path, split: str | None) -> list[Problem]:
    problems: list[Problem] = []
    try:
        names = list_parts(path) if split is None else [split]
    except PlaceError:  # the cache's, where a zip is unpacked
        raise
    except UserError as error:
        if not path.exists():
            raise
        return [Problem.of(error, path)]
    parts: dict[str | None, Dataset] = {}
    hashes: dict[Path, np.ndarray] = {}
    for name in names:
        try:
            parts[name] = read_dataset(path, name, problems.append)
        except UserError as error:
            problems.append(Problem.of(error, path))
        else:
            problems += _suspicious(parts[name], hashes)
    problems += left_over(parts.values())
    for names_alike in alike_classes([n for part in parts.values() for n in part.classes]):
        if len(parts) > 1 and not any(set(names_alike) <= set(p.classes) for p in parts.values()):
            problems.append(Problem(str(path), *alike_warning(names_alike), "warning"))
    problems += find_leaks(parts, hashes)
    # The splits of one file are read from the same pictures, whose problems come with each.
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.severity)


def describe_parts(path: str | Path) -> list[str]:
    """`describe_dataset` of each split that can be read, without what is wrong in it."""
    path = Path(path)

    def passed(problem: Problem) -> None:
        """`check_dataset` tells of it."""

    lines: list[str] = []
    with contextlib.suppress(UserError):
        for name in list_parts(path):
            with contextlib.suppress(UserError):
                dataset = read_dataset(path, name, passed)
                lines += [f"{name}:"] if name else []
                lines += describe_dataset(dataset)
    return lines


def _suspicious(dataset: Dataset, hashes: dict[Path, np.ndarray]) -> list[Problem]:
    """Warnings, and errors of damaged pictures; notes the hashes of good ones."""
    found: list[Problem] = []
    with progress_bar(
        desc="checking", total=len(dataset) + dataset.n_boxes, delay=DELAY_S, leave=False,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",  # of boxes and pictures
    ) as bar:  # fmt: skip
        for sample in dataset.samples:
            found += _of_sample(sample, hashes, bar)

    def warn(what: str, cure: str) -> None:
        found.append(Problem(str(dataset.root), what, cure, "warning"))

    used = {int(c) for sample in dataset.samples for c in sample.class_id}
    unused = [name for class_id, name in enumerate(dataset.classes) if class_id not in used]
    for name in unused[:_MOST_OF_PICTURE]:
        warn(f"no box is labelled {name!r}", "label some, or drop the class")
    if (left := len(unused) - _MOST_OF_PICTURE) > 0:
        warn(counted(left, "classes more have no box"), "label some, or drop them")
    if dataset.samples and not used:
        warn("no picture has a box", "draw boxes around the object")
    elif dataset.samples and all(sample.crowd.all() for sample in dataset.samples):
        what = "all boxes are crowds (iscrowd, difficult), of which nothing is learned"
        warn(what, "label the objects one by one")
    return found


def left_over(parts: Iterable[Dataset], unlabelled: bool = True) -> list[Problem]:
    """Warnings of pictures and other files that lie beside the labelled ones and are not used.

    Args:
        parts: The splits.
        unlabelled: Whether these are all splits, so that pictures of no split are told of, too.
    """
    parts = (
        [parts] if isinstance(parts, Dataset) or not isinstance(parts, Iterable) else list(parts)
    )
    if not all(isinstance(part, Dataset) for part in parts):
        raise UserError("give the splits as `load_dataset` returns them")
    named = {sample.path for part in parts for sample in part.samples}
    # A split file tells itself what it does not name.
    of_files = {s.path for part in parts if part.root.is_file() for s in part.samples}
    folders = {path.parent for path in named - of_files}
    used = folders | {above for folder in folders for above in folder.parents}
    found: list[Problem] = []

    def warn(folder: Path, what: str, cure: str) -> None:
        found.append(Problem(str(folder), what, cure, "warning"))

    for folder in sorted(folders):
        listing = list_folder(folder)
        left = [path.name for path in listing.images if path not in named]
        if left and unlabelled:
            what = counted(len(left), f"pictures are in no label ({some_names(left)})")
            warn(folder, what, "label them, also those without the object")
        below = [name for name in listing.folders if folder / name not in used]
        if below and unlabelled:
            what = f"pictures in folders below are in no label ({some_names(below)})"
            warn(folder, what, "label them, or move them away")
        for note in listing._replace(folders=[], images=[]).notes(labelled=True):
            warn(folder, *(note.rsplit(": ", 1) if ": " in note else (note, "remove them")))
    roots = {part.root for part in parts if part.root.is_dir()}
    for folder in sorted(roots - folders) if unlabelled else ():
        left = [path.name for path in list_folder(folder).images if path not in named]
        if left:
            what = counted(len(left), f"pictures are in no label ({some_names(left)})")
            warn(folder, what, "label them, or move them away")
    read = {path for part in parts for path in part.label_files}
    for part in parts:
        if lists := _unread_lists(part, read):
            names = some_names([path.relative_to(part.root).as_posix() for path in lists])
            what = f"its lists of splits are not read ({names}), and all pictures are one set"
            warn(part.root, what, "put the pictures of each into a folder train, valid or test")
    for root in sorted(roots):
        if unread := _unread_labels(root, read, folders, unlabelled):
            names = some_names([path.relative_to(root).as_posix() for path in unread])
            what = counted(len(unread), f"files of labels are not read ({names})")
            cure = "move them to where the others lie, in the format of these, or away"
            warn(root, what, cure)
    return found


_LABELS = {
    ".json": re.compile(rb'"(images|annotations|shapes)"\s*:\s*\['),
    ".xml": re.compile(rb"<annotation[\s>]", re.IGNORECASE),
}
# Beside COCO's own `instances` of the same pictures.
_OF_COCO = re.compile(r"(person_keypoints|captions|stuff|panoptic|image_info)_")
_HEAD_BYTES = 1 << 16
_MOST_UNREAD = 200  # of a kind; more are not looked into


def _unread_labels(
    root: Path, read: Collection[Path], pictures: Collection[Path], whole: bool
) -> list[Path]:
    """Files that look like labels of the pictures below `root`, and that nobody has read.

    Args:
        root: The data set's folder.
        read: The files that were read.
        pictures: The folders of its pictures.
        whole: Whether all splits were read; otherwise what is named after one is passed over, but for
            the folders of what was read.
    """
    named = {*IMAGE_FOLDERS, *LABEL_FOLDERS}
    used = [path for path in (*read, *pictures) if path.is_relative_to(root)]
    tops = {path.relative_to(root).parts[0] for path in used if path != root}
    on_the_way = {above for path in used for above in (path, *path.parents)}
    looked: Counter[str] = Counter()
    found = []
    for folder, below, names in os.walk(root):
        place = Path(folder)
        # A folder of nothing that is read is another data set, which `read_dataset` tells of.
        below[:] = sorted(
            name for name in below
            if not name.startswith(".")
            and (place != root or name in tops or name.lower() in named)
            and (whole or split_word(Path(name)) is None or place / name in on_the_way)
        )  # fmt: skip
        for name in sorted(names):
            path, kind = place / name, Path(name).suffix.lower()
            if kind not in _OF_LABELS or path in read or name.startswith("."):
                continue
            looked[kind] += 1
            if (
                looked[kind] <= _MOST_UNREAD
                and (whole or split_word(path) is None)
                and _is_labels(path)
            ):
                found.append(path)
    return found


_MOST_LINES = 200  # of a list; more are not looked into


def _unread_lists(dataset: Dataset, read: Collection[Path]) -> list[Path]:
    """Lists of several splits, of pictures that were read as one: Pascal VOC's, Darknet's, PaddleX's."""
    if not dataset.root.is_dir():
        return []
    stems = {sample.path.stem for sample in dataset.samples}
    found: dict[str, Path] = {}
    tops = [p for p in children(dataset.root) if p.name.lower() in ("imagesets", "main")]
    for place in (dataset.root, *tops):
        for path in sorted(place.glob("*.[tT][xX][tT]")):
            split = split_word(path)
            if split is None or split in found or path in read or not path.is_file():
                continue
            lines = decoded(read_head(path, _HEAD_BYTES)).splitlines()[:_MOST_LINES]
            names = (name for line in lines for name in (line.strip(), line.partition(" ")[0]))
            if any(Path(name.replace("\\", "/")).stem in stems for name in names if name):
                found[split] = path
    return list(found.values()) if len(found) > 1 else []


_OF_LABELS = (".txt", ".csv", *_LABELS)


def _is_labels(path: Path) -> bool:
    if not path.is_file() or _OF_COCO.match(path.name):
        return False
    kind = path.suffix.lower()
    if kind == ".txt":
        return yolo.looks_like_labels(path)
    if kind == ".csv":
        return csv_table.is_table(path)
    return bool(_LABELS[kind].search(read_head(path, _HEAD_BYTES)))


def _of_sample(sample: Sample, hashes: dict[Path, np.ndarray], bar: Any) -> list[Problem]:
    found: list[Problem] = []
    try:
        image = sample.load()
        hashes[sample.path] = image_hash(image)
        if is_dark_or_flat(image):
            what = f"is dark or flat: its values are from {image.min()} to {image.max()} of 255"
            cure = "look whether they are of fewer bits than its file (12 in 16): stretch them"
            found.append(Problem(str(sample.path), what, cure, "warning"))
    except UserError as error:  # a picture may break off behind a good head
        found.append(Problem.of(error, sample.path))
    size_wh = np.array(sample.size_hw[::-1], float)
    sides = sample.xyxy[:, 2:] - sample.xyxy[:, :2]

    def warn(index: int, what: str, cure: str) -> None:
        shown = ", ".join(f"{v:g}" for v in sample.xyxy[index])
        found.append(Problem(str(sample.path), f"box ({shown}) {what}", cure, "warning"))

    bar.update()
    twice = set(_repeated(sample.xyxy, sample.class_id, bar))
    for i, side in enumerate(sides):
        if (side < _TINY_PX).any() or (side < _TINY_PART * size_wh).any():
            warn(i, "is tiny", "check that it was meant, models hardly see it")
        if (side > _WHOLE_PART * size_wh).all():
            warn(i, "covers the whole picture", "draw it around the object")
        if i in twice:
            warn(i, "is there twice", "remove one")
        outline = sample.segmentation[i] if sample.segmentation else None
        if outline:
            around = outline_xyxy(outline, sample.size_hw)[np.newaxis]
            if pairwise_iou(sample.xyxy[i : i + 1], around)[0, 0] < _SAME_PLACE_IOU:
                warn(i, "has its outline elsewhere", "draw one of the two again")
    return _not_too_many(found, sample)


def _repeated(xyxy: np.ndarray, class_id: np.ndarray, bar: Any) -> Iterator[int]:
    """Boxes whose corners all lie within a pixel of an earlier box's of the same class.

    A grid of pixels in the four coordinates holds the earlier boxes: of a cell's boxes only the first one
    looks into the cells around, so that the time grows with the number of boxes.
    """
    seen: dict[tuple[int, ...], list[np.ndarray]] = {}
    cells = np.concatenate([class_id[:, None], np.floor(xyxy).astype(np.int64)], axis=1)
    for i, cell in enumerate(map(tuple, cells.tolist())):
        if cell in seen:  # in one cell all are within a pixel
            yield i
        else:
            around = itertools.product(*((c - 1, c, c + 1) for c in cell[1:]))
            near = (box for other in around for box in seen.get((cell[0], *other), ()))
            if any(np.abs(xyxy[i] - box).max() <= 1 for box in near):
                yield i
        seen.setdefault(cell, []).append(xyxy[i])
        bar.update()


def _not_too_many(found: list[Problem], sample: Sample) -> list[Problem]:
    """Of one picture's warnings a few of each kind, and how many more there are."""
    kept: list[Problem] = []
    more: Counter[tuple[str, str]] = Counter()
    kinds: Counter[str] = Counter()
    for problem in found:
        kind = problem.what.partition(") ")[2]
        kinds[kind] += 1
        if problem.severity == "error" or kinds[kind] <= _MOST_OF_PICTURE:
            kept.append(problem)
        else:
            more[kind, problem.cure] += 1
    path = str(sample.path)
    kept += [
        Problem(path, f"{n} more boxes: each {kind}", cure, "warning")
        for (kind, cure), n in more.items()
    ]
    return kept
