"""Drawing boxes in Jupyter and VS Code (and, by choice, Colab) with jupyter-bbox-widget.

Its box area holds several classes, moves and resizes boxes and has a keyboard; around it stand what
it lacks: the way from image to image, "No object", the progress. Every change is saved at once. Two
faults of jupyter-bbox-widget that lose boxes are patched as it is imported.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect.annotation.canvas import CanvasTransform, Xyxy, fit, paint, to_jpeg
from duckdetect.annotation.store import Box
from duckdetect.errors import UserError

if TYPE_CHECKING:
    from duckdetect.annotation.session import Session

# The widget hears the mouse on its canvas alone: a box that ends outside of it is never sent.
_HEAR_MOUSE_OUTSIDE = """
export default {
  render(context) {
    const end = NAME.render(context);
    const svg = () => context.el.querySelector("svg");
    let drawing = false;
    const hand_on = event => {
      if (event.type == "mousedown") drawing = !!svg() && svg().contains(event.target);
      else if (drawing && event.isTrusted && !svg().contains(event.target)) {
        const { clientX, clientY } = event;
        svg().dispatchEvent(new MouseEvent(event.type, { clientX, clientY, cancelable: true }));
      }
      if (event.type == "mouseup") drawing = false;
    };
    const types = ["mousedown", "mousemove", "mouseup"];
    types.forEach(type => document.addEventListener(type, hand_on, true));
    return () => {
      types.forEach(type => document.removeEventListener(type, hand_on, true));
      end();
    };
  },
};
"""


def import_widgets() -> tuple[Any, Any]:
    """The module ipywidgets, and a `BBoxWidget` that loses no box.

    Raises:
        UserError: If one of them is not installed.
    """
    try:
        import ipywidgets
        from jupyter_bbox_widget import BBoxWidget
    except ModuleNotFoundError as error:
        raise UserError(
            f"boxes cannot be drawn here ({error}): run "
            "`pip install jupyter-bbox-widget ipywidgets` and restart the notebook"
        ) from error
    return ipywidgets, _patched(BBoxWidget)


@functools.cache
def _patched(bbox_widget: Any) -> Any:
    """A subclass; the script is wrapped only if it ends as the known one does."""
    from traitlets import List

    script, found = re.subn(
        r"export \{\s*(\w+) as default,?\s*\};?\s*$",
        lambda match: _HEAR_MOUSE_OUTSIDE.replace("NAME", match[1]),
        str(bbox_widget._esm),
    )

    class MendedBBoxWidget(bbox_widget):
        _esm = script if found else bbox_widget._esm
        # ipywidgets 8 sends each change back to the page, where it arrives while the mouse still
        # drags: the box, just begun when it was sent, shrinks to nothing and is saved so.
        bboxes: Any = List().tag(sync=True, echo_update=False)

    return MendedBBoxWidget


# A laptop's screen less what the notebook itself needs, so that nobody scrolls while drawing.
_MAX_HW = (520, 860)

_FRAME = 24

_HELP = (
    "Drag to draw; drag an edge to change; Delete or its cross takes a box away; "
    "digits choose the class; Enter submits, Space skips."
)


class JupyterWidget:
    """The widget of one session.

    Attributes:
        index: Which of the session's images is on the screen.
        root: The ipywidgets box that holds everything; a notebook displays it.
        canvas: The `BBoxWidget` in it.
    """

    def __init__(self, session: Session) -> None:
        widgets, bbox_widget = import_widgets()
        self._session = session
        self._shown: CanvasTransform | None = None
        self._first: list[Box] = []
        self._last: list[Box] = []
        self._loading = False
        self.index = 0
        self._head = widgets.HTML()
        self._note = widgets.HTML()
        self.canvas = bbox_widget(classes=session.classes)
        self.canvas.observe(self._changed, names=["bboxes"])
        self.canvas.on_submit(self._safely(self.submit))
        self.canvas.on_skip(self._safely(self.skip))
        self.buttons = {
            "Previous": widgets.Button(description="Previous", icon="arrow-left"),
            "No object": widgets.Button(
                description="No object", icon="ban", tooltip="This picture does not hold the object"
            ),
        }
        self.buttons["Previous"].on_click(self._safely(self.previous))
        self.buttons["No object"].on_click(self._safely(self.no_object))
        self.root = widgets.VBox(
            [self._head, widgets.HBox(list(self.buttons.values())), self.canvas, self._note]
        )

    def show(self) -> None:
        """Display it, with the first image that nobody has looked at yet."""
        from IPython.display import display

        self.turn_to(self._first_missing(default=0))
        display(self.root)

    def turn_to(self, index: int) -> None:
        """Show one image with its boxes; a damaged one is shown grey and can be skipped."""
        trouble = ""
        try:
            image = self._session.image(index)
            boxes = self._session.boxes(index)
        except UserError as error:
            image, boxes, trouble = np.full((300, 400, 3), 128, np.uint8), [], str(error)
        shown = place((image.shape[0], image.shape[1]))
        self.index, self._shown = index, shown
        self._first, self._last = boxes, boxes
        self._loading = True
        try:
            with self.canvas.hold_sync():
                self.canvas.selected_index = -1
                self.canvas.bboxes = [
                    _to_widget(shown.to_canvas(box.xyxy), box.class_name, key)
                    for key, box in enumerate(boxes)
                ]
                self.canvas.image_bytes = to_jpeg(paint(image, shown))
        finally:
            self._loading = False
        self._say(trouble or _HELP)

    def submit(self) -> None:
        """Save the boxes on the screen and go on; without a box, say what to do instead."""
        boxes = self._boxes()
        if boxes:
            self._save(boxes)
        elif self._session.missing_at(self.index):
            self._say("No box drawn: draw one, press No object if there is none, or skip.")
            return
        self._go_on()

    def skip(self) -> None:
        """Go on; what was changed has been saved, what a detector suggested has not."""
        self._go_on()

    def previous(self) -> None:
        """Go back by one image."""
        self.turn_to((self.index - 1) % len(self._session.images))

    def no_object(self) -> None:
        """Take all boxes away, note that the image holds none, and go on."""
        self._session.mark_no_object(self.index)
        self._go_on()

    def _go_on(self) -> None:
        count = len(self._session.images)
        following = self.index + 1
        if following < count:
            self.turn_to(following)
            return
        self.turn_to(self._first_missing(default=self.index))
        if self._session.done:
            self._say("All pictures are done. They can still be changed: Previous turns back.")

    def _first_missing(self, default: int) -> int:
        indices = range(len(self._session.images))
        return next((i for i in indices if self._session.missing_at(i)), default)

    def _changed(self, _: Any) -> None:
        if not self._loading:
            self._safely(lambda: self._save(self._boxes()))()

    def _save(self, boxes: list[Box]) -> None:
        # A box that a mouse button has just begun is none yet: nothing to save.
        suggested = any(box.score is not None for box in boxes)
        if boxes == self._last and not (suggested and self._session.missing_at(self.index)):
            return
        self._session.save(self.index, boxes)
        self._last = boxes
        self._say("Saved.")

    def _boxes(self) -> list[Box]:
        """The boxes on the screen; one that was not touched is the very same as before."""
        assert self._shown is not None
        boxes = []
        for drawn in self.canvas.bboxes:
            on_canvas = _from_widget(drawn)
            label = drawn.get("label")
            class_name = label if label in self._session.classes else self._session.classes[0]
            key = drawn.get("key")
            first = self._first[key] if key is not None else None
            if first is not None and on_canvas == _round_trip(self._shown, first):
                xyxy: Xyxy | None = first.xyxy
            else:
                xyxy = self._shown.to_image(on_canvas)
            if xyxy is None:
                continue
            box = Box(xyxy, class_name, first.annotation_id if first is not None else None)
            same = first is not None and (xyxy, class_name) == (first.xyxy, first.class_name)
            boxes.append(first if first is not None and same else box)
        return boxes

    def _safely(self, action: Callable[[], None]) -> Callable[..., None]:
        """The action as a callback that shows what went wrong; else nobody would see it."""

        @functools.wraps(action)
        def callback(*_: Any) -> None:
            try:
                action()
            except UserError as error:
                self._alarm(str(error))
            except Exception as error:
                self._alarm(f"{type(error).__name__}: {error}")
                raise

        return callback

    def _alarm(self, text: str) -> None:
        self._note.value = f'<b style="color: #c00000">NOT SAVED: {html.escape(text)}</b>'

    def _say(self, text: str) -> None:
        session, path = self._session, self._session.images[self.index]
        self._head.value = (
            f"<b>{self.index + 1} of {len(session.images)}</b>: {html.escape(path.name)} "
            f"({html.escape(session.status(self.index))}). {html.escape(session.progress())}"
        )
        self._note.value = html.escape(text)


def place(size_hw: tuple[int, int]) -> CanvasTransform:
    """Where an image stands on the widget's canvas."""
    return fit(size_hw, _MAX_HW, _FRAME)


def _to_widget(xyxy: Xyxy, class_name: str, key: int) -> dict[str, Any]:
    """The widget's own form; it carries keys that it does not know, such as `key`."""
    x1, y1, x2, y2 = xyxy
    size = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    return {**size, "label": class_name, "key": key}


def _from_widget(drawn: dict[str, Any]) -> Xyxy:
    x, y = float(drawn["x"]), float(drawn["y"])
    return x, y, x + float(drawn["width"]), y + float(drawn["height"])


def _round_trip(shown: CanvasTransform, box: Box) -> Xyxy:
    """The box as the widget gives it back untouched, to the last bit."""
    return _from_widget(_to_widget(shown.to_canvas(box.xyxy), box.class_name, 0))
