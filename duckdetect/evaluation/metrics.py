"""COCO's metrics by pycocotools, for boxes and masks, and intervals by bootstrap.

metrics = score_detections(dataset, detections)
metrics.AP, metrics.AP50, print(metrics.table())
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from duckdetect.evaluation.matching import AtThreshold, Curve, score_and_class, threshold_curves
from duckdetect.imaging.geometry import Rle, area, detection_rles, to_rle, to_xywh
from duckdetect.utils.progress import DELAY_S, progress_bar
from duckdetect.utils.terminal import unprinted
from duckdetect.utils.words import plural

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.data.dataset import Dataset


@dataclass(frozen=True)
class ClassMetrics:
    """One class's figures; see Metrics."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    AR100: float | None
    best_threshold: float | None
    F1: float | None
    precision: float | None
    recall: float | None
    n_boxes: int
    n_true: int
    n_false: int
    curve: Curve = field(repr=False, compare=False)


@dataclass(frozen=True)
class MaskMetrics:
    """How good the detections' masks are: overlaps of masks instead of boxes, all else the same.

    Attributes:
        AP, AP50, ..., AR_large: COCO's twelve, 0..1; None where there is nothing to find.
        n_masks: Labelled masks, crowds left out. A box without a mask counts as a crowd does.
        per_class: For each class by name AP, AP50, AP75 and AR100.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None
    n_masks: int
    per_class: dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Metrics:
    """How good the detections are.

    Attributes:
        AP, AP50, ..., AR_large: COCO's twelve, 0..1; None where there is nothing to find.
        best_threshold: The score with the best F1 at IoU 0.5, all classes pooled; of equals the
            highest; None if no detection is right at any score.
        F1, precision, recall: At that threshold; None where undefined.
        n_true, n_false: Right and wrong detections at that threshold, at any score if it is None.
        n_boxes: Labelled boxes, crowds left out.
        n_images: Images evaluated on.
        per_class: The same for each class, by name.
        curve: Precision and recall over the threshold; not part of the JSON.
        masks: The masks' figures; None, and not in the JSON, unless labels and detections have masks.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None
    best_threshold: float | None
    F1: float | None
    precision: float | None
    recall: float | None
    n_images: int
    n_boxes: int
    n_true: int
    n_false: int
    per_class: dict[str, ClassMetrics]
    curve: Curve = field(repr=False, compare=False)
    masks: MaskMetrics | None = None

    def to_json(self) -> dict[str, Any]:
        """All figures as plain numbers, None and dictionaries; the keys are those of 0.1.0."""
        apart = ("curve", "masks")
        keys = {f.name: f.name for f in fields(self) if f.name not in apart}
        keys["n_images"] = "n_pictures"
        plain = {key: getattr(self, name) for name, key in keys.items()}
        plain["per_class"] = {
            name: {key: value for key, value in asdict(one).items() if key != "curve"}
            for name, one in self.per_class.items()
        }
        if self.masks is not None:
            plain["masks"] = asdict(self.masks)
        return plain

    def at(self, threshold: float) -> AtThreshold:
        """F1, precision and recall at IoU 0.5 of the detections at or above a score."""
        return self.curve.at(threshold)

    def table(self, threshold: float | None = None) -> str:
        """The figures as aligned text of several lines, without a newline at the end.

        Args:
            threshold: Where F1, precision and recall are taken; for each class where F1 is best, if
                None.
        """
        head = ["class", "boxes", "AP", "AP50", "AP75", "AR100", "F1", "precision", "recall", "at"]
        lines: list[tuple[str, Metrics | ClassMetrics]] = list(self.per_class.items())
        if len(lines) != 1:
            lines.append(("all classes", self))
        rows = [head]
        for name, one in lines:
            there: Any = one if threshold is None else one.curve.at(threshold)
            at = one.best_threshold if threshold is None else threshold
            shares = (one.AP, one.AP50, one.AP75, one.AR100, there.F1, there.precision)
            rows.append(
                [name, str(one.n_boxes), *map(_show, (*shares, there.recall)), _show(at, 2)]
            )
        whole: Any = self if threshold is None else self.at(threshold)
        at = self.best_threshold if threshold is None else threshold
        named: list[tuple[str, Metrics | MaskMetrics]] = [("", self)]
        if self.masks is not None:
            named.append(("mask ", self.masks))
        sizes = [["", "small", "medium", "large"]] + [
            [f"{prefix}{kind}"]
            + [_show(getattr(one, f"{kind}_{size}")) for size in ("small", "medium", "large")]
            for prefix, one in named
            for kind in ("AP", "AR")
        ]
        notes = ", ".join(
            (
                plural(self.n_images, "picture"),
                plural(self.n_boxes, "box"),
                plural(whole.n_false, "false detection"),
            )
        )
        notes += f" at score {at:.2f} and above" if at is not None else ""
        few = f"AR with at most 1 and 10 detections: {_show(self.AR1)} and {_show(self.AR10)}"
        parts = [[notes], _align(rows), *self._mask_tables(), _align(sizes), [few]]
        return "\n\n".join("\n".join(part) for part in parts)

    def _mask_tables(self) -> list[list[str]]:
        if self.masks is None:
            return []
        names = ("AP", "AP50", "AP75", "AR100")
        rows = [["by their masks", *names]]
        for name, one in self.masks.per_class.items():
            rows.append([name, *(_show(one[key]) for key in names)])
        if len(rows) != 2:
            rows.append(["all classes", *(_show(getattr(self.masks, key)) for key in names)])
        return [_align(rows)]


def _show(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _align(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest cell; the first to the left, numbers to the right."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        gaps = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        numbers = [gap + cell for gap, cell in zip(gaps[1:], row[1:], strict=True)]
        lines.append("  ".join([row[0] + gaps[0], *numbers]).rstrip())
    return lines


def _width(text: str) -> int:
    """Columns that a terminal gives the text: two for an East Asian sign, none for an accent."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )


def run_coco(
    dataset: Dataset,
    detections: Sequence[Detections],
    masks: Sequence[list[Rle] | None] | None = None,
    progress: bool = False,
) -> COCOeval:
    """Run pycocotools, quietly.

    Args:
        dataset: The truth.
        detections: One Detections for each of `dataset.samples`, in that order.
        masks: Each image's masks, one for each detection, to compare these instead of boxes;
            None for an image without detections.
        progress: Show a bar on stderr, if it takes long.

    Returns:
        With `eval` and `stats` of all classes.

    Raises:
        ValueError: If these do not fit together.
    """
    classes = progress_bar(
        evaluate_classes(dataset, detections, masks),
        "average precision",
        len(dataset.classes),
        unit="class",
        delay=DELAY_S,
        disable=not progress,
    )
    parts: dict[str, list[npt.NDArray[Any]]] = {"precision": [], "recall": []}
    evaluation = COCOeval(iouType="bbox")
    for evaluation in classes:
        for key, part in parts.items():
            part.append(evaluation.eval[key])
    for key, part in parts.items():
        evaluation.eval[key] = np.concatenate(part, axis=-3)  # which is the classes' of both
    with unprinted():
        evaluation.summarize()
    return evaluation


def evaluate_classes(
    dataset: Dataset,
    detections: Sequence[Detections],
    masks: Sequence[list[Rle] | None] | None = None,
    all_sizes_only: bool = False,
) -> Iterator[COCOeval]:
    """Pycocotools' evaluation of each class by itself: it keeps some KB for each class in each image.

    Ids are our own: it takes annotation id 0 for "not matched".

    Args:
        dataset: As `run_coco`.
        detections: As `run_coco`.
        masks: As `run_coco`.
        all_sizes_only: Leave out what concerns small, medium and large objects.
    """
    if len(detections) != len(dataset.samples):
        raise ValueError(
            f"detections for {len(detections)} of {plural(len(dataset.samples), 'picture')}"
        )
    written = dataset.to_coco()
    images = [{**entry, "id": index} for index, entry in enumerate(written["images"], 1)]
    place = {entry["id"]: image for entry, image in zip(written["images"], images, strict=True)}
    truth: list[list[dict[str, Any]]] = [[] for _ in dataset.classes]
    for number, box in enumerate(written["annotations"], 1):
        image = place[box["image_id"]]
        row = {
            "area": box["bbox"][2] * box["bbox"][3],
            "iscrowd": 0,
            **{key: box[key] for key in ("bbox", "area", "iscrowd", "category_id") if key in box},
            "image_id": image["id"],
            "id": number,
        }
        if masks is not None:
            row.update(_true_mask(box, (image["height"], image["width"])))
        truth[box["category_id"] - 1].append(row)
    scores, class_ids = zip(*map(score_and_class, detections), strict=True)
    if masks is not None and any(len(s) and m is None for s, m in zip(scores, masks, strict=True)):
        raise ValueError("some detections have masks, others have none")
    counts = [len(score) for score in scores]
    image_of = np.repeat(np.arange(len(counts)), counts)
    row_of = np.concatenate([np.arange(count) for count in counts])  # in its image
    score, class_of = np.concatenate(scores), np.concatenate(class_ids)
    xywh = np.concatenate([to_xywh(one.xyxy).reshape(-1, 4) for one in detections])
    for k, name in enumerate(dataset.classes):
        found: list[dict[str, Any]] = []
        for at in np.flatnonzero(class_of == k):
            image = images[image_of[at]]
            x, y, w, h = xywh[at].tolist()
            found.append(
                {
                    "id": len(found) + 1,
                    "image_id": image["id"],
                    "category_id": k + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "score": float(score[at]),
                }
            )
            rles = None if masks is None else masks[image_of[at]]
            if rles is not None:
                rle = rles[row_of[at]]
                if rle["size"] != [image["height"], image["width"]]:
                    raise ValueError(f"a mask of {rle['size']} in {image['file_name']}")
                found[-1].update(segmentation=rle, area=area(rle))
        with unprinted():
            category = {"id": k + 1, "name": name}
            both = (_coco(category, images, rows) for rows in (truth[k], found))
            evaluation = COCOeval(*both, "bbox" if masks is None else "segm")
            if all_sizes_only:
                evaluation.params.areaRng = evaluation.params.areaRng[:1]
                evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
                evaluation.params.maxDets = [100]
            evaluation.evaluate()
            evaluation.accumulate()
        yield evaluation


def _true_mask(box: dict[str, Any], size_hw: tuple[int, int]) -> dict[str, Any]:
    """A labelled box's mask; a box without one is nothing to find and swallows what lies in it."""
    rle = to_rle(box["segmentation"], size_hw) if box.get("segmentation") else None
    if rle is not None and area(rle):
        return {"segmentation": rle}
    x, y, w, h = box["bbox"]
    rectangle = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"segmentation": to_rle(rectangle, size_hw), "iscrowd": 1}


def _coco(
    category: dict[str, Any], images: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "categories": [category], "annotations": annotations}
    coco.createIndex()
    return coco


Ints = npt.NDArray[np.int64]

_RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision


@dataclass(frozen=True)
class Ranked:
    """One class's detections in all images, highest score first.

    Attributes:
        right: For each overlap the places of the right detections in that order, (R,) each.
        counted: For each overlap (D,) the image of each detection that is right or wrong; one
            for all where they are the same.
        place: For each overlap (R,) where the right detections stand in `counted`.
        n_truth: (P,) labelled boxes of each image, crowds left out.
    """

    right: list[Ints]
    counted: list[Ints]
    place: list[Ints]
    n_truth: Ints


def rank_detections(cells: Sequence[dict[str, Any] | None]) -> Ranked:
    """Rank one class's detections once.

    Args:
        cells: For each image pycocotools' `evalImgs` entry of the class and one size range.
    """
    n_truth = np.array([0 if c is None else int((c["gtIgnore"] == 0).sum()) for c in cells])
    full = [(i, c) for i, c in enumerate(cells) if c is not None and len(c["dtScores"])]
    if not full:
        return Ranked([], [], [], n_truth)
    score = np.concatenate([c["dtScores"] for _, c in full])
    order = np.argsort(-score, kind="mergesort")
    image = np.repeat([i for i, _ in full], [len(c["dtScores"]) for _, c in full])[order]
    matched = np.concatenate([c["dtMatches"] for _, c in full], axis=1)[:, order] > 0  # (T, D)
    ignored = np.concatenate([c["dtIgnore"] for _, c in full], axis=1)[:, order].astype(bool)
    right: list[Ints] = []
    counted: list[Ints] = []
    place: list[Ints] = []
    for row in range(len(matched)):
        at = np.flatnonzero(~ignored[row])
        if row and np.array_equal(ignored[row], ignored[0]):
            counted.append(counted[0])  # the same array: added up once
        else:
            counted.append(image[at])
        place.append(np.flatnonzero(matched[row][at]))
        right.append(counted[row][place[row]])
    return Ranked(right, counted, place, n_truth)


def average_precision(
    ranked: Ranked, weights: Ints, n_overlaps: int
) -> npt.NDArray[np.float64] | None:
    """COCO's average precision at each overlap, every image counted `weights` times.

    Args:
        ranked: One class's detections.
        weights: (P,) how often each image is drawn.
        n_overlaps: How many overlaps there are, T.

    Returns:
        (T,) float64; None if no box is labelled in the images drawn.
    """
    n_truth = int(ranked.n_truth @ weights)
    if not n_truth:
        return None
    result = np.zeros(n_overlaps)
    totals: dict[int, Ints] = {}
    for row, right in enumerate(ranked.right):
        counted = ranked.counted[row]
        if id(counted) not in totals:
            totals[id(counted)] = np.cumsum(weights[counted])
        n_true = np.cumsum(weights[right])  # (R,)
        n_all = totals[id(counted)][ranked.place[row]]
        # Precision is highest where a right detection stands, so the wrong ones need no point.
        precision = n_true / np.maximum(n_all, 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(n_true / n_truth, _RECALLS)
        result[row] = np.append(envelope, 0.0)[at].mean()
    return result


# The order of COCOeval.stats.
TWELVE = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)


def score_detections(
    dataset: Dataset, detections: Sequence[Detections], progress: bool = False
) -> Metrics:
    """Measure detections against a data set's boxes.

    Args:
        dataset: The truth; crowd boxes are neither wanted nor held against anyone.
        detections: One Detections for each of `dataset.samples`, in that order, with scores (as
            many and as low as the detector gives: cutting them lowers AP) and class ids that
            index `dataset.classes`; with masks, or compacted (see masks.py), the masks are measured
            too where the data set has outlines.
        progress: Show bars on stderr of what takes long.

    Returns:
        The figures.

    Raises:
        ValueError: If the two do not fit together.
    """
    evaluation = run_coco(dataset, detections, progress=progress)
    pooled, curves = threshold_curves(dataset, detections, progress)
    per_class = {
        name: ClassMetrics(**metrics, **_at_best(curves[name]))
        for name, metrics in _class_metrics(evaluation, dataset.classes).items()
    }
    return Metrics(
        **_twelve(evaluation),
        **_at_best(pooled),
        n_images=len(dataset.samples),
        per_class=per_class,
        masks=_score_masks(dataset, detections, progress),
    )


def _score_masks(
    dataset: Dataset, detections: Sequence[Detections], progress: bool
) -> MaskMetrics | None:
    """The masks' figures, or None if the labels or the detections have none."""
    masks = [detection_rles(one) for one in detections]
    if all(one is None for one in masks):
        return None
    if not any(any(sample.segmentation or ()) for sample in dataset.samples):
        return None
    evaluation = run_coco(dataset, detections, masks, progress)
    wanted = (
        outline and not crowd and area(to_rle(outline, sample.size_hw)) > 0
        for sample in dataset.samples
        for outline, crowd in zip(sample.segmentation or (), sample.crowd, strict=False)
    )
    return MaskMetrics(
        **_twelve(evaluation),
        n_masks=sum(map(bool, wanted)),
        per_class=_class_metrics(evaluation, dataset.classes),
    )


def _twelve(evaluation: COCOeval) -> dict[str, Any]:
    return {name: _or_none(value) for name, value in zip(TWELVE, evaluation.stats, strict=True)}


def _class_metrics(evaluation: COCOeval, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    precision = evaluation.eval["precision"]  # (IoU, recall, class, area, number of detections)
    recall = evaluation.eval["recall"]  # (IoU, class, area, number of detections)
    return {
        name: {
            "AP": _mean(precision[:, :, k, 0, 2]),
            "AP50": _mean(precision[0, :, k, 0, 2]),
            "AP75": _mean(precision[5, :, k, 0, 2]),
            "AR100": _mean(recall[:, k, 0, 2]),
        }
        for k, name in enumerate(classes)
    }


def bootstrap_intervals(
    dataset: Dataset,
    detections: Sequence[Detections],
    n_resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
    masks: bool = False,
) -> dict[str, tuple[float, float] | None]:
    """How far AP and AP50 could be off because the test set is small (percentile bootstrap).

    Images are drawn with replacement; a resample without any labelled box is left out.

    Args:
        dataset: As `score_detections`.
        detections: As `score_detections`.
        n_resamples: How often images are drawn.
        level: The share of draws within the interval.
        seed: Decides the draws.
        masks: Of masks' overlaps and not of boxes'; the detections have masks.

    Returns:
        {"AP": (low, high), "AP50": (low, high)}; None if there is nothing to find.
    """
    n_images, ranked, n_overlaps = len(dataset.samples), [], 0
    rles = [detection_rles(one) for one in detections] if masks else None
    for evaluation in evaluate_classes(dataset, detections, rles, all_sizes_only=True):
        ranked.append(rank_detections(evaluation.evalImgs))
        n_overlaps = len(evaluation.params.iouThrs)
    random = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {"AP": [], "AP50": []}
    for _ in range(n_resamples):
        chosen = random.integers(n_images, size=n_images)
        weights = np.bincount(chosen, minlength=n_images)
        every = [average_precision(one, weights, n_overlaps) for one in ranked]
        known = [one for one in every if one is not None]
        if known:
            per_overlap = np.mean(known, axis=0)  # (T,)
            draws["AP"].append(float(per_overlap.mean()))
            draws["AP50"].append(float(per_overlap[0]))
    tails = [50 * (1 - level), 50 * (1 + level)]
    return {
        name: (float(np.percentile(values, tails[0])), float(np.percentile(values, tails[1])))
        if values
        else None
        for name, values in draws.items()
    }


def _at_best(curve: Curve) -> dict[str, Any]:
    """The curve's figures at its best threshold, named as in Metrics."""
    best = curve.best
    at = -1 if best is None else best  # with no threshold to advise, every detection counts
    n_true, n_false = (int(n[at]) if len(n) else 0 for n in (curve.n_true, curve.n_false))
    return {
        "best_threshold": None if best is None else float(curve.score[best]),
        "F1": 2 * n_true / (n_true + n_false + curve.n_truth) if curve.n_truth else None,
        "precision": n_true / (n_true + n_false) if n_true + n_false else None,
        "recall": n_true / curve.n_truth if curve.n_truth else None,
        "n_boxes": curve.n_truth,
        "n_true": n_true,
        "n_false": n_false,
        "curve": curve,
    }


def _mean(values: npt.NDArray[Any]) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _or_none(value: float) -> float | None:
    return float(value) if value > -1 else None
