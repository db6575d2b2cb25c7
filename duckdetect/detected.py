"""What a call of `detect` wrote, and what it counts on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True)
class Detected:
    """What a call of `detect` wrote.

    Attributes:
        folder: Where it lies.
        animation: detections.gif, or detections.mp4 for a video.
        n_pictures: Pictures, or frames of the video, that were looked at.
        n_found: Pictures with at least one detection.
        n_detections: Detections in all of them.
        threshold: The score at or above which they were kept.
        notes: What else a user should know, each one line.
    """

    folder: Path
    animation: Path
    n_pictures: int
    n_found: int
    n_detections: int
    threshold: float
    notes: tuple[str, ...] = ()


@dataclass
class Count:
    """Adds up what `Detected` tells."""

    pictures: int = 0
    found: int = 0
    detections: int = 0

    def add(self, detections: Detections) -> Detections:
        """Count one picture's detections and hand them on."""
        self.pictures += 1
        self.found += len(detections) > 0
        self.detections += len(detections)
        return detections
