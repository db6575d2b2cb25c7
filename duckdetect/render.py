"""Results to look at and to hand on: boxes, masks and labels on pictures; frames; JSON.

    picture = draw_detections(picture, detections, classes)
    with FramesWriter("results/new/frames") as frames:
        frames.write("a.png", picture)
    write_detections_json("results/new/detections.json", records, classes)

GIF is in gif.py, video in video_out.py, how labels are written in captions.py.
"""

from __future__ import annotations

import colorsys
import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from duckdetect.captions import draw_captions
from duckdetect.files import atomic_path
from duckdetect.masks import detection_masks, detection_rles
from duckdetect.overlay import draw_masks

if TYPE_CHECKING:
    from supervision import Detections

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Record = (
    tuple[int, str, "Detections"]  # image_id, file_name, what was found there
    | tuple[int, str, "Detections", dict[str, Any]]  # and more that is written with each detection
)


def class_color(class_id: int) -> tuple[int, int, int]:
    """The RGB colour of a class: the same in every picture and run, however many classes there are.

    Hues step by the golden ratio, so that neighbours differ; every second turn is darker.
    """
    hue = (0.92 + class_id * 0.6180339887) % 1.0
    value = (1.0, 0.8)[class_id % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_detections(
    picture: Picture,
    detections: Detections,
    classes: Sequence[str],
    labels: Sequence[str] | None = None,
) -> Picture:
    """Draw boxes, masks where there are any, and labels such as "rubber duck 0.87".

    Lines and letters grow with the picture's longer side, so that a picture of 100 pixels and one
    of 6000 look alike when they fill the same screen. Labels stay inside the picture.

    Args:
        picture: (H, W, 3) RGB uint8; it is not changed.
        detections: Boxes in its pixels; without scores (labelled truth) only the name is written.
        classes: Name of each class id.
        labels: Texts instead of name and score, one for each detection.

    Returns:
        A new picture of the same size.
    """
    if len(detections) == 0:
        return picture.copy()
    import supervision as sv

    height, width = picture.shape[:2]
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
        picture = draw_masks(picture, masks, fills)
    # Supervision takes arrays for BGR: to turn the colours round is quicker than to turn each pixel.
    palette = sv.ColorPalette([sv.Color(*color[::-1]) for color in colors])
    canvas = picture.copy()
    inside = _inside(detections, height, width, thickness)
    if thickness > 1:  # a dark rim keeps every colour readable on a bright ground
        rim = max(1, thickness // 3)
        dark = sv.BoxAnnotator(color=sv.Color(20, 20, 20), thickness=thickness + 2 * rim)
        canvas = dark.annotate(canvas, inside)
    canvas = sv.BoxAnnotator(color=palette, thickness=thickness).annotate(canvas, inside)
    return draw_captions(canvas, inside.xyxy, texts, fills)


def draw_grid(
    pictures: Sequence[Picture], columns: int = 4, cell_px: int = 240, gap_px: int = 6
) -> Picture:
    """A contact sheet: each picture shrunk into a square cell, row by row, on white.

    Raises:
        ValueError: If there are no pictures.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    step = cell_px + gap_px
    sheet = np.full((rows * step + gap_px, columns * step + gap_px, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top = gap_px + index // columns * step
        left = gap_px + index % columns * step
        cell = letterbox(fit(picture, cell_px), (cell_px, cell_px), fill=235)
        sheet[top : top + cell_px, left : left + cell_px] = cell
    return sheet


def fit(picture: Picture, max_side_px: int) -> Picture:
    """Shrink a picture, never enlarge it, so that its longer side is at most `max_side_px`."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return picture
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture).resize(size_wh, Image.Resampling.LANCZOS))


def letterbox(picture: Picture, size_hw: tuple[int, int], fill: int = 0) -> Picture:
    """Centre a picture on a plain ground of `size_hw`, which must be at least as large."""
    height, width = picture.shape[:2]
    if (height, width) == size_hw:
        return picture
    canvas = np.full((*size_hw, 3), fill, np.uint8)
    top, left = (size_hw[0] - height) // 2, (size_hw[1] - width) // 2
    canvas[top : top + height, left : left + width] = picture
    return canvas


class FramesWriter:
    """Write annotated pictures as JPEG into a folder that replaces an older one once all are there.

    No two share a file: a.png and a.jpg become a.jpg and a_2.jpg.

    Example:
        with FramesWriter("results/new/frames") as frames:
            path = frames.write("a.png", picture)
    """

    def __init__(self, folder: str | Path, quality: int = 92) -> None:
        self.folder = Path(folder)
        self.quality = quality
        self._taken: set[str] = set()
        self._stack = contextlib.ExitStack()
        self._part: Path | None = None

    def __enter__(self) -> FramesWriter:
        self._part = self._stack.enter_context(atomic_path(self.folder))
        self._part.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, file_name: str, picture: Picture) -> Path:
        """Write one picture.

        Args:
            file_name: The name it came with; its folder and suffix are dropped.
            picture: (H, W, 3) RGB uint8.

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
        Image.fromarray(picture).save(
            self._part / f"{name}.jpg", quality=self.quality, subsampling=0
        )
        return self.folder / f"{name}.jpg"


def write_frames(folder: str | Path, named: Iterable[tuple[str, Picture]]) -> list[Path]:
    """Write (file name, picture) pairs with FramesWriter; returns the files in that order."""
    with FramesWriter(folder) as frames:
        return [frames.write(name, picture) for name, picture in named]


def write_detections_json(
    path: str | Path, records: Iterable[Record], classes: Sequence[str]
) -> None:
    """Write detections in COCO's results format and two names more, one detection a line.

    Detections with identities get "track_id" as well.

    Args:
        path: The file; an older one is replaced once all is written.
        records: (image_id, file_name, detections) for each picture, and a dictionary of what else
            each detection's line shall say, if anything; may be a generator.
        classes: Name of each class id; `category_id` is the class id + 1, as in a data set's COCO.
    """
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as file:
        between = "[\n"
        for image_id, file_name, detections, *more in records:
            for row in _json_rows(image_id, file_name, detections, classes):
                row = {**row, **(more[0] if more else {})}
                file.write(between + json.dumps(row, allow_nan=False, ensure_ascii=False))
                between = ",\n"
        file.write("[]\n" if between == "[\n" else "\n]\n")


def _json_rows(
    image_id: int, file_name: str, detections: Detections, classes: Sequence[str]
) -> Iterable[dict[str, Any]]:
    if len(detections) == 0:
        return
    if detections.confidence is None or detections.class_id is None:
        raise ValueError("detections need scores and class ids to be written")
    xyxy = detections.xyxy.astype(np.float64)
    rles = detection_rles(detections)
    for index, (x1, y1, x2, y2) in enumerate(xyxy.tolist()):
        class_id = int(detections.class_id[index])
        row: dict[str, Any] = {
            "image_id": int(image_id),
            "file_name": file_name,
            "category_id": class_id + 1,
            "category_name": classes[class_id],
            "bbox": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
            # The shortest number that is this score: 0.87, not 0.8700000047683716.
            "score": float(str(detections.confidence[index])),
        }
        if detections.tracker_id is not None:
            row["track_id"] = int(detections.tracker_id[index])
        if rles is not None:
            row["segmentation"] = rles[index]
        yield row


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
