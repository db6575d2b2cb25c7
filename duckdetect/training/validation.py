"""Validation while a one-stage run trains: losses, accuracy, average precision, examples.

The frozen part sees each validation image once; a validation round runs the heads on the cached features.
If the settings do not say how often, so seldom that the heads' work takes less than a fifth of the
steps' time (benchmarks/validation.py; a first round also loads what draws and writes images).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from duckdetect.data.augment import PlainViews
from duckdetect.data.dataset import Dataset
from duckdetect.evaluation.metrics import score_detections
from duckdetect.imaging.draw import draw_detections
from duckdetect.inference.detector import to_detections
from duckdetect.inference.suppression import Suppression
from duckdetect.models.graphs import FrozenPart, traced
from duckdetect.models.interfaces import BaseModel, HeadInputs, HeadOutputs, TrainPart
from duckdetect.models.postprocess import ConfusableClasses
from duckdetect.training.config import TrainConfig
from duckdetect.training.feature_cache import Batch, cache_features
from duckdetect.training.threshold import f1_threshold

if TYPE_CHECKING:
    import supervision as sv


def head_losses(
    base: BaseModel, batch: Batch, patches: bool, part: TrainPart
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """Run the heads on a batch.

    Args:
        base: The base model.
        batch: Cached features and targets.
        patches: Whether the box features are patches around matched cells.
        part: What the cached features leave to the heads.

    Returns:
        `box_loss` and `class_loss`; the box codes of the batch's anchors; the class logits
        (B, A, C + 1).
    """
    if patches:
        box_codes = base.patch_codes(batch.box_features)
        logits = base.class_logits(batch.class_features)
    else:
        inputs = base.upper(HeadInputs(batch.box_features, batch.class_features), part)
        box_codes, logits = base.box_codes(inputs.box), base.class_logits(inputs.classes)
    box_loss, class_loss = base.losses(
        box_codes,
        logits,
        batch.box_target,
        batch.box_weight,
        batch.class_index,
        batch.class_weight,
    )
    return {"box_loss": box_loss, "class_loss": class_loss}, box_codes, logits


def class_accuracy(logits: tf.Tensor, class_index: tf.Tensor) -> tf.Tensor:
    """The share of matched anchors whose class is predicted right.

    An anchor predicts the class of the highest score, or nothing where that score is below one half. The
    logits' background column is not used: these heads give each class a probability of its own,
    by a sigmoid, and their targets are zero in every column where there is nothing, so that nothing
    ever raises the background's.

    Args:
        logits: (B, A, C + 1), column 0 is the background.
        class_index: (B, A) int32, -1 where an anchor is matched with nothing.

    Returns:
        A scalar from 0 to 1, NaN if no anchor is matched.
    """
    matched = class_index >= 0
    of_class = tf.boolean_mask(logits, matched)[:, 1:]  # (M, C)
    said = tf.argmax(of_class, axis=-1, output_type=tf.int32)
    sure = tf.reduce_max(of_class, axis=-1) >= 0  # a sigmoid of one half
    right = sure & (said == tf.boolean_mask(class_index, matched))
    return tf.reduce_mean(tf.cast(right, tf.float32))


_BATCH = 8

_EXAMPLES = 4

# Views trained on between two rounds, for each validation image. Validating on an image costs as much
# time as training on 1.2 to 2.1 views (benchmarks/validation.py): a tenth to a sixth of the steps' time.
_SPACING = 12

_SHOWN_SCORE = 0.3  # an example shows what a user would see at a usual threshold


class OneStageValidator:
    """A `loop.Validator` on labelled images.

    Args:
        base: The base model that trains.
        frozen: Its frozen part, `graphs.frozen_part(base, config.part)`.
        dataset: The images, in the training's classes; `config.val_images` of them are taken.
        config: The run's settings.
        progress: Show a bar while their features are computed.
        confusables: The base classes that suppress the run's detections.
    """

    def __init__(
        self,
        base: BaseModel,
        frozen: FrozenPart,
        dataset: Dataset,
        config: TrainConfig,
        progress: bool = False,
        confusables: ConfusableClasses | None = None,
    ) -> None:
        self._dataset = dataset.evenly(config.val_images)
        n = len(self._dataset)
        views = PlainViews(self._dataset.samples)
        self._cache = cache_features(base, frozen, views, n, patches=False, progress=progress)
        self._found: list[sv.Detections] = []
        self.every = config.val_every or self._every(n, config.batch_size)

        @traced(reduce_retracing=True)
        def run(batch: Batch) -> tuple[dict[str, tf.Tensor], tuple[tf.Tensor, ...]]:
            losses, codes, logits = head_losses(base, batch, False, config.part)
            metrics = {**losses, "class_accuracy": class_accuracy(logits, batch.class_index)}
            if not config.refine:
                return metrics, base.detections(codes, logits)
            factor = confusables.suppression_factor(batch.class_features) if confusables else None
            return metrics, base.refined_detections(HeadOutputs(codes, logits, factor))

        self._run = run

    @staticmethod
    def _every(n_images: int, batch_size: int) -> int:
        return max(10, -(-_SPACING * n_images // batch_size))

    def validate(self) -> dict[str, float]:
        """See `loop.Validator.validate`; losses are means over batches of 8 images."""
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        self._found = []
        for start in range(0, len(self._cache), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(self._cache)))
            batch = self._cache.batch(index)
            metrics, found = self._run(batch)
            matched = int((batch.class_index.numpy() >= 0).sum())
            for name, value in metrics.items():
                weight = matched if name == "class_accuracy" else len(index)
                if weight:
                    sums[name] = sums.get(name, 0.0) + weight * float(value)
                    weights[name] = weights.get(name, 0.0) + weight
            self._found += self._to_detections(index, [t.numpy() for t in found])
        row = {name: sums[name] / weights[name] for name in sums}
        loss = row["box_loss"] + row["class_loss"]
        return {"loss": loss, **row, **detection_metrics(self._dataset, self._found)}

    def images(self) -> Iterator[tuple[str, np.ndarray]]:
        """See `loop.Validator.images`."""
        step = max(1, len(self._found) // _EXAMPLES)
        for i in range(0, len(self._found), step)[:_EXAMPLES]:
            sample, found = self._dataset.samples[i], self._found[i]
            kept: Any = found[np.asarray(found.confidence) >= _SHOWN_SCORE]
            yield sample.path.name, draw_detections(sample.load(), kept, self._dataset.classes)

    def _to_detections(self, index: np.ndarray, found: list[np.ndarray]) -> list[sv.Detections]:
        y1x1y2x2, score, class_id, count = found
        return [
            to_detections(
                self._dataset.samples[number].size_hw,
                self._cache.filled_hw[number],
                y1x1y2x2[i][: count[i]],
                score[i][: count[i]],
                class_id[i][: count[i]],
                self._dataset.classes,
                suppression=Suppression(),
            )
            for i, number in enumerate(index)
        ]


def detection_metrics(dataset: Dataset, found: Sequence[sv.Detections]) -> dict[str, float]:
    """AP, AP50, AR100 and the threshold of the best F1 of the detections on validation images.

    `mask_AP` and `mask_AP50` as well, where the detections and the labels have masks.

    That threshold, the column `best_threshold`, is this round's; the detector's own is chosen once, by
    `threshold.choose_threshold`.

    The chosen images may hold no box: there is nothing to find then, and the metrics are 0.
    """
    metrics = score_detections(dataset, found)
    of_masks = metrics.masks and {
        "mask_AP": metrics.masks.AP or 0.0,
        "mask_AP50": metrics.masks.AP50 or 0.0,
    }
    return {
        "AP": metrics.AP or 0.0,
        "AP50": metrics.AP50 or 0.0,
        "AR100": metrics.AR100 or 0.0,
        "best_threshold": f1_threshold(metrics.curve),
        **(of_masks or {}),
    }
