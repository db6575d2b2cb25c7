"""What kind of mistake each wrong detection is, and pictures that show it beside the truth.

    kinds = sort_mistakes(sample, detections, threshold)
    truth, found = draw_mistakes(sample.load(), sample, detections, kinds, dataset.classes)

The kinds follow Bolya, Foley, Hays and Hoffman, "TIDE: a general toolbox for identifying object
detection errors" (2020), with its two overlaps, 0.5 and 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from duckdetect.captions import draw_captions
from duckdetect.matching import match_detections, score_and_class, to_xywh
from duckdetect.render import Picture, fit

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.datasets import Dataset, Sample

RIGHT, MISSED, MISPLACED, CONFUSED, TWICE, FALSE, IGNORED = (
    *("right", "missed", "badly placed", "wrong class", "found twice", "false", "crowd"),
)
KINDS = {
    MISSED: "a labelled object that nothing was found near",
    MISPLACED: "found, but the box overlaps the labelled one by less than half",
    CONFUSED: "found at the right place, as something else",
    TWICE: "one more box on an object that was found already",
    FALSE: "a box where nothing of the kind is",
}
"""Each kind of mistake in words."""

# Okabe and Ito's colours, which the colour-blind can tell apart; every box says its kind in words.
COLORS = {
    RIGHT: (0, 158, 115),
    MISSED: (86, 180, 233),
    MISPLACED: (230, 159, 0),
    CONFUSED: (204, 121, 167),
    TWICE: (240, 228, 66),
    FALSE: (213, 94, 0),
    IGNORED: (170, 170, 170),
}
_FOUND_IOU, _NEAR_IOU = 0.5, 0.1


@dataclass(frozen=True)
class Mistakes:
    """One picture's boxes, sorted.

    Attributes:
        kept: (D,) indices of the detections at or above the threshold, highest score first.
        found: What each of those is: right, badly placed, wrong class, found twice, false or crowd.
        truth: What became of each labelled box: right, badly placed, wrong class, missed or crowd.
    """

    kept: npt.NDArray[np.int64]
    found: tuple[str, ...]
    truth: tuple[str, ...]

    @property
    def count(self) -> dict[str, int]:
        """Mistakes by kind; a badly placed or confused object counts once, not as missed too."""
        counts = {kind: self.found.count(kind) for kind in KINDS}
        return counts | {MISSED: self.truth.count(MISSED)}


def sort_mistakes(sample: Sample, detections: Detections, score_threshold: float) -> Mistakes:
    """Sort one picture's detections and labelled boxes into right ones and kinds of mistakes.

    Args:
        sample: The picture's truth.
        detections: Its detections, class ids as the sample's.
        score_threshold: Detections below it are left out.
    """
    match = match_detections(sample, detections, score_threshold, _FOUND_IOU)
    crowd = np.asarray(sample.crowd, bool)
    truth = np.where(crowd, IGNORED, MISSED).astype(object)  # (N,)
    truth[match.truth_index[match.is_true]] = RIGHT
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
            kinds.append(IGNORED if match.ignored[row] else RIGHT)
            continue
        same = np.asarray(sample.class_id) == kept_class[row]  # (N,)
        kind, near = FALSE, np.zeros(len(crowd), bool)
        for candidate, boxes_near in (
            (TWICE, same & (truth == RIGHT) & (iou[row] >= _FOUND_IOU)),
            (CONFUSED, ~same & (iou[row] >= _FOUND_IOU)),
            (MISPLACED, same & (truth != RIGHT) & (iou[row] >= _NEAR_IOU)),
        ):
            if boxes_near.any():
                kind, near = candidate, boxes_near
                break
        if kind in (CONFUSED, MISPLACED):
            best = int(np.argmax(np.where(near, iou[row], -1)))
            if truth[best] == MISSED:
                truth[best] = kind
        kinds.append(kind)
    return Mistakes(match.kept, tuple(kinds), tuple(truth))


def count_mistakes(
    dataset: Dataset, detections: Sequence[Detections], score_threshold: float
) -> dict[str, int]:
    """Mistakes of all pictures by kind, in the order of `KINDS`."""
    totals = dict.fromkeys(KINDS, 0)
    for sample, found in zip(dataset.samples, detections, strict=True):
        for kind, count in sort_mistakes(sample, found, score_threshold).count.items():
            totals[kind] += count
    return totals


def draw_mistakes(
    picture: Picture,
    sample: Sample,
    detections: Detections,
    mistakes: Mistakes,
    classes: Sequence[str],
    max_side_px: int = 640,
) -> tuple[Picture, Picture]:
    """Draw the labelled boxes on one copy of a picture and the detections on another.

    Args:
        picture: (H, W, 3) RGB uint8.
        sample: Its truth.
        detections: What was found.
        mistakes: What `sort_mistakes` made of both.
        classes: Name of each class id.
        max_side_px: Larger pictures are shrunk before anything is drawn on them.

    Returns:
        The truth and the detections, each box in its kind's colour and with its kind in words.
    """
    small = fit(picture, max_side_px)
    scale = np.array([small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]] * 2)
    names = [classes[k] for k in sample.class_id]
    truth = _draw(
        small,
        sample.xyxy * scale,
        [_text(name, kind) for name, kind in zip(names, mistakes.truth, strict=True)],
        mistakes.truth,
    )
    kept = mistakes.kept[::-1]  # the best are drawn last and lie on top
    score, class_id = score_and_class(detections)
    texts = [
        f"{_text(classes[class_id[i]], kind)} {score[i]:.2f}"
        for i, kind in zip(kept, mistakes.found[::-1], strict=True)
    ]
    xyxy = detections.xyxy[kept] if len(kept) else np.zeros((0, 4))
    return truth, _draw(small, xyxy * scale, texts, mistakes.found[::-1])


def _text(name: str, kind: str) -> str:
    return name if kind == RIGHT else f"{kind}: {name}"


def _draw(
    picture: Picture, xyxy: npt.NDArray[np.float64], texts: Sequence[str], kinds: Sequence[str]
) -> Picture:
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    width = max(2, round(max(picture.shape[:2]) / 200))
    for box, kind in zip(xyxy, kinds, strict=True):
        x1, y1 = np.floor(box[:2])
        x2, y2 = np.maximum(np.ceil(box[2:]) - 1, [x1, y1])
        # A dark rim keeps every colour readable on a bright ground.
        draw.rectangle((x1, y1, x2, y2), outline=(20, 20, 20), width=width + 2)
        inset = min(1, (x2 - x1) // 3, (y2 - y1) // 3)
        inner = (x1 + inset, y1 + inset, x2 - inset, y2 - inset)
        draw.rectangle(inner, outline=COLORS[kind], width=width)
    if not texts:
        return np.array(image)
    return draw_captions(np.array(image), xyxy, texts, [COLORS[kind] for kind in kinds])
