"""The default threshold lies where F1 on held-out looks is best."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import supervision as sv
from data.test_augment import marked_view
from helpers.run_folders import Guesser

import duckdetect as dd
from duckdetect.data.augment import PlainViews
from duckdetect.evaluation.evaluate import collect_detections
from duckdetect.evaluation.metrics import score_detections
from duckdetect.training.threshold import choose_threshold, f1_threshold, threshold_on_views


class Scripted:
    """Finds the bright rectangle with score 0.8 and something else with score 0.4."""

    classes = ("mark",)

    def __init__(self, true_score=0.8, false_score=0.4, finds=True):
        self.scores = [true_score, false_score]
        self.finds = finds

    def predict(self, images, threshold):
        found = []
        for image in images:
            bright = image[..., 0].astype(int) > image[..., 0].mean() + 20
            rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
            right = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            boxes = np.array([right if self.finds else [0, 0, 2, 2], [0, 0, 3, 3]], np.float32)
            found.append(
                sv.Detections(boxes, confidence=np.array(self.scores), class_id=np.zeros(2, int))
            )
        return found


def plain_colours(seed):
    return lambda image: {"image": image}


def test_it_lies_between_right_and_wrong(monkeypatch):
    monkeypatch.setattr("duckdetect.data.augment._recolouring", plain_colours)
    view = marked_view(150, 100, 260, 180)
    assert threshold_on_views(Scripted(), [view], 0) == 0.48  # 0.3 of 0.6, and 0.3
    assert threshold_on_views(Scripted(0.99, 0.97), [view], 0) == 0.57  # of 0.9, the highest


def test_decoys_may_be_taken_for_the_object(monkeypatch):
    """A detector that takes decoys for objects, surely, needs a threshold above their scores."""
    monkeypatch.setattr("duckdetect.data.augment._recolouring", plain_colours)
    view = marked_view(150, 100, 260, 180)

    class Deceived(Scripted):
        def predict(self, images, threshold):
            found = super().predict(images, threshold)
            for image, detections in zip(images, found, strict=True):
                if len(np.unique(image)) > 40:  # a shaded decoy
                    detections.confidence[1] = 0.7
            return found

    assert threshold_on_views(Deceived(), [view], 0) == 0.48
    assert threshold_on_views(Deceived(), [view], 0, distractors=True) == 0.525


def test_nothing_right_gives_the_default(monkeypatch):
    monkeypatch.setattr("duckdetect.data.augment._recolouring", plain_colours)
    view = marked_view(150, 100, 260, 180)
    assert threshold_on_views(Scripted(finds=False), [view], 0) == 0.5


def test_a_run_with_validation_takes_the_best_rounds(monkeypatch):
    monkeypatch.setattr("duckdetect.data.augment._recolouring", plain_colours)
    view = marked_view(150, 100, 260, 180)
    detector = Scripted()
    detector.high_res_hw, detector.threshold = None, 0.5
    config = dd.TrainConfig(views=3, distractors=False)
    sample = {"whole": True, "crowd": np.zeros(1, bool), "hard_negatives": np.zeros((0, 4))}
    plain = PlainViews([SimpleNamespace(**sample)])
    plain._kept[0] = view
    assert choose_threshold(detector, plain, config) == 0.48
    assert choose_threshold(detector, plain, config, best_round={"best_threshold": 0.71}) == 0.71
    # Nothing is held out where nothing was augmented.
    assert choose_threshold(detector, plain, dd.TrainConfig.stock()) == 0.5


def test_two_scales_are_measured_anew(project_data, monkeypatch):
    """Validation looked once at each image; a detector that looks twice has other scores."""
    ducks = dd.load_dataset(project_data / "ducks", "test")
    few = ducks.evenly(4)
    assert [s.image_id for s in few] == [ducks.samples[i].image_id for i in (0, 10, 19, 29)]
    detector = Guesser(few)
    detector.high_res_hw, detector.threshold = (512, 512), 0.5
    config = dd.TrainConfig(val_images=4)
    chosen = choose_threshold(detector, [], config, ducks, {"best_threshold": 0.71})
    found = collect_detections(Guesser(few), few)
    assert chosen == f1_threshold(score_detections(few, found).curve) != 0.71
