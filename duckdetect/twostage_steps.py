"""Training steps of a Faster or Mask R-CNN on what twostage.py has kept of the views.

    step = training_step(base, cache, optimizer, base.trained_variables("heads"), 4, seed=0)
    losses = step(np.array([0, 3, 1, 4]))      # {"box_loss": ..., "class_loss": ..., ...}

The losses are those of the API's model (tests/test_parity_rcnn.py). Masks are computed for matched
proposals alone, where the API computes them for all and gives the others no weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from duckdetect.bases.od_api_rcnn import RcnnModel
from duckdetect.bases.od_api_rcnn_targets import (
    first_stage_losses,
    mask_loss,
    mask_slots,
    sample,
    second_stage_losses,
)
from duckdetect.bases.two_stage import ProposalTargets
from duckdetect.graphs import traced
from duckdetect.twostage import ViewCache, stack, truth_spec

Losses = dict[str, tf.Tensor]
Compute = Callable[[], Losses]
Step = Callable[[np.ndarray], Losses]
"""Trains on, or measures, the views with these numbers, (B,)."""

# As the zoo trains Mask R-CNN: gradients are scaled to this norm, all together.
_GRADIENT_NORM = 10.0


def training_step(
    base: RcnnModel,
    cache: ViewCache,
    optimizer: Any,
    variables: list[tf.Variable],
    batch_size: int,
    seed: int,
    masks: bool = True,
) -> Step:
    """A step of gradient descent on views given by their numbers; returns the losses by name.

    Args:
        base: The model.
        cache: From `cache_views`.
        optimizer: It changes `variables` in place; its count of steps, which is saved with it, and
            `seed` decide what "all" samples.
        variables: `base.trained_variables(cache.part, masks)`.
        batch_size: How many views each step is given.
        seed: See above.
        masks: Whether masks are learnt; without, the mask head is not run.
    """

    def descend(compute: Compute) -> Losses:
        with tf.GradientTape() as tape:
            losses = compute()
            total = tf.add_n(list(losses.values()))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(total, variables), _GRADIENT_NORM)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return losses

    dice = lambda: tf.stack([seed, tf.cast(optimizer.iterations, tf.int32)])  # noqa: E731
    return _on_views(base, cache, batch_size, masks, descend, dice)


def measuring_step(base: RcnnModel, cache: ViewCache, masks: bool) -> Step:
    """The losses of single views, without training."""
    return _on_views(base, cache, 1, masks, lambda compute: compute(), lambda: tf.constant([0, 0]))


def _on_views(
    base: RcnnModel,
    cache: ViewCache,
    batch_size: int,
    masks: bool,
    within: Callable[[Compute], Losses],
    dice: Callable[[], tf.Tensor],
) -> Step:
    masks = masks and base.has_masks

    @traced
    def on_features(inputs: tuple[tf.Tensor, ...], targets: ProposalTargets) -> Losses:
        kept = [tf.cast(array, tf.float32) for array in inputs]
        if cache.part != "heads":
            return within(lambda: _box_losses(base, kept[0], targets, masks))
        mean = tf.reshape(kept[0], [-1, 1, 1, kept[0].shape[-1]])
        return within(lambda: head_losses(base, mean, kept[1] if masks else None, targets))

    @traced(
        input_signature=[
            tf.TensorSpec([batch_size, *base.input_hw, 3], tf.float32),
            tf.TensorSpec([batch_size, 2], tf.float32),
            [truth_spec(base)] * batch_size,
        ]
    )
    def on_pictures(inputs: tf.Tensor, filled_hw: tf.Tensor, truths: list[Any]) -> Losses:
        return within(lambda: _picture_losses(base, inputs, filled_hw, truths, dice(), masks))

    def step(index: np.ndarray) -> Losses:
        if cache.targets is not None:
            used = cache.inputs if masks else cache.inputs[:1]
            inputs = tuple(tf.constant(array[index]) for array in used)
            return on_features(
                inputs, ProposalTargets(*(tf.gather(field, index) for field in cache.targets))
            )
        pictures = tf.constant(cache.inputs[0][index])
        filled_hw = tf.constant(cache.filled_hw[index])
        return on_pictures(pictures, filled_hw, [cache.truths[i] for i in index])

    return step


def _picture_losses(
    base: RcnnModel,
    inputs: tf.Tensor,
    filled_hw: tf.Tensor,
    truths: list[Any],
    seed: tf.Tensor,
    masks: bool,
) -> Losses:
    """All losses, those of the proposals too, from the pictures on."""
    features = base.features(inputs)
    first = base.objectness(features, training=True)
    box_loss, class_loss = first_stage_losses(base, *first, truths, seed)
    boxes, count = base.propose(*first, filled_hw)
    rows = []
    for i, truth in enumerate(truths):
        own_seed = tf.random.experimental.stateless_fold_in(seed, i + 1)
        rows.append(sample(base, boxes[i], count[i], truth, own_seed))
    return {
        "proposal_box_loss": box_loss,
        "proposal_class_loss": class_loss,
        **_box_losses(base, features, stack(rows), masks),
    }


def _box_losses(
    base: RcnnModel, features: tf.Tensor, targets: ProposalTargets, masks: bool
) -> Losses:
    """The losses from the picture's map on."""
    deep = base.box_features(features, targets.y1x1y2x2)  # (B * P, h, w, c)
    by_picture = tf.reshape(deep, [-1, base.n_sampled, *base.deep_shape])
    return head_losses(base, deep, by_picture if masks else None, targets)


def head_losses(
    base: RcnnModel, deep: tf.Tensor, by_slot: tf.Tensor | None, targets: ProposalTargets
) -> Losses:
    """The losses from the second stage's features on.

    Args:
        base: The model.
        deep: (B * P, h, w, c), or their mean (B * P, 1, 1, c).
        by_slot: (B, at least M, h, w, c) for the mask loss, or None to do without.
        targets: Of B pictures.
    """
    box_loss, class_loss = second_stage_losses(base, *base.box_heads(deep), targets)
    losses = {"box_loss": box_loss, "class_loss": class_loss}
    if by_slot is not None:
        slots = mask_slots(targets)
        logits = base.mask_head(tf.gather_nd(by_slot, slots))
        losses["mask_loss"] = mask_loss(base, logits, slots, targets)
    return losses
