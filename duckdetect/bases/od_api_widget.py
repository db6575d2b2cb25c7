"""The Object Detection API's own box-drawing widget for Colab, with its faults mended.

The widget is a script that `object_detection.utils.colab_utils.annotate` sends to the page, and a
callback that the script calls. Both are used as they are, but for the lines of the script named in
`_MENDS` and for numbers that its callback breaks on. Works in Colab alone: it needs `google.colab`.
"""

from __future__ import annotations

import contextlib
import json
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import duckdetect  # noqa: F401  (switches legacy Keras on, should the API touch Keras)
from duckdetect.errors import UserError

CANVAS_HEIGHT = 600
"""The widget shows every picture this high but as wide as it is; other heights are distorted."""


@dataclass(frozen=True)
class Drawn:
    """What the page sends each time another picture is turned to or "submit" is pressed.

    Attributes:
        boxes: For each picture (N, 4) float64: y1, x1, y2, x2, normalised to 0..1.
        seen: Indices of the pictures that have been on the screen.
        none: Indices of those marked "no object".
        submitted: Whether "submit" was pressed.
    """

    boxes: list[np.ndarray]
    seen: frozenset[int]
    none: frozenset[int]
    submitted: bool


@dataclass(frozen=True)
class _Mend:
    """One change of the script: the fault, a text found once in it, and what replaces that."""

    fault: str
    old: str
    new: str


_MENDS = (
    _Mend(
        "boxes drawn earlier cannot be shown",
        "allBoundingBoxes[i] = [];",
        "allBoundingBoxes[i] = duckdetect.boxes[i];",
    ),
    _Mend(
        "the first picture is shown without its boxes",
        "//configure colab output display",
        "resetcanvas();",
    ),
    _Mend(
        "deleted boxes come back, and those drawn after 'delete all' are lost",
        "boundingBoxes = [];\n",
        "boundingBoxes.length = 0;\n",
    ),
    _Mend(
        "a click without dragging repeats the box drawn before it",
        "isDrawing = true;",
        "isDrawing = true; m = start; draw();",
    ),
    _Mend(
        "a click makes a box without a size, which 'undo' would have to take away",
        "boundingBoxes.push(box);",
        """
        if (box.w * image.width >= 3 && box.h * image.height >= 3) {
          boundingBoxes.push(box);
          duckdetect.none.delete(curr_image);
        }
        """,
    ),
    _Mend(
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
    _Mend(
        "nothing tells whether the boxes have been saved",
        "google.colab.kernel.invokeFunction(callbackId, [allBoundingBoxes], {});",
        "save(true);",
    ),
    _Mend(
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
        canvases: Pictures (600, W, 3) uint8.
        boxes: For each of them the boxes to begin with, (N, 4): y1, x1, y2, x2, normalised.
        on_save: Called with all boxes drawn so far; what it returns is shown below the picture, and
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

    def mended_script(script: str) -> Any:
        return javascript(mend(script, boxes))

    def mended_callback(name: str, callback: Callable[[list[Any]], None]) -> None:
        def clean_store_save(annotations: list[Any], state: dict[str, Any]) -> Any:
            callback([_clean(rectangles) for rectangles in annotations])
            return _json({"message": _saved(on_save, storage, state)})

        register_callback(name, clean_store_save)

    javascript = colab_utils.Javascript
    register_callback = colab_utils.output.register_callback
    with (
        _replaced(colab_utils, "Javascript", mended_script),
        _replaced(colab_utils.output, "register_callback", mended_callback),
    ):
        colab_utils.annotate(list(canvases), storage, callbackId=f"duckdetect{uuid.uuid4().hex}")


def mend(script: str, boxes: Sequence[np.ndarray]) -> str:
    """The widget's script with its faults mended and `boxes` (as for `draw_boxes`) in it.

    Raises:
        UserError: If a line to be mended is not there, so that this is another script.
    """
    for change in _MENDS:
        if script.count(change.old) != 1:
            raise UserError(
                "this Object Detection API's box widget is not the known one "
                f"(cannot mend: {change.fault}): call annotate(..., widget='jupyter')"
            )
        script = script.replace(change.old, change.new)
    rectangles = [
        [
            {"x": float(x1), "y": float(y1), "w": float(x2 - x1), "h": float(y2 - y1)}
            for y1, x1, y2, x2 in picture
        ]
        for picture in boxes
    ]
    # One object for each widget: its function is given the callback's id, of which there is one.
    state = f"{{boxes: {json.dumps(rectangles)}, seen: new Set(), none: new Set()}}"
    head, brace, body = script.partition("{")
    return f"{head}{brace} const duckdetect = {state};{body}"


def _saved(
    on_save: Callable[[Drawn], str], storage: list[np.ndarray | None], state: dict[str, Any]
) -> str:
    # The API stores None for a picture without a box.
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
