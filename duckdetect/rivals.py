"""Rivals: what the object might be taken for, among the base's own classes.

    rivals = choose_rivals(own, own_scores(base, cache, own, n_plain), n_classes)
    trust = rivals.trust(base.class_features(features, "heads"))  # (B, A, C), 0 to 1

Five pictures hardly say what the object is not, but the base knows many things well: what it takes for an
apple more surely than any of the training's ducks is an apple. Things of the kind that the object looks
most like (COCO's supercategories: for a duck and for a raccoon, the animals) are no rivals: a raccoon
does look like a cat to the base, now more, now less.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from duckdetect.bases.base import ClassHead
from duckdetect.headstart import OwnScores

_MOST = 16  # rivals of a class; with eight the figures fall, with all others they are the same


class Rivals:
    """R of the base's own classes against C new ones.

    Args:
        kernels: For each level (k, k, c, q, R) float32.
        biases: For each level (q, R) float32.
        usual: (R, C) float32, how surely a rival is seen in the new class's own objects; 1 where it is
            none of the class's rivals.

    Attributes:
        variables: Its weights.
    """

    def __init__(
        self, kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray], usual: np.ndarray
    ) -> None:
        self.usual = usual
        self._kernels = [tf.Variable(k.reshape(*k.shape[:3], -1), trainable=False) for k in kernels]
        self._biases = [tf.Variable(b.ravel(), trainable=False) for b in biases]
        self.variables = [*self._kernels, *self._biases]

    def trust(self, features: Sequence[tf.Tensor]) -> tf.Tensor:
        """How far no rival explains what an anchor sees, (B, A, C) float32 from 0 to 1.

        Args:
            features: For each level what the class head's last layer reads, (B, h, w, c).
        """
        n_rivals, _ = self.usual.shape
        levels = [
            tf.reshape(tf.nn.conv2d(f, k, 1, "SAME") + b, [tf.shape(f)[0], -1, n_rivals])
            for f, k, b in zip(features, self._kernels, self._biases, strict=True)
        ]
        seen = tf.sigmoid(tf.concat(levels, axis=1))  # (B, A, R)
        beyond = [
            tf.reduce_max(tf.nn.relu(seen - usual), axis=-1) for usual in np.transpose(self.usual)
        ]
        return 1 - tf.stack(beyond, axis=-1)


def choose_rivals(own: ClassHead, found: OwnScores, n_classes: int) -> Rivals | None:
    """The classes that the objects look like a little, but that are another kind of thing.

    Args:
        own: The base's own class head.
        found: What it makes of the new objects.
        n_classes: C.

    Returns:
        None if the base does not say of what kinds its classes are.
    """
    if own.groups is None or not len(found.class_id):
        return None
    groups = np.array(own.groups)
    usual = np.ones((len(groups), n_classes), np.float32)
    for class_id in np.unique(found.class_id):
        score = found.score[found.class_id == class_id]
        order = np.argsort(-score.mean(axis=0))
        chosen = order[groups[order] != groups[order[0]]][:_MOST]
        usual[chosen, class_id] = score.max(axis=0)[chosen]
    is_rival = (usual < 1).any(axis=1)
    columns = np.flatnonzero(is_rival) + 1  # 0 is the background
    return Rivals(
        [kernel[..., columns] for kernel in own.kernels],
        [bias[..., columns] for bias in own.biases],
        usual[is_rival],
    )
