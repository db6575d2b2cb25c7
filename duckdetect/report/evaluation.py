"""The report's sections on evaluation: metrics, threshold, confusion matrix, failures, masks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from duckdetect.errors import UserError
from duckdetect.evaluation.matching import (
    CONFUSED,
    DUPLICATE,
    FALSE_POSITIVE,
    IGNORED,
    KINDS,
    MISPLACED,
    MISSED,
    TRUE_POSITIVE,
    Mistakes,
    confusion_matrix,
    count_mistakes,
    match_detections,
    score_and_class,
    sort_mistakes,
    worst_images,
)
from duckdetect.evaluation.metrics import bootstrap_intervals
from duckdetect.evaluation.plots import plot_confusion, plot_f1, plot_precision_recall
from duckdetect.imaging.draw import draw_boxes, draw_masks
from duckdetect.imaging.geometry import decode_rle, detection_rles, rle_iou, tight_xyxy, to_rle
from duckdetect.imaging.io import ImageArray, fit, list_images, load_image
from duckdetect.inference.detections_json import read_detections
from duckdetect.report.blocks import (
    Block,
    Figure,
    Figures,
    Note,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
    photo,
    place,
    plot,
    show,
    show_percent,
    show_range,
    spread,
)
from duckdetect.utils.words import plural

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.data.dataset import Sample
    from duckdetect.evaluation.evaluate import Evaluation
    from duckdetect.evaluation.matching import Curve
    from duckdetect.evaluation.metrics import ClassMetrics, Metrics

# Okabe and Ito's colours, which the colour-blind can tell apart; every box says its kind in words.
COLORS = {
    TRUE_POSITIVE: (0, 158, 115),
    MISSED: (86, 180, 233),
    MISPLACED: (230, 159, 0),
    CONFUSED: (204, 121, 167),
    DUPLICATE: (240, 228, 66),
    FALSE_POSITIVE: (213, 94, 0),
    IGNORED: (170, 170, 170),
}


def draw_mistakes(
    image: ImageArray,
    sample: Sample,
    detections: Detections,
    mistakes: Mistakes,
    classes: Sequence[str],
    max_side_px: int = 640,
) -> tuple[ImageArray, ImageArray]:
    """Draw the labelled boxes on one copy of an image and the detections on another.

    Args:
        image: (H, W, 3) RGB uint8.
        sample: Its truth.
        detections: What was found.
        mistakes: What `sort_mistakes` made of both.
        classes: Name of each class id.
        max_side_px: Larger images are shrunk before anything is drawn on them.

    Returns:
        The truth and the detections, each box in its kind's colour and with its kind in words.
    """
    small = fit(image, max_side_px)
    scale = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]] * 2)
    names = [classes[k] for k in sample.class_id]
    ground_truth = _draw(
        small,
        sample.xyxy * scale,
        [_text(name, kind) for name, kind in zip(names, mistakes.ground_truth, strict=True)],
        mistakes.ground_truth,
    )
    kept = mistakes.kept[::-1]  # the best are drawn last and lie on top
    score, class_id = score_and_class(detections)
    texts = [
        f"{_text(classes[class_id[i]], kind)} {score[i]:.2f}"
        for i, kind in zip(kept, mistakes.found[::-1], strict=True)
    ]
    xyxy = detections.xyxy[kept] if len(kept) else np.zeros((0, 4))
    return ground_truth, _draw(small, xyxy * scale, texts, mistakes.found[::-1])


def _text(name: str, kind: str) -> str:
    return name if kind == TRUE_POSITIVE else f"{kind}: {name}"


def _draw(
    image: ImageArray, xyxy: npt.NDArray[np.float64], texts: Sequence[str], kinds: Sequence[str]
) -> ImageArray:
    counts = Counter(kinds)
    return draw_boxes(
        image,
        xyxy,
        texts,
        [COLORS[kind] for kind in kinds],
        tags=[""] * len(texts),  # the colours say the kind
        legend=[(f"{kind} ({counts[kind]})", COLORS[kind]) for kind in COLORS if counts[kind]],
    )


_WORST = 6


def confusion_section(evaluation: Evaluation, threshold: float) -> Section:
    """Which class was taken for which, at a score threshold."""
    dataset = evaluation.dataset
    counts = confusion_matrix(dataset, evaluation.detections, threshold)
    words = (
        f"Which class was detected as which, at a score of {threshold:.2f} and above: each row is a "
        "labelled class, each column what was detected in its place. The last column counts missed "
        "objects, the last row detections where nothing is labelled."
    )
    image = plot(
        lambda path: plot_confusion(counts, dataset.classes, path),
        "How many of each; shades are shares of the labelled ones.",
    )
    return Section("Confusion matrix", [Text(words), Figures([image])])


def failures_section(evaluation: Evaluation, threshold: float) -> Section:
    """What kinds of mistakes there are, and the images with most of them."""
    dataset, detections = evaluation.dataset, evaluation.detections
    worst = worst_images(dataset, detections, threshold)
    if not worst:
        words = (
            f"Nowhere: at a score of {threshold:.2f} every object is found, and nothing else. "
            "Measure it on harder pictures."
        )
        return Section("Where it fails", [Text(words)])
    counts = count_mistakes(dataset, detections, threshold)
    blocks: list[Block] = [
        Text(
            f"At a score of {threshold:.2f} and above, {len(worst)} of "
            f"{plural(len(dataset), 'picture')} hold a mistake."
        ),
        Table(
            ["Mistake", "Count", "What it is"],
            [[kind, str(counts[kind]), words] for kind, words in KINDS.items()],
            words=True,
        ),
        Text(
            "The pictures with most mistakes, each twice: with the labelled boxes, then with what "
            "was found. Green boxes are right; the others say what is wrong with them."
        ),
    ]
    images: list[Figure] = []
    for index, _ in worst[:_WORST]:
        sample, found = dataset.samples[index], detections[index]
        mistakes = sort_mistakes(sample, found, threshold)
        ground_truth, drawn = draw_mistakes(sample.load(), sample, found, mistakes, dataset.classes)
        said = ", ".join(f"{n} {kind}" for kind, n in mistakes.count.items() if n)
        n = len(sample.class_id)
        name = sample.path.name
        images.append(
            photo(ground_truth, f"{name}, labelled: {plural(n, 'box') if n else 'no object'}")
        )
        images.append(photo(drawn, f"{name}, found: {said}"))
    blocks.append(Figures(images, columns=2))
    return Section("Where it fails", blocks)


_CLOSE_UP_PX, _MARGIN = 480, 0.15


def masks_section(evaluation: Evaluation, threshold: float) -> Section | None:
    """The masks that fit least, of detections whose box is right; None if there is nothing to compare."""
    fits = []
    for sample, found in zip(evaluation.dataset.samples, evaluation.detections, strict=True):
        rles = detection_rles(found)
        match = match_detections(sample, found, threshold)
        for at, truth in zip(
            match.kept[match.is_true], match.truth_index[match.is_true], strict=True
        ):
            outline = sample.segmentation[truth] if sample.segmentation is not None else None
            if rles is not None and outline:
                labelled = to_rle(outline, sample.size_hw)
                fits.append((rle_iou(labelled, rles[at]), sample, labelled, rles[at]))
    if not fits:
        return None
    fits.sort(key=lambda one: one[0])
    overlap = np.array([one[0] for one in fits])
    poor = int((overlap < 0.5).sum())
    words = (
        f"Of {plural(len(fits), 'detection')} with the right box and a labelled outline the mask "
        f"overlaps the outline by {overlap.mean():.2f} in the mean (intersection over union), "
        f"{f'of {poor}' if poor else 'of none'} by less than a half. Those that fit least, each twice: "
        "as it is labelled, then as it was found."
    )
    images: list[Figure] = []
    for iou, sample, *rles in fits[:_WORST]:
        masks = [decode_rle(rle) for rle in rles]
        place_ = _around(masks[0] | masks[1])
        close_up = fit(sample.load()[place_], _CLOSE_UP_PX)
        for mask, kind, said in zip(masks, (MISSED, CONFUSED), ("labelled", "found"), strict=True):
            rows, columns = close_up.shape[:2]
            shown = np.asarray(Image.fromarray(mask[place_]).resize((columns, rows)), bool)
            drawn = draw_masks(close_up, [shown], [COLORS[kind]])
            images.append(photo(drawn, f"{sample.path.name}, {said}: they overlap by {iou:.2f}"))
    return Section("Masks that fit least", [Text(words), Figures(images, columns=2)])


def _around(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """The part of an image that a mask takes, with a margin."""
    x1, y1, x2, y2 = tight_xyxy(mask[np.newaxis])[0].astype(int)
    margin = int(_MARGIN * max(x2 - x1, y2 - y1)) + 1
    return slice(max(0, y1 - margin), y2 + margin), slice(max(0, x1 - margin), x2 + margin)


_FOUND, _SHOWN, _FOUND_PX = "What it finds", 9, 480


def found_section(run: Path) -> Section | None:
    """What `detect` wrote into the run's folder, where nothing is labelled to measure it by.

    None if there is nothing, it is a video's, or the detector was trained since.
    """
    path = run / "detections.json"
    frames = list_images(run / "frames") if (run / "frames").is_dir() else []
    try:
        current = path.stat().st_mtime >= (run / "detector" / "saved_model.pb").stat().st_mtime
    except OSError:
        return None
    if not frames or not current:
        return None
    try:
        rows = read_detections(path, check_masks=False)
    except UserError as error:
        return Section(_FOUND, [Note(str(error))])
    found = {Path(name).stem: one for _, name, one in rows}
    if len(found) < len(rows) or not found.keys() <= {frame.stem for frame in frames}:
        return None
    n = sum(map(len, found.values()))
    words = (
        f"{plural(n, 'object')} in {len(found)} of {plural(len(frames), 'picture')} without labels, so "
        "nobody counted what is right."
    )
    shown = [frames[i] for i in spread(len(frames), _SHOWN)]
    if len(shown) < len(frames):
        words += f" {len(shown)} of the pictures are below; all are in {place(run / 'frames')}."
    images = []
    for frame in shown:
        one = found.get(frame.stem)
        said = "nothing" if one is None else f"{plural(len(one), 'object')}, {_scores(one)}"
        images.append(photo(fit(load_image(frame), _FOUND_PX), f"{frame.stem}: {said}"))
    return Section(_FOUND, [Text(words), Figures(images, columns=3)])


def _scores(found: Detections) -> str:
    score, _ = score_and_class(found)
    least, most = float(score.min()), float(score.max())
    return f"score {most:.2f}" if least == most else f"scores {least:.2f} to {most:.2f}"


_MOST_CURVES = 6  # lines of one plot that can be told apart

_RESAMPLES = 200

_FEW_BOXES = 50

Intervals = Mapping[str, tuple[float, float] | None]


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """In short, figures, threshold, confusion, failures, masks.

    Args:
        evaluation: What was measured.
    """
    metrics = evaluation.metrics
    measured = evaluation.dataset, evaluation.detections, _RESAMPLES
    intervals = bootstrap_intervals(*measured)
    of_masks = bootstrap_intervals(*measured, masks=True) if metrics.masks is not None else {}
    threshold = threshold_to_use(evaluation)
    sections = [
        _short(evaluation, intervals, threshold),
        _metrics(metrics, intervals, of_masks, threshold),
        _threshold(evaluation, threshold),
    ]
    if metrics.n_boxes or metrics.n_false:
        sections.append(confusion_section(evaluation, threshold))
        sections.append(failures_section(evaluation, threshold))
    masks = masks_section(evaluation, threshold) if metrics.masks is not None else None
    return [*sections, masks] if masks is not None else sections


def threshold_to_use(evaluation: Evaluation) -> float:
    """The detector's own; for one that has none, the score with the best F1."""
    own, best = evaluation.threshold, evaluation.metrics.best_threshold
    return float(own if own is not None else best if best is not None else 0.5)


def _short(evaluation: Evaluation, intervals: Intervals, threshold: float) -> Section:
    metrics, data = evaluation.metrics, evaluation.about["data"]
    there = metrics.at(threshold)
    tiles = Tiles(
        [
            Tile("AP50", show(metrics.AP50), show_range(intervals["AP50"])),
            Tile("AP", show(metrics.AP), show_range(intervals["AP"])),
            Tile("Threshold", f"{threshold:.2f}", "detections are kept from this score on"),
            Tile("F1 at that threshold", show(there.F1), "1 is perfect"),
        ]
    )
    which = place(data["folder"])
    if data["split"]:
        which = f"the {data['split']} split of {which}"
    words = (
        f"Measured on {plural(metrics.n_images, 'picture')} with "
        f"{plural(metrics.n_boxes, 'labelled object')}: {which}."
    )
    n_found = there.n_true + there.n_false
    if metrics.best_threshold is None:
        words += " No detection is right at any score."
    else:
        words += (
            f" At a score of {threshold:.2f} and above it finds {there.n_true} of the "
            f"{metrics.n_boxes} ({show_percent(there.recall)}), and {there.n_true} of its "
            f"{plural(n_found, 'detection')} are right ({show_percent(there.precision)})."
        )
    blocks: list[Block] = [tiles, Text(words)]
    if flattering := evaluation.flattering():
        blocks.append(Note(flattering))
    if 0 < metrics.n_boxes < _FEW_BOXES:
        blocks.append(
            Note(
                f"{plural(metrics.n_boxes, 'object')} to find are few: read the figures with their "
                "ranges, and label more test pictures before you compare two detectors."
            )
        )
    return Section("In short", blocks)


def _metrics(
    metrics: Metrics, intervals: Intervals, of_masks: Intervals, threshold: float
) -> Section:
    blocks: list[Block] = [
        Text(
            "AP50 is the average precision when a detection counts as right as soon as its box and "
            "the labelled one overlap by half (intersection over union of 0.5). 1 means that "
            "everything is found and nothing else; 0 that nothing is. Precision is the share of "
            "detections that are right, recall the share of objects that are found; average "
            "precision is precision averaged over all recalls."
        ),
        Text(
            "AP is the mean of the same at ten overlaps from 0.5 to 0.95, so it asks for boxes that "
            "fit, too; it is the figure that COCO's tables rank by. The ranges hold the figure in 95 "
            f"of 100 cases when the test pictures are drawn again ({_RESAMPLES} draws with replacement)."
        ),
    ]
    rows = [
        ["AP, overlap 0.5 to 0.95", show(metrics.AP), show_range(intervals["AP"])],
        ["AP50, overlap 0.5", show(metrics.AP50), show_range(intervals["AP50"])],
        ["AP75, overlap 0.75", show(metrics.AP75), ""],
    ]
    for size, limits in (("small", "below 32²"), ("medium", "up to 96²"), ("large", "above 96²")):
        rows.append([f"AP, {size} objects: {limits} pixels", show(getattr(metrics, f"AP_{size}"))])
    for most in (1, 10, 100):
        name = f"AR{most}, average recall, at most {plural(most, 'detection')} a picture"
        rows.append([name, show(getattr(metrics, f"AR{most}"))])
    for size in ("small", "medium", "large"):
        rows.append([f"AR, {size} objects", show(getattr(metrics, f"AR_{size}"))])
    if metrics.masks is not None:
        for name in ("AP", "AP50", "AP75", "AR100"):
            range_ = show_range(of_masks.get(name))
            rows.append([f"{name} of masks", show(getattr(metrics.masks, name)), range_])
    blocks.append(Table(["Figure", "Value", "Range"], [[*row, ""][:3] for row in rows]))
    named: list[tuple[str, Metrics | ClassMetrics]] = list(metrics.per_class.items())
    if len(named) > 1:
        named.append(("all classes", metrics))
    blocks.append(
        Table(
            ["Class", "Objects", "AP", "AP50", "AR100", "F1", "Precision", "Recall", "Best score"],
            [
                [name, str(one.n_boxes), *map(show, (one.AP, one.AP50, one.AR100))]
                + [show(v) for v in (there.F1, there.precision, there.recall)]
                + [_rounded_down(one.best_threshold)]
                for name, one in named
                for there in [one.curve.at(threshold)]
            ],
        )
    )
    blocks.append(
        Text(
            f"F1, precision and recall are those at the detector's threshold, {threshold:.2f}; the "
            "last column is the score at which F1, the harmonic mean of precision and recall, is "
            "highest on these images. A dash stands where there is nothing to measure."
        )
    )
    return Section("How good it is", blocks)


def _rounded_down(score: float | None) -> str:
    """As the hint of a better threshold says it: the detection with this very score is kept."""
    return show(None if score is None else math.floor(score * 100) / 100, 2)


def _threshold(evaluation: Evaluation, threshold: float) -> Section:
    metrics = evaluation.metrics
    words = (
        f"The detector keeps what scores {threshold:.2f} or more. Higher, and fewer detections are "
        "wrong, but more objects are missed; lower, the other way round."
    )
    if metrics.best_threshold is None:
        words += " No score separates right detections from wrong ones here."
    elif better := evaluation.better_threshold():
        words += f" {better}"
    else:
        words += " No other threshold is clearly better on these images."
    curves = _curves(metrics)
    left = len(metrics.per_class) + 1 - len(curves) if len(metrics.per_class) > 1 else 0
    blocks: list[Block] = [Text(words)]
    if left > 0:
        blocks.append(Text(f"The classes with most objects are drawn, {left} others are not."))
    images = [
        plot(
            lambda path: plot_precision_recall(curves, threshold, path),
            "Precision over recall at an overlap of 0.5. The dot is the detector's threshold, "
            f"{threshold:.2f}.",
        ),
        plot(
            lambda path: plot_f1(curves, threshold, path),
            f"F1 over the score threshold. The line is the detector's, {threshold:.2f}.",
        ),
    ]
    blocks.append(Figures(images, columns=2))
    return Section("The threshold", blocks)


def _curves(metrics: Metrics) -> dict[str, Curve]:
    """All classes pooled, and those with most objects."""
    if len(metrics.per_class) == 1:
        return {name: one.curve for name, one in metrics.per_class.items()}
    most = sorted(metrics.per_class, key=lambda name: -metrics.per_class[name].n_boxes)
    chosen = set(most[: _MOST_CURVES - 1])
    curves = {name: one.curve for name, one in metrics.per_class.items() if name in chosen}
    return {"all classes": metrics.curve, **curves}
