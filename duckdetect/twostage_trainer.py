"""Makes a Faster or Mask R-CNN ready for the training loop, and a detector of it afterwards.

trainer = TwoStageTrainer(base, plain, config)
trainer.look_at(views, n_views)
step = trainer.make_step(optimizer)               # step(index, number) -> losses by name
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from duckdetect.augment import View
from duckdetect.bases.od_api_rcnn import RcnnModel
from duckdetect.config import TrainConfig
from duckdetect.twostage import ViewCache, cache_views
from duckdetect.twostage_steps import Step, training_step


class TwoStageTrainer:
    """A two-stage base and the views that it is trained on.

    Args:
        base: The model.
        masks: Whether the labels hold masks to learn.
        config: The settings.

    Attributes:
        variables: What training changes.
        notes: What the user should know before it starts, a sentence each.
        model: What config.json says of the model: sizes, and how many weights are trained.
    """

    def __init__(self, base: RcnnModel, masks: bool, config: TrainConfig) -> None:
        self.base = base
        self.config = config
        self.masks = base.has_masks and masks
        self.variables: list[tf.Variable] = base.trained_variables(config.train, self.masks)
        self.summary = base.summary(config.train, self.masks)
        self.cache: ViewCache | None = None
        self.notes = []
        if base.has_masks and not self.masks:
            self.notes.append("no box has a mask: boxes are trained, the mask head stays as it was")
        self.model: dict[str, Any] = {
            "input_hw": list(base.input_hw),
            "proposals": base.n_proposals,
            "proposal_batch": base.n_sampled,
            "masks_trained": self.masks,
            "trained_weights": sum(group.n_trained for group in self.summary),
            "frozen_weights": sum(group.n_frozen for group in self.summary),
        }

    def look_at(self, views: Iterable[View], n_views: int, progress: bool = True) -> None:
        """Run what stays frozen on every view, once."""
        self.cache = cache_views(
            self.base, views, n_views, self.config.train, self.config.seed, progress=progress
        )

    @property
    def n_bytes(self) -> int:
        """What the views' features take."""
        return 0 if self.cache is None else self.cache.n_bytes

    @property
    def on_disk(self) -> bool:
        """Whether they were too many for memory."""
        return self.cache is not None and self.cache.on_disk

    @property
    def names(self) -> tuple[str, ...]:
        """The views' names, for messages."""
        assert self.cache is not None, "look_at comes first"
        return self.cache.names

    def make_step(self, optimizer: tf.keras.optimizers.Optimizer) -> Step:
        """The training step: views' numbers in, losses by name out."""
        assert self.cache is not None, "look_at comes first"
        config = self.config
        return training_step(
            self.base,
            self.cache,
            optimizer,
            self.variables,
            config.batch_size,
            config.seed,
            self.masks,
        )
