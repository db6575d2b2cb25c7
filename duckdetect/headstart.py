"""A head start: the new class begins as the mean of the base's own classes that it looks most like.

A rubber duck looks like COCO's bird, a raccoon like its dog and cat. The class head of those classes
already fires on the object; training has to move it, not to invent it (docs/accuracy.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from duckdetect.bases.base import BaseModel, ClassHead, TrainPart
from duckdetect.cells import cut_patches
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

    Only where an anchor is matched: whole maps of all classes would take as long as the network.

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
        maps = [level.numpy() for level in base.class_features(batch.class_features, part)]
        for view, class_index in enumerate(batch.class_index.numpy()):
            first = 0
            levels = zip(base.levels, maps, own.kernels, own.biases, strict=True)
            for level, of_views, kernel, bias in levels:
                q, columns = bias.shape
                of_cell = class_index[first : first + level.n_anchors].reshape(-1, q)
                first += level.n_anchors
                cells = np.flatnonzero((of_cell >= 0).any(axis=1))
                weights = kernel.reshape(-1, q * columns)
                seen = cut_patches(of_views[view], cells, kernel.shape[0])
                logits = seen.reshape(len(cells), len(weights)) @ weights + bias.ravel()
                matched = of_cell[cells] >= 0
                foreground = logits.reshape(-1, q, columns)[matched][:, 1:]
                scores.append(tf.sigmoid(foreground).numpy())
                class_ids.append(of_cell[cells][matched])
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
