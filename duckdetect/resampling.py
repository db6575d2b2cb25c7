"""Average precision of resampled test sets, thousands of pictures a hundred times over in seconds.

    ranked = [rank_detections(cells) for each class]
    average_precision(ranked[0], weights)        # weights[i]: how often picture i was drawn

The same as pycocotools' `accumulate` on the drawn pictures (tested), which would sort and add up all
detections again for each of them. Only the order of equal scores in different pictures may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision


@dataclass(frozen=True)
class Ranked:
    """One class's detections in all pictures, highest score first.

    Attributes:
        right: For each overlap the places of the right detections in that order, (R,) each.
        counted: For each overlap (D,) the picture of each detection that is right or wrong; one
            for all where they are the same.
        place: For each overlap (R,) where the right detections stand in `counted`.
        n_truth: (P,) labelled boxes of each picture, crowds left out.
    """

    right: list[Ints]
    counted: list[Ints]
    place: list[Ints]
    n_truth: Ints


def rank_detections(cells: Sequence[dict[str, Any] | None]) -> Ranked:
    """Rank one class's detections once.

    Args:
        cells: For each picture pycocotools' `evalImgs` entry of the class and one size range.
    """
    n_truth = np.array([0 if c is None else int((c["gtIgnore"] == 0).sum()) for c in cells])
    full = [(i, c) for i, c in enumerate(cells) if c is not None and len(c["dtScores"])]
    if not full:
        return Ranked([], [], [], n_truth)
    score = np.concatenate([c["dtScores"] for _, c in full])
    order = np.argsort(-score, kind="mergesort")
    picture = np.repeat([i for i, _ in full], [len(c["dtScores"]) for _, c in full])[order]
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
            counted.append(picture[at])
        place.append(np.flatnonzero(matched[row][at]))
        right.append(counted[row][place[row]])
    return Ranked(right, counted, place, n_truth)


def average_precision(
    ranked: Ranked, weights: Ints, n_overlaps: int
) -> npt.NDArray[np.float64] | None:
    """COCO's average precision at each overlap, every picture counted `weights` times.

    Args:
        ranked: One class's detections.
        weights: (P,) how often each picture is drawn.
        n_overlaps: How many overlaps there are, T.

    Returns:
        (T,) float64; None if no box is labelled in the pictures drawn.
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
