"""Training that is watched by validation pictures: figures, the best weights, stopping, resuming."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import duckdetect as dd
from duckdetect import UserError
from duckdetect.data.dataset import in_classes_of
from duckdetect.training import run_folder, two_stage
from duckdetect.training.loop import batch_index, best_step, make_optimizer, run_loop
from duckdetect.training.validation import OneStageValidator, class_accuracy

BASE = "ssd_mobilenet_v2"
CONFIG = dd.TrainConfig(
    steps=30, train="heads", masks="no", views=16, val_every=6, patience=2, save_every=5
)


@pytest.fixture(scope="module")
def ducks(project_data):
    """Five to learn from, and eight others, two of them without a duck."""
    test = dd.load_dataset(project_data / "ducks", "test")
    empty = [i for i, s in enumerate(test.samples) if not len(s.class_id)][:2]
    filled = [i for i, s in enumerate(test.samples) if len(s.class_id)][:6]
    return dd.load_dataset(project_data / "ducks", "train"), test.subset(empty + filled)


@pytest.fixture(scope="module")
def whole(ducks, tmp_path_factory):
    out = tmp_path_factory.mktemp("watched") / "run"
    return dd.finetune(BASE, ducks[0], CONFIG, out, val=ducks[1], progress=False)


def test_the_figures_of_the_best_look_are_those_of_the_detector(whole, ducks):
    best = next(row for row in whole.validation if row["step"] == whole.best)
    detector = dd.load_detector(whole.folder)
    detector.high_res_hw = None  # validation looks once
    metrics = dd.evaluate(detector, ducks[1])
    for name in ("AP", "AP50", "AR100"):
        assert best[name] == pytest.approx(getattr(metrics, name), abs=1e-3), name
    assert best == max(whole.validation, key=lambda row: row["AP50"] + row["AP"])


def test_it_learns_what_it_did_not_see(whole):
    first, best = whole.validation[0], max(whole.validation, key=lambda row: row["AP50"])
    assert best["AP50"] > 0.5
    falling = 0.0015 * (1 + np.cos(np.pi * np.arange(len(whole.history)) / CONFIG.steps))
    assert [row["learning_rate"] for row in whole.history] == pytest.approx(falling, rel=1e-4)
    assert whole.history[0]["class_accuracy"] < 0.5 < whole.history[-1]["class_accuracy"]
    assert min(row["loss"] for row in whole.validation) <= first["loss"] < whole.history[0]["loss"]
    for row in whole.validation:
        assert row["loss"] == pytest.approx(row["box_loss"] + row["class_loss"])
        assert 0 <= row["class_accuracy"] <= 1


def test_the_files(whole):
    assert run_folder.read_validation(whole.folder) == [pytest.approx(r) for r in whole.validation]
    history = run_folder.read_history(whole.folder)
    assert list(history[0]) == [
        *("step", "loss", "box_loss", "class_loss", "class_accuracy", "learning_rate")
    ]
    assert (whole.folder / "curves.png").stat().st_size > 10_000


def test_an_interrupted_run_stops_and_chooses_as_one_that_was_not(
    whole, ducks, tmp_path, monkeypatch
):
    def interrupted(n_views, batch_size, seed, step):
        if step == 17:  # two looks are over, and a state was saved at step 15
            raise KeyboardInterrupt
        return batch_index(n_views, batch_size, seed, step)

    monkeypatch.setattr("duckdetect.training.loop.batch_index", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dd.finetune(BASE, ducks[0], CONFIG, tmp_path, val=ducks[1], progress=False)
    monkeypatch.undo()
    assert len(run_folder.read_validation(tmp_path)) == 2
    resumed = dd.finetune(BASE, ducks[0], CONFIG, tmp_path, val=ducks[1], progress=False)

    assert resumed.resumed == 15
    assert resumed.history == [pytest.approx(row, rel=1e-6) for row in whole.history]
    assert resumed.validation == whole.validation
    assert resumed.best == whole.best
    image = ducks[1].samples[-1].load()
    ours, theirs = (r.detector.predict(image, 0.01) for r in (resumed, whole))
    np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-5)

    again = dd.finetune(BASE, ducks[0], CONFIG, tmp_path, val=ducks[1], progress=False)
    assert again.resumed == CONFIG.steps
    assert len(again.history) == len(whole.history)
    assert again.validation == [pytest.approx(row) for row in whole.validation]


def test_other_validation_images_are_another_run(whole, ducks):
    with pytest.raises(UserError, match=r"another run \(other validation\)"):
        dd.finetune(BASE, ducks[0], CONFIG, whole.folder, val=ducks[1].subset([3]), progress=False)
    with pytest.raises(UserError, match=r"another run \(other validation\)"):
        dd.finetune(BASE, ducks[0], CONFIG, whole.folder, progress=False)


class _Figures:
    """A `loop.Validator` that reads its figures out."""

    every = 1

    def __init__(self, metrics):
        self.metrics = iter(metrics)

    def validate(self):
        ap50, ap = next(self.metrics)
        return {"AP50": ap50, "AP": ap}

    def images(self):
        return []


def test_a_run_that_ends_far_above_its_start_is_no_success():
    variable = tf.Variable(0.0)
    losses = iter([2.0, 900.0, 210.0])

    def step(index):
        return {"box_loss": next(losses)}

    config = dd.TrainConfig(steps=3, train="heads")
    optimizer = make_optimizer(config, [variable])
    with pytest.raises(UserError, match="training diverged: the loss is 210 at step 3"):
        run_loop(step, optimizer, [variable], ["a"], config, None, False)


def test_the_first_of_the_best_is_kept_and_patience_ends():
    variable = tf.Variable(0.0)
    config = dd.TrainConfig(steps=9, train="heads", patience=2)

    def step(index):
        variable.assign_add(1.0)
        return {"box_loss": 1.0}

    validator = _Figures([(0.5, 0.2), (0.7, 0.1), (0.7, 0.3), (0.7, 0.3), (0.6, 0.4), (1, 1)])
    optimizer = make_optimizer(config, [variable])
    trained = run_loop(step, optimizer, [variable], ["a"], config, None, False, validator)
    assert len(trained.history) == len(trained.validation) == 5
    assert trained.best == 3
    assert variable.numpy() == 3.0


def test_the_best_step_is_that_of_boxes_and_masks():
    rows = [
        {"step": 1.0, "AP50": 0.9, "AP": 0.6, "mask_AP50": 0.3, "mask_AP": 0.1},
        {"step": 2.0, "AP50": 0.8, "AP": 0.5, "mask_AP50": 0.7, "mask_AP": 0.4},
        {"step": 3.0, "AP50": 0.8, "AP": 0.5, "mask_AP50": 0.6, "mask_AP": 0.4},
    ]
    assert best_step(rows) == 2
    assert best_step([{k: v for k, v in row.items() if "mask" not in k} for row in rows]) == 1


@pytest.mark.parametrize("decay", ["cosine", "none"])
def test_the_learning_rate_warms_up(decay):
    config = dd.TrainConfig(steps=10, warmup=4, learning_rate=0.1, decay=decay)
    variable = tf.Variable(0.0)
    optimizer = make_optimizer(config, [variable])

    def step(index):
        optimizer.apply_gradients([(tf.constant(0.0), variable)])
        return {"box_loss": 1.0}

    trained = run_loop(step, optimizer, [variable], ["a"], config, progress=False)
    rates = [row["learning_rate"] for row in trained.history]
    np.testing.assert_allclose(rates[:5], 0.1 * np.arange(1, 6) / 5, rtol=1e-5)
    falling = 0.05 * (1 + np.cos(np.pi * np.arange(6) / 6)) if decay == "cosine" else [0.1] * 6
    np.testing.assert_allclose(rates[4:], falling, rtol=1e-4)


def test_class_accuracy_in_closed_form():
    #                 background, frog, duck
    logits = [[[9, 1, 2], [9, 2, 1], [9, -1, -0.5], [0, 5, 5.5], [9, 9, 9]]]
    index = [[1, 1, 1, 1, -1]]  # right; wrong class; right but below one half; right; not matched
    assert float(class_accuracy(tf.constant(logits, tf.float32), tf.constant(index))) == 0.5
    assert np.isnan(float(class_accuracy(tf.zeros([1, 2, 3]), tf.constant([[-1, -1]]))))


def test_class_accuracy_of_proposals_in_closed_form():
    #         background, frog, duck
    logits = [[0, 1, 2], [0, 2, 1], [3, 1, 2], [0, -2, -1], [9, 9, 9], [0, 1, 2]]
    index = [[2, 2, 2], [2, 0, 2]]  # right; wrong class; background above; the same; nothing; right
    found = two_stage.class_accuracy(tf.constant(logits, tf.float32), tf.constant(index))
    assert float(found) == pytest.approx(2 / 5)
    assert np.isnan(float(two_stage.class_accuracy(tf.zeros([2, 3]), tf.constant([[0, 0]]))))


def test_validation_classes_go_by_name(ducks):
    (sample,) = ducks[1].samples[-1:]
    learnt = dd.Dataset(ducks[0].root, ("goose", "rubber duck"), ())
    val = dd.Dataset(ducks[1].root, ("frog", "rubber duck"), (sample,))
    sample = dataclasses.replace(sample, class_id=np.ones_like(sample.class_id))
    val = dataclasses.replace(val, classes=("rubber duck", "frog"), samples=val.samples)
    assert set(in_classes_of(val, learnt).samples[0].class_id) == {1}
    with pytest.raises(UserError, match="labels 'frog', which"):
        in_classes_of(dataclasses.replace(val, samples=(sample,)), learnt)


def test_looks_are_spaced_by_what_they_cost(ducks):
    every = OneStageValidator._every
    assert every(4, 8) == 10
    assert every(400, 8) == 10 * every(40, 8) > 40
