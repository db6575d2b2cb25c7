"""Drawing on images: boxes, masks and labels of detections, grids, folders of frames.

    image = draw_detections(image, detections, classes)
    with FramesWriter("results/new/frames") as frames:
        frames.write("a.png", image)

Labels are our own: supervision's know ASCII only, or one font, and run off the image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from duckdetect.imaging.fonts import Line, clean, set_line, shorten
from duckdetect.imaging.geometry import detection_masks
from duckdetect.imaging.io import ImageArray, fit, letterbox
from duckdetect.utils.files import FreeNames
from duckdetect.utils.outputs import own_output
from duckdetect.utils.reading import as_whole

if TYPE_CHECKING:
    from supervision import Detections

Color = tuple[int, int, int]


def draw_captions(
    image: npt.NDArray[np.uint8],
    xyxy: npt.NDArray[Any],
    texts: Sequence[str],
    fills: Sequence[Color],
    size_px: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Write one caption at each box, where it hides least: above it, beside it, below or inside.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        xyxy: (N, 4) boxes in its pixels.
        texts: N captions; one that is wider than the picture is shortened, its last word kept; one
            that is empty is left out.
        fills: N background colours; the letters are black or white, whichever is clearer.
        size_px: The letters' size; by the picture's longer side if None.

    Returns:
        A new picture.
    """
    size_hw = (image.shape[0], image.shape[1])
    tags = _tags(texts, size_px or _largest_px(size_hw), size_hw)
    out = image.copy()
    _paint_tags(out, tags, _places(xyxy, [tag.size_wh for tag in tags], size_hw), fills)
    return out


def draw_line(
    image: npt.NDArray[np.uint8],
    text: str,
    corner_xy: tuple[int, int],
    size_px: int,
    ink: Color,
    keep: str | None = None,
) -> npt.NDArray[np.uint8]:
    """Write a line from a corner to the right, shortened where the picture ends.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        text: The line.
        corner_xy: Its upper left corner, pixels.
        size_px: The size of its letters.
        ink: Their colour.
        keep: The end of the line that is never cut off; its last word if None.

    Returns:
        A new picture.
    """
    canvas = Image.fromarray(np.ascontiguousarray(image))
    line = set_line(shorten(clean(text), size_px, canvas.width - corner_xy[0], keep), size_px)
    line.draw(canvas, (corner_xy[0], corner_xy[1] + line.ascent_px), ink)
    return np.array(canvas)


def _largest_px(size_hw: tuple[int, int]) -> int:
    """Letters of a picture with few boxes: readable when it fills a screen."""
    return max(10, round(max(size_hw) / 42))


def _smallest_px(size_hw: tuple[int, int]) -> int:
    """The smallest that can still be read when the picture fills a screen."""
    return max(9, round(max(size_hw) / 80))


@dataclass(frozen=True)
class _Tag:
    """A caption as it will be painted; one of size 0 is not."""

    line: Line
    pad_px: int

    @property
    def size_wh(self) -> tuple[int, int]:
        if not self.line.text:
            return 0, 0
        width = int(self.line.width_px) + 1 + 2 * self.pad_px
        return width, self.line.ascent_px + self.line.descent_px + self.pad_px


def _tags(texts: Sequence[str], size_px: int, size_hw: tuple[int, int]) -> list[_Tag]:
    pad = max(1, size_px // 5)
    room = size_hw[1] - 2 * pad
    return [_Tag(set_line(shorten(clean(text), size_px, room), size_px), pad) for text in texts]


def _paint_tags(
    out: npt.NDArray[np.uint8],
    tags: Sequence[_Tag],
    corners: Sequence[tuple[int, int]],
    fills: Sequence[Color],
) -> None:
    height, width = out.shape[:2]
    for tag, (x, y), fill in zip(tags, corners, fills, strict=True):
        w, h = tag.size_wh
        if not w:
            continue
        # On a piece of its own: Pillow would copy the whole picture twice, for each frame of a video.
        piece = Image.new("RGB", (min(w, width), min(h, height)), fill)
        tag.line.draw(piece, (tag.pad_px, tag.pad_px // 2 + tag.line.ascent_px), _ink(fill))
        here = out[y : y + h, x : x + w]
        here[:] = np.asarray(piece)[: here.shape[0], : here.shape[1]]


# What a place costs: a caption on another caption, on another box and on its own box (in shares of
# what is hidden), and how far down the list of places it stands.
_ON_CAPTION, _ON_OTHER, _ON_OWN, _LATER = 100.0, 1.0, 0.7, 0.05


def _places(
    xyxy: npt.NDArray[Any], sizes_wh: Sequence[tuple[int, int]], size_hw: tuple[int, int]
) -> list[tuple[int, int]]:
    """Top left corners, inside the picture, where captions hide least of the boxes and each other.

    The last box chooses first: it is the best detection.

    Returns:
        N corners (x, y).
    """
    height, width = size_hw
    n = len(xyxy)
    boxes = np.clip(np.asarray(xyxy, float).reshape(-1, 4), 0, [width, height, width, height])
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1)
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
        at = np.array([(x, y, x + w, y + h) for x, y in choices], float)  # (K, 4)
        hidden = _intersections(at, boxes) / areas  # (K, N)
        own = hidden[:, index].copy()
        hidden[:, index] = 0
        on_captions = _intersections(at, taken[:rank]) / max(w * h, 1)
        cost = (
            _ON_CAPTION * on_captions.sum(axis=1)
            + _ON_OTHER * hidden.sum(axis=1)
            + _ON_OWN * own
            + _LATER * np.arange(len(choices))
        )
        x, y = choices[int(cost.argmin())]
        corners[index] = (x, y)
        taken[rank] = (x, y, x + w, y + h)
    return corners


def _intersections(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Pixels that boxes share, (A, B)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.prod(np.clip(high - low, 0, None), axis=2))


# Labels are written in full where they hide no more than these shares: of a box in the mean, of the
# worst one, and of one another.
_MEAN_HIDDEN, _WORST_HIDDEN, _WORST_COVERED = 0.1, 0.35, 0.15


def _hide_little(
    corners: Sequence[tuple[int, int]],
    sizes_wh: Sequence[tuple[int, int]],
    boxes: npt.NDArray[Any],
) -> bool:
    """Whether captions leave the boxes, and each other, to be seen."""
    tags = np.array(
        [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sizes_wh, strict=True)]
    )
    areas = np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1)
    hidden = np.minimum((_intersections(tags, boxes) / areas).sum(axis=0), 1)
    tag_areas = np.maximum(np.prod(tags[:, 2:] - tags[:, :2], axis=1), 1)
    among = _intersections(tags, tags)
    np.fill_diagonal(among, 0)
    covered = among.sum(axis=0) / tag_areas
    return bool(
        hidden.mean() <= _MEAN_HIDDEN
        and hidden.max() <= _WORST_HIDDEN
        and covered.max() <= _WORST_COVERED
    )


def _ink(fill: Color) -> Color:
    red, green, blue = fill
    # Rec. 601 luma: how bright the colour looks.
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


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
            # A copy: a view would keep the whole mask, a hundred of a photo a gigabyte.
            placed.append((int(np.count_nonzero(bits[inside])), inside, bits[inside].copy(), fill))
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


# Chosen one after the other, each the farthest from those before it as people see it who have all
# three kinds of cones or lack one (OKLab distance; Machado, Oliveira and Fernandes 2009).
_PALETTE: tuple[Color, ...] = (
    *((255, 38, 142), (195, 255, 0), (30, 165, 255), (105, 60, 0), (0, 0, 255), (240, 150, 0)),
    *((255, 195, 255), (75, 45, 135), (0, 135, 60), (0, 225, 165), (150, 60, 180)),
    *((105, 105, 255), (180, 120, 195), (150, 30, 90), (210, 210, 90), (150, 255, 210)),
    *((240, 0, 0), (180, 180, 255), (255, 120, 120), (15, 90, 135), (60, 0, 195)),
    *((240, 150, 210), (180, 105, 105), (30, 90, 225), (240, 105, 255), (75, 255, 150)),
    *((195, 135, 75), (135, 105, 180), (120, 0, 105), (105, 195, 165), (225, 180, 120)),
    (180, 0, 150),
)


def class_color(class_id: int) -> Color:
    """The RGB colour of a class: the same in every picture and run, however many classes there are.

    The first 32 can be told apart by the colour-blind; later ones are darker ones of the same.
    """
    turn, index = divmod(class_id, len(_PALETTE))
    red, green, blue = _PALETTE[index]
    shade = (1.0, 0.75, 0.55)[turn % 3]
    return round(red * shade), round(green * shade), round(blue * shade)


@dataclass(frozen=True)
class DrawStyle:
    """What is drawn at a box.

    Attributes:
        labels: Whether names (and a legend in a crowded picture) are written at all.
        scores: Whether scores are.
        line_px: Width of the boxes' lines in pixels; by the picture and the box if None.
        text_px: Size of the letters where there is room for them; by the picture if None.
    """

    labels: bool = True
    scores: bool = True
    line_px: int | None = None
    text_px: int | None = None

    def __post_init__(self) -> None:
        if self.line_px is not None:
            as_whole(self.line_px, "the line width", 1, 100, "give 1 to 100 pixels")


_MANY = 60  # boxes; of more, nobody reads full labels

_TOO_MANY = 300  # more get no tags at all, and the legend tells the colours

_MOST_LEGEND = 12  # lines


class LabelMemory:
    """What the labels of a video's last frames were like, so that they do not jump.

    A legend stays while it is needed, and for `stay` frames after that, in its corner.
    """

    def __init__(self, stay: int = 30) -> None:
        self._stay = stay
        self._level, self._left = 0, 0
        self.corner: int | None = None

    def settle(self, level: int) -> int:
        """The level to use in a frame that could do with `level`: no lower than a moment ago."""
        if level >= self._level:
            self._level, self._left = level, self._stay
        elif self._left > 0:
            self._left -= 1
        else:
            self._level, self._left = level, self._stay
        return self._level


def draw_boxes(
    image: ImageArray,
    xyxy: npt.NDArray[Any],
    texts: Sequence[str],
    fills: Sequence[Color],
    *,
    tags: Sequence[str] | None = None,
    legend: Sequence[tuple[str, Color]] = (),
    line_px: int | None = None,
    text_px: int | None = None,
    memory: LabelMemory | None = None,
) -> ImageArray:
    """Draw boxes with labels that follow them: small on small ones, a legend where they are crowded.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        xyxy: (N, 4) boxes in its pixels; the last lie on top.
        texts: N labels in full; empty ones are not drawn.
        fills: N colours.
        tags: N short labels (a number) for a crowded picture; `texts` again if None.
        legend: What the colours and numbers mean, written into an empty corner of a crowded picture.
        line_px: Width of the lines; if None by the picture, thinner for small boxes.
        text_px: Size of the letters where there is room for them; by the picture if None.
        memory: Of a video.

    Returns:
        A new picture of the same size.
    """
    height, width = image.shape[:2]
    size_hw = (height, width)
    canvas = image.copy()
    xyxy = np.asarray(xyxy, float).reshape(-1, 4)
    lines = [line_px or _line_px(box, size_hw) for box in xyxy]
    inside = np.array(
        [_inset(box, size_hw, line) for box, line in zip(xyxy, lines, strict=True)]
    ).reshape(-1, 4)
    for box, line in zip(inside, lines, strict=True):
        if line > 1:  # a dark rim keeps every colour readable on a bright ground
            rim = line + 2 * max(1, line // 3)
            _outline(canvas, box, rim, (20, 20, 20))
    for box, line, fill in zip(inside, lines, fills, strict=True):
        _outline(canvas, box, line, fill)
    if not any(texts) or not len(inside):
        return canvas
    painted, crowded = _fitting_tags(inside, texts, tags, size_hw, text_px, memory)
    if painted is not None:
        _paint_tags(canvas, *painted, fills)
    if crowded and legend:
        _paint_legend(canvas, legend, inside, memory)
    return canvas


def _outline(canvas: ImageArray, box: npt.NDArray[Any], line_px: int, color: Color) -> None:
    """Four lines of exactly this width, whose middle is the box. OpenCV's are a pixel or two wider."""
    x1, y1, x2, y2 = (int(value) - line_px // 2 for value in box)
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = max(x2 + line_px, 0), max(y2 + line_px, 0)
    for y in (y1, y2):
        canvas[max(y, 0) : max(y + line_px, 0), left:right] = color
    for x in (x1, x2):
        canvas[top:bottom, max(x, 0) : max(x + line_px, 0)] = color


def _line_px(box: npt.NDArray[Any], size_hw: tuple[int, int]) -> int:
    """Lines grow with the picture, but hide no small object."""
    longer = max(size_hw)
    usual = 1 if longer < 300 else max(2, round(longer / 400))
    side = min(box[2] - box[0], box[3] - box[1])
    return int(min(usual, max(1, side // 12)))


def _inset(
    box: npt.NDArray[Any], size_hw: tuple[int, int], line_px: int
) -> npt.NDArray[np.float64]:
    """A box moved inward so that a line at the border is seen whole."""
    inset = line_px // 2
    last = np.array([size_hw[1], size_hw[0]] * 2) - 1 - inset
    return np.asarray(np.clip(box, inset, np.maximum(last, inset)))


_Painted = tuple[list[_Tag], list[tuple[int, int]]]


def _fitting_tags(
    boxes: npt.NDArray[Any],
    texts: Sequence[str],
    tags: Sequence[str] | None,
    size_hw: tuple[int, int],
    text_px: int | None,
    memory: LabelMemory | None,
) -> tuple[_Painted | None, bool]:
    """The largest labels that hide little: in full, in full and small, short and small, or none.

    Returns:
        The labels with their corners (None for none), and whether a legend must help.
    """
    large, small = text_px or _largest_px(size_hw), _smallest_px(size_hw)
    short = texts if tags is None else tags
    steps = [(texts, large), (texts, (large + small) // 2), (texts, small), (short, small)]
    # Of a small object even a label beside it is too loud.
    side = float(np.median(np.min(boxes[:, 2:] - boxes[:, :2], axis=1)))
    first = 0 if side >= 3 * large else 1 if side >= 1.5 * large else 2
    if len(boxes) > _MANY:
        first = 3 if len(boxes) <= _TOO_MANY else 4
    found: _Painted | None = None
    level = first
    for level in range(first, len(steps) + 1):
        if level == len(steps):
            found = None
            break
        found = _placed(boxes, *steps[level], size_hw)
        if _hide_little(found[1], [tag.size_wh for tag in found[0]], boxes):
            break
        if (
            level == 3 and len(boxes) <= _MANY
        ):  # tags of one or two signs, on boxes still to be seen
            break
    if memory is not None and (kept := memory.settle(level)) != level:
        level = kept
        found = _placed(boxes, *steps[level], size_hw) if level < len(steps) else None
    return found, level >= 3


def _placed(
    boxes: npt.NDArray[Any], texts: Sequence[str], size_px: int, size_hw: tuple[int, int]
) -> _Painted:
    made = _tags(texts, size_px, size_hw)
    return made, _places(boxes, [tag.size_wh for tag in made], size_hw)


def _paint_legend(
    canvas: ImageArray,
    legend: Sequence[tuple[str, Color]],
    boxes: npt.NDArray[Any],
    memory: LabelMemory | None,
) -> None:
    """Write lines with their colours on a dark ground into the corner that holds least."""
    height, width = canvas.shape[:2]
    size_px = _smallest_px((height, width)) + 1
    pad = max(2, size_px // 3)
    step = round(1.45 * size_px)
    most = max(1, min(_MOST_LEGEND, (height // 2 - pad) // step))
    rows = list(legend[:most])
    if len(legend) > most:
        rows[-1] = (f"... and {len(legend) - most + 1} more", (235, 235, 235))
    room = max(width // 2 - step - 3 * pad, size_px)
    lines = [set_line(shorten(clean(text), size_px, room), size_px) for text, _ in rows]
    w = min(width, round(max(line.width_px for line in lines)) + step + 3 * pad)
    h = min(height, step * len(lines) + 2 * pad)
    places = [(0, 0), (width - w, 0), (0, height - h), (width - w, height - h)]
    at = np.array([(x, y, x + w, y + h) for x, y in places], float)
    hidden = _intersections(at, boxes).sum(axis=1)
    best = int(hidden.argmin())
    if memory is not None:
        kept = memory.corner
        # An eighth of the legend's area is not worth a jump.
        if kept is not None and hidden[kept] <= hidden[best] + w * h / 8:
            best = kept
        memory.corner = best
    x, y = places[best]
    here = canvas[y : y + h, x : x + w]
    piece = Image.fromarray((here * 0.25).astype(np.uint8))
    for row, (line, (_, fill)) in enumerate(zip(lines, rows, strict=True)):
        top = pad + row * step
        if fill != (235, 235, 235):
            ImageDraw.Draw(piece).rectangle(
                (pad, top + 2, pad + size_px, top + 1 + size_px), fill=fill, outline=(235, 235, 235)
            )
        line.draw(piece, (2 * pad + size_px, top + line.ascent_px), (255, 255, 255))
    here[:] = np.asarray(piece)


def draw_detections(
    image: ImageArray,
    detections: Detections,
    classes: Sequence[str],
    labels: Sequence[str] | None = None,
    style: DrawStyle | None = None,
    memory: LabelMemory | None = None,
) -> ImageArray:
    """Draw boxes, masks where there are any, and labels such as "rubber duck 0.87".

    Lines and letters grow with the picture's longer side, so that a picture of 100 pixels and one
    of 6000 look alike when they fill the same screen; they are smaller where they would hide small
    or crowded objects. Where even these would, boxes get the number of their class (of one class:
    their score alone), and a legend in a corner names and counts the classes. Labels stay inside the
    picture. With identities (`tracker_id`) each one has a colour and a number that it keeps.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        detections: Boxes in its pixels; without scores (labelled truth) only the name is written.
        classes: Name of each class id.
        labels: Texts instead of name and score, one for each detection.
        style: What is written and how wide lines are.
        memory: Of a video's frames, so that labels do not jump.

    Returns:
        A new picture of the same size.
    """
    if len(detections) == 0:
        return image.copy()
    if detections.class_id is None:
        raise ValueError("detections need class ids to be drawn")
    style = style or DrawStyle()
    # The best are drawn last and lie on top.
    if detections.confidence is not None:
        order = np.argsort(detections.confidence, kind="stable")
        labels = None if labels is None else [labels[i] for i in order]
        detections = cast("Detections", detections[order])
    assert detections.class_id is not None
    numbers = detections.tracker_id
    fills = [class_color(int(k) % _COLORS) for k in detections.class_id]
    if numbers is not None:
        fills = [class_color(int(number) % _COLORS) for number in numbers]
    masks = detection_masks(detections)
    if masks is not None:
        image = draw_masks(image, masks, fills)
    texts = tags = [""] * len(detections)
    if style.labels:
        texts = _texts(detections, classes, style) if labels is None else list(labels)
        tags = _short_texts(detections, style)
    return draw_boxes(
        image,
        detections.xyxy,
        texts,
        fills,
        tags=tags,
        legend=_class_legend(detections, classes),
        line_px=style.line_px,
        text_px=style.text_px,
        memory=memory,
    )


_COLORS = 3 * len(_PALETTE)  # after so many the colours begin again


def draw_shrunk(
    image: ImageArray,
    detections: Detections,
    classes: Sequence[str],
    max_side_px: int,
    style: DrawStyle | None = None,
) -> ImageArray:
    """`draw_detections` on the picture made smaller before, so that lines and letters can be seen.

    Args:
        image: (H, W, 3) RGB uint8; it is not changed.
        detections: Boxes and masks in its pixels.
        classes: Name of each class id.
        max_side_px: The longer side at most.
        style: As `draw_detections` has it.

    Returns:
        The smaller picture.
    """
    import supervision as sv

    small = fit(image, max_side_px)
    zoom = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]] * 2)
    masks = detection_masks(detections)
    if masks is not None:
        masks = np.stack([np.asarray(fit(np.asarray(mask), max_side_px), bool) for mask in masks])
    shrunk = sv.Detections(
        xyxy=(detections.xyxy * zoom).astype(np.float32).reshape(-1, 4),
        confidence=detections.confidence,
        class_id=detections.class_id,
        mask=masks,
    )
    return draw_detections(small, shrunk, classes, style=style)


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
            path = frames.write("a.png", image)
    """

    def __init__(self, folder: str | Path, quality: int = 92, verb: str | None = None) -> None:
        self.folder = Path(folder)
        self.verb = verb  # as in `own_output`
        self.quality = quality
        self._names = FreeNames(by_stem=True)
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
        name = self._names.take(Path(file_name).stem, ".jpg")
        # No colour subsampling: it smears thin coloured lines.
        frame = self._part / name
        Image.fromarray(image).save(frame, format="JPEG", quality=self.quality, subsampling=0)
        return self.folder / name


def _texts(detections: Detections, classes: Sequence[str], style: DrawStyle) -> list[str]:
    """In full: "#3 rubber duck 0.87"; the number of an identity and the score where there are any."""
    assert detections.class_id is not None
    texts = [classes[k] for k in detections.class_id]
    if detections.tracker_id is not None:
        texts = [f"#{n} {text}" for n, text in zip(detections.tracker_id, texts, strict=True)]
    if detections.confidence is None or not style.scores:
        return texts
    return [f"{text} {s:.2f}" for text, s in zip(texts, detections.confidence, strict=True)]


def _short_texts(detections: Detections, style: DrawStyle) -> list[str]:
    """For a crowded picture: the identity, the class's number, or of one class the score."""
    assert detections.class_id is not None
    if detections.tracker_id is not None:
        return [f"#{n}" for n in detections.tracker_id]
    if len(set(detections.class_id.tolist())) > 1:
        return [str(k + 1) for k in detections.class_id]
    if detections.confidence is None or not style.scores:
        return [""] * len(detections)
    return [f"{s:.2f}".removeprefix("0") for s in detections.confidence]


def _class_legend(detections: Detections, classes: Sequence[str]) -> list[tuple[str, Color]]:
    """A line for each class that is there: its number, name and count."""
    assert detections.class_id is not None
    ids, counts = np.unique(detections.class_id, return_counts=True)
    numbered = len(ids) > 1 and detections.tracker_id is None
    grey = (235, 235, 235)  # of identities the colours are not those of classes
    return [
        (
            f"{k + 1}  {classes[k]} ({n})" if numbered else f"{classes[k]} ({n})",
            grey if detections.tracker_id is not None else class_color(int(k)),
        )
        for k, n in zip(ids.tolist(), counts.tolist(), strict=True)
    ]
