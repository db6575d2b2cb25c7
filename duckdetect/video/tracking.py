"""Multi-object tracking: ByteTrack (Zhang et al., ECCV 2022, arXiv 2110.06864) with a Kalman filter.

    tracker = Tracker(threshold=0.5)
    for frame in video.frames():
        detections = detector.predict(frame.image, tracker.low)
        detections = tracker.update(detections, float(frame.seconds))    # with tracker_id

Confident detections are matched with the known tracks first; tracks that stay unmatched are then matched
with the low-score detections. So an object that turns away or blurs for some frames keeps its box and its
number, while a low-score detection where nothing was known stays out.

Our own and not the package `trackers` (2.6), which has timestamps too: it associates without regard to
the class, gives no predicted boxes between frames (`--every`), and requires opencv-python, which would
replace the headless build.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from duckdetect.imaging.geometry import pairwise_iou

if TYPE_CHECKING:
    from supervision import Detections

# SORT's and DeepSORT's noise (Wojke et al. 2017, arXiv 1703.07402, and their code): parts of the box's
# height, a frame at 30 frames a second.
_PLACE = 1 / 20

_SPEED = 1 / 160

_FRAMES_PER_S = 30


class Motion:
    """Centre, width and height of a box and the speed of each.

    The four are independent in SORT's filter: its matrices of 8 x 8 hold four filters of place and
    speed and zeros between them. Here they are these four, side by side.
    """

    def __init__(self, xyxy: npt.NDArray[Any], seconds: float) -> None:
        self._seconds = seconds
        self._place = _to_cxcywh(xyxy)  # (4,)
        self._speed = np.zeros(4)  # pixels in a thirtieth of a second
        size = self._size()
        # Twice and ten times the noise of a step, as DeepSORT begins: the speed is not known at all.
        self._cov = np.zeros((4, 2, 2))
        self._cov[:, 0, 0] = (2 * _PLACE * size) ** 2
        self._cov[:, 1, 1] = (10 * _SPEED * size) ** 2

    def at(self, seconds: float) -> npt.NDArray[np.float64]:
        """The box expected at this time, xyxy (4,)."""
        return _to_xyxy(self._place + self._speed * (seconds - self._seconds) * _FRAMES_PER_S)

    def update(self, xyxy: npt.NDArray[Any], seconds: float) -> None:
        """Learn where it was found, at a time later than before."""
        steps = (seconds - self._seconds) * _FRAMES_PER_S
        size = self._size()
        move = np.array([[1.0, steps], [0.0, 1.0]])
        self._place = self._place + self._speed * steps
        # The noise of `steps` small steps adds up.
        noise = np.diag([(_PLACE * size) ** 2, (_SPEED * size) ** 2]) * steps
        cov = move @ self._cov @ move.T + noise  # (4, 2, 2)
        gain = cov[:, :, 0] / (cov[:, 0, 0] + (_PLACE * self._size()) ** 2)[:, None]  # (4, 2)
        error = _to_cxcywh(xyxy) - self._place
        self._place = self._place + gain[:, 0] * error
        self._speed = self._speed + gain[:, 1] * error
        self._cov = cov - gain[:, :, None] * cov[:, :1, :]
        self._seconds = seconds

    def _size(self) -> float:
        return max(1.0, float(self._place[3]))


def _to_cxcywh(xyxy: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    x1, y1, x2, y2 = np.asarray(xyxy, float)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def _to_xyxy(cxcywh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    cx, cy, w, h = cxcywh
    w, h = max(w, 1.0), max(h, 1.0)  # a box that shrank does not turn inside out
    return np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])


# The paper's settings: overlaps below these do not match, a lost track is kept for 30 frames.
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
        # With few frames detected on (`--every`), no object may be lost just between two of them.
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
        """Where the objects of the last frame should be at a later time, for frames not detected on.

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
        gain = pairwise_iou(expected, detections.xyxy[indices])  # (T, N)
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
