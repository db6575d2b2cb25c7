"""Sampling of proposals and the losses of Faster and Mask R-CNN, as the Object Detection API has them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from duckdetect.models.interfaces import GroundTruth, ProposalTargets
from duckdetect.models.tfod.api import box_list
from duckdetect.models.tfod.rcnn import RcnnModel


def int32_seed(seed: int) -> int:
    """A seed of any size as TensorFlow's stateless operations take it."""
    return seed % (1 << 31)


class SeededSampler:
    """Stands in for the API's random sampler of anchors: the same rule, seeded.

    Attributes:
        seed: (2,) int32, set before each use; each call draws on from it.
    """

    def __init__(self, positive_fraction: float) -> None:
        self._positive_fraction = positive_fraction
        self.seed: Any = (0, 0)

    def subsample(self, indicator: tf.Tensor, batch_size: int, labels: tf.Tensor) -> tf.Tensor:
        """Choose up to `batch_size` of (A,) indicated anchors; so many of them positive, at most."""
        dice = tf.random.stateless_uniform(tf.shape(indicator), self.seed)
        self.seed = tf.random.experimental.stateless_fold_in(self.seed, 1)
        positive = _chosen(indicator & labels, dice, int(self._positive_fraction * batch_size))
        negative = _chosen(indicator & ~labels, dice, batch_size - tf.size(positive))
        index = tf.concat([positive, negative], axis=0)
        flags = tf.scatter_nd(index[:, tf.newaxis], tf.ones_like(index), tf.shape(indicator))
        return flags > 0


def _chosen(allowed: tf.Tensor, dice: tf.Tensor, most: Any) -> tf.Tensor:
    """Indices of up to `most` of the allowed, in random order."""
    index = tf.cast(tf.where(allowed)[:, 0], tf.int32)
    order = tf.argsort(tf.gather(dice, index), direction="DESCENDING")
    return tf.gather(index, order)[:most]


def sample(
    base: RcnnModel, boxes: tf.Tensor, count: tf.Tensor, ground_truth: GroundTruth, seed: tf.Tensor
) -> ProposalTargets:
    """Choose an image's proposals to train on and what each shall predict.

    Those that match a box stand first, so that their masks come first, too.

    Args:
        base: The model.
        boxes: (K, 4) y1x1y2x2 in pixels of the input, zero-padded.
        count: Scalar, how many of them are real.
        ground_truth: The image's boxes and masks.
        seed: (2,) int32.
    """
    scale = tf.constant([*base.input_hw, *base.input_hw], tf.float32)
    background = tf.one_hot(0, base.num_classes + 1)
    class_target, class_weight, box_code, box_weight, match = (
        base.model._detector_target_assigner.assign(
            box_list.BoxList(boxes),
            box_list.BoxList(ground_truth.y1x1y2x2 * scale),
            tf.one_hot(ground_truth.class_id + 1, base.num_classes + 1),
            unmatched_class_label=background,
            groundtruth_weights=tf.ones_like(ground_truth.class_id, tf.float32),
        )
    )
    class_index = tf.argmax(class_target, axis=1, output_type=tf.int32)  # (K,)
    class_weight = tf.reduce_mean(class_weight, axis=1)
    usable = (tf.range(tf.shape(boxes)[0]) < count) & (class_weight > 0)
    dice = tf.random.stateless_uniform([tf.shape(boxes)[0]], seed)
    positive = _chosen(usable & (class_index > 0), dice, base.n_positive)
    negative = _chosen(usable & (class_index == 0), dice, base.n_sampled - tf.size(positive))
    chosen = tf.concat([positive, negative], axis=0)

    def take(values: tf.Tensor) -> tf.Tensor:
        picked = tf.gather(values, chosen)
        missing = base.n_sampled - tf.shape(picked)[0]
        padded = tf.pad(picked, [[0, missing]] + [[0, 0]] * (values.shape.rank - 1))
        return tf.ensure_shape(padded, [base.n_sampled, *values.shape[1:]])

    y1x1y2x2 = take(base.to_parts(boxes))
    box_weight = take(box_weight)
    n = base.n_positive
    truth_index = tf.maximum(take(match)[:n], 0)
    # A mask without a pixel is beyond the last box, so that there is one in any image.
    masks = tf.pad(ground_truth.masks, [[0, 1], [0, 0], [0, 0]])
    cropped = tf.image.crop_and_resize(
        masks[..., tf.newaxis], y1x1y2x2[:n], truth_index, base.mask_hw
    )[..., 0]
    labelled = tf.pad(tf.cast(ground_truth.has_mask, tf.float32), [[0, 1]])
    return ProposalTargets(
        y1x1y2x2=y1x1y2x2,
        valid=take(tf.ones_like(dice)),
        class_index=take(class_index),
        class_weight=take(class_weight),
        box_code=take(box_code),
        box_weight=box_weight,
        mask_target=cropped,
        mask_weight=box_weight[:n] * tf.gather(labelled, truth_index),
    )


def second_stage_losses(
    base: RcnnModel,
    box_codes: tf.Tensor,
    class_logits: tf.Tensor,
    targets: ProposalTargets,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The box and the class loss, two scalars, as `FasterRCNNMetaArch._loss_box_classifier`.

    Args:
        base: The model.
        box_codes: (B * P, C or 1, 4).
        class_logits: (B * P, C + 1).
        targets: Of B images.
    """
    model = base.model
    batch, n = tf.shape(targets.valid)[0], base.n_sampled
    share = targets.valid / tf.maximum(tf.reduce_sum(targets.valid, axis=1, keepdims=True), 1.0)
    share /= tf.cast(batch, tf.float32)  # (B, P)
    class_index = tf.reshape(targets.class_index, [-1])
    if box_codes.shape[1] == 1:
        codes = box_codes[:, 0]
    else:
        codes = tf.gather(box_codes, tf.maximum(class_index - 1, 0), batch_dims=1)
    box_loss = model._second_stage_localization_loss(
        tf.reshape(codes, [batch, n, 4]), targets.box_code, weights=targets.box_weight
    )
    one_hot = tf.one_hot(targets.class_index, base.num_classes + 1)
    class_loss = model._second_stage_classification_loss(
        tf.reshape(class_logits, [batch, n, -1]),
        one_hot,
        weights=targets.class_weight[..., tf.newaxis] * tf.ones_like(one_hot),
    )
    if class_loss.shape.rank == 3:  # a sigmoid loss comes class by class
        class_loss = tf.reduce_sum(class_loss, axis=2)
    return (
        model._second_stage_loc_loss_weight * tf.reduce_sum(box_loss * share),
        model._second_stage_cls_loss_weight * tf.reduce_sum(class_loss * share),
    )


def mask_slots(targets: ProposalTargets) -> tf.Tensor:
    """Which proposals' masks count: (S, 2) int32, image and slot; one at least, of weight 0."""
    slots = tf.cast(tf.where(targets.mask_weight > 0), tf.int32)
    # TensorFlow's convolution gradients want a batch.
    return tf.cond(tf.shape(slots)[0] > 0, lambda: slots, lambda: tf.zeros([1, 2], tf.int32))


def mask_loss(
    base: RcnnModel, mask_logits: tf.Tensor, slots: tf.Tensor, targets: ProposalTargets
) -> tf.Tensor:
    """The mask loss, a scalar, of the slots that count: all others have no weight.

    Args:
        base: The model.
        mask_logits: (S, C or 1, mask height, mask width).
        slots: (S, 2) from `mask_slots`.
        targets: Of B images.
    """
    if mask_logits.shape[1] == 1:
        chosen = mask_logits[:, 0]
    else:
        index = tf.maximum(tf.gather_nd(targets.class_index, slots) - 1, 0)
        chosen = tf.gather(mask_logits, index, batch_dims=1)
    n_pixels = base.mask_hw[0] * base.mask_hw[1]
    weight = tf.gather_nd(targets.mask_weight, slots)  # (S,)
    losses = base.model._second_stage_mask_loss(
        tf.reshape(chosen, [1, -1, n_pixels]),
        tf.reshape(tf.gather_nd(targets.mask_target, slots), [1, -1, n_pixels]),
        weights=weight[tf.newaxis, :, tf.newaxis],
    )
    normaliser = tf.maximum(tf.reduce_sum(weight) * n_pixels, 1.0)
    return base.model._second_stage_mask_loss_weight * tf.reduce_sum(losses) / normaliser


def first_stage_losses(
    base: RcnnModel,
    codes: tf.Tensor,
    logits: tf.Tensor,
    anchors: tf.Tensor,
    truths: list[GroundTruth],
    seed: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The proposal network's box and class loss, two scalars; for shapes see `RcnnModel.objectness`."""
    sampler = SeededSampler(base.config.faster_rcnn.first_stage_positive_balance_fraction)
    sampler.seed = seed
    base.model._first_stage_sampler = sampler
    scale = tf.constant([*base.input_hw, *base.input_hw], tf.float32)
    losses = base.model._loss_rpn(
        codes,
        logits,
        anchors,
        [box_list.BoxList(ground_truth.y1x1y2x2 * scale) for ground_truth in truths],
        None,
        [tf.ones_like(ground_truth.class_id, tf.float32) for ground_truth in truths],
    )
    return losses["Loss/RPNLoss/localization_loss"], losses["Loss/RPNLoss/objectness_loss"]
