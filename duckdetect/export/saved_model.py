"""A SavedModel with the Object Detection API's own signature, for TensorFlow Serving and for TensorFlow.

    write_saved_model(detector, "served", scales=2)
    served = tf.saved_model.load("served").signatures["serving_default"]
    served(input_tensor=picture[np.newaxis])["detection_boxes"]

One function takes a picture of any size as uint8 and does the rest: averaging of large pictures, resize,
network, suppression, voting. Names, shapes and classes counted from 1 are those of the API's exporter
(exporter_lib_v2.py), so that programs written for its models run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from duckdetect.export.graph import resolve_scales
from duckdetect.inference.detector import to_detections
from duckdetect.inference.suppression import SECOND_ANSWER
from duckdetect.utils.terminal import silenced

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.inference.detector import Detector
    from duckdetect.inference.suppression import Suppression

_SIGNATURE = "serving_default"


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
        image = input_tensor[0]
        inputs, filled_hw = functions.prepare(shrink(image, detector.input_hw))
        if detector.two_stage:
            boxes, score, class_id, *masks = functions.detect(
                inputs[tf.newaxis], filled_hw, 0.0, 0.0
            )
            found = {"detection_masks": masks[0][tf.newaxis]} if masks else {}
            count = tf.shape(score)[:1]
            boxes, score, class_id = (t[tf.newaxis] for t in (boxes, score, class_id))
        else:
            found = {}
            if scales == 2 and detector.high_res_hw is not None:
                high_res = functions.prepare_fine(shrink(image, detector.high_res_hw))
                out = functions.detect_fine(inputs[tf.newaxis], high_res[tf.newaxis])
            else:
                out = functions.detect(inputs[tf.newaxis])
            boxes, score, class_id, count = out[:4]
        # Of the picture, not of an input that it may not fill.
        boxes = tf.clip_by_value(boxes / tf.tile(filled_hw, [2]), 0.0, 1.0)
        kept, kept_score = rescored(boxes[0], score[0], class_id[0], count[0], detector.suppression)
        rows = tf.shape(score)[1]
        found, boxes, class_id = tf.nest.map_structure(
            lambda t: _packed(tf.gather(t[0], kept), rows), (found, boxes, class_id)
        )
        score, count = _packed(kept_score, rows), tf.size(kept)
        return {
            **found,
            "detection_boxes": boxes,
            "detection_scores": score,
            "detection_classes": tf.cast(class_id, tf.float32) + 1,
            "num_detections": tf.cast(count, tf.float32)[tf.newaxis],
        }

    with silenced():
        signature = serve.get_concrete_function()
        tf.saved_model.save(module, str(folder), signatures={_SIGNATURE: signature})
    about = {
        "classes": list(detector.classes),
        "threshold": detector.threshold,
        "base": detector.base_name,
    }
    text = json.dumps(about, indent=1, ensure_ascii=False)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "duckdetect.json").write_text(text + "\n", encoding="utf-8")


def rescored(
    y1x1y2x2: tf.Tensor,
    score: tf.Tensor,
    class_id: tf.Tensor,
    count: tf.Tensor,
    suppression: Suppression,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`Suppression.rescore` as a graph, for one image.

    Args:
        y1x1y2x2: (D, 4), the first `count` of them detections, best first.
        score: (D,).
        class_id: (D,).
        count: How many there are.
        suppression: What becomes of the lower-scored of two overlapping detections.

    Returns:
        The indices of those that stay, (K,), best first, and their scores, (K,).
    """
    across, within = suppression.limits()
    y1x1y2x2, score, class_id = y1x1y2x2[:count], score[:count], class_id[:count]
    one, other = y1x1y2x2[:, tf.newaxis], y1x1y2x2[tf.newaxis]
    sides = tf.minimum(one[..., 2:], other[..., 2:]) - tf.maximum(one[..., :2], other[..., :2])
    common = tf.reduce_prod(tf.maximum(sides, 0.0), axis=-1)  # (D, D)
    areas = tf.reduce_prod(one[..., 2:] - one[..., :2], axis=-1) + tf.reduce_prod(
        other[..., 2:] - other[..., :2], axis=-1
    )
    iou = common / tf.maximum(areas - common, 1e-12)
    same = tf.cast(class_id, tf.int32)[:, tf.newaxis] == tf.cast(class_id, tf.int32)

    def greedy(clash: tf.Tensor) -> tf.Tensor:
        kept = tf.raw_ops.NonMaxSuppressionWithOverlaps(
            overlaps=tf.cast(clash, tf.float32), scores=score, max_output_size=tf.size(score),
            overlap_threshold=0.5, score_threshold=-1.0,
        )  # fmt: skip
        return tf.scatter_nd(kept[:, tf.newaxis], tf.ones_like(kept), tf.shape(score)) > 0

    first = greedy(iou > tf.where(same, within, across))
    kept = tf.where(first | greedy(same & (iou > within)))[:, 0]
    score = tf.gather(tf.where(first, score, SECOND_ANSWER * score), kept)
    best = tf.argsort(-score, stable=True)
    return tf.gather(kept, best), tf.gather(score, best)


def _packed(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """(1, rows, ...): the K `values` and zeros for the rest."""
    paddings = [[0, rows - tf.shape(values)[0]], *[[0, 0]] * (len(values.shape) - 1)]
    return tf.pad(values, paddings)[tf.newaxis]


class ServedDetector:
    """A written SavedModel asked through its signature alone, as a server asks it."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "assets.extra" / "duckdetect.json").read_text("utf-8"))
        self.classes: tuple[str, ...] = tuple(about["classes"])
        self.threshold: float = about["threshold"]
        self._model: Any = tf.saved_model.load(str(folder))
        self._serve = self._model.signatures[_SIGNATURE]

    def predict(self, images: Any, threshold: float) -> list[Detections]:
        """One Detections for each picture."""
        return [self._one(image, threshold) for image in images]

    def _one(self, image: np.ndarray, threshold: float) -> Detections:
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
        )


def shrink(image: tf.Tensor, input_hw: tuple[int, int]) -> tf.Tensor:
    """`imaging.io.shrink` as a graph: the mean of k x k pixels of a picture far larger than the input.

    Blocks at the right and the lower edge that are cut off count what they have, as Pillow's do.
    """
    shape = tf.shape(image)
    height, width = shape[0], shape[1]
    k = tf.minimum(height // (2 * input_hw[0]), width // (2 * input_hw[1]))

    def averaged() -> tf.Tensor:
        rows, columns = -(-height // k), -(-width // k)
        padding = [[0, rows * k - height], [0, columns * k - width], [0, 0]]
        values = tf.pad(tf.cast(image, tf.int32), padding)
        blocks = tf.reshape(values, [rows, k, columns, k, 3])
        total = tf.cast(tf.reduce_sum(blocks, axis=[1, 3]), tf.float32)
        n_rows = tf.minimum(k, height - tf.range(rows) * k)
        n_columns = tf.minimum(k, width - tf.range(columns) * k)
        n = tf.cast(n_rows[:, tf.newaxis] * n_columns, tf.float32)[..., tf.newaxis]
        return tf.cast(tf.floor(total / n + 0.5), tf.uint8)

    return tf.cond(k < 2, lambda: image, averaged)
