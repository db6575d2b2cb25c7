"""The figures: COCO's twelve by pycocotools, and the score threshold with the best F1.

    metrics = score_detections(dataset, [detector.predict(s.load()) for s in dataset.samples])
    metrics.AP50, metrics.best_threshold

Metrics itself, its JSON and its table are in figures.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pycocotools.cocoeval import COCOeval

from duckdetect.coco_run import run_coco
from duckdetect.figures import ClassMetrics, MaskMetrics, Metrics
from duckdetect.masks import detection_rles
from duckdetect.matching import Curve, threshold_curves
from duckdetect.resampling import average_precision, rank_detections

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.datasets import Dataset

# The order of COCOeval.stats.
TWELVE = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)


def score_detections(dataset: Dataset, detections: Sequence[Detections]) -> Metrics:
    """Measure detections against a data set's boxes.

    Args:
        dataset: The truth; crowd boxes are neither wanted nor held against anyone.
        detections: One Detections for each of `dataset.samples`, in that order, with scores (as
            many and as low as the detector gives: cutting them lowers AP) and class ids that
            index `dataset.classes`; with masks, or compacted (see masks.py), the masks are measured
            too where the data set has outlines.

    Returns:
        The figures.

    Raises:
        ValueError: If the two do not fit together.
    """
    evaluation = run_coco(dataset, detections)
    pooled, curves = threshold_curves(dataset, detections)
    per_class = {
        name: ClassMetrics(**figures, **_at_best(curves[name]))
        for name, figures in _class_figures(evaluation, dataset.classes).items()
    }
    return Metrics(
        **_twelve(evaluation),
        **_at_best(pooled),
        n_pictures=len(dataset.samples),
        per_class=per_class,
        masks=_score_masks(dataset, detections),
    )


def _score_masks(dataset: Dataset, detections: Sequence[Detections]) -> MaskMetrics | None:
    """The masks' figures, or None if the labels or the detections have none."""
    masks = [detection_rles(one) for one in detections]
    if all(one is None for one in masks):
        return None
    if not any(any(sample.segmentation or ()) for sample in dataset.samples):
        return None
    evaluation = run_coco(dataset, detections, masks)
    wanted = [box for box in evaluation.cocoGt.dataset["annotations"] if not box["iscrowd"]]
    return MaskMetrics(
        **_twelve(evaluation),
        n_masks=len(wanted),
        per_class=_class_figures(evaluation, dataset.classes),
    )


def _twelve(evaluation: COCOeval) -> dict[str, Any]:
    return {name: _or_none(value) for name, value in zip(TWELVE, evaluation.stats, strict=True)}


def _class_figures(evaluation: COCOeval, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    precision = evaluation.eval["precision"]  # (IoU, recall, class, area, number of detections)
    recall = evaluation.eval["recall"]  # (IoU, class, area, number of detections)
    return {
        name: {
            "AP": _mean(precision[:, :, k, 0, 2]),
            "AP50": _mean(precision[0, :, k, 0, 2]),
            "AP75": _mean(precision[5, :, k, 0, 2]),
            "AR100": _mean(recall[:, k, 0, 2]),
        }
        for k, name in enumerate(classes)
    }


def bootstrap_intervals(
    dataset: Dataset,
    detections: Sequence[Detections],
    n_resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float] | None]:
    """How far AP and AP50 could be off because the test set is small (percentile bootstrap).

    Pictures are drawn with replacement; a resample without any labelled box is left out.

    Returns:
        {"AP": (low, high), "AP50": (low, high)}; None if there is nothing to find.
    """
    evaluation = run_coco(dataset, detections, all_sizes_only=True)
    n_pictures, n_classes = len(dataset.samples), len(dataset.classes)
    cells = list(evaluation.evalImgs)  # class after class, each in the pictures' order
    ranked = [
        rank_detections(cells[k * n_pictures : (k + 1) * n_pictures]) for k in range(n_classes)
    ]
    n_overlaps = len(evaluation.params.iouThrs)
    random = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {"AP": [], "AP50": []}
    for _ in range(n_resamples):
        chosen = random.integers(n_pictures, size=n_pictures)
        weights = np.bincount(chosen, minlength=n_pictures)
        every = [average_precision(one, weights, n_overlaps) for one in ranked]
        known = [one for one in every if one is not None]
        if known:
            per_overlap = np.mean(known, axis=0)  # (T,)
            draws["AP"].append(float(per_overlap.mean()))
            draws["AP50"].append(float(per_overlap[0]))
    tails = [50 * (1 - level), 50 * (1 + level)]
    return {
        name: (float(np.percentile(values, tails[0])), float(np.percentile(values, tails[1])))
        if values
        else None
        for name, values in draws.items()
    }


def _at_best(curve: Curve) -> dict[str, Any]:
    """The curve's figures at its best threshold, named as in Metrics."""
    best = curve.best
    at = -1 if best is None else best  # with no threshold to advise, every detection counts
    n_true, n_false = (int(n[at]) if len(n) else 0 for n in (curve.n_true, curve.n_false))
    return {
        "best_threshold": None if best is None else float(curve.score[best]),
        "F1": 2 * n_true / (n_true + n_false + curve.n_truth) if curve.n_truth else None,
        "precision": n_true / (n_true + n_false) if n_true + n_false else None,
        "recall": n_true / curve.n_truth if curve.n_truth else None,
        "n_boxes": curve.n_truth,
        "n_true": n_true,
        "n_false": n_false,
        "curve": curve,
    }


def _mean(values: npt.NDArray[Any]) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _or_none(value: float) -> float | None:
    return float(value) if value > -1 else None
