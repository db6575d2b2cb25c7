"""The stock loop that ours is measured and checked against: every step runs the whole model.

    detect = full_fine_tuning(train, seconds=300, seed=0)

This is the way of TensorFlow's few-shot notebook: inside one `tf.function` pictures are preprocessed,
the API's model predicts and computes its losses from the boxes it was provided with, and the gradients
of the heads are applied. It knows nothing of duckdetect's caching, patches or precomputed targets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import supervision as sv
import tensorflow as tf

import duckdetect as dd
from duckdetect.data.augment import View
from duckdetect.models.tfod.load import load_base
from duckdetect.models.tfod.ssd import SsdModel
from duckdetect.models.weights import fetch

_RATE, _MOMENTUM, _BATCH = 0.01, 0.9, 8
_WARM_UP = 0.1  # of the time


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


def full_fine_tuning(
    train: dd.Dataset, seconds: float, seed: int, base_name: str = "ssd_mobilenet_v2"
) -> tuple[Callable[[np.ndarray], sv.Detections], int]:
    """What the API's training script makes of a base: all layers, its own augmentation, in a given time.

    As pipeline.config of SSD MobileNet V2 has it: random mirror images and SSD's random crops, momentum,
    a rate that rises and falls along a cosine; 0.01 for batches of 8, its 0.8 for 512 by the linear rule.
    Detections are the API's own.

    Args:
        train: Labelled images.
        seconds: Of processor time, for the steps; building, tracing and detecting do not count.
        seed: Of the class head, of the draws and of the crops.
        base_name: The base model.

    Returns:
        What detects in an image (H, W, 3) uint8, and the number of steps.
    """
    tf.random.set_seed(seed)
    rng = np.random.default_rng(seed)
    base = load_base(fetch(base_name), len(train.classes), seed)
    optimizer = tf.keras.optimizers.SGD(_RATE, momentum=_MOMENTUM)
    step = stock_step(base, optimizer, base.model.trainable_variables, _BATCH)
    images = [
        View(sample.load(), sample.xyxy, sample.class_id, sample.path.name)
        for sample in train.samples
    ]
    augment = _augmentation()
    step([augment(images[i % len(images)]) for i in range(_BATCH)])  # traced
    start, n_steps = time.process_time(), 0
    while (done := (time.process_time() - start) / seconds) < 1:
        fall = (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2
        optimizer.learning_rate.assign(_RATE * min(done / _WARM_UP, fall))
        step([augment(images[i]) for i in rng.integers(len(images), size=_BATCH)])
        n_steps += 1
    return _detection(base), n_steps


def _augmentation() -> Callable[[View], View]:
    from object_detection.core import preprocessor
    from object_detection.core.standard_fields import InputDataFields as Name

    options: list[Any] = [
        (preprocessor.random_horizontal_flip, {}),
        (preprocessor.ssd_random_crop, {}),
    ]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.float32),
            tf.TensorSpec([None, 4], tf.float32),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def run(image: tf.Tensor, boxes: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        names = (Name.image, Name.groundtruth_boxes, Name.groundtruth_classes)
        given = dict(zip(names, (image[tf.newaxis], boxes, labels), strict=True))
        given[Name.groundtruth_weights] = tf.ones(tf.shape(labels), tf.float32)
        made = preprocessor.preprocess(given, options)
        return made[Name.image][0], *(made[name] for name in names[1:])

    def augment(view: View) -> View:
        boxes = tf.constant(_y1x1y2x2(view), tf.float32, [len(view.xyxy), 4])
        image, boxes, labels = (
            t.numpy() for t in run(view.image / np.float32(255), boxes, view.class_id)
        )
        image = (image * 255).astype(np.uint8)
        height, width = image.shape[:2]
        xyxy = boxes[:, [1, 0, 3, 2]] * np.array([width, height] * 2, np.float32)
        return View(image, xyxy, labels, view.name)

    return augment


def _detection(base: SsdModel) -> Callable[[np.ndarray], sv.Detections]:
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.float32)])
    def run(image: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs, shapes = base.model.preprocess(image[tf.newaxis])
        found: dict[str, tf.Tensor] = base.model.postprocess(
            base.model.predict(inputs, shapes), shapes
        )
        return found

    def detect(image: np.ndarray) -> sv.Detections:
        found = {key: value[0].numpy() for key, value in run(image.astype(np.float32)).items()}
        n = int(found["num_detections"])
        height, width = image.shape[:2]
        return sv.Detections(
            found["detection_boxes"][:n, [1, 0, 3, 2]] * np.array([width, height] * 2, np.float32),
            confidence=found["detection_scores"][:n],
            class_id=found["detection_classes"][:n].astype(int),
        )

    return detect


def _y1x1y2x2(view: View) -> np.ndarray:
    height, width = view.image.shape[:2]
    return view.xyxy[:, [1, 0, 3, 2]] / np.array([height, width, height, width], np.float32)
