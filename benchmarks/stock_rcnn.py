"""The stock loop for Faster and Mask R-CNN: every step runs the API's whole model and its own loss.

It knows nothing of duckdetect's caching, sampling or targets; gradients are clipped as the zoo's
configurations say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from duckdetect.data.augment import View
from duckdetect.models.tfod.rcnn import RcnnModel

_NAMES = {
    "box_loss": "Loss/BoxClassifierLoss/localization_loss",
    "class_loss": "Loss/BoxClassifierLoss/classification_loss",
    "mask_loss": "Loss/BoxClassifierLoss/mask_loss",
    "proposal_box_loss": "Loss/RPNLoss/localization_loss",
    "proposal_class_loss": "Loss/RPNLoss/objectness_loss",
}


def stock_step(
    base: RcnnModel,
    optimizer: tf.keras.optimizers.Optimizer,
    variables: Sequence[tf.Variable],
    batch_size: int,
) -> Callable[[Sequence[View]], dict[str, float]]:
    """A training step on `batch_size` views, all with masks; returns the API's losses."""
    model = base.model
    shapes = [[None, None, 3], [None, 4], [None, base.num_classes], [None, *base.input_hw]]
    # Pictures of all sizes and any number of boxes share a trace.
    signature = [[tf.TensorSpec(shape, tf.float32)] * batch_size for shape in shapes]

    @tf.function(input_signature=signature)
    def step(
        images: list[tf.Tensor],
        boxes: list[tf.Tensor],
        classes: list[tf.Tensor],
        masks: list[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        model.provide_groundtruth(
            groundtruth_boxes_list=boxes,
            groundtruth_classes_list=classes,
            groundtruth_masks_list=masks,
        )
        with tf.GradientTape() as tape:
            prepared = [model.preprocess(p[tf.newaxis]) for p in images]
            inputs = tf.concat([p for p, _ in prepared], axis=0)
            true_shapes = tf.concat([s for _, s in prepared], axis=0)
            inputs = tf.ensure_shape(inputs, [batch_size, *base.input_hw, 3])
            losses = model.loss(model.predict(inputs, true_shapes), true_shapes)
            total = tf.add_n(list(losses.values()))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(total, variables), 10.0)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {ours: losses[theirs] for ours, theirs in _NAMES.items() if theirs in losses}

    def run(views: Sequence[View]) -> dict[str, float]:
        losses = step(
            [tf.constant(v.image, tf.float32) for v in views],
            [tf.constant(_y1x1y2x2(v), tf.float32, [len(v.xyxy), 4]) for v in views],
            [tf.one_hot(v.class_id, base.num_classes) for v in views],
            [tf.constant(base.input_masks(v.masks), tf.float32) for v in views],
        )
        return {name: float(loss) for name, loss in losses.items()}

    return run


def _y1x1y2x2(view: View) -> np.ndarray:
    height, width = view.image.shape[:2]
    return view.xyxy[:, [1, 0, 3, 2]] / np.array([height, width, height, width], np.float32)
