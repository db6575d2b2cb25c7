"""Views of labelled pictures: what the frozen part of a base model gets to see of them.

    plain = PlainViews(samples)            # each picture once, as it is
    more = looks(plain, 60, seed=0)        # 60 looks at them

A look cuts a window out of a picture so that one of its objects takes a chosen part of the window, from
a twelfth to nearly all of it, stretches it a little, mirrors half of them, and changes colour and
sharpness. Five photos show an object in five sizes; looks show it in all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from PIL import Image

from duckdetect.samples import Sample

# The object's side as a part of the window's, drawn evenly on a logarithmic scale.
_LEAST_PART, _MOST_PART = 0.08, 0.8
_MOST_WINDOW = 1.6  # of the picture's side; what lies beyond is filled with the mean colour
_STRETCH = 0.25  # natural logarithm of the window's largest change of aspect, each side
_KEPT_PART = 0.4  # of a box that the window cuts; less of an object is no example of it
_WINDOW_PX = (300, 640)  # a window's side is scaled into this range
KEPT_BYTES = 500_000_000  # decoded pictures: a few hundred photos of a phone's screen size


@dataclass(frozen=True, eq=False)
class View:
    """A picture to train on, with its boxes.

    Attributes:
        picture: (H, W, 3) uint8 RGB.
        xyxy: (N, 4) float32, pixels of `picture`.
        class_id: (N,) int64.
        name: What to call it in a message, the picture's file name.
    """

    picture: np.ndarray
    xyxy: np.ndarray
    class_id: np.ndarray
    name: str


class PlainViews(Sequence[View]):
    """Each picture once, as it is; crowds are left out, since no anchor can match a crowd.

    Pictures are read when they are asked for, and kept while they fit into `KEPT_BYTES`.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self._kept: dict[int, View] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> View: ...
    @overload
    def __getitem__(self, index: slice) -> list[View]: ...
    def __getitem__(self, index: int | slice) -> View | list[View]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index in self._kept:
            return self._kept[index]
        sample = self.samples[index]
        alone = ~sample.crowd
        view = View(sample.load(), sample.xyxy[alone], sample.class_id[alone], sample.path.name)
        if self._kept_bytes + view.picture.nbytes <= KEPT_BYTES:
            self._kept[index] = view
            self._kept_bytes += view.picture.nbytes
        return view


def looks(plain: Sequence[View], n_looks: int, seed: int) -> Iterator[View]:
    """`n_looks` looks at views that have boxes, taken in turn.

    Args:
        plain: The views, at least one of them with a box.
        n_looks: How many.
        seed: Decides windows and colours.
    """
    rng = np.random.default_rng([seed, len(plain)])
    recolour = _recolouring(seed)
    in_turn = (plain[i] for i in itertools.cycle(range(len(plain))))
    with_box = (view for view in in_turn if len(view.xyxy))
    for view in itertools.islice(with_box, n_looks):
        look = _look(_mirrored(view) if rng.random() < 0.5 else view, rng)
        yield replace(look, picture=recolour(image=look.picture)["image"])


def _recolouring(seed: int) -> Any:
    """Changes of light, sharpness and noise, by Albumentations."""
    import albumentations as A  # noqa: N812  (its own convention; imported late, it takes a second)

    return A.Compose(
        [
            A.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03, p=0.8),
            A.RandomGamma(gamma_limit=(70, 140), p=0.3),
            A.OneOf(
                [
                    A.GaussianBlur(blur_limit=(3, 5)),
                    A.MotionBlur(blur_limit=5),
                    A.ImageCompression(quality_range=(40, 90)),
                    A.GaussNoise(std_range=(0.02, 0.06)),
                ],
                p=0.3,
            ),
        ],
        seed=seed,
    )


def _mirrored(view: View) -> View:
    width = view.picture.shape[1]
    xyxy = view.xyxy[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0]
    return replace(view, picture=view.picture[:, ::-1], xyxy=xyxy.astype(np.float32))


def _look(view: View, rng: np.random.Generator) -> View:
    """Cut a random window around one of the view's boxes and scale it."""
    size_wh = np.array(view.picture.shape[1::-1], float)
    box = view.xyxy[rng.integers(len(view.xyxy))].astype(float)
    box_wh = box[2:] - box[:2]
    part = np.exp(rng.uniform(np.log(_LEAST_PART), np.log(_MOST_PART)))
    factor = min(np.sqrt(np.prod(box_wh / size_wh)) / part, _MOST_WINDOW)
    stretch = np.exp(rng.uniform(-_STRETCH, _STRETCH))
    window_wh = np.maximum(size_wh * factor * [stretch, 1 / stretch], box_wh * 1.02)
    start = np.array(
        [_start(rng, *span) for span in zip(box[:2], box[2:], window_wh, size_wh, strict=True)]
    )
    out_wh = np.clip(window_wh, *_WINDOW_PX).astype(int)
    scale = out_wh / window_wh
    out = _cut(view.picture, start, start + window_wh, out_wh)
    xyxy = (view.xyxy - np.tile(start, 2)) * np.tile(scale, 2)
    clipped = np.clip(xyxy, 0, np.tile(out_wh, 2))
    kept = _area(clipped) > _KEPT_PART * _area(xyxy)
    return replace(
        view,
        picture=out,
        xyxy=clipped[kept].astype(np.float32),
        class_id=view.class_id[kept],
    )


def _cut(picture: np.ndarray, start: np.ndarray, end: np.ndarray, out_wh: np.ndarray) -> np.ndarray:
    """The window from `start` to `end` (x, y), scaled to `out_wh`; beyond the picture, its mean colour.

    Pillow averages the pixels where the window shrinks, which an affine warp would skip.
    """
    size_wh = np.array(picture.shape[1::-1])
    before = np.ceil(np.maximum(-start, 0)).astype(int)
    after = np.ceil(np.maximum(end - size_wh, 0)).astype(int)
    fill = picture.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    canvas = np.empty((*(size_wh + before + after)[::-1], 3), np.uint8)
    canvas[:] = fill
    canvas[before[1] : before[1] + size_wh[1], before[0] : before[0] + size_wh[0]] = picture
    box = (*(start + before), *np.minimum(end + before, canvas.shape[1::-1]))
    image = Image.fromarray(canvas).resize(tuple(out_wh), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image)


def _start(
    rng: np.random.Generator, box_low: float, box_high: float, window: float, size: float
) -> float:
    """Where a window begins that holds the box, within the picture where it fits in."""
    low, high = box_high - window, box_low
    low, high = (
        (max(low, 0.0), min(high, size - window))
        if window <= size
        else (max(low, size - window), min(high, 0.0))
    )
    return rng.uniform(min(low, high), max(low, high))


def _area(xyxy: np.ndarray) -> np.ndarray:
    return np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)
