"""How deep a run trains: what "auto" means, that it is kept, and that a deep run resumes and saves."""

from __future__ import annotations

import json

import numpy as np
import pytest

import duckdetect as dd
from duckdetect import UserError
from duckdetect.models.catalog import spec_for
from duckdetect.training.config import level_text

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
    out = tmp_path / "run"
    begun = dd.finetune(BASE, ducks, settled(train="heads", steps=2, views=1), out, progress=False)
    path = out / "config.json"
    config = json.loads(path.read_text())
    del config["train"]["clip_norm"]  # as 0.1.0 wrote it
    path.write_text(json.dumps(config))
    monkeypatch.setattr(
        "duckdetect.training.finetune.train_heads", lambda *_: pytest.fail("trained")
    )
    again = dd.finetune(BASE, ducks, dd.TrainConfig(steps=2, views=1), out, progress=False)
    assert begun.config.train == again.config.train == "heads"
    with pytest.raises(UserError, match="another run"):
        dd.finetune(BASE, ducks, dd.TrainConfig(steps=2, views=1, train="top"), out, progress=False)


def test_a_deep_run_resumes_and_its_detector_holds_what_it_trained(ducks, tmp_path, monkeypatch):
    config = dd.TrainConfig(train="top", steps=4, views=2, batch_size=2, save_every=2, seed=1)
    whole = dd.finetune(BASE, ducks, config, tmp_path / "whole", progress=False)

    from duckdetect.training import run_folder

    save = run_folder.save_state

    def stop(folder, state, history, *rest):
        save(folder, state, history, *rest)
        if len(history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        dd.finetune(BASE, ducks, config, tmp_path / "cut", progress=False)
    monkeypatch.setattr(run_folder, "save_state", save)
    resumed = dd.finetune(BASE, ducks, config, tmp_path / "cut", progress=False)
    assert resumed.resumed == 2
    assert [r["loss"] for r in resumed.history] == pytest.approx(
        [r["loss"] for r in whole.history], rel=1e-5
    )

    image = ducks.samples[0].load()
    loaded = dd.load_detector(tmp_path / "whole")
    ours, theirs = (d.predict(image, threshold=0.05) for d in (whole.detector, loaded))
    np.testing.assert_allclose(ours.xyxy, theirs.xyxy, atol=1e-3)
    np.testing.assert_allclose(ours.confidence, theirs.confidence, atol=1e-5)
    assert len(ours)


def test_the_summary_says_what_is_trained_and_how_long():
    text = level_text(BASE, settled(), 5, 5)
    assert "5 images with 5 boxes: training top, 250 steps of 4 on 105 views, about" in text
    assert "about" not in level_text("retinanet50", settled("retinanet50"), 5, 5)
