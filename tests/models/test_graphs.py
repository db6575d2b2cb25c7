"""One graph of constants serves both input sizes, says what the layers say, and is saved once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import mobilenet, retinanet, views

import duckdetect as dd
from duckdetect.inference.build import export_detector
from duckdetect.models.graphs import frozen_part, traced, with_constants
from duckdetect.models.tfod.api import box_list, target_assigner


@pytest.fixture(scope="module")
def base():
    return mobilenet(2)


@pytest.fixture(scope="module")
def frozen(base):
    return frozen_part(base, "heads")


@pytest.mark.parametrize("high_res", [False, True])
def test_constants_say_what_the_layers_say(base, frozen, high_res):
    hw = base.high_res_hw if high_res else base.input_hw
    inputs = tf.random.stateless_uniform([2, *hw, 3], (1, 2), -1, 1)
    box, classes = frozen(inputs)
    expected = base.lower(inputs, "heads").classes
    assert box == []  # both heads read the same
    assert len(classes) == len(expected) == 6
    for ours, theirs in zip(classes, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
        assert np.std(theirs) > 0.1  # not all alike


def test_a_small_model_is_constant_and_a_large_one_is_not():
    weight = tf.Variable(2.0)

    @traced(input_signature=[tf.TensorSpec([], tf.float32)])
    def times(x):
        return {"product": x * weight, "rest": [x]}

    constant = with_constants(times, [weight])
    same = with_constants(times, [tf.Variable(tf.zeros([26_000_000]))])
    weight.assign(3.0)
    assert float(constant(5.0)["product"]) == 10  # as it was
    assert float(constant(5.0)["rest"][0]) == 5
    assert same is times
    assert float(times(5.0)["product"]) == 15


def test_a_saved_detector_holds_the_frozen_weights_once(base, frozen, tmp_path):
    detector = export_detector(base, frozen, "heads", ["duck", "Ente"], refine=True, high_res=True)
    heads = {v.ref() for v in base.trained_variables("heads")}
    assert {v.ref() for v in detector._functions.weights} == heads
    detector.save(tmp_path / "saved")
    n_bytes = sum(f.stat().st_size for f in (tmp_path / "saved").rglob("*") if f.is_file())
    weights = sum(v.numpy().nbytes for v in base.variables())
    assert weights < n_bytes < 1.2 * weights

    # It has looked already (warm_up), and the last layers go on as they are.
    image = views(2)[1].image
    before = detector.predict(image, 0.0)
    bias = base.trained_variables("heads")[-1]
    bias.assign(bias - 20.0)
    after = detector.predict(image, 0.0)
    bias.assign(bias + 20.0)
    again = dd.load_detector(tmp_path / "saved").predict(image, 0.0)
    np.testing.assert_allclose(again.xyxy, before.xyxy, atol=1e-2)
    np.testing.assert_allclose(again.confidence, before.confidence, atol=1e-5)
    assert not np.array_equal(after.confidence, before.confidence)


def test_targets_are_the_apis(base):
    for model in (base, retinanet(2)):
        for view in views(8, num_classes=2):
            height, width = view.image.shape[:2]
            boxes = view.xyxy[:, [1, 0, 3, 2]] / [height, width, height, width]
            boxes = boxes.astype(np.float32)
            ours = model.assign(boxes, view.class_id)
            classes = tf.one_hot(view.class_id + 1, 3)
            api = target_assigner.batch_assign_targets(
                model.model._target_assigner,
                box_list.BoxList(model._anchors),
                [box_list.BoxList(tf.reshape(boxes, [-1, 4]))],
                [tf.reshape(classes, [-1, 3])],
                model.model._unmatched_class_label,
                [tf.ones(len(boxes))],
            )
            class_target, class_weight, box_code, box_weight, match = (t[0].numpy() for t in api)
            expected = np.where(match >= 0, class_target.argmax(axis=1) - 1, -1)
            np.testing.assert_array_equal(ours.class_index, expected)
            np.testing.assert_array_equal(ours.class_weight, class_weight[:, 0])
            np.testing.assert_allclose(ours.box_code, box_code, atol=1e-5)
            np.testing.assert_array_equal(ours.box_weight, box_weight)
            assert (ours.class_index >= 0).any() == (len(boxes) > 0)
