"""A head start: the new class begins as the mean of the base's own classes that it looks most like.

A rubber duck looks like COCO's bird, a raccoon like its dog and cat. The class head of those classes
already fires on the object; training has to move it, not to invent it (docs/accuracy.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from duckdetect.bases.base import BaseModel, ClassHead, TrainPart
from duckdetect.features import FeatureCache

_MOST_ALIKE = 3
_BATCH = 8  # views at a time


class OwnScores(NamedTuple):
    """What a base's own classes make of the new objects.

    Attributes:
        score: (M, C) float32, each anchor that is matched with an object, each of the base's classes.
        class_id: (M,) int32, the new class that the anchor is matched with.
    """

    score: np.ndarray
    class_id: np.ndarray


def own_scores(
    base: BaseModel, cache: FeatureCache, own: ClassHead, n_plain: int, part: TrainPart = "heads"
) -> OwnScores:
    """Score the objects of the plain views by the base's own classes.

    Args:
        base: The base model.
        cache: Features and targets, the plain views first.
        own: The base's own class head.
        n_plain: How many plain views there are; only these are looked at.
        part: What the cached features leave to the heads.
    """
    scores, class_ids = [], []
    for start in range(0, n_plain, _BATCH):
        batch = cache.batch(np.arange(start, min(start + _BATCH, n_plain)))
        logits = []
        features = base.class_features(batch.class_features, part)
        for level, kernel, bias in zip(features, own.kernels, own.biases, strict=True):
            q, columns = kernel.shape[-2:]
            flat = kernel.reshape(*kernel.shape[:3], q * columns)
            maps = tf.nn.conv2d(level, flat, 1, "SAME") + bias.ravel()
            logits.append(tf.reshape(maps, [len(level), -1, columns]))  # (B, h * w * q, C + 1)
        index = batch.class_index.numpy()
        matched = index >= 0
        scores.append(tf.sigmoid(tf.concat(logits, axis=1)).numpy()[matched][:, 1:])
        class_ids.append(index[matched])
    return OwnScores(np.concatenate(scores), np.concatenate(class_ids))


def give_head_start(base: BaseModel, own: ClassHead, found: OwnScores) -> None:
    """Set the class head's weights for each new class; classes without a matched box are left.

    Args:
        base: The base model, its class head new; changed in place.
        own: The base's own class head.
        found: What it makes of the new objects.
    """
    for class_id in np.unique(found.class_id):
        mean = found.score[found.class_id == class_id].mean(axis=0)
        alike = np.argsort(-mean)[:_MOST_ALIKE] + 1  # 0 is the background
        base.set_class_weights(
            int(class_id),
            [kernel[..., alike].mean(axis=-1) for kernel in own.kernels],
            [bias[..., alike].mean(axis=-1) for bias in own.biases],
        )
