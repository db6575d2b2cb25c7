"""What a notebook shows: labels, views, curves, frames, metrics, reports.

show_labels(train)                    # images with their boxes and masks
show_frames(found.folder / "frames")  # a contact sheet
show_animation(found.animation)       # GIF or MP4
measure(run, pictures.test)           # the metrics and their curves
show_report(run)                      # all of it on one page, also written beside the run
"""

from __future__ import annotations

import html
import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from duckdetect.annotation.annotate import annotated
from duckdetect.data.check import check_dataset
from duckdetect.data.contact_sheet import label_sheet, view_sheet
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import FOLDER, Evaluation, evaluate, read_evaluation
from duckdetect.evaluation.plots import CURVES, plot_f1, plot_precision_recall
from duckdetect.imaging.draw import draw_grid
from duckdetect.imaging.io import ImageArray, list_images, load_image
from duckdetect.report.write import Written, write_report
from duckdetect.utils.words import plural

if TYPE_CHECKING:
    from duckdetect.data.dataset import Dataset, Problem
    from duckdetect.training.finetune import TrainRun

_SHEET_IMAGES = 20  # on one sheet; more would be too small to see

_VIDEO_BYTES = 20 << 20  # larger ones make a notebook slow to open


def say(text: str) -> None:
    """Show a line below the cell that runs."""
    from IPython.display import display

    display({"text/plain": text}, raw=True)


def show_labels(dataset: Dataset) -> None:
    """Show the images with their boxes and masks, to look at before training."""
    sheet = label_sheet(dataset, images=_SHEET_IMAGES, columns=5)
    show_sheet(sheet, min(len(dataset), _SHEET_IMAGES), len(dataset))


def show_views(dataset: Dataset, views: int = 15, seed: int = 0) -> None:
    """Show random looks at the images, as training with this seed sees them."""
    show_sheet(view_sheet(dataset, views, columns=5, seed=seed), views, views)


def show_frames(folder: str | Path) -> None:
    """Show a folder's images on one sheet; of many, evenly chosen ones."""
    paths = list_images(folder)
    at = np.linspace(0, len(paths) - 1, min(len(paths), _SHEET_IMAGES)).round().astype(int)
    sheet = draw_grid([load_image(paths[i]) for i in at], columns=5, cell_px=240)
    show_sheet(sheet, len(at), len(paths))


def show_history(run: TrainRun) -> None:
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


def show_sheet(sheet: ImageArray, n_shown: int, n_all: int) -> None:
    """Show a sheet of images, and say how many of how many are on it."""
    from IPython.display import Image, display
    from PIL import Image as PilImage

    file = io.BytesIO()
    PilImage.fromarray(sheet).save(file, format="JPEG", quality=85)
    display(Image(data=file.getvalue(), format="jpeg"))
    if n_shown < n_all:
        say(f"{n_shown} of {n_all} are shown.")


_SHOWN_PROBLEMS = 20

_PAGE_PX = 720


def check_labels(dataset: Dataset) -> list[Problem]:
    """Say what is wrong or suspicious about labelled images, and show those that it is about."""
    problems = check_dataset(dataset.root)
    if problems:
        show_problems(problems, dataset)
    else:
        say(f"Nothing wrong was found in the boxes of {plural(len(dataset), 'picture')}.")
    return problems


def show_problems(problems: list[Problem], dataset: Dataset | None) -> None:
    """Say what is wrong, and show the data set's images that it is about."""
    left = len(problems) - _SHOWN_PROBLEMS
    lines = [str(problem) for problem in problems[:_SHOWN_PROBLEMS]]
    say("\n".join([*lines, *([f"... and {left} more"] if left > 0 else [])]))
    about = {problem.where for problem in problems}
    samples = dataset.samples if dataset is not None else ()
    chosen = [i for i, sample in enumerate(samples) if str(sample.path) in about]
    if dataset is not None and chosen:
        sheet = label_sheet(dataset.subset(chosen), images=_SHOWN_PROBLEMS, problems=problems)
        show_sheet(sheet, min(len(chosen), _SHOWN_PROBLEMS), len(chosen))


def measure(run: TrainRun, folder: str | Path) -> Evaluation | None:
    """Measure a run on a folder's images, if boxes are drawn on them; say and draw how good it is."""
    if run.folder is None:
        raise ValueError("the run was not written to a folder")
    ground_truth = annotated(folder)
    if ground_truth is None:
        say(f"No boxes are drawn on {folder}, so nothing is measured.")
        return None
    measured = evaluate(run, ground_truth)
    _show_metrics(run.folder, measured)
    return measured


def measure_split(run: TrainRun, data: str | Path, split: str = "test") -> Evaluation:
    """Measure a run on one split of a data set; say and draw how good it is.

    Figures that are there already, of this detector on these images, are shown again.

    Raises:
        UserError: As `evaluate`.
    """
    if run.folder is None:
        raise ValueError("the run was not written to a folder")
    measured = read_evaluation(run.folder, load_dataset(data, split))
    if measured is None:
        measured = evaluate(run, data, split, progress=True)
    _show_metrics(run.folder, measured)
    return measured


def _show_metrics(folder: Path, measured: Evaluation) -> None:
    from IPython.display import Image, display

    metrics = measured.metrics
    say(measured.table())
    curves = {name: one.curve for name, one in metrics.per_class.items()}
    images = [folder / FOLDER / f"{name}.png" for name in ("precision_recall", "f1")]
    plot_precision_recall(curves, images[0])
    plot_f1(curves, measured.threshold, images[1])
    for path in images:
        display(Image(filename=str(path), width=560))


def show_report(run: TrainRun) -> Written:
    """Write a run's report, and show the page below the cell."""
    from IPython.display import display

    if run.folder is None:
        raise ValueError("the run was not written to a folder")
    written = write_report(run.folder)
    page = html.escape(written.html.read_text(encoding="utf-8"), quote=True)
    # Inside the notebook itself: a page of Drive or of the server cannot be linked to everywhere.
    frame = (
        f'<iframe srcdoc="{page}" title="Report" sandbox width="100%" height="{_PAGE_PX}" '
        'style="border: 1px solid #ddd"></iframe>'
    )
    say(f"The report lies in {written.html} and {written.pdf}.")
    if written.missing:
        say(written.missing)
    display({"text/html": frame, "text/plain": "The report is shown here."}, raw=True)
    return written
