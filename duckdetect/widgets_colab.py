"""Drawing boxes in Colab with the Object Detection API's own widget.

That widget knows no classes and writes no titles. So each picture is shown once for each class,
and the canvas that is sent to it says above the picture what is asked for. What comes back is saved
each time another picture is turned to, not only at the end.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from duckdetect.annotations import Box
from duckdetect.shown import TITLE_HEIGHT, Shown, Xyxy, fit, paint

if TYPE_CHECKING:
    from duckdetect.bases.od_api_widget import Drawn
    from duckdetect.sessions import Session

_MAX_WIDTH = 900
_FRAME = 12
# Of the canvas' side: far less than a pixel, far more than what JavaScript's sums round off.
_UNMOVED = 1e-6


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One picture for one class, with the boxes that it is first shown with."""

    picture: int
    class_name: str
    shown: Shown
    boxes: list[Box]

    def normalised(self) -> np.ndarray:
        """(N, 4) float64: y1, x1, y2, x2 as parts of the canvas' sides."""
        height, width = self.shown.canvas_hw
        xyxy = np.array([self.shown.to_canvas(box.xyxy) for box in self.boxes]).reshape(-1, 4)
        return xyxy[:, [1, 0, 3, 2]] / [height, width, height, width]

    def read(self, yxyx: np.ndarray) -> list[Box]:
        """The boxes as the widget gives them back; those that were not moved are the very same."""
        first = self.normalised()
        height, width = self.shown.canvas_hw
        boxes = []
        for y1, x1, y2, x2 in yxyx:
            same = np.flatnonzero(np.abs(first - (y1, x1, y2, x2)).max(axis=1) < _UNMOVED)
            on_canvas = x1 * width, y1 * height, x2 * width, y2 * height
            xyxy: Xyxy | None = self.shown.to_picture(on_canvas)
            if len(same):
                boxes.append(self.boxes[same[0]])
            elif xyxy is not None:
                boxes.append(Box(xyxy, self.class_name))
        return boxes


class ColabWidget:
    """The widget of one session; `show` displays it in the cell that runs, and returns at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._entries: list[_Entry] = []
        self._saved: dict[int, list[Box]] = {}

    def show(self) -> None:
        """Display it.

        Raises:
            UserError: If the Object Detection API's widget cannot be used, or a picture not read.
        """
        from duckdetect.bases.od_api_widget import draw_boxes

        session, canvases = self._session, []
        self._entries, self._saved = [], {}
        count = len(session.pictures)
        for class_name in session.classes:
            for index, path in enumerate(session.pictures):
                picture = session.picture(index)
                shown = place((picture.shape[0], picture.shape[1]))
                boxes = [box for box in session.boxes(index) if box.class_name == class_name]
                # The title is painted once: it can only say what stays true while one draws.
                state = " - marked: no object" if session.status(index) == "no object" else ""
                title = f"{class_name}: {index + 1} of {count} - {path.name}{state}"
                canvases.append(paint(picture, shown, title))
                self._entries.append(_Entry(index, class_name, shown, boxes))
        draw_boxes(canvases, [entry.normalised() for entry in self._entries], self._save)

    def _save(self, drawn: Drawn) -> str:
        for index in sorted({self._entries[i].picture for i in drawn.seen}):
            self._save_picture(index, drawn)
        return f"Saved. {self._session.progress()}"

    def _save_picture(self, index: int, drawn: Drawn) -> None:
        ours = [i for i, entry in enumerate(self._entries) if entry.picture == index]
        boxes, first = [], []
        for i in ours:
            entry = self._entries[i]
            first += entry.boxes
            # What a detector suggests for a class not yet asked for has been seen by nobody.
            kept = [box for box in entry.boxes if box.score is None]
            boxes += entry.read(drawn.boxes[i]) if i in drawn.seen else kept
        suggested = any(box.score is not None for box in first)
        last = self._saved.get(index, first)
        if boxes and (boxes != last or (suggested and drawn.submitted)):
            self._session.save(index, boxes)
            self._saved[index] = boxes
        elif not boxes:
            if drawn.none.issuperset(ours):
                self._session.mark_no_object(index)
            else:
                self._session.save(index, [])
            self._saved[index] = []


def place(size_hw: tuple[int, int]) -> Shown:
    """Where a picture stands on the widget's canvas: below the title, always 600 pixels high."""
    from duckdetect.bases.od_api_widget import CANVAS_HEIGHT

    shown = fit(size_hw, (CANVAS_HEIGHT - TITLE_HEIGHT, _MAX_WIDTH), _FRAME)
    return dataclasses.replace(
        shown,
        canvas_hw=(CANVAS_HEIGHT, max(shown.canvas_hw[1], _MAX_WIDTH // 2)),
        top=shown.top + TITLE_HEIGHT,
    )
