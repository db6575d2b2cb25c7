"""How far an export is from its original, on pictures that the detector's owner knows.

    parity = compare(detector, exported, {"test": dataset})
    print(parity.table())
    parity.problems()

Every converter passes its own tests and some results are wrong all the same; what an export is worth can
only be said of the pictures at hand. So both detect on the same pictures, and detections are matched one
by one.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from duckdetect.evaluation.metrics import score_detections
from duckdetect.inference.postprocess_numpy import iou_matrix

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.data.dataset import Dataset

MOST_AP_LOST = 0.02
"""An export that loses more is refused."""
_SAME_IOU = 0.5
_LEAST_MASK_IOU = 0.9  # on average
# Of a detection just above the threshold a change in the third decimal decides.
_CONFIDENT = 0.05
_LEAST_SCORE = 0.01
_TIMED = 3  # pictures
_ROUNDS = 3


class Predictor(Protocol):
    """What is compared."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by class id."""

    @property
    def threshold(self) -> float:
        """The score from which a detection counts."""

    def predict(self, images: Any, threshold: float) -> Any:
        """One Detections for each picture of a list."""


@dataclass(frozen=True)
class SetParity:
    """The comparison on one set of pictures.

    Attributes:
        name: "train", "valid", "test" or the folder's name.
        images: How many.
        confident: Detections of the original that score at least 0.05 above its threshold.
        lost: Of these, how many the export has not (none of the class that overlaps by half and
            reaches the export's threshold).
        gained: The same the other way round.
        score_max: The largest difference of matched detections' scores, 0 to 1.
        score_mean: The mean one.
        box_max_px: The largest difference of matched detections' corners, pixels of the picture.
        box_mean_px: The mean one.
        ap_before: AP at IoU 0.5 to 0.95; None where nothing is labelled.
        ap_after: The export's.
        ap50_before: AP at IoU 0.5.
        ap50_after: The export's.
        mask_iou_min: The least overlap (IoU) of matched detections' masks; None without masks.
        mask_iou_mean: The mean one.
    """

    name: str
    images: int
    confident: int
    lost: int
    gained: int
    score_max: float
    score_mean: float
    box_max_px: float
    box_mean_px: float
    ap_before: float | None
    ap_after: float | None
    ap50_before: float | None
    ap50_after: float | None
    mask_iou_min: float | None = None
    mask_iou_mean: float | None = None


@dataclass(frozen=True)
class Parity:
    """An export compared with its original.

    Attributes:
        sets: One for each set of pictures.
        bytes_before: The original's size on disk.
        bytes_after: The export's.
        ms_before: Milliseconds a picture, of `predict`.
        ms_after: The export's.
        threshold_before: The original's threshold.
        threshold_after: The export's.
    """

    sets: tuple[SetParity, ...]
    bytes_before: int
    bytes_after: int
    ms_before: float
    ms_after: float
    threshold_before: float
    threshold_after: float

    def problems(self) -> list[str]:
        """What an owner must know before using the export; empty if all is well."""
        found = []
        for one in self.sets:
            if one.ap_before is not None and one.ap_after is not None:
                drop = one.ap_before - one.ap_after
                if drop > MOST_AP_LOST:
                    found.append(f"AP on {one.name} fell by {drop:.3f}")
            if one.mask_iou_mean is not None and one.mask_iou_mean < _LEAST_MASK_IOU:
                found.append(f"masks on {one.name} overlap by {one.mask_iou_mean:.2f} on average")
            if one.lost:
                found.append(f"{one.lost} of {one.confident} detections on {one.name} are lost")
        return found

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside the file."""
        return {**dataclasses.asdict(self), "problems": self.problems()}

    def table(self) -> str:
        """For people."""
        lines = [
            f"size        {self.bytes_before / 1e6:8.1f} MB -> {self.bytes_after / 1e6:.1f} MB",
            f"a picture   {self.ms_before:8.1f} ms -> {self.ms_after:.1f} ms",
            f"threshold   {self.threshold_before:8.3f}    -> {self.threshold_after:.3f}",
        ]
        for one in self.sets:
            lines += [
                f"{one.name}: {one.images} pictures, {one.confident} confident detections",
                f"  lost {one.lost}, gained {one.gained}",
                f"  score off by {one.score_max:.4f} at most, {one.score_mean:.4f} on average",
                f"  boxes off by {one.box_max_px:.2f} px at most, "
                f"{one.box_mean_px:.2f} px on average",
            ]
            if one.mask_iou_min is not None:
                lines.append(
                    f"  masks overlap by {one.mask_iou_min:.3f} at least, "
                    f"{one.mask_iou_mean:.3f} on average"
                )
            for name, before, after in (
                ("AP", one.ap_before, one.ap_after),
                ("AP50", one.ap50_before, one.ap50_after),
            ):
                if before is not None and after is not None:
                    lines.append(f"  {name:10s}{before:8.3f}    -> {after:.3f}")
        return "\n".join(lines)


def compare(
    before: Predictor,
    after: Predictor,
    datasets: Mapping[str, Dataset],
    bytes_before: int,
    bytes_after: int,
) -> Parity:
    """Detect with both on the same pictures and compare.

    Args:
        before: The original.
        after: The export.
        datasets: Labelled pictures by the sets' names.
        bytes_before: The original's size on disk.
        bytes_after: The export's.
    """
    sets = tuple(_compare_set(before, after, name, data) for name, data in datasets.items())
    images = [s.load() for data in datasets.values() for s in data.samples[:_TIMED]][:_TIMED]
    ms = _milliseconds((before, after), images)
    return Parity(
        sets, bytes_before, bytes_after, *ms, float(before.threshold), float(after.threshold)
    )


def _compare_set(before: Predictor, after: Predictor, name: str, dataset: Dataset) -> SetParity:
    found: tuple[list[Detections], list[Detections]] = ([], [])
    mask_ious: list[float] = []
    both_have_masks = all(getattr(detector, "has_masks", False) for detector in (before, after))
    for sample in dataset.samples:
        image = sample.load()
        if both_have_masks:
            mask_ious += _mask_ious(before, after, image)
        for detector, kept in zip((before, after), found, strict=True):
            kept.append(_boxes_only(detector, image))
    n_confident = n_lost = n_gained = 0
    scores: list[float] = []
    boxes: list[float] = []
    for one, other in zip(*found, strict=True):
        one_score, other_score = _scores(one), _scores(other)
        overlap = _overlap(one, other)
        sure = one_score >= before.threshold + _CONFIDENT
        n_confident += int(sure.sum())
        lost = _unmatched(overlap, other, after.threshold)
        gained = _unmatched(overlap.T, one, before.threshold)
        n_lost += int((sure & lost).sum())
        n_gained += int(((other_score >= after.threshold + _CONFIDENT) & gained).sum())
        for i, j in _pairs(overlap, one_score, other_score, before.threshold):
            scores.append(abs(float(one_score[i] - other_score[j])))
            boxes.append(float(np.abs(one.xyxy[i] - other.xyxy[j]).max()))
    metrics: list[float | None] = [None] * 4
    if dataset.n_boxes:
        measured = [
            score_detections(
                dataset, [_in_classes_of(one, before.classes, dataset) for one in kept]
            )
            for kept in found
        ]
        metrics = [measured[0].AP, measured[1].AP, measured[0].AP50, measured[1].AP50]
    ap_before, ap_after, ap50_before, ap50_after = metrics
    return SetParity(
        name,
        len(dataset.samples),
        n_confident,
        n_lost,
        n_gained,
        max(scores, default=0.0),
        float(np.mean(scores)) if scores else 0.0,
        max(boxes, default=0.0),
        float(np.mean(boxes)) if boxes else 0.0,
        ap_before,
        ap_after,
        ap50_before,
        ap50_after,
        mask_iou_min=min(mask_ious, default=None),
        mask_iou_mean=float(np.mean(mask_ious)) if mask_ious else None,
    )


def _mask_ious(before: Predictor, after: Predictor, image: np.ndarray) -> list[float]:
    """The overlap of the masks of each matched detection."""
    one, other = (d.predict([image], d.threshold)[0] for d in (before, after))
    pairs = _pairs(_overlap(one, other), _scores(one), _scores(other), before.threshold)
    return [
        float((one.mask[i] & other.mask[j]).sum() / max(1, (one.mask[i] | other.mask[j]).sum()))
        for i, j in pairs
    ]


def _boxes_only(detector: Any, image: np.ndarray) -> Detections:
    more = {"masks": False} if getattr(detector, "has_masks", False) else {}
    found: Detections = detector.predict([image], 0.0, **more)[0]
    return found


def _in_classes_of(found: Detections, names: Sequence[str], dataset: Dataset) -> Detections:
    """In the data set's class ids; what it does not label is left out."""
    table = np.array([dataset.classes.index(n) if n in dataset.classes else -1 for n in names])
    if not len(found):
        return found
    class_id = table[found.class_id]
    kept: Any = found[class_id >= 0]
    kept.class_id = class_id[class_id >= 0]
    return cast("Detections", kept)


def _scores(found: Detections) -> np.ndarray:
    return np.asarray(found.confidence, np.float32)


def _overlap(one: Detections, other: Detections) -> np.ndarray:
    """(N, M) IoU, 0 between classes."""
    overlap = np.asarray(iou_matrix(one.xyxy.astype(np.float32), other.xyxy.astype(np.float32)))
    same = np.asarray(one.class_id)[:, None] == np.asarray(other.class_id)[None]
    return np.where(same, overlap, 0)


def _pairs(
    overlap: np.ndarray, one_score: np.ndarray, other_score: np.ndarray, threshold: float
) -> Iterator[tuple[int, int]]:
    """Which detection is which, the surest first: each of `one` that counts takes the likest left.

    Overlap alone does not tell them apart: box voting moves duplicates, which score far less, to the
    very place of the detection.
    """
    likeness = np.where(
        overlap >= _SAME_IOU, overlap - np.abs(one_score[:, None] - other_score[None]), -np.inf
    )
    for i in np.argsort(-one_score, kind="stable"):
        if one_score[i] < threshold or not likeness.shape[1]:
            return
        j = int(np.argmax(likeness[i]))
        if likeness[i, j] > -np.inf:
            yield int(i), j
            likeness[:, j] = -np.inf


def _unmatched(overlap: np.ndarray, other: Detections, threshold: float) -> np.ndarray:
    """(N,) whether no counted detection of `other` overlaps by half."""
    matches = (overlap >= _SAME_IOU) & (_scores(other) >= threshold)[None]
    return np.logical_not(matches.any(axis=1))


def _milliseconds(
    detectors: Sequence[Predictor], images: Sequence[np.ndarray]
) -> tuple[float, float]:
    """The best of several rounds of each in turn, so that a busy machine slows both."""
    best = [np.inf, np.inf]
    for _ in range(_ROUNDS):
        for k, detector in enumerate(detectors):
            start = time.perf_counter()
            for image in images:
                detector.predict([image], detector.threshold)
            best[k] = min(best[k], (time.perf_counter() - start) / max(len(images), 1))
    return best[0] * 1e3, best[1] * 1e3
