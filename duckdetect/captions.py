"""Captions on pictures: a font that has the signs, a size that can be read, a place that is free.

Supervision's own labels know ASCII only, or one font, and run off the picture; these do not.

    picture = draw_captions(picture, xyxy, ["Entenküken 0.87"], fills=[(255, 38, 140)])
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]


def draw_captions(
    picture: npt.NDArray[np.uint8],
    xyxy: npt.NDArray[Any],
    texts: Sequence[str],
    fills: Sequence[Color],
) -> npt.NDArray[np.uint8]:
    """Write one caption at each box, above it if there is room, else inside or below.

    Args:
        picture: (H, W, 3) RGB uint8; it is not changed.
        xyxy: (N, 4) boxes in its pixels.
        texts: N captions; one that is wider than the picture is shortened, its last word kept.
        fills: N background colours; the letters are black or white, whichever is clearer.

    Returns:
        A new picture.
    """
    height, width = picture.shape[:2]
    size_px = max(10, round(max(height, width) / 42))
    out = picture.copy()
    lines, fonts, sizes_wh = [], [], []
    pad = max(1, size_px // 5)
    for text in texts:
        text = "".join(sign if sign.isprintable() else " " for sign in text)
        # Only rare signs decide the font; scores would make every text a new question.
        font = _font(size_px, "".join(sorted({sign for sign in text if not sign.isascii()})))
        text = _shorten(text, font, width - 2 * pad)
        lines.append(text)
        fonts.append(font)
        ascent, descent = font.getmetrics()
        sizes_wh.append((int(font.getlength(text)) + 1 + 2 * pad, ascent + descent + pad))
    corners = _places(xyxy, sizes_wh, (height, width))
    for (x, y), (w, h), text, font, fill in zip(
        corners, sizes_wh, lines, fonts, fills, strict=True
    ):
        # On a piece of its own: Pillow would copy the whole picture twice, for each frame of a video.
        piece = Image.new("RGB", (min(w, width), min(h, height)), fill)
        baseline = pad // 2 + font.getmetrics()[0]
        ImageDraw.Draw(piece).text((pad, baseline), text, fill=_ink(fill), font=font, anchor="ls")
        here = out[y : y + h, x : x + w]
        here[:] = np.asarray(piece)[: here.shape[0], : here.shape[1]]
    return out


def draw_line(
    picture: npt.NDArray[np.uint8], text: str, corner_xy: tuple[int, int], size_px: int, ink: Color
) -> npt.NDArray[np.uint8]:
    """Write a line from a corner to the right, shortened where the picture ends.

    Args:
        picture: (H, W, 3) RGB uint8; it is not changed.
        text: The line.
        corner_xy: Its upper left corner, pixels.
        size_px: The size of its letters.
        ink: Their colour.

    Returns:
        A new picture.
    """
    image = Image.fromarray(np.ascontiguousarray(picture))
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    font = _font(size_px, "".join(sorted({sign for sign in text if not sign.isascii()})))
    text = _shorten(text, font, image.width - corner_xy[0])
    ImageDraw.Draw(image).text(corner_xy, text, fill=ink, font=font)
    return np.array(image)


def _places(
    xyxy: npt.NDArray[Any], sizes_wh: Sequence[tuple[int, int]], size_hw: tuple[int, int]
) -> list[tuple[int, int]]:
    """Top left corners, inside the picture; the last box chooses first and none is covered if free.

    Returns:
        N corners (x, y).
    """
    height, width = size_hw
    n = len(xyxy)
    taken = np.zeros((n, 4))
    corners = [(0, 0)] * n
    for rank, index in enumerate(reversed(range(n))):
        x1, y1, x2, y2 = (int(value) for value in xyxy[index])
        w, h = sizes_wh[index]
        above, below, right = y1 - h, y2 - h, x2 - w
        choices = [
            (min(max(x, 0), max(width - w, 0)), y)
            for x, y in (
                *((x1, above), (x1, y1), (right, above), (x1, y2)),
                *((right, below), (x1, below), (x2, y1), (x1 - w, y1)),
            )
            if 0 <= y <= height - h
        ]
        # A picture lower than a caption still gets one.
        choices = choices or [(min(max(x1, 0), max(width - w, 0)), 0)]
        others = taken[:rank]
        for x, y in choices:
            apart = (
                (others[:, 0] >= x + w)
                | (others[:, 2] <= x)
                | (others[:, 1] >= y + h)
                | (others[:, 3] <= y)
            )
            if apart.all():
                break
        else:
            x, y = choices[0]
        corners[index] = (x, y)
        taken[rank] = (x, y, x + w, y + h)
    return corners


def _shorten(text: str, font: ImageFont.FreeTypeFont, width_px: int) -> str:
    if font.getlength(text) <= width_px:
        return text
    head, _, tail = text.rpartition(" ")
    tail = f"… {tail}" if head else "…"
    head = head or text
    while head and font.getlength(head + tail) > width_px:
        head = head[:-1]
    return head + tail


def _ink(fill: Color) -> Color:
    red, green, blue = fill
    # Rec. 601 luma: how bright the colour looks.
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


@functools.lru_cache(maxsize=256)
def _font(size_px: int, signs: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(signs), size_px)


@functools.lru_cache(maxsize=256)
def font_file(signs: str) -> str:
    """The font file that has all signs: matplotlib's DejaVu Sans, else any of the machine's fonts.

    Without one, DejaVu Sans draws an empty frame for each unknown sign.
    """
    import matplotlib

    default = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    if has_signs(default, signs):
        return default
    from matplotlib import font_manager

    for entry in font_manager.fontManager.ttflist:
        # matplotlib's "Last Resort" claims every sign and draws a frame for each, digits included.
        usable = entry.style == "normal" and not entry.name.startswith("Last Resort")
        if usable and has_signs(entry.fname, signs + "0aA"):
            return str(entry.fname)
    return default


def has_signs(font_file: str, signs: str) -> bool:
    """Whether a font file has a letter for each of the signs; False if it cannot be read."""
    if not signs:
        return True
    from matplotlib.ft2font import FT2Font

    try:
        known = FT2Font(font_file).get_charmap()
    except (OSError, RuntimeError):  # a font that was removed, or is of a kind that is not read
        return False
    return all(ord(sign) in known for sign in signs)
