"""Fine-tuning learns, leaves alone what is frozen, repeats itself, and survives interruption."""

from __future__ import annotations

import json

import numpy as np
import pytest

import duckdetect as dd
from duckdetect import UserError
from duckdetect.models.catalog import spec_for
from duckdetect.training import run_folder
from duckdetect.training.loop import batch_index

BASE = "ssd_mobilenet_v2"
STOCK = dd.TrainConfig.stock


@pytest.fixture(scope="module")
def ducks(project_data):
    return dd.load_dataset(project_data / "ducks", "train")


@pytest.fixture(scope="module")
def run(ducks, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "duck"
    return dd.finetune(BASE, ducks, STOCK(), out, progress=False)


def same_detections(one, other, atol=1e-5):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.confidence, b.confidence, atol=atol)
        np.testing.assert_allclose(a.xyxy, b.xyxy, atol=1e-2)
        np.testing.assert_array_equal(a.class_id, b.class_id)


def test_it_learns_the_five_sample_images(run, ducks):
    assert dd.evaluate(run.detector, ducks).AP50 > 0.9
    losses = [row["loss"] for row in run.history]
    assert len(losses) == 100
    assert np.mean(losses[-10:]) < 0.1 * losses[0]


def test_it_learns_the_five_duck_photos(shared_data):
    photos = dd.load_dataset(shared_data / "ducky" / "train")
    run = dd.finetune(BASE, photos, STOCK(), progress=False)
    assert run.folder is None
    assert dd.evaluate(run.detector, photos).AP50 > 0.9


def test_the_default_recipe_finds_the_sample_on_other_images(ducks, project_data, tmp_path):
    test = dd.load_dataset(project_data / "ducks", "test")
    config = dd.TrainConfig(masks="no")
    run = dd.finetune(BASE, ducks, config, tmp_path / "run", progress=False)
    metrics = dd.evaluate(run.detector, test)
    # Measured 0.78 and 0.96, the stock recipe 0.47 and 0.62: docs/accuracy.md.
    assert metrics.AP > 0.72
    assert metrics.AP50 > 0.9
    assert run.detector.high_res_hw is not None  # its ducks are small
    assert run.history[-1]["learning_rate"] < 0.01 * run.history[0]["learning_rate"]
    assert 0.1 <= run.detector.threshold <= 0.9
    assert dd.load_detector(run.folder).threshold == run.detector.threshold


def test_five_shots_of_raccoons_find_the_others(shared_data):
    raccoons = dd.load_dataset(shared_data / "raccoon")
    order = np.random.default_rng(0).permutation(len(raccoons))
    config = dd.TrainConfig(masks="no")
    run = dd.finetune(BASE, raccoons.subset(order[:5]), config, progress=False)
    metrics = dd.evaluate(run.detector, raccoons.subset(sorted(order[5:])))
    # Measured 0.90 +- 0.01 over seeds, the stock recipe 0.83: docs/accuracy.md.
    assert metrics.AP50 > 0.85


def test_the_run_folder(run):
    config = json.loads((run.folder / "config.json").read_text())
    assert config["done"] is True
    # Ducks are familiar to the base: of "auto" the heads.
    assert config["train"] == {**STOCK().to_dict(), "train": "heads"}
    assert config["data"]["pictures"] == 5
    for read, kept in zip(run_folder.read_history(run.folder), run.history, strict=True):
        assert read == pytest.approx(kept)
    assert not (run.folder / "state.npz").exists()


def test_a_loaded_detector_predicts_the_same(run, ducks):
    images = [s.load() for s in ducks.samples]
    loaded = dd.load_detector(run.folder)
    assert loaded.classes == run.detector.classes == ("rubber duck",)
    same_detections(run.detector.predict(images, 0.01), loaded.predict(images, 0.01))


def test_the_same_seed_gives_the_same_detector(run, ducks):
    images = [s.load() for s in ducks.samples]
    again = dd.finetune(BASE, ducks, STOCK(), progress=False)
    assert [row["loss"] for row in again.history] == [row["loss"] for row in run.history]
    same_detections(run.detector.predict(images, 0.01), again.detector.predict(images, 0.01))


def test_a_finished_run_is_not_trained_again(run, ducks, monkeypatch):
    monkeypatch.setattr(
        "duckdetect.training.finetune.train_heads", lambda *_: pytest.fail("trained")
    )
    again = dd.finetune(BASE, ducks, STOCK(), run.folder, progress=False)
    assert again.resumed == 100
    assert len(again.history) == 100


def test_an_interrupted_run_ends_as_if_never_interrupted(ducks, tmp_path, monkeypatch):
    config = STOCK(steps=24, save_every=5, seed=2)
    whole = dd.finetune(BASE, ducks, config, tmp_path / "whole", progress=False)

    steps = []

    def interrupted(*args):
        steps.append(args)
        if len(steps) == 18:
            raise KeyboardInterrupt
        return batch_index(*args)

    monkeypatch.setattr("duckdetect.training.loop.batch_index", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dd.finetune(BASE, ducks, config, tmp_path / "cut", progress=False)
    monkeypatch.undo()
    assert not (tmp_path / "cut" / "detector").exists()
    resumed = dd.finetune(BASE, ducks, config, tmp_path / "cut", progress=False)

    assert resumed.resumed == 15
    assert [r["loss"] for r in resumed.history] == [r["loss"] for r in whole.history]
    images = [s.load() for s in ducks.samples]
    same_detections(whole.detector.predict(images, 0.01), resumed.detector.predict(images, 0.01))


def test_another_run_in_the_folder_is_not_overwritten(run, ducks):
    before = sorted(p.stat().st_mtime_ns for p in run.folder.rglob("*"))
    with pytest.raises(UserError, match=r"another run \(seed: 0 there, 9 here\)"):
        dd.finetune(BASE, ducks, STOCK(seed=9), run.folder, progress=False)
    assert sorted(p.stat().st_mtime_ns for p in run.folder.rglob("*")) == before


def test_overwrite_replaces_it(ducks, tmp_path):
    dd.finetune(BASE, ducks, STOCK(steps=2), tmp_path, progress=False)
    run = dd.finetune(BASE, ducks, STOCK(steps=3), tmp_path, overwrite=True, progress=False)
    assert [row["step"] for row in run.history] == [1, 2, 3]
    assert len(run_folder.read_history(tmp_path)) == 3


def test_a_broken_state_is_named(ducks, tmp_path):
    config = STOCK(steps=2)
    dd.finetune(BASE, ducks, config, tmp_path, progress=False)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "done": False}))
    (tmp_path / "state.npz").write_bytes(b"PK half")
    with pytest.raises(UserError, match=r"state\.npz is broken"):
        dd.finetune(BASE, ducks, config, tmp_path, progress=False)


def test_a_loss_that_is_not_finite_names_images_and_cure(ducks):
    with pytest.raises(UserError, match=r"duck_0\d.jpg.*lower --learning-rate"):
        dd.finetune(BASE, ducks, STOCK(learning_rate=1e38), progress=False)


def test_images_without_an_object_are_learnt_as_such(project_data, ducks):
    test = dd.load_dataset(project_data / "ducks", "test")
    empty = [s for s in test.samples if len(s.xyxy) == 0][:3]
    assert empty, "the sample data should hold pictures without a duck"
    both = dd.Dataset(ducks.root, ducks.classes, (*ducks.samples, *empty))
    config = dd.TrainConfig(steps=150, views=0, train="heads", masks="no")
    run = dd.finetune(BASE, both, config, progress=False)
    found = run.detector.predict([s.load() for s in empty], 0.3)
    assert sum(map(len, found)) == 0
    assert dd.evaluate(run.detector, ducks).AP50 > 0.9


@pytest.mark.parametrize("n_views", [1, 3, 4, 5, 40])
def test_batches_hold_each_view_as_evenly_as_can_be(n_views):
    index = batch_index(n_views, 4, 0, 7)
    assert len(index) == 4
    counts = np.bincount(index, minlength=n_views)
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(index, batch_index(n_views, 4, 0, 7))
    assert any((batch_index(40, 4, 0, s) != batch_index(40, 4, 0, 7)).any() for s in range(3))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"train": "everything"}, "heads, towers"),
        ({"learning_rat": 0.1}, "unknown setting 'learning_rat'"),
    ],
)
def test_bad_settings_are_named(settings, named):
    with pytest.raises(UserError, match=named):
        dd.TrainConfig.from_dict(settings)


def test_settings_may_be_a_dictionary():
    with pytest.raises(UserError, match="unknown setting 'stepz': did you mean steps"):
        dd.train("nowhere", config={"stepz": 3})
    with pytest.raises(UserError, match="nowhere is not there"):
        dd.train("nowhere", config={"steps": 3})


def test_towers_where_there_are_none(ducks):
    with pytest.raises(UserError, match="has no towers"):
        dd.finetune(BASE, ducks, STOCK(train="towers"), progress=False)


@pytest.mark.parametrize(
    ("base", "n_augmented"),
    [("ssd_mobilenet_v2", 100), ("retinanet50", 40), ("mask_rcnn", 40)],
)
def test_large_bases_get_fewer_looks_unless_told(base, n_augmented):
    spec = spec_for(base)
    assert dd.TrainConfig().for_data(spec, 5, 5).views == n_augmented
    assert dd.TrainConfig(views=7).for_data(spec, 5, 5).views == 7
    assert STOCK().for_data(spec, 5, 5).views == 0


def test_a_run_tells_how_many_looks_it_took(run):
    config = json.loads((run.folder / "config.json").read_text())
    assert isinstance(config["train"]["views"], int)
