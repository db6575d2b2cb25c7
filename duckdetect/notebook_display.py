"""Showing in a notebook what was labelled, learnt and found; model.ipynb calls it.

show_labels(train)                    # pictures with their boxes and masks
show_looks(train)                     # what augmentation makes of them
show_history(run)                     # its curves of losses and accuracy
show_frames(found.folder / "frames")  # a contact sheet
show_animation(found.animation)       # GIF or MP4
"""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from duckdetect.errors import UserError
from duckdetect.label_sheets import label_sheet, look_sheet
from duckdetect.pictures import list_pictures, load_picture
from duckdetect.plots import CURVES
from duckdetect.render import Picture, draw_grid

if TYPE_CHECKING:
    from duckdetect.datasets import Dataset
    from duckdetect.finetuning import Run

_SHEET_PICTURES = 20  # on one sheet; more would be too small to see
_VIDEO_BYTES = 20 << 20  # larger ones make a notebook slow to open


def say(text: str) -> None:
    """Show a line below the cell that runs."""
    from IPython.display import display

    display({"text/plain": text}, raw=True)


def show_labels(dataset: Dataset) -> None:
    """Show the pictures with their boxes and masks, to look at before training."""
    sheet = label_sheet(dataset, pictures=_SHEET_PICTURES, columns=5)
    show_sheet(sheet, min(len(dataset), _SHEET_PICTURES), len(dataset))


def show_looks(dataset: Dataset, looks: int = 15, seed: int = 0) -> None:
    """Show random looks at the pictures, as training with this seed sees them."""
    show_sheet(look_sheet(dataset, looks, columns=5, seed=seed), looks, looks)


def show_frames(folder: str | Path) -> None:
    """Show a folder's pictures on one sheet; of many, evenly chosen ones."""
    paths = list_pictures(folder)
    at = np.linspace(0, len(paths) - 1, min(len(paths), _SHEET_PICTURES)).round().astype(int)
    sheet = draw_grid([load_picture(paths[i]) for i in at], columns=5, cell_px=240)
    show_sheet(sheet, len(at), len(paths))


def show_history(run: Run) -> None:
    """Show the curves of losses and accuracy that a run has drawn into its folder."""
    from IPython.display import Image, display

    if run.folder is None:
        raise ValueError("the run was not written to a folder")
    display(Image(filename=str(run.folder / CURVES)))


def show_tensorboard(folder: str | Path) -> None:
    """Open TensorBoard below the cell, on Colab and in Jupyter; elsewhere say the command.

    Args:
        folder: A run's folder, or one with several runs below it.

    Raises:
        UserError: If there is no such folder.
    """
    from IPython.core.getipython import get_ipython

    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not there: give the folder of a run")
    shell = get_ipython()
    # A kernel has a page to show it on; a terminal has none.
    if shell is not None and hasattr(shell, "kernel"):
        shell.run_line_magic("load_ext", "tensorboard")
        shell.run_line_magic("tensorboard", f"--logdir {shlex.quote(str(folder))}")
    else:
        say(f"TensorBoard: tensorboard --logdir {shlex.quote(str(folder))}")


def show_animation(path: str | Path) -> None:
    """Show a GIF, or a video that a browser plays."""
    from IPython.display import Image, Video, display

    path = Path(path)
    if path.suffix == ".gif":
        display(Image(data=path.read_bytes(), format="gif"))
    elif path.stat().st_size <= _VIDEO_BYTES:
        display(Video(data=path.read_bytes(), embed=True, mimetype="video/mp4", width=640))
    else:
        say(f"{path} is too large to be shown here: open it from there.")


def show_sheet(sheet: Picture, n_shown: int, n_all: int) -> None:
    """Show a sheet of pictures, and say how many of how many are on it."""
    from IPython.display import Image, display
    from PIL import Image as PilImage

    file = io.BytesIO()
    PilImage.fromarray(sheet).save(file, format="JPEG", quality=85)
    display(Image(data=file.getvalue(), format="jpeg"))
    if n_shown < n_all:
        say(f"{n_shown} of {n_all} are shown.")
