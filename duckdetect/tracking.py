"""Identities in a video: the same number for the same object from frame to frame.

    tracker = Tracker(threshold=0.5)
    for frame in video.frames():
        found = detector.predict(frame.picture, tracker.low)
        found = tracker.update(found, float(frame.seconds))    # with tracker_id

ByteTrack (Zhang et al., ECCV 2022, arXiv 2110.06864): confident detections are matched with the known
objects first; what stays unmatched of the objects is then looked for among the unsure detections. So an
object that turns away or blurs for some frames keeps its box and its number, while an unsure detection
at a place where nothing was known stays out. Supervision's own implementation left it with version
0.31, and no other one knows frames that are unevenly spaced in time, as ours are (variable frame
rates, `--every`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from duckdetect.motion import Motion

if TYPE_CHECKING:
    from supervision import Detections

# The paper's settings: overlaps below these do not match, an object is looked for during 30 frames.
_MIN_FUSED_IOU = 0.2  # overlap times score, for confident detections
_MIN_IOU = 0.5  # for unsure ones
_LOST_AFTER_S = 1.0
_LOWEST = 0.1
_NO_MATCH = 1e6


@dataclass
class _Track:
    number: int
    class_id: int
    motion: Motion
    seen_s: float
    """When it was last found."""
    hits: int = 1
    """How often it was found above the threshold; from the second time on, unsure ones count."""
    row: Any = field(default=None, repr=False)
    """Its last detection."""


class Tracker:
    """Gives the detections of consecutive frames identities.

    Attributes:
        threshold: Detections with at least this score are always kept.
        low: Detections below the threshold are of use down to this score: ask the detector for them.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.low = min(_LOWEST, threshold / 2)
        self._tracks: list[_Track] = []
        self._next_number = 1
        self._now_s: float | None = None

    def update(self, detections: Detections, seconds: float) -> Detections:
        """Recognise the objects of the next frame.

        Args:
            detections: All with a score of at least `low`, with class ids.
            seconds: The frame's time, later than the one before.

        Returns:
            Those at or above the threshold, and those below it that continue a known object, with
            `tracker_id` from 1 on; in the order they were given.

        Raises:
            ValueError: If scores or class ids are missing.
        """
        if detections.confidence is None or detections.class_id is None:
            raise ValueError("detections need scores and class ids to be tracked")
        # Frames that are looked at seldom (`--every`) must not lose all objects between two of them.
        step_s = 0.0 if self._now_s is None else seconds - self._now_s
        patience_s = max(_LOST_AFTER_S, 2 * step_s)
        self._tracks = [t for t in self._tracks if seconds - t.seen_s <= patience_s]
        found: dict[int, _Track] = {}
        score = detections.confidence
        sure = np.flatnonzero(score >= self.threshold)
        unsure = np.flatnonzero((score >= self.low) & (score < self.threshold))
        self._match(detections, sure, self._tracks, seconds, found, fuse=True)
        # Unsure detections continue what was there a moment ago, not what was lost before.
        matched = {id(t) for t in found.values()}
        recent = [
            t
            for t in self._tracks
            if id(t) not in matched and t.hits > 1 and t.seen_s == self._now_s
        ]
        self._match(detections, unsure, recent, seconds, found, fuse=False)
        for index in sure.tolist():
            if index not in found:
                found[index] = self._begin(detections, index, seconds)
        for index, track in found.items():
            if score[index] >= self.threshold and track.seen_s < seconds:
                track.hits += 1
            track.seen_s = seconds
            track.row = detections[[index]]
        self._now_s = seconds
        order = sorted(found)
        kept = cast("Detections", detections[np.array(order, int)])
        kept.tracker_id = np.array([found[index].number for index in order], int)
        return kept

    def between(self, seconds: float) -> Detections:
        """Where the objects of the last frame should be at a later time, for frames not looked at.

        Boxes move on as they moved; a mask moves with its box.
        """
        import supervision as sv

        rows = []
        for track in self._tracks:
            if track.seen_s == self._now_s:
                rows.append(_moved(track.row, track.motion.at(seconds), track.number))
        if not rows:
            return sv.Detections.empty()
        return sv.Detections.merge(rows)

    def _begin(self, detections: Detections, index: int, seconds: float) -> _Track:
        assert detections.class_id is not None
        motion = Motion(detections.xyxy[index], seconds)
        track = _Track(self._next_number, int(detections.class_id[index]), motion, seconds)
        self._next_number += 1
        self._tracks.append(track)
        return track

    def _match(
        self,
        detections: Detections,
        indices: npt.NDArray[np.intp],
        tracks: list[_Track],
        seconds: float,
        found: dict[int, _Track],
        fuse: bool,
    ) -> None:
        """Pair detections with tracks of their class, the best overlaps in all (Hungarian method)."""
        from scipy.optimize import linear_sum_assignment

        if not tracks or not len(indices):
            return
        assert detections.confidence is not None
        assert detections.class_id is not None
        expected = np.stack([t.motion.at(seconds) for t in tracks])
        gain = _iou(expected, detections.xyxy[indices])  # (T, N)
        if fuse:
            gain = gain * detections.confidence[indices]
        same = np.array([t.class_id for t in tracks])[:, None] == detections.class_id[indices][None]
        possible = same & (gain > (_MIN_FUSED_IOU if fuse else _MIN_IOU))
        for row, column in zip(
            *linear_sum_assignment(np.where(possible, 1 - gain, _NO_MATCH)), strict=True
        ):
            if possible[row, column]:
                index = int(indices[column])
                found[index] = tracks[row]
                tracks[row].motion.update(detections.xyxy[index], seconds)


def _iou(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Intersection over union of boxes xyxy, (T, 4) and (N, 4): (T, N)."""
    one, other = one[:, None].astype(float), other[None].astype(float)
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    common = sides.clip(min=0).prod(axis=-1)
    areas = (one[..., 2:] - one[..., :2]).prod(axis=-1) + (other[..., 2:] - other[..., :2]).prod(
        axis=-1
    )
    return np.asarray(common / np.maximum(areas - common, 1e-9))


def _moved(row: Detections, xyxy: npt.NDArray[np.float64], number: int) -> Detections:
    """A detection of one object carried to another place."""
    import supervision as sv

    before = row.xyxy[0].astype(float)
    mask = row.mask
    if mask is not None:
        right, down = np.rint(((xyxy - before)[:2] + (xyxy - before)[2:]) / 2).astype(int)
        mask = _shifted(np.asarray(mask[0], bool), int(right), int(down))[None]
    return sv.Detections(
        xyxy=xyxy[None].astype(np.float32),
        mask=mask,
        confidence=row.confidence,
        class_id=row.class_id,
        tracker_id=np.array([number]),
    )


def _shifted(mask: npt.NDArray[np.bool_], right: int, down: int) -> npt.NDArray[np.bool_]:
    height, width = mask.shape
    out = np.zeros_like(mask)
    rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
    y, x = max(0, down), max(0, right)
    from_y, from_x = max(0, -down), max(0, -right)
    out[y : y + rows, x : x + columns] = mask[from_y : from_y + rows, from_x : from_x + columns]
    return out
