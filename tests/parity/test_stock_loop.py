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


def small_retinanet(num_classes):
    return retinanet(num_classes, side_px=160)


SMALL_STEP = 5e-6
"""Of levels that run through the backbone. At the default rate the losses part by more than rounding
after some ten steps, for rounding grows through many layers that all move; at this one it does not."""

# Twenty steps of both bases; where a base has had them at another level, fewer.
CASES = [
    pytest.param(mobilenet, "heads", 3, 0.01, 20, id="mobilenet-3-classes"),
    pytest.param(small_retinanet, "heads", 1, 0.01, 8, id="retinanet"),
    pytest.param(small_retinanet, "towers", 2, 0.01, 8, id="retinanet-towers-2-classes"),
    pytest.param(mobilenet, "deep", 1, SMALL_STEP, 20, id="mobilenet-deep"),
    pytest.param(small_retinanet, "top", 1, SMALL_STEP, 20, id="retinanet-top"),
]


@pytest.mark.parametrize(("build", "part", "num_classes", "learning_rate", "steps"), CASES)
def test_losses_and_weights_equal_the_stock_loops(build, part, num_classes, learning_rate, steps):
    images = views(6, num_classes)
    config = TrainConfig.stock(
        steps=steps, train=part, seed=3, clip_norm=0.0, learning_rate=learning_rate
    )

    base = build(num_classes)
    before = values(base)
    cache = cache_features(
        base, frozen_part(base, part), images, len(images), patches=part == "heads"
    )
    history = train_heads(base, cache, config, progress=False).history
    ours = values(base)

    for variable, value in zip(base.variables(), before, strict=True):
        variable.assign(value)
    trained = base.trained_variables(part)
    optimizer = tf.keras.optimizers.SGD(config.learning_rate, momentum=config.momentum)
    step = stock_step(base, optimizer, trained)
    for number, row in enumerate(history):
        index = batch_index(len(images), config.batch_size, config.seed, number)
        box_loss, class_loss = step([images[i] for i in index])
        assert row["box_loss"] == pytest.approx(box_loss, rel=1e-4, abs=1e-4), f"step {number}"
        assert row["class_loss"] == pytest.approx(class_loss, rel=1e-4, abs=1e-4), f"step {number}"

    if build is mobilenet and part == "heads":  # the others: random weights, or a tiny rate
        assert np.mean([r["loss"] for r in history[-5:]]) < history[0]["loss"]
    changed = {id(v) for v in trained}
    ways, differences = [], []
    for variable, old, mine, theirs in zip(
        base.variables(), before, ours, values(base), strict=True
    ):
        if id(variable) in changed:
            np.testing.assert_allclose(mine, theirs, atol=1e-4)
            ways.append(np.linalg.norm(theirs - old))
            differences.append(np.linalg.norm(theirs - mine))
            # No box matches an anchor of some of MobileNet's levels: stock leaves their heads, too.
            assert (mine != old).any() == (theirs != old).any(), variable.name
        else:
            np.testing.assert_array_equal(mine, old, f"{variable.name} is not frozen")
    # However small the steps: what was learned is the same.
    assert np.linalg.norm(differences) < 0.01 * np.linalg.norm(ways)
