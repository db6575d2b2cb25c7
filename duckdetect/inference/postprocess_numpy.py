"""Suppression, box voting and Soft-NMS in numpy, for networks that run without TensorFlow.

    found = PostProcess(voting=True).run(y1x1y2x2, score, threshold=0.5)
    found.y1x1y2x2, found.score, found.class_id

The same as TensorFlow's `combined_non_max_suppression` followed by the box voting and the Soft-NMS
rescoring of the SavedModel's graph (tests/inference/test_postprocess_numpy.py compares them). Whatever
runs a detector outside TensorFlow uses it: LiteRT here, and the web page in its JavaScript twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Overlaps are computed for so many candidates at once; most pictures need no second block.
_BLOCK = 256


class Found(NamedTuple):
    """One picture's D detections, the highest score first.

    Attributes:
        y1x1y2x2: (D, 4) float32, parts of the model's input.
        score: (D,) float32.
        class_id: (D,) int32.
    """

    y1x1y2x2: Floats
    score: Floats
    class_id: npt.NDArray[np.int32]


@dataclass(frozen=True)
class PostProcess:
    """The settings of suppression and of what follows it.

    Attributes:
        iou: Two boxes of a class that overlap by more are one object.
        min_score: Boxes that score no higher are dropped.
        max_per_class: Detections kept of a class.
        max_total: Detections kept.
        voting: Whether a detection moves to the mean of the boxes that overlap it, weighted by score
            and squared overlap (box voting, arXiv 1505.01749), and what overlaps surer detections of
            its class loses score (Gaussian Soft-NMS, arXiv 1704.04503).
        vote_iou: Boxes that overlap a detection by more have a vote.
        voters: Boxes of the highest scores that may vote.
        soft_nms_sigma: The Gaussian penalty is exp(-iou**2 / sigma).
    """

    iou: float = 0.6
    min_score: float = 1e-8
    max_per_class: int = 100
    max_total: int = 100
    voting: bool = False
    vote_iou: float = 0.6
    voters: int = 600
    soft_nms_sigma: float = 0.5

    def run(self, y1x1y2x2: Floats, score: Floats, threshold: float = 0.0) -> Found:
        """Raw boxes to detections.

        No step after suppression raises a score, and no box changes one that scores higher, so boxes
        below `threshold` need not be suppressed: the detections above it are the same.

        Args:
            y1x1y2x2: (A, 4) float32, decoded, not clipped.
            score: (A, C) float32, without background.
            threshold: Detections below it are not needed.

        Returns:
            The detections that score at least `threshold`.
        """
        found = self._suppress(y1x1y2x2, score, threshold)
        if self.voting:
            found = self._rescore(self._vote(found, y1x1y2x2, score))
        kept = found.score >= threshold
        return Found(found.y1x1y2x2[kept], found.score[kept], found.class_id[kept])

    def _suppress(self, y1x1y2x2: Floats, score: Floats, threshold: float) -> Found:
        picked_score, picked_class, picked = [], [], []
        for class_id in range(score.shape[1]):
            of_class = score[:, class_id]
            candidates = np.flatnonzero((of_class > self.min_score) & (of_class >= threshold))
            order = candidates[np.argsort(-of_class[candidates], kind="stable")]
            index = order[_greedy(y1x1y2x2[order], self.iou, self.max_per_class)]
            picked.append(index)
            picked_score.append(of_class[index])
            picked_class.append(np.full(len(index), class_id, np.int32))
        found_score = np.concatenate(picked_score)
        best = np.argsort(-found_score, kind="stable")[: self.max_total]
        return Found(
            np.clip(y1x1y2x2[np.concatenate(picked)[best]], 0, 1),
            found_score[best],
            np.concatenate(picked_class)[best],
        )

    def _vote(self, found: Found, y1x1y2x2: Floats, score: Floats) -> Found:
        if not len(found.score):
            return found
        best = score.max(axis=1)
        if len(best) > self.voters:
            chosen = np.argsort(-best, kind="stable")[: self.voters]
            y1x1y2x2, score = y1x1y2x2[chosen], score[chosen]
        voters = np.clip(y1x1y2x2, 0, 1)
        overlap = iou_matrix(found.y1x1y2x2, voters)  # (D, V)
        weight = score.T[found.class_id] * overlap**2
        weight[overlap <= self.vote_iou] = 0
        total = weight.sum(axis=1, keepdims=True)
        mean = weight @ voters / np.maximum(total, 1e-12)
        return found._replace(
            y1x1y2x2=np.where(total > 1e-12, mean, found.y1x1y2x2).astype(np.float32)
        )

    def _rescore(self, found: Found) -> Found:
        overlap = np.tril(iou_matrix(found.y1x1y2x2, found.y1x1y2x2), -1)  # (D, surer D)
        overlap[found.class_id[:, None] != found.class_id[None]] = 0
        score = found.score * np.exp(-(overlap**2).sum(axis=1) / self.soft_nms_sigma)
        order = np.argsort(-score, kind="stable")
        return Found(found.y1x1y2x2[order], score[order].astype(np.float32), found.class_id[order])


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """Intersection over union, (D, V), of corners (D, 4) and (V, 4)."""
    high = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    wide = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    both = np.maximum(high, 0) * np.maximum(wide, 0)
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    overlap: Floats = both / np.maximum(area_a[:, None] + area_b[None] - both, np.float32(1e-12))
    return overlap


def _greedy(y1x1y2x2: Floats, iou: float, most: int) -> npt.NDArray[np.intp]:
    """Indices of the boxes, sorted by score, that overlap no earlier kept box by more than `iou`."""
    kept: list[int] = []
    for start in range(0, len(y1x1y2x2), _BLOCK):
        block = y1x1y2x2[start : start + _BLOCK]
        free = np.ones(len(block), bool)
        if kept:
            free &= ~(iou_matrix(block, y1x1y2x2[kept]) > iou).any(axis=1)
        clash = iou_matrix(block, block) > iou
        for i in range(len(block)):
            if free[i]:
                kept.append(start + i)
                if len(kept) == most:
                    return np.array(kept, np.intp)
                free &= ~clash[i]
    return np.array(kept, np.intp)
