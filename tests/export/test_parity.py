"""The comparison of two detectors, on detections made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from duckdetect.data.dataset import Dataset, Sample
from duckdetect.export import parity

LABEL = np.array([[10, 10, 50, 50]], np.float32)


class Stub:
    """Finds the same in every image."""

    classes = ("duck",)
    threshold = 0.5

    def __init__(self, *found: tuple[float, float, float]) -> None:
        """`found`: left edge, width and score of boxes 40 high."""
        self.found = found

    def predict(self, images, threshold):
        kept = [one for one in self.found if one[2] >= threshold]
        xyxy = np.array([[x, 10, x + w, 50] for x, w, _ in kept], np.float32).reshape(-1, 4)
        score = np.array([s for *_, s in kept], np.float32)
        one = sv.Detections(xyxy=xyxy, confidence=score, class_id=np.zeros(len(kept), int))
        return [one for _ in images]


@pytest.fixture
def dataset(tmp_path):
    from PIL import Image

    path = Path(tmp_path / "a.png")
    Image.new("RGB", (100, 60)).save(path)
    return Dataset(tmp_path, ("duck",), (Sample(path, 1, (60, 100), LABEL, np.zeros(1, int)),))


def compare(before, after, dataset):
    return parity.compare(before, after, {"train": dataset}, 10, 5)


def test_a_detector_is_like_itself(dataset):
    """Neighbours overlap by half, and a duplicate lies at the very place of the detection."""
    same = Stub((10, 40, 0.99), (10, 40, 0.02), (22, 40, 0.6), (0, 40, 0.55))
    (one,) = compare(same, same, dataset).sets
    assert (one.lost, one.gained, one.confident) == (0, 0, 3)
    assert one.score_max == one.box_max_px == 0
    assert one.ap_before == one.ap_after == pytest.approx(1)
    assert compare(same, same, dataset).problems() == []


def test_differences_are_of_the_same_detection(dataset):
    before = Stub((10, 40, 0.9), (60, 30, 0.8))
    after = Stub((11, 40, 0.85), (60, 30, 0.8))
    (one,) = compare(before, after, dataset).sets
    assert one.score_max == pytest.approx(0.05)
    assert one.score_mean == pytest.approx(0.025)
    assert one.box_max_px == pytest.approx(1)
    assert one.box_mean_px == pytest.approx(0.5)


def test_what_is_lost_and_gained_is_said(dataset):
    found = compare(Stub((10, 40, 0.9)), Stub((60, 30, 0.8), (10, 40, 0.3)), dataset)
    (one,) = found.sets
    assert (one.lost, one.gained) == (1, 1)
    assert one.score_max == pytest.approx(0.6)
    assert found.problems() == ["AP on train fell by 0.500", "1 of 1 detections on train are lost"]


def test_a_detection_near_the_threshold_is_not_lost(dataset):
    assert compare(Stub((10, 40, 0.52)), Stub((10, 40, 0.48)), dataset).problems() == []


def test_nothing_found_at_all(dataset):
    (one,) = compare(Stub(), Stub(), dataset).sets
    assert (one.lost, one.gained, one.score_max) == (0, 0, 0)
