"""Careful detection: boxes agree on a place, a magnified look finds what is small, both are saved."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import mobilenet, mobilenet_with_coco_head, retinanet
from PIL import Image

import duckdetect as dd
from duckdetect.inference.build import export_detector
from duckdetect.models.graphs import frozen_part
from duckdetect.models.postprocess import (
    box_voting,
    fuse_scales,
    high_res_anchors,
    high_res_side,
    object_side_of,
    small_only,
    soft_nms,
)
from duckdetect.training.finetune import typical_side


@pytest.fixture(scope="module")
def coco():
    base = mobilenet_with_coco_head()
    frozen = frozen_part(base, "heads")
    classes = [str(i) for i in range(90)]
    return export_detector(base, frozen, "heads", classes, refine=True, high_res=True)


def test_a_detection_moves_to_the_mean_of_what_it_suppressed():
    boxes = np.array([[[0.2, 0.2, 0.6, 0.6], [0.2, 0.24, 0.6, 0.64], [0.7, 0.7, 0.9, 0.9]]])
    score = np.array([[[0.8, 0.0], [0.4, 0.0], [0.0, 0.5]]])
    kept = tf.constant(boxes[:, [0, 2]], tf.float32)
    found = (kept, tf.constant([[0.8, 0.5]]), tf.constant([[0, 1]]), tf.constant([2]))
    moved, *same = box_voting(found, tf.constant(boxes, tf.float32), tf.constant(score, tf.float32))
    overlap = 0.36 / (2 * 0.4 - 0.36)  # a shift of 0.04 leaves 0.36 of 0.4
    weight = np.array([0.8, 0.4 * overlap**2])
    expected = 0.2 + 0.04 * weight[1] / weight.sum()
    np.testing.assert_allclose(moved[0, 0], [0.2, expected, 0.6, expected + 0.4], atol=1e-6)
    np.testing.assert_allclose(moved[0, 1], boxes[0, 2], atol=1e-6)  # the other class is alone
    assert all(a is b for a, b in zip(same, found[1:], strict=True))


def test_only_small_boxes_of_the_fine_pass_count():
    boxes = tf.constant([[[0.0, 0.0, 0.3, 0.3], [0.0, 0.0, 0.4, 0.4]]])
    kept = small_only(boxes, tf.ones([1, 2, 3]), 0.35)
    np.testing.assert_array_equal(kept[0, :, 0], [1, 0])


def test_what_overlaps_a_surer_detection_fades():
    boxes = tf.constant([[[0.0, 0.0, 0.4, 0.4], [0.0, 0.2, 0.4, 0.6], [0.0, 0.2, 0.4, 0.6]]])
    score, class_id = tf.constant([[0.9, 0.8, 0.7]]), tf.constant([[0, 0, 1]])
    moved, faded, classes, count = soft_nms((boxes, score, class_id, tf.constant([3])))
    # A third of the union is shared by the two of one class; the third is of another class.
    fallen = 0.8 * np.exp(-((1 / 3) ** 2) / 0.5)
    np.testing.assert_allclose(faded[0], [0.9, 0.7, fallen], atol=1e-6)
    np.testing.assert_array_equal(classes[0], [0, 1, 0])
    np.testing.assert_array_equal(moved[0], boxes.numpy()[0, [0, 2, 1]])
    assert int(count[0]) == 3


def test_a_magnified_look_is_doubted_where_the_usual_one_sees_nothing():
    high_res = tf.constant([[[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.8, 0.8]]])
    base_scale = tf.constant([[[0.1, 0.1, 0.3, 0.3], [0.1, 0.1, 0.9, 0.9]]])
    boxes, score = fuse_scales(
        high_res, tf.constant([[[0.8], [0.9]]]), base_scale, tf.constant([[[0.5], [0.9]]])
    )
    np.testing.assert_array_equal(boxes[0], high_res.numpy()[0, [1, 0]])  # the surest first
    expected = [0.9**0.9 * 0.02**0.1, 0.8**0.9 * 0.5**0.1]
    np.testing.assert_allclose(score[0, :, 0], expected, atol=1e-6)


def test_the_fine_anchors_of_the_usual_size_are_the_usual_ones():
    base = mobilenet()
    base_scale = np.asarray(base._anchors)
    ours = high_res_anchors(base_scale, base.levels, (300, 300), (300, 300))
    np.testing.assert_allclose(
        ours[:, 2:] - ours[:, :2], base_scale[:, 2:] - base_scale[:, :2], atol=1e-5
    )
    # A grid of 19 cells of 16 pixels is wider than the picture: the usual anchors are drawn in.
    first = base.levels[0].n_anchors
    assert 0 < np.abs(ours - base_scale)[:first].max() < 0.007
    assert np.abs((ours - base_scale)[:first].mean(axis=0)).max() < 1e-5
    assert high_res_side(300) == high_res_side(300, 0.2) == 508
    assert high_res_side(300, 0.15) == 620  # 95 pixels wide there, less what is no multiple of 16
    assert high_res_side(300, 0.001) == 1036  # twelve passes' cost
    for side in (508, 524, 620, 1036):  # a run that is trained on from keeps its own
        assert high_res_side(300, object_side_of(side)) == side
    assert base.high_res_hw == (508, 508)
    assert retinanet().high_res_hw is None


def test_the_fine_pass_sees_in_a_large_image_what_the_usual_one_sees_in_a_small_one(
    coco, shared_data
):
    """The same pixels, once alone and once at a place of a larger picture: the same boxes there."""
    overlap = []
    for sample in dd.load_dataset(shared_data / "people", "train").samples[:24]:
        image = np.asarray(Image.fromarray(sample.load()).resize((300, 300)))
        seen = people_in(coco, image, high_res=False, threshold=0.5)
        if not len(seen) or np.prod(seen[0, 2:] - seen[0, :2]) > 150**2:
            continue
        canvas = np.full((508, 508, 3), 127, np.uint8)
        canvas[96:396, 64:364] = image
        found = people_in(coco, canvas, high_res=True, threshold=0.1) - [64, 96, 64, 96]
        overlap.append(max((iou(box, seen[0]) for box in found), default=0.0))
    assert len(overlap) >= 4
    # With anchors in even steps over the larger grid, as the API would make them, it is less.
    assert np.median(overlap) > 0.89


def test_small_boxes_are_those_of_the_high_resolution_scale_alone(coco, shared_data):
    """The base scale's own lie badly (docs/accuracy.md): where the fine input is empty, there is none."""
    sides = {False: [], True: []}
    for sample in dd.load_dataset(shared_data / "people", "train").samples[:8]:
        image = sample.load()
        base_scale = coco._functions.prepare(image)[0][None]
        empty = coco._functions.prepare_fine(np.full_like(image, 127))[None]
        for alone, found in (
            (True, coco._functions.detect(base_scale)),
            (False, coco._functions.detect_fine(base_scale, empty)),
        ):
            box, score = found[0].numpy()[0], found[1].numpy()[0]
            sides[alone] += list(np.sqrt(np.prod(box[:, 2:] - box[:, :2], axis=1))[score > 0.1])
    assert min(sides[True]) < 0.07
    assert min(sides[False]) > 0.09  # a little below 0.1: boxes vote


def people_in(detector, image, high_res, threshold):
    """(N, 4), the surest first."""
    size = detector.high_res_hw
    detector.high_res_hw = size if high_res else None
    found = detector.predict(image, threshold)
    detector.high_res_hw = size
    return found.xyxy[found.class_id == 0]


def iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = np.prod(np.maximum(sides, 0))
    return float(both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both))


def test_a_saved_detector_looks_twice_as_well(coco, tmp_path, project_data):
    coco.save(tmp_path / "saved")
    loaded = dd.load_detector(tmp_path / "saved")
    assert loaded.high_res_hw == coco.high_res_hw == (508, 508)
    image = dd.load_dataset(project_data / "ducks", "test").samples[12].load()
    ours, theirs = coco.predict(image, 0.05), loaded.predict(image, 0.05)
    np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=0.1)
    loaded.high_res_hw = None
    once = loaded.predict(image, 0.05)
    assert len(once) != len(theirs) or not np.allclose(once.xyxy, theirs.xyxy, atol=1)


def test_small_objects_ask_for_a_magnified_look(project_data):
    ducks = dd.load_dataset(project_data / "ducks", "train")
    assert 0.2 < typical_side(ducks) < 0.35


def test_fast_looks_once(coco, project_data, tmp_path):
    image = project_data / "ducks" / "test" / "test_01.jpg"
    found = dd.detect(coco, image, tmp_path, 0.05, fast=True, progress=False)
    once = copy.copy(coco)
    once.high_res_hw = None
    one, two = (d.predict(dd.data.load_image(image), 0.05) for d in (once, coco))
    assert found.n_detections == len(one)
    assert one.xyxy.tolist() != two.xyxy.tolist()
    assert coco.high_res_hw is not None
