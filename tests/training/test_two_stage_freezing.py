"""What is frozen stays bit for bit, is told before, and no option is ignored; bad labels do no harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import values
from helpers.rcnn_bases import matched_views, tiny_config, tiny_rcnn

import duckdetect as dd
from duckdetect import UserError
from duckdetect.models.interfaces import Sizes
from duckdetect.models.tfod.load import build_two_stage
from duckdetect.training.config import TrainConfig, summary_text
from duckdetect.training.feature_cache import to_truth
from duckdetect.training.loop import make_optimizer, run_loop
from duckdetect.training.two_stage import TwoStageTrainer


@pytest.fixture(scope="module")
def base():
    return tiny_rcnn(2)


@pytest.fixture(scope="module")
def views(base):
    return matched_views(base, 4)


def train(base, views, part, steps=3, **settings):
    """Train, and say which groups' weights changed; the base is left as it was."""
    config = TrainConfig(train=part, steps=steps, batch_size=2, views=0, **settings)
    before = values(base)
    groups = {id(v): name for name, group in base.groups().items() for v in group}
    trainer = TwoStageTrainer(base, any(v.has_mask.any() for v in views), config)
    trainer.cache_views(views, len(views), progress=False)
    optimizer = make_optimizer(config, trainer.variables)
    step = trainer.make_step(optimizer)
    try:
        names = trainer.names
        done = run_loop(step, optimizer, trainer.variables, names, config, None, False)
        changed = {
            groups[id(v)]
            for v, old in zip(base.variables(), before, strict=True)
            if (v.numpy() != old).any()
        }
    finally:
        for variable, value in zip(base.variables(), before, strict=True):
            variable.assign(value)
    return changed, done.history, trainer


HEADS = {"box head", "class head", "mask head"}


def test_heads_alone_change(base, views):
    changed, _, trainer = train(base, views, "heads")
    assert changed == HEADS
    text = summary_text("mask_rcnn", trainer.summary)
    rows = {line[:21].strip(): line.split()[-3:] for line in text.splitlines()}
    assert rows["class head"] == ["1", f"{96 * 3 + 3}", "-"]
    assert rows["proposals"][1] == "-"
    assert rows["all"][1:] == [
        f"{trainer.model['trained_weights']:,}",
        f"{trainer.model['frozen_weights']:,}",
    ]


def test_second_stage_changes_with_its_heads_and_keeps_its_statistics(base, views):
    changed, _, trainer = train(base, views, "second-stage")
    assert changed == HEADS | {"second-stage features"}
    row = next(group for group in trainer.summary if group.name == "second-stage features")
    assert row.n_frozen == 2 * 96  # the batch norm's mean and variance


def test_labels_without_masks_leave_the_mask_head(base, views):
    bare = [replace(view, masks=None) for view in views]
    for part in ("heads", "second-stage"):
        changed, history, trainer = train(base, bare, part)
        assert "mask head" not in changed
        assert {"box head", "class head"} <= changed
        assert "mask_loss" not in history[0]
        assert "the mask head stays as it was" in trainer.notes[0]
        assert trainer.model["masks_trained"] is False


def test_a_box_without_its_mask_trains_no_mask(base, views):
    masks = [np.zeros_like(view.masks) for view in views]
    masks[3][0] = views[3].masks[0]
    some = [replace(view, masks=m) for view, m in zip(views, masks, strict=True)]
    _, history, trainer = train(base, some, "heads", learning_rate=1e-9)
    _, whole, _ = train(base, views, "heads", learning_rate=1e-9)
    assert trainer.masks
    assert [row["box_loss"] for row in history] == [row["box_loss"] for row in whole]
    without = [row["mask_loss"] for row in history]
    assert 0.0 in without, "a batch without a mask has no mask loss"
    assert all(np.isfinite(without))


def test_boxes_of_no_size_are_as_if_they_were_not_there(base, views):
    points = np.array([[5, 5, 5, 50], [7, 7, 7, 7], [9, 9, 3, 20], [1, 2, np.nan, 9]], np.float32)
    filled_hw = np.ones(2, np.float32)
    for view in views:
        nothing = np.zeros((4, *view.image.shape[:2]), bool)
        bad = replace(
            view,
            xyxy=np.concatenate([view.xyxy[:1], points, view.xyxy[1:]]),
            class_id=np.concatenate([view.class_id[:1], [0, 1, 0, 1], view.class_id[1:]]),
            masks=np.concatenate([view.masks[:1], nothing, view.masks[1:]]),
        )
        ours, expected = (to_truth(base, v, filled_hw) for v in (bad, view))
        for field, value in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(field, value)


def test_a_loss_that_is_not_finite_names_the_images(base, views):
    with pytest.raises(UserError, match=r"the loss is \S+ at step \d+ \(pictures noise \d, "):
        train(base, views, "heads", steps=20, learning_rate=1e38)


def test_the_same_seed_and_step_throw_the_same_dice(base, views):
    config = TrainConfig(train="all", batch_size=2, views=0)
    trainer = TwoStageTrainer(base, True, config)
    trainer.cache_views(views, len(views), progress=False)
    optimizer = tf.keras.optimizers.SGD(0.0)
    step = trainer.make_step(optimizer)
    index = np.array([2, 3])
    first, second = ({k: float(v) for k, v in step(index).items()} for _ in range(2))
    optimizer.iterations.assign(0)  # as a resumed run would
    again = {k: float(v) for k, v in step(index).items()}
    assert again == pytest.approx(first, rel=1e-6)
    assert second["proposal_class_loss"] != first["proposal_class_loss"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mask_rcnn", "towers"),
        ("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8", "towers"),
        ("ssd_mobilenet_v2", "second-stage"),
    ],
)
def test_a_part_of_another_family_is_refused_before_anything_is_fetched(project_data, name, part):
    ducks = dd.load_dataset(project_data / "ducks", "train")
    with pytest.raises(UserError, match=f"has no {part} to train: give --train heads or"):
        dd.finetune(name, ducks, TrainConfig(train=part), progress=False)


@pytest.mark.parametrize("size", ["input_size", "proposals", "proposal_batch"])
def test_sizes_are_not_for_ssd(project_data, size):
    ducks = dd.load_dataset(project_data / "ducks", "train")
    with pytest.raises(UserError, match="has one size and no proposals"):
        dd.finetune("ssd_mobilenet_v2", ducks, TrainConfig(**{size: 64}), progress=False)


def test_sizes_can_be_changed():
    small = build_two_stage("tiny", tiny_config(), 1, sizes=Sizes(96, 8))
    assert small.input_hw == (96, 96)
    assert (small.n_proposals, small.n_sampled) == (8, 8)
    with pytest.raises(UserError, match="proposal_batch is 40, but tiny makes 32"):
        build_two_stage("tiny", tiny_config(), 1, sizes=Sizes(proposal_batch=40))
    padded = tiny_config()
    resizer = padded.faster_rcnn.image_resizer.keep_aspect_ratio_resizer
    resizer.min_dimension, resizer.max_dimension, resizer.pad_to_max_dimension = 800, 1333, True
    assert build_two_stage("tiny", padded, 1, sizes=Sizes(160)).input_hw == (160, 160)


def test_faster_rcnn_has_no_masks():
    base = build_two_stage("tiny", tiny_config(masks=False), 2)
    assert not base.has_masks
    assert "mask head" not in base.groups()
    changed, history, trainer = train(base, matched_views(base, 4), "heads")
    assert changed == {"box head", "class head"}
    assert "mask_loss" not in history[0]
    assert not trainer.notes
