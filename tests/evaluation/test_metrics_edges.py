"""Figures at the edges, against pycocotools called directly; and the bootstrap against its accumulate."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from evaluation.test_metrics import Data, found, ground_truth, random_case, reference

from duckdetect.evaluation.metrics import (
    TWELVE,
    average_precision,
    bootstrap_intervals,
    evaluate_classes,
    rank_detections,
    score_detections,
)

Found = list[sv.Detections]


def no_box_is_labelled(data: Data, detections: Found) -> tuple[Data, Found]:
    return Data([ground_truth(one.image_id) for one in data.samples]), detections


def a_class_is_never_labelled(data: Data, detections: Found) -> tuple[Data, Found]:
    samples = [replace(one, class_id=np.zeros_like(one.class_id)) for one in data.samples]
    return Data(samples), detections


def a_class_is_never_found(data: Data, detections: Found) -> tuple[Data, Found]:
    return data, [one[one.class_id == 0] for one in detections]


def half_the_images_have_no_detection(data: Data, detections: Found) -> tuple[Data, Found]:
    return data, [sv.Detections.empty() if i % 2 else one for i, one in enumerate(detections)]


def all_boxes_are_crowds(data: Data, detections: Found) -> tuple[Data, Found]:
    samples = [replace(one, crowd=np.ones_like(one.crowd)) for one in data.samples]
    return Data(samples), detections


def all_scores_are_one(data: Data, detections: Found) -> tuple[Data, Found]:
    for one in detections:
        one.confidence[:] = 1
    return data, detections


def more_detections_than_count(data: Data, detections: Found) -> tuple[Data, Found]:
    """COCO looks at the best 100 of a picture and class; of equal scores at the first."""
    many = [sv.Detections.merge([one] * 40) for one in detections]
    for one in many:
        one.confidence = np.round(one.confidence, 1)
    return data, many


CASES = [
    no_box_is_labelled,
    a_class_is_never_labelled,
    a_class_is_never_found,
    half_the_images_have_no_detection,
    all_boxes_are_crowds,
    all_scores_are_one,
    more_detections_than_count,
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_twelve_figures_at_the_edges(
    case: Callable[[Data, Found], tuple[Data, Found]], seed: int
) -> None:
    data, detections = case(*random_case(seed))
    metrics = score_detections(data, detections).to_json()
    # The reference wants scores and class ids of empty detections, too.
    empty = found((0, 0, 1, 1, 1.0))[:0]
    evaluation = reference(data, [one if len(one) else empty for one in detections])
    expected = [None if value == -1 else value for value in evaluation.stats]
    assert [metrics[name] for name in TWELVE] == expected


@pytest.mark.parametrize("seed", range(4))
def test_resampled_precision_is_that_of_pycocotools(seed: int) -> None:
    """The drawn pictures put into its own lists and added up by itself; no scores tie."""
    data, detections = random_case(seed, n_images=20)
    n = len(data.samples)
    for evaluation in evaluate_classes(data, detections, all_sizes_only=True):
        cells = list(evaluation.evalImgs)
        ranked = rank_detections(cells)
        for draw in range(3):
            chosen = np.random.default_rng(draw).integers(n, size=n)
            weights = np.bincount(chosen, minlength=n)
            evaluation.evalImgs = [cells[i] for i in chosen]
            with contextlib.redirect_stdout(io.StringIO()):
                evaluation.accumulate()
            expected = evaluation.eval["precision"][..., 0, 0, 0].mean(axis=1)  # (T,)
            np.testing.assert_allclose(average_precision(ranked, weights, 10), expected, atol=1e-9)


@pytest.mark.parametrize("levels", [0, 3], ids=["scores differ", "scores tie"])
def test_every_image_drawn_once_gives_the_figure_itself(levels: int) -> None:
    data, detections = random_case(8, levels=levels)
    once = np.ones(len(data.samples), np.int64)
    each = [
        average_precision(rank_detections(evaluation.evalImgs), once, 10)
        for evaluation in evaluate_classes(data, detections, all_sizes_only=True)
    ]
    assert np.mean(each) == pytest.approx(score_detections(data, detections).AP, abs=1e-9)


def test_bootstrap_without_detections_and_without_boxes() -> None:
    data, detections = random_case(3)
    nothing = bootstrap_intervals(data, [found()] * len(detections), 20)
    assert nothing == {"AP": (0.0, 0.0), "AP50": (0.0, 0.0)}
    unlabelled, _ = no_box_is_labelled(data, detections)
    assert bootstrap_intervals(unlabelled, detections, 20) == {"AP": None, "AP50": None}
