"""The detector's score threshold: the one with the best F1 at IoU 0.5 on held-out augmented views.

The threshold lies in the middle between the best detection's score and the next lower one. Views of the
training images flatter a detector, so a one-stage detector's is then drawn towards 0.43
(docs/accuracy.md). Validation images say more, and are taken at their word.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from duckdetect.data.augment import PlainViews
from duckdetect.data.dataset import Dataset, Sample
from duckdetect.data.views import random_views
from duckdetect.evaluation.evaluate import collect_detections
from duckdetect.evaluation.matching import Curve, threshold_curves
from duckdetect.evaluation.metrics import score_detections
from duckdetect.inference.detector import DEFAULT_THRESHOLD, Detector
from duckdetect.training.config import TrainConfig
from duckdetect.utils.progress import progress_bar

_HELD_OUT = 20

_BATCH = 8  # views; the detector's own

# Far from any seed that a user would choose, so that training never saw the same views.
_SEED_OFFSET = 1_000_003

_LOWEST, _HIGHEST = 0.1, 0.9

# A linear shrinkage of what the views say, t -> 0.3 t + 0.3: on new images it costs 0.04 of F1 against
# the best threshold there, the views' own 0.07.
_SLOPE, _OFFSET = 0.3, 0.3


def choose_threshold(
    detector: Detector,
    plain: PlainViews,
    config: TrainConfig,
    val: Dataset | None = None,
    best_round: Mapping[str, float] | None = None,
    progress: bool = False,
) -> float:
    """The threshold that a finished run's detector gets.

    Args:
        detector: The trained detector.
        plain: The training pictures.
        config: The run's settings.
        val: The validation pictures, if there are any.
        best_round: What was measured on them in the round whose weights the detector has.
        progress: Show a bar on stderr, if it takes long.
    """
    if val is not None and detector.high_res_hw is not None:
        # Validation runs the base scale alone; multi-scale inference finds more, at other scores.
        chosen = val.evenly(config.val_images)
        found = collect_detections(detector, chosen, progress, masks=False)
        return f1_threshold(score_detections(chosen, found).curve)
    if best_round is not None:
        return best_round["best_threshold"]
    if config.views:
        known = [sample for sample in plain.samples if sample.whole]
        if len(known) < len(plain):  # what is found elsewhere may be right
            plain = PlainViews(known)
        return threshold_on_views(
            detector, plain, config.seed, config.distractors, progress, config.rotate
        )
    return detector.threshold


def threshold_on_views(
    detector: Detector,
    plain: PlainViews,
    seed: int,
    distractors: bool = False,
    progress: bool = False,
    rotate: bool = False,
) -> float:
    """The threshold with the best F1 on held-out views, drawn towards 0.43; from 0.33 to 0.57.

    Args:
        detector: The trained detector.
        plain: The training images.
        seed: The training's seed.
        distractors: Whether a one-stage detector's views get distractors (data/distractors.py), as
            its training views did: false positives on them show how high the background scores.
        progress: Show a bar on stderr.
        rotate: Whether the views are turned by quarters, as its training views were.
    """
    seed += _SEED_OFFSET
    two_stage = getattr(detector, "two_stage", False)
    more = {"two_stage": two_stage, "distractors": distractors, "rotate": rotate}
    views = list(random_views(plain, _HELD_OUT, seed, **more))
    samples = tuple(
        Sample(Path(view.name), i, (height, width), view.xyxy, view.class_id)
        for i, view in enumerate(views, 1)
        for height, width in [view.image.shape[:2]]
    )
    # Boxes decide; a Mask R-CNN's masks would take most of the time.
    without = {"masks": False} if getattr(detector, "has_masks", False) else {}
    images = [view.image for view in views]
    starts = progress_bar(
        range(0, len(images), _BATCH),
        "choosing the threshold",
        unit="batch",
        disable=not progress,
    )
    detections = [
        one
        for start in starts
        for one in detector.predict(images[start : start + _BATCH], threshold=0.01, **without)
    ]
    curve, _ = threshold_curves(Dataset(Path(), detector.classes, samples), detections)
    best = f1_threshold(curve)
    return best if two_stage or curve.best is None else round(_SLOPE * best + _OFFSET, 3)


def f1_threshold(curve: Curve) -> float:
    """The threshold with the best F1, in the middle of the two scores it lies between, 0.1 to 0.9.

    Without a true positive, `detector.DEFAULT_THRESHOLD`.
    """
    if curve.best is None:
        return DEFAULT_THRESHOLD
    lower = curve.score[curve.best + 1] if curve.best + 1 < len(curve.score) else 0.0
    middle = (curve.score[curve.best] + lower) / 2
    return round(float(np.clip(middle, _LOWEST, _HIGHEST)), 3)
