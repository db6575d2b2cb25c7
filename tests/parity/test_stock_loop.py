"""Training on cached features gives the losses of the stock loop, and the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import mobilenet, retinanet, values, views

from benchmarks.stock import stock_step
from duckdetect.models.graphs import frozen_part
from duckdetect.training.config import TrainConfig
from duckdetect.training.feature_cache import cache_features
from duckdetect.training.finetune import train_heads
from duckdetect.training.loop import batch_index

STEPS = 20
CASES = [
    pytest.param(mobilenet, "heads", 1, id="mobilenet"),
    pytest.param(mobilenet, "heads", 3, id="mobilenet-3-classes"),
    pytest.param(retinanet, "heads", 1, id="retinanet"),
    pytest.param(retinanet, "towers", 2, id="retinanet-towers-2-classes"),
    pytest.param(mobilenet, "top", 2, id="mobilenet-top-2-classes"),
    pytest.param(mobilenet, "deep", 1, id="mobilenet-deep"),
    pytest.param(retinanet, "top", 1, id="retinanet-top"),
    pytest.param(retinanet, "deep", 2, id="retinanet-deep-2-classes"),
]


@pytest.mark.parametrize(("build", "part", "num_classes"), CASES)
def test_losses_and_weights_equal_the_stock_loops(build, part, num_classes):
    images = views(6, num_classes)
    config = TrainConfig.stock(
        steps=STEPS,
        train=part,
        seed=3,
        clip_norm=0.0,
        learning_rate=0.01 if part in ("heads", "towers") else 2e-5,
    )

    ours = build(num_classes)
    before = values(ours)
    cache = cache_features(
        ours, frozen_part(ours, part), images, len(images), patches=part == "heads"
    )
    history = train_heads(ours, cache, config, progress=False).history

    stock = build(num_classes)
    for variable, value in zip(stock.variables(), before, strict=True):
        variable.assign(value)
    trained = stock.trained_variables(part)
    optimizer = tf.keras.optimizers.SGD(config.learning_rate, momentum=config.momentum)
    step = stock_step(stock, optimizer, trained)
    for number, row in enumerate(history):
        index = batch_index(len(images), config.batch_size, config.seed, number)
        box_loss, class_loss = step([images[i] for i in index])
        assert row["box_loss"] == pytest.approx(box_loss, rel=1e-4, abs=1e-4), f"step {number}"
        assert row["class_loss"] == pytest.approx(class_loss, rel=1e-4, abs=1e-4), f"step {number}"

    if build is mobilenet and part == "heads":  # the others: random weights, or a tiny rate
        assert np.mean([r["loss"] for r in history[-5:]]) < history[0]["loss"]
    changed = {id(v) for v in ours.trained_variables(part)}
    for variable, old, theirs in zip(ours.variables(), before, values(stock), strict=True):
        if id(variable) in changed:
            np.testing.assert_allclose(variable.numpy(), theirs, atol=1e-4)
            # No box matches an anchor of some of MobileNet's levels: stock leaves their heads, too.
            assert (variable.numpy() != old).any() == (theirs != old).any(), variable.name
        else:
            np.testing.assert_array_equal(variable.numpy(), old, f"{variable.name} is not frozen")
