"""jupyter-bbox-widget, with the two faults mended that lose boxes."""

from __future__ import annotations

import functools
import re
from typing import Any

from duckdetect.errors import UserError

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
    return ipywidgets, _mended(BBoxWidget)


@functools.cache
def _mended(bbox_widget: Any) -> Any:
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
