"""A SavedModel with the Object Detection API's own signature, for TensorFlow Serving and for TensorFlow.

    write_saved_model(detector, "served", scales=2)
    served = tf.saved_model.load("served").signatures["serving_default"]
    served(input_tensor=picture[np.newaxis])["detection_boxes"]

A run's own detector has the same as `inference/serving.py` names it. Here names, shapes and classes
counted from 1 are those of the API's exporter (exporter_lib_v2.py), so that programs written for its
models run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from duckdetect.export.graph import resolve_scales
from duckdetect.inference.detector import to_detections
from duckdetect.inference.exported import SIGNATURE
from duckdetect.inference.serving import detect_picture
from duckdetect.utils.terminal import silenced

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.inference.detector import Detector


def write_saved_model(detector: Detector, folder: Path, scales: int | None) -> None:
    """Write a detector with the signature `input_tensor -> detection_boxes, ...`.

    Args:
        detector: Of any family.
        folder: Where; made.
        scales: As `graph.read_network`.

    Raises:
        UserError: If the detector has fewer scales.
    """
    scales = 1 if detector.two_stage else resolve_scales(detector, scales)
    if scales == 1:
        detector = detector.changed(fast=True)
    functions = detector._functions
    module = tf.Module()
    module.weights = functions.weights
    module.prepare, module.detect = functions.prepare, functions.detect
    if scales == 2:
        module.detect_fine, module.prepare_fine = functions.detect_fine, functions.prepare_fine

    @tf.function(
        input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, "input_tensor")],
        autograph=False,
    )
    def serve(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        found = detect_picture(detector, input_tensor[0])
        named = {
            "detection_boxes": found.y1x1y2x2,
            "detection_scores": found.score,
            "detection_classes": tf.cast(found.class_id, tf.float32) + 1,
            **({} if found.masks is None else {"detection_masks": found.masks}),
        }
        count = tf.size(found.score)
        padded = {name: _padded(values, found.most - count) for name, values in named.items()}
        return {**padded, "num_detections": tf.cast(count, tf.float32)[tf.newaxis]}

    with silenced():
        signature = serve.get_concrete_function()
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: signature})
    about = {
        "classes": list(detector.classes),
        "threshold": detector.threshold,
        "base": detector.base_name,
    }
    text = json.dumps(about, indent=1, ensure_ascii=False)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "duckdetect.json").write_text(text + "\n", encoding="utf-8")


def _padded(values: tf.Tensor, n_zeros: tf.Tensor) -> tf.Tensor:
    """(K, ...) as (1, D, ...), with zeros for what is not found."""
    paddings = [[0, n_zeros], *[[0, 0]] * (len(values.shape) - 1)]
    return tf.pad(values, paddings)[tf.newaxis]


class ServedDetector:
    """A written SavedModel asked through its signature alone, as a server asks it."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "assets.extra" / "duckdetect.json").read_text("utf-8"))
        self.classes: tuple[str, ...] = tuple(about["classes"])
        self.threshold: float = about["threshold"]
        self._model: Any = tf.saved_model.load(str(folder))
        self._serve = self._model.signatures[SIGNATURE]
        self.has_masks = "detection_masks" in self._serve.structured_outputs

    def predict(self, images: Any, threshold: float, masks: bool = True) -> list[Detections]:
        """One Detections for each picture."""
        return [self._one(image, threshold, self.has_masks and masks) for image in images]

    def _one(self, image: np.ndarray, threshold: float, masks: bool) -> Detections:
        found = {k: t.numpy()[0] for k, t in self._serve(tf.constant(image[np.newaxis])).items()}
        n = int(found["num_detections"])
        return to_detections(
            image.shape[:2],
            np.ones(2, np.float32),
            found["detection_boxes"][:n],
            found["detection_scores"][:n],
            found["detection_classes"][:n].astype(np.int32) - 1,
            self.classes,
            threshold,
            found["detection_masks"][:n] if masks else None,
        )
