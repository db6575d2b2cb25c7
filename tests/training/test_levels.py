"""How deep a run trains: what "auto" means, that it is kept, and that a deep run resumes and saves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.bases import mobilenet, values, views
from helpers.run_folders import put_run

import duckdetect as dd
from duckdetect import UserError, notebook
from duckdetect.inference.build import export_detector
from duckdetect.models.catalog import spec_for
from duckdetect.models.graphs import frozen_part
from duckdetect.models.weights import fetch
from duckdetect.training import run_folder
from duckdetect.training.config import level_text
from duckdetect.training.feature_cache import cache_features
from duckdetect.training.finetune import train_heads

BASE = "ssd_mobilenet_v2"


@pytest.fixture(scope="module")
def ducks(project_data):
    return dd.load_dataset(project_data / "ducks", "train")


def settled(base=BASE, n_images=5, n_boxes=5, **settings):
    return dd.TrainConfig(**settings).for_data(spec_for(base), n_images, n_boxes)


def test_auto_goes_as_deep_as_the_boxes_allow():
    assert settled().train == "top"
    assert settled(n_boxes=29).train == "top"
    assert settled(n_boxes=30).train == "deep"
    for unmeasured in ("retinanet50", "ssd_mobilenet_v2_320x320_coco17_tpu-8", "mask_rcnn"):
        assert settled(unmeasured, n_boxes=30).train == "heads"
    assert settled(train="towers").train == "towers"


def test_views_and_steps_grow_with_the_images_where_the_backbone_is_trained():
    few, many, very_many = (settled(n_images=n, n_boxes=n) for n in (5, 50, 5000))
    assert (few.views, few.steps, few.batch_size) == (100, 250, 4)
    assert few.views < many.views < very_many.views == 1000
    assert few.steps < many.steps < very_many.steps == 1500
    heads = settled(n_images=500, n_boxes=500, train="heads")
    assert (heads.views, heads.steps, heads.batch_size) == (100, 250, 8)
    given = settled(n_images=50, views=7, steps=9, batch_size=2)
    assert (given.views, given.steps, given.batch_size) == (7, 9, 2)


def test_the_gradient_is_limited_where_the_backbone_is_trained():
    assert settled(train="heads").gradient_norm == 0
    assert settled(train="deep").gradient_norm == 5
    assert settled(train="deep", clip_norm=1.5).gradient_norm == 1.5
    with pytest.raises(UserError, match="clip_norm is -1"):
        dd.TrainConfig(clip_norm=-1)


def test_a_run_that_trained_the_heads_is_still_the_same_run(ducks, tmp_path, monkeypatch):
    """`auto` means of a run that 0.1.0 wrote what it meant then; another level is another run."""
    out = put_run(tmp_path / "results" / "any name", ducks)
    config = json.loads((out / "config.json").read_text())
    sha256 = fetch(BASE, progress=False).sha256
    config["weights"] = {"origin": "a wheel", "sha256": sha256}
    config["train"] = settled(train="heads").to_dict()
    del config["train"]["clip_norm"]
    (out / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("duckdetect.training.finetune.load_detector", lambda _: None)

    again = dd.finetune(BASE, ducks, dd.TrainConfig(), out, progress=False)
    assert (again.resumed, again.config.train) == (250, "heads")
    assert notebook.run_folder(tmp_path / "results", BASE, ducks, dd.TrainConfig()) == out
    deeper = dd.TrainConfig(train="top")
    assert notebook.run_folder(tmp_path / "results", BASE, ducks, deeper) != out
    with pytest.raises(UserError, match="train: heads there, top here"):
        dd.finetune(BASE, ducks, deeper, out, progress=False)


def test_a_deep_run_resumes_and_its_detector_holds_what_it_trained(ducks, tmp_path, monkeypatch):
    config = dd.TrainConfig(train="top", steps=4, batch_size=2, save_every=2, seed=1, masks="no")
    base = mobilenet(1)
    before = values(base)
    frozen = frozen_part(base, "top")
    cache = cache_features(base, frozen, views(4), 4, False, False)
    save, interrupted = run_folder.save_state, tmp_path / "interrupted"
    interrupted.mkdir()

    def save_both(folder, state, history, *rest):
        save(folder, state, history, *rest)
        if len(history) == 2:
            save(interrupted, state, history, *rest)

    monkeypatch.setattr(run_folder, "save_state", save_both)
    whole = train_heads(base, cache, config, tmp_path, progress=False)
    trained = values(base)
    for variable, value in zip(base.variables(), before, strict=True):
        variable.assign(value)  # as another process has them
    resumed = train_heads(base, cache, config, interrupted, progress=False)
    assert resumed.resumed == 2
    assert [r["loss"] for r in resumed.history] == pytest.approx(
        [r["loss"] for r in whole.history], rel=1e-5
    )
    for ours, theirs in zip(values(base), trained, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

    image = ducks.samples[0].load()
    detector = export_detector(base, frozen, "top", ["thing"])
    detector.save(tmp_path / "detector")
    loaded = dd.load_detector(tmp_path / "detector")
    ours, theirs = (d.predict(image, threshold=0.0) for d in (detector, loaded))
    assert len(ours)
    np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=1e-3)
    np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-5)


def test_the_summary_says_what_is_trained_and_how_long():
    text = level_text(BASE, settled(), 5, 5)
    assert "5 images with 5 boxes: training top, 250 steps of 4 on 105 views, about" in text
    masks = level_text(BASE, settled(), 5, 5, masks=True)
    assert int(masks.split()[-6]) > int(text.split()[-6]) > 15
    assert "about" not in level_text("retinanet50", settled("retinanet50"), 5, 5)
