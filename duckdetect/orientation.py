"""How a video's stored pictures are to be shown: turned, mirrored, with pixels that are not square."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

# A pixel twenty times as wide as high is a slip in the file, no camera's.
_MAX_ASPECT = 20


@dataclass(frozen=True)
class Orientation:
    """What is done to a stored picture, in this order."""

    transposed: bool = False
    mirrored: bool = False  # left becomes right
    flipped: bool = False  # top becomes bottom


def orientation(frame: Any) -> Orientation:
    """The orientation that a decoded frame's display matrix asks for.

    Phones store what their sensor saw and note how they were held: 9 whole numbers (a, b, u, c, d, v,
    x, y, w) that carry a pixel at (p, q) to (a p + c q, b p + d q), in units of 1/65536 (ISO/IEC
    14496-12, 8.3.2; FFmpeg's libavutil/display.h). Turns by other than quarters are taken as the
    nearest of these.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, mirrored=c < 0, flipped=b < 0)
    return Orientation(mirrored=a < 0, flipped=d < 0)


def displayed_size_hw(size_hw: tuple[int, int], pixel_aspect: Fraction | None) -> tuple[int, int]:
    """The size that gives square pixels, enlarging the one side, so that no detail is lost.

    Args:
        size_hw: (height, width) as stored.
        pixel_aspect: A stored pixel's width by its height; None if the file does not say.
    """
    height, width = size_hw
    aspect = pixel_aspect or Fraction(1)
    if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        return size_hw
    if aspect > 1:
        return height, round(width * aspect)
    return round(height / aspect), width


def upright(picture: npt.NDArray[np.uint8], turn: Orientation) -> npt.NDArray[np.uint8]:
    """Turn a stored picture (H, W, 3) as `turn` says; the same array if there is nothing to turn."""
    if turn == Orientation():
        return picture
    if turn.transposed:
        picture = picture.transpose(1, 0, 2)
    if turn.mirrored:
        picture = picture[:, ::-1]
    if turn.flipped:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)
