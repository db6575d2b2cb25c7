"""Frozen features of views, computed once, so that training runs on the heads alone.

    cache = cache_features(base, frozen_part(base, "heads"), views, len(views), patches=True)
    batch = cache.batch(np.array([0, 3, 1, 4]))

When only the last layers are trained, the box loss depends on the few cells that hold a matched anchor
(cells.py). Of the box head's input the cache therefore keeps small patches around these cells; the class
head, whose loss runs over all anchors, keeps whole maps. The losses stay those of the stock loop
(tests/test_parity_stock_loop.py).
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from duckdetect import maps
from duckdetect.ahead import ahead
from duckdetect.augment import View
from duckdetect.bases.base import BaseModel, Targets, TrainPart
from duckdetect.bases.two_stage import TwoStageModel
from duckdetect.cells import Cells, cut_patches, find_cells, join_cells
from duckdetect.graphs import traced, with_constants
from duckdetect.maps import Maps
from duckdetect.pictures import shrink

_BATCH = 8  # views a forward pass: enough to fill two cores, little memory

FrozenPart = Callable[[tf.Tensor], tuple[list[tf.Tensor], list[tf.Tensor]]]


class Batch(NamedTuple):
    """What a training step needs of B views; shapes as in `BaseModel.losses`.

    Where the cache keeps patches, the box head's side (`box_features`, `box_target`, `box_weight`)
    holds the matched cells of all B views in one row: its B is 1.
    """

    box_features: list[tf.Tensor]
    class_features: list[tf.Tensor]
    box_target: tf.Tensor
    box_weight: tf.Tensor
    class_index: tf.Tensor
    class_weight: tf.Tensor


class FeatureCache:
    """The frozen features and targets of V views.

    Attributes:
        names: The views' names, for messages.
        filled_hw: (V, 2) float32, the parts of the model's input that each view fills.
        class_features: For each level the class head's maps.
        class_index: (V, A) int32, as in `bases.base.Targets`.
        class_weight: (V, A) float32.
        patches: Whether the box head's inputs are patches around matched cells, or whole maps.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        filled_hw: np.ndarray,
        class_features: list[Maps],
        boxes: list[Maps] | list[Cells],
        targets: list[Targets],
    ) -> None:
        self.names = names
        self.filled_hw = filled_hw
        self.class_features = class_features
        self.class_index = np.stack([t.class_index for t in targets])
        self.class_weight = np.stack([t.class_weight for t in targets])
        self._boxes = boxes
        self.patches = isinstance(boxes[0], Cells)
        if not self.patches:
            self._box_target = np.stack([t.box_code for t in targets])
            self._box_weight = np.stack([t.box_weight for t in targets])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_bytes(self) -> int:
        """What the features take, in bytes."""
        kept = {id(m): m.n_bytes for m in self.class_features}
        for level in self._boxes:
            kept[id(level)] = level.patches.nbytes if isinstance(level, Cells) else level.n_bytes
        return sum(kept.values())

    @property
    def on_disk(self) -> bool:
        """Whether the maps were too many for memory (maps.py)."""
        return self.class_features[0].on_disk

    def batch(self, index: np.ndarray) -> Batch:
        """The views with these numbers, (B,)."""
        classes = [level.take(index) for level in self.class_features]
        if self.patches:
            boxes, target, weight = self._cells_of(index)
        else:
            shared = self._boxes is self.class_features
            boxes = classes if shared else [m.take(index) for m in self._boxes]  # type: ignore[union-attr]
            target, weight = self._box_target[index], self._box_weight[index]
        return Batch(
            boxes,
            classes,
            tf.constant(target),
            tf.constant(weight),
            tf.constant(self.class_index[index]),
            tf.constant(self.class_weight[index]),
        )

    @property
    def signature(self) -> Batch:
        """What batches of any views have in common, as tensor specifications."""

        def spec(tensor: tf.Tensor, n_open: int) -> tf.TensorSpec:
            return tf.TensorSpec([None] * n_open + tensor.shape[n_open:].as_list(), tensor.dtype)

        one = self.batch(np.arange(1))
        n_open = 2 if self.patches else 1  # views, and cells in a row of them all
        return Batch(
            [spec(t, n_open) for t in one.box_features],
            [spec(t, 1) for t in one.class_features],
            spec(one.box_target, n_open),
            spec(one.box_weight, n_open),
            spec(one.class_index, 1),
            spec(one.class_weight, 1),
        )

    def _cells_of(self, index: np.ndarray) -> tuple[list[tf.Tensor], np.ndarray, np.ndarray]:
        levels = [level.of(index) for level in self._boxes if isinstance(level, Cells)]
        patches = [tf.constant(patch[np.newaxis]) for patch, _, _ in levels]
        code = np.concatenate([code.reshape(-1, 4) for _, code, _ in levels])
        weight = np.concatenate([weight.ravel() for _, _, weight in levels])
        return patches, code[np.newaxis], weight[np.newaxis]


def frozen_part(base: BaseModel, part: TrainPart) -> FrozenPart:
    """The base's frozen part as one traced function of inputs (B, h, w, 3) float32.

    It returns the inputs of the box head and of the class head, a map for each level; the first list
    is empty where both heads read the same. Of a small model it holds the weights as they are now.
    """
    # Where there is a fine input too, one graph serves both.
    height, width = base.input_hw if base.fine_hw is None else (None, None)

    @traced(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32)])
    def run(inputs: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        features = base.head_inputs(inputs, part)
        return [] if features.box is features.classes else features.box, features.classes

    constant: FrozenPart = with_constants(run, base.variables())
    return constant


def prepare_function(
    base: BaseModel | TwoStageModel,
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """The base's `prepare` as one traced function for all picture sizes."""
    signature = [tf.TensorSpec([None, None, 3], tf.uint8)]
    prepare: Callable[..., Any] = traced(base.prepare, input_signature=signature)
    return prepare


def cache_features(
    base: BaseModel,
    frozen: FrozenPart,
    views: Iterable[View],
    n_views: int,
    patches: bool,
    progress: bool = False,
) -> FeatureCache:
    """Run the frozen part on every view once and assign its targets once.

    Maps that would take more than `maps.MOST_BYTES` go to a file in half precision.

    Args:
        base: The base model.
        frozen: `frozen_part(base, part)`.
        views: The views, at least one; read one batch at a time.
        n_views: How many there are.
        patches: Whether to keep of the box head's input only patches around matched cells, which
            is enough to train its last layer.
        progress: Show a bar on stderr.
    """
    prepare = prepare_function(base)
    box_maps: list[Maps] = []
    class_maps: list[Maps] = []
    cut: list[list[np.ndarray]] = []  # [view][level]
    targets: list[Targets] = []
    names: list[str] = []
    filled: list[np.ndarray] = []
    bar = tqdm(total=n_views, desc="features", unit="view", disable=not progress, file=sys.stderr)
    # Views are made in another thread while the network looks at those before.
    with contextlib.closing(ahead(views, _BATCH)) as coming:
        while group := list(itertools.islice(coming, _BATCH)):
            prepared = [prepare(shrink(view.picture, base.input_hw)) for view in group]
            box, classes = frozen(tf.stack([inputs for inputs, _ in prepared]))
            for view, (_, filled_hw) in zip(group, prepared, strict=True):
                filled.append(filled_hw.numpy())
                targets.append(base.assign(_normalise(view, filled[-1]), view.class_id))
                names.append(view.name)
            if not class_maps:
                kept = classes if patches else [*box, *classes]
                n_bytes = sum(4 * int(np.prod(level.shape[1:])) for level in kept) * n_views
                on_disk = n_bytes > maps.MOST_BYTES
                class_maps = [Maps(n_views, on_disk) for _ in classes]
                box_maps = [Maps(n_views, on_disk) for _ in box]
            for level, found in zip(class_maps, classes, strict=True):
                level.add(found)
            if patches:
                levels = [level.numpy() for level in box or classes]
                for i, target in enumerate(targets[-len(group) :]):
                    cells = find_cells(base, target)
                    k = base.box_kernel_size
                    pairs = zip(levels, cells, strict=True)
                    cut.append([cut_patches(level[i], where, k) for level, where in pairs])
            else:
                for level, found in zip(box_maps, box, strict=True):
                    level.add(found)
            bar.update(len(group))
    bar.close()
    boxes = join_cells(base, cut, targets) if patches else box_maps or class_maps
    return FeatureCache(tuple(names), np.stack(filled), class_maps, boxes, targets)


def _normalise(view: View, filled_hw: np.ndarray) -> np.ndarray:
    """The view's boxes as (N, 4) y1x1y2x2, parts of the model's input."""
    height, width = view.picture.shape[:2]
    scale = np.array([filled_hw[0] / height, filled_hw[1] / width] * 2, np.float32)
    return view.xyxy[:, [1, 0, 3, 2]].astype(np.float32) * scale
