"""The detector's score threshold: the one with the best F1 at IoU 0.5 on held-out augmented views.

The threshold lies in the middle between the best detection's score and the next lower one. Views of the
training images flatter a detector, so a one-stage detector's is then drawn towards 0.43
(docs/accuracy.md). Validation images say more, and are taken at their word.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from duckdetect.data.augment import WIDEST, WIDEST_TWO_STAGE, PlainViews, augmented_views
from duckdetect.data.dataset import Dataset, Sample
from duckdetect.data.distractors import with_distractors
from duckdetect.evaluation.matching import Curve, threshold_curves
from duckdetect.inference.detector import DEFAULT_THRESHOLD, Detector

_HELD_OUT = 20

# Far from any seed that a user would choose, so that training never saw the same views.
_SEED_OFFSET = 1_000_003

_LOWEST, _HIGHEST = 0.1, 0.9

# A linear shrinkage of what the views say, t -> 0.3 t + 0.3: on new images it costs 0.04 of F1 against
# the best threshold there, the views' own 0.07.
_SLOPE, _OFFSET = 0.3, 0.3


def choose_threshold(
    detector: Detector, plain: PlainViews, seed: int, distractors: bool = False
) -> float:
    """The threshold with the best F1 on held-out views, drawn towards 0.43; from 0.33 to 0.57.

    Args:
        detector: The trained detector.
        plain: The training images.
        seed: The training's seed.
        distractors: Whether a one-stage detector's views get distractors (data/distractors.py), as
            its training views did: false positives on them show how high the background scores.
    """
    seed += _SEED_OFFSET
    two_stage = getattr(detector, "two_stage", False)
    held_out = augmented_views(plain, _HELD_OUT, seed, WIDEST_TWO_STAGE if two_stage else WIDEST)
    views = list(
        with_distractors(held_out, plain, seed) if distractors and not two_stage else held_out
    )
    samples = tuple(
        Sample(Path(view.name), i, (height, width), view.xyxy, view.class_id)
        for i, view in enumerate(views, 1)
        for height, width in [view.image.shape[:2]]
    )
    # Boxes decide; a Mask R-CNN's masks would take most of the time.
    without = {"masks": False} if getattr(detector, "has_masks", False) else {}
    detections = detector.predict([view.image for view in views], threshold=0.01, **without)
    curve, _ = threshold_curves(Dataset(Path(), detector.classes, samples), detections)
    best = best_threshold(curve)
    return best if two_stage or curve.best is None else round(_SLOPE * best + _OFFSET, 3)


def best_threshold(curve: Curve) -> float:
    """The threshold with the best F1, in the middle of the two scores it lies between, 0.1 to 0.9.

    Without a true positive, `detector.DEFAULT_THRESHOLD`.
    """
    if curve.best is None:
        return DEFAULT_THRESHOLD
    lower = curve.score[curve.best + 1] if curve.best + 1 < len(curve.score) else 0.0
    middle = (curve.score[curve.best] + lower) / 2
    return round(float(np.clip(middle, _LOWEST, _HIGHEST)), 3)
