"""One object, one answer: suppression across classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckdetect.errors import UserError
from duckdetect.imaging.geometry import pairwise_iou
from duckdetect.inference.detector import Detector, to_detections
from duckdetect.inference.suppression import (
    ACROSS_IOU,
    PER_CLASS,
    SECOND_ANSWER,
    Suppression,
    check_score,
)
from duckdetect.training import threshold as chosen_threshold

# The second box overlaps the first by 0.8, the third overlaps neither.
XYXY = np.array([[0, 0, 100, 100], [0, 0, 100, 80], [200, 0, 300, 100]], float)
SCORE = np.array([0.5, 0.9, 0.4])


@pytest.mark.parametrize(
    ("suppression", "class_id", "kept", "scores"),
    [
        (Suppression(), [0, 1, 1], [1, 2, 0], [0.9, 0.4, 0.15]),
        (Suppression(), [0, 0, 0], [1, 0, 2], [0.9, 0.5, 0.4]),  # as the network left them
        (PER_CLASS, [0, 1, 1], [1, 0, 2], [0.9, 0.5, 0.4]),
        (Suppression(iou=0.85), [0, 1, 1], [1, 0, 2], [0.9, 0.5, 0.4]),
        (Suppression(iou=0.7), [0, 0, 0], [1, 2], [0.9, 0.4]),
        (Suppression(iou=0.7), [0, 1, 0], [1, 2, 0], [0.9, 0.4, 0.15]),
        (Suppression(per_class=True, iou=0.7), [0, 0, 1], [1, 2], [0.9, 0.4]),
        (Suppression(per_class=True, iou=0.7), [0, 1, 1], [1, 0, 2], [0.9, 0.5, 0.4]),
    ],
)
def test_the_lower_scored_of_two_that_overlap_is_a_second_answer_or_goes(
    suppression, class_id, kept, scores
):
    index, score = suppression.rescore(XYXY, SCORE, np.array(class_id))
    assert index.tolist() == kept
    np.testing.assert_allclose(score, scores)


def test_a_second_answer_makes_no_other():
    """c overlaps b alone, which a made a second answer."""
    xyxy = np.array([[0, 0, 100, 10], [20, 0, 120, 10], [40, 0, 140, 10]], float)
    score = np.array([0.9, 0.8, 0.7])
    index, score = Suppression(iou=0.5).rescore(xyxy, score, np.array([0, 1, 2]))
    assert index.tolist() == [0, 2, 1]
    np.testing.assert_allclose(score, [0.9, 0.7, 0.24])


def test_no_threshold_that_training_chooses_shows_a_second_answer():
    assert chosen_threshold._OFFSET >= SECOND_ANSWER


@given(st.integers(0, 2**32), st.integers(0, 30), st.sampled_from([None, 0.3, 0.5, 0.9]))
def test_first_answers_do_not_overlap_and_all_others_overlap_one(seed, n, iou):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 50, (n, 2))
    xyxy = np.concatenate([corner, corner + random.uniform(5, 60, (n, 2))], axis=1)
    score, class_id = random.random(n), random.integers(0, 3, n)
    index, rescored = Suppression(iou=iou).rescore(xyxy, score, class_id)
    assert (np.diff(rescored) <= 0).all()
    first = np.zeros(n, bool)
    first[index[rescored == score[index]]] = True
    overlap = pairwise_iou(xyxy, xyxy)
    counts = (class_id[:, None] != class_id) | (iou is not None)
    over = (overlap > (ACROSS_IOU if iou is None else iou)) & counts & ~np.eye(n, dtype=bool)
    assert not over[np.ix_(first, first)].any()
    surer = score[None] > score[:, None]
    assert (over & surer)[~first][:, first].any(axis=1).all()
    gone = ~np.isin(np.arange(n), index)
    assert not gone.any() or iou is not None
    np.testing.assert_allclose(rescored[~first[index]], SECOND_ANSWER * score[index[~first[index]]])


def test_detections_of_a_model_are_suppressed_before_the_masks_are_made():
    y1x1y2x2 = XYXY[:, [1, 0, 3, 2]] / 300
    arguments = ((300, 300), np.ones(2), y1x1y2x2[[1, 0, 2]], SCORE[[1, 0, 2]])
    arguments = (*arguments, np.array([1, 0, 1]), ["a", "b"])
    masks = np.ones((3, 4, 4), np.float32)
    found = to_detections(*arguments, 0.3, masks=masks, suppression=Suppression())
    assert found.class_id.tolist() == [1, 1]
    assert found.mask.shape == (2, 300, 300)
    assert len(to_detections(*arguments, 0.3, masks=masks)) == 3
    everything = to_detections(*arguments, suppression=Suppression())
    assert everything.class_id.tolist() == [1, 1, 0]
    np.testing.assert_allclose(everything.confidence, [0.9, 0.4, 0.15])


def test_a_threshold_is_a_number_from_0_to_1():
    for wrong in (-0.1, 1.1, 60, float("nan"), "0.5", True, None):
        with pytest.raises(UserError, match="give a number from 0 to 1"):
            check_score(wrong)
    with pytest.raises(UserError, match="the iou is 2"):
        Suppression(iou=2)
    detector = Detector(None, ["duck"], "b", (300, 300))
    with pytest.raises(UserError, match="the threshold is 60"):
        detector.threshold = 60
    with pytest.raises(UserError, match="the threshold is 60"):
        detector("a.jpg", 60)


def test_a_detector_says_what_it_is_and_can_be_changed():
    detector = Detector(None, ["duck"], "b", (300, 300), 0.6, high_res_hw=(500, 500))
    assert repr(detector) == "Detector(classes=['duck'], base='b', threshold=0.6)"
    other = detector.changed(fast=True, per_class=True, iou=0.4)
    assert (other.high_res_hw, other.suppression) == (None, Suppression(True, 0.4))
    assert (detector.high_res_hw, detector.suppression) == ((500, 500), Suppression())
    assert detector.changed().suppression == Suppression()
