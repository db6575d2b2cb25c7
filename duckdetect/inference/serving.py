"""A detector as one graph that plain TensorFlow runs: a picture of any size in, boxes in its pixels out.

    model = tf.saved_model.load("results/duck/detector")
    model.signatures["serving_default"](image=tf.constant(picture))    # boxes, scores, class_ids

It does what `Detector.predict` does: averaging of large pictures, resize, network, suppression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from duckdetect.inference.suppression import SECOND_ANSWER

if TYPE_CHECKING:
    from duckdetect.inference.detector import Detector
    from duckdetect.inference.suppression import Suppression


class Found(NamedTuple):
    """What is found in one picture, best first, whatever its score."""

    y1x1y2x2: tf.Tensor  # (K, 4) parts of the picture's sides
    score: tf.Tensor  # (K,)
    class_id: tf.Tensor  # (K,) int32
    masks: tf.Tensor | None  # (K, h, w) probabilities within the boxes; see `serving_signature`
    most: tf.Tensor  # how many the network finds at most


def serving_signature(detector: Detector) -> Any:
    """The signature that a saved detector has.

    Returns:
        A traced function: `image` (H, W, 3) uint8 RGB -> `boxes` (K, 4) float32 as x1, y1, x2, y2 in
        pixels of the image, `scores` (K,) float32, `class_ids` (K,) int32 from 0; of a detector with
        masks also `masks` (K, h, w), probabilities within the boxes: of a one-stage base zeros for
        detections below the detector's threshold.
    """

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, 3], tf.uint8, "image")], autograph=False
    )
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        found = detect_picture(detector, image)
        size_hw = tf.cast(tf.shape(image)[:2], tf.float32)
        y1x1y2x2 = found.y1x1y2x2 * tf.tile(size_hw, [2])
        return {
            "boxes": tf.gather(y1x1y2x2, [1, 0, 3, 2], axis=1),
            "scores": found.score,
            "class_ids": found.class_id,
            **({} if found.masks is None else {"masks": found.masks}),
        }

    return serve.get_concrete_function()


def detect_picture(detector: Detector, image: tf.Tensor) -> Found:
    """`Detector.predict` as a graph, for one image, (H, W, 3) uint8."""
    functions = detector._functions
    inputs, filled_hw = functions.prepare(shrink(image, detector.input_hw))
    masks = maps = None
    if detector.two_stage:
        boxes, score, class_id, *more = functions.detect(inputs[tf.newaxis], filled_hw, 0.0, 0.0)
        masks = more[0] if more else None
        count = tf.size(score)
    else:
        both = [inputs[tf.newaxis]]
        if detector.high_res_hw is not None:
            both.append(functions.prepare_fine(shrink(image, detector.high_res_hw))[tf.newaxis])
        out = detector.network(detector.has_masks)(*both)
        out, maps = out if detector.has_masks else (out, None)
        boxes, score, class_id, count = (t[0] for t in out[:4])
    places = boxes
    # Of the picture, not of an input that it may not fill; nothing is left of a box in the padding.
    boxes = tf.clip_by_value(boxes / tf.tile(filled_hw, [2]), 0.0, 1.0)
    class_id = tf.cast(class_id, tf.int32)
    kept, kept_score = rescored(boxes, score, class_id, count, detector.suppression)
    has_area = tf.gather(tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1), kept)
    kept, kept_score = kept[has_area], kept_score[has_area]
    if masks is not None:
        masks = tf.gather(masks, kept)
    if maps is not None:
        n = tf.reduce_sum(tf.cast(kept_score >= detector.threshold, tf.int32))
        # One of nothing, where nothing is found: oneDNN's convolutions fail on an empty batch.
        some = tf.maximum(n, 1)
        regions = tf.pad(tf.gather(places, kept)[:n], [[0, some - n], [0, 0]])
        masks = functions.masks(maps, regions, tf.zeros([some], tf.int32))[:n]
        masks = tf.pad(masks, [[0, tf.size(kept) - n], [0, 0], [0, 0]])
    return Found(
        tf.gather(boxes, kept),
        kept_score,
        tf.gather(class_id, kept),
        masks,
        tf.size(score),
    )


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
        class_id: (D,) int32.
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
    same = class_id[:, tf.newaxis] == class_id

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
