"""Looks at validation pictures while a Faster or Mask R-CNN trains; `validation.py` for two stages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import supervision as sv

from duckdetect.augment import PlainViews
from duckdetect.bases.od_api_rcnn import RcnnModel
from duckdetect.config import TrainConfig
from duckdetect.datasets import Dataset
from duckdetect.detector import Detector
from duckdetect.render import draw_detections
from duckdetect.twostage import cache_views
from duckdetect.twostage_steps import measuring_step
from duckdetect.validation import detection_figures, watched

_EXAMPLES = 4
_SHOWN_SCORE = 0.3  # an example shows what a user would see at a usual threshold


class TwoStageWatch:
    """A `loop.Watch` on labelled pictures; what is measured and ranked is boxes.

    A look runs the whole model, since detection keeps other proposals than training: masks, the
    costliest part, are made for the examples alone.

    Args:
        base: The base model that trains.
        detector: Its detector, which shares its variables.
        dataset: The pictures, in the training's classes; `config.val_pictures` of them are taken.
        config: The run's settings.
        masks: Whether masks are learnt.
        progress: Show a bar while their features are computed.
    """

    def __init__(
        self,
        base: RcnnModel,
        detector: Detector,
        dataset: Dataset,
        config: TrainConfig,
        masks: bool,
        progress: bool = False,
    ) -> None:
        self._dataset = watched(dataset, config)
        n = len(self._dataset)
        self._detector = detector
        views = PlainViews(self._dataset.samples, masks=masks)
        self._cache = cache_views(base, views, n, config.train, config.seed, progress=progress)
        self._measure = measuring_step(base, self._cache, masks)
        self._found: list[sv.Detections] = []
        # A look at a picture costs about as much as a step of all on it.
        self.every = config.val_every or max(10, -(-5 * n // config.batch_size))

    def look(self) -> dict[str, float]:
        """See `loop.Watch.look`; losses are means over the pictures."""
        rows = [self._measure(np.array([i])) for i in range(len(self._cache))]
        losses = {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0]}
        self._found = [
            self._detector.predict(sample.load(), 0.0, masks=False)
            for sample in self._dataset.samples
        ]
        figures = detection_figures(self._dataset, self._found)
        return {"loss": sum(losses.values()), **losses, **figures}

    def pictures(self) -> Iterator[tuple[str, np.ndarray]]:
        """See `loop.Watch.pictures`."""
        step = max(1, len(self._found) // _EXAMPLES)
        for sample in self._dataset.samples[::step][:_EXAMPLES]:
            picture = sample.load()
            shown: Any = self._detector.predict(picture, _SHOWN_SCORE)
            yield sample.path.name, draw_detections(picture, shown, self._dataset.classes)
