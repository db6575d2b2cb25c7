"""Identities: kept through crossings, gaps and weak moments; nothing is made of noise."""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv

from duckdetect.video.tracking import Motion, Tracker

DT = 1 / 30


def found(*rows: tuple[float, ...], mask: np.ndarray | None = None) -> sv.Detections:
    """Rows of centre x, centre y, side, score and class."""
    table = np.array(rows, float).reshape(-1, 5)
    x, y, side, score, class_id = table.T
    half = side / 2
    return sv.Detections(
        xyxy=np.stack([x - half, y - half, x + half, y + half], axis=1).astype(np.float32),
        confidence=score.astype(np.float32),
        class_id=class_id.astype(int),
        mask=mask,
    )


def numbers(tracked: sv.Detections) -> list[int]:
    assert tracked.tracker_id is not None
    return tracked.tracker_id.tolist()


def test_two_that_cross_keep_their_numbers() -> None:
    tracker = Tracker(0.5)
    rng = np.random.default_rng(0)
    for k in range(60):
        rows = [(50 + 5 * k, 100, 40, 0.9, 0), (350 - 5 * k, 112, 40, 0.8, 0)]
        order = rng.permutation(2)
        tracked = tracker.update(found(*(rows[i] for i in order)), k * DT)
        assert numbers(tracked) == (order + 1).tolist() if k else [1, 2]
        if not k:  # numbered in the order in which they were given at first
            tracker = Tracker(0.5)
            tracker.update(found(*rows), 0.0)


def test_a_weak_moment_is_bridged_but_noise_begins_nothing() -> None:
    tracker = Tracker(0.5)
    kept = []
    for k in range(30):
        score = 0.2 if 10 <= k < 20 else 0.8
        tracked = tracker.update(found((50 + k, 50, 30, score, 0), (200, 200, 30, 0.3, 0)), k * DT)
        kept.append(numbers(tracked))
    assert kept == [[1]] * 30


def test_what_was_seen_once_does_not_make_a_weak_one_sure() -> None:
    tracker = Tracker(0.5)
    assert numbers(tracker.update(found((50, 50, 30, 0.8, 0)), 0)) == [1]
    assert len(tracker.update(found((50, 50, 30, 0.3, 0)), DT)) == 0


def test_below_the_lowest_score_nothing_is_kept() -> None:
    tracker = Tracker(0.5)
    for k in range(5):
        tracker.update(found((50, 50, 30, 0.8, 0)), k * DT)
    assert tracker.low == 0.1
    assert len(tracker.update(found((50, 50, 30, 0.09, 0)), 5 * DT)) == 0
    assert Tracker(0.1).low == 0.05


@pytest.mark.parametrize(("gap_s", "same"), [(0.8, True), (1.5, False)])
def test_a_gap_keeps_the_number_for_a_second(gap_s: float, same: bool) -> None:
    tracker = Tracker(0.5)
    for k in range(20):
        tracker.update(found((50 + 2 * k, 50, 40, 0.9, 0)), k * DT)
    start_s = 19 * DT
    for k in range(1, int(gap_s / DT)):
        assert len(tracker.update(found(), start_s + k * DT)) == 0
    back = tracker.update(found((88 + 2 * gap_s / DT, 50, 40, 0.9, 0)), start_s + gap_s)
    assert numbers(back) == [1 if same else 2]


def test_classes_are_not_mixed() -> None:
    tracker = Tracker(0.5)
    tracker.update(found((50, 50, 30, 0.9, 0)), 0)
    assert numbers(tracker.update(found((50, 50, 30, 0.9, 1)), DT)) == [2]


def test_seldom_frames_do_not_lose_the_object() -> None:
    tracker = Tracker(0.5)
    for k in range(6):
        assert numbers(tracker.update(found((50 + 3 * k, 50, 40, 0.9, 0)), 2.0 * k)) == [1]


def test_speed_is_learnt_over_uneven_times() -> None:
    motion = Motion(np.array([0, 0, 40, 60]), 0.0)
    now = 0.0
    for gap in np.random.default_rng(0).choice([DT, 2 * DT, 5 * DT], 60):
        now += gap
        motion.update(np.array([90 * now, 30 * now, 40 + 90 * now, 60 + 30 * now]), now)
    expected = np.array([90, 30, 130, 90]) * 1.0
    np.testing.assert_allclose(
        motion.at(now + 1) - np.array([90 * now, 30 * now] * 2), expected, atol=3
    )


def test_it_is_the_filter_of_matrices_8_by_8() -> None:
    """SORT's filter as it is written in books, for even frames."""
    rng = np.random.default_rng(1)
    h = 60.0
    motion = Motion(np.array([0, 0, 40, h]), 0.0)
    x = np.array([20, 30, 40, h, 0, 0, 0, 0], float)
    p = np.diag([(h / 10) ** 2] * 4 + [(h / 16) ** 2] * 4)
    f = np.eye(8) + np.diag([1.0] * 4, 4)
    see = np.eye(4, 8)
    for k in range(1, 20):
        cx, cy = 20 + 3 * k + rng.normal(), 30 - k + rng.normal()
        q = np.diag([(x[3] / 20) ** 2] * 4 + [(x[3] / 160) ** 2] * 4)
        x, p = f @ x, f @ p @ f.T + q
        s = see @ p @ see.T + np.eye(4) * (x[3] / 20) ** 2
        gain = p @ see.T @ np.linalg.inv(s)
        x = x + gain @ (np.array([cx, cy, 40, h]) - see @ x)
        p = (np.eye(8) - gain @ see) @ p
        motion.update(np.array([cx - 20, cy - h / 2, cx + 20, cy + h / 2]), k * DT)
        got = motion.at(k * DT)
        np.testing.assert_allclose((got[:2] + got[2:]) / 2, x[:2], atol=1e-6)
        np.testing.assert_allclose(got[2:] - got[:2], x[2:4], atol=1e-6)


def test_between_frames_boxes_and_masks_move_on() -> None:
    tracker = Tracker(0.5)
    for k in range(30):
        mask = np.zeros((1, 100, 300), bool)
        mask[0, 40:60, 40 + 4 * k : 60 + 4 * k] = True
        tracker.update(found((50 + 4 * k, 50, 20, 0.9, 0), mask=mask), k * DT)
    between = tracker.between(29 * DT + 3 * DT)
    assert numbers(between) == [1]
    np.testing.assert_allclose(between.xyxy[0], [168, 40, 188, 60], atol=2)
    ys, xs = np.nonzero(between.mask[0])  # type: ignore[index]
    assert (ys.min(), ys.max()) == (40, 59)
    assert xs.min() == pytest.approx(168, abs=2)
    assert len(tracker.between(99)) == 1
    tracker.update(found(), 30 * DT)
    assert len(tracker.between(31 * DT)) == 0


def test_a_mask_that_leaves_the_image_is_cut() -> None:
    tracker = Tracker(0.5)
    for k in range(30):
        mask = np.zeros((1, 60, 200), bool)
        mask[0, 20:40, 40 + 4 * k : 60 + 4 * k] = True
        tracker.update(found((50 + 4 * k, 30, 20, 0.9, 0), mask=mask), k * DT)
    between = tracker.between(29 * DT + 9 * DT)
    assert between.mask is not None
    assert between.mask.shape == (1, 60, 200)
    assert 0 < between.mask.sum() < 20 * 20
    assert not tracker.between(29 * DT + 60 * DT).mask.any()  # type: ignore[union-attr]


def test_detections_without_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="need scores"):
        Tracker(0.5).update(sv.Detections(xyxy=np.array([[0, 0, 1, 1]])), 0)
