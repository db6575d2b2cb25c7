"""Drawing on images: boxes, masks and labels of detections, grids, folders of frames.

    image = draw_detections(image, detections, classes)
    with FramesWriter("results/new/frames") as frames:
        frames.write("a.png", image)

Labels are our own: supervision's know ASCII only, or one font, and run off the image.
"""

from __future__ import annotations

import bisect
import colorsys
import contextlib
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from duckdetect.imaging.geometry import detection_masks
from duckdetect.imaging.io import ImageArray, fit, letterbox
from duckdetect.utils.outputs import own_output

if TYPE_CHECKING:
    from supervision import Detections

Color = tuple[int, int, int]


def draw_captions(
    image: npt.NDArray[np.uint8],
    xyxy: npt.NDArray[Any],
    texts: Sequence[str],
    fills: Sequence[Color],
) -> npt.NDArray[np.uint8]:
    """Write one caption at each box, above it if there is room, else inside or below.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        xyxy: (N, 4) boxes in its pixels.
        texts: N captions; one that is wider than the picture is shortened, its last word kept.
        fills: N background colours; the letters are black or white, whichever is clearer.

    Returns:
        A new picture.
    """
    height, width = image.shape[:2]
    size_px = max(10, round(max(height, width) / 42))
    out = image.copy()
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
    image: npt.NDArray[np.uint8], text: str, corner_xy: tuple[int, int], size_px: int, ink: Color
) -> npt.NDArray[np.uint8]:
    """Write a line from a corner to the right, shortened where the picture ends.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        text: The line.
        corner_xy: Its upper left corner, pixels.
        size_px: The size of its letters.
        ink: Their colour.

    Returns:
        A new picture.
    """
    canvas = Image.fromarray(np.ascontiguousarray(image))
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    font = _font(size_px, "".join(sorted({sign for sign in text if not sign.isascii()})))
    text = _shorten(text, font, canvas.width - corner_xy[0])
    ImageDraw.Draw(canvas).text(corner_xy, text, fill=ink, font=font)
    return np.array(canvas)


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
    text = text[: 4 * max(width_px, 1)]  # of more letters no font shows any
    if font.getlength(text) <= width_px:
        return text
    head, _, tail = text.rpartition(" ")
    tail = f"… {tail}" if head else "…"
    head = head or text
    # The longest beginning that fits, by bisection: a name may have thousands of letters.
    too_wide = range(1, len(head) + 1)
    n = bisect.bisect(too_wide, False, key=lambda n: font.getlength(head[:n] + tail) > width_px)
    return head[:n] + tail


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


# How much of the colour is in the veil: enough to tell the class on grey and on gaudy grounds,
# little enough that the object is still seen.
_OPACITY = 0.4


def draw_masks(
    image: npt.NDArray[np.uint8], masks: Iterable[npt.NDArray[Any]], fills: Sequence[Color]
) -> npt.NDArray[np.uint8]:
    """Lay each mask over the picture and draw its outline.

    Small masks lie on large ones, and a pixel is veiled once, however many masks hold it. Outlines
    grow with the picture's longer side.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        masks: N masks (H, W) bool; an empty one is passed over.
        fills: N colours.

    Returns:
        A new picture.
    """
    import cv2

    drawn = np.array(image)
    paint = drawn.copy()
    veiled = np.zeros(image.shape[:2], np.uint8)
    thickness = max(1, round(max(image.shape[:2]) / 600))
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


def class_color(class_id: int) -> tuple[int, int, int]:
    """The RGB colour of a class: the same in every picture and run, however many classes there are.

    Hues step by the golden ratio, so that neighbours differ; every second turn is darker.
    """
    hue = (0.92 + class_id * 0.6180339887) % 1.0
    value = (1.0, 0.8)[class_id % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_detections(
    image: ImageArray,
    detections: Detections,
    classes: Sequence[str],
    labels: Sequence[str] | None = None,
) -> ImageArray:
    """Draw boxes, masks where there are any, and labels such as "rubber duck 0.87".

    Lines and letters grow with the picture's longer side, so that a picture of 100 pixels and one
    of 6000 look alike when they fill the same screen. Labels stay inside the picture.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        detections: Boxes in its pixels; without scores (labelled truth) only the name is written.
        classes: Name of each class id.
        labels: Texts instead of name and score, one for each detection.

    Returns:
        A new picture of the same size.
    """
    if len(detections) == 0:
        return image.copy()
    import supervision as sv

    height, width = image.shape[:2]
    if detections.class_id is None:
        raise ValueError("detections need class ids to be drawn")
    longer = max(height, width)
    thickness = 1 if longer < 300 else max(2, round(longer / 400))
    # The best are drawn last and lie on top.
    if detections.confidence is not None:
        order = np.argsort(detections.confidence, kind="stable")
        labels = None if labels is None else [labels[i] for i in order]
        detections = cast("Detections", detections[order])
    assert detections.class_id is not None
    texts = _texts(detections, classes) if labels is None else list(labels)
    colors = [class_color(k) for k in range(int(detections.class_id.max()) + 1)]
    fills = [colors[k] for k in detections.class_id]
    masks = detection_masks(detections)
    if masks is not None:
        image = draw_masks(image, masks, fills)
    # Supervision takes arrays for BGR: to turn the colours round is quicker than to turn each pixel.
    palette = sv.ColorPalette([sv.Color(*color[::-1]) for color in colors])
    canvas = image.copy()
    inside = _inside(detections, height, width, thickness)
    if thickness > 1:  # a dark rim keeps every colour readable on a bright ground
        rim = max(1, thickness // 3)
        dark = sv.BoxAnnotator(color=sv.Color(20, 20, 20), thickness=thickness + 2 * rim)
        canvas = dark.annotate(canvas, inside)
    canvas = sv.BoxAnnotator(color=palette, thickness=thickness).annotate(canvas, inside)
    return draw_captions(canvas, inside.xyxy, texts, fills)


def draw_grid(
    images: Sequence[ImageArray], columns: int = 4, cell_px: int = 240, gap_px: int = 6
) -> ImageArray:
    """A contact sheet: each picture shrunk into a square cell, row by row, on white.

    Raises:
        ValueError: If there are no pictures.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one picture")
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    step = cell_px + gap_px
    sheet = np.full((rows * step + gap_px, columns * step + gap_px, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top = gap_px + index // columns * step
        left = gap_px + index % columns * step
        cell = letterbox(fit(image, cell_px), (cell_px, cell_px), fill=235)
        sheet[top : top + cell_px, left : left + cell_px] = cell
    return sheet


class FramesWriter:
    """Write annotated pictures as JPEG into a folder that replaces an older one once all are there.

    No two share a file: a.png and a.jpg become a.jpg and a_2.jpg.

    Example:
        with FramesWriter("results/new/frames") as frames:
            path = frames.write("a.png", picture)
    """

    def __init__(self, folder: str | Path, quality: int = 92, verb: str | None = None) -> None:
        self.folder = Path(folder)
        self.verb = verb  # as in `own_output`
        self.quality = quality
        self._taken: set[str] = set()
        self._stack = contextlib.ExitStack()
        self._part: Path | None = None

    def __enter__(self) -> FramesWriter:
        self._part = self._stack.enter_context(own_output(self.folder, self.verb))
        self._part.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, file_name: str, image: ImageArray) -> Path:
        """Write one picture.

        Args:
            file_name: The name it came with; its folder and suffix are dropped.
            image: (H, W, 3) RGB uint8.

        Returns:
            Where it will lie when the block ends.
        """
        from PIL import Image

        if self._part is None:
            raise ValueError("write frames inside a `with FramesWriter(...)` block")
        stem = Path(file_name).stem
        name, number = stem, 1
        # Compared without case: some file systems (Drive on a Mac, Windows) do the same.
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.casefold())
        # No colour subsampling: it smears thin coloured lines.
        Image.fromarray(image).save(self._part / f"{name}.jpg", quality=self.quality, subsampling=0)
        return self.folder / f"{name}.jpg"


def _texts(detections: Detections, classes: Sequence[str]) -> list[str]:
    assert detections.class_id is not None
    names = [classes[k] for k in detections.class_id]
    if detections.confidence is None:
        return names
    return [f"{n} {s:.2f}" for n, s in zip(names, detections.confidence, strict=True)]


def _inside(detections: Detections, height: int, width: int, thickness: int) -> Detections:
    """The same boxes without masks, moved inward so that a line at the border is seen whole."""
    import supervision as sv

    inset = thickness // 2
    last = np.array([width, height, width, height]) - 1 - inset
    xyxy = np.clip(detections.xyxy, inset, np.maximum(last, inset)).astype(np.float32)
    return sv.Detections(xyxy=xyxy, class_id=detections.class_id)
