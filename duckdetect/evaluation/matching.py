"""Matching detections with ground truth: true and false positives, F1 curves, kinds of mistakes.

Greedy by score at IoU 0.5, as COCO does it; crowds are ignored. The kinds of mistakes follow TIDE's
idea (Bolya et al. 2020): missed, misplaced, confused, duplicate, background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from duckdetect.imaging.geometry import to_xywh
from duckdetect.utils.progress import DELAY_S, progress_bar

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.data.dataset import Dataset, Sample

Floats = npt.NDArray[np.float64]

Ints = npt.NDArray[np.int64]

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ImageMatch:
    """How one image's detections met its labelled boxes.

    Attributes:
        kept: (D,) indices of the detections at or above the threshold, highest score first.
        truth_index: (D,) the labelled box that each kept detection found, -1 for none.
        ignored: (D,) True where it found a crowd box: neither right nor wrong.
        missed: (M,) indices of the labelled boxes that no detection found, crowds left out.
    """

    kept: Ints
    truth_index: Ints
    ignored: Bools
    missed: Ints

    @property
    def is_true(self) -> Bools:
        """(D,) True where the kept detection is right."""
        return (self.truth_index >= 0) & ~self.ignored

    @property
    def n_true(self) -> int:
        """Number of right detections."""
        return int(self.is_true.sum())

    @property
    def n_false(self) -> int:
        """Number of wrong detections."""
        return int((self.truth_index < 0).sum())

    @property
    def n_missed(self) -> int:
        """Number of labelled boxes not found."""
        return len(self.missed)


def match_detections(
    sample: Sample,
    detections: Detections,
    score_threshold: float = 0.0,
    iou_threshold: float = 0.5,
    same_class: bool = True,
) -> ImageMatch:
    """Match one image's detections with its labelled boxes, greedily by falling score.

    Args:
        sample: The image's truth: xyxy (N, 4), class_id (N,), crowd (N,).
        detections: Its detections with scores; class ids count as the sample's do.
        score_threshold: Detections below it are left out.
        iou_threshold: The least overlap (intersection over union) that counts as found.
        same_class: False lets a detection find a box of another class (for confusion matrices).

    Returns:
        The match; indices refer to `detections` and `sample` as given.

    Raises:
        ValueError: If the detections carry no scores or no class ids.
    """
    score, class_id = score_and_class(detections)
    order = np.argsort(-score, kind="stable")
    kept = order[score[order] >= score_threshold].astype(np.int64)  # (D,)
    truth_index = np.full(len(kept), -1, np.int64)
    crowd = np.asarray(sample.crowd, bool)  # (N,)
    if len(kept) and len(crowd):
        iou = coco_mask.iou(
            to_xywh(detections.xyxy[kept]), to_xywh(sample.xyxy), crowd.astype(np.uint8)
        )
        allowed = iou >= min(iou_threshold, 1 - 1e-10)  # (D, N)
        if same_class:
            allowed &= class_id[kept, None] == np.asarray(sample.class_id)[None]
        free = np.ones(len(crowd), bool)
        for row in np.flatnonzero(allowed.any(axis=1)):
            candidates = allowed[row] & free
            # A box of its own comes before a crowd; among equals the last one, as in pycocotools.
            for group in (candidates & ~crowd, candidates & crowd):
                if group.any():
                    overlap = np.where(group, iou[row], -1.0)
                    best = len(overlap) - 1 - int(np.argmax(overlap[::-1]))
                    truth_index[row] = best
                    free[best] = crowd[best]
                    break
    ignored = np.zeros(len(kept), bool)
    found = truth_index >= 0
    ignored[found] = crowd[truth_index[found]]
    missed = np.setdiff1d(np.flatnonzero(~crowd), truth_index[found]).astype(np.int64)
    return ImageMatch(kept, truth_index, ignored, missed)


@dataclass(frozen=True)
class Curve:
    """Precision, recall and F1 at IoU 0.5 over the score threshold; one point for each score.

    Attributes:
        score: (K,) thresholds, falling; the detections at or above each are counted.
        precision: (K,) right detections / detections.
        recall: (K,) right detections / labelled boxes; zeros without a labelled box.
        f1: (K,) harmonic mean of both.
        n_true: (K,) number of right detections.
        n_false: (K,) number of wrong ones.
        n_truth: Number of labelled boxes, crowds left out.
    """

    score: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    n_true: Ints
    n_false: Ints
    n_truth: int

    @property
    def best(self) -> int | None:
        """Index of the highest F1 (of equals the highest score); None if nothing is ever right."""
        if not len(self.f1) or self.f1.max() == 0:
            return None
        return int(np.argmax(self.f1))

    def at(self, threshold: float) -> AtThreshold:
        """What the detections at or above a threshold are worth."""
        n = int((self.score >= threshold).sum())
        if n == 0:
            nothing = 0.0 if self.n_truth else None
            return AtThreshold(threshold, nothing, None, nothing, 0, 0)
        right, wrong = int(self.n_true[n - 1]), int(self.n_false[n - 1])
        return AtThreshold(
            threshold,
            float(self.f1[n - 1]) if self.n_truth else None,
            right / (right + wrong) if right + wrong else None,
            float(self.recall[n - 1]) if self.n_truth else None,
            right,
            wrong,
        )


@dataclass(frozen=True)
class AtThreshold:
    """Detections at or above a score threshold, at IoU 0.5.

    Attributes:
        threshold: The score.
        F1, precision, recall: 0..1; None where undefined.
        n_true: True positives.
        n_false: False positives.
    """

    threshold: float
    F1: float | None
    precision: float | None
    recall: float | None
    n_true: int
    n_false: int


def threshold_curves(
    dataset: Dataset, detections: Sequence[Detections], progress: bool = False
) -> tuple[Curve, dict[str, Curve]]:
    """The curve of all classes pooled, and one for each class.

    Args:
        dataset: The truth.
        detections: One Detections for each of `dataset.samples`, in that order.
        progress: Show a bar on stderr, if it takes long.
    """
    scores, classes, rights = [], [], []
    n_truth = np.zeros(len(dataset.classes), np.int64)
    pairs = progress_bar(
        zip(dataset.samples, detections, strict=True), "precision and recall", len(detections),
        unit="picture", delay=DELAY_S, disable=not progress,
    )  # fmt: skip
    for sample, found in pairs:
        match = match_detections(sample, found)
        counted = ~match.ignored
        score, class_id = score_and_class(found)
        scores.append(score[match.kept[counted]])
        classes.append(class_id[match.kept[counted]])
        rights.append(match.is_true[counted])
        np.add.at(n_truth, np.asarray(sample.class_id)[~np.asarray(sample.crowd, bool)], 1)
    score = np.concatenate([np.zeros(0), *scores])
    class_id = np.concatenate([np.zeros(0, np.int64), *classes])
    right = np.concatenate([np.zeros(0, bool), *rights])
    per_class = {
        name: _curve(score[class_id == index], right[class_id == index], int(n_truth[index]))
        for index, name in enumerate(dataset.classes)
    }
    return _curve(score, right, int(n_truth.sum())), per_class


def confusion_matrix(
    dataset: Dataset, detections: Sequence[Detections], score_threshold: float
) -> Ints:
    """Count which class was taken for which, at IoU 0.5.

    Returns:
        (C + 1, C + 1): row = labelled class, column = detected class; the last row counts false
        detections (background taken for an object), the last column missed boxes.
    """
    n_classes = len(dataset.classes)
    counts = np.zeros((n_classes + 1, n_classes + 1), np.int64)
    for sample, found in zip(dataset.samples, detections, strict=True):
        match = match_detections(sample, found, score_threshold, same_class=False)
        _, class_id = score_and_class(found)
        truth_class = np.append(sample.class_id, n_classes).astype(np.int64)  # index -1: background
        counted = ~match.ignored
        rows = truth_class[match.truth_index[counted]]
        np.add.at(counts, (rows, class_id[match.kept[counted]]), 1)
        np.add.at(counts[:, n_classes], truth_class[match.missed], 1)
    return counts


def worst_images(
    dataset: Dataset, detections: Sequence[Detections], score_threshold: float
) -> list[tuple[int, ImageMatch]]:
    """Images with a mistake, the most mistakes (missed and false) first.

    Returns:
        (index into `dataset.samples`, its match) for every image that is not perfect.
    """
    matches = [
        match_detections(sample, found, score_threshold)
        for sample, found in zip(dataset.samples, detections, strict=True)
    ]
    order = sorted(
        range(len(matches)), key=lambda index: -matches[index].n_missed - matches[index].n_false
    )
    return [(i, matches[i]) for i in order if matches[i].n_missed + matches[i].n_false]


def _curve(score: Floats, right: Bools, n_truth: int) -> Curve:
    order = np.argsort(-score, kind="stable")
    score, right = score[order], right[order]
    # A threshold takes all detections of one score or none: count at the last of each group.
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)[: len(score)])  # (K,)
    n_true = np.cumsum(right)[last].astype(np.int64)
    n_all = last + 1
    return Curve(
        score=score[last],
        precision=n_true / n_all,
        recall=n_true / max(n_truth, 1),
        f1=2 * n_true / (n_all + n_truth),
        n_true=n_true,
        n_false=(n_all - n_true).astype(np.int64),
        n_truth=n_truth,
    )


def score_and_class(detections: Detections) -> tuple[Floats, Ints]:
    """Scores (D,) float64 and class ids (D,) int64, with ValueError where they are missing."""
    if len(detections) == 0:
        return np.zeros(0), np.zeros(0, np.int64)
    if detections.confidence is None or detections.class_id is None:
        raise ValueError("detections need scores (confidence) and class ids to be measured")
    return detections.confidence.astype(np.float64), detections.class_id.astype(np.int64)


TRUE_POSITIVE, MISSED, MISPLACED, CONFUSED, DUPLICATE, FALSE_POSITIVE, IGNORED = (
    *("right", "missed", "badly placed", "wrong class", "found twice", "false", "crowd"),
)

KINDS = {
    MISSED: "a labelled object that nothing was found near",
    MISPLACED: "found, but the box overlaps the labelled one by less than half",
    CONFUSED: "found at the right place, as something else",
    DUPLICATE: "one more box on an object that was found already",
    FALSE_POSITIVE: "a box where nothing of the kind is",
}

"""Each kind of mistake in words."""

_FOUND_IOU, _NEAR_IOU = 0.5, 0.1


@dataclass(frozen=True)
class Mistakes:
    """One image's boxes, sorted.

    Attributes:
        kept: (D,) indices of the detections at or above the threshold, highest score first.
        found: What each of those is: right, badly placed, wrong class, found twice, false or crowd.
        ground_truth: What became of each labelled box: right, badly placed, wrong class, missed or crowd.
    """

    kept: npt.NDArray[np.int64]
    found: tuple[str, ...]
    ground_truth: tuple[str, ...]

    @property
    def count(self) -> dict[str, int]:
        """Mistakes by kind; a badly placed or confused object counts once, not as missed too."""
        counts = {kind: self.found.count(kind) for kind in KINDS}
        return counts | {MISSED: self.ground_truth.count(MISSED)}


def sort_mistakes(sample: Sample, detections: Detections, score_threshold: float) -> Mistakes:
    """Sort one image's detections and labelled boxes into right ones and kinds of mistakes.

    Args:
        sample: The image's truth.
        detections: Its detections, class ids as the sample's.
        score_threshold: Detections below it are left out.
    """
    match = match_detections(sample, detections, score_threshold, _FOUND_IOU)
    crowd = np.asarray(sample.crowd, bool)
    ground_truth = np.where(crowd, IGNORED, MISSED).astype(object)  # (N,)
    ground_truth[match.truth_index[match.is_true]] = TRUE_POSITIVE
    _, class_id = score_and_class(detections)
    kept_class = class_id[match.kept]  # (D,)
    kinds = []
    iou = np.zeros((len(match.kept), len(crowd)))
    if iou.size:
        boxes = to_xywh(detections.xyxy[match.kept])
        iou = coco_mask.iou(boxes, to_xywh(sample.xyxy), np.zeros(len(crowd), np.uint8))
        iou[:, crowd] = 0
    for row in range(len(match.kept)):
        if match.ignored[row] or match.is_true[row]:
            kinds.append(IGNORED if match.ignored[row] else TRUE_POSITIVE)
            continue
        same = np.asarray(sample.class_id) == kept_class[row]  # (N,)
        kind, near = FALSE_POSITIVE, np.zeros(len(crowd), bool)
        for candidate, boxes_near in (
            (DUPLICATE, same & (ground_truth == TRUE_POSITIVE) & (iou[row] >= _FOUND_IOU)),
            (CONFUSED, ~same & (iou[row] >= _FOUND_IOU)),
            (MISPLACED, same & (ground_truth != TRUE_POSITIVE) & (iou[row] >= _NEAR_IOU)),
        ):
            if boxes_near.any():
                kind, near = candidate, boxes_near
                break
        if kind in (CONFUSED, MISPLACED):
            best = int(np.argmax(np.where(near, iou[row], -1)))
            if ground_truth[best] == MISSED:
                ground_truth[best] = kind
        kinds.append(kind)
    return Mistakes(match.kept, tuple(kinds), tuple(ground_truth))


def count_mistakes(
    dataset: Dataset, detections: Sequence[Detections], score_threshold: float
) -> dict[str, int]:
    """Mistakes of all images by kind, in the order of `KINDS`."""
    totals = dict.fromkeys(KINDS, 0)
    for sample, found in zip(dataset.samples, detections, strict=True):
        for kind, count in sort_mistakes(sample, found, score_threshold).count.items():
            totals[kind] += count
    return totals
