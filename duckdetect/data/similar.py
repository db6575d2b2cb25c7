"""Near-duplicate images by a perceptual hash, and frames of one clip by their names.

    pairs = near_duplicates(np.stack([picture_hash(sample.load()) for sample in dataset]))
    clip_name("video-frame-12.jpg")          # "video-frame"

The hash is a difference hash (dHash, N. Krawetz 2013: is a cell brighter than the one before it?) with
two additions, for which no library was found: a third answer, "about the same", and a plain border cut
off. Without them, products on white are all alike. It needs NumPy and Pillow alone, where the ImageHash
package would bring SciPy and PyWavelets along.
"""

from __future__ import annotations

import re
from pathlib import PurePath

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

_ROWS = 512  # compared at once with all others: 5,000 pictures take 60 MB

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


def near_duplicates(hashes: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of pictures that are nearly the same, mirrored ones too.

    Two answers that differ count fully, one that is "about the same" half; where both are so, nothing
    is known and nothing counts. Nearly the same is less than a quarter of what counts.

    Args:
        hashes: (N, 288) int8.
    """
    pairs = {(i, j) for mine in (hashes, _mirrored(hashes)) for i, j in _near(mine, hashes)}
    return sorted((i, j) for i, j in pairs if i < j)


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


def _near(mine: np.ndarray, hashes: np.ndarray) -> list[tuple[int, int]]:
    up, down = ((hashes > 0).astype(np.float32), (hashes < 0).astype(np.float32))  # (N, 288)
    known = up + down
    n_known = known.sum(axis=1)
    found: list[tuple[int, int]] = []
    for start in range(0, len(mine), _ROWS):
        rows = mine[start : start + _ROWS]
        rows_up, rows_down = ((rows > 0).astype(np.float32), (rows < 0).astype(np.float32))
        rows_known = rows_up + rows_down
        alike = rows_up @ up.T + rows_down @ down.T  # (R, N)
        both = rows_known @ known.T
        one = rows_known.sum(axis=1)[:, None] + n_known - 2 * both
        differ = both - alike + 0.5 * one
        near = differ <= NEAR * (differ + alike)  # two plain pictures: 0 <= 0
        found += [(int(i) + start, int(j)) for i, j in np.argwhere(near)]
    return found


def _mirrored(hashes: np.ndarray) -> np.ndarray:
    steps = hashes.reshape(-1, 2, _CELLS, _CELLS)[..., ::-1]
    return np.stack([-steps[:, 0], steps[:, 1]], axis=1).reshape(-1, _HASH)


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
