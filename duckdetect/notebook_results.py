"""Checking, measuring and reporting in a notebook; its cells call it through notebook.py.

check_labels(train)              # what is wrong with the boxes, with the pictures it is about
measure(run, pictures.test)      # the figures and their curves
measure_split(run, split)        # the same for the test split of a data set
show_report(run)                 # all of it on one page, also written beside the run
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

from duckdetect.annotating import annotated
from duckdetect.checking import check_dataset
from duckdetect.datasets import load_dataset
from duckdetect.evaluation_plots import plot_f1
from duckdetect.evaluation_runs import FOLDER, Evaluation, evaluate_run, read_evaluation
from duckdetect.label_sheets import label_sheet
from duckdetect.notebook_display import say, show_sheet
from duckdetect.plots import plot_precision_recall
from duckdetect.report import Written, write_report

if TYPE_CHECKING:
    from duckdetect.datasets import Dataset
    from duckdetect.finetuning import Run
    from duckdetect.samples import Problem

_SHOWN_PROBLEMS = 20
_PAGE_PX = 720


def check_labels(dataset: Dataset) -> list[Problem]:
    """Say what is wrong or suspicious about labelled pictures, and show those that it is about."""
    problems = check_dataset(dataset.root)
    if problems:
        show_problems(problems, dataset)
    else:
        say(f"Nothing wrong was found in the boxes of {len(dataset)} pictures.")
    return problems


def show_problems(problems: list[Problem], dataset: Dataset | None) -> None:
    """Say what is wrong, and show the data set's pictures that it is about."""
    left = len(problems) - _SHOWN_PROBLEMS
    lines = [str(problem) for problem in problems[:_SHOWN_PROBLEMS]]
    say("\n".join([*lines, *([f"... and {left} more"] if left > 0 else [])]))
    about = {problem.where for problem in problems}
    samples = dataset.samples if dataset is not None else ()
    chosen = [i for i, sample in enumerate(samples) if str(sample.path) in about]
    if dataset is not None and chosen:
        sheet = label_sheet(dataset.subset(chosen), pictures=_SHOWN_PROBLEMS, problems=problems)
        show_sheet(sheet, min(len(chosen), _SHOWN_PROBLEMS), len(chosen))


def measure(run: Run, folder: str | Path) -> Evaluation | None:
    """Measure a run on a folder's pictures, if boxes are drawn on them; say and draw how good it is."""
    if run.folder is None:
        raise ValueError("the run was not written to a folder")
    truth = annotated(folder)
    if truth is None:
        say(f"No boxes are drawn on {folder}, so nothing is measured.")
        return None
    measured = evaluate_run(run.folder, truth, detector=run.detector)
    _show_figures(run.folder, measured)
    return measured


def measure_split(run: Run, data: str | Path, split: str = "test") -> Evaluation:
    """Measure a run on one split of a data set; say and draw how good it is.

    Figures that are there already, of this detector on these pictures, are shown again.

    Raises:
        UserError: As `evaluate_run`.
    """
    if run.folder is None:
        raise ValueError("the run was not written to a folder")
    measured = read_evaluation(run.folder, load_dataset(data, split))
    if measured is None:
        measured = evaluate_run(run.folder, data, split, detector=run.detector, progress=True)
    _show_figures(run.folder, measured)
    return measured


def _show_figures(folder: Path, measured: Evaluation) -> None:
    from IPython.display import Image, display

    metrics = measured.metrics
    say(metrics.table())
    curves = {name: one.curve for name, one in metrics.per_class.items()}
    pictures = [folder / FOLDER / f"{name}.png" for name in ("precision_recall", "f1")]
    plot_precision_recall(curves, pictures[0])
    plot_f1(curves, metrics.best_threshold, pictures[1])
    for path in pictures:
        display(Image(filename=str(path), width=560))


def show_report(run: Run) -> Written:
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
