"""The heads' losses and accuracy on a batch of cached features: in training and in validation."""

from __future__ import annotations

import tensorflow as tf

from duckdetect.bases.base import BaseModel, TrainPart
from duckdetect.features import Batch


def head_losses(
    base: BaseModel, batch: Batch, patches: bool, part: TrainPart
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """Run the heads on a batch.

    Args:
        base: The base model.
        batch: Cached features and targets.
        patches: Whether the box features are patches around matched cells.
        part: What the cached features leave to the heads.

    Returns:
        `box_loss` and `class_loss`; the box codes of the batch's anchors; the class logits
        (B, A, C + 1).
    """
    if patches:
        box_codes = base.patch_codes(batch.box_features)
    else:
        box_codes = base.box_codes(batch.box_features, part)
    logits = base.class_logits(batch.class_features, part)
    box_loss, class_loss = base.losses(
        box_codes,
        logits,
        batch.box_target,
        batch.box_weight,
        batch.class_index,
        batch.class_weight,
    )
    return {"box_loss": box_loss, "class_loss": class_loss}, box_codes, logits


def class_accuracy(logits: tf.Tensor, class_index: tf.Tensor) -> tf.Tensor:
    """The part of the anchors matched with an object whose class is told rightly.

    An anchor tells the class of the highest score, or nothing where that score is below one half. The
    logits' background column is not looked at: these heads give each class a probability of its own,
    by a sigmoid, and their targets are zero in every column where there is nothing, so that nothing
    ever raises the background's.

    Args:
        logits: (B, A, C + 1), column 0 is the background.
        class_index: (B, A) int32, -1 where an anchor is matched with nothing.

    Returns:
        A scalar from 0 to 1, NaN if no anchor is matched.
    """
    matched = class_index >= 0
    of_class = tf.boolean_mask(logits, matched)[:, 1:]  # (M, C)
    said = tf.argmax(of_class, axis=-1, output_type=tf.int32)
    sure = tf.reduce_max(of_class, axis=-1) >= 0  # a sigmoid of one half
    right = sure & (said == tf.boolean_mask(class_index, matched))
    return tf.reduce_mean(tf.cast(right, tf.float32))
