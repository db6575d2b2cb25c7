"""Suppression across classes: one object, one answer.

The network suppresses boxes of one class that overlap; of two classes it may give the same object two.
Here the lower-scored one goes as well (greedy non-maximum suppression, class-agnostic).
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


@dataclass(frozen=True)
class Suppression:
    """Which of two overlapping detections is dropped: always the one with the lower score.

    Attributes:
        per_class: Whether detections of different classes leave each other alone.
        iou: The overlap (intersection over union, 0 to 1) above which one is dropped. If None, 0.6
            between classes; within a class it stays with what the network has suppressed.
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

    def keep(
        self, xyxy: npt.NDArray[Any], score: npt.NDArray[Any], class_id: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """Which detections of one image stay, (N,)."""
        kept = np.ones(len(xyxy), bool)
        across, within = self.limits()
        if (
            len(xyxy) < 2
            or (within == across == math.inf)
            or (within == math.inf and len(np.unique(class_id)) < 2)
        ):
            return kept
        limit = np.where(class_id[:, None] == class_id, within, across)
        overlaps = pairwise_iou(xyxy, xyxy) > limit
        order = np.argsort(-score, kind="stable")
        for place, index in enumerate(order):
            if kept[index]:
                later = order[place + 1 :]
                kept[later[overlaps[index, later]]] = False
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
    return float(value)
