"""The two-stage base computes what the API's own model does: losses, proposals, detections."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import values
from helpers.rcnn_bases import matched_views, stock_losses, tiny_config, tiny_rcnn

from benchmarks.stock_rcnn import stock_step
from duckdetect.models.tfod.api import model_builder
from duckdetect.models.tfod.rcnn_losses import mask_loss, mask_slots, sample, second_stage_losses
from duckdetect.training.feature_cache import cache_views, stack, to_truth
from duckdetect.training.loop import batch_index
from duckdetect.training.two_stage import training_step

SGD = tf.keras.optimizers.SGD


def all_proposals_config(**options):
    """Without dice: all proposals are trained on, however many of them match."""
    config = tiny_config(**options)
    config.faster_rcnn.second_stage_batch_size = config.faster_rcnn.first_stage_max_proposals
    config.faster_rcnn.second_stage_balance_fraction = 1.0
    return config


@pytest.mark.parametrize("num_classes", [1, 3])
def test_second_stage_losses_equal_the_apis(num_classes):
    base = tiny_rcnn(num_classes, config=all_proposals_config())
    views = matched_views(base, 4)
    for variable in base.predictor.variables:
        variable.assign(tf.random.stateless_normal(variable.shape, (1, 2), stddev=0.1))
    stock = stock_losses(base, views)

    rows, logits, codes, masks = [], [], [], []
    for view in views:
        inputs, filled_hw = base.prepare(tf.constant(view.image))
        features = base.features(inputs[tf.newaxis])
        boxes, count = base.propose(*base.objectness(features, True), filled_hw[tf.newaxis])
        ground_truth = to_truth(base, view, filled_hw.numpy())
        rows.append(sample(base, boxes[0], count[0], ground_truth, tf.constant([0, 0])))
        deep = base.box_features(features, rows[-1].y1x1y2x2[tf.newaxis])
        box_codes, class_logits = base.box_heads(deep)
        codes.append(box_codes)
        logits.append(class_logits)
        masks.append(base.mask_head(deep[: base.n_positive]))
    targets = stack(rows)
    assert float(tf.reduce_sum(targets.box_weight)) > 5, "nothing matched: nothing is tested"
    box_loss, class_loss = second_stage_losses(
        base, tf.concat(codes, 0), tf.concat(logits, 0), targets
    )
    slots = mask_slots(targets)
    found = mask_loss(base, tf.gather_nd(tf.stack(masks), slots), slots, targets)
    assert float(box_loss) == pytest.approx(stock["box"], rel=1e-5)
    assert float(class_loss) == pytest.approx(stock["class"], rel=1e-5)
    assert float(found) == pytest.approx(stock["mask"], rel=1e-5)


def copy_values(source, target):
    for theirs, ours in zip(target.variables(), source.variables(), strict=True):
        theirs.assign(ours)


@pytest.mark.parametrize("part", ["heads", "second-stage", "all"])
def test_steps_equal_the_stock_loops(part):
    config = all_proposals_config()
    rpn = config.faster_rcnn
    rpn.first_stage_minibatch_size, rpn.first_stage_positive_balance_fraction = 10_000, 1.0
    ours = tiny_rcnn(2, config=config)
    views = matched_views(ours, 5)
    before = values(ours)
    stock = tiny_rcnn(2, config=config)
    copy_values(ours, stock)

    variables = ours.trained_variables(part)
    cache = cache_views(ours, views, len(views), part, 0, dtype=np.float32)
    size = 1 if part == "second-stage" else 2
    step = training_step(ours, cache, SGD(0.01, momentum=0.9), variables, size, 0)
    run = stock_step(stock, SGD(0.01, momentum=0.9), stock.trained_variables(part), size)
    # With all trained, the proposals follow the weights: rounding decides near ties after a while.
    for number in range(3 if part == "all" else 6):
        index = batch_index(len(views), size, 3, number)
        losses = {n: float(loss) for n, loss in step(index).items() if n.endswith("_loss")}
        theirs = run([views[i] for i in index])
        for name, loss in losses.items():
            assert loss == pytest.approx(theirs[name], rel=1e-4, abs=1e-5), f"{name}, step {number}"
        assert len(losses) == (5 if part == "all" else 3)

    trained = {id(v) for v in variables}
    for variable, old, theirs in zip(ours.variables(), before, values(stock), strict=True):
        if id(variable) in trained:
            np.testing.assert_allclose(variable.numpy(), theirs, atol=2e-5, err_msg=variable.name)
            assert (variable.numpy() != old).any(), f"{variable.name} was not trained"
        else:
            np.testing.assert_array_equal(variable.numpy(), old, f"{variable.name} is not frozen")


@pytest.mark.parametrize("part", ["heads", "second-stage"])
def test_what_half_precision_and_disk_cost(part):
    base = tiny_rcnn(2)
    views = matched_views(base, 4)
    found = []
    kinds = [(np.float32, 10**9), (np.float16, 0), (np.float16, 10**9)]
    for dtype, limit in kinds[: 3 if part == "heads" else 2]:
        cache = cache_views(base, views, len(views), part, 0, dtype=dtype, limit=limit)
        assert isinstance(cache.inputs[0], np.memmap) == (limit == 0)
        step = training_step(base, cache, SGD(0.0), base.trained_variables(part), 4, 0)
        losses = step(np.arange(4))
        found.append([float(losses[n]) for n in ("box_loss", "class_loss", "mask_loss")])
    exact, on_disk, *in_memory = found
    np.testing.assert_allclose(on_disk, exact, rtol=1e-3)
    assert all(half == on_disk for half in in_memory)


def test_detections_equal_the_apis():
    config = tiny_config()
    base = tiny_rcnn(3, config=config)
    for variable in base.predictor.variables:
        variable.assign(tf.random.stateless_normal(variable.shape, (1, 2), stddev=0.3))
    config = type(base.config).FromString(base.config.SerializeToString())
    head = config.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor
    head.mask_prediction_conv_depth = 128  # as the zoo's 90 classes make it
    other = model_builder.build(config, is_training=False)
    view = matched_views(base, 4)[3]
    inputs, shapes = other.preprocess(tf.constant(view.image[None], tf.float32))
    other.predict(inputs, shapes)  # makes its variables
    for name in vars(base.model):
        if name.endswith(("_features", "_conv", "_predictor")) and name.startswith("_"):
            ours = getattr(getattr(base.model, name), "variables", [])
            theirs = getattr(getattr(other, name), "variables", [])
            for source, target in zip(ours, theirs, strict=True):
                target.assign(source)
    theirs = other.postprocess(other.predict(inputs, shapes), shapes)

    prepared, filled_hw = base.prepare(tf.constant(view.image))

    def detect(threshold, mask_threshold):
        thresholds = tf.constant(threshold), tf.constant(mask_threshold)
        return base.detect(prepared[tf.newaxis], filled_hw, *thresholds)

    boxes, score, class_id, masks = detect(0.0, 0.0)
    n = int(theirs["num_detections"][0])
    assert n == len(boxes) > 10
    np.testing.assert_allclose(score, theirs["detection_scores"][0][:n], atol=1e-5)
    np.testing.assert_array_equal(class_id, theirs["detection_classes"][0][:n])
    np.testing.assert_allclose(boxes, theirs["detection_boxes"][0][:n], atol=1e-5)
    np.testing.assert_allclose(masks, theirs["detection_masks"][0][:n], atol=1e-4)

    fourth = float(score[3])
    assert [len(t) for t in detect(0.0, fourth)] == [n, n, n, 4]
    assert [len(t) for t in detect(fourth, fourth)] == [4, 4, 4, 4]
    assert [len(t) for t in detect(1.1, 1.1)] == [0, 0, 0, 0]
