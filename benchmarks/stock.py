"""The stock loop that ours is measured and checked against: every step runs the whole model.

This is the way of TensorFlow's few-shot notebook: inside one `tf.function` pictures are preprocessed,
the API's model predicts and computes its losses from the boxes it was provided with, and the gradients
of the heads are applied. It knows nothing of duckdetect's caching, patches or precomputed targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from duckdetect.data.augment import View
from duckdetect.models.tfod.ssd import SsdModel


def stock_step(
    base: SsdModel,
    optimizer: tf.keras.optimizers.Optimizer,
    variables: Sequence[tf.Variable],
    batch_size: int = 4,
) -> Callable[[Sequence[View]], tuple[float, float]]:
    """A training step on `batch_size` views; returns the box loss and the class loss."""
    model = base.model

    # Pictures of all sizes and any number of boxes share a trace.
    signature = [
        [tf.TensorSpec(shape, tf.float32)] * batch_size
        for shape in ([None, None, 3], [None, 4], [None, base.num_classes])
    ]

    @tf.function(input_signature=signature)
    def step(
        images: list[tf.Tensor], boxes: list[tf.Tensor], classes: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        model.provide_groundtruth(groundtruth_boxes_list=boxes, groundtruth_classes_list=classes)
        with tf.GradientTape() as tape:
            prepared = [model.preprocess(p[tf.newaxis]) for p in images]
            inputs = tf.concat([p for p, _ in prepared], axis=0)
            shapes = tf.concat([s for _, s in prepared], axis=0)
            losses = model.loss(model.predict(inputs, shapes), shapes)
            box_loss = losses["Loss/localization_loss"]
            class_loss = losses["Loss/classification_loss"]
            total = box_loss + class_loss
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
        return box_loss, class_loss

    def run(views: Sequence[View]) -> tuple[float, float]:
        losses = step(
            [tf.constant(v.image, tf.float32) for v in views],
            [tf.constant(_y1x1y2x2(v), tf.float32, [len(v.xyxy), 4]) for v in views],
            [tf.one_hot(v.class_id, base.num_classes) for v in views],
        )
        return float(losses[0]), float(losses[1])

    return run


def _y1x1y2x2(view: View) -> np.ndarray:
    height, width = view.image.shape[:2]
    return view.xyxy[:, [1, 0, 3, 2]] / np.array([height, width, height, width], np.float32)
