"""Which anchor shall predict what, by the Object Detection API's own matcher and box coder."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from duckdetect.bases.base import Targets
from duckdetect.bases.od_api_import import box_list, target_assigner


def assign(
    model: Any, anchors: Any, num_classes: int, y1x1y2x2: np.ndarray, class_id: np.ndarray
) -> Targets:
    """Match boxes with anchors.

    Args:
        model: The API's `SSDMetaArch`.
        anchors: (A, 4) y1x1y2x2, parts of the input.
        num_classes: The classes told apart, without the background.
        y1x1y2x2: (N, 4), parts of the input.
        class_id: (N,) from 0.
    """
    with_background = np.zeros((len(class_id), num_classes + 1), np.float32)
    with_background[np.arange(len(class_id)), class_id + 1] = 1
    class_target, class_weight, box_code, box_weight, match = target_assigner.batch_assign_targets(
        model._target_assigner,
        box_list.BoxList(anchors),
        [box_list.BoxList(tf.constant(y1x1y2x2, tf.float32, [len(class_id), 4]))],
        [tf.constant(with_background)],
        model._unmatched_class_label,
        [tf.ones(len(class_id))],
    )
    matched = match[0].numpy() >= 0
    index = np.where(matched, class_target[0].numpy()[:, 1:].argmax(axis=1), -1)
    return Targets(
        class_index=index.astype(np.int32),
        class_weight=class_weight[0].numpy()[:, 0],
        box_code=box_code[0].numpy(),
        box_weight=box_weight[0].numpy(),
    )
