"""All that is wrong with labelled pictures, at once: what `duckdetect check` prints."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from duckdetect.datasets import describe_dataset, list_parts, read_dataset
from duckdetect.errors import UserError
from duckdetect.leaks import find_leaks
from duckdetect.pictures import list_pictures
from duckdetect.samples import Dataset, Problem, Sample
from duckdetect.similar import picture_hash

_TINY_PX = 8
_TINY_PART = 0.01  # of the picture's side: three pixels of a 300-pixel input
_WHOLE_PART = 0.98


def check_dataset(path: str | Path, split: str | None = None) -> list[Problem]:
    """List all problems of labelled pictures, errors first; empty if there are none.

    If no split is named, the folder's own labels and all its splits are checked, also for pictures
    that are nearly the same, or frames of one clip, in two splits. Every labelled picture is decoded.
    What stops `load_dataset` or training is an error; what is only suspicious is a warning.

    Raises:
        UserError: If there is nothing at this path.
    """
    path = Path(path)
    problems: list[Problem] = []
    try:
        names = list_parts(path) if split is None else [split]
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
    found = [problem for sample in dataset.samples for problem in _of_sample(sample, hashes)]

    def warn(what: str, cure: str) -> None:
        found.append(Problem(str(dataset.root), what, cure, "warning"))

    used = {int(c) for sample in dataset.samples for c in sample.class_id}
    for class_id, name in enumerate(dataset.classes):
        if class_id not in used:
            warn(f"no box is labelled {name!r}", "label some, or drop the class")
    if dataset.samples and not used:
        warn("no picture has a box", "draw boxes around the object")
    folders = {sample.path.parent for sample in dataset.samples}
    named = {sample.path for sample in dataset.samples}
    if dataset.root.is_file():
        folders = set()  # a split file: what it does not name, it tells itself
    for folder in sorted(folders):
        left = [path.name for path in list_pictures(folder) if path not in named]
        if left:
            shown = ", ".join(left[:3]) + (" ..." if len(left) > 3 else "")
            warn(
                f"{len(left)} pictures are in no label ({shown})",
                "label them, also those without the object",
            )
    return found


def _of_sample(sample: Sample, hashes: dict[Path, np.ndarray]) -> list[Problem]:
    found: list[Problem] = []
    try:
        hashes[sample.path] = picture_hash(sample.load())
    except UserError as error:  # a picture may break off behind a good head
        found.append(Problem.of(error, sample.path))
    size_wh = np.array(sample.size_hw[::-1], float)
    sides = sample.xyxy[:, 2:] - sample.xyxy[:, :2]

    def warn(index: int, what: str, cure: str) -> None:
        shown = ", ".join(f"{v:g}" for v in sample.xyxy[index])
        found.append(Problem(str(sample.path), f"box ({shown}) {what}", cure, "warning"))

    for i, side in enumerate(sides):
        if (side < _TINY_PX).any() or (side < _TINY_PART * size_wh).any():
            warn(i, "is tiny", "check that it was meant, models hardly see it")
        if (side > _WHOLE_PART * size_wh).all():
            warn(i, "covers the whole picture", "draw it around the object")
        for j in range(i):
            same = sample.class_id[i] == sample.class_id[j]
            if same and np.abs(sample.xyxy[i] - sample.xyxy[j]).max() <= 1:
                warn(i, "is there twice", "remove one")
                break
    return found
