"""Plots: training curves, precision over recall, F1 over the threshold, the confusion matrix."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from duckdetect.imaging.fonts import plot_families, visual_order, without_pictures
from duckdetect.utils.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from duckdetect.evaluation.matching import Curve

CURVES = "curves.png"  # in a run's folder

PLOT_PPI = 160.0  # pixels an inch

# One colour for each loss, distinguishable by the colour-blind (after Okabe and Ito's advice).
_LOSSES = {
    "loss": ("total", "#222222"),
    "box_loss": ("box", "#0072b2"),
    "class_loss": ("class", "#d55e00"),
    "mask_loss": ("mask", "#cc79a7"),
}

# Width of the smoothed line's average, as a share of all steps.
_SMOOTHING = 0.015


def plot_history(
    rows: Iterable[Mapping[str, Any]],
    path_png: str | Path,
    validation: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Draw a run over its steps: the losses, raw (pale) and smoothed, and below them the accuracy.

    Class accuracy is the part of the anchors matched with an object that give its class the highest
    score, and at least one half (`training.validation.class_accuracy`); of a two-stage base, of the
    proposals (`training.two_stage.class_accuracy`).

    Args:
        rows: history.csv's rows: "step", losses and, where known, "class_accuracy"; numbers or text;
            empty = not measured.
        path_png: The file; an older one is replaced.
        validation: validation.csv's rows: the same on the validation images, and "AP50".

    Raises:
        ValueError: If there are no rows, or none of the losses is in them.
    """
    from matplotlib.ticker import MaxNLocator

    rows, views = list(rows), list(validation)
    if not any(_column(rows, name)[0] for name in _LOSSES):
        raise ValueError("the history holds no losses to draw")
    shares = ("class_accuracy", "mask_iou")
    known = any(_column(table, name)[0] for table in (rows, views) for name in shares)
    figure, panels = new_panels(2 if known else 1)
    for name, (label, color) in _LOSSES.items():
        _draw(panels[0], rows, name, label, color)
        _draw(panels[0], views, name, f"{label}, validation", color, dots=True)
    panels[0].set_ylabel("loss")
    panels[0].set_ylim(bottom=0)
    if known:
        _draw(panels[1], rows, "class_accuracy", "class accuracy", "#d55e00")
        label = "class accuracy, validation"
        _draw(panels[1], views, "class_accuracy", label, "#d55e00", dots=True)
        _draw(panels[1], views, "AP50", "AP50, validation", "#009e73", dots=True)
        label = "AP50 of masks, validation"
        _draw(panels[1], views, "mask_AP50", label, "#56b4e9", dots=True)
        _draw(panels[1], rows, "mask_iou", "mean IoU of masks", "#cc79a7")
        _draw(panels[1], views, "mask_iou", "mean IoU, validation", "#cc79a7", dots=True)
        of_masks = any("mask_iou" in row for row in rows)
        panels[1].set_ylabel("mean IoU" if of_masks else "accuracy")
        panels[1].set_ylim(-0.02, 1.05)
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    panels[-1].set_xlabel("step")
    save_figure(figure, path_png)


def _draw(
    axes: Axes,
    rows: list[Mapping[str, Any]],
    name: str,
    label: str,
    color: str,
    dots: bool = False,
) -> None:
    """A column over the steps: smoothed over its raw values, or as dots where it is sparse."""
    steps, values = _column(rows, name)
    if not values:
        return
    if dots:
        axes.plot(steps, values, "o--", markersize=4, color=color, label=label)
    else:
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=1)
        axes.plot(steps, _smooth(values), color=color, linewidth=2, label=label)


def plot_precision_recall(
    curves: Mapping[str, Curve], threshold: float | None, path_png: str | Path
) -> None:
    """Draw precision over recall at IoU 0.5; a dot marks the detector's threshold on each curve.

    Args:
        curves: By name: `{name: one.curve for name, one in metrics.per_class.items()}`.
        threshold: The detector's; None for no dots.
        path_png: The file; an older one is replaced.
    """
    figure, (axes,) = new_panels(1)
    for shown, curve in drawable(curves, axes):
        there = None if threshold is None else curve.at(threshold)
        at = "" if there is None else f": F1 {there.F1 or 0:.2f} at {threshold:.2f}"
        # Each point holds from the recall before it up to its own.
        recall = [0.0, *curve.recall]
        precision = [curve.precision[0], *curve.precision]
        (line,) = axes.step(recall, precision, where="pre", linewidth=2, label=shown + at)
        if there is not None and there.precision is not None and there.recall is not None:
            axes.plot(there.recall, there.precision, "o", color=line.get_color())
    axes.set_xlabel("recall: share of objects found")
    axes.set_ylabel("precision: share that is right")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.05)
    name_curves(figure, axes)
    save_figure(figure, path_png)


def drawable(curves: Mapping[str, Curve], axes: Axes) -> Iterator[tuple[str, Curve]]:
    """The curves that hold something, with their labels; the others are only named in the legend."""
    for name, curve in curves.items():
        shown = f" {short_name(name)}"  # matplotlib hides labels that begin with an underscore
        if len(curve.score) and curve.n_truth:
            yield shown, curve
        else:
            axes.plot([], [], label=f"{shown}: nothing to draw")


def new_panels(n: int, size_wh_in: tuple[float, float] | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of `n` panels one below the other, which share their x axis.

    It is so small, in inches, that its letters can be read on a phone.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_wh_in or (5.0, 1.0 + 2.4 * n), dpi=PLOT_PPI, layout="constrained")
    FigureCanvasAgg(figure)
    found = figure.subplots(n, sharex=True, squeeze=False)[:, 0].tolist()
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, found


def name_curves(figure: Figure, axes: Axes) -> None:
    """A legend: inside while there are few curves, else below, where it hides none."""
    count = len(axes.get_legend_handles_labels()[1])
    if not count:
        return
    if count <= 2:
        legend = axes.legend(frameon=False, loc="best")
    else:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.19 * count)
        handles, labels = axes.get_legend_handles_labels()
        legend = figure.legend(
            handles, labels, frameon=False, loc="outside lower center", fontsize=9
        )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold dollar signs


def short_name(name: str, most: int = 24) -> str:
    """A class's name as a figure has it: without emoji, cut where it would take the whole of it."""
    name = without_pictures(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def save_figure(figure: Figure, path_png: str | Path) -> None:
    """Write a figure as PNG; the same curves give the same bytes."""
    _set_fonts(figure)
    with atomic_path(path_png) as part, warnings.catch_warnings():
        # A name in signs that the font lacks is drawn as frames; a warning would not help.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # No date and version inside: the same curves give the same file.
        figure.savefig(part, format="png", metadata={"Software": None})


def _set_fonts(figure: Figure) -> None:
    """Give every text the fonts that have its letters, and lay out what runs from right to left."""
    import matplotlib
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if not str(text.get_text()).isascii()]
    families = plot_families(text.get_text() for text in texts)
    # From 3.11 on it lays text out by itself.
    lays_out = tuple(map(int, matplotlib.__version__.split(".")[:2])) >= (3, 11)
    for text in texts:
        text.set_fontfamily(families)
        if not lays_out:
            text.set_text(visual_order(text.get_text()))


def _column(rows: list[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values where the column is filled."""
    filled = [row for row in rows if row.get(name) not in (None, "")]
    return [float(row["step"]) for row in filled], [float(row[name]) for row in filled]


def _smooth(values: list[float]) -> npt.NDArray[np.float64]:
    """Average over the neighbouring steps (Gaussian weights), without lag; the ends weigh less."""
    from scipy.signal import convolve  # by Fourier transforms where there are many steps

    width = max(len(values) * _SMOOTHING, 1e-3)
    offset = np.arange(-3 * math.ceil(width), 3 * math.ceil(width) + 1)
    weights = np.exp(-0.5 * (offset / width) ** 2)
    half = len(offset) // 2
    # `full` and a cut, since `same` takes the longer input's length, which may be the weights'.
    inside = slice(half, half + len(values))
    total = convolve(values, weights, mode="full")[inside]
    mass = convolve(np.ones(len(values)), weights, mode="full")[inside]
    return np.asarray(total / mass)


_MOST_NUMBERS = 15  # classes; more rows have no room for numbers

_MOST_NAMED = 30


def plot_f1(curves: Mapping[str, Curve], threshold: float | None, path_png: str | Path) -> None:
    """Draw F1 at IoU 0.5 over the score threshold.

    Args:
        curves: By name, as for `plot_precision_recall`.
        threshold: Where to draw an upright line, for the threshold to use; None for none.
        path_png: The file; an older one is replaced.
    """
    figure, (axes,) = new_panels(1)
    for shown, curve in drawable(curves, axes):
        # Each point holds for all thresholds from its score down to, not including, the next one's.
        score = [1.0, *curve.score, 0.0]
        f1 = [0.0, *curve.f1, curve.f1[-1]]
        axes.step(score, f1, where="post", linewidth=2, label=shown)
    if threshold is not None:
        axes.axvline(threshold, color="#222222", linestyle="--", linewidth=1.5)
        axes.annotate(
            f"{threshold:.2f}",
            (threshold, 1.0),
            xytext=(4 if threshold < 0.85 else -4, 0),
            textcoords="offset points",
            ha="left" if threshold < 0.85 else "right",
            va="center",
        )
    axes.set_xlabel("score threshold")
    axes.set_ylabel("F1")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.05)
    name_curves(figure, axes)
    save_figure(figure, path_png)


def plot_confusion(
    counts: npt.NDArray[np.int64], classes: Sequence[str], path_png: str | Path
) -> None:
    """Draw which class was taken for which.

    Args:
        counts: (C + 1, C + 1) from `confusion_matrix`: rows labelled, columns detected.
        classes: C names.
        path_png: The file; an older one is replaced.

    Raises:
        ValueError: If the names do not fit the matrix.
    """
    n = len(classes)
    if counts.shape != (n + 1, n + 1):
        raise ValueError(f"a matrix of shape {counts.shape} for {n} classes and background")
    side = min(1.3 + (n + 1) * min(0.75, max(0.38, 3.2 / (n + 1))), 9.0)
    figure, (axes,) = new_panels(1, (side + 1.4, side))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    # Shades by the share of a row, so that a class with many boxes does not pale the others; false
    # detections by that of all objects, since they have no whole of their own.
    whole = counts.sum(axis=1, keepdims=True)  # (C + 1, 1)
    whole[n] = max(counts[:n].sum(), counts[n].sum())
    share = counts / np.maximum(whole, 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.15)
    if n <= _MOST_NUMBERS:
        for row, column in np.ndindex(*counts.shape):
            if (row, column) != (n, n):  # background that stayed background is not counted
                dark = share[row, column] > 0.6
                axes.text(
                    column,
                    row,
                    str(counts[row, column]),
                    ha="center",
                    va="center",
                    color="white" if dark else "#222222",
                )
    if n <= _MOST_NAMED:
        short = [short_name(name, 18) for name in classes]
        slanted = n > 2 or max(map(len, short), default=0) > 14
        turn: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(
            range(n + 1), [*short, "nothing"], parse_math=False, **(turn if slanted else {})
        )
        axes.set_yticks(range(n + 1), [*short, "background"], parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("detected as")
    axes.set_ylabel("labelled as")
    save_figure(figure, path_png)
