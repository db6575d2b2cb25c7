"""Drawing boxes in Colab with the Object Detection API's own widget, with its faults patched.

The widget is a script that `object_detection.utils.colab_utils.annotate` sends to the page, and a
callback that the script calls. Both are used as they are, but for the lines of the script named in
`_PATCHES` and for numbers that its callback breaks on. It works in Colab alone: it needs `google.colab`.

That widget knows no classes and writes no titles. So each image is shown once for each class,
and the canvas that is sent to it says above the image which class to draw. What comes back is saved
each time another image is turned to, not only at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect.annotation.canvas import TITLE_HEIGHT, CanvasTransform, Xyxy, fit, paint
from duckdetect.annotation.store import Box
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import to_normalised

if TYPE_CHECKING:
    from duckdetect.annotation.session import Session

CANVAS_HEIGHT = 600

"""The widget shows every image this high but as wide as it is; other heights are distorted."""


@dataclass(frozen=True)
class Drawn:
    """What the page sends each time another image is turned to or "submit" is pressed.

    Attributes:
        boxes: For each image (N, 4) float64: y1, x1, y2, x2, normalised to 0..1.
        seen: Indices of the images that have been on the screen.
        none: Indices of those marked "no object".
        submitted: Whether "submit" was pressed.
    """

    boxes: list[np.ndarray]
    seen: frozenset[int]
    none: frozenset[int]
    submitted: bool


@dataclass(frozen=True)
class _Patch:
    """One change of the script: the fault, a text found once in it, and what replaces that."""

    fault: str
    old: str
    new: str


_PATCHES = (
    _Patch(
        "boxes drawn earlier do not appear",
        "allBoundingBoxes[i] = [];",
        "allBoundingBoxes[i] = duckdetect.boxes[i];",
    ),
    _Patch(
        "the first picture appears without its boxes",
        "//configure colab output display",
        "resetcanvas();",
    ),
    _Patch(
        "deleted boxes come back, and those drawn after 'delete all' are lost",
        "boundingBoxes = [];\n",
        "boundingBoxes.length = 0;\n",
    ),
    _Patch(
        "a click without dragging repeats the box drawn before it",
        "isDrawing = true;",
        "isDrawing = true; m = start; draw();",
    ),
    _Patch(
        "a click makes a box without a size, which 'undo' would have to take away",
        "boundingBoxes.push(box);",
        """
        if (box.w * image.width >= 3 && box.h * image.height >= 3) {
          boundingBoxes.push(box);
          duckdetect.none.delete(curr_image);
        }
        """,
    ),
    _Patch(
        "boxes are lost unless 'submit' is pressed",
        "function resetcanvas(){",
        """
        async function save(submitted) {
          errorlog.textContent = "saving ...";
          const state = {seen: [...duckdetect.seen], none: [...duckdetect.none], submitted};
          try {
            const reply = await google.colab.kernel.invokeFunction(
                callbackId, [allBoundingBoxes, state], {});
            errorlog.textContent = reply.data["application/json"].message;
          } catch (error) {
            errorlog.textContent = "NOT SAVED: " + error;
          }
        }

        function resetcanvas(){
          if (duckdetect.seen.size) save(false);
          duckdetect.seen.add(curr_image);
        """,
    ),
    _Patch(
        "nothing tells whether the boxes have been saved",
        "google.colab.kernel.invokeFunction(callbackId, [allBoundingBoxes], {});",
        "save(true);",
    ),
    _Patch(
        "a picture without the object cannot be told from one not yet looked at",
        "div.appendChild(submit)",
        """
        const none = document.createElement('button');
        none.textContent = "no object here";
        none.onclick = function(){
          boundingBoxes.length = 0;
          duckdetect.none.add(curr_image);
          next.onclick();
        }
        div.appendChild(none);
        div.appendChild(submit);
        """,
    ),
)


def draw_boxes(
    canvases: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    on_save: Callable[[Drawn], str],
) -> None:
    """Show the widget; returns at once.

    Args:
        canvases: Images (600, W, 3) uint8.
        boxes: For each of them the boxes to begin with, (N, 4): y1, x1, y2, x2, normalised.
        on_save: Called with all boxes drawn so far; what it returns is shown below the image, and
            so is the text of a `UserError` that it raises.

    Raises:
        UserError: If the API is not installed, or its widget's script is another one.
    """
    try:
        from object_detection.utils import colab_utils
    except ModuleNotFoundError as error:
        raise UserError(
            f"Colab's box widget cannot be loaded ({error}): install the Object Detection API, or "
            "call annotate(..., widget='jupyter')"
        ) from error

    storage: list[np.ndarray | None] = []

    def patched_script(script: str) -> Any:
        return javascript(patch_script(script, boxes))

    def patched_callback(name: str, callback: Callable[[list[Any]], None]) -> None:
        def clean_store_save(annotations: list[Any], state: dict[str, Any]) -> Any:
            callback([_clean(rectangles) for rectangles in annotations])
            return _json({"message": _saved(on_save, storage, state)})

        register_callback(name, clean_store_save)

    javascript = colab_utils.Javascript
    register_callback = colab_utils.output.register_callback
    with (
        _replaced(colab_utils, "Javascript", patched_script),
        _replaced(colab_utils.output, "register_callback", patched_callback),
    ):
        colab_utils.annotate(list(canvases), storage, callbackId=f"duckdetect{uuid.uuid4().hex}")


def patch_script(script: str, boxes: Sequence[np.ndarray]) -> str:
    """The widget's script with its faults patched and `boxes` (as for `draw_boxes`) in it.

    Raises:
        UserError: If a line to be patched is not there, so that this is another script.
    """
    for change in _PATCHES:
        if script.count(change.old) != 1:
            raise UserError(
                "this Object Detection API's box widget is not the known one "
                f"(cannot patch: {change.fault}): call annotate(..., widget='jupyter')"
            )
        script = script.replace(change.old, change.new)
    rectangles = [
        [
            {"x": float(x1), "y": float(y1), "w": float(x2 - x1), "h": float(y2 - y1)}
            for y1, x1, y2, x2 in image
        ]
        for image in boxes
    ]
    # One object for each widget: its function is given the callback's id, of which there is one.
    state = f"{{boxes: {json.dumps(rectangles)}, seen: new Set(), none: new Set()}}"
    head, brace, body = script.partition("{")
    return f"{head}{brace} const duckdetect = {state};{body}"


def _saved(
    on_save: Callable[[Drawn], str], storage: list[np.ndarray | None], state: dict[str, Any]
) -> str:
    # The API stores None for an image without a box.
    boxes = [np.zeros((0, 4)) if stored is None else np.asarray(stored) for stored in storage]
    seen, none = frozenset(state["seen"]), frozenset(state["none"])
    try:
        return on_save(Drawn(boxes, seen, none, bool(state["submitted"])))
    except UserError as error:
        # Nobody sees a callback's traceback in Colab.
        return f"NOT SAVED: {error}"


def _clean(rectangles: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Without rectangles that lack a number (NaN comes as null) and those drawn twice."""
    clean: list[dict[str, float]] = []
    for rectangle in rectangles:
        values = [rectangle.get(key) for key in ("x", "y", "w", "h")]
        is_box = all(isinstance(v, int | float) and math.isfinite(v) for v in values)
        if is_box and rectangle not in clean:
            clean.append(rectangle)
    return clean


def _json(value: dict[str, Any]) -> Any:
    from IPython.display import JSON

    return JSON(value)


@contextlib.contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    old = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, old)


_MAX_WIDTH = 900

_FRAME = 12

# Of the canvas' side: far less than a pixel, far more than what JavaScript's sums round off.
_UNMOVED = 1e-6


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One image for one class, with the boxes that it is first shown with."""

    image: int
    class_name: str
    shown: CanvasTransform
    boxes: list[Box]

    def normalised(self) -> np.ndarray:
        """(N, 4) float64: y1, x1, y2, x2 as parts of the canvas' sides."""
        xyxy = np.array([self.shown.to_canvas(box.xyxy) for box in self.boxes], float)
        return to_normalised(xyxy.reshape(-1, 4), self.shown.canvas_hw)

    def read(self, yxyx: np.ndarray) -> list[Box]:
        """The boxes as the widget gives them back; those that were not moved are the very same."""
        first = self.normalised()
        height, width = self.shown.canvas_hw
        boxes = []
        for y1, x1, y2, x2 in yxyx:
            same = np.flatnonzero(np.abs(first - (y1, x1, y2, x2)).max(axis=1) < _UNMOVED)
            on_canvas = x1 * width, y1 * height, x2 * width, y2 * height
            xyxy: Xyxy | None = self.shown.to_image(on_canvas)
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
            UserError: If the Object Detection API's widget cannot be used, or an image not read.
        """
        session, canvases = self._session, []
        self._entries, self._saved = [], {}
        count = len(session.images)
        for class_name in session.classes:
            for index, path in enumerate(session.images):
                image = session.image(index)
                shown = place((image.shape[0], image.shape[1]))
                boxes = [box for box in session.boxes(index) if box.class_name == class_name]
                # The title is painted once: it can only say what stays true while one draws.
                state = " - marked: no object" if session.status(index) == "no object" else ""
                title = f"{class_name}: {index + 1} of {count} - {path.name}{state}"
                canvases.append(paint(image, shown, title, session.others(index)))
                self._entries.append(_Entry(index, class_name, shown, boxes))
        draw_boxes(canvases, [entry.normalised() for entry in self._entries], self._save)

    def _save(self, drawn: Drawn) -> str:
        for index in sorted({self._entries[i].image for i in drawn.seen}):
            self._save_image(index, drawn)
        return f"Saved. {self._session.progress()}"

    def _save_image(self, index: int, drawn: Drawn) -> None:
        ours = [i for i, entry in enumerate(self._entries) if entry.image == index]
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


def place(size_hw: tuple[int, int]) -> CanvasTransform:
    """Where an image stands on the widget's canvas: below the title, always 600 pixels high."""
    shown = fit(size_hw, (CANVAS_HEIGHT - TITLE_HEIGHT, _MAX_WIDTH), _FRAME)
    return dataclasses.replace(
        shown,
        canvas_hw=(CANVAS_HEIGHT, max(shown.canvas_hw[1], _MAX_WIDTH // 2)),
        top=shown.top + TITLE_HEIGHT,
    )
