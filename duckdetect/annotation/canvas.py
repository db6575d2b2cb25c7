"""How an image is shown in a drawing widget, and the way back from the screen to its pixels.

Big images are sent to the browser as small copies, small ones enlarged; both stand on a grey
frame, since one draws an object at the edge by beginning or ending a little outside the image.
`CanvasTransform` keeps the scale and the offset, so that boxes come back in the image's own pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from duckdetect.annotation.store import Box
from duckdetect.imaging.draw import draw_boxes, draw_captions

Xyxy = tuple[float, float, float, float]

# A shaky click moves the mouse by a pixel or two; nobody drags so little on purpose.
MIN_DRAG = 3.0

TITLE_HEIGHT = 36

_GREY = (96, 96, 96)

_OTHERS = (170, 170, 170)


@dataclass(frozen=True)
class CanvasTransform:
    """Where an image stands on the canvas that a widget shows; all in pixels.

    Attributes:
        size_hw: The image's own height and width.
        canvas_hw: The canvas' height and width.
        area_hw: The height and width that the image is drawn with.
        left: Canvas pixels left of the image.
        top: Canvas pixels above it.
    """

    size_hw: tuple[int, int]
    canvas_hw: tuple[int, int]
    area_hw: tuple[int, int]
    left: int
    top: int

    def to_canvas(self, xyxy: Sequence[float]) -> Xyxy:
        """A box in the image's pixels, as it stands on the canvas."""
        x1, y1, x2, y2 = xyxy
        (height, width), (area_h, area_w) = self.size_hw, self.area_hw
        return (
            x1 * area_w / width + self.left,
            y1 * area_h / height + self.top,
            x2 * area_w / width + self.left,
            y2 * area_h / height + self.top,
        )

    def to_image(self, xyxy: Sequence[float]) -> Xyxy | None:
        """A box drawn on the canvas, in the image's pixels and clipped to it.

        The corners may be given in any order. None stands for what is no box: a click, a number
        that is not finite, or a box that lies outside the image.
        """
        if not all(math.isfinite(value) for value in xyxy):
            return None
        x1, x2 = sorted((xyxy[0], xyxy[2]))
        y1, y2 = sorted((xyxy[1], xyxy[3]))
        if x2 - x1 < MIN_DRAG or y2 - y1 < MIN_DRAG:
            return None
        (height, width), (area_h, area_w) = self.size_hw, self.area_hw
        clipped = (
            min(max((x1 - self.left) * width / area_w, 0.0), float(width)),
            min(max((y1 - self.top) * height / area_h, 0.0), float(height)),
            min(max((x2 - self.left) * width / area_w, 0.0), float(width)),
            min(max((y2 - self.top) * height / area_h, 0.0), float(height)),
        )
        # A sliver of a hundredth of a pixel would be written as a box of no size.
        if clipped[2] - clipped[0] < 0.1 or clipped[3] - clipped[1] < 0.1:
            return None
        return clipped


def fit(size_hw: tuple[int, int], max_hw: tuple[int, int], frame: int) -> CanvasTransform:
    """Place an image on a canvas that it fills in one direction, with a frame around it.

    Args:
        size_hw: The image's height and width in pixels.
        max_hw: The largest canvas.
        frame: Width of the grey frame in canvas pixels.
    """
    room_h, room_w = max_hw[0] - 2 * frame, max_hw[1] - 2 * frame
    scale = min(room_h / size_hw[0], room_w / size_hw[1])
    area_hw = max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
    canvas_hw = area_hw[0] + 2 * frame, area_hw[1] + 2 * frame
    return CanvasTransform(size_hw, canvas_hw, area_hw, left=frame, top=frame)


def paint(
    image: np.ndarray, shown: CanvasTransform, title: str = "", others: Sequence[Box] = ()
) -> np.ndarray:
    """Draw an image on its canvas.

    Args:
        image: (H, W, 3) uint8, of `shown.size_hw`.
        shown: Where it stands.
        title: One line above the image; the image stands `TITLE_HEIGHT` lower for it.
        others: Boxes that are not to be changed here; they are drawn in grey.

    Returns:
        The canvas, (H, W, 3) uint8.
    """
    canvas = Image.new("RGB", shown.canvas_hw[::-1], _GREY)
    # Halving first (reducing_gap) makes a 50 MP image quick to shrink, without visible loss.
    small = Image.fromarray(image).resize(
        shown.area_hw[::-1], Image.Resampling.BICUBIC, reducing_gap=2.0
    )
    canvas.paste(small, (shown.left, shown.top))
    painted = np.asarray(canvas)
    if others:
        xyxy = np.array([shown.to_canvas(box.xyxy) for box in others])
        names = [box.class_name for box in others]
        painted = draw_boxes(painted, xyxy, names, [_OTHERS] * len(others), line_px=2)
    if not title:
        return painted
    # The caption of a box is written above it: this box begins where the title's strip ends.
    strip_xyxy = np.array([[shown.left, TITLE_HEIGHT, *shown.canvas_hw[::-1]]], np.float32)
    return draw_captions(painted, strip_xyxy, [title], [_GREY])


def to_jpeg(canvas: np.ndarray) -> bytes:
    """A canvas (H, W, 3) uint8 as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()
