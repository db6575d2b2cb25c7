"""A detector's outputs: pixels of the original whatever the picture, checked inputs, broken files."""

from __future__ import annotations

import copy
import json
import os
import pickle

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import mobilenet, mobilenet_with_coco_head, retinanet

import duckdetect as dd
from duckdetect import UserError
from duckdetect.imaging.io import list_images, shrink
from duckdetect.inference.build import export_detector
from duckdetect.inference.detector import to_detections
from duckdetect.models.graphs import frozen_part
from duckdetect.utils import environment


@pytest.fixture(scope="module")
def detector():
    base = mobilenet(2)
    return export_detector(base, frozen_part(base, "heads"), "heads", ["duck", "Ente"])


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_images_of_all_sizes_in_one_list(detector):
    images = [noise(h, w) for h, w in [(1, 1), (40, 900), (900, 40), (300, 300)] * 3]
    found = detector.predict(images, threshold=0)
    assert len(found) == 12
    for image, one in zip(images, found, strict=True):
        height, width = image.shape[:2]
        assert len(one) > 0
        assert one.xyxy.dtype == np.float32
        assert (one.xyxy >= 0).all()
        assert (one.xyxy <= [width, height, width, height]).all()
        assert (np.diff(one.confidence) <= 0).all()
        assert set(one.data["class_name"]) <= {"duck", "Ente"}


def test_a_list_and_single_images_agree(detector):
    images = [noise(120, 200, seed) for seed in range(10)]
    for together, alone in zip(
        detector.predict(images, 0), map(lambda p: detector.predict(p, 0), images), strict=True
    ):
        np.testing.assert_allclose(together.confidence, alone.confidence, atol=1e-5)


def test_the_threshold_is_the_detectors_own_unless_given(detector):
    image = noise(200, 200)
    every = detector.predict(image, 0)
    detector.threshold = float(every.confidence[3])
    assert len(detector.predict(image)) == (every.confidence >= detector.threshold).sum()
    assert len(detector.predict(image, 1.0)) == 0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty"],
)
def test_other_arrays_are_refused(detector, image):
    with pytest.raises(UserError, match="image 0 is an array"):
        detector.predict([image])


def test_masks_are_made_or_not_or_run_lengths(detector):
    with pytest.raises(UserError, match="masks is 'polygon'"):
        detector.predict(noise(8, 8), masks="polygon")


def test_nothing_in_nothing_out(detector):
    assert detector.predict([]) == []


def test_suppression_agrees_with_the_apis(detector):
    base = retinanet(3)
    rng = np.random.default_rng(5)
    n = len(base._anchors)
    codes = tf.constant(rng.normal(0, 1, (1, n, 4)), tf.float32)
    logits = tf.constant(rng.normal(-6, 3, (1, n, 4)), tf.float32)
    ours = [t.numpy()[0] for t in base.detections(codes, logits)]
    theirs = base.model.postprocess(
        {
            "preprocessed_inputs": tf.zeros([1, *base.input_hw, 3]),
            "box_encodings": codes,
            "class_predictions_with_background": logits,
            "anchors": base._anchors,
        },
        tf.constant([[*base.input_hw, 3]]),
    )
    np.testing.assert_allclose(ours[0], theirs["detection_boxes"][0], atol=1e-5)
    np.testing.assert_allclose(ours[1], theirs["detection_scores"][0], atol=1e-5)
    np.testing.assert_array_equal(ours[2], theirs["detection_classes"][0])


def test_saving_and_loading_keeps_everything(detector, tmp_path):
    detector.threshold = 0.25
    detector.save(tmp_path / "detector")
    loaded = dd.load_detector(tmp_path)
    assert loaded.classes == ("duck", "Ente")
    assert loaded.threshold == 0.25
    image = noise(240, 320)
    ours, theirs = detector.predict(image, 0), loaded.predict(image, 0)
    np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-5)
    np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=1e-3)


def test_saving_replaces_nothing_but_a_detector(detector, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    detector.save(mine)  # it was empty
    detector.save(mine)
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.txt was not written by"):
        detector.save(mine)
    assert (mine / "thesis.txt").read_text() == "mine"
    with pytest.raises(UserError, match=r"thesis\.txt was not written by"):
        detector.save(mine / "thesis.txt")
    (tmp_path / "link").symlink_to(mine)
    for bad in ("", None, 3, tmp_path / "link"):
        with pytest.raises(UserError):
            detector.save(bad)


def test_missing_broken_and_newer_detectors(detector, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # it is said before TensorFlow is loaded
        patch.setattr("duckdetect.inference.detector.waiting", pytest.fail)
        with pytest.raises(UserError, match="holds no detector"):
            dd.load_detector(tmp_path)
    detector.save(tmp_path / "detector")
    path = tmp_path / "detector" / "detector.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "format": 99}))
    with pytest.raises(UserError, match="upgrade"):
        dd.load_detector(tmp_path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"detector\.json is broken"):
        dd.load_detector(tmp_path)
    for change, named in (
        ({"classes": ["duck", "duck"]}, 'classes names "duck" twice'),
        ({"classes": [*settings["classes"], "hen"]}, "it scores 2 classes and names 3"),
        ({"two_stage": True}, "it is no detector of two stages"),
        ({"input_hw": [10, 10]}, r"input_hw is \[10, 10\], it takes \[300, 300\]"),
    ):
        path.write_text(json.dumps({**settings, **change}))
        with pytest.raises(UserError, match=named):
            dd.load_detector(tmp_path)
    path.write_text(json.dumps(settings))
    (tmp_path / "detector" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match="broken detector") as caught:
        dd.load_detector(tmp_path)
    assert "\n" not in str(caught.value)


def test_large_images_are_averaged_not_sampled():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 200
    assert shrink(stripes, (300, 300)).shape == (600, 600, 3)
    np.testing.assert_allclose(shrink(stripes, (300, 300)), 100, atol=1)
    assert shrink(stripes[:1100], (300, 300)) is not None
    small = stripes[:1199, :1199]
    assert shrink(small, (300, 300)) is small


def test_what_was_found_before_is_drawn_as_if_found_now(project_data, tmp_path):
    base = mobilenet_with_coco_head()
    names = [str(i) for i in range(90)]
    detector = export_detector(base, frozen_part(base, "heads"), "heads", names)
    paths = list_images(project_data / "ducks" / "test")[:9]
    known = detector.predict([dd.data.load_image(path) for path in paths], 0.0)
    now = dd.detect(detector, paths, tmp_path / "now", 0.3, progress=False)
    detector.predict = None  # it is not asked again
    again = dd.detect(detector, paths, tmp_path / "again", 0.3, known=known, progress=False)
    assert now.n_detections == again.n_detections > 0
    files = sorted(f.relative_to(tmp_path / "now") for f in (tmp_path / "now").rglob("[!.]*.*"))
    assert len(files) == 11
    for file in files:
        assert (tmp_path / "now" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def _ones(images, boxes=((0.1, 0.1, 0.5, 0.5),), scores=(0.9,)):
    """What a detector answers that finds one and the same in each image."""
    n = tf.shape(images)[0]
    return (
        tf.tile(tf.constant([boxes]), [n, 1, 1]),
        tf.tile(tf.constant([scores]), [n, 1]),
        tf.zeros([n, len(scores)], tf.int32),
        tf.fill([n], len(scores)),
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda x: _ones(x, scores=(float("nan"),)), "the detector scores nan, not 0 to 1"),
        (lambda x: _ones(x, scores=(7.0,)), "the detector scores 7.0, not 0 to 1"),
        (lambda x: _ones(x, boxes=((0.1, 0.1, 0.5),)), "output is of shapes"),
        (lambda x: _ones(x, boxes=((0.1, 0.1, np.nan, 0.5),)), "boxes are no finite numbers"),
        (lambda x: _ones(x)[:3], r"is a broken detector \(not enough values to unpack"),
        (lambda x: {"boxes": x}, "is a broken detector"),
        (lambda x: tuple(values[:0] for values in _ones(x)), "is a broken detector"),
    ],
)
def test_a_detector_that_answers_otherwise_is_told(tmp_path, answer, told):
    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
        def prepare(self, image):
            return tf.image.resize(tf.cast(image, tf.float32), [300, 300]), tf.ones(2)

        @tf.function(input_signature=[tf.TensorSpec([None, 300, 300, 3])])
        def detect(self, images):
            return answer(images)

    tf.saved_model.save(Other(), str(tmp_path))
    said = {"format": 1, "classes": ["duck"], "threshold": 0.5, "base": "x", "input_hw": [300, 300]}
    (tmp_path / "detector.json").write_text(json.dumps(said))
    detector = dd.load_detector(tmp_path)
    with pytest.raises(UserError, match=told):
        detector.predict(noise(40, 60))


def test_masks_are_one_for_each_box():
    found = np.zeros((2, 4), np.float32), np.ones(2, np.float32), np.zeros(2, int)
    for shape in ((1, 28, 28), (2,)):
        with pytest.raises(UserError, match="output is of shapes"):
            to_detections((9, 9), np.ones(2), *found, ("duck",), masks=np.ones(shape))


def test_nothing_is_loaded_or_trained_in_a_fork_of_what_used_tensorflow(monkeypatch, tmp_path):
    tf.constant(0)
    monkeypatch.setattr(environment, "_forked", False)
    environment._in_fork()  # as `os.fork` calls it
    with pytest.raises(UserError, match="is a fork of one that has used TensorFlow"):
        dd.load_detector(tmp_path)
    with pytest.raises(UserError, match="is a fork of one that has used TensorFlow"):
        dd.finetune("ssd_mobilenet_v2", tmp_path)


def test_a_detector_is_of_one_process(detector, monkeypatch):
    """In a fork TensorFlow waits for threads that are not there, for ever."""
    monkeypatch.setattr(os, "getpid", lambda: 0)
    with pytest.raises(UserError, match="loaded in another process, of which this one is a fork"):
        detector.predict(noise(40, 60))
    monkeypatch.undo()
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(UserError, match="is not copied whole: load it again"):
            copied(detector)
