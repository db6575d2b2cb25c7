"""Frozen features of views, computed once, so that training runs on the heads alone.

    cache = cache_features(base, frozen_part(base, "heads"), views, "heads")
    batch = cache.batch(tf.constant([0, 3, 1, 4]))

When only the last layers are trained, the box loss depends on the few cells that hold a matched anchor.
Of the box head's input the cache therefore keeps small patches around these cells; the class head,
whose loss runs over all anchors, keeps whole maps. The losses stay those of the stock loop
(tests/test_parity_stock_loop.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from duckdetect.augment import View
from duckdetect.bases.base import BaseModel, Targets, TrainPart
from duckdetect.pictures import shrink

_BATCH = 8  # views a forward pass: enough to fill two cores, little memory

FrozenPart = Callable[[tf.Tensor], tuple[list[tf.Tensor], list[tf.Tensor]]]


@dataclass(frozen=True)
class Batch:
    """What a training step needs of B views; shapes as in `BaseModel.losses`."""

    box_features: list[tf.Tensor]
    class_features: list[tf.Tensor]
    box_target: tf.Tensor
    box_weight: tf.Tensor
    class_index: tf.Tensor
    class_weight: tf.Tensor


@dataclass(frozen=True)
class FeatureCache(Batch):
    """The same for all V views, and how the box features are to be read.

    Attributes:
        names: The views' names, for messages.
        patches: Whether `box_features` are patches around matched cells, (V, P, k, k, c) for each
            level, or whole maps, (V, h, w, c).
    """

    names: tuple[str, ...]
    patches: bool

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_bytes(self) -> int:
        """What the features take in memory, in bytes."""
        tensors = {id(t): t for t in [*self.box_features, *self.class_features]}
        return sum(t.dtype.size * int(np.prod(t.shape)) for t in tensors.values())

    def batch(self, index: tf.Tensor) -> Batch:
        """The views with these indices, (B,) int32."""

        def take(tensor: tf.Tensor) -> tf.Tensor:
            return tf.gather(tensor, index)

        return Batch(
            box_features=[take(t) for t in self.box_features],
            class_features=[take(t) for t in self.class_features],
            box_target=take(self.box_target),
            box_weight=take(self.box_weight),
            class_index=take(self.class_index),
            class_weight=take(self.class_weight),
        )


def frozen_part(base: BaseModel, part: TrainPart) -> FrozenPart:
    """The base's frozen part as one traced function of inputs (B, h, w, 3) float32."""

    @tf.function(input_signature=[tf.TensorSpec([None, *base.input_hw, 3], tf.float32)])
    def run(inputs: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        features = base.head_inputs(inputs, part)
        return features.box, features.classes

    return run


def prepare_function(base: BaseModel) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """The base's `prepare` as one traced function for all picture sizes."""
    return tf.function(base.prepare, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])


def cache_features(
    base: BaseModel, frozen: FrozenPart, views: Iterable[View], part: TrainPart
) -> FeatureCache:
    """Run the frozen part on every view once and assign its targets once.

    Args:
        base: The base model.
        frozen: `frozen_part(base, part)`.
        views: The views, at least one; read one batch at a time.
        part: What will be trained.
    """
    prepare = prepare_function(base)
    patches = part == "heads"
    box_rows: list[list[np.ndarray]] = []  # [view][level]
    class_rows: list[list[np.ndarray]] = []
    targets: list[Targets] = []
    names: list[str] = []

    def run(inputs: list[tf.Tensor]) -> None:
        box, classes = ([t.numpy() for t in part_maps] for part_maps in frozen(tf.stack(inputs)))
        for i in range(len(inputs)):
            target = targets[len(class_rows)]
            class_rows.append([level[i] for level in classes])
            maps = [level[i] for level in box]
            if patches:
                box_rows.append(_patches(base, maps, target))

    pending: list[tf.Tensor] = []
    for view in views:
        inputs, filled_hw = prepare(shrink(view.picture, base.input_hw))
        targets.append(base.assign(_normalise(view, filled_hw.numpy()), view.class_id))
        names.append(view.name)
        pending.append(inputs)
        if len(pending) == _BATCH:
            run(pending)
            pending = []
    if pending:
        run(pending)

    box_target = np.stack([t.box_code for t in targets])
    box_weight = np.stack([t.box_weight for t in targets])
    if patches:
        # At least one cell, of weight 0 if need be: TensorFlow's convolution gradients want a batch.
        most = [max(1, *(len(row[i]) for row in box_rows)) for i in range(len(base.levels))]
        cells = [_matched_cells(base, t) for t in targets]
        box_target = np.stack(
            [_at_cells(base, t.box_code, c, most) for t, c in zip(targets, cells, strict=True)]
        )
        box_weight = np.stack(
            [_at_cells(base, t.box_weight, c, most) for t, c in zip(targets, cells, strict=True)]
        )
        box_rows = [[_pad(p, n) for p, n in zip(row, most, strict=True)] for row in box_rows]
    class_features = [tf.constant(np.stack(level)) for level in zip(*class_rows, strict=True)]
    return FeatureCache(
        # With the towers still to run, both heads read the same maps: one copy serves them.
        box_features=[tf.constant(np.stack(level)) for level in zip(*box_rows, strict=True)]
        if patches
        else class_features,
        class_features=class_features,
        box_target=tf.constant(box_target),
        box_weight=tf.constant(box_weight),
        class_index=tf.constant(np.stack([t.class_index for t in targets])),
        class_weight=tf.constant(np.stack([t.class_weight for t in targets])),
        names=tuple(names),
        patches=patches,
    )


def _normalise(view: View, filled_hw: np.ndarray) -> np.ndarray:
    """The view's boxes as (N, 4) y1x1y2x2, parts of the model's input."""
    height, width = view.picture.shape[:2]
    scale = np.array([filled_hw[0] / height, filled_hw[1] / width] * 2, np.float32)
    return view.xyxy[:, [1, 0, 3, 2]].astype(np.float32) * scale


def _matched_cells(base: BaseModel, targets: Targets) -> list[np.ndarray]:
    """For each level the sorted numbers (row * width + column) of cells with a matched anchor."""
    found, start = [], 0
    for level in base.levels:
        weight = targets.box_weight[start : start + level.n_anchors]
        found.append(np.unique(np.flatnonzero(weight > 0) // level.anchors_per_cell))
        start += level.n_anchors
    return found


def _patches(base: BaseModel, maps: list[np.ndarray], targets: Targets) -> list[np.ndarray]:
    """Cut (P, k, k, c) around the matched cells out of each level's map (h, w, c).

    Beyond the map's edge lie zeros, which is what a 'same' convolution reads there.
    """
    k = base.box_kernel_size
    cut = []
    for features, cells in zip(maps, _matched_cells(base, targets), strict=True):
        padded = np.pad(features, ((k // 2, k // 2), (k // 2, k // 2), (0, 0)))
        rows, columns = np.divmod(cells, features.shape[1])
        out = np.zeros((len(cells), k, k, features.shape[2]), features.dtype)
        for i, (y, x) in enumerate(zip(rows, columns, strict=True)):
            out[i] = padded[y : y + k, x : x + k]
        cut.append(out)
    return cut


def _pad(patches: np.ndarray, n: int) -> np.ndarray:
    return np.pad(patches, ((0, n - len(patches)), (0, 0), (0, 0), (0, 0)))


def _at_cells(
    base: BaseModel, values: np.ndarray, cells: list[np.ndarray], most: list[int]
) -> np.ndarray:
    """Pick the anchors of these cells out of (A, ...), zero-padded to `most` cells a level."""
    picked, start = [], 0
    for level, level_cells, n in zip(base.levels, cells, most, strict=True):
        by_cell = values[start : start + level.n_anchors].reshape(
            -1, level.anchors_per_cell, *values.shape[1:]
        )
        out = np.zeros((n, *by_cell.shape[1:]), values.dtype)
        out[: len(level_cells)] = by_cell[level_cells]
        picked.append(out.reshape(-1, *values.shape[1:]))
        start += level.n_anchors
    return np.concatenate(picked)
