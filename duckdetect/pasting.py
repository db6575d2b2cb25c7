"""Puts masks found within boxes back into the picture.

The place of each pixel is that of the Object Detection API's `reframe_box_masks_to_image_masks`
(tests/test_pasting.py): a picture's first and last pixel lie at 0 and 1. Only the box is computed,
where the API makes a float for each pixel of the picture.
"""

from __future__ import annotations

import numpy as np


def paste_masks(
    probability: np.ndarray, xyxy: np.ndarray, size_hw: tuple[int, int], threshold: float = 0.5
) -> np.ndarray:
    """The pixels of each mask.

    Args:
        probability: (N, h, w) float32, each mask from its box's upper left corner to its lower right.
        xyxy: (N, 4) float32, pixels of the picture.
        size_hw: The picture's height and width.
        threshold: A pixel above it belongs to the object; 0.5 as in the API's evaluation.

    Returns:
        (N, H, W) bool.
    """
    height, width = size_hw
    pasted = np.zeros((len(probability), height, width), bool)
    for out, mask, (x1, y1, x2, y2) in zip(pasted, probability, xyxy.astype(float), strict=True):
        rows, along_y = _weights(y1 / height, y2 / height, height, mask.shape[0])
        columns, along_x = _weights(x1 / width, x2 / width, width, mask.shape[1])
        out[rows, columns] = along_y @ mask @ along_x.T > threshold
    return pasted


def _weights(start: float, end: float, size: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels between two places, parts of a side, and (pixels, cells) how they mix the cells."""
    place = np.arange(size) / max(size - 1, 1)  # (size,) 0 to 1
    at = (place - start) / max(end - start, 1e-9) * (cells - 1)
    inside = np.flatnonzero((at >= 0) & (at <= cells - 1))
    if not len(inside):
        return slice(0, 0), np.zeros((0, cells))
    at = at[inside]
    low = np.minimum(at.astype(int), max(cells - 2, 0))
    weights = np.zeros((len(at), cells))
    weights[np.arange(len(at)), low] = 1 - (at - low)
    weights[np.arange(len(at)), np.minimum(low + 1, cells - 1)] += at - low
    return slice(inside[0], inside[-1] + 1), weights
