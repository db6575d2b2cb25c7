"""Suppression across classes: one object, one answer.

The network suppresses boxes of one class that overlap; of two classes it may give the same object two.
Here the lower-scored one becomes a second answer, with a part of its score that lies below the thresholds
that training chooses. So a user sees one answer, and whoever asks for all
detections, as average precision does, also gets what else the object may be. Dropping it instead costs
hands 0.2 AP50 (docs/accuracy.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from duckdetect.errors import UserError
from duckdetect.imaging.geometry import pairwise_iou

if TYPE_CHECKING:
    from duckdetect.utils.schema import Fields

# The overlap at which the networks suppress within a class.
ACROSS_IOU = 0.6

# What a second answer keeps of its score. Training chooses thresholds from 0.33 on (threshold.py).
SECOND_ANSWER = 0.3


@dataclass(frozen=True)
class Suppression:
    """What becomes of the lower-scored of two overlapping detections: dropped, or a second answer.

    Attributes:
        per_class: Whether detections of different classes leave each other alone.
        iou: The overlap (intersection over union, 0 to 1) above which one is dropped if both are of
            one class, a second answer if not. If None, 0.6 between classes; within a class it stays
            with what the network has suppressed.
    """

    per_class: bool = False
    iou: float | None = None

    def __post_init__(self) -> None:
        if self.iou is not None:
            check_score(self.iou, "iou")

    def limits(self) -> tuple[float, float]:
        """The overlaps above which one is dropped, between classes and within one; inf for never."""
        if self.iou is None:
            return (math.inf if self.per_class else ACROSS_IOU), math.inf
        return (math.inf if self.per_class else self.iou), self.iou

    def rescore(
        self, xyxy: npt.NDArray[Any], score: npt.NDArray[Any], class_id: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any]]:
        """Order one image's N detections.

        Returns:
            The indices of the K detections that stay, (K,), best first, and their scores, (K,).
        """
        across, within = self.limits()
        order = np.argsort(-score, kind="stable")
        if (
            len(xyxy) < 2
            or (within == across == math.inf)
            or (within == math.inf and len(np.unique(class_id)) < 2)
        ):
            return order, score[order]
        xyxy, score, class_id = xyxy[order], score[order], class_id[order]
        same = class_id[:, None] == class_id
        overlap = pairwise_iou(xyxy, xyxy)
        first = _greedy(overlap > np.where(same, within, across))
        kept = first | _greedy(same & (overlap > within))
        score = np.where(first, score, score.dtype.type(SECOND_ANSWER) * score)
        order, score = order[kept], score[kept]
        best = np.argsort(-score, kind="stable")
        return order[best], score[best]


def _greedy(clash: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of N detections, best first, clash with no better one that stays."""
    kept = np.ones(len(clash), bool)
    for index in range(len(clash)):
        if kept[index]:
            kept[index + 1 :] &= ~clash[index, index + 1 :]
    return kept


# What detectors did up to 0.1.0.
PER_CLASS = Suppression(per_class=True)


def read_suppression(settings: Fields) -> Suppression:
    """What a detector's settings say; a detector of 0.1.0 goes on as it was measured."""
    if not settings.has("suppression"):
        return PER_CLASS
    given = settings.object("suppression")
    iou = given.number("iou", 0, 1) if given.has("iou") else None
    return Suppression(given.flag("per_class", default=False), iou)


def check_score(value: Any, name: str = "threshold") -> float:
    """The number, if it is one from 0 to 1.

    Raises:
        UserError: If it is something else.
    """
    good = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not good or not 0 <= value <= 1:
        raise UserError(f"the {name} is {value!r}: give a number from 0 to 1")
    return abs(float(value))  # -0.0 is 0
