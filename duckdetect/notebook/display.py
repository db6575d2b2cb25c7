"""What a notebook shows: labels, views, curves, frames, metrics, reports.

show_labels(train)                    # images with their boxes and masks
show_found(found, pictures.test)      # a contact sheet, mistakes first
show_animation(found.animation)       # GIF or MP4
measure(run, pictures.test)           # the metrics and their curves
show_report(run)                      # all of it on one page, also written beside the run
export_run(run, "web")                 # the detector for another place, shown and to download
"""

from __future__ import annotations

import html
import importlib
import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect.annotation.annotate import annotated
from duckdetect.data.check import check_dataset
from duckdetect.data.contact_sheet import label_sheet, view_sheet
from duckdetect.data.dataset import strict
from duckdetect.data.loading import read_dataset, require_dataset
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import (
    FOLDER,
    Evaluation,
    change_threshold,
    evaluate,
    read_evaluation,
)
from duckdetect.evaluation.matching import worst_images
from duckdetect.evaluation.plots import CURVES, plot_f1, plot_precision_recall
from duckdetect.export.exporting import TARGETS, Exported, export_detector
from duckdetect.imaging.draw import DrawStyle, draw_grid, draw_shrunk
from duckdetect.imaging.io import ImageArray, fit, list_images, load_image
from duckdetect.inference.detections_json import file_names, read_detections
from duckdetect.report.write import Written, how_to_measure, write_report
from duckdetect.utils.environment import is_colab
from duckdetect.utils.files import atomic_path, make_folder
from duckdetect.utils.reading import as_path
from duckdetect.utils.words import plural

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.data.dataset import Dataset, Problem
    from duckdetect.inference.detect import Detected
    from duckdetect.training.finetune import TrainRun

_SHEET_IMAGES = 18  # on one sheet, in rows of three, so that scores can be read

_CELL_PX = 400

_LETTERS_PX = 15  # of scores, on a sheet that a narrow window shows at three fifths of its size

_VIDEO_BYTES = 20 << 20  # larger ones make a notebook slow to open


def say(text: str) -> None:
    """Show a line below the cell that runs; where it is too long, words are not cut."""
    from IPython.display import display

    page = f'<div style="{_SAID}">{html.escape(text)}</div>'
    display({"text/plain": text, "text/html": page}, raw=True)


_SAID = (
    "white-space: pre-wrap; overflow-wrap: anywhere; padding-left: var(--jp-code-padding, 0); "
    "font: var(--jp-code-font-size, 13px)/1.35 var(--jp-code-font-family, monospace)"
)


def switch(field: str, on: bool) -> str:
    """How a notebook's check box is set: "tick X" on Colab, whose forms have one, else "set X = True"."""
    if is_colab():
        return f"{'tick' if on else 'untick'} {field}"
    return f"set {field} = {on}"


_first_line = ""


def set_first_line(text: str) -> None:
    """What every later result begins with, such as that another base had to be taken; "" for nothing."""
    global _first_line
    _first_line = text


def say_result(text: str = "") -> None:
    """Show a result's line, below what all of them begin with."""
    if lines := [line for line in (_first_line, text) if line]:
        say("\n".join(lines))


def show_labels(dataset: Dataset) -> None:
    """Show the images with their boxes and masks, to look at before training."""
    require_dataset(dataset)
    sheet = label_sheet(dataset, images=_SHEET_IMAGES, columns=3)
    show_sheet(sheet, min(len(dataset), _SHEET_IMAGES), len(dataset), dataset.root)


def show_views(dataset: Dataset, views: int = 15, seed: int = 0) -> None:
    """Show augmented views of the images, as training with this seed sees them."""
    show_sheet(view_sheet(dataset, views, columns=5, seed=seed), views, views)


def show_found(found: Detected, images: Dataset | str | Path) -> None:
    """Say how much was found on images, and show them, those with misses and false detections first.

    Args:
        found: What `detect` returned.
        images: Their folder, or the data set that they are.
    """
    say_result(
        f"{plural(found.n_detections, 'object')} in {found.n_found} of "
        f"{plural(found.n_images, 'picture')}, at a score of {found.threshold:.2f} or more: "
        f"{found.folder}"
    )
    for note in found.notes:
        say(note)
    truth = annotated(images) if isinstance(images, str | Path) else images
    wrong = _with_mistakes(found, truth) if truth is not None else []
    if wrong:
        say(f"{plural(len(wrong), 'picture')} with missed objects or false detections first.")
    paths = list_images(images) if isinstance(images, str | Path) else [s.path for s in images]
    _show_drawn(found, paths, wrong)


def _show_drawn(found: Detected, paths: Sequence[Path], first: Sequence[str]) -> None:
    """Show images with their detections, those named first; of the others, evenly chosen ones."""
    frames = found.folder / "frames"
    drawn = {path.stem for path in list_images(frames)}
    names = file_names(paths)
    paths = [path for path in paths if path.stem in drawn]
    by_name = {names[path]: path for path in paths}
    shown = [by_name[name] for name in first if name in by_name][:_SHEET_IMAGES]
    others = [path for path in paths if path not in shown]
    left = min(len(others), _SHEET_IMAGES - len(shown))
    at = np.linspace(0, max(len(others) - 1, 0), left).round().astype(int)
    shown += [others[i] for i in at]
    kept = read_detections(found.folder / "detections.json", check_masks=False)
    by_image = {name: detections for _, name, detections in kept}
    cells = [_cell(path, by_image.get(names[path])) for path in shown]
    show_sheet(draw_grid(cells, columns=3, cell_px=_CELL_PX), len(shown), len(paths), frames)


def _cell(path: Path, detections: Detections | None) -> ImageArray:
    """An image with its detections, its letters large enough to be read."""
    image = load_image(path)
    if detections is None:
        return fit(image, _CELL_PX)
    assert detections.class_id is not None
    names = dict(zip(detections.class_id.tolist(), detections.data["class_name"], strict=True))
    classes = [str(names.get(class_id, "")) for class_id in range(max(names) + 1)]
    style = DrawStyle(text_px=_LETTERS_PX)
    return draw_shrunk(image, detections, classes, _CELL_PX, style)


def _with_mistakes(found: Detected, truth: Dataset) -> list[str]:
    """Names of the images on which something is missed or false, most mistakes first."""
    import supervision as sv

    rows: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads((found.folder / "detections.json").read_text(encoding="utf-8")):
        if row["category_name"] in truth.classes:
            rows.setdefault(row["file_name"], []).append(row)
    detections = []
    names = file_names([sample.path for sample in truth])
    for sample in truth:
        ours = rows.get(names[sample.path], [])
        xywh = np.array([row["bbox"] for row in ours], np.float32).reshape(-1, 4)
        detections.append(
            sv.Detections(
                xyxy=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
                confidence=np.array([row["score"] for row in ours], np.float32),
                class_id=np.array([truth.classes.index(row["category_name"]) for row in ours], int),
            )
        )
    worst = worst_images(truth, detections, found.threshold)
    return [names[truth.samples[index].path] for index, _ in worst]


def keep_animation(project: Path, found: Detected, class_name: str) -> None:
    """Copy the latest GIF to `results/CLASS_detection.gif` of the project; not a video."""
    if found.animation.suffix != ".gif":
        return
    words = "".join(sign if sign.isalnum() else " " for sign in class_name).split()
    path = (
        as_path(project, "the project") / "results" / f"{'_'.join(words) or 'class'}_detection.gif"
    )
    with atomic_path(path) as part:
        shutil.copyfile(found.animation, part)
    say(f"The animation is also in {path}.")


def _folder_of(run: Any) -> Path:
    """The folder of what `train` returned.

    Raises:
        UserError: If it has none, or is something else.
    """
    if not hasattr(run, "folder"):
        raise UserError(f"the run is {run!r}: give what `train` has returned")
    if run.folder is None:
        raise UserError("the run was not written to a folder: give `train` an out")
    return Path(run.folder)


def show_history(run: TrainRun) -> None:
    """Show the curves of losses and accuracy that a run has drawn into its folder."""
    from IPython.display import Image, display

    run_folder = _folder_of(run)
    say_result(run.text())
    display(Image(filename=str(run_folder / CURVES)))


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
    # `.venv/bin/jupyter lab` starts without .venv/bin on its PATH.
    beside = Path(sys.executable).with_name("tensorboard")
    if shutil.which("tensorboard") is None and beside.is_file():
        os.environ.setdefault("TENSORBOARD_BINARY", str(beside))
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
        say(f"{path} is too large to play here: open it from there.")


def show_sheet(sheet: ImageArray, n_shown: int, n_all: int, folder: Path | None = None) -> None:
    """Show a sheet of images, and say how many of how many are on it and where the rest is."""
    from IPython.display import Image, display
    from PIL import Image as PilImage

    file = io.BytesIO()
    PilImage.fromarray(sheet).save(file, format="JPEG", quality=85)
    display(Image(data=file.getvalue(), format="jpeg"))
    if n_shown < n_all:
        where = f"; the rest is in {folder}" if folder is not None and folder.is_dir() else ""
        say(f"These are {n_shown} of {n_all}{where}.")


_SHOWN_PROBLEMS = 20

_PAGE_PX = 720

_FRAME = "border: 1px solid #ddd; box-sizing: border-box; display: block"

_SHOWN_PAGE_BYTES = 25 << 20  # of a page within the notebook's own file


def check_labels(dataset: Dataset) -> list[Problem]:
    """Say what is wrong or suspicious about labelled images, and show those that it is about."""
    require_dataset(dataset)
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
    run_folder = _folder_of(run)
    ground_truth = annotated(folder)
    if ground_truth is None:
        say(
            f"No boxes are drawn on {folder}, so nothing is measured: {switch('LABEL_TEST', True)} "
            "above, draw them, and run the cells below again."
        )
        return None
    measured = evaluate(run, ground_truth)
    _show_metrics(run_folder, measured)
    return measured


def measure_split(run: TrainRun, data: str | Path, split: str = "test") -> Evaluation:
    """Measure a run on one split of a data set; say and draw how good it is.

    Figures that are there already, of this detector on these images, are shown again.

    Raises:
        UserError: As `evaluate`.
    """
    run_folder = _folder_of(run)
    measured = read_evaluation(run_folder, read_dataset(Path(data), split, strict))
    if measured is None:
        measured = evaluate(run, data, split, progress=True)
    _show_metrics(run_folder, measured)
    return measured


def _show_metrics(folder: Path, measured: Evaluation) -> None:
    from IPython.display import Image, display

    metrics = measured.metrics
    say_result(measured.table(keep=("notebook.keep_threshold(run, ", ")")))
    curves = {name: one.curve for name, one in metrics.per_class.items()}
    images = [folder / FOLDER / f"{name}.png" for name in ("precision_recall", "f1")]
    plot_precision_recall(curves, measured.threshold, images[0])
    plot_f1(curves, measured.threshold, images[1])
    for path in images:
        display(Image(filename=str(path), width=560))


def keep_threshold(run: TrainRun, threshold: float) -> None:
    """Give a run's detector another score threshold, here and in its folder.

    Raises:
        UserError: If the threshold is no score.
    """
    run_folder = _folder_of(run)
    before = change_threshold(run_folder, threshold)
    run.detector.threshold = threshold
    say(f"The threshold of {run_folder.name} is {threshold:.2f}, it was {before:.2f}.")


def show_report(run: TrainRun) -> Written:
    """Write a run's report, and show the page below the cell."""
    from IPython.display import display

    run_folder = _folder_of(run)
    written = write_report(run_folder)
    page = html.escape(written.html.read_text(encoding="utf-8"), quote=True)
    # Inside the notebook itself: a page of Drive or of the server cannot be linked to everywhere.
    frame = (
        f'<iframe srcdoc="{page}" title="Report" sandbox width="100%" height="{_PAGE_PX}" '
        f'style="{_FRAME}"></iframe>'
    )
    say_result(f"The report is in {written.html} and {written.pdf}.")
    if written.missing:
        say(written.missing.removesuffix(how_to_measure(run_folder)).rstrip())
    display({"text/html": frame, "text/plain": "(The report as a page.)"}, raw=True)
    return written


def export_run(run: TrainRun, to: str = "web") -> Exported:
    """Write a run's detector for another place into its folder `export`; show a page, offer the file.

    A page and a TFLite file see each picture at one size, as a camera wants it.

    Args:
        run: The run.
        to: "web", "tflite", "onnx" or "saved-model".

    Raises:
        UserError: As `export_detector`.
    """
    from IPython.display import FileLink, display

    run_folder = _folder_of(run)
    name = "served" if to == "saved-model" else f"detector{TARGETS.get(to, '')}"
    fast = to in ("web", "tflite") and run.detector.high_res_hw is not None
    folder = make_folder(run_folder / "export")
    exported = export_detector(run_folder, folder / name, to, scales=1 if fast else None)
    say_result(f"Compared with the run's own detector:\n{exported.parity.table()}")
    say(f"The export is in {exported.path}.")
    if exported.path.is_dir():
        return exported
    if to == "web" and exported.path.stat().st_size <= _SHOWN_PAGE_BYTES:
        page = html.escape(exported.path.read_text(encoding="utf-8"), quote=True)
        frame = (
            f'<iframe srcdoc="{page}" title="Detector" allow="camera" width="100%" '
            f'height="{_PAGE_PX}" style="{_FRAME}"></iframe>'
        )
        display({"text/html": frame, "text/plain": "(The page.)"}, raw=True)
    if is_colab():
        importlib.import_module("google.colab.files").download(str(exported.path))
    else:
        display(FileLink(os.path.relpath(exported.path)))
    return exported
