"""Looks at validation pictures while a run trains: losses, accuracy, average precision, examples.

The frozen part sees each validation picture once; a look runs the heads on what was kept. If the
settings do not say how often, so seldom that the heads' work on them takes less than a fifth of the
steps' time (benchmarks/validation.py; a first look also loads what draws and writes pictures).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from duckdetect.augment import PlainViews
from duckdetect.bases.base import BaseModel, HeadOutputs
from duckdetect.config import TrainConfig
from duckdetect.datasets import Dataset
from duckdetect.detector import Detector, to_detections
from duckdetect.errors import UserError
from duckdetect.evaluation import collect_detections
from duckdetect.features import Batch, FrozenPart, cache_features
from duckdetect.graphs import traced
from duckdetect.heads import class_accuracy, head_losses
from duckdetect.metrics import score_detections
from duckdetect.render import draw_detections
from duckdetect.rivals import Rivals
from duckdetect.thresholds import best_threshold

if TYPE_CHECKING:
    import supervision as sv

_BATCH = 8
_EXAMPLES = 4
# Views trained on between two looks, for each picture looked at. A look at one costs as much time as
# training on 1.2 to 2.1 views (benchmarks/validation.py): a tenth to a sixth of the steps' time, then.
_SPACING = 12
_SHOWN_SCORE = 0.3  # an example shows what a user would see at a usual threshold


class Validation:
    """A `loop.Watch` on labelled pictures.

    Args:
        base: The base model that trains.
        frozen: Its frozen part, `features.frozen_part(base, config.train)`.
        dataset: The pictures, in the training's classes; `config.val_pictures` of them are taken.
        config: The run's settings.
        progress: Show a bar while their features are computed.
        rivals: What the run's detector tells the objects from.
    """

    def __init__(
        self,
        base: BaseModel,
        frozen: FrozenPart,
        dataset: Dataset,
        config: TrainConfig,
        progress: bool = False,
        rivals: Rivals | None = None,
    ) -> None:
        self._dataset = watched(dataset, config)
        n = len(self._dataset)
        views = PlainViews(self._dataset.samples)
        self._cache = cache_features(base, frozen, views, n, patches=False, progress=progress)
        self._found: list[sv.Detections] = []
        self.every = config.val_every or self._every(n, config.batch_size)

        @traced(reduce_retracing=True)
        def run(batch: Batch) -> tuple[dict[str, tf.Tensor], tuple[tf.Tensor, ...]]:
            losses, codes, logits = head_losses(base, batch, False, config.train)
            figures = {**losses, "class_accuracy": class_accuracy(logits, batch.class_index)}
            if not config.careful:
                return figures, base.detections(codes, logits)
            read = base.class_features(batch.class_features, config.train)
            trust = rivals.trust(read) if rivals else None
            return figures, base.careful_detections(HeadOutputs(codes, logits, trust))

        self._run = run

    @staticmethod
    def _every(n_pictures: int, batch_size: int) -> int:
        return max(10, -(-_SPACING * n_pictures // batch_size))

    def look(self) -> dict[str, float]:
        """See `loop.Watch.look`; losses are means over batches of 8 pictures."""
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        self._found = []
        for start in range(0, len(self._cache), _BATCH):
            index = np.arange(start, min(start + _BATCH, len(self._cache)))
            figures, found = self._run(self._cache.batch(index))
            matched = int((self._cache.class_index[index] >= 0).sum())
            for name, value in figures.items():
                weight = matched if name == "class_accuracy" else len(index)
                if weight:
                    sums[name] = sums.get(name, 0.0) + weight * float(value)
                    weights[name] = weights.get(name, 0.0) + weight
            self._found += self._to_detections(index, [t.numpy() for t in found])
        row = {name: sums[name] / weights[name] for name in sums}
        loss = row["box_loss"] + row["class_loss"]
        return {"loss": loss, **row, **detection_figures(self._dataset, self._found)}

    def pictures(self) -> Iterator[tuple[str, np.ndarray]]:
        """See `loop.Watch.pictures`."""
        step = max(1, len(self._found) // _EXAMPLES)
        for i in range(0, len(self._found), step)[:_EXAMPLES]:
            sample, found = self._dataset.samples[i], self._found[i]
            shown: Any = found[np.asarray(found.confidence) >= _SHOWN_SCORE]
            yield sample.path.name, draw_detections(sample.load(), shown, self._dataset.classes)

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
            )
            for i, number in enumerate(index)
        ]


def detection_figures(dataset: Dataset, found: Sequence[sv.Detections]) -> dict[str, float]:
    """AP, AP50, AR100 and the best threshold of what was found in validation pictures.

    Of many pictures, those that were chosen may hold no box: there is nothing to find then, and the
    figures are 0.
    """
    metrics = score_detections(dataset, found)
    return {
        "AP": metrics.AP or 0.0,
        "AP50": metrics.AP50 or 0.0,
        "AR100": metrics.AR100 or 0.0,
        "best_threshold": best_threshold(metrics.curve),
    }


def watched(dataset: Dataset, config: TrainConfig) -> Dataset:
    """The pictures that are looked at: at most `config.val_pictures`, evenly chosen."""
    n = min(len(dataset), config.val_pictures)
    return dataset.subset(np.linspace(0, len(dataset) - 1, n).round().astype(int).tolist())


def threshold_on(detector: Detector, dataset: Dataset, config: TrainConfig) -> float:
    """The threshold with the best F1 on validation pictures, measured with the finished detector."""
    chosen = watched(dataset, config)
    return best_threshold(score_detections(chosen, collect_detections(detector, chosen)).curve)


def in_classes_of(val: Dataset, train: Dataset) -> Dataset:
    """The validation pictures with the training's class ids; classes go by their names.

    Raises:
        UserError: If a box is of a class that the training does not know.
    """
    used = {val.classes[i] for sample in val.samples for i in sample.class_id}
    unknown = sorted(used - set(train.classes))
    if unknown:
        raise UserError(
            f"{val.root} labels {', '.join(map(repr, unknown))}, which {train.root} does not: "
            "train on these classes too, or take them out"
        )
    table = np.array(
        [train.classes.index(n) if n in train.classes else -1 for n in val.classes], int
    )
    samples = tuple(replace(s, class_id=table[s.class_id].astype(s.class_id.dtype)) for s in val)
    return replace(val, classes=train.classes, samples=samples)
