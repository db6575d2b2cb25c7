"""Rivals: what the base takes for another kind of thing is trusted less."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import mobilenet, mobilenet_with_coco_head

import duckdetect as dd
from duckdetect.data.augment import PlainViews
from duckdetect.inference.build import export_detector
from duckdetect.models.graphs import frozen_part, prepare_function
from duckdetect.models.interfaces import ClassHead
from duckdetect.models.postprocess import ConfusableClasses
from duckdetect.models.tfod.checkpoints import COCO_GROUPS
from duckdetect.training.class_init import OwnScores, choose_confusables, init_classes, own_scores
from duckdetect.training.feature_cache import cache_features

BIRD, CAT, APPLE, TEDDY_BEAR = 15, 16, 52, 87  # COCO's ids, from 0


def head(n_classes, groups):
    kernel = np.zeros((1, 1, n_classes, 1, n_classes + 1), np.float32)
    kernel[0, 0, :, 0, 1:] = np.eye(n_classes)
    return ClassHead((kernel,), (np.zeros((1, n_classes + 1), np.float32),), groups)


def test_coco_tells_animals_from_food():
    assert len(COCO_GROUPS) == 90
    found = [COCO_GROUPS[i] for i in (0, BIRD, CAT, APPLE, TEDDY_BEAR, 89)]
    assert found == ["person", "animal", "animal", "food", "indoor", "indoor"]


def test_only_other_kinds_of_things_are_rivals():
    own = head(4, ("animal", "animal", "food", "indoor"))
    score = np.array([[0.9, 0.6, 0.2, 0.1], [0.7, 0.1, 0.4, 0.0]], np.float32)
    found = OwnScores()
    found.add(score, np.array([0, 0]))
    confusables = choose_confusables(own, found, 2)
    # Class 0 has two, at the most that either object shows of them; class 1 was in no picture.
    np.testing.assert_allclose(confusables.own_score, [[0.4, 1], [0.1, 1]])
    logits = np.array([[[[4.0, 4.0, -4.0, -4.0], [0.0, 0.0, 2.0, -4.0], [-4.0, -4.0, -4.0, 0.0]]]])
    suppression_factor = confusables.suppression_factor([tf.constant(logits, tf.float32)]).numpy()
    sigmoid = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(
        suppression_factor[0, :, 0], [1, 1 - (sigmoid - 0.4), 1 - (0.5 - 0.1)], atol=1e-6
    )
    np.testing.assert_array_equal(suppression_factor[0, :, 1], 1)


def test_without_kinds_there_are_no_rivals():
    found = OwnScores()
    found.add(np.ones((1, 3), np.float32), np.array([0]))
    assert choose_confusables(head(3, None), found, 1) is None


@pytest.fixture(scope="module")
def taught(project_data):
    """The ducks' head start on its own, and its rivals."""
    plain = PlainViews(dd.load_dataset(project_data / "ducks", "train").samples)
    base = mobilenet()
    frozen = frozen_part(base, "heads")
    cache = cache_features(base, frozen, plain, len(plain), patches=True)
    found = own_scores(base, cache, base.own_class_head, len(plain))
    init_classes(base, base.own_class_head, found)
    return base, frozen, found, choose_confusables(base.own_class_head, found, 1)


def test_rivals_score_as_the_whole_coco_detector_does(taught, project_data):
    base, frozen, found, confusables = taught
    assert isinstance(confusables, ConfusableClasses)
    coco = mobilenet_with_coco_head()
    image = dd.load_dataset(project_data / "ducks", "test").samples[0].load()
    inputs, _ = prepare_function(base)(image)
    _, features = frozen(inputs[None])
    score = tf.sigmoid(coco.class_logits(features)).numpy()[0, :, 1:]
    kinds = np.array(COCO_GROUPS)
    order = np.argsort(-found.mean(0))
    assert order[0] == BIRD
    chosen = np.sort(order[kinds[order] != "animal"][:16])
    assert {APPLE, TEDDY_BEAR} <= set(chosen)
    beyond = np.maximum(score[:, chosen] - found.highest(0)[chosen], 0).max(axis=1)
    assert beyond.max() > 0.2  # the picture shows an apple
    suppression_factor = confusables.suppression_factor(features).numpy()[0, :, 0]
    np.testing.assert_allclose(suppression_factor, 1 - beyond, atol=1e-4)


def test_a_saved_detector_keeps_its_rivals(taught, tmp_path, project_data):
    base, frozen, _, confusables = taught
    with_rivals, without = (
        export_detector(base, frozen, "heads", ["duck"], refine=True, high_res=True, confusables=r)
        for r in (confusables, None)
    )
    with_rivals.save(tmp_path / "saved")
    loaded = dd.load_detector(tmp_path / "saved")
    image = dd.load_dataset(project_data / "ducks", "test").samples[10].load()  # a green apple, too
    ours, theirs, trusting = (d.predict(image, 0.005) for d in (with_rivals, loaded, without))
    np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-4)
    np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=0.5)
    assert ours.confidence.sum() < 0.9 * trusting.confidence.sum()
