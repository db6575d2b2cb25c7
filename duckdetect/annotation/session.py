"""A folder's images on their way to having boxes, whichever widget draws them.

A `Session` is what `duckdetect.annotate` returns and what both widgets read from and write to.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from duckdetect.annotation.store import AnnotationStore, Box
from duckdetect.errors import UserError
from duckdetect.imaging.io import image_size_hw, list_images, load_image
from duckdetect.utils.words import plural, refuse_text, some_names

_LOWEST = 0.05  # of a suggestion's score, however few a user wants to see


class Suggests(Protocol):
    """What `suggest` needs of a detector; `duckdetect.Detector` has it."""

    @property
    def classes(self) -> Sequence[str]:
        """Names by class id."""
        ...

    def predict(self, images: list[np.ndarray], /, threshold: float) -> Any:
        """One `supervision.Detections` for each image, of this score or more."""
        ...


class Session:
    """A folder's images on their way to having boxes; what the widgets read and write.

    Attributes:
        folder: Where the images and `_annotations.coco.json` lie.
        classes: What boxes are drawn for.
        images: The images' paths, in the order in which they are shown.
        suggest_threshold: The score from which a suggested box is shown.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str],
        suggest: Suggests | None = None,
        suggest_threshold: float = 0.3,
        images: Sequence[Path] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.classes = _checked_classes(classes)
        self.images = list_images(self.folder) if images is None else list(images)
        self._store = AnnotationStore(self.folder)
        self._store.looked_at()  # A broken file is found before anything is drawn.
        self._suggest = suggest
        self.suggest_threshold = suggest_threshold
        self._suggestions: dict[int, list[Box]] = {}

    @property
    def missing(self) -> list[str]:
        """File names of the images without a box of the classes that are not marked "no object"."""
        looked_at = self._store.looked_at_for(self.classes)
        return [path.name for path in self.images if path.name not in looked_at]

    @property
    def done(self) -> bool:
        """Whether every image has been looked at."""
        return not self.missing

    def missing_at(self, index: int) -> bool:
        """Whether nobody has looked at this image yet."""
        return self.images[index].name not in self._store.looked_at_for(self.classes)

    @property
    def suggests(self) -> bool:
        """Whether a detector suggests boxes."""
        return self._suggest is not None

    def size_hw(self, index: int) -> tuple[int, int]:
        """One image's height and width in pixels."""
        return image_size_hw(self.images[index])

    def image(self, index: int) -> np.ndarray:
        """One image, (H, W, 3) uint8 RGB, turned as its EXIF data say."""
        return load_image(self.images[index])

    def boxes(self, index: int, least: float | None = None) -> list[Box]:
        """An image's boxes: drawn ones, or the detector's if nobody has looked at it yet.

        Args:
            index: Which image.
            least: The lowest score of a suggestion; `suggest_threshold` if None.
        """
        least = self.suggest_threshold if least is None else least
        if self._suggest is not None and self.missing_at(index):
            if index not in self._suggestions:
                self._suggestions[index] = self._predict(self._suggest, index)
            return [box for box in self._suggestions[index] if (box.score or 0) >= least]
        return self._store.boxes(self.images[index].name, self.classes)

    def others(self, index: int) -> list[Box]:
        """An image's boxes of classes that are not being drawn; they are shown in grey and kept."""
        boxes = self._store.boxes(self.images[index].name)
        return [box for box in boxes if box.class_name not in self.classes]

    def other_classes(self) -> dict[str, int]:
        """The classes that have boxes here and are not being drawn, with their numbers of boxes."""
        counts = self._store.counts()
        return {name: n for name, n in counts.items() if name not in self.classes}

    def likely_renames(self) -> list[tuple[str, str]]:
        """Pairs (old, new): other classes that are spelt nearly like one that is being drawn."""
        pairs = []
        for old in self.other_classes():
            near = difflib.get_close_matches(
                old.lower(), [c.lower() for c in self.classes], 1, 0.75
            )
            if near:
                pairs.append((old, next(c for c in self.classes if c.lower() == near[0])))
        return pairs

    def rename(self, old: str, new: str) -> int:
        """Give a class another name, or that of a second class to merge both; returns its boxes."""
        return self._store.rename(old, new)

    def save(self, index: int, boxes: Sequence[Box]) -> None:
        """Save an image's boxes in place of those of the same classes that it had.

        Without a box the image counts as not looked at, unless it is marked "no object".
        """
        path = self.images[index]
        if boxes:
            self._store.put(path.name, image_size_hw(path), boxes, self.classes)
        elif self._store.boxes(path.name, self.classes):
            self._store.forget(path.name, self.classes)

    def mark_no_object(self, index: int) -> None:
        """Note that somebody has looked at an image and it holds none of the classes."""
        path = self.images[index]
        self._store.put(path.name, image_size_hw(path), [], self.classes)

    def status(self, index: int) -> str:
        """One or two words on an image, such as "2 boxes"."""
        if self.missing_at(index):
            others = len(self.others(index))
            suggested = any(
                (box.score or 0) >= self.suggest_threshold
                for box in self._suggestions.get(index, ())
            )
            if others and not suggested:
                return f"no box yet; {plural(others, 'box')} of other classes"
            return "suggested" if suggested else "no box yet"
        count = len(self._store.boxes(self.images[index].name, self.classes))
        return plural(count, "box") if count else "no object"

    def progress(self) -> str:
        """How far it has got, such as "3 of 5 images are done."."""
        done = len(self.images) - len(self.missing)
        be = "is" if len(self.images) == 1 else "are"
        return f"{done} of {plural(len(self.images), 'picture')} {be} done."

    def __repr__(self) -> str:
        missing = self.missing
        return self.progress() + (f" Missing: {some_names(missing)}." if missing else "")

    def _predict(self, detector: Suggests, index: int) -> list[Box]:
        image = self.image(index)
        height, width = image.shape[:2]
        (found,) = detector.predict([image], threshold=min(_LOWEST, self.suggest_threshold))
        boxes = []
        for xyxy, class_id, score in zip(found.xyxy, found.class_id, found.confidence, strict=True):
            class_name = detector.classes[int(class_id)]
            limits = (width, height, width, height)
            x1, y1, x2, y2 = (
                min(max(float(v), 0.0), limit) for v, limit in zip(xyxy, limits, strict=True)
            )
            if class_name in self.classes and x2 > x1 and y2 > y1:
                boxes.append(Box((x1, y1, x2, y2), class_name, score=float(score)))
        return boxes


def _checked_classes(classes: Sequence[str]) -> list[str]:
    refuse_text("classes", classes)
    names = list(classes)
    good = all(isinstance(name, str) and name.strip() == name != "" for name in names)
    if not names or not good or len(set(names)) != len(names):
        raise UserError(f"classes={names!r}: give one or more names, none empty, none twice")
    return names
