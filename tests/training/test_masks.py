"""A one-stage base's mask head: it learns, leaves the boxes alone, resumes, and goes where masks go."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import retinanet
from hypothesis import given, settings
from hypothesis import strategies as st

import duckdetect as dd
from duckdetect import UserError
from duckdetect.export.saved_model import write_saved_model
from duckdetect.imaging.geometry import RLE_KEY, encode_mask, tight_xyxy
from duckdetect.inference.detector import paste_masks
from duckdetect.inference.serving import serving_signature
from duckdetect.models import mask_head
from duckdetect.models.catalog import spec_for
from duckdetect.models.mask_head import MaskHead
from duckdetect.report.training import _mask_blocks
from duckdetect.training import finetune, masks
from duckdetect.training.again import Start
from duckdetect.training.loop import batch_index
from duckdetect.training.run_folder import is_same

BASE = "ssd_mobilenet_v2"
CONFIG = dd.TrainConfig(steps=8, train="top", views=0, batch_size=4, seed=3, confusables=False)


@pytest.fixture(scope="module")
def ducks(project_data):
    return dd.load_dataset(project_data / "ducks", "train")


@pytest.fixture(autouse=True, scope="module")
def _small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "_STEPS", 40)
        patch.setattr(masks, "_VIEWS", 2)
        patch.setattr(masks, "_VAL_EVERY", 20)
        yield


@pytest.fixture(scope="module")
def made(ducks, tmp_path_factory):
    """A run; the base before and after its second phase; how that was called, and its folder then."""
    folder, bases, called = tmp_path_factory.mktemp("masks"), [], {}
    train = masks.train_masks

    def spy(head, base, *args, **more):
        bases.append([v.numpy() for v in base.variables()])
        trained = train(head, base, *args, **more)
        called.update(head=head, args=(base, *args), more={**more, "folder": folder / "cut"})
        bases.append([v.numpy() for v in base.variables()])
        return trained

    def copying(n, batch_size, seed, step):
        if batch_size == masks._BATCH and step == 30:
            shutil.copytree(folder / "run", folder / "cut")
        return batch_index(n, batch_size, seed, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "train_masks", spy)
        patch.setattr("duckdetect.training.loop.batch_index", copying)
        run = dd.train(ducks, BASE, folder / "run", CONFIG, val=ducks.subset([0]), progress=False)
    return SimpleNamespace(run=run, bases=bases, **called)


def test_it_learns_and_leaves_the_boxes_alone(made, ducks):
    run = made.run
    assert [row["step"] for row in run.mask_history] == list(range(1, 41))
    assert np.mean([row["mask_iou"] for row in run.mask_history[-5:]]) > 0.85
    assert [row["step"] for row in run.mask_validation] == [20, 40]
    for before, after in zip(*made.bases, strict=True):
        np.testing.assert_array_equal(before, after)
    metrics = dd.evaluate(run.detector, ducks)
    assert metrics.masks.AP50 > 0.9 * metrics.AP50 > 0.5
    assert "mean IoU" in run.text()


def test_the_run_folder(made, ducks):
    run = made.run
    names = {p.name for p in (run.folder / "masks").iterdir()}
    assert names == {"history.csv", "validation.csv", "curves.png", "tensorboard"}
    again = dd.train(ducks, BASE, run.folder, CONFIG, val=ducks.subset([0]), progress=False)
    assert len(again.mask_history) == again.mask_resumed == 40
    assert "trained already" in again.text()
    assert "Masks were trained after the boxes" in str(_mask_blocks(run.folder))
    # A run of a version without masks is this run.
    path = run.folder / "config.json"
    config = json.loads(path.read_text())
    del config["train"]["masks"]
    assert is_same(run.folder, {**config, "train": CONFIG.to_dict()})


def test_an_interruption_changes_nothing(made):
    base = made.args[0]
    head = MaskHead(base.mask_depths, base.mask_pyramid, CONFIG.seed)
    trained = masks.train_masks(head, *made.args, **made.more)
    assert trained.resumed == 20
    assert trained.history == made.run.mask_history
    for one, other in zip(head.variables, made.head.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loaded_detector_and_a_served_one_make_the_same_masks(made, ducks, tmp_path, monkeypatch):
    detector = made.run.detector
    assert detector.high_res_hw is not None
    loaded = dd.load_detector(made.run.folder)
    assert loaded.has_masks
    images = [sample.load() for sample in ducks.samples[:3]]
    for one, other in zip(detector.predict(images, 0.2), loaded.predict(images, 0.2), strict=True):
        assert len(one)
        assert one.mask.shape == (len(one), *images[0].shape[:2])
        assert (one.mask != other.mask).mean() < 1e-4
    kept = {}
    monkeypatch.setattr(
        tf.saved_model, "save", lambda *_, signatures: tmp_path.mkdir() or kept.update(signatures)
    )
    tmp_path.rmdir()
    write_saved_model(loaded, tmp_path, None)
    served = kept["serving_default"](tf.constant(images[0][np.newaxis]))
    found = loaded.predict(images[0])
    of_first = served["detection_masks"].numpy()[0, :1]
    mask = paste_masks(of_first, found.xyxy[:1], images[0].shape[:2])
    assert (mask[0] != found.mask[0]).mean() < 1e-3


def test_a_served_detector_answers_where_nothing_is_found(made):
    """Every picture without an object failed: oneDNN's convolutions take no empty batch."""
    loaded = dd.load_detector(made.run.folder).changed()
    loaded.threshold = 0.999999
    found = serving_signature(loaded)(image=tf.fill([480, 640, 3], np.uint8(128)))
    assert found["masks"].shape == (len(found["scores"]), *found["masks"].shape[1:])
    assert not found["masks"].numpy().any()


@pytest.mark.parametrize(("name", "needs"), [("a.tflite", "ai_edge_litert"), ("a.onnx", "tf2onnx")])
def test_an_exported_file_makes_the_same_masks(made, ducks, tmp_path, name, needs):
    pytest.importorskip(needs, reason=f'{needs} is not installed: pip install "duckdetect[export]"')
    exported = made.run.detector.export(tmp_path / name, weights="float32", scales=1)
    (parity,) = exported.parity.sets
    assert parity.mask_iou_min > 0.999
    original = dd.load_detector(made.run.folder).changed(fast=True)
    light = dd.load_detector(tmp_path / name)
    assert light.has_masks
    image = ducks.samples[0].load()
    for least in (0.02, 0.999999):  # some, none
        found, wanted = light.predict(image, least), original.predict(image, least)
        assert bool(len(wanted)) is (least < 0.5)
        np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=0.1)
        assert found.mask.shape == wanted.mask.shape
        assert (found.mask != wanted.mask).mean() < 1e-3 if len(wanted) else True
    assert light.predict(image, 0.1, masks=False).mask is None
    assert isinstance(light.predict(image, 0.1, masks="rle")["segmentation"][0], dict)


def test_masks_can_be_left_out_and_the_fast_scale_has_them(made, ducks, tmp_path):
    path = ducks.samples[0].path
    detector = made.run.detector
    found = detector.predict(path, 0.2)
    bare = detector.predict(path, 0.2, masks=False)
    assert bare.mask is None
    kept = detector.predict(path, 0.2, masks="rle")
    assert [encode_mask(mask) for mask in found.mask] == list(kept.data[RLE_KEY])
    np.testing.assert_allclose(bare.xyxy, found.xyxy, atol=1e-3)
    fast = detector.changed(fast=True).predict(path, 0.2)
    assert len(fast) == len(fast.mask) > 0
    for wanted in (True, False):
        dd.detect(detector, path, tmp_path / str(wanted), 0.2, masks=wanted, progress=False)
        rows = json.loads((tmp_path / str(wanted) / "detections.json").read_text())
        assert all(("segmentation" in row) == wanted for row in rows)
        assert rows


def without_outlines(data):
    return replace(data, samples=tuple(replace(s, segmentation=None) for s in data.samples))


def mask_weights(run):
    weights = run.detector.weights()
    return {name: value for name, value in weights.items() if name.startswith("mask_head")}


def test_a_run_with_masks_is_trained_on_from_them(made, ducks, tmp_path, monkeypatch):
    """Its boxes moved what the masks read, so they are trained on too, from where they were."""
    monkeypatch.setattr(masks, "_STEPS_AGAIN", 10)
    monkeypatch.setattr("duckdetect.training.again.known_test", lambda *_: None)
    new, out = without_outlines(ducks.subset([4])), tmp_path / "again"
    again = dd.train(new, out=out, start=made.run, config={"steps": 2}, progress=False)
    assert again.config.train == "top"
    assert len(again.mask_history) == 10
    first, last = made.run.mask_history[0], again.mask_history[0]
    assert last["mask_iou"] > 0.8 > first["mask_iou"]
    assert dd.load_detector(again.folder).has_masks


def test_an_added_class_keeps_the_masks_bit_for_bit(ducks, tmp_path, monkeypatch):
    monkeypatch.setattr("duckdetect.training.again.known_test", lambda *_: None)
    config = replace(CONFIG, train="heads", steps=2, refine=False)
    run = dd.train(ducks.subset([0, 1]), BASE, tmp_path / "run", config, progress=False)
    hens = replace(ducks.subset([2]), classes=("hen",))
    more = dd.train(hens, out=tmp_path / "more", add_to=run, config={"steps": 2}, progress=False)
    assert not more.mask_history
    known, kept = mask_weights(run), mask_weights(more)
    assert len(known) == len(kept) == 12
    for name, value in known.items():
        np.testing.assert_array_equal(kept[name], value)
    assert more.detector.predict(ducks.samples[0].path, 0.01).mask is not None


@pytest.mark.parametrize(
    ("train", "adds", "outlined", "kept"),
    [
        ("heads", False, False, True),
        ("heads", False, True, False),  # something to learn from
        ("heads", True, True, True),
        ("top", False, False, False),  # what it reads has changed
    ],
)
def test_when_trained_on_masks_stay_as_they_are(ducks, train, adds, outlined, kept):
    said = ducks if outlined else without_outlines(ducks)
    start = Start(ducks.root, {}, SimpleNamespace(has_masks=True), said, adds)
    assert start.keeps_masks(dd.TrainConfig(train=train)) is kept


@given(st.integers(0, 10**6))
@settings(max_examples=25)
def test_what_is_cropped_is_pasted_back(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(60, 200, 2)
    y, x = np.mgrid[:height, :width]
    cy, cx, ry, rx = rng.uniform(0.3, 0.7, 4) * [height, width, height * 0.4, width * 0.4]
    mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    mask &= y < cy + x * 0.2  # no symmetry
    if mask.sum() < 300:
        return
    xyxy = tight_xyxy(mask[None])
    cells = masks.crop_masks(mask[None], np.array([0]), xyxy)
    pasted = paste_masks(cells.astype(np.float32), xyxy, mask.shape)[0]
    assert (pasted & mask).sum() / (pasted | mask).sum() > 0.85


def test_of_a_pyramid_each_region_is_cropped_from_its_level():
    base = retinanet()
    maps = base.lower(tf.random.stateless_uniform([1, 256, 256, 3], [0, 1]), "heads").masks
    head = MaskHead(base.mask_depths, base.mask_pyramid, 0)
    assert base.mask_pyramid
    sides = (0.3, 0.9)  # 10 and 29 cells of the finest level
    boxes = tf.constant([[0.05, 0.05, 0.05 + side, 0.05 + side] for side in sides])
    found = head.regions(maps, boxes, tf.zeros([2], tf.int32))
    for i, level in enumerate((0, 1)):
        zeroed = [m if k == level else tf.zeros_like(m) for k, m in enumerate(maps)]
        alone = head.regions(zeroed, boxes[i : i + 1], tf.zeros([1], tf.int32))
        np.testing.assert_array_equal(alone[0], found[i])
        assert np.abs(alone).max() > 0
    assert head.probability(maps, boxes, tf.zeros([2], tf.int32)).shape == (2, 28, 28)


def test_regions_are_cropped_at_their_centres():
    """On maps that hold their own places: what is cropped is where it was."""
    y, x = np.mgrid[:20, :30] + 0.5
    maps = np.stack([y / 20, x / 30], axis=-1).astype(np.float32)
    both = tf.constant(np.stack([maps * 0, maps]))
    box = [0.2, 0.1, 0.7, 0.8]
    found = mask_head._crop(both, tf.constant([box, box]), tf.constant([1, 0]), 5)
    np.testing.assert_allclose(found[0, :, 0, 0], np.linspace(0.2, 0.7, 5), atol=1e-5)
    np.testing.assert_allclose(found[0, 0, :, 1], np.linspace(0.1, 0.8, 5), atol=1e-5)
    assert not found[1].numpy().any()


def outlined(ducks, n, rectangle=False):
    """The ducks with `n` outlines in all, perhaps of the boxes themselves."""
    samples = []
    for i, sample in enumerate(ducks.samples):
        x1, y1, x2, y2 = map(float, sample.xyxy[0])
        outline = [[x1, y1, x2, y1, x2, y2, x1, y2]] if rectangle else sample.segmentation[0]
        samples.append(replace(sample, segmentation=(outline if i < n else None,)))
    return dd.Dataset(ducks.root, ducks.classes, tuple(samples))


def test_the_dice_loss_in_closed_form():
    truth = np.zeros((3, 4, 4), np.float32)
    truth[:2, :, :2] = 1
    logits = np.full((3, 4, 4), -30, np.float32)
    logits[0][truth[0] > 0] = 30  # all right
    logits[1, :, 1:3] = 30  # a half right
    found = masks.dice_loss(tf.constant(logits), tf.constant(truth))
    np.testing.assert_allclose(found, [0, 1 - (2 * 4 + 1) / (16 + 1), 0], atol=1e-6)


@pytest.mark.parametrize(
    ("base", "setting", "n", "rectangle", "wanted"),
    [
        (BASE, "auto", 3, False, True),
        (BASE, "auto", 2, False, False),
        (BASE, "yes", 1, False, True),
        (BASE, "no", 5, False, False),
        (BASE, "auto", 5, True, False),  # some tools write boxes as outlines
        (BASE, "yes", 5, True, True),
        ("mask_rcnn", "auto", 1, False, True),
        ("mask_rcnn", "no", 5, False, False),
        ("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8", "auto", 5, False, False),
    ],
)
def test_when_masks_are_trained(ducks, base, setting, n, rectangle, wanted):
    config = dd.TrainConfig(masks=setting)
    data = outlined(ducks, n, rectangle)
    assert masks.wants_masks(config, spec_for(base), data) is wanted


def test_masks_that_cannot_be_trained_are_refused(ducks):
    config = dd.TrainConfig(masks="yes")
    with pytest.raises(UserError, match=r"no box in .* has an outline"):
        masks.wants_masks(config, spec_for(BASE), outlined(ducks, 0))
    faster = spec_for("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8")
    with pytest.raises(UserError, match="finds no masks"):
        masks.wants_masks(config, faster, ducks)
