"""Augmentation: random object-centred crops with flip, aspect jitter and photometric distortion.

    plain = PlainViews(samples)                       # each image once, as it is
    more = augmented_views(plain, 100, seed=0)        # 100 random views of them

A view is a random crop around one ground-truth box (its side log-uniform between a twelfth and nearly
all of the crop), stretched a little, flipped half of the time, with photometric distortion and blur
(Albumentations). Five photos show an object in five sizes; views show it in all of them. With
`PlainViews(samples, masks=True)` views carry masks too: a mask is cropped, stretched and flipped with its
image; how much of an object a crop keeps is judged by its mask, and its box then closes around what is
left of that. Where nothing is left, mask, box and class go together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from PIL import Image

from duckdetect.data.dataset import Sample
from duckdetect.imaging.geometry import draw_outlines, tight_xyxy, turn_xyxy

# The object's side as a part of the window's, drawn evenly on a logarithmic scale.
_LEAST_PART, _MOST_PART = 0.08, 0.8

# The widest window, of the image's side; what lies beyond is filled with the mean colour. Wide ones
# were measured for one stage only (docs/accuracy.md); a two-stage model's input shows what is small.
WIDEST, WIDEST_TWO_STAGE = 3.0, 1.6

_STRETCH = 0.25  # natural logarithm of the window's largest change of aspect, each side

_EVERY = 8  # pixels

_KEPT_PART = 0.4  # of a box that the window cuts; less of an object is no example of it

_WINDOW_PX = (300, 640)  # a window's side is scaled into this range

KEPT_BYTES = 500_000_000  # decoded images: a few hundred photos of a phone's screen size


@dataclass(frozen=True, eq=False)
class View:
    """An image to train on, with its boxes and, where asked for, its masks.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        xyxy: (N, 4) float32, pixels of `image`.
        class_id: (N,) int64.
        name: What to call it in a message, the image's file name.
        masks: (N, H, W) bool, one for each box, all False where a box was labelled without one
            (`has_mask`); None if no mask is known, or none was asked for.
        hard_negatives, whole: As `Sample` has them.
    """

    image: np.ndarray
    xyxy: np.ndarray
    class_id: np.ndarray
    name: str
    masks: np.ndarray | None = None
    hard_negatives: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    whole: bool = True

    def __post_init__(self) -> None:
        wanted = (len(self.xyxy), *self.image.shape[:2])
        if self.masks is not None and (self.masks.shape != wanted or self.masks.dtype != bool):
            raise ValueError(
                f"{self.name}: masks must be bool {wanted}, are {self.masks.dtype} {self.masks.shape}"
            )

    @property
    def has_mask(self) -> np.ndarray:
        """(N,) bool, which boxes have a mask to learn from."""
        if self.masks is None:
            return np.zeros(len(self.xyxy), bool)
        return np.asarray(self.masks.any(axis=(1, 2)))

    @property
    def known_xyxy(self) -> np.ndarray:
        """(N + H, 4) float32, the boxes and the hard negatives: what there is to look at."""
        return np.concatenate([self.xyxy, self.hard_negatives])


class PlainViews(Sequence[View]):
    """Each image once, as it is; crowds are left out, since no anchor can match a crowd.

    Images are read when they are asked for, and kept while they fit into `KEPT_BYTES`.

    Args:
        samples: The labelled images.
        masks: Draw the masks of images that have outlines: a byte a pixel and object.
    """

    def __init__(self, samples: Sequence[Sample], masks: bool = False) -> None:
        self.samples = samples
        self.masks = masks
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
        masks = None
        if self.masks and sample.segmentation is not None:
            outlines = [sample.segmentation[i] for i in np.flatnonzero(alone)]
            masks = draw_outlines(outlines, sample.size_hw)
        view = View(
            sample.load(),
            sample.xyxy[alone],
            sample.class_id[alone],
            sample.path.name,
            masks,
            sample.hard_negatives,
            sample.whole,
        )
        n_bytes = view.image.nbytes + (0 if masks is None else masks.nbytes)
        if self._kept_bytes + n_bytes <= KEPT_BYTES:
            self._kept[index] = view
            self._kept_bytes += n_bytes
        return view


def n_known(plain: Sequence[View], index: int) -> tuple[int, int]:
    """How many boxes and hard negatives a view has; of `PlainViews` without reading its image."""
    if isinstance(plain, PlainViews):
        sample = plain.samples[index]
        return int((~sample.crowd).sum()), len(sample.hard_negatives)
    return len(plain[index].xyxy), len(plain[index].hard_negatives)


def augmented_views(
    plain: Sequence[View],
    n_augmented: int,
    seed: int,
    widest: float = WIDEST,
    rotate: bool = False,
) -> Iterator[View]:
    """Yield `n_augmented` augmented views of those with boxes or hard negatives, taken in turn.

    Args:
        plain: The views, at least one of them with a box.
        n_augmented: How many.
        seed: Decides crops and colours.
        widest: The widest window's side, of the image's.
        rotate: Also turn them by 0, 90, 180 or 270 degrees, each as often.
    """
    rng = np.random.default_rng([seed, len(plain)])
    recolour = _recolouring(seed)
    with_box = (i for i in itertools.cycle(range(len(plain))) if any(n_known(plain, i)))
    for view in (plain[i] for i in itertools.islice(with_box, n_augmented)):
        view = _mirrored(view) if rng.random() < 0.5 else view
        if rotate:
            view = _turned(view, int(rng.integers(4)))
        crop = _random_view(view, rng, widest)
        yield replace(crop, image=recolour(image=crop.image)["image"])


def corners(plain: Sequence[View], part: float) -> Iterator[View]:
    """Crops of `part` of the sides: background for multi-scale inference.

    A detector that runs at the high-resolution scale must have seen background at that size, too: the
    corners of each view without a box, and each hard negative in the four corners of a window.
    """
    for i in range(len(plain)):
        n_boxes, n_wrong = n_known(plain, i)
        if n_boxes and not n_wrong:
            continue
        view = plain[i]
        for x1, y1, x2, y2 in view.hard_negatives.astype(float):
            size_wh = np.array(view.image.shape[1::-1], float)
            window_wh = np.maximum(size_wh * part, [x2 - x1, y2 - y1]).round()
            for x, y in itertools.product((x1, x2 - window_wh[0]), (y1, y2 - window_wh[1])):
                start = np.clip([x, y], 0, np.maximum(size_wh - window_wh, 0)).round()
                yield _window(view, start, window_wh, window_wh.astype(int))
        if len(view.known_xyxy):
            continue
        height, width = view.image.shape[:2]
        h, w = round(height * part), round(width * part)
        for y, x in itertools.product((0, height - h), (0, width - w)):
            yield replace(view, image=np.ascontiguousarray(view.image[y : y + h, x : x + w]))


def _recolouring(seed: int) -> Any:
    """Photometric distortion: light, sharpness and noise, by Albumentations."""
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
    width = view.image.shape[1]
    xyxy, hard_negatives = (
        (of[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0]).astype(np.float32)
        for of in (view.xyxy, view.hard_negatives)
    )
    masks = None if view.masks is None else view.masks[:, :, ::-1]
    return replace(
        view, image=view.image[:, ::-1], xyxy=xyxy, masks=masks, hard_negatives=hard_negatives
    )


def _turned(view: View, quarters: int) -> View:
    """Turned to the left by so many quarters."""
    height, width = view.image.shape[:2]
    orientation = (1, 8, 3, 6)[quarters]  # EXIF's for these turns
    xyxy = turn_xyxy(view.known_xyxy, orientation, (height, width))
    return replace(
        view,
        image=np.rot90(view.image, quarters),
        xyxy=xyxy[: len(view.xyxy)].astype(np.float32),
        hard_negatives=xyxy[len(view.xyxy) :].astype(np.float32),
        masks=None if view.masks is None else np.rot90(view.masks, quarters, axes=(1, 2)),
    )


def _random_view(view: View, rng: np.random.Generator, widest: float) -> View:
    """Random crop around one of the view's boxes: object side log-uniform, aspect jitter, resized."""
    size_wh = np.array(view.image.shape[1::-1], float)
    known = view.known_xyxy
    box = known[rng.integers(len(known))].astype(float)
    box_wh = box[2:] - box[:2]
    part = np.exp(rng.uniform(np.log(_LEAST_PART), np.log(_MOST_PART)))
    factor = min(np.sqrt(np.prod(box_wh / size_wh)) / part, widest)
    stretch = np.exp(rng.uniform(-_STRETCH, _STRETCH))
    window_wh = np.maximum(size_wh * factor * [stretch, 1 / stretch], box_wh * 1.02)
    start = np.array(
        [_start(rng, *span) for span in zip(box[:2], box[2:], window_wh, size_wh, strict=True)]
    )
    return _window(view, start, window_wh, np.clip(window_wh, *_WINDOW_PX).astype(int))


def _window(view: View, start: np.ndarray, window_wh: np.ndarray, out_wh: np.ndarray) -> View:
    """What a window (x, y) of a view shows, scaled to `out_wh`: boxes that it cuts much are gone."""
    scale = out_wh / window_wh
    end = start + window_wh
    some = view.image[::_EVERY, ::_EVERY]  # a photo's mean colour, in a hundredth of the time
    fill = some.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    out = _cut(view.image, start, end, out_wh, fill)
    known = (view.known_xyxy - np.tile(start, 2)) * np.tile(scale, 2)
    inside = np.clip(known, 0, np.tile(out_wh, 2))
    seen = _area(inside) > _KEPT_PART * _area(known)
    n = len(view.xyxy)
    xyxy, clipped, kept = known[:n], inside[:n], seen[:n]
    masks = None
    if view.masks is not None:
        masks = np.zeros((len(xyxy), *out_wh[::-1]), bool)
        for i in np.flatnonzero(view.has_mask):
            masks[i] = _cut(255 * view.masks[i].astype(np.uint8), start, end, out_wh, 0) > 127
            kept[i] = masks[i].any() and _seen_part(view.masks[i], start, end) > _KEPT_PART
            # What is left of a cut object may be narrower than what is left of its box.
            if (clipped[i] != xyxy[i]).any() and kept[i]:
                clipped[i] = tight_xyxy(masks[i : i + 1])[0]
        masks = masks[kept]
    return replace(
        view,
        image=out,
        xyxy=clipped[kept].astype(np.float32),
        class_id=view.class_id[kept],
        masks=masks,
        hard_negatives=inside[n:][seen[n:]].astype(np.float32),
    )


def _seen_part(mask: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """How much of a mask the window shows."""
    (x1, y1), (x2, y2) = np.maximum(start, 0).round().astype(int), end.round().astype(int)
    return np.count_nonzero(mask[y1:y2, x1:x2]) / np.count_nonzero(mask)


def _cut(
    image: np.ndarray, start: np.ndarray, end: np.ndarray, out_wh: np.ndarray, fill: Any
) -> np.ndarray:
    """The window from `start` to `end` (x, y), scaled to `out_wh`; beyond the image lies `fill`.

    Pillow averages the pixels where the window shrinks, which an affine warp would skip. Only pixels that
    lie wholly within the image are taken from it.
    """
    size_wh = np.array(image.shape[1::-1])
    scale = out_wh / (end - start)
    first = np.ceil((np.maximum(start, 0) - start) * scale - 1e-6).astype(int)
    last = np.floor((np.minimum(end, size_wh) - start) * scale + 1e-6).astype(int)
    low = np.clip(start + first / scale, 0, size_wh)
    high = np.clip(start + last / scale, 0, size_wh)
    # Pillow would copy the whole image to read a part of it.
    (x1, y1), (x2, y2) = np.floor(low).astype(int), np.ceil(high).astype(int)
    box = (*(low - [x1, y1]), *(high - [x1, y1]))
    part = Image.fromarray(image[y1:y2, x1:x2])
    out = np.empty((*out_wh[::-1], *image.shape[2:]), np.uint8)
    out[:] = fill
    scaled = part.resize(tuple(last - first), Image.Resampling.BILINEAR, box=box)
    out[first[1] : last[1], first[0] : last[0]] = np.asarray(scaled)
    return out


def _start(
    rng: np.random.Generator, box_low: float, box_high: float, window: float, size: float
) -> float:
    """Where a window begins that holds the box, within the image where it fits in."""
    low, high = box_high - window, box_low
    low, high = (
        (max(low, 0.0), min(high, size - window))
        if window <= size
        else (max(low, size - window), min(high, 0.0))
    )
    return rng.uniform(min(low, high), max(low, high))


def _area(xyxy: np.ndarray) -> np.ndarray:
    return np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)
