"""Post-processing of one-stage detections: suppression, box voting, Soft-NMS, two-scale fusion.

Non-maximum suppression; box voting (Gidaris and Komodakis 2015): a detection moves to the weighted mean
of the boxes that overlap it; Gaussian Soft-NMS rescoring (Bodla et al. 2017); fusion of the scores at the
base scale and the high-resolution scale; and suppression by confusable base classes: a detection scores
lower where one of the base's own classes fires more than on any object trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from duckdetect.models.interfaces import Level

Found = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]

# Of four passes at the base scale, the high-resolution one may cost three; its cost grows as its area.
_HIGH_RES_COST = 3

# Small objects get a larger one yet, in which they are this many pixels wide, at twelve passes' cost at
# most (docs/accuracy.md).
_OBJECT_PX = 95
_MOST_HIGH_RES_COST = 12

# Of the base scale's side. What is larger in the high-resolution image, the base scale sees better: the
# other takes parts for wholes.
HIGH_RES_MOST_SIDE = 0.35 * 508 / 300

# Of the image's side: as large as the smallest anchors of the base scale. Of smaller boxes it only says,
# beside the high-resolution scale, that something is there: its own lie badly, and count as a second
# object (docs/accuracy.md).
BASE_LEAST_SIDE = 0.1

# Boxes that overlap a detection by more than this IoU vote on its place; the suppression's own.
_VOTE_IOU = 0.6

_VOTERS = 600  # of the best anchors; those beyond hardly score

# Soft-NMS's sigma (Bodla et al., arXiv 1704.04503, section 3): a duplicate of an object mostly lies
# beside it, below the suppression's IoU.
_SOFT_NMS_SIGMA = 0.5

# The base scale's weight in the fused score is a tenth; it may well have missed a small object.
_BASE_WEIGHT = 0.1

_SAME_IOU = 0.4

_LEAST_BASE_SCORE = 0.02

_FUSED = 300  # of each scale's best boxes


def suppress(nms: Any, y1x1y2x2: tf.Tensor, score: tf.Tensor) -> Found:
    """TensorFlow's fused suppression with the configuration's settings.

    Args:
        nms: The configuration's `batch_non_max_suppression`.
        y1x1y2x2: (B, A, 4).
        score: (B, A, C).
    """
    found = tf.image.combined_non_max_suppression(
        y1x1y2x2[:, :, tf.newaxis],
        score,
        max_output_size_per_class=nms.max_detections_per_class,
        max_total_size=nms.max_total_detections,
        iou_threshold=nms.iou_threshold,
        score_threshold=nms.score_threshold,
    )
    class_id = tf.cast(found.nmsed_classes, tf.int32)
    return found.nmsed_boxes, found.nmsed_scores, class_id, found.valid_detections


def box_voting(found: Found, y1x1y2x2: tf.Tensor, score: tf.Tensor) -> Found:
    """Box voting: move each detection to the mean of the boxes it suppressed, by score and IoU.

    Gidaris and Komodakis 2015 (arXiv 1505.01749, section 4), here weighted by the squared IoU too.
    Arguments as `suppress` has them.
    """
    kept, _, class_id, _ = found
    boxes, score = _best(y1x1y2x2, score, _VOTERS)
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    by_class = tf.transpose(score, [0, 2, 1])  # (B, C, V)
    overlap = _iou(kept, boxes)  # (B, D, V)
    weight = tf.gather(by_class, class_id, batch_dims=1) * overlap**2
    weight = tf.where(overlap > _VOTE_IOU, weight, 0.0)
    total = tf.reduce_sum(weight, axis=-1, keepdims=True)
    mean = tf.matmul(weight, boxes) / tf.maximum(total, 1e-12)
    # A detection whose score is too low to be among the voters stays where it is.
    return (tf.where(total > 1e-12, mean, kept), *found[1:])


def small_only(y1x1y2x2: tf.Tensor, score: tf.Tensor, most_side: float) -> tf.Tensor:
    """Scores (B, A, C), 0 where the box is larger than `most_side`, of the image's side."""
    sides = y1x1y2x2[..., 2:] - y1x1y2x2[..., :2]
    area = tf.reduce_prod(tf.maximum(sides, 0.0), axis=-1, keepdims=True)
    return tf.where(area < most_side**2, score, 0.0)


def fuse_scales(
    fine_y1x1y2x2: tf.Tensor, fine_score: tf.Tensor, y1x1y2x2: tf.Tensor, score: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scale fusion: the high-resolution boxes, with a weighted geometric mean of both scales' scores.

    What scores high at one scale alone is seldom an object.

    Args:
        fine_y1x1y2x2: (B, F, 4).
        fine_score: (B, F, C).
        y1x1y2x2: (B, A, 4), of the base scale.
        score: (B, A, C).

    Returns:
        (B, N, 4) and (B, N, C), N at most 300.
    """
    fine_y1x1y2x2, fine_score = _best(fine_y1x1y2x2, fine_score, _FUSED)
    y1x1y2x2, score = _best(y1x1y2x2, score, _FUSED)
    same = _iou(fine_y1x1y2x2, y1x1y2x2) > _SAME_IOU  # (B, N, M)
    of_base = [
        tf.reduce_max(tf.where(same, of_class[:, tf.newaxis], 0.0), axis=-1)  # (B, N)
        for of_class in tf.unstack(score, axis=-1)
    ]
    base_score = tf.maximum(tf.stack(of_base, axis=-1), _LEAST_BASE_SCORE)
    return fine_y1x1y2x2, fine_score ** (1 - _BASE_WEIGHT) * base_score**_BASE_WEIGHT


def soft_nms(found: Found) -> Found:
    """Gaussian Soft-NMS rescoring (Bodla et al. 2017, arXiv 1704.04503) of what suppression left.

    A detection scores lower the more it overlaps higher-scoring ones of its class; sorted by score.
    """
    boxes, score, class_id, count = found
    rank = tf.range(tf.shape(score)[1])
    surer = rank[tf.newaxis] < rank[:, tf.newaxis]  # (D, D)
    same = class_id[:, tf.newaxis] == class_id[:, :, tf.newaxis]  # (B, D, D)
    overlap = tf.where(surer & same, _iou(boxes, boxes), 0.0)
    score *= tf.exp(-tf.reduce_sum(overlap**2, axis=-1) / _SOFT_NMS_SIGMA)
    order = tf.argsort(score, direction="DESCENDING", stable=True)
    return (*(tf.gather(t, order, batch_dims=1) for t in (boxes, score, class_id)), count)


def high_res_side(side_px: int, object_side: float = 1.0) -> int:
    """The side of the high-resolution input, congruent modulo 16.

    It costs as much as three passes at the base scale, or more where objects are so small, as a part of
    the image's side, that they would be less than 95 pixels wide.

    Congruent, so that the network's first convolutions pad both inputs the same way.
    """
    least, most = (np.sqrt(cost) * side_px for cost in (_HIGH_RES_COST, _MOST_HIGH_RES_COST))
    wanted = np.clip(_OBJECT_PX / max(object_side, 1e-6), least, most)
    return int(side_px + (wanted - side_px) // 16 * 16)


def object_side_of(high_res_px: int) -> float:
    """An object's side, of the image's, for which `high_res_side` gives this side again."""
    return _OBJECT_PX / (high_res_px + 0.5)


def high_res_anchors(
    anchors: np.ndarray,
    levels: Sequence[Level],
    input_hw: tuple[int, int],
    high_res_hw: tuple[int, int],
) -> np.ndarray | None:
    """The anchors of the high-resolution input.

    A cell's anchors lie a little beside the centre of its receptive field, by a distance that grows
    along the grid and is learned by the box head; on the larger grid they are shifted by its mean.

    Args:
        anchors: (A, 4) y1x1y2x2, parts of the base input.
        levels: The feature maps of the base input.
        input_hw: The base input, pixels.
        high_res_hw: The larger one.

    Returns:
        (A', 4) float32, parts of the larger input; None if the levels are not what is left of the
        input by halving it time and again by 3x3 convolutions, as MobileNet does.
    """
    base_scale = [_seen(side, len(levels)) for side in input_hw]
    high_res = [_seen(side, len(levels)) for side in high_res_hw]
    made, first = [], 0
    for i, level in enumerate(levels):
        if (level.height, level.width) != (base_scale[0][i][1], base_scale[1][i][1]):
            return None
        cell = anchors[first : first + level.anchors_per_cell]
        first += level.n_anchors
        size = (cell[:, 2:] - cell[:, :2]) * input_hw / np.array(high_res_hw)  # (q, 2)
        centre = []
        for axis in range(2):
            seen_first, n, stride = base_scale[axis][i]
            beside = ((np.arange(n) + 0.5) * input_hw[axis] / n - np.arange(n) * stride).mean()
            beside -= seen_first
            seen_first, n, stride = high_res[axis][i]
            centre.append((seen_first + np.arange(n) * stride + beside) / high_res_hw[axis])
        grid = np.stack(np.meshgrid(*centre, indexing="ij"), axis=-1)[:, :, np.newaxis]
        made.append(np.concatenate([grid - size / 2, grid + size / 2], axis=-1).reshape(-1, 4))
    return np.concatenate(made).astype(np.float32)


def _seen(side_px: int, n_levels: int) -> list[tuple[int, int, int]]:
    """For each level: the receptive field's centre of cell 0, pixels; cells a side; stride, pixels.

    A 3x3 convolution of stride 2 with "same" padding pads an odd side at both ends, and an even one at
    its end alone, which moves the receptive field by one cell.
    """
    found, centre, stride, n = [], 0, 1, side_px
    for halving in range(3 + n_levels):
        centre += stride if n % 2 == 0 else 0
        n, stride = -(-n // 2), 2 * stride
        if halving >= 3:  # the first level's stride is 16
            found.append((centre, n, stride))
    return found


def _best(y1x1y2x2: tf.Tensor, score: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The `most` boxes of the highest scores: (B, most, 4) and (B, most, C)."""
    n = tf.minimum(most, tf.shape(score)[1])
    best = tf.math.top_k(tf.reduce_max(score, axis=-1), n).indices
    return tf.gather(y1x1y2x2, best, batch_dims=1), tf.gather(score, best, batch_dims=1)


def _iou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Pairwise IoU of (B, D, 4) and (B, V, 4): (B, D, V)."""
    a, b = a[:, :, tf.newaxis], b[:, tf.newaxis]
    sides = tf.minimum(a[..., 2:], b[..., 2:]) - tf.maximum(a[..., :2], b[..., :2])
    both = tf.reduce_prod(tf.maximum(sides, 0.0), axis=-1)
    area_a = tf.reduce_prod(a[..., 2:] - a[..., :2], axis=-1)
    area_b = tf.reduce_prod(b[..., 2:] - b[..., :2], axis=-1)
    return both / tf.maximum(area_a + area_b - both, 1e-12)


class ConfusableClasses:
    """R of the base's own classes that suppress detections of the C new ones.

    Args:
        kernels: For each level (k, k, c, q, R) float32.
        biases: For each level (q, R) float32.
        own_score: (R, C) float32, the highest score of a base class on the new class's own objects;
            1 where it does not suppress that class.
        class_inputs: From the activations at the cut to what the base's own class head read before
            training, as it was (`graphs.frozen_class_inputs`); None where they are the same.

    Attributes:
        variables: Its weights.
    """

    def __init__(
        self,
        kernels: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        own_score: np.ndarray,
        class_inputs: Callable[[Sequence[tf.Tensor]], Sequence[tf.Tensor]] = list,
    ) -> None:
        self._class_inputs = class_inputs
        self.own_score = own_score

        def kept(value: np.ndarray, name: str) -> tf.Variable:
            return tf.Variable(value.astype(np.float32), trainable=False, name=f"confusable_{name}")

        shaped = [k.reshape(*k.shape[:3], -1) for k in kernels]
        self._kernels = [kept(k, f"kernel_{i}") for i, k in enumerate(shaped)]
        self._biases = [kept(b.ravel(), f"bias_{i}") for i, b in enumerate(biases)]
        self._own_score = kept(own_score, "own_score")
        self.variables = [*self._kernels, *self._biases, self._own_score]

    @classmethod
    def joined(cls, saved: Mapping[str, np.ndarray], new: ConfusableClasses) -> ConfusableClasses:
        """Those of a saved detector for its classes, and new ones for the classes after these.

        Args:
            saved: The detector's variables by name.
            new: (R, C), the detector's classes first.
        """
        of_old = saved["confusable_own_score:0"]  # (R', C')
        n_old, n_new = of_old.shape[0], new.own_score.shape[0]
        kernels: list[np.ndarray] = []
        biases: list[np.ndarray] = []
        for i, (kernel, bias) in enumerate(zip(new._kernels, new._biases, strict=True)):
            old = saved[f"confusable_kernel_{i}:0"], saved[f"confusable_bias_{i}:0"]
            for pair, out in (((old[0], kernel), kernels), ((old[1], bias), biases)):
                parts = [
                    np.asarray(of).reshape(*of.shape[:-1], -1, n)
                    for of, n in zip(pair, (n_old, n_new), strict=True)
                ]
                out.append(np.concatenate(parts, axis=-1))
        own_score = np.ones((n_old + n_new, new.own_score.shape[1]), np.float32)
        own_score[:n_old, : of_old.shape[1]] = of_old
        own_score[n_old:, of_old.shape[1] :] = new.own_score[:, of_old.shape[1] :]
        return cls(kernels, biases, own_score, new._class_inputs)

    def suppression_factor(self, features: Sequence[tf.Tensor]) -> tf.Tensor:
        """What the detections' scores are multiplied by, (B, A, C) float32 from 0 to 1.

        Args:
            features: The activations at the cut; at "heads", for each level what the class head's last
                layer reads, (B, h, w, c).
        """
        features = self._class_inputs(features)
        n_base, _ = self.own_score.shape
        levels = [
            tf.reshape(tf.nn.conv2d(f, k, 1, "SAME") + b, [tf.shape(f)[0], -1, n_base])
            for f, k, b in zip(features, self._kernels, self._biases, strict=True)
        ]
        seen = tf.sigmoid(tf.concat(levels, axis=1))  # (B, A, R)
        beyond = [
            tf.reduce_max(tf.nn.relu(seen - own_score), axis=-1)
            for own_score in tf.unstack(self._own_score, axis=1)
        ]
        return 1 - tf.stack(beyond, axis=-1)
