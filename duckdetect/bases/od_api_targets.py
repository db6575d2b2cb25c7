"""Which anchor shall predict what, by the Object Detection API's own matcher and box coder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from duckdetect.bases.base import Targets
from duckdetect.bases.od_api_import import box_list, target_assigner
from duckdetect.graphs import traced

Assign = Callable[[np.ndarray, np.ndarray], Targets]


def assigner(model: Any, anchors: Any, num_classes: int) -> Assign:
    """A function that matches boxes with anchors: (N, 4) y1x1y2x2, parts of the input; (N,) from 0.

    Args:
        model: The API's `SSDMetaArch`.
        anchors: (A, 4) y1x1y2x2, parts of the input.
        num_classes: The classes told apart, without the background.
    """

    # Operation by operation, it would take ten times as long.
    @traced(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float32),
            tf.TensorSpec([None, num_classes + 1], tf.float32),
        ]
    )
    def match(y1x1y2x2: tf.Tensor, with_background: tf.Tensor) -> tuple[tf.Tensor, ...]:
        found = target_assigner.batch_assign_targets(
            model._target_assigner,
            box_list.BoxList(anchors),
            [box_list.BoxList(y1x1y2x2)],
            [with_background],
            model._unmatched_class_label,
            [tf.ones(tf.shape(y1x1y2x2)[:1])],
        )
        return tuple(of_views[0] for of_views in found)

    def assign(y1x1y2x2: np.ndarray, class_id: np.ndarray) -> Targets:
        with_background = np.zeros((len(class_id), num_classes + 1), np.float32)
        with_background[np.arange(len(class_id)), class_id + 1] = 1
        boxes = y1x1y2x2.astype(np.float32).reshape(-1, 4)
        found = [t.numpy() for t in match(boxes, with_background)]
        class_target, class_weight, box_code, box_weight, matched = found
        index = np.where(matched >= 0, class_target[:, 1:].argmax(axis=1), -1)
        return Targets(index.astype(np.int32), class_weight[:, 0], box_code, box_weight)

    return assign
