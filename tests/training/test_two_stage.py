"""A Mask R-CNN goes through the public functions: restored, trained, saved, loaded, detecting masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from helpers.rcnn_bases import tiny_rcnn, write_archive

import duckdetect as dd
from duckdetect import UserError
from duckdetect.cli.app import main
from duckdetect.data.augment import PlainViews
from duckdetect.models.tfod.load import load_two_stage
from duckdetect.models.weights import fetch
from duckdetect.training.class_init import init_two_stage_classes
from duckdetect.training.config import TrainConfig
from duckdetect.training.run_folder import read_history, read_validation

ZOO_NAME = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"


@pytest.fixture(scope="module")
def ducks(project_data):
    return dd.load_dataset(project_data / "ducks", "train")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A model of 90 classes with weights of its own, and what it holds."""
    base = tiny_rcnn(90, seed=1)
    return write_archive(tmp_path_factory.mktemp("zoo") / ZOO_NAME, base, 90), base


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUCKDETECT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bases():
    """The base models that were loaded for training, as training left them."""
    loaded = []

    def load(*args):
        loaded.append(load_two_stage(*args))
        return loaded[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("duckdetect.training.two_stage.load_two_stage", load)
        yield loaded


@pytest.fixture(scope="module")
def run(ducks, archive, cache, bases, tmp_path_factory):
    """All of it trained from scratch on the five sample pictures."""
    config = TrainConfig(
        steps=300, batch_size=5, learning_rate=0.01, train="all", views=0, save_every=1000
    )
    out = tmp_path_factory.mktemp("run") / "duck"
    return dd.finetune("mask_rcnn", ducks, config, out, weights=archive[0], progress=False)


def test_it_overfits_boxes_and_masks_from_scratch(run, ducks):
    metrics = dd.evaluate(run.detector, ducks)
    assert metrics.AP50 > 0.9
    assert metrics.masks.AP50 > 0.8
    first, last = run.history[0], run.history[-1]
    assert {"box_loss", "class_loss", "mask_loss", "proposal_box_loss", "loss"} < set(last)
    assert last["loss"] < 0.3 * first["loss"]


def test_the_run_says_what_was_trained(run):
    config = json.loads((run.folder / "config.json").read_text())
    assert config["base"] == "mask_rcnn"
    assert config["train"]["train"] == "all"
    assert config["model"]["input_hw"] == [128, 128]
    assert config["model"]["proposals"] == 32
    assert config["model"]["proposal_batch"] == 16
    assert config["model"]["masks_trained"] is True
    assert config["model"]["trained_weights"] > 10 * config["model"]["frozen_weights"] > 0


def test_a_loaded_detector_finds_the_same(run, ducks):
    loaded = dd.load_detector(run.folder)
    assert loaded.two_stage
    assert loaded.has_masks
    assert loaded.classes == ("rubber duck",)
    for image in [s.load() for s in ducks.samples][:2]:
        ours, theirs = run.detector.predict(image, 0.1), loaded.predict(image, 0.1)
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=1e-2)
        np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-5)
        assert (ours.mask != theirs.mask).mean() < 1e-4
        boxes = loaded.predict(image, 0.1, masks=False)
        assert boxes.mask is None
        np.testing.assert_allclose(boxes.xyxy, theirs.xyxy, atol=1e-3)


def test_nothing_found_has_no_mask_but_the_shape(run):
    found = run.detector.predict(np.zeros((70, 90, 3), np.uint8), 1.0)
    assert len(found) == 0
    assert found.mask.shape == (0, 70, 90)


def test_all_but_the_class_specific_layers_are_restored(archive, cache):
    folder, trained = archive
    files = fetch("mask_rcnn", source=folder, progress=False)
    base, fresh = load_two_stage(files, 3, seed=5), tiny_rcnn(3, seed=5)
    new = {id(v) for layer, _ in base.last_layers().values() for v in layer.weights}
    assert len(new) == 6  # kernel and bias of boxes, classes, masks
    pairs = zip(base.variables(), trained.variables(), fresh.variables(), strict=True)
    for variable, theirs, untouched in pairs:
        if id(variable) in new:
            np.testing.assert_array_equal(variable.numpy(), untouched.numpy(), variable.name)
            assert variable.shape != theirs.shape
        else:
            np.testing.assert_array_equal(variable.numpy(), theirs.numpy(), variable.name)


@pytest.mark.parametrize(
    "left_out", ["_first_stage_box_predictor", "_feature_extractor_for_box_classifier_features"]
)
def test_a_checkpoint_that_lacks_a_part_is_refused(left_out, archive, cache, tmp_path):
    folder, trained = archive
    names = [n for n in vars(trained.model) if n.endswith(("_features", "_predictor", "_conv"))]
    parts = {n: getattr(trained.model, n) for n in names if n != left_out}
    parts = {n: part for n, part in parts.items() if hasattr(part, "variables")}
    assert len(parts) == 4
    copy = tmp_path / ZOO_NAME
    (copy / "checkpoint").mkdir(parents=True)
    (copy / "pipeline.config").write_bytes((folder / "pipeline.config").read_bytes())
    view = tf.train.Checkpoint(model=tf.train.Checkpoint(**parts))
    view.write(str(copy / "checkpoint" / "ckpt-0"))
    files = fetch("mask_rcnn", source=copy, cache_dir=tmp_path / "cache", progress=False)
    with pytest.raises(UserError, match="does not fit this model"):
        load_two_stage(files, 1)


def test_a_new_class_begins_as_the_three_most_alike(archive, cache, ducks):
    files = fetch("mask_rcnn", source=archive[0], progress=False)
    base = load_two_stage(files, 2)
    own = base.own_last_layers
    before = [layer.kernel.numpy() for layer, _ in base.last_layers().values()]
    made = init_two_stage_classes(base, own, PlainViews(ducks.samples))
    assert set(made) == {0}, "the other class has no box"
    alike = np.array(made[0])
    assert len(set(alike.tolist())) == 3
    layers = {name: layer for name, (layer, _) in base.last_layers().items()}
    # By their scores, which are to each other as the factors by which the class layer mixes them.
    theirs = own["class"].kernel[:, alike + 1]
    mixed, *_ = np.linalg.lstsq(theirs, layers["class"].kernel.numpy()[:, 1], rcond=None)
    assert mixed.sum() == pytest.approx(1, abs=1e-4)
    assert mixed[0] >= mixed[1] >= mixed[2] > 0
    np.testing.assert_allclose(layers["class"].kernel[:, 1], theirs @ mixed, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(layers["class"].bias[0], own["class"].bias[0])
    boxes = own["box"].kernel.reshape(96, 90, 4)[:, alike].transpose(0, 2, 1) @ mixed
    np.testing.assert_allclose(layers["box"].kernel[:, :4], boxes, rtol=1e-3, atol=1e-6)
    masks = own["mask"].kernel[..., alike] @ mixed
    np.testing.assert_allclose(layers["mask"].kernel[..., 0], masks, rtol=1e-3, atol=1e-6)
    # The class without a box keeps its new weights.
    after = [layer.kernel.numpy() for layer in layers.values()]
    for old, new, first in zip(before, after, (2, 4, 1), strict=True):
        np.testing.assert_array_equal(new[..., first:], old[..., first:])


@pytest.fixture(scope="module")
def knowing(run, bases, tmp_path_factory):
    """An archive of 90 classes, of which the first is the duck that `run` learnt."""
    base = tiny_rcnn(90, seed=2)
    ours = bases[0].last_layers()
    new = {id(v) for layer, _ in base.last_layers().values() for v in layer.weights}
    for theirs, known in zip(base.variables(), bases[0].variables(), strict=True):
        if id(theirs) not in new:
            theirs.assign(known)
    for name, (layer, _) in base.last_layers().items():
        known, n_other = ours[name][0], int(name == "class")  # the class head counts the background
        for mine, learnt in ((layer.kernel, known.kernel), (layer.bias, known.bias)):
            values, from_run = mine.numpy(), learnt.numpy()
            values[..., : from_run.shape[-1]] = from_run
            mine.assign(values)
            if name == "class" and values.ndim == 1:
                mine.assign(np.where(np.arange(91) > n_other, -4.0, values))
    folder = tmp_path_factory.mktemp("knowing") / ZOO_NAME
    return write_archive(folder, base, 90)


@pytest.mark.parametrize("steps", [0, 1, 50])
def test_a_base_that_knows_the_object_keeps_knowing_it(knowing, run, ducks, cache, bases, steps):
    """The two other classes that a new one begins as must not drown the one that is meant."""
    before = dd.evaluate(run.detector, ducks)
    settings = {"steps": max(steps, 1), "batch_size": 5, "views": 0, "train": "heads", "seed": 4}
    settings |= {"learning_rate": 0.002 if steps else 1e-12}
    detector = dd.train(
        ducks, "mask_rcnn", config=settings, weights=knowing, progress=False
    ).detector
    after = dd.evaluate(detector, ducks)
    assert after.AP50 > before.AP50 - 0.05
    assert after.masks.AP50 > before.masks.AP50 - 0.05


def test_all_of_it_is_trained_bit_for_bit_the_same_again(archive, cache, ducks):
    """Without `same_sums` the threads decide: of ten steps the losses differ by up to a thousandth."""
    settings = {"steps": 10, "batch_size": 3, "views": 6, "train": "all", "learning_rate": 0.01}
    first, second = (
        dd.train(ducks, "mask_rcnn", config=settings, weights=archive[0], progress=False)
        for _ in range(2)
    )
    assert [row["loss"] for row in first.history] == [row["loss"] for row in second.history]
    for one, other in zip(
        first.detector.weights().values(), second.detector.weights().values(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_heads_with_validation_and_looks_through_the_command_line(archive, cache, ducks, tmp_path):
    out = tmp_path / "run"
    labelled = str(ducks.root)
    sizes = ["--proposals", "20", "--proposal-batch", "10", "--batch-size", "2", "--looks", "2"]
    source = ["--base", "mask_rcnn", "--weights", str(archive[0])]
    argv = ["train", labelled, *source, "--out", str(out), "--steps", "2", *sizes]
    assert main([*argv, "--val", labelled]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["done"]
    assert config["model"]["proposals"] == 20
    assert config["model"]["proposal_batch"] == 10
    assert config["model"]["frozen_weights"] > 100_000
    rows = read_validation(out)
    assert rows[-1]["step"] == 2
    assert {"box_loss", "class_loss", "mask_loss", "AP50", "mask_AP50"} <= set(rows[-1])
    assert 0 <= rows[-1]["class_accuracy"] <= 1
    history = read_history(out)
    assert history[-1]["loss"] == pytest.approx(
        sum(v for n, v in history[-1].items() if n.endswith("_loss")), rel=1e-5
    )
    found = tmp_path / "found"
    image = str(ducks.samples[0].path)
    assert main(["detect", str(out), image, "--out", str(found), "--threshold", "0.0"]) == 0
    detections = json.loads((found / "detections.json").read_text())
    assert len(detections) > 5
    assert main(["eval", str(out), labelled]) == 0
