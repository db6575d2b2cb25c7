"""What an evaluation looks like: F1 over the score threshold, and which class is taken for which.

plot_f1({"rubber duck": metrics.curve}, metrics.best_threshold, "f1.png")
plot_confusion(confusion_matrix(dataset, detections, 0.5), dataset.classes, "confusion.png")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from duckdetect.plots import drawable, name_curves, new_panels, save_figure, short_name

if TYPE_CHECKING:
    from duckdetect.matching import Curve

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
