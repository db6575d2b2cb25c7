"""The head start: the new class fires where the base's own alike classes did."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.bases import mobilenet, mobilenet_with_coco_head, retinanet

import duckdetect as dd
from duckdetect.data.augment import PlainViews
from duckdetect.models.graphs import frozen_part
from duckdetect.training.class_init import OwnScores, familiarity, init_classes, own_scores
from duckdetect.training.feature_cache import cache_features


def own(score, class_id, view):
    found, score = OwnScores(), np.array(score, np.float32)
    for number in set(view):
        of_view = np.array(view) == number
        found.add(score[of_view], np.array(class_id)[of_view])
    return found


def test_familiar_is_what_a_class_of_the_bases_own_tells_on_each_image():
    # Of a view the best anchor, of views the mean, of classes the one that is highest then.
    one = own([[0.9, 0.1], [0.3, 0.2], [0.5, 0.8]], [0, 0, 0], [0, 0, 1])
    assert familiarity(one) == pytest.approx((0.9 + 0.5) / 2)
    # Of two new classes both look like the base's class 0: it does not tell them apart.
    both = own([[0.9, 0.1], [0.8, 0.3]], [0, 1], [0, 1])
    assert familiarity(both) == pytest.approx((0.1 + 0.2) / 2)
    apart = own([[0.9, 0.1], [0.2, 0.7]], [0, 1], [0, 1])
    assert familiarity(apart) == pytest.approx((0.7 + 0.6) / 2)
    assert familiarity(own(np.zeros((0, 2)), [], [])) == 0


def test_a_new_class_is_the_mean_of_the_three_most_alike(project_data):
    ducks = dd.load_dataset(project_data / "ducks", "train")
    plain = PlainViews(ducks.samples)
    base = mobilenet(2)
    before = [v.numpy() for v in base.variables()]
    cache = cache_features(base, frozen_part(base, "heads"), plain, len(plain), patches=True)
    own = base.own_class_head
    found = own_scores(base, cache, own, len(plain))
    init_classes(base, own, found)

    coco = mobilenet_with_coco_head()
    features = cache.batch(np.arange(len(plain))).class_features
    logits = coco.class_logits(features).numpy()[..., 1:]
    matched = cache.batch(np.arange(len(cache))).class_index.numpy() == 0
    score = 1 / (1 + np.exp(-logits[matched]))
    np.testing.assert_allclose(found.mean(0), score.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.highest(0), score.max(axis=0), atol=1e-5)
    alike = np.argsort(-score.mean(axis=0))[:3]
    assert 15 in alike  # COCO's bird, counted from 0
    expected = logits[..., alike].mean(axis=-1)
    ours = base.class_logits(features).numpy()
    np.testing.assert_allclose(ours[..., 1], expected, atol=1e-4)

    # Background and the class without a box keep their first weights.
    untouched = mobilenet(2)
    for variable, value in zip(untouched.variables(), before, strict=True):
        variable.assign(value)
    theirs = untouched.class_logits(features).numpy()
    np.testing.assert_array_equal(ours[..., [0, 2]], theirs[..., [0, 2]])


def test_set_class_weights_reaches_a_shared_head():
    base = retinanet(3)
    kernel = np.random.default_rng(0).normal(size=(3, 3, 256, 6)).astype(np.float32)
    bias = np.arange(6, dtype=np.float32)
    base.set_class_weights(1, [kernel] * 5, [bias] * 5)
    layer = base._class_head(0)._class_predictor_layers[-1]
    by_class = layer.kernel.numpy().reshape(3, 3, 256, 6, 4)
    np.testing.assert_array_equal(by_class[..., 2], kernel)
    np.testing.assert_array_equal(layer.bias.numpy().reshape(6, 4)[:, 2], bias)
    assert (by_class[..., 1] != kernel).any()
