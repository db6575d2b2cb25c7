"""A head start: the new class begins as the mean of the base's own classes that it looks most like.

A rubber duck looks like COCO's bird, a raccoon like its dog and cat. The class head of those classes
already fires on the object; training has to move it, not to invent it (docs/accuracy.md).
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from duckdetect.bases.base import BaseModel, ClassHead
from duckdetect.features import FeatureCache

_MOST_ALIKE = 3


def give_head_start(base: BaseModel, cache: FeatureCache, own: ClassHead, n_plain: int) -> None:
    """Set the class head's weights for each new class; classes without a matched box are left.

    Args:
        base: The base model, its class head new; changed in place.
        cache: Features and targets, the plain views first.
        own: The base's own class head.
        n_plain: How many plain views there are; only these are looked at.
    """
    score = _own_scores(cache, own, n_plain)  # (n_plain, A, C)
    index = cache.class_index[:n_plain]
    for class_id in range(base.num_classes):
        matched = index == class_id
        if not matched.any():
            continue
        alike = np.argsort(-score[matched].mean(axis=0))[:_MOST_ALIKE] + 1  # 0 is the background
        base.set_class_weights(
            class_id,
            [kernel[..., alike].mean(axis=-1) for kernel in own.kernels],
            [bias[..., alike].mean(axis=-1) for bias in own.biases],
        )


def _own_scores(cache: FeatureCache, own: ClassHead, n_plain: int) -> np.ndarray:
    logits = []
    plain = cache.batch(np.arange(n_plain)).class_features
    for features, kernel, bias in zip(plain, own.kernels, own.biases, strict=True):
        q, columns = kernel.shape[-2:]
        flat = kernel.reshape(*kernel.shape[:3], q * columns)
        maps = tf.nn.conv2d(features, flat, 1, "SAME") + bias.ravel()
        logits.append(tf.reshape(maps, [n_plain, -1, columns]))  # (n_plain, h * w * q, C + 1)
    return tf.sigmoid(tf.concat(logits, axis=1)).numpy()[..., 1:]
