"""The second phase of a one-stage run: a mask head on the features that the detector finally has.

    trained = train_masks(head, base, frozen, dataset, config, high_res=True, folder=folder)

Boxes are trained first, and nothing of them changes here. The backbone sees each view once; of its maps
the regions of labelled boxes are kept, moved a little, since a detector's own boxes are a little off.
Steps then run on these regions alone. State, histories and TensorBoard's files are those of any loop,
below `masks/` in the run's folder, so that a run resumes in whichever phase it was interrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from duckdetect.data.augment import PlainViews, View
from duckdetect.data.dataset import Dataset
from duckdetect.data.views import TrainingViews
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import segmentation_area, to_normalised
from duckdetect.imaging.io import shrink
from duckdetect.models.catalog import BaseSpec
from duckdetect.models.graphs import FrozenPart, prepare_function, traced
from duckdetect.models.interfaces import BaseModel, HeadInputs
from duckdetect.models.mask_head import CELLS, MASK, MaskHead, iou
from duckdetect.training.config import TrainConfig
from duckdetect.training.feature_cache import empty_rows
from duckdetect.training.loop import Trained, run_loop
from duckdetect.training.run_folder import MASKS
from duckdetect.utils.files import make_folder
from duckdetect.utils.prefetch import prefetch
from duckdetect.utils.progress import progress_bar

# Measured in docs/accuracy.md. Adam with a cosine decay; batches of regions.
_STEPS, _BATCH, _RATE = 300, 16, 0.002
_STEPS_AGAIN = 100  # from an earlier run's head

_VIEWS = 100  # augmented ones, besides the images

# Copies of a box, and how far each of its sides may be moved, of the box's own.
_COPIES, _JITTER = 2, 0.1

_MOST_REGIONS = 3000  # 200 kB each; more views or boxes than fill them are left out

_VAL_EVERY = 100

# An outline that fills more of its box is the box itself, as some tools write it.
_RECTANGLE = 0.98


def wants_masks(config: TrainConfig, spec: BaseSpec, dataset: Dataset) -> bool:
    """Whether masks are trained, as `TrainConfig.masks` says.

    Raises:
        UserError: If they are asked for, and the base or the data have none.
    """
    two_stage = spec.family.stages == 2
    if config.masks == "no" or (two_stage and not spec.has_masks):
        if config.masks == "yes":
            raise UserError(
                f"{spec.name} finds no masks: take mask_rcnn or a one-stage base, or leave out --masks"
            )
        return False
    outlined = n_boxes = 0
    for sample in dataset.samples:
        sides = sample.xyxy[:, 2:] - sample.xyxy[:, :2]
        for i in np.flatnonzero(~sample.crowd):
            outline = sample.segmentation[i] if sample.segmentation is not None else None
            n_boxes += 1
            if outline:
                filled = segmentation_area(outline) / max(float(np.prod(sides[i])), 1e-9)
                outlined += config.masks == "yes" or two_stage or filled < _RECTANGLE
    if config.masks == "yes" and not outlined:
        raise UserError(
            f"no box in {dataset.root} has an outline to train masks from: draw outlines, or leave out "
            "--masks yes"
        )
    return outlined > 0 if two_stage or config.masks == "yes" else 2 * outlined >= max(n_boxes, 1)


@dataclass(frozen=True, eq=False)
class Regions:
    """R regions and their masks.

    Attributes:
        names: The names of the images that they are of.
        features: (R, 14, 14, c) float16, maybe on disk.
        masks: (R, 28, 28) bool.
    """

    names: tuple[str, ...]
    features: np.ndarray
    masks: np.ndarray

    def batch(self, index: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        """The features as float32, and the masks, of the regions with these numbers."""
        return tf.constant(self.features[index].astype(np.float32)), tf.constant(self.masks[index])


class RegionReader:
    """Crops regions of images from the maps that the detector makes its masks of.

    Args:
        base: The base model, its boxes trained.
        frozen: `frozen_part(base, part, masks=True)`.
        config: The run's settings.
        high_res: Whether these maps are the high-resolution input's.
        head: The head that will read the regions.
    """

    def __init__(
        self,
        base: BaseModel,
        frozen: FrozenPart,
        config: TrainConfig,
        high_res: bool,
        head: MaskHead,
    ) -> None:
        self._high_res = high_res and base.high_res_hw is not None
        self._hw = base.high_res_hw if high_res and base.high_res_hw else base.input_hw
        self._base, self._prepare = base, prepare_function(base)
        self._depth = head.depth
        signature = [
            tf.TensorSpec([1, *self._hw, 3], tf.float32),
            tf.TensorSpec([None, 4], tf.float32),
        ]

        @traced(input_signature=signature)
        def crop(inputs: tf.Tensor, y1x1y2x2: tf.Tensor) -> tf.Tensor:
            box, classes, below = frozen(inputs)
            maps = base.upper(HeadInputs(box or classes, classes, below), config.part).masks
            found = head.regions(maps, y1x1y2x2, tf.zeros(tf.shape(y1x1y2x2)[:1], tf.int32))
            return tf.cast(found, tf.float16)

        self._crop = crop

    def read(
        self,
        views: Iterable[View],
        n_views: int,
        copies: int,
        seed: int,
        progress: bool = False,
    ) -> Regions:
        """The regions of the views' outlined boxes.

        Args:
            views: The views, with masks.
            n_views: How many they are.
            copies: How often each box is taken, moved by chance; 0 for once, as it is.
            seed: Decides how boxes are moved.
            progress: Show a bar on stderr.
        """
        rng = np.random.default_rng([seed, n_views])
        features = empty_rows(_MOST_REGIONS, (CELLS, CELLS, self._depth), np.float16)
        masks = np.empty((_MOST_REGIONS, MASK, MASK), bool)
        names: list[str] = []
        with (
            progress_bar(total=n_views, desc="regions", unit="view", disable=not progress) as bar,
            contextlib.closing(prefetch(views, 8)) as coming,
        ):
            for view in coming:
                bar.update()
                chosen = np.repeat(np.flatnonzero(view.has_mask), max(copies, 1))
                chosen = chosen[: _MOST_REGIONS - len(names)]
                if view.masks is None or not len(chosen):
                    continue
                size_hw = view.image.shape[:2]
                xyxy = view.xyxy[chosen]
                if copies:
                    sides = np.tile(xyxy[:, 2:] - xyxy[:, :2], 2)
                    xyxy = xyxy + sides * rng.uniform(-_JITTER, _JITTER, sides.shape)
                    xyxy = np.clip(xyxy, 0, [*size_hw[::-1]] * 2).astype(np.float32)
                rows = slice(len(names), len(names) + len(chosen))
                features[rows] = self._regions(view.image, xyxy)
                masks[rows] = crop_masks(view.masks, chosen, xyxy)
                names += [view.name] * len(chosen)
        return Regions(tuple(names), features[: len(names)], masks[: len(names)])

    def _regions(self, image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
        inputs, filled_hw = self._prepare(shrink(image, self._base.input_hw))
        if self._high_res:
            inputs, filled_hw = self._base.prepare_fine(shrink(image, self._hw)), np.ones(2)
        parts = to_normalised(xyxy, image.shape[:2], np.asarray(filled_hw)).astype(np.float32)
        found: np.ndarray = self._crop(inputs[np.newaxis], parts).numpy()
        return found


def crop_masks(masks: np.ndarray, chosen: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """What a head shall say of boxes, (R, 28, 28) bool: `paste_masks` the other way round.

    Args:
        masks: (N, H, W) bool.
        chosen: (R,), which of the N each box is of.
        xyxy: (R, 4) float32, pixels.
    """
    height, width = masks.shape[1:]
    y1x1y2x2 = xyxy[:, [1, 0, 3, 2]] / [height, width, height, width]
    each, index = np.unique(chosen, return_inverse=True)
    found = tf.image.crop_and_resize(
        masks[each][..., np.newaxis].astype(np.float32), y1x1y2x2, index, [MASK, MASK]
    )
    cropped: np.ndarray = found.numpy()[..., 0] > 0.5
    return cropped


def dice_loss(logits: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    """1 - 2 |A B| / (|A| + |B|) of each region, (R,), |A| its probabilities' sum (Milletari et al. 2016).

    Beside the cross-entropy it weighs a thin object as much as one that fills its box (docs/accuracy.md).

    Args:
        logits: (R, h, w) float32.
        truth: (R, h, w) float32, 0 or 1.
    """
    found = tf.sigmoid(logits)
    both = tf.reduce_sum(found * truth, axis=[1, 2])
    either = tf.reduce_sum(found, axis=[1, 2]) + tf.reduce_sum(truth, axis=[1, 2])
    return 1 - (2 * both + 1) / (either + 1)  # 1: without a pixel there is nothing to divide by


class MaskValidator:
    """A `loop.Validator`: masks within the labelled boxes of validation images."""

    def __init__(
        self, measure: Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]], regions: Regions
    ) -> None:
        self._measure = measure
        self._regions = regions
        self.every = _VAL_EVERY

    def validate(self) -> dict[str, float]:
        """The loss and the mean IoU of all regions."""
        n = len(self._regions.names)
        sums = {"mask_loss": 0.0, "mask_iou": 0.0}
        for start in range(0, n, _BATCH):
            index = np.arange(start, min(start + _BATCH, n))
            for name, value in self._measure(*self._regions.batch(index)).items():
                sums[name] += float(value) * len(index) / n
        return {"loss": sums["mask_loss"], **sums}

    def images(self) -> Iterator[tuple[str, np.ndarray]]:
        """None: the boxes are given, not found."""
        return iter(())


def train_masks(
    head: MaskHead,
    base: BaseModel,
    frozen: FrozenPart,
    dataset: Dataset,
    config: TrainConfig,
    *,
    high_res: bool = False,
    folder: Path | None = None,
    val: Dataset | None = None,
    progress: bool = True,
    again: bool = False,
) -> Trained:
    """Train a mask head in place.

    Args:
        head: The head.
        base: The base model, its boxes trained; it stays as it is.
        frozen: `frozen_part(base, config.part, masks=True)`.
        dataset: The images, with outlines.
        config: The run's settings.
        high_res: Whether the detector has a high-resolution scale, whose maps then serve.
        folder: The run's folder.
        val: Images to validate on.
        progress: Show bars on stderr.
        again: Whether the head was trained already, so that fewer steps do.
    """
    reader = RegionReader(base, frozen, config, high_res, head)
    steps = _STEPS_AGAIN if again else _STEPS
    views = TrainingViews(
        PlainViews(dataset.samples, masks=True), _VIEWS, config.seed, rotate=config.rotate
    )
    regions = reader.read(views, len(views), _COPIES, config.seed, progress)
    phase = replace(config, steps=steps, batch_size=_BATCH, learning_rate=_RATE)
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(_RATE, steps))
    optimizer.build(head.variables)

    def losses(features: tf.Tensor, masks: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = head.logits(features)
        truth = tf.cast(masks, tf.float32)
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(truth, logits))
        loss += tf.reduce_mean(dice_loss(logits, truth))
        return {"mask_loss": loss, "mask_iou": tf.reduce_mean(iou(logits > 0, masks))}

    @traced(reduce_retracing=True)
    def step(features: tf.Tensor, masks: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            found = losses(features, masks)
        gradients = tape.gradient(found["mask_loss"], head.variables)
        optimizer.apply_gradients(zip(gradients, head.variables, strict=True))
        return found

    validator = None
    if val is not None:
        chosen = PlainViews(val.evenly(config.val_images).samples, masks=True)
        known = reader.read(chosen, len(chosen), 0, config.seed)
        if known.names:
            validator = MaskValidator(traced(losses, reduce_retracing=True), known)
    return run_loop(
        lambda index: step(*regions.batch(index)),
        optimizer,
        head.variables,
        regions.names,
        phase,
        None if folder is None else make_folder(folder / MASKS),
        progress,
        validator,
    )
