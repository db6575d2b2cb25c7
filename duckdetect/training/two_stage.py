"""Fine-tuning of Faster and Mask R-CNN: steps on cached views, validation, and the whole of it.

    step = training_step(base, cache, optimizer, base.trained_variables("heads"), 4, seed=0)
    losses = step(np.array([0, 3, 1, 4]))      # {"box_loss": ..., "class_loss": ..., ...}

The losses are those of the API's model (tests/parity). Masks are computed for matched proposals alone,
where the API computes them for all and gives the others no weight. `finetune` calls `train_two_stage`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
import tensorflow as tf
from tqdm import tqdm

from duckdetect.data.augment import PlainViews, View
from duckdetect.data.dataset import Dataset
from duckdetect.data.views import TrainingViews
from duckdetect.imaging.draw import draw_detections
from duckdetect.inference.build import export_two_stage
from duckdetect.inference.detector import Detector
from duckdetect.models.graphs import same_sums, traced
from duckdetect.models.interfaces import ProposalTargets
from duckdetect.models.tfod.load import load_two_stage
from duckdetect.models.tfod.rcnn import RcnnModel
from duckdetect.models.tfod.rcnn_losses import (
    first_stage_losses,
    int32_seed,
    mask_loss,
    mask_slots,
    sample,
    second_stage_losses,
)
from duckdetect.models.weights import BaseFiles
from duckdetect.training import run_folder
from duckdetect.training.class_init import init_two_stage_classes
from duckdetect.training.config import TrainConfig, summary_text
from duckdetect.training.feature_cache import ViewCache, cache_views, stack, truth_spec
from duckdetect.training.loop import Trained, make_optimizer, run_loop
from duckdetect.training.validation import detection_metrics
from duckdetect.utils.progress import waiting

Losses = dict[str, tf.Tensor]

Compute = Callable[[], Losses]

Step = Callable[[np.ndarray], Losses]

"""Trains on, or measures, the views with these numbers, (B,)."""

# As the zoo trains Mask R-CNN: gradients are scaled to this norm, all together.
_GRADIENT_NORM = 10.0


def training_step(
    base: RcnnModel,
    cache: ViewCache,
    optimizer: Any,
    variables: list[tf.Variable],
    batch_size: int,
    seed: int,
    masks: bool = True,
) -> Step:
    """A step of gradient descent on views given by their numbers; returns the losses by name.

    Args:
        base: The model.
        cache: From `cache_views`.
        optimizer: It changes `variables` in place; its count of steps, which is saved with it, and
            `seed` decide what "all" samples.
        variables: `base.trained_variables(cache.part, masks)`.
        batch_size: How many views each step is given.
        seed: See above.
        masks: Whether the mask head is trained; if not, it is not run.
    """

    def descend(compute: Compute) -> Losses:
        with tf.GradientTape() as tape:
            losses = compute()
            total = tf.add_n([value for name, value in losses.items() if name.endswith("_loss")])
        gradients, _ = tf.clip_by_global_norm(tape.gradient(total, variables), _GRADIENT_NORM)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return losses

    dice = lambda: tf.stack([int32_seed(seed), tf.cast(optimizer.iterations, tf.int32)])  # noqa: E731
    return _on_views(base, cache, batch_size, masks, descend, dice)


def measuring_step(base: RcnnModel, cache: ViewCache, masks: bool) -> Step:
    """The losses of single views, without training."""
    return _on_views(base, cache, 1, masks, lambda compute: compute(), lambda: tf.constant([0, 0]))


def _on_views(
    base: RcnnModel,
    cache: ViewCache,
    batch_size: int,
    masks: bool,
    within: Callable[[Compute], Losses],
    dice: Callable[[], tf.Tensor],
) -> Step:
    masks = masks and base.has_masks

    @traced
    def on_features(inputs: tuple[tf.Tensor, ...], targets: ProposalTargets) -> Losses:
        kept = [tf.cast(array, tf.float32) for array in inputs]
        if cache.part != "heads":
            return within(lambda: _box_losses(base, kept[0], targets, masks))
        mean = tf.reshape(kept[0], [-1, 1, 1, kept[0].shape[-1]])
        return within(lambda: head_losses(base, mean, kept[1] if masks else None, targets))

    @traced(
        input_signature=[
            tf.TensorSpec([batch_size, *base.input_hw, 3], tf.float32),
            tf.TensorSpec([batch_size, 2], tf.float32),
            [truth_spec(base)] * batch_size,
        ]
    )
    def on_images(inputs: tf.Tensor, filled_hw: tf.Tensor, truths: list[Any]) -> Losses:
        return within(lambda: _image_losses(base, inputs, filled_hw, truths, dice(), masks))

    def step(index: np.ndarray) -> Losses:
        if cache.targets is not None:
            used = cache.inputs if masks else cache.inputs[:1]
            inputs = tuple(tf.constant(array[index]) for array in used)
            return on_features(
                inputs, ProposalTargets(*(tf.gather(field, index) for field in cache.targets))
            )
        images = tf.constant(cache.inputs[0][index])
        filled_hw = tf.constant(cache.filled_hw[index])
        return on_images(images, filled_hw, [cache.truths[i] for i in index])

    return step


def _image_losses(
    base: RcnnModel,
    inputs: tf.Tensor,
    filled_hw: tf.Tensor,
    truths: list[Any],
    seed: tf.Tensor,
    masks: bool,
) -> Losses:
    """All losses, those of the proposals too, from the images on."""
    features = base.features(inputs)
    first = base.objectness(features, training=True)
    box_loss, class_loss = first_stage_losses(base, *first, truths, seed)
    boxes, count = base.propose(*first, filled_hw)
    rows = []
    for i, ground_truth in enumerate(truths):
        own_seed = tf.random.experimental.stateless_fold_in(seed, i + 1)
        rows.append(sample(base, boxes[i], count[i], ground_truth, own_seed))
    return {
        "proposal_box_loss": box_loss,
        "proposal_class_loss": class_loss,
        **_box_losses(base, features, stack(rows), masks),
    }


def _box_losses(
    base: RcnnModel, features: tf.Tensor, targets: ProposalTargets, masks: bool
) -> Losses:
    """The losses from the image's map on."""
    deep = base.box_features(features, targets.y1x1y2x2)  # (B * P, h, w, c)
    by_image = tf.reshape(deep, [-1, base.n_sampled, *base.deep_shape])
    return head_losses(base, deep, by_image if masks else None, targets)


def head_losses(
    base: RcnnModel, deep: tf.Tensor, by_slot: tf.Tensor | None, targets: ProposalTargets
) -> Losses:
    """The losses from the second stage's features on, and how many classes are predicted right.

    Args:
        base: The model.
        deep: (B * P, h, w, c), or their mean (B * P, 1, 1, c).
        by_slot: (B, at least M, h, w, c) for the mask loss, or None to do without.
        targets: Of B images.
    """
    box_codes, class_logits = base.box_heads(deep)
    box_loss, class_loss = second_stage_losses(base, box_codes, class_logits, targets)
    losses = {
        "box_loss": box_loss,
        "class_loss": class_loss,
        "class_accuracy": class_accuracy(class_logits, targets.class_index),
    }
    if by_slot is not None:
        slots = mask_slots(targets)
        logits = base.mask_head(tf.gather_nd(by_slot, slots))
        losses["mask_loss"] = mask_loss(base, logits, slots, targets)
    return losses


def class_accuracy(class_logits: tf.Tensor, class_index: tf.Tensor) -> tf.Tensor:
    """The share of proposals on an object whose class gets the highest score, before the background's.

    Args:
        class_logits: (B * P, C + 1), the background first.
        class_index: (B, P) int32, the class from 1, or 0 where nothing is to be found.

    Returns:
        A scalar from 0 to 1, NaN if no proposal is on an object.
    """
    wanted = tf.reshape(class_index, [-1])
    said = tf.argmax(class_logits, axis=-1, output_type=tf.int32)
    return tf.reduce_mean(tf.cast(tf.boolean_mask(said == wanted, wanted > 0), tf.float32))


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
        self.variables: list[tf.Variable] = base.trained_variables(config.part, self.masks)
        self.summary = base.summary(config.part, self.masks)
        self.cache: ViewCache | None = None
        self.notes = []
        if base.has_masks and not self.masks:
            self.notes.append("without masks: boxes are trained, the mask head stays as it was")
        self.model: dict[str, Any] = {
            "input_hw": list(base.input_hw),
            "proposals": base.n_proposals,
            "proposal_batch": base.n_sampled,
            "masks_trained": self.masks,
            "trained_weights": sum(group.n_trained for group in self.summary),
            "frozen_weights": sum(group.n_frozen for group in self.summary),
        }

    def cache_views(self, views: Iterable[View], n_views: int, progress: bool = True) -> None:
        """Run what stays frozen on every view, once."""
        self.cache = cache_views(
            self.base, views, n_views, self.config.part, self.config.seed, progress=progress
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
        assert self.cache is not None, "cache_views comes first"
        return self.cache.names

    def make_step(self, optimizer: tf.keras.optimizers.Optimizer) -> Step:
        """The training step: views' numbers in, losses by name out."""
        assert self.cache is not None, "cache_views comes first"
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


_EXAMPLES = 4

_SHOWN_SCORE = 0.3  # an example shows what a user would see at a usual threshold

# Masks are the costliest part: those of the boxes that hardly count are not made, nor are their boxes
# measured where masks are.
_MEASURED_SCORE = 0.05


class TwoStageValidator:
    """A `loop.Validator` on labelled images; boxes, and masks where they are trained, are ranked.

    A round runs the whole model, since detection keeps other proposals than training.

    Args:
        base: The base model that trains.
        detector: Its detector, which shares its variables.
        dataset: The images, in the training's classes; `config.val_images` of them are taken.
        config: The run's settings.
        masks: Whether masks are trained.
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
        self._dataset = dataset.evenly(config.val_images)
        n = len(self._dataset)
        self._detector = detector
        self._masks = masks and any(any(s.segmentation or ()) for s in self._dataset.samples)
        views = PlainViews(self._dataset.samples, masks=masks)
        self._cache = cache_views(base, views, n, config.part, config.seed, progress=progress)
        self._measure = measuring_step(base, self._cache, masks)
        self._found: list[sv.Detections] = []
        # Validating on an image costs about as much as a step of "all" on it.
        self.every = config.val_every or max(10, -(-5 * n // config.batch_size))

    def validate(self) -> dict[str, float]:
        """See `loop.Validator.validate`; losses are means over the images."""
        rows = [self._measure(np.array([i])) for i in range(len(self._cache))]
        means = {}
        for name in rows[0]:
            values = [float(row[name]) for row in rows]
            if name == "class_accuracy":  # NaN of an image with nothing to be right about
                values = [value for value in values if np.isfinite(value)]
            if values:
                means[name] = float(np.mean(values))
        total = sum(value for name, value in means.items() if name.endswith("_loss"))
        score = _MEASURED_SCORE if self._masks else 0.0
        masks: Any = "rle" if self._masks else False
        self._found = [
            self._detector.predict(sample.load(), score, masks=masks)
            for sample in self._dataset.samples
        ]
        return {"loss": total, **means, **detection_metrics(self._dataset, self._found)}

    def images(self) -> Iterator[tuple[str, np.ndarray]]:
        """See `loop.Validator.images`."""
        step = max(1, len(self._found) // _EXAMPLES)
        for one in self._dataset.samples[::step][:_EXAMPLES]:
            image = one.load()
            found: Any = self._detector.predict(image, _SHOWN_SCORE)
            yield one.path.name, draw_detections(image, found, self._dataset.classes)


def train_two_stage(
    files: BaseFiles,
    dataset: Dataset,
    plain: PlainViews,
    config: TrainConfig,
    folder: Path | None,
    val: Dataset | None,
    progress: bool,
    masks: bool,
) -> tuple[Trained, Detector]:
    """Load the base, run what stays frozen, train, and export.

    Args:
        files: The base's files.
        dataset: The labelled images to train on.
        plain: The data set's images, with masks.
        config: The settings.
        folder: The run's folder, or None.
        val: Images to validate on, in the data set's classes, or None.
        progress: Show what is trained, and how far it is, on stderr.
        masks: Whether masks are trained.
    """
    with waiting("loading the base model", progress):
        base = load_two_stage(files, len(dataset.classes), config.seed, config.sizes)
    trainer = TwoStageTrainer(base, masks, config)
    if progress:
        for text in (summary_text(base.name, trainer.summary), *trainer.notes):
            tqdm.write(text)
    if folder is not None:
        run_folder.describe_model(folder, trainer.model)
    if config.class_init and base.own_last_layers is not None:
        init_two_stage_classes(base, base.own_last_layers, plain)
    views = TrainingViews(
        plain, config.views or 0, config.seed, two_stage=True, rotate=config.rotate
    )
    trainer.cache_views(views, len(views), progress)
    if trainer.on_disk and progress:
        tqdm.write(f"features: {trainer.n_bytes / 1e9:.1f} GB, kept on disk")
    detector = export_two_stage(base, dataset.classes)
    validator = None
    if val is not None:
        validator = TwoStageValidator(base, detector, val, config, trainer.masks, progress)
    optimizer = make_optimizer(config, trainer.variables)
    # Only "all" has gradients of cropped regions.
    with same_sums() if config.part == "all" else contextlib.nullcontext():
        trained = run_loop(
            trainer.make_step(optimizer),
            optimizer,
            trainer.variables,
            trainer.names,
            config,
            folder,
            progress,
            validator,
        )
    return trained, detector
