"""Near-duplicate images by a perceptual hash, and frames of one clip by their names.

    group = near_groups(np.stack([image_hash(sample.load()) for sample in dataset]))
    clip_name(Path("video-frame-12.jpg"))          # "video-frame"

The hash is a difference hash (dHash, N. Krawetz 2013: is a cell brighter than the one before it?) with
two additions, for which no library was found: a third answer, "about the same", and a plain border cut
off. Without them, products on white are all alike. It needs NumPy and Pillow alone, where the ImageHash
package would bring SciPy and PyWavelets along.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image

_CELLS = 12

_HASH = 2 * _CELLS * _CELLS

# Measured on 185 photos (../shared/data, data/ducks): different ones are 0.41 and more apart, on white
# 0.37; copies compressed, resized, brightened, cropped or shifted by 3 % 0.18 and less, turned by
# 3 degrees mostly, frames of data/ducks' clip up to 0.23.
NEAR = 0.25

_FLAT = 0.1  # of the picture's standard deviation: a smaller step is "about the same"

_PLAIN_LEVELS = 8  # of 255: how much a plain border varies

_PLAIN_PART = 0.9  # of the border's pixels, since a thing may reach into it

# Compared at once with all others: 20,000 pictures take 40 MB. Their pairs, the square of their number if
# all come from a fixed camera, are never kept.
_ROWS = 512

_CLIP_WORDS = {
    *("frame", "frames", "frm", "clip", "video", "vid", "movie", "scene", "seq", "sequence"),
    *("shot", "cam", "camera", "mov", "avi", "mkv", "webm", "mpg", "mpeg"),
}

_IMAGE_END = re.compile(r"[._-](jpe?g|png|bmp|webp|tiff?|gif)$", re.IGNORECASE)

_ROBOFLOW_END = re.compile(r"[._]rf[._][0-9a-z]{8,}$", re.IGNORECASE)


def image_hash(image: np.ndarray) -> np.ndarray:
    """What is brighter than what, coarsely: (288,) int8 of -1, 0 and 1.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    grey = _without_border(Image.fromarray(image).convert("L"))
    wide = _shrunk(grey, (_CELLS + 1, _CELLS))  # (12, 13)
    high = _shrunk(grey, (_CELLS, _CELLS + 1))  # (13, 12)
    steps = np.stack([np.diff(wide, axis=1), np.diff(high, axis=0)])  # (2, 12, 12)
    flat = _FLAT * max(float(wide.std()), 1.0)
    return ((steps > flat).astype(np.int8) - (steps < -flat)).ravel()


def hash_distances(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What part of the answers differs, 0 to 1: (N,) float64, of one hash (288,) and of (N, 288).

    An answer that one of two does not know counts half; see `near_groups` for what is near.
    """
    known = np.count_nonzero(one) + np.count_nonzero(others, axis=1)
    differing = np.abs(others.astype(np.int16) - one).sum(axis=1)
    return np.where(known > 0, differing / np.maximum(known, 1), 0.0)


def near_groups(hashes: np.ndarray) -> np.ndarray:
    """Connected components of nearly the same pictures, mirrored ones too, by breadth-first search.

    Args:
        hashes: (N, 2 * side * side) int8 of -1, 0 and 1: steps to the right, then steps down.

    Returns:
        (N,) int64, the groups' numbers from 0 in order of their first picture.
    """
    compare = _Compare(hashes)
    parent = list(range(len(hashes)))

    def top(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        a, b = sorted((top(i), top(j)))
        parent[b] = a

    left = np.arange(len(hashes))  # found near nothing yet
    frontier = left[:0]
    while len(frontier) or len(left):
        # Filled up: of a slow pan each picture is near its neighbours alone.
        more = max(_ROWS - len(frontier), 0)
        frontier, left = np.concatenate([frontier, left[:more]]), left[more:]
        rows, waiting = frontier[:_ROWS], frontier[_ROWS:]
        for i, j in _spanning(compare.near(rows, rows)):
            join(int(rows[i]), int(rows[j]))
        tops = np.array([top(int(i)) for i in rows])
        # Those that wait are compared only with other groups: alike pictures take no time.
        roots = np.array([top(int(i)) for i in waiting], np.int64)
        others = waiting if (tops != tops[0]).any() else waiting[roots != tops[0]]
        columns = np.concatenate([left, others])
        near = compare.near(rows, columns)  # (R, M)
        names, which = np.unique(tops, return_inverse=True)
        of_group: Any = np.array(
            [near[which == g].any(axis=0) for g in range(len(names))]
        )  # (G, M)
        found = of_group.any(axis=0)
        first = of_group.argmax(axis=0)
        for column in np.flatnonzero(found).tolist():
            join(int(columns[column]), int(names[first[column]]))
        # A picture near two groups joins them.
        elsewhere = of_group & np.not_equal(first, np.arange(len(names))[:, None])
        for g in np.flatnonzero(elsewhere.any(axis=1)):
            for f in np.unique(first[of_group[g]]).tolist():
                join(int(names[g]), int(names[f]))
        of_left = found[: len(left)]
        frontier, left = np.concatenate([waiting, left[of_left]]), left[~of_left]
    tops = np.array([top(i) for i in range(len(hashes))], np.int64)
    return np.unique(tops, return_inverse=True)[1].astype(np.int64)


def near_across(
    hashes: np.ndarray, part: np.ndarray, clip: np.ndarray
) -> Iterator[tuple[int, int]]:
    """For each picture j the first i before it, of another part, that is nearly the same.

    Args:
        hashes: As in `near_groups`.
        part: (N,) int, what must differ.
        clip: (N,) int, pictures of one clip are passed over; -1 for a picture of none.

    Yields:
        (i, j), i < j, in order of i, then of j.
    """
    compare = _Compare(hashes)
    open_ = np.ones(len(hashes), bool)  # not told of yet
    for start in range(0, len(hashes), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(hashes)))
        columns = np.flatnonzero(open_[start:]) + start
        if (part[rows] == part[rows[0]]).all():
            columns = columns[part[columns] != part[rows[0]]]
        near = compare.near(rows, columns)
        near &= rows[:, None] < columns
        near &= part[rows][:, None] != part[columns]
        near &= (clip[rows][:, None] != clip[columns]) | (clip[columns] < 0)
        found = near.any(axis=0)
        pairs = zip(rows[near[:, found].argmax(axis=0)], columns[found], strict=True)
        open_[columns[found]] = False
        yield from sorted((int(i), int(j)) for i, j in pairs)


def clip_name(image: PurePath) -> str | None:
    """What a picture is one of many of, by its file name; None if the name does not say.

    A number counts as a frame's where a word before it says so: clip_0001.jpg, video-frame-12.png,
    street_mp4-3.jpg. Of Roboflow's `NAME_jpg.rf.HASH.jpg` all with one NAME come from one picture.
    """
    stem = image.stem
    augmented = _ROBOFLOW_END.search(stem)
    if augmented:
        stem = stem[: augmented.start()]
    stem = _IMAGE_END.sub("", stem)
    numbered = re.fullmatch(r"(.*?)[\W_]*\d+\)?", stem)
    if numbered:
        before = numbered[1].lower()
        if _CLIP_WORDS & {*re.findall("[a-z]+", before)} or re.search("(mp4|m4v)$", before):
            return numbered[1]
    return stem if augmented else None


def groups_of(n: int, links: list[tuple[int, int]]) -> np.ndarray:
    """Number the groups that links make of n things: (n,) int64, from 0 in order of the first."""
    parent = list(range(n))

    def top(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in links:
        a, b = sorted((top(i), top(j)))
        parent[b] = a
    tops = np.array([top(i) for i in range(n)], np.int64)
    return np.unique(tops, return_inverse=True)[1].astype(np.int64)


class _Compare:
    """Hashes as vectors whose products count the answers that are alike.

    Two hashes are near if of the answers that count less than a quarter differ: two that differ count
    fully, one that is "about the same" half, and where both are so, nothing counts. With d the sum of
    what differs, a of what is alike, and k the answers that a hash knows, d + a = (k_i + k_j) / 2: one
    product of matrices tells a, and with it all.
    """

    def __init__(self, hashes: np.ndarray) -> None:
        side = int((hashes.shape[1] // 2) ** 0.5)
        steps = hashes.reshape(-1, 2, side, side)[..., ::-1]
        mirrored = np.stack([-steps[:, 0], steps[:, 1]], axis=1).reshape(hashes.shape)
        self._code, self._mirrored = _coded(hashes), _coded(mirrored)
        self._known = np.count_nonzero(hashes, axis=1).astype(np.float32)

    def near(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Whether the pictures with these numbers are nearly the same, (R, C) bool."""
        others = self._code[columns].astype(np.float32).T
        least = (1 - NEAR) / 2 * (self._known[rows][:, None] + self._known[columns])
        near = self._code[rows].astype(np.float32) @ others >= least  # two plain pictures: 0 >= 0
        near |= self._mirrored[rows].astype(np.float32) @ others >= least
        return np.asarray(near)


def _coded(hashes: np.ndarray) -> np.ndarray:
    return np.concatenate([hashes > 0, hashes < 0], axis=1)  # (N, 2 * answers) bool


def _spanning(near: np.ndarray) -> Iterator[tuple[int, int]]:
    """One link from each of R pictures to the first of its component, of `near` (R, R) bool."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(csr_array(near), directed=False)
    _, first = np.unique(label, return_index=True)
    return ((int(first[of]), i) for i, of in enumerate(label))


def _without_border(grey: Image.Image) -> Image.Image:
    side = 64
    small = _shrunk(grey, (side, side))
    edge = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    ground = np.median(edge)
    if (np.abs(edge - ground) < _PLAIN_LEVELS).mean() < _PLAIN_PART:
        return grey
    rows, columns = (np.abs(small - ground) > _PLAIN_LEVELS).nonzero()
    if len(rows) == 0:
        return grey
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / side
    left, top, right, bottom = (box * np.tile(grey.size, 2)).round().astype(int).tolist()
    return grey.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def _shrunk(grey: Image.Image, size_wh: tuple[int, int]) -> np.ndarray:
    return np.asarray(grey.resize(size_wh, Image.Resampling.BOX), np.float32)
