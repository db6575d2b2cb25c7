"""Drawing boxes in Jupyter and VS Code (and, by choice, Colab): a widget of ours, made with anywidget.

Above the picture stand the classes, below it the way through the images; every change is saved at
once. The page (jupyter_widget.js) draws and changes boxes; this module shows images and saves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect.annotation.canvas import CanvasTransform, Xyxy, fit, paint, to_jpeg
from duckdetect.annotation.store import Box
from duckdetect.errors import UserError
from duckdetect.imaging.draw import class_color
from duckdetect.utils.environment import is_colab
from duckdetect.utils.words import plural

if TYPE_CHECKING:
    from duckdetect.annotation.session import Session


def box_canvas() -> Any:
    """The page's part: a class of widgets that show one image with boxes to draw and change.

    Raises:
        UserError: If anywidget is not installed.
    """
    try:
        import anywidget
    except ModuleNotFoundError as error:
        raise UserError(
            f"boxes cannot be drawn here ({error}): run `pip install anywidget` and restart the notebook"
        ) from error
    return _box_canvas(anywidget.AnyWidget)


@functools.cache
def _box_canvas(any_widget: Any) -> Any:
    from traitlets import Bool, Bytes, Float, Int, List, Unicode

    here = Path(__file__)

    class BoxCanvas(any_widget):
        _esm = here.with_suffix(".js").read_text(encoding="utf-8")
        _css = here.with_suffix(".css").read_text(encoding="utf-8")
        image_bytes = Bytes().tag(sync=True)
        size_wh = List([0, 0]).tag(sync=True)
        page = Int(0).tag(sync=True)  # counts the images shown: a new one begins a new undo
        classes: Any = List().tag(sync=True)
        colors: Any = List().tag(sync=True)
        # ipywidgets 8 sends each change back to the page, where it would arrive in the next drag.
        bboxes: Any = List().tag(sync=True, echo_update=False)
        head = Unicode().tag(sync=True)
        note = Unicode().tag(sync=True)
        tone = Unicode().tag(sync=True)  # of the note: "", "alarm", "done"
        renames: Any = List().tag(sync=True)  # pairs [old, new] to offer
        suggests = Bool(False).tag(sync=True)
        least = Float(0.0).tag(sync=True)  # suggestions that score lower are not shown, nor saved
        can_copy = Bool(False).tag(sync=True)

    return BoxCanvas


# A laptop's screen less what the notebook itself needs, so that nobody scrolls while drawing.
_MAX_HW = (520, 860)

_FRAME = 24

_HELP = (
    "Drag to draw, also inside another box. Drag an edge to change a box; click a box, then drag it, to "
    "move it; Delete removes it. Digits or a click on a class set the class of new boxes and of the "
    "selected one. Enter: next picture. Everything is saved at once."
)


class JupyterWidget:
    """The widget of one session.

    Attributes:
        index: Which of the session's images is on the screen.
        canvas: The anywidget; a notebook displays it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shown: CanvasTransform | None = None
        self._first: list[Box] = []
        self._last: list[Box] = []
        self._before: int | None = None  # the image shown before this one
        self._loading = False
        self.index = 0
        self.canvas = box_canvas()(
            classes=session.classes,
            colors=[
                "#{:02x}{:02x}{:02x}".format(*class_color(k)) for k in range(len(session.classes))
            ],
            suggests=session.suggests,
            least=session.suggest_threshold,
        )
        self.canvas.observe(self._changed, names=["bboxes"])
        self._actions: dict[str, Callable[..., None]] = {
            "next": self.next, "skip": self.skip, "previous": self.previous,
            "no object": self.no_object, "copy": self.copy, "rename": self.rename,
        }  # fmt: skip
        self.canvas.on_msg(self._heard)

    def show(self) -> None:
        """Display it, with the first image that nobody has looked at yet."""
        from IPython.display import display

        self.turn_to(self._first_missing(default=0))
        display(self.canvas)

    def turn_to(self, index: int) -> None:
        """Show one image with its boxes; a damaged one is shown grey and can be skipped."""
        trouble, others = "", []
        try:
            image = self._session.image(index)
            # All suggestions: the page's slider says from which score they are shown.
            boxes, others = self._session.boxes(index, 0.0), self._session.others(index)
        except UserError as error:
            image, boxes, trouble = np.full((300, 400, 3), 128, np.uint8), [], str(error)
        shown = place((image.shape[0], image.shape[1]))
        if index != self.index:
            self._before = self.index
        self.index, self._shown = index, shown
        # What is in the file was accepted, whatever suggested it.
        suggested = self._session.missing_at(index)
        self._first, self._last = boxes, [] if suggested else boxes
        self._loading = True
        try:
            with self.canvas.hold_sync():
                self.canvas.bboxes = [
                    _to_widget(
                        shown.to_canvas(box.xyxy),
                        box.class_name,
                        key,
                        box.score if suggested else None,
                    )
                    for key, box in enumerate(boxes)
                ]
                self.canvas.size_wh = list(shown.canvas_hw[::-1])
                self.canvas.image_bytes = to_jpeg(paint(image, shown, others=others))
                self.canvas.can_copy = bool(self._copied())
                self.canvas.renames = [list(pair) for pair in self._session.likely_renames()]
                self.canvas.page += 1
                self._say(trouble or _HELP, "alarm" if trouble else "")
        finally:
            self._loading = False

    def next(self) -> None:
        """Go on. What was drawn is saved already; what a detector suggested is so by this."""
        boxes = self._boxes(accept=True)
        if boxes:
            self._save(boxes)
        self._go_on()

    def skip(self) -> None:
        """Go on, and leave what a detector suggested unsaved."""
        self._go_on()

    def previous(self) -> None:
        """Go back by one image."""
        self.turn_to((self.index - 1) % len(self._session.images))

    def no_object(self) -> None:
        """Take all boxes away, note that the image holds none, and go on."""
        self._session.mark_no_object(self.index)
        self._go_on()

    def copy(self) -> None:
        """Add the boxes of the image that was shown before this one, at the same places."""
        assert self._shown is not None
        copies = [_to_widget(self._shown.to_canvas(b.xyxy), b.class_name) for b in self._copied()]
        self.canvas.bboxes = [*self.canvas.bboxes, *copies]

    def rename(self, old: str, new: str) -> None:
        """Rename another class to one that is being drawn, and show the image with its boxes."""
        n = self._session.rename(old, new)
        self.turn_to(self._first_missing(default=self.index))
        self._say(f"{old} is renamed to {new} ({plural(n, 'box')}).", "done")

    def _copied(self) -> list[Box]:
        """The last image's boxes, stretched to this one's size."""
        if self._before is None or self._shown is None:
            return []
        height, width = self._shown.size_hw
        try:
            last_h, last_w = self._session.size_hw(self._before)
        except UserError:
            return []
        zoom = (width / last_w, height / last_h) * 2
        return [
            Box(tuple(v * z for v, z in zip(box.xyxy, zoom, strict=True)), box.class_name)  # type: ignore[arg-type]
            for box in self._session.boxes(self._before)
            if box.score is None
        ]

    def _go_on(self) -> None:
        count = len(self._session.images)
        following = self.index + 1
        if following < count:
            self.turn_to(following)
            return
        self.turn_to(self._first_missing(default=self.index))
        if self._session.done:
            self._say(f"All pictures are done. {_what_next()}", "done")
        else:
            missing = plural(len(self._session.missing), "picture")
            self._say(
                f"That was the last one. {missing} without a box left: draw, or press No object. "
                "Pictures left open are not trained on.",
                "done",
            )

    def _first_missing(self, default: int) -> int:
        indices = range(len(self._session.images))
        return next((i for i in indices if self._session.missing_at(i)), default)

    def _heard(self, _: Any, content: Any, __: Any) -> None:
        """A message of the page: a button or a key."""
        action = self._actions.get(content.get("type"))
        if action is not None:
            self._safely(lambda: action(*content.get("values", ())))()

    def _changed(self, _: Any) -> None:
        if not self._loading:
            self._safely(lambda: self._save(self._boxes()))()

    def _save(self, boxes: list[Box]) -> None:
        # A box that a mouse button has just begun is none yet: nothing to save.
        if boxes == self._last:
            return
        self._session.save(self.index, boxes)
        self._last = boxes
        left = len(self._boxes(accept=True)) - len(boxes)
        more = (
            f"{left} more suggested {'box is' if left == 1 else 'boxes are'} not yet: press Next."
        )
        self._say(f"Saved. {more}" if left else "Saved.")

    def _boxes(self, accept: bool = False) -> list[Box]:
        """The boxes that are labels, and with `accept` the suggestions that are shown as well.

        One that was not touched is the very same as before.
        """
        assert self._shown is not None
        boxes = []
        for drawn in self.canvas.bboxes:
            score = drawn.get("score")
            if score is not None and not (accept and score >= self.canvas.least):
                continue
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
        # Not the head: the file that it tells of may be what is broken.
        with self.canvas.hold_sync():
            self.canvas.note, self.canvas.tone = f"NOT SAVED: {text}", "alarm"

    def _say(self, text: str, tone: str = "") -> None:
        session, path = self._session, self._session.images[self.index]
        with self.canvas.hold_sync():
            self.canvas.head = (
                f"{self.index + 1} of {len(session.images)}: {path.name} "
                f"({session.status(self.index)}). {session.progress()}"
            )
            self.canvas.note, self.canvas.tone = text, tone


def _what_next() -> str:
    """What to do once all boxes are drawn, in the words of the menu at hand."""
    if is_colab():
        return "Next: run the cells below (Runtime > Run cell and below)."
    return "Next: run the cells below (Run > Run Selected Cell and All Below)."


def place(size_hw: tuple[int, int]) -> CanvasTransform:
    """Where an image stands on the widget's canvas."""
    return fit(size_hw, _MAX_HW, _FRAME)


def _to_widget(
    xyxy: Xyxy, class_name: str, key: int | None = None, score: float | None = None
) -> dict[str, Any]:
    """The page's form of a box; `key` says which of the image's first boxes it was."""
    x1, y1, x2, y2 = xyxy
    size = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    return {**size, "label": class_name, "key": key, "score": score}


def _from_widget(drawn: dict[str, Any]) -> Xyxy:
    x, y = float(drawn["x"]), float(drawn["y"])
    return x, y, x + float(drawn["width"]), y + float(drawn["height"])


def _round_trip(shown: CanvasTransform, box: Box) -> Xyxy:
    """The box as the widget gives it back untouched, to the last bit."""
    return _from_widget(_to_widget(shown.to_canvas(box.xyxy), box.class_name, 0))
