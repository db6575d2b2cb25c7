"""A head start for Faster and Mask R-CNN: as headstart.py, for the heads of boxes and masks as well.

A new class begins as the mean of the three of the base's own classes that the second stage takes the
labelled boxes for: its row of the class head, and the boxes and masks that go with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from duckdetect.augment import View
from duckdetect.bases.od_api_rcnn import RcnnModel
from duckdetect.bases.two_stage import LastLayer
from duckdetect.features import prepare_function
from duckdetect.graphs import traced
from duckdetect.pictures import shrink
from duckdetect.twostage import to_truth

_MOST_ALIKE = 3
# Enough to tell what a class looks like; each costs a run of the whole model.
_MOST_PICTURES = 20


def give_head_start(
    base: RcnnModel, own: dict[str, LastLayer], plain: Sequence[View]
) -> dict[int, list[int]]:
    """Set the class-specific layers' weights for each new class that has a box; others are left.

    Args:
        base: The model, its class-specific layers new; changed in place.
        own: These layers as they were published, from `od_api_weights.checkpoint_last_layers`.
        plain: The pictures.

    Returns:
        For each class set, the base's own classes (from 0) that it was made of.
    """
    mean, class_id = _box_features(base, plain)
    logits = mean @ own["class"].kernel + own["class"].bias  # (N, C + 1)
    score = tf.nn.softmax(logits).numpy()[:, 1:]
    made: dict[int, list[int]] = {}
    for new in range(base.num_classes):
        if not (class_id == new).any():
            continue
        alike = np.argsort(-score[class_id == new].mean(axis=0))[:_MOST_ALIKE]
        made[new] = [int(c) for c in alike]
        for name, theirs in own.items():
            first = int(name == "class")  # the class head counts the background
            layer, _ = base.last_layers()[name]
            ours = LastLayer(layer.kernel.numpy(), layer.bias.numpy())
            if first:
                _copy_mean(theirs, [0], ours, 0, base.num_classes + 1)
            _copy_mean(theirs, alike + first, ours, new + first, base.num_classes + first)
            layer.kernel.assign(ours.kernel)
            layer.bias.assign(ours.bias)
    return made


def _copy_mean(
    theirs: LastLayer, from_classes: Sequence[int] | np.ndarray, ours: LastLayer, to: int, n: int
) -> None:
    """Set class `to` of `n`; channels are numbered by class, then by what there is of each."""
    for source, target in ((theirs.kernel, ours.kernel), (theirs.bias, ours.bias)):
        per_class = target.shape[-1] // n
        by_class = source.reshape(*source.shape[:-1], -1, per_class)
        view = target.reshape(*target.shape[:-1], n, per_class)  # shares the target's memory
        view[..., to, :] = by_class[..., from_classes, :].mean(axis=-2)


def _box_features(base: RcnnModel, plain: Sequence[View]) -> tuple[np.ndarray, np.ndarray]:
    """What the class head sees of the labelled boxes, (N, c) float32, and their classes (N,)."""
    prepare = prepare_function(base)

    @traced(
        input_signature=[
            tf.TensorSpec([*base.input_hw, 3], tf.float32),
            tf.TensorSpec([None, 4], tf.float32),
        ]
    )
    def look(inputs: tf.Tensor, y1x1y2x2: tf.Tensor) -> tf.Tensor:
        features = base.features(inputs[tf.newaxis])
        return tf.reduce_mean(base.box_features(features, y1x1y2x2[tf.newaxis]), axis=[1, 2])

    means, classes = [], []
    seen = dict.fromkeys(range(base.num_classes), 0)
    for view in plain:
        held = set(view.class_id.tolist())
        if not any(seen[c] < _MOST_PICTURES for c in held):
            continue
        inputs, filled_hw = prepare(shrink(view.picture, base.input_hw))
        truth = to_truth(base, view, filled_hw.numpy())
        if len(truth.class_id):
            means.append(look(inputs, truth.y1x1y2x2).numpy())
            classes.append(truth.class_id.numpy())
            for c in held:
                seen[c] += 1
    return np.concatenate(means), np.concatenate(classes)
