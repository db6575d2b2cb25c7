"""Drawing boxes in a notebook; each box is saved beside the images as it is drawn.

    session = annotate("images", classes=["rubber duck"])   # shows the widget, returns at once
    session.missing                                          # images nobody has looked at yet
    train = require_annotations("images")                    # in the next cell

In Colab the widget is the Object Detection API's own, elsewhere one of ours. Neither
blocks: "Run all" goes on, and `require_annotations` decides whether there is something to train on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from duckdetect.annotation.session import Session, Suggests
from duckdetect.annotation.store import FILE_NAME, AnnotationStore
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError
from duckdetect.imaging.io import list_folder, list_images
from duckdetect.utils.environment import is_colab
from duckdetect.utils.words import plural, some_names

WidgetName = Literal["auto", "colab", "jupyter"]


def annotate(
    folder: str | Path,
    classes: Sequence[str],
    widget: WidgetName = "auto",
    suggest: Suggests | None = None,
    suggest_threshold: float = 0.3,
    rank: int | None = None,
) -> Session:
    """Show a widget that draws boxes on a folder's images; returns at once.

    Boxes are saved to `folder/_annotations.coco.json` (Roboflow's COCO layout) on every change in
    Jupyter, and in Colab each time another image is turned to or "submit" is pressed. Boxes drawn
    earlier are shown again; whatever else is in the file is kept.

    Args:
        folder: Where the images lie.
        classes: What boxes are drawn for, such as ["rubber duck"].
        widget: "colab" for the Object Detection API's own, "jupyter" for ours (in Colab, too),
            "auto" for the first in Colab and the second elsewhere and for suggestions, whose scores
            the first cannot show.
        suggest: A detector whose boxes are shown on images nobody has looked at yet. They are
            saved once they are submitted or changed.
        suggest_threshold: The lowest score of a box to suggest, 0..1.
        rank: Show only so many of the images that nobody has looked at, those that are most worth it
            to the detector that suggests; see `suggestions.rank`.

    Returns:
        The session; `session.missing` names the images nobody has looked at yet.

    Raises:
        UserError: If there is no image, a class name is bad, the boxes' file is broken, or the
            widget cannot be shown here.
    """
    if widget not in ("auto", "colab", "jupyter"):
        raise UserError(f"widget={widget!r} is not known: give 'auto', 'colab' or 'jupyter'")
    if not _in_notebook():
        raise UserError(
            "annotate() draws in a notebook: call it in a cell of Jupyter, VS Code or Colab"
        )
    images = None if rank is None else _worth_labelling(folder, suggest, rank)
    session = Session(folder, classes, suggest, suggest_threshold, images)
    for note in list_folder(folder).notes(labelled=True):
        say(f"Note: {note}.")
    if said := _of_other_classes(session):
        say(said)
    if widget == "colab" or (widget == "auto" and suggest is None and is_colab()):
        from duckdetect.annotation.colab_widget import ColabWidget

        ColabWidget(session).show()
    else:
        from duckdetect.annotation.jupyter_widget import JupyterWidget

        allow_widgets_in_colab()
        JupyterWidget(session).show()
    return session


def _worth_labelling(folder: str | Path, detector: Suggests | None, n: int) -> list[Path]:
    """The images to label next, and why, said; all of them once everything has been looked at."""
    from duckdetect.annotation.suggestions import rank, suggest

    if detector is None:
        raise UserError("rank chooses by a detector: give suggest=run.detector, too")
    looked_at = AnnotationStore(folder).looked_at()
    every = list_images(folder)
    left = [path for path in every if path.name not in looked_at]
    if not left:
        return every
    found = suggest(detector, left)
    chosen = rank(found, n, [path for path in every if path.name in looked_at])
    reasons = [f"{one.sample.path.name}: {one.reason}" for one in chosen]
    say("\n".join([*reasons, *(f"Left out: {reason}." for reason in found.failed)]))
    return [one.sample.path for one in chosen]


def _of_other_classes(session: Session) -> str:
    """What to do about boxes of classes that are not being drawn; "" if there are none."""
    others = session.other_classes()
    if not others:
        return ""
    named = ", ".join(f"{name} ({plural(n, 'box')})" for name, n in others.items())
    lines = [
        f"There are boxes of other classes here: {named}. They are grey, and training uses them, "
        "too.",
        *(f"Rename {old} to {new}?" for old, new in session.likely_renames()),
        "To rename, merge or delete a class: notebook.change_classes, which the cell below calls.",
    ]
    return " ".join(lines)


def change_classes(folder: str | Path, rename: str = "", to: str = "", drop: str = "") -> str:
    """Rename or merge a class of a folder's boxes, or delete one with all its boxes.

    Args:
        folder: The images, with `_annotations.coco.json` beside them.
        rename: The class to rename; "" for none.
        to: Its name from now on; that of another class merges both.
        drop: The class to delete; "" for none.

    Returns:
        What was done, in words; "" if nothing was asked for.

    Raises:
        UserError: If there is no such folder or class, or `rename` is given without `to`; nothing is
            changed then.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder} is no folder: check its name")
    store, done = AnnotationStore(folder), []
    if bool(rename) != bool(to):
        raise UserError("a class to rename needs both its name and the new one: give both")
    if drop and drop == rename:
        raise UserError(f"{drop!r} cannot be both renamed and deleted: give one of the two")
    if drop and drop != to:
        store.require_class(drop)
    if rename:
        merged = to in store.counts()
        n = plural(store.rename(rename, to), "box")
        done.append(f"{rename} is {'merged into' if merged else 'renamed to'} {to} ({n}).")
    if drop:
        done.append(f"{drop} is deleted with its {plural(store.drop(drop), 'box')}.")
    return " ".join(done)


def annotated(folder: str | Path) -> Dataset | None:
    """The images that somebody has looked at, with their boxes; None if there is none yet.

    Raises:
        UserError: If the boxes' file is broken.
    """
    return load_dataset(folder) if AnnotationStore(folder).looked_at() else None


def require_annotations(
    folder: str | Path, sample: str | Path | None = None, classes: Sequence[str] | None = None
) -> Dataset:
    """The labelled images of a folder, to train on.

    Args:
        folder: The images.
        sample: A folder of images with boxes that came with the project. If `folder` holds
            images of it and no box was drawn on any, the sample is returned and this is said.
        classes: What was to be drawn; that boxes of others are trained, too, is said.

    Raises:
        UserError: If no box was drawn yet; its text says what to do.
    """
    images = list_images(folder)
    store = AnnotationStore(folder)
    looked_at = store.looked_at()
    if any(store.boxes(path.name) for path in images):
        left_out = [path.name for path in images if path.name not in looked_at]
        if left_out:
            say(f"Left out, since nobody has looked at them yet: {some_names(left_out)}.")
        others = [name for name in store.counts() if classes is not None and name not in classes]
        if others:
            say(
                f"Boxes of {some_names(others)} are trained, too, which CLASSES does not name: rename, "
                "merge or delete them above if that is a mistake."
            )
        return load_dataset(folder)
    if sample is not None and not looked_at and _are_of(images, Path(sample)):
        say("No boxes are drawn yet: the sample's own boxes are used.")
        return load_dataset(sample)
    raise UserError(
        f"no box is drawn yet on the {plural(len(images), 'picture')} of {folder}: draw them in "
        "the cell above (annotate()), then run this cell again"
    )


def _are_of(images: Sequence[Path], sample: Path) -> bool:
    """Whether all images are copies of the sample's."""
    return (sample / FILE_NAME).is_file() and all(
        (sample / path.name).is_file() and (sample / path.name).read_bytes() == path.read_bytes()
        for path in images
    )


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ModuleNotFoundError:
        return False
    return get_ipython() is not None


def say(text: str) -> None:
    """Show a line in the notebook, or log it where there is none."""
    if _in_notebook():
        from IPython.display import display

        display({"text/plain": text}, raw=True)
    else:
        logging.getLogger(__name__).info(text)


def allow_widgets_in_colab() -> None:
    """Let Colab show the widgets of other packages."""
    if is_colab():
        from google.colab import output

        output.enable_custom_widget_manager()
