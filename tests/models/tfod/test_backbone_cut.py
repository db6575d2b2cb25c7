"""Cut in two, a base computes what it computes whole, and each half knows its variables."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import mobilenet, retinanet

from duckdetect import UserError
from duckdetect.models.graphs import frozen_class_inputs, frozen_part
from duckdetect.models.interfaces import HeadInputs
from duckdetect.models.tfod.backbone_cut import BackboneCut
from duckdetect.models.tfod.ssd import _narrow_convolution


def noise(base, n=2):
    rng = np.random.default_rng(0)
    return tf.constant(rng.uniform(-1, 1, (n, *base.input_hw, 3)), tf.float32)


@pytest.fixture(scope="module", params=[mobilenet, retinanet])
def base(request):
    return request.param(2)


@pytest.mark.parametrize("part", ["top", "deep", "all"])
def test_the_two_halves_are_the_whole(base, part):
    inputs = noise(base)
    whole = base.lower(inputs, "heads")
    cut = base.upper(base.lower(inputs, part), part)
    assert [m.shape[-1] for m in whole.masks] == list(base.mask_depths)
    pairs = ((whole.box, cut.box), (whole.classes, cut.classes), (whole.masks, cut.masks))
    for one, other in pairs:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_deeper_levels_train_more_and_each_holds_the_one_before(base):
    parts = ("heads", "top", "deep", "all")
    held = [{id(v) for v in base.trained_variables(part)} for part in parts]
    for less, more in itertools.pairwise(held):
        assert less < more
    moving = {id(v) for v in base.variables() if "moving_" in v.name}
    assert moving
    assert not moving & held[-1]


def test_the_frozen_copy_stays_when_the_base_changes():
    base = mobilenet(1)
    inputs = noise(base, 1)
    frozen = frozen_part(base, "top")
    read = frozen_class_inputs(base, frozen, "top")
    _, activations = frozen(inputs)
    before = [level.numpy() for level in read(activations)]
    for variable in base.trained_variables("top"):
        variable.assign(variable * 1.5)
    for old, level in zip(before, read(activations), strict=True):
        np.testing.assert_array_equal(old, level)
    changed = base.upper(HeadInputs(activations, activations), "top").classes
    assert np.abs(changed[0] - before[0]).max() > 0.01


def test_the_extractor_is_whole_again_after_a_failure(base, monkeypatch):
    extractor = base.model._feature_extractor
    cut = BackboneCut(base.name, extractor, "top")
    activations, _ = cut.lower(noise(base, 1))
    backbone = extractor.classification_backbone
    monkeypatch.setattr(extractor, "_extract_features", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cut.upper(activations)
    assert extractor.classification_backbone is backbone


def test_another_backbone_names_the_level():
    base = mobilenet(1)
    extractor = base.model._feature_extractor
    renamed = tf.keras.Sequential([tf.keras.layers.Conv2D(4, 1, input_shape=(300, 300, 3))])
    vars(extractor)["classification_backbone"] = renamed
    with pytest.raises(UserError, match="cannot be trained at level top"):
        BackboneCut("a base", extractor, "top")


@pytest.mark.parametrize(("size", "n_out"), [((5, 7), 3), ((1, 1), 64), ((2, 19), 12)])
def test_a_narrow_convolution_is_the_layers_own(size, n_out):
    layer = tf.keras.layers.Conv2D(n_out, 3, padding="same", bias_initializer="normal")
    features = tf.random.stateless_normal([2, *size, 16], seed=[1, 2])
    expected = layer(features)
    np.testing.assert_allclose(_narrow_convolution([layer], features), expected, atol=1e-5)


def test_other_layers_are_left_to_keras():
    features = tf.zeros([1, 4, 4, 8])
    for layer in (
        tf.keras.layers.Conv2D(65, 3, padding="same"),
        tf.keras.layers.Conv2D(4, 1),
        tf.keras.layers.Conv2D(4, 3, padding="valid"),
        tf.keras.layers.Conv2D(4, 3, strides=2, padding="same"),
        tf.keras.layers.SeparableConv2D(4, 3, padding="same"),
    ):
        layer(features)
        assert _narrow_convolution([layer], features) is None
    assert _narrow_convolution([layer, layer], features) is None
