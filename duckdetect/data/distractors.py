"""Distractors: hard negatives, plain shapes in the object's colours, drawn beside the object.

    views = with_distractors(plain, plain, seed=0)

Five images do not tell what else is yellow and round, and the heads take the shortest way: what has
the object's colours is the object. Two views of three therefore get a few ellipses, polygons and stars,
mostly in the object's colours, some in any, of about its size. They are background (docs/accuracy.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from duckdetect.data.augment import View, n_known

_PART = 0.7  # of the views

_MOST = 4  # in a view

_SIZE = (0.5, 1.3)  # a distractor's side as a part of the object's, evenly on a logarithmic scale

_ASPECT = 0.4  # natural logarithm of the largest change, each side

_LEAST_PX, _MOST_SIDE = 8, 0.6  # the latter as a part of the image's

_OBJECTS_COLOURS = 0.65  # of the distractors; the others have any

_CORE = 0.6  # of a box's sides: what lies within has the object's colours, not the background's

_TRIES = 12  # to find a place that no box holds

_STRIPED = 0.4  # of the distractors have two colours

_SHADE, _LIGHT = 0.35, 0.25  # how much darker towards the edge, how much lighter towards one side


def with_distractors(views: Iterable[View], plain: Sequence[View], seed: int) -> Iterator[View]:
    """The views, most of them with distractors where no box lies.

    Args:
        views: Augmented views of `plain`.
        plain: The images, which the object's colours are taken from.
        seed: Decides which views, and shapes, places and colours.
    """
    rng = np.random.default_rng([seed, len(plain), _MOST])
    palettes = _Palettes(plain)
    for view in views:
        if len(view.xyxy) and rng.random() < _PART:
            image = view.image.copy()
            side = float(np.sqrt(np.prod(view.xyxy[0, 2:] - view.xyxy[0, :2])))
            for _ in range(rng.integers(1, _MOST + 1)):
                _put_distractor(image, view.known_xyxy, side, palettes, rng)
            view = replace(view, image=image)
        yield view


class _Palettes:
    """For each box (N, 3) uint8, pixels from its core, cut out when they are asked for."""

    def __init__(self, plain: Sequence[View]) -> None:
        self._plain = plain
        self._boxes = [(i, k) for i in range(len(plain)) for k in range(n_known(plain, i)[0])]

    def __len__(self) -> int:
        return len(self._boxes)

    def __getitem__(self, number: int) -> np.ndarray:
        i, k = self._boxes[number]
        view = self._plain[i]
        x1, y1, x2, y2 = view.xyxy[k]
        dx, dy = (x2 - x1) * (1 - _CORE) / 2, (y2 - y1) * (1 - _CORE) / 2
        rows = slice(int(y1 + dy), int(np.ceil(y2 - dy)) + 1)
        return view.image[rows, int(x1 + dx) : int(np.ceil(x2 - dx)) + 1].reshape(-1, 3)


def _put_distractor(
    image: np.ndarray,
    xyxy: np.ndarray,
    side: float,
    palettes: _Palettes,
    rng: np.random.Generator,
) -> None:
    """Draw one into the image; none if the boxes leave no place."""
    size = side * np.exp(rng.uniform(*np.log(_SIZE)))
    aspect = np.exp(rng.uniform(-_ASPECT, _ASPECT))
    limit = np.array(image.shape[1::-1]) * _MOST_SIDE
    w, h = np.clip([size * aspect, size / aspect], _LEAST_PX, limit).astype(int)
    for _ in range(_TRIES):
        x, y = rng.integers(0, image.shape[1] - w), rng.integers(0, image.shape[0] - h)
        apart = (xyxy[:, :2] >= [x + w, y + h]) | (xyxy[:, 2:] <= [x, y])
        if apart.any(axis=1).all():
            break
    else:
        return
    if rng.random() < _OBJECTS_COLOURS:
        palette = palettes[int(rng.integers(len(palettes)))]
    else:
        palette = rng.integers(0, 256, (2, 3))
    inside, colour = _draw(int(w), int(h), palette, rng)
    place = image[y : y + h, x : x + w]
    place[:] = place * (1 - inside) + colour * inside


def _draw(
    w: int, h: int, palette: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel is inside the shape, (h, w, 1) from 0 to 1, and its colour (h, w, 3)."""
    v, u = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    radius, angle = np.hypot(u, v), np.arctan2(v, u) + rng.uniform(0, 2 * np.pi)
    corners = int(rng.integers(3, 9))
    kind = rng.integers(3)
    if kind == 0:
        edge = np.ones_like(radius)
    elif kind == 1:  # a regular polygon's edge, as a distance from its centre
        wedge = 2 * np.pi / corners
        edge = np.cos(wedge / 2) / np.cos(angle % wedge - wedge / 2)
    else:  # from a flower to a star
        edge = 0.72 + 0.28 * np.cos(corners * angle) * rng.uniform(0.4, 1)
    inside = np.clip((edge - radius) * min(w, h) / 3 + 0.5, 0, 1)
    first, second = palette[rng.integers(len(palette), size=2)].astype(float)
    turn = rng.uniform(0, 2 * np.pi)
    along = np.cos(turn) * u + np.sin(turn) * v
    other = (along > rng.uniform(-0.5, 0.5)) & (rng.random() < _STRIPED)
    shade = 1 - _SHADE * rng.random() * np.minimum(radius, 1) ** 2
    shade += _LIGHT * rng.uniform(-1, 1) * along
    colour = np.where(other[..., np.newaxis], second, first) * shade[..., np.newaxis]
    return inside[..., np.newaxis], np.clip(colour, 0, 255)
