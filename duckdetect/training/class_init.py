"""Class-weight initialisation: a new class starts as the mean of the base classes it resembles most.

After weight imprinting (Qi et al., CVPR 2018), with the base's own class weights in place of
embeddings: a rubber duck resembles COCO's bird, a raccoon its dog and cat. The class head of those
classes already fires on the object; training has to move it, not to invent it (docs/accuracy.md).

`choose_confusables` picks the base classes that the object may be confused with; their scores later
suppress detections (models/postprocess.py). Classes of the COCO supercategory that the object resembles
most (for a duck and for a raccoon, the animals) are left out: the base does take a raccoon for a cat,
in one view more, in the next less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from duckdetect.data.augment import PlainViews, View
from duckdetect.data.dataset import Dataset
from duckdetect.imaging.io import shrink
from duckdetect.models.graphs import frozen_part, prepare_function, traced
from duckdetect.models.interfaces import BaseModel, ClassHead, LastLayer
from duckdetect.models.postprocess import ConfusableClasses
from duckdetect.models.tfod.rcnn import RcnnModel
from duckdetect.training.feature_cache import FeatureCache, cache_features, cut_patches, to_truth
from duckdetect.utils.progress import DELAY_S, progress_bar, waiting

_MOST_ALIKE = 3

_BATCH = 8  # views at a time


class OwnScores:
    """What the base's own classes score on the new objects, summed up for each new class.

    Of ten thousand images the scores of all anchors would take gigabytes.
    """

    def __init__(self) -> None:
        self._of_class: dict[int, _ClassScores] = {}

    def add(self, score: np.ndarray, class_id: np.ndarray) -> None:
        """Add a view.

        Args:
            score: (M, C) float32, of each anchor that is matched with an object, each of the base's
                classes.
            class_id: (M,) int, the new class that the anchor is matched with.
        """
        for new in np.unique(class_id):
            of_class = score[class_id == new]
            best = of_class.max(axis=0)
            known = self._of_class.setdefault(int(new), _ClassScores(score.shape[1]))
            known.n_anchors += len(of_class)
            known.n_views += 1
            known.total += of_class.sum(axis=0)
            known.total_best += best
            np.maximum(known.highest, best, out=known.highest)

    @property
    def classes(self) -> list[int]:
        """The new classes that an anchor was matched with, ascending."""
        return sorted(self._of_class)

    def mean(self, class_id: int) -> np.ndarray:
        """(C,) the mean of all anchors of a new class."""
        return self._of_class[class_id].total / self._of_class[class_id].n_anchors

    def highest(self, class_id: int) -> np.ndarray:
        """(C,) the highest of them."""
        return self._of_class[class_id].highest

    def mean_of_best(self, class_id: int) -> np.ndarray:
        """(C,) of each view the best anchor, and of the views the mean."""
        return self._of_class[class_id].total_best / self._of_class[class_id].n_views


class _ClassScores:
    """The sums of one new class, (C,) each."""

    def __init__(self, n_base_classes: int) -> None:
        self.n_anchors = self.n_views = 0
        self.total = np.zeros(n_base_classes)
        self.total_best = np.zeros(n_base_classes)
        self.highest = np.zeros(n_base_classes, np.float32)


def own_scores(
    base: BaseModel,
    cache: FeatureCache,
    own: ClassHead,
    n_plain: int,
    class_inputs: Callable[[Sequence[tf.Tensor]], Sequence[tf.Tensor]] = list,
    progress: bool = False,
) -> OwnScores:
    """Score the objects of the plain views by the base's own classes.

    Only where an anchor is matched: whole maps of all classes would take as long as the network.

    Args:
        base: The base model.
        cache: Features and targets, the plain views first.
        own: The base's own class head.
        n_plain: How many plain views there are; only these are scored.
        class_inputs: From the cached activations to what the class head reads; see
            `graphs.frozen_class_inputs`.
        progress: Show a bar on stderr, if it takes long.
    """
    found = OwnScores()
    starts = progress_bar(
        range(0, n_plain, _BATCH),
        "classes alike",
        unit="batch",
        delay=DELAY_S,
        disable=not progress,
    )
    for start in starts:
        features, indices = cache.class_side(np.arange(start, min(start + _BATCH, n_plain)))
        maps = [level.numpy() for level in class_inputs(features)]
        for view, class_index in enumerate(indices):
            first, scores, class_ids = 0, [], []
            levels = zip(base.levels, maps, own.kernels, own.biases, strict=True)
            for level, of_views, kernel, bias in levels:
                q, columns = bias.shape
                of_cell = class_index[first : first + level.n_anchors].reshape(-1, q)
                first += level.n_anchors
                cells = np.flatnonzero((of_cell >= 0).any(axis=1))
                weights = kernel.reshape(-1, q * columns)
                seen = cut_patches(of_views[view], cells, kernel.shape[0])
                logits = seen.reshape(len(cells), len(weights)) @ weights + bias.ravel()
                matched = of_cell[cells] >= 0
                foreground = logits.reshape(-1, q, columns)[matched][:, 1:]
                scores.append(tf.sigmoid(foreground).numpy())
                class_ids.append(of_cell[cells][matched])
            found.add(np.concatenate(scores), np.concatenate(class_ids))
    return found


def familiarity(found: OwnScores) -> float:
    """How surely the base's own classes tell the new ones, 0 to 1: 1 for what COCO names already.

    For each new class the base class that scores highest on it and not on the other new classes; of
    each view the best anchor counts, and of the views the mean. A base that sees a person's hand in
    rock, paper and scissors tells none of them.
    """
    highest = [found.mean_of_best(class_id) for class_id in found.classes]  # (K, C)
    margins = [
        (own - np.max([*highest[:k], *highest[k + 1 :], np.zeros_like(own)], axis=0)).max()
        for k, own in enumerate(highest)
    ]
    return float(np.mean(margins)) if margins else 0.0


_MOST_SCORED = 20


def measure_familiarity(base: BaseModel, dataset: Dataset, progress: bool = False) -> float:
    """`familiarity` of a base with a data set's objects, of up to 20 images; 0 without its own head."""
    own = base.own_class_head
    if own is None:
        return 0.0
    plain = PlainViews(dataset.evenly(_MOST_SCORED).samples)
    with waiting("what the base knows of them", progress):
        cache = cache_features(base, frozen_part(base, "heads"), plain, len(plain), False, False)
        return familiarity(own_scores(base, cache, own, len(plain)))


def init_classes(base: BaseModel, own: ClassHead, found: OwnScores) -> None:
    """Set the class head's weights for each new class; classes without a matched box are left.

    Args:
        base: The base model, its class head new; changed in place.
        own: The base's own class head.
        found: `own_scores` of the new objects.
    """
    for class_id in found.classes:
        alike = np.argsort(-found.mean(class_id))[:_MOST_ALIKE] + 1  # 0 is the background
        base.set_class_weights(
            class_id,
            [kernel[..., alike].mean(axis=-1) for kernel in own.kernels],
            [bias[..., alike].mean(axis=-1) for bias in own.biases],
        )


_MOST = 16  # of a class; with eight AP falls, with all others it is the same (docs/accuracy.md)


def choose_confusables(
    own: ClassHead,
    found: OwnScores,
    n_classes: int,
    class_inputs: Callable[[Sequence[tf.Tensor]], Sequence[tf.Tensor]] = list,
) -> ConfusableClasses | None:
    """Choose the base classes of another supercategory that fire most on the objects.

    Args:
        own: The base's own class head.
        found: `own_scores` of the new objects.
        n_classes: C.
        class_inputs: As `own_scores` has it.

    Returns:
        None if the base has no table of supercategories.
    """
    if own.groups is None or not found.classes:
        return None
    groups = np.array(own.groups)
    own_score = np.ones((len(groups), n_classes), np.float32)
    for class_id in found.classes:
        order = np.argsort(-found.mean(class_id))
        chosen = order[groups[order] != groups[order[0]]][:_MOST]
        own_score[chosen, class_id] = found.highest(class_id)[chosen]
    is_confusable = (own_score < 1).any(axis=1)
    columns = np.flatnonzero(is_confusable) + 1  # 0 is the background
    return ConfusableClasses(
        [kernel[..., columns] for kernel in own.kernels],
        [bias[..., columns] for bias in own.biases],
        own_score[is_confusable],
        class_inputs,
    )


_MOST_ALIKE = 3

# Enough for a class's mean score; each costs a run of the whole model.
_MOST_IMAGES = 20


def init_two_stage_classes(
    base: RcnnModel, own: dict[str, LastLayer], plain: Sequence[View]
) -> dict[int, list[int]]:
    """Set the class-specific layers' weights for each new class that has a box; others are left.

    They are the mean of the three classes most alike, each weighted by its mean score on the boxes: of an
    object that the base knows, as Mask R-CNN people, the two others must not drown the one that is meant.

    Args:
        base: The model, its class-specific layers new; changed in place.
        own: These layers as they were published, from `checkpoints.checkpoint_last_layers`.
        plain: The images.

    Returns:
        For each class set, the base's own classes (from 0) that it was made of.
    """
    mean, class_id = _box_features(base, plain)
    logits = mean @ own["class"].kernel + own["class"].bias  # (N, C + 1)
    score = tf.nn.softmax(logits).numpy()[:, 1:]
    made: dict[int, list[int]] = {}
    for new in range(base.num_classes):
        if not (class_id == new).any():
            continue
        mean_score = score[class_id == new].mean(axis=0)
        alike = np.argsort(-mean_score)[:_MOST_ALIKE]
        weights = mean_score[alike]
        made[new] = [int(c) for c in alike]
        for name, theirs in own.items():
            first = int(name == "class")  # the class head counts the background
            layer, _ = base.last_layers()[name]
            ours = LastLayer(layer.kernel.numpy(), layer.bias.numpy())
            if first:
                _copy_mean(theirs, [0], [1.0], ours, 0, base.num_classes + 1)
            n = base.num_classes + first
            _copy_mean(theirs, alike + first, weights, ours, new + first, n)
            layer.kernel.assign(ours.kernel)
            layer.bias.assign(ours.bias)
    return made


def _copy_mean(
    theirs: LastLayer,
    from_classes: Sequence[int] | np.ndarray,
    weights: Sequence[float] | np.ndarray,
    ours: LastLayer,
    to: int,
    n: int,
) -> None:
    """Set class `to` of `n` to a weighted mean; a class's channels lie together."""
    for source, target in ((theirs.kernel, ours.kernel), (theirs.bias, ours.bias)):
        per_class = target.shape[-1] // n
        by_class = source.reshape(*source.shape[:-1], -1, per_class)
        view = target.reshape(*target.shape[:-1], n, per_class)  # shares the target's memory
        view[..., to, :] = np.average(by_class[..., from_classes, :], axis=-2, weights=weights)


def _box_features(base: RcnnModel, plain: Sequence[View]) -> tuple[np.ndarray, np.ndarray]:
    """The labelled boxes' features for the class head, (N, c) float32, and their classes (N,)."""
    prepare = prepare_function(base)

    @traced(
        input_signature=[
            tf.TensorSpec([*base.input_hw, 3], tf.float32),
            tf.TensorSpec([None, 4], tf.float32),
        ]
    )
    def box_features(inputs: tf.Tensor, y1x1y2x2: tf.Tensor) -> tf.Tensor:
        features = base.features(inputs[tf.newaxis])
        return tf.reduce_mean(base.box_features(features, y1x1y2x2[tf.newaxis]), axis=[1, 2])

    means, classes = [], []
    seen = dict.fromkeys(range(base.num_classes), 0)
    for view in plain:
        held = set(view.class_id.tolist())
        if not any(seen[c] < _MOST_IMAGES for c in held):
            continue
        inputs, filled_hw = prepare(shrink(view.image, base.input_hw))
        ground_truth = to_truth(base, view, filled_hw.numpy())
        if len(ground_truth.class_id):
            means.append(box_features(inputs, ground_truth.y1x1y2x2).numpy())
            classes.append(ground_truth.class_id.numpy())
            for c in held:
                seen[c] += 1
    return np.concatenate(means), np.concatenate(classes)
