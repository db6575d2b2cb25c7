"""Masks on a picture: a veil of colour with an outline, under boxes and labels.

picture = draw_masks(picture, detection_masks(detections), fills=[(255, 38, 140)])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Color = tuple[int, int, int]

# How much of the colour is in the veil: enough to tell the class on grey and on gaudy grounds,
# little enough that the object is still seen.
_OPACITY = 0.4


def draw_masks(
    picture: npt.NDArray[np.uint8], masks: Iterable[npt.NDArray[Any]], fills: Sequence[Color]
) -> npt.NDArray[np.uint8]:
    """Lay each mask over the picture and draw its outline.

    Small masks lie on large ones, and a pixel is veiled once, however many masks hold it. Outlines
    grow with the picture's longer side.

    Args:
        picture: (H, W, 3) RGB uint8; it is not changed.
        masks: N masks (H, W) bool; an empty one is passed over.
        fills: N colours.

    Returns:
        A new picture.
    """
    import cv2

    drawn = np.array(picture)
    paint = drawn.copy()
    veiled = np.zeros(picture.shape[:2], np.uint8)
    thickness = max(1, round(max(picture.shape[:2]) / 600))
    # Of each mask only what lies in its own box is looked at: a video has 25 pictures a second.
    placed = []
    for mask, fill in zip(masks, fills, strict=True):
        bits = np.ascontiguousarray(mask, bool).view(np.uint8)
        x, y, width, height = cv2.boundingRect(bits)
        if width:
            inside = np.s_[y : y + height, x : x + width]
            placed.append((int(np.count_nonzero(bits[inside])), inside, bits[inside], fill))
    placed.sort(key=lambda one: -one[0])
    for _, inside, bits, fill in placed:
        plain = np.empty((*bits.shape, 3), np.uint8)
        plain[:] = fill
        cv2.copyTo(plain, bits, paint[inside])
        veiled[inside] |= bits
    if placed:
        top, left = (min(inside[axis].start for _, inside, _, _ in placed) for axis in (0, 1))
        below, right = (max(inside[axis].stop for _, inside, _, _ in placed) for axis in (0, 1))
        region = np.s_[top:below, left:right]
        mixed = cv2.addWeighted(paint[region], _OPACITY, drawn[region], 1 - _OPACITY, 0)
        cv2.copyTo(mixed, veiled[region], drawn[region])
    for _, inside, bits, fill in placed:
        corner = (inside[1].start, inside[0].start)
        outlines, _ = cv2.findContours(bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=corner)
        cv2.drawContours(drawn, outlines, -1, fill, thickness)
    return drawn
