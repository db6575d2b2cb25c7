"""What stands still in training a Faster or Mask R-CNN, computed once for each view, and kept.

    cache = cache_views(base, views, len(views), "heads", seed=0)

With everything before the heads frozen, a view's proposals never change, so they are sampled once, by
the seed, and what the second stage's extractor makes of them is kept: the box and class heads read its
mean alone, (P, c); the mask head's loss asks for the few proposals that match a box, (M, h, w, c).
Variety comes from the views. With the second stage trained as well, its input is kept, the picture's
map: smaller than its crops. With all trained, the prepared picture is kept, and every step samples
anew, as the API does. twostage_steps.py trains on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from duckdetect.augment import View
from duckdetect.bases.base import TrainPart
from duckdetect.bases.od_api_rcnn import RcnnModel
from duckdetect.bases.od_api_rcnn_targets import sample
from duckdetect.bases.two_stage import ProposalTargets, Truth
from duckdetect.features import prepare_function
from duckdetect.graphs import traced
from duckdetect.pictures import shrink
from duckdetect.rows import MEMORY_LIMIT, empty_rows


@dataclass(frozen=True, eq=False)
class ViewCache:
    """What a training step reads of V views.

    Attributes:
        names: The views' names, for messages.
        part: What can be trained on it.
        inputs: What the trained part reads first: for "heads" the proposals' mean features
            (V, P, c) and those of the first M whole (V, M, h, w, c); for "second-stage" the
            pictures' maps (V, h, w, c); for "all" the pictures (V, h, w, 3).
        targets: Of the sampled proposals, V rows; empty for "all".
        truths: The views' boxes; empty but for "all".
        filled_hw: (V, 2) float32.
    """

    names: tuple[str, ...]
    part: TrainPart
    inputs: tuple[np.ndarray, ...]
    targets: ProposalTargets | None
    truths: tuple[Truth, ...]
    filled_hw: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_bytes(self) -> int:
        """What the inputs take, in memory or on disk, in bytes."""
        return sum(array.nbytes for array in self.inputs)

    @property
    def on_disk(self) -> bool:
        """Whether some of them were too large for memory (rows.py)."""
        return any(isinstance(array, np.memmap) for array in self.inputs)


def to_truth(base: RcnnModel, view: View, filled_hw: np.ndarray) -> Truth:
    """What a view holds, as the model takes it; a box of no size is left out, it has no place."""
    height, width = view.picture.shape[:2]
    scale = np.array([filled_hw[0] / height, filled_hw[1] / width] * 2, np.float32)
    y1x1y2x2 = view.xyxy[:, [1, 0, 3, 2]].astype(np.float32) * scale
    kept = (y1x1y2x2[:, 2:] > y1x1y2x2[:, :2]).all(axis=1) & np.isfinite(y1x1y2x2).all(axis=1)
    n = int(kept.sum())
    masks = np.zeros((n, *base.input_hw), np.uint8)
    if base.has_masks and view.masks is not None:
        masks = base.input_masks(view.masks[kept])
    return Truth(
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
    truths: list[Truth] = []
    filled = np.empty((n_views, 2), np.float32)
    bar = tqdm(views, "features", n_views, unit="view", disable=not progress, file=sys.stderr)
    for i, view in enumerate(bar):
        inputs, filled_hw = prepare(shrink(view.picture, base.input_hw))
        filled[i] = filled_hw
        truth = to_truth(base, view, filled[i])
        kept: tuple[Any, ...] = (inputs,)
        if part == "all":
            truths.append(truth)
        else:
            kept, target = frozen(inputs, filled_hw, truth, tf.constant([seed, i], tf.int32))
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
    """The targets of several pictures as those of a batch."""
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
        inputs: tf.Tensor, filled_hw: tf.Tensor, truth: Truth, seed: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, ...], ProposalTargets]:
        features = base.features(inputs[tf.newaxis])
        first = base.objectness(features, training=True)
        boxes, count = base.propose(*first, filled_hw[tf.newaxis])
        target = sample(base, boxes[0], count[0], truth, seed)
        if part == "second-stage":
            return (features[0],), target
        deep = base.box_features(features, target.y1x1y2x2[tf.newaxis])  # (P, h, w, c)
        mean = tf.reduce_mean(deep, axis=[1, 2])
        return (mean, deep[: base.n_positive]) if base.has_masks else (mean,), target

    return run


def truth_spec(base: RcnnModel) -> Truth:
    """A signature under which pictures with any number of boxes share a trace."""
    return Truth(
        tf.TensorSpec([None, 4], tf.float32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, *base.input_hw], tf.uint8),
        tf.TensorSpec([None], tf.bool),
    )
