"""Pictures in two splits that show the same: a test on them says more than is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from duckdetect.samples import Dataset, Problem
from duckdetect.similar import clip_name, near_duplicates

_MOST = 10  # lines for each pair of splits; the rest is counted
_CURE = "keep them in one split, `duckdetect split` does"


def find_leaks(
    parts: Mapping[str | None, Dataset], hashes: Mapping[Path, np.ndarray]
) -> list[Problem]:
    """A warning for each clip with frames in several splits, and for near-duplicates in two.

    Args:
        parts: The data set of each split; None for a folder's own labels.
        hashes: `picture_hash` of each picture that could be read.
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
    told: set[Path] = set()
    for i, j in near_duplicates(np.stack([hashes[path] for _, path in where])):
        (split, path), (other_split, other) = where[i], where[j]
        clip = clip_name(path)
        if split == other_split or other in told or (clip and clip == clip_name(other)):
            continue
        told.add(other)  # a line for each picture, however many it resembles
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


def _name(split: str | None) -> str:
    return split or "its own labels"
