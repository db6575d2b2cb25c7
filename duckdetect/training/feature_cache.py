"""Frozen features of views, computed once, so that each step runs on what is trained alone.

    cache = cache_features(base, frozen_part(base, "heads"), views, len(views), patches=True)
    batch = cache.batch(np.array([0, 3, 1, 4]))

When only the last layers are trained, the box loss depends on the few positive cells, those that hold a
matched anchor. Of the box head's input the cache then keeps small patches around these cells; the class
head, whose loss runs over all anchors, keeps whole feature maps. The losses stay those of the stock loop
(tests/parity). Arrays that are too large for memory go to an unnamed file, feature maps in half
precision.

For two-stage bases (`cache_views`): with everything before the heads frozen, a view's proposals never
change, so they are sampled once, by the seed, and what the second stage's extractor makes of them is
kept: the box and class heads read its mean alone, (P, c); the mask head's loss asks for the few proposals
that match a box, (M, h, w, c). With the second stage trained as well, its input is kept, the image's map:
smaller than its crops. With all trained, the prepared image is kept, and every step samples again, as
the API does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from duckdetect.data.augment import View
from duckdetect.imaging.geometry import to_normalised
from duckdetect.imaging.io import shrink
from duckdetect.models.graphs import FrozenPart, prepare_function, traced
from duckdetect.models.interfaces import BaseModel, GroundTruth, ProposalTargets, Targets, TrainPart
from duckdetect.models.tfod.rcnn import RcnnModel
from duckdetect.models.tfod.rcnn_losses import int32_seed, sample
from duckdetect.utils.prefetch import prefetch
from duckdetect.utils.progress import progress_bar, tell_minutes
from duckdetect.utils.room import require_disk, require_memory
from duckdetect.utils.words import plural

MEMORY_LIMIT = 2_000_000_000

"""Bytes that one array may take in memory; a Colab machine has 12 GB, a laptop 8, and TensorFlow
wants its share."""


def empty_rows(
    n: int, shape: tuple[int, ...], dtype: npt.DTypeLike, limit: int = MEMORY_LIMIT
) -> np.ndarray:
    """An array (n, *shape); an `np.memmap` of a file that goes with it if larger than `limit` bytes."""
    size = n * int(np.prod(shape)) * np.dtype(dtype).itemsize
    _require_room(n, size, on_disk=size > limit)
    if size <= limit:
        return np.empty((n, *shape), dtype)
    with tempfile.TemporaryFile(prefix="duckdetect-") as file:
        # The mapping outlives the file's name and handle, and leaves nothing behind.
        return np.memmap(file, dtype, mode="w+", shape=(n, *shape))


def _require_room(n_views: int, n_bytes: int, on_disk: bool) -> None:
    """Stop before hours of work if the features of all views cannot be kept."""
    what = f"the features of {plural(n_views, 'view')} need about"
    if on_disk:
        cure = "make room, set TMPDIR to another place, or give fewer images or --views"
        require_disk(Path(tempfile.gettempdir()), n_bytes, what, cure)
    else:
        require_memory(n_bytes, what, "close other programs, or give fewer images or --views")


class FeatureMaps:
    """One level's maps of V views, (V, h, w, c), added view by view.

    On disk they are float16 in a nameless file that is gone when they are, read row by row: of a mapping
    the system counts every page that was touched as the process's memory.

    Args:
        on_disk: Whether they are kept in such a file, or in memory.
    """

    def __init__(self, on_disk: bool) -> None:
        self.on_disk = on_disk
        self._shape: tuple[int, ...] = ()  # of one view
        self._n = 0
        self._rows: list[np.ndarray] = []
        if on_disk:
            self._file = tempfile.TemporaryFile(prefix="duckdetect-")  # noqa: SIM115  (kept open)
            weakref.finalize(self, self._file.close)

    def add(self, maps: tf.Tensor) -> None:
        """Append the maps of the next views, (b, h, w, c) float32."""
        self._shape = tuple(maps.shape[1:])
        self._n += len(maps)
        if not self.on_disk:
            self._rows += list(maps.numpy())
            return
        most = np.finfo(np.float16).max
        self._file.write(np.clip(maps.numpy(), -most, most).astype(np.float16).tobytes())

    def take(self, index: np.ndarray) -> tf.Tensor:
        """The maps of the views with these numbers, (B, h, w, c) float32."""
        if self.on_disk:
            self._file.flush()
            size = self._row_bytes
            parts = [os.pread(self._file.fileno(), size, int(i) * size) for i in index]
            maps = np.frombuffer(b"".join(parts), np.float16).reshape(-1, *self._shape)
            return tf.constant(maps.astype(np.float32))
        return tf.constant(np.stack([self._rows[i] for i in index]))

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self._shape)) * (2 if self.on_disk else 4)

    @property
    def n_bytes(self) -> int:
        """What they take, in bytes."""
        return self._n * self._row_bytes


class SparseRows:
    """Rows of one shape, added row by row; kept is what differs from each row's usual value.

    Of a hundred thousand anchors a few are matched with a box: whole rows of ten thousand images would
    take 20 GB, these some MB.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[Any, np.ndarray, np.ndarray]] = []
        self._shape: tuple[int, ...] = ()
        self._dtype: npt.DTypeLike = np.float32

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: np.ndarray) -> None:
        """Append a row."""
        self._shape, self._dtype = row.shape, row.dtype
        values = row.ravel()
        usual = np.partition(values, len(values) // 2)[len(values) // 2]
        other = np.flatnonzero(values != usual)
        self._rows.append((usual, other.astype(np.int32), values[other]))

    def take(self, index: np.ndarray) -> np.ndarray:
        """The rows with these numbers, (B, ...)."""
        found = np.empty((len(index), int(np.prod(self._shape))), self._dtype)
        for row, i in zip(found, index, strict=True):
            usual, other, values = self._rows[i]
            row[:] = usual
            row[other] = values
        return found.reshape(-1, *self._shape)


class PositiveCells(NamedTuple):
    """One level's matched cells of V views, view after view; q anchors a cell.

    Attributes:
        patches: (P, k, k, c) float32, the box head's input around each cell.
        code: (P, q, 4) float32, its anchors' boxes as the engine encodes them.
        weight: (P, q) float32, above 0 where an anchor is matched.
        start: (V + 1,) int, where each view's cells begin.
    """

    patches: np.ndarray
    code: np.ndarray
    weight: np.ndarray
    start: np.ndarray

    def of(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patches, codes and weights of the views with these numbers.

        At least one cell, of weight 0 if need be: TensorFlow's gradients want a batch.
        """
        rows = np.concatenate([np.arange(self.start[v], self.start[v + 1]) for v in views])
        if len(rows):
            return self.patches[rows], self.code[rows], self.weight[rows]
        return tuple(np.zeros((1, *a.shape[1:]), a.dtype) for a in self[:3])  # type: ignore[return-value]


def find_positive_cells(base: BaseModel, targets: Targets) -> list[np.ndarray]:
    """For each level the sorted numbers (row * width + column) of cells with a matched anchor."""
    found, start = [], 0
    for level in base.levels:
        weight = targets.box_weight[start : start + level.n_anchors]
        found.append(np.unique(np.flatnonzero(weight > 0) // level.anchors_per_cell))
        start += level.n_anchors
    return found


def cut_patches(features: np.ndarray, cells: np.ndarray, k: int) -> np.ndarray:
    """Cut (P, k, k, c) around these cells out of a map (h, w, c).

    Beyond the map's edge lie zeros, which is what a 'same' convolution reads there.
    """
    padded = np.pad(features, ((k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    rows, columns = np.divmod(cells, features.shape[1])
    out = np.zeros((len(cells), k, k, features.shape[2]), features.dtype)
    for i, (y, x) in enumerate(zip(rows, columns, strict=True)):
        out[i] = padded[y : y + k, x : x + k]
    return out


ViewCells = list[tuple[np.ndarray, np.ndarray, np.ndarray]]

"""For each level a view's patches, codes and weights, as in `PositiveCells`."""


def view_cells(base: BaseModel, maps: Sequence[np.ndarray], targets: Targets) -> ViewCells:
    """Cut a view's positive cells out of its maps, (h, w, c) for each level."""
    found, first = [], 0
    cells = find_positive_cells(base, targets)
    for level, of_level, where in zip(base.levels, maps, cells, strict=True):
        anchors, q = slice(first, first + level.n_anchors), level.anchors_per_cell
        first += level.n_anchors
        found.append(
            (
                cut_patches(of_level, where, base.box_kernel_size),
                targets.box_code[anchors].reshape(-1, q, 4)[where],
                targets.box_weight[anchors].reshape(-1, q)[where],
            )
        )
    return found


class GrowingRows:
    """Rows of one shape in an array that grows in place: a list of them, joined, is there twice."""

    def __init__(self) -> None:
        self._rows = np.empty(0)
        self._n = 0

    def add(self, rows: np.ndarray) -> None:
        """Append rows."""
        if not len(self._rows):
            self._rows = np.empty((len(rows), *rows.shape[1:]), rows.dtype)
        n = self._n + len(rows)
        if n > len(self._rows):
            # An eighth more: each time the system moves the pages, not their contents.
            self._rows.resize((n + n // 8, *rows.shape[1:]), refcheck=False)
        self._rows[self._n : n] = rows
        self._n = n

    def whole(self) -> np.ndarray:
        """All of them."""
        self._rows.resize((self._n, *self._rows.shape[1:]), refcheck=False)
        return self._rows


class GrowingCells:
    """The cells of one level, view after view."""

    def __init__(self) -> None:
        self._columns = GrowingRows(), GrowingRows(), GrowingRows()
        self._count = [0]

    def add(self, patches: np.ndarray, code: np.ndarray, weight: np.ndarray) -> None:
        """Append a view's, as `view_cells` gives them."""
        for column, rows in zip(self._columns, (patches, code, weight), strict=True):
            column.add(rows)
        self._count.append(len(patches))

    def whole(self) -> PositiveCells:
        """All of them."""
        patches, code, weight = (column.whole() for column in self._columns)
        return PositiveCells(patches, code, weight, np.cumsum(self._count))


_BATCH = 8  # views a forward pass: enough to fill two cores, little memory


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
        patches: Whether the box head's inputs are patches around matched cells, or whole maps.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        filled_hw: np.ndarray,
        class_features: list[FeatureMaps],
        boxes: list[FeatureMaps] | list[PositiveCells],
        targets: dict[str, SparseRows],
    ) -> None:
        self.names = names
        self.filled_hw = filled_hw
        self.class_features = class_features
        self._targets = targets
        self._boxes = boxes
        self.patches = isinstance(boxes[0], PositiveCells)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_bytes(self) -> int:
        """What the features take, in bytes."""
        kept = {id(m): m.n_bytes for m in self.class_features}
        for level in self._boxes:
            kept[id(level)] = (
                level.patches.nbytes if isinstance(level, PositiveCells) else level.n_bytes
            )
        return sum(kept.values())

    @property
    def on_disk(self) -> bool:
        """Whether the maps are kept in a file, since they are too large for memory."""
        return self.class_features[0].on_disk

    def class_side(self, index: np.ndarray) -> tuple[list[tf.Tensor], np.ndarray]:
        """Of the views with these numbers, (B,), the class head's maps and `class_index` (B, A)."""
        classes = [level.take(index) for level in self.class_features]
        return classes, self._targets["class_index"].take(index)

    def batch(self, index: np.ndarray) -> Batch:
        """The views with these numbers, (B,)."""
        classes, class_index = self.class_side(index)
        if self.patches:
            boxes, target, weight = self._cells_of(index)
        else:
            shared = self._boxes is self.class_features
            boxes = classes if shared else [m.take(index) for m in self._boxes]  # type: ignore[union-attr]
            target, weight = (self._targets[k].take(index) for k in ("box_code", "box_weight"))
        return Batch(
            boxes,
            classes,
            tf.constant(target),
            tf.constant(weight),
            tf.constant(class_index),
            tf.constant(self._targets["class_weight"].take(index)),
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
        levels = [level.of(index) for level in self._boxes if isinstance(level, PositiveCells)]
        patches = [tf.constant(patch[np.newaxis]) for patch, _, _ in levels]
        code = np.concatenate([code.reshape(-1, 4) for _, code, _ in levels])
        weight = np.concatenate([weight.ravel() for _, _, weight in levels])
        return patches, code[np.newaxis], weight[np.newaxis]


def cache_features(
    base: BaseModel,
    frozen: FrozenPart,
    views: Iterable[View],
    n_views: int,
    patches: bool,
    progress: bool = False,
) -> FeatureCache:
    """Run the frozen part on every view once and assign its targets once.

    Maps that would take more than `MEMORY_LIMIT` go to a file in half precision.

    Args:
        base: The base model.
        frozen: `frozen_part(base, part)`.
        views: The views, at least one; read one batch at a time.
        n_views: How many there are.
        patches: Whether to keep of the box head's input only patches around matched cells, which
            is enough to train its last layer; of very many views whole maps are kept nonetheless.
        progress: Show a bar on stderr.
    """
    prepare = prepare_function(base)
    box_maps: list[FeatureMaps] = []
    class_maps: list[FeatureMaps] = []
    cut = [GrowingCells() for _ in base.levels]
    kept_targets: dict[str, SparseRows] = {}
    names: list[str] = []
    filled: list[np.ndarray] = []
    bar = progress_bar(total=n_views, desc="features", unit="view", disable=not progress)
    # Views are made in another thread while the network runs on those before.
    with contextlib.closing(prefetch(views, _BATCH)) as coming:
        while group := list(itertools.islice(coming, _BATCH)):
            prepared = [prepare(shrink(view.image, base.input_hw)) for view in group]
            box, classes = frozen(tf.stack([inputs for inputs, _ in prepared]))[:2]
            targets: list[Targets] = []
            for view, (_, filled_hw) in zip(group, prepared, strict=True):
                filled.append(filled_hw.numpy())
                normalised, negatives = (
                    to_normalised(xyxy, view.image.shape[:2], filled[-1])
                    for xyxy in (view.xyxy, view.hard_negatives)
                )
                targets.append(base.assign(normalised, view.class_id, negatives, view.whole))
                names.append(view.name)
            if not class_maps:
                # Patches of very many views need more memory than whole maps on disk.
                needed = 0
                if patches:
                    needed = _patch_bytes(base, box or classes, targets) * n_views // len(targets)
                    patches = needed <= MEMORY_LIMIT // 2
                    needed *= patches
                kept = classes if patches else [*box, *classes]
                n_bytes = sum(4 * int(np.prod(level.shape[1:])) for level in kept) * n_views
                on_disk = n_bytes > MEMORY_LIMIT
                _require_room(n_views, n_bytes // 2 if on_disk else n_bytes + needed, on_disk)
                of_boxes = () if patches else ("box_code", "box_weight")
                kept_targets = {
                    key: SparseRows() for key in ("class_index", "class_weight", *of_boxes)
                }
                class_maps = [FeatureMaps(on_disk) for _ in classes]
                box_maps = [FeatureMaps(on_disk) for _ in box]
            for level, found in zip(class_maps, classes, strict=True):
                level.add(found)
            for target in targets:
                for key, rows in kept_targets.items():
                    rows.add(getattr(target, key))
            if patches:
                levels = [level.numpy() for level in box or classes]
                for i, target in enumerate(targets):
                    found_cells = view_cells(base, [level[i] for level in levels], target)
                    for of_level, cells in zip(cut, found_cells, strict=True):
                        of_level.add(*cells)
            else:
                for level, found in zip(box_maps, box, strict=True):
                    level.add(found)
            bar.update(len(group))
    bar.close()
    boxes = [level.whole() for level in cut] if patches else box_maps or class_maps
    return FeatureCache(tuple(names), np.stack(filled), class_maps, boxes, kept_targets)


def _patch_bytes(base: BaseModel, levels: Sequence[tf.Tensor], targets: Sequence[Targets]) -> int:
    """What the patches of these views take, float32."""
    depths = [int(level.shape[-1]) for level in levels]
    found = [find_positive_cells(base, target) for target in targets]
    n = sum(len(c) * d for cells in found for c, d in zip(cells, depths, strict=True))
    return 4 * base.box_kernel_size**2 * n


@dataclass(frozen=True, eq=False)
class ViewCache:
    """What a training step reads of V views.

    Attributes:
        names: The views' names, for messages.
        part: What can be trained on it.
        inputs: What the trained part reads first: for "heads" the proposals' mean features
            (V, P, c) and those of the first M whole (V, M, h, w, c); for "second-stage" the
            images' maps (V, h, w, c); for "all" the images (V, h, w, 3).
        targets: Of the sampled proposals, V rows; empty for "all".
        truths: The views' boxes; empty but for "all".
        filled_hw: (V, 2) float32.
    """

    names: tuple[str, ...]
    part: TrainPart
    inputs: tuple[np.ndarray, ...]
    targets: ProposalTargets | None
    truths: tuple[GroundTruth, ...]
    filled_hw: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_bytes(self) -> int:
        """What the inputs take, in memory or on disk, in bytes."""
        return sum(array.nbytes for array in self.inputs)

    @property
    def on_disk(self) -> bool:
        """Whether some of them are kept in a file, since they are too large for memory."""
        return any(isinstance(array, np.memmap) for array in self.inputs)


def to_truth(base: RcnnModel, view: View, filled_hw: np.ndarray) -> GroundTruth:
    """What a view holds, as the model takes it; a box of no size is left out, it has no place."""
    y1x1y2x2 = to_normalised(view.xyxy, view.image.shape[:2], filled_hw)
    kept = (y1x1y2x2[:, 2:] > y1x1y2x2[:, :2]).all(axis=1) & np.isfinite(y1x1y2x2).all(axis=1)
    n = int(kept.sum())
    masks = np.zeros((n, *base.input_hw), np.uint8)
    if base.has_masks and view.masks is not None:
        masks = base.input_masks(view.masks[kept])
    return GroundTruth(
        y1x1y2x2=tf.constant(y1x1y2x2[kept], tf.float32, [n, 4]),
        class_id=tf.constant(view.class_id[kept], tf.int32, [n]),
        masks=tf.constant(masks),
        has_mask=tf.constant(masks.any(axis=(1, 2)), tf.bool, [n]),
    )


def cache_views(
    base: RcnnModel,
    views: Iterable[View],
    n_views: int,
    part: TrainPart,
    seed: int,
    *,
    dtype: npt.DTypeLike = np.float16,
    limit: int = MEMORY_LIMIT,
    progress: bool = False,
) -> ViewCache:
    """Run what `part` leaves frozen on every view, once.

    Args:
        base: The model.
        views: The views; read one at a time.
        n_views: How many they are, at least 1.
        part: What will be trained.
        seed: Decides which proposals are trained on.
        dtype: Of the kept features: float32 gives the API's losses to 1e-5, float16 halves the size
            and gives them to about 1e-3.
        limit: Bytes that one array may take in memory; beyond, it lies on disk.
        progress: Show a bar on stderr.
    """
    prepare = prepare_function(base)
    frozen = _frozen_part(base, part)
    names: list[str] = []
    rows: tuple[np.ndarray, ...] = ()
    targets: list[ProposalTargets] = []
    truths: list[GroundTruth] = []
    filled = np.empty((n_views, 2), np.float32)
    bar = progress_bar(views, "features", n_views, unit="view", disable=not progress)
    began = 0.0
    for i, view in enumerate(bar):
        if i == 1:  # the first one is also the network's tracing
            began = time.monotonic()
        if i == 3 and progress:
            seconds = (time.monotonic() - began) / 2
            tell_minutes(f"features of {n_views} views", seconds * n_views)
        inputs, filled_hw = prepare(shrink(view.image, base.input_hw))
        filled[i] = filled_hw
        ground_truth = to_truth(base, view, filled[i])
        kept: tuple[Any, ...] = (inputs,)
        if part == "all":
            truths.append(ground_truth)
        else:
            own_seed = tf.constant([int32_seed(seed), i], tf.int32)
            kept, target = frozen(inputs, filled_hw, ground_truth, own_seed)
            targets.append(target)
        if not rows:
            kind = np.float32 if part == "all" else dtype
            rows = tuple(empty_rows(n_views, tuple(k.shape), kind, limit) for k in kept)
        for row, value in zip(rows, kept, strict=True):
            row[i] = value
        names.append(view.name)
    return ViewCache(
        tuple(names), part, rows, stack(targets) if targets else None, tuple(truths), filled
    )


def stack(rows: Sequence[ProposalTargets]) -> ProposalTargets:
    """The targets of several images as those of a batch."""
    return ProposalTargets(*(tf.stack(field) for field in zip(*rows, strict=True)))


def _frozen_part(base: RcnnModel, part: TrainPart) -> Callable[..., Any]:
    @traced(
        input_signature=[
            tf.TensorSpec([*base.input_hw, 3], tf.float32),
            tf.TensorSpec([2], tf.float32),
            truth_spec(base),
            tf.TensorSpec([2], tf.int32),
        ]
    )
    def run(
        inputs: tf.Tensor, filled_hw: tf.Tensor, ground_truth: GroundTruth, seed: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, ...], ProposalTargets]:
        features = base.features(inputs[tf.newaxis])
        first = base.objectness(features, training=True)
        boxes, count = base.propose(*first, filled_hw[tf.newaxis])
        target = sample(base, boxes[0], count[0], ground_truth, seed)
        if part == "second-stage":
            return (features[0],), target
        deep = base.box_features(features, target.y1x1y2x2[tf.newaxis])  # (P, h, w, c)
        mean = tf.reduce_mean(deep, axis=[1, 2])
        return (mean, deep[: base.n_positive]) if base.has_masks else (mean,), target

    return run


def truth_spec(base: RcnnModel) -> GroundTruth:
    """A signature under which images with any number of boxes share a trace."""
    return GroundTruth(
        tf.TensorSpec([None, 4], tf.float32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, *base.input_hw], tf.uint8),
        tf.TensorSpec([None], tf.bool),
    )
