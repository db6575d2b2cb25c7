"""Suppression, voting and Soft-NMS in numpy: the same as the SavedModel's graph, and closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckdetect.inference.postprocess_numpy import PostProcess, iou_matrix


def raw_boxes(seed: int, n_anchors: int = 700, n_classes: int = 2):
    """Clusters of boxes around a few places, some beyond the picture, as a network makes them."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 1, (6, 2))[rng.integers(0, 6, n_anchors)]
    centre = centre + rng.normal(0, 0.02, centre.shape)
    size = rng.uniform(0.1, 0.3, (n_anchors, 2))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    score = rng.beta(0.4, 2, (n_anchors, n_classes))
    return boxes.astype(np.float32), score.astype(np.float32)


def by_tensorflow(boxes, score, voting):
    import tensorflow as tf

    from duckdetect.models.postprocess import box_voting, soft_nms, suppress

    nms = SimpleNamespace(
        max_detections_per_class=100, max_total_detections=100, iou_threshold=0.6,
        score_threshold=1e-8,
    )  # fmt: skip
    boxes, score = tf.constant(boxes[None]), tf.constant(score[None])
    found = suppress(nms, boxes, score)
    if voting:
        found = soft_nms(box_voting(found, boxes, score))
    y1x1y2x2, score, class_id, count = (t.numpy()[0] for t in found)
    return y1x1y2x2[:count], score[:count], class_id[:count]


@pytest.mark.parametrize("voting", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_tensorflow_does(seed, voting):
    boxes, score = raw_boxes(seed)
    wanted = by_tensorflow(boxes, score, voting)
    found = PostProcess(voting=voting).run(boxes, score)
    # Soft-NMS multiplies dozens of exponentials, whose last digits differ between processors.
    np.testing.assert_allclose(found.score, wanted[1], atol=3e-6)
    np.testing.assert_allclose(found.y1x1y2x2, wanted[0], atol=3e-6)
    np.testing.assert_array_equal(found.class_id, wanted[2])


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0.05, 0.95), voting=st.booleans())
def test_a_threshold_only_cuts(seed, threshold, voting):
    """What lies above it is the same as if everything were suppressed and cut then."""
    boxes, score = raw_boxes(seed, 300)
    post = PostProcess(voting=voting, max_per_class=300, max_total=600)
    every, cut = post.run(boxes, score), post.run(boxes, score, threshold)
    kept = every.score >= threshold
    np.testing.assert_allclose(cut.score, every.score[kept], rtol=1e-6)
    np.testing.assert_allclose(cut.y1x1y2x2, every.y1x1y2x2[kept], atol=1e-6)
    np.testing.assert_array_equal(cut.class_id, every.class_id[kept])


def test_two_boxes_by_hand():
    """IoU 2/3: one object at 0.6, two at 0.7; voting takes the mean by score and squared IoU."""
    boxes = np.array([[0, 0, 0.5, 0.5], [0, 0.1, 0.5, 0.6]], np.float32)
    score = np.array([[0.9], [0.6]], np.float32)
    assert iou_matrix(boxes[:1], boxes[1:])[0, 0] == pytest.approx(2 / 3)
    apart = PostProcess(iou=0.7).run(boxes, score)
    np.testing.assert_allclose(apart.score, [0.9, 0.6])
    one = PostProcess(iou=0.6, voting=True).run(boxes, score)
    weight = 0.6 * (2 / 3) ** 2
    moved = 0.1 * weight / (0.9 + weight)
    np.testing.assert_allclose(one.y1x1y2x2, [[0, moved, 0.5, 0.5 + moved]], atol=1e-6)
    rescored = PostProcess(iou=0.7, voting=True, vote_iou=0.99).run(boxes, score)
    np.testing.assert_allclose(
        rescored.score, [0.9, 0.6 * np.exp(-((2 / 3) ** 2) / 0.5)], rtol=1e-6
    )


def test_nothing_found_has_the_right_shapes():
    boxes, score = raw_boxes(0)
    for post in (PostProcess(), PostProcess(voting=True)):
        found = post.run(boxes, score, 2.0)
        assert found.y1x1y2x2.shape == (0, 4)
        assert found.score.shape == found.class_id.shape == (0,)
