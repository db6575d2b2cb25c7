"""The report's sections on how good the detector is, where it fails, which threshold to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from duckdetect.evaluation_plots import plot_f1
from duckdetect.metrics import bootstrap_intervals
from duckdetect.plots import plot_precision_recall
from duckdetect.report_blocks import (
    Block,
    Note,
    Pictures,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
    plot,
)
from duckdetect.report_failures import confusion_section, failures_section
from duckdetect.report_words import place, plural, show, show_percent, show_range

if TYPE_CHECKING:
    from duckdetect.evaluation_runs import Evaluation
    from duckdetect.figures import ClassMetrics, Metrics
    from duckdetect.matching import Curve

_MOST_CURVES = 6  # lines of one plot that can be told apart
_RESAMPLES = 200
_FEW_BOXES = 50

Intervals = Mapping[str, tuple[float, float] | None]


def evaluation_sections(evaluation: Evaluation, config: Mapping[str, Any]) -> list[Section]:
    """In short, figures, threshold, confusion, failures.

    Args:
        evaluation: What was measured.
        config: The run's config.json.
    """
    metrics = evaluation.metrics
    intervals = bootstrap_intervals(evaluation.dataset, evaluation.detections, _RESAMPLES)
    threshold = threshold_to_use(evaluation)
    sections = [
        _short(evaluation, intervals, threshold, config),
        _figures(metrics, intervals),
        _threshold(evaluation, threshold),
    ]
    if metrics.n_boxes or metrics.n_false:
        sections.append(confusion_section(evaluation, threshold))
        sections.append(failures_section(evaluation, threshold))
    return sections


def threshold_to_use(evaluation: Evaluation) -> float:
    """The score with the best F1; where nothing is ever right, the detector's own."""
    best = evaluation.metrics.best_threshold
    own = evaluation.about["detector"]["threshold"]
    return float(best if best is not None else own if own is not None else 0.5)


def _short(
    evaluation: Evaluation, intervals: Intervals, threshold: float, config: Mapping[str, Any]
) -> Section:
    metrics, data = evaluation.metrics, evaluation.about["data"]
    tiles = Tiles(
        [
            Tile("AP50", show(metrics.AP50), show_range(intervals["AP50"])),
            Tile("AP", show(metrics.AP), show_range(intervals["AP"])),
            Tile("Threshold to use", f"{threshold:.2f}", "keep detections from this score on"),
            Tile("F1 there", show(metrics.F1), "1 is perfect"),
        ]
    )
    which = place(data["folder"])
    if data["split"]:
        which = f"the {data['split']} split of {which}"
    words = (
        f"Measured on {plural(metrics.n_pictures, 'picture')} with "
        f"{plural(metrics.n_boxes, 'labelled object')}: {which}."
    )
    n_found = metrics.n_true + metrics.n_false
    if metrics.best_threshold is None:
        words += " No detection is right at any score."
    else:
        words += (
            f" At a score of {threshold:.2f} and above it finds {metrics.n_true} of the "
            f"{metrics.n_boxes} ({show_percent(metrics.recall)}), and {metrics.n_true} of its "
            f"{plural(n_found, 'detection')} are right ({show_percent(metrics.precision)})."
        )
    blocks: list[Block] = [tiles, Text(words)]
    if data["sha256"] == config["data"]["sha256"]:
        blocks.append(
            Note(
                "These are the pictures it learnt from: the figures say how well it remembers them, "
                "not how well it does on others. Measure it on other pictures."
            )
        )
    elif data["sha256"] == (config.get("validation") or {}).get("sha256"):
        blocks.append(
            Note(
                "These are the validation pictures, which chose the weights and the threshold that "
                "were kept: the figures flatter a little. Measure it on others."
            )
        )
    if 0 < metrics.n_boxes < _FEW_BOXES:
        blocks.append(
            Note(
                f"{plural(metrics.n_boxes, 'object')} to find are few: read the figures with their "
                "ranges, and label more test pictures before you compare two detectors."
            )
        )
    return Section("In short", blocks)


def _figures(metrics: Metrics, intervals: Intervals) -> Section:
    blocks: list[Block] = [
        Text(
            "AP50 is the average precision when a detection counts as right as soon as its box and "
            "the labelled one overlap by half (intersection over union of 0.5). 1 means that "
            "everything is found and nothing else; 0 that nothing is. Precision is the share of "
            "detections that are right, recall the share of objects that are found; average "
            "precision is precision averaged over all recalls."
        ),
        Text(
            "AP is the mean of the same at ten overlaps from 0.5 to 0.95, so it asks for boxes that "
            "fit, too; it is the figure that COCO's tables rank by. The ranges hold the figure in 95 "
            f"of 100 cases when the test pictures are drawn anew ({_RESAMPLES} draws with replacement)."
        ),
    ]
    rows = [
        ["AP, overlap 0.5 to 0.95", show(metrics.AP), show_range(intervals["AP"])],
        ["AP50, overlap 0.5", show(metrics.AP50), show_range(intervals["AP50"])],
        ["AP75, overlap 0.75", show(metrics.AP75), ""],
    ]
    for size, limits in (("small", "below 32²"), ("medium", "up to 96²"), ("large", "above 96²")):
        rows.append([f"AP, {size} objects: {limits} pixels", show(getattr(metrics, f"AP_{size}"))])
    for most in (1, 10, 100):
        name = f"AR{most}, average recall, at most {plural(most, 'detection')} a picture"
        rows.append([name, show(getattr(metrics, f"AR{most}"))])
    for size in ("small", "medium", "large"):
        rows.append([f"AR, {size} objects", show(getattr(metrics, f"AR_{size}"))])
    if metrics.masks is not None:
        for name in ("AP", "AP50", "AP75", "AR100"):
            rows.append([f"{name} of masks", show(getattr(metrics.masks, name))])
    blocks.append(Table(["Figure", "Value", "Range"], [[*row, ""][:3] for row in rows]))
    named: list[tuple[str, Metrics | ClassMetrics]] = list(metrics.per_class.items())
    if len(named) > 1:
        named.append(("all classes", metrics))
    blocks.append(
        Table(
            ["Class", "Objects", "AP", "AP50", "AR100", "F1", "Precision", "Recall", "At score"],
            [
                [name, str(one.n_boxes)]
                + [show(v) for v in (one.AP, one.AP50, one.AR100, one.F1, one.precision)]
                + [show(one.recall), show(one.best_threshold, 2)]
                for name, one in named
            ],
        )
    )
    blocks.append(
        Text(
            "F1, precision and recall are those at the score in the last column, where F1, their "
            "harmonic mean, is highest. A dash stands where there is nothing to measure."
        )
    )
    return Section("How good it is", blocks)


def _threshold(evaluation: Evaluation, threshold: float) -> Section:
    metrics = evaluation.metrics
    own = evaluation.about["detector"]["threshold"]
    if metrics.best_threshold is None:
        words = (
            f"No score separates right detections from wrong ones here, so {threshold:.2f}, the "
            "detector's own threshold, is taken below."
        )
    else:
        words = (
            f"Use {threshold:.2f}: there F1 is highest on these pictures. Higher, and fewer "
            "detections are wrong, but more objects are missed; lower, the other way round."
        )
        if own is not None:
            f1 = _f1_at(metrics.curve, own)
            words += f" The detector's own default is {own:.2f}, where F1 is {show(f1)}."
    curves = _curves(metrics)
    left = len(metrics.per_class) + 1 - len(curves) if len(metrics.per_class) > 1 else 0
    blocks: list[Block] = [Text(words)]
    if left > 0:
        blocks.append(Text(f"The classes with most objects are drawn, {left} others are not."))
    pictures = [
        plot(
            lambda path: plot_precision_recall(curves, path),
            "Precision over recall at an overlap of 0.5. The dot is where F1 is highest.",
        ),
        plot(
            lambda path: plot_f1(curves, threshold, path),
            f"F1 over the score threshold. The line is the threshold to use, {threshold:.2f}.",
        ),
    ]
    blocks.append(Pictures(pictures, columns=2))
    return Section("Which threshold to use", blocks)


def _curves(metrics: Metrics) -> dict[str, Curve]:
    """All classes pooled, and those with most objects."""
    if len(metrics.per_class) == 1:
        return {name: one.curve for name, one in metrics.per_class.items()}
    most = sorted(metrics.per_class, key=lambda name: -metrics.per_class[name].n_boxes)
    chosen = set(most[: _MOST_CURVES - 1])
    curves = {name: one.curve for name, one in metrics.per_class.items() if name in chosen}
    return {"all classes": metrics.curve, **curves}


def _f1_at(curve: Curve, threshold: float) -> float | None:
    """F1 of the detections at or above a threshold."""
    kept = [f1 for score, f1 in zip(curve.score, curve.f1, strict=True) if score >= threshold]
    return (float(kept[-1]) if kept else 0.0) if curve.n_truth else None
