"""A picture to a network's input in numpy, as the SavedModel's `prepare` does it in TensorFlow.

    prepare = Preprocess((300, 300), half_pixel_centers=False, scale=(1,) * 3, offset=(0,) * 3)
    inputs, filled_hw = prepare.run(picture)

Bilinear interpolation in both of TensorFlow's conventions for where a pixel's centre lies, then a
scale and an offset for each channel. tests/inference/test_preprocess_numpy.py compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes an input.

    Attributes:
        size_hw: The input's height and width, pixels.
        half_pixel_centers: Whether pixel i's centre lies at i + 0.5 (TensorFlow 2's resize) or at i
            (the Object Detection API's).
        scale: For each channel, what a value of 0 to 255 is multiplied by.
        offset: For each channel, what is added then.
        keep_aspect: Whether the picture fills the input at the top left and zeros the rest.
    """

    size_hw: tuple[int, int]
    half_pixel_centers: bool
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    keep_aspect: bool = False

    def run(self, image: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """A picture (H, W, 3) uint8 to the input (h, w, 3) and the parts of it that it fills, (2,)."""
        height, width = self.size_hw
        if self.keep_aspect:
            factor = min(height / image.shape[0], width / image.shape[1])
            height = min(height, round(image.shape[0] * factor))
            width = min(width, round(image.shape[1] * factor))
        resized = resize_bilinear(image, (height, width), self.half_pixel_centers)
        rows = resized.reshape(height, -1)  # whole rows at a time: numpy is slow on threes
        rows *= np.tile(np.array(self.scale, np.float32), width)
        rows += np.tile(np.array(self.offset, np.float32), width)
        if (height, width) != self.size_hw:
            padded = np.zeros((*self.size_hw, 3), np.float32)
            padded[:height, :width] = resized
            resized = padded
        filled_hw = np.array([height / self.size_hw[0], width / self.size_hw[1]], np.float32)
        return resized, filled_hw


def resize_bilinear(
    image: npt.NDArray[np.uint8], size_hw: tuple[int, int], half_pixel_centers: bool
) -> Floats:
    """TensorFlow's bilinear resize without antialiasing: (H, W, 3) uint8 to (h, w, 3) float32."""
    (top, bottom, down), (left, right, along) = (
        _neighbours(n, to, half_pixel_centers) for n, to in zip(image.shape, size_hw, strict=False)
    )
    if len(image) > 2 * len(top):  # the rows that are needed alone
        image = image[np.concatenate([top, bottom])]
        top, bottom = np.split(np.arange(2 * len(top)), 2)
    flat = image.reshape(len(image), -1)  # (H, 3 W): numpy is slow on threes
    left, right = ((3 * at[:, None] + np.arange(3)).ravel() for at in (left, right))  # (3 w,)
    rows = _mixed(flat.take(left, axis=1), flat.take(right, axis=1), np.repeat(along, 3))
    return _mixed(rows[top], rows[bottom], down[:, None]).reshape(*size_hw, 3)


def _mixed(first: npt.NDArray[Any], second: npt.NDArray[Any], part_of_second: Floats) -> Floats:
    """Linear interpolation, rounded as TensorFlow rounds it."""
    mixed: Floats = second.astype(np.float32)
    mixed -= first
    mixed *= part_of_second
    mixed += first
    return mixed


def _neighbours(
    n: int, to: int, half_pixel_centers: bool
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """For each of `to` pixels: the two of `n` that it lies between, and how far it is to the second."""
    scale = np.float32(n) / np.float32(to)
    at = np.arange(to, dtype=np.float32)
    at = (at + np.float32(0.5)) * scale - np.float32(0.5) if half_pixel_centers else at * scale
    floor = np.floor(at)
    first = np.maximum(floor, 0).astype(np.intp)
    second = (
        np.minimum(np.ceil(at), n - 1).astype(np.intp)
        if half_pixel_centers
        else (np.minimum(first + 1, n - 1))
    )
    return np.minimum(first, n - 1), second, (at - floor).astype(np.float32)
