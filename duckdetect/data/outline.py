"""Outlines from boxes, by the computer: GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004), of OpenCV.

    done = outline_dataset("mugs", "mugs-outlined", sheet="outlines.jpg")

Good where one object stands out from what is behind it, poor in a crowd: docs/accuracy.md. An outline
that does not reach the sides of its box is not believed, and the box goes without one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from duckdetect.data.check import left_over
from duckdetect.data.contact_sheet import label_sheet
from duckdetect.data.convert import check_out, write_splits
from duckdetect.data.dataset import Dataset, Problem, Sample, noting
from duckdetect.data.loading import list_parts, read_dataset, require_boxes
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import pairwise_iou
from duckdetect.imaging.io import ImageArray
from duckdetect.utils.progress import DELAY_S, progress_bar
from duckdetect.utils.reading import as_path
from duckdetect.utils.words import note_lines, plural, refuse_text, some_names

_MARGIN = 0.3  # of the box's sides: the background that GrabCut learns from
_SIDE_PX = 320  # of the longer side that it works on; more costs time and changes little
_ROUNDS = 5
_SURE = 0.3  # of the box's sides: the ellipse in its middle that is taken for the object
_SAME_BOX = 0.8  # IoU of the outline's own box with the labelled one, from which it is believed
_SPECK = 0.05  # of the largest part's area; smaller parts are dirt
_TOLERANCE = 0.005  # of the box's longer side: how far a polygon may lie from the pixels' edge


@dataclass(frozen=True)
class Outlined:
    """What `outline_dataset` did.

    Attributes:
        folder: The data set.
        n_boxes: Boxes without an outline that were tried.
        n_made: Of these, how many have one now.
        lost: A line for each thing that was left out or is suspicious.
    """

    folder: Path
    n_boxes: int
    n_made: int
    lost: tuple[str, ...] = ()

    def text(self) -> str:
        """For people, some lines."""
        lines = [
            f"{self.n_made} of {plural(self.n_boxes, 'box')} have an outline now, in {self.folder}"
            if self.n_boxes
            else f"every box has an outline already: nothing was made, see {self.folder}"
        ]
        if self.n_made * 2 < self.n_boxes:
            lines.append(
                "note: fewer than half, so masks are trained only if asked for (masks: yes)"
            )
        return "\n".join([*lines, *note_lines(self.lost)])


def outline_dataset(
    source: str | Path,
    out: str | Path,
    sheet: str | Path | None = None,
    leave_out: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
) -> Outlined:
    """Copy labelled pictures, with an outline for each box that has none and where one can be believed.

    In the COCO file such an annotation has `"outline_by": "computer"`.

    Args:
        source: As `load_dataset` takes it; all its splits.
        out: The folder to write, COCO; it appears whole or not at all.
        sheet: A JPEG file to draw the outlines on, to look at.
        leave_out: Names of pictures whose outlines are wrong: their boxes stay without.
        overwrite: Replace what an earlier call wrote there.
        progress: Show a bar on stderr.

    Raises:
        UserError: If something is wrong with the labels, `leave_out` names a picture that is not
            there, or `out` is taken.
    """
    refuse_text("leave_out", leave_out)
    source = as_path(source, "the data")
    notes: list[Problem] = []
    parts = {split: read_dataset(source, split, noting(notes)) for split in list_parts(source)}
    notes += left_over(parts.values())
    samples = [sample for part in parts.values() for sample in part]
    if unknown := sorted(set(leave_out) - {sample.path.name for sample in samples}):
        raise UserError(
            f"{source} has no picture {some_names(unknown)}: give names of its pictures"
        )
    require_boxes(Dataset(Path(source), next(iter(parts.values())).classes, tuple(samples)))
    if sheet is not None:
        sheet = as_path(sheet, "sheet")
    # Before the work:
    check_out(as_path(out, "out"), (sample.path for sample in samples), overwrite, "outline", sheet)
    n_made = 0
    n_boxes = sum(int(lacks_outline(s).sum()) for s in samples if s.path.name not in leave_out)
    bar = progress_bar(
        total=n_boxes, desc="outlines", unit="box", delay=DELAY_S, disable=not progress
    )
    done: dict[str | None, Dataset] = {}
    for split, part in parts.items():
        outlined = []
        for sample in part:
            new = sample if sample.path.name in leave_out else outline_sample(sample, bar.update)
            if new.outlined is not None:
                n_made += int(new.outlined.sum())
            outlined.append(new)
        done[split] = replace(part, samples=tuple(outlined))
    bar.close()
    write_splits(done, "coco", out, overwrite, "outline")
    if sheet is not None:
        label_sheet(out, sheet, verb="outline")
    return Outlined(Path(out), n_boxes, n_made, tuple(dict.fromkeys(map(str, notes))))


def outline_sample(sample: Sample, tell: Callable[[], object] = lambda: None) -> Sample:
    """The picture with outlines of the boxes that have none, where they are found.

    Args:
        sample: The picture.
        tell: Called after each box.
    """
    missing = lacks_outline(sample)
    if not missing.any():
        return sample
    image = sample.load()
    outlines = list(sample.segmentation or [None] * len(sample.class_id))
    for i in np.flatnonzero(missing):
        outlines[i] = outline_box(image, sample.xyxy[i])
        tell()
    made = missing & np.array([outline is not None for outline in outlines])
    return replace(sample, segmentation=tuple(outlines) if any(outlines) else None, outlined=made)


def lacks_outline(sample: Sample) -> np.ndarray:
    """(N,) bool: which boxes have no outline and should."""
    if sample.segmentation is None:
        return ~sample.crowd
    return ~sample.crowd & ~np.array([bool(outline) for outline in sample.segmentation], bool)


def outline_box(image: ImageArray, xyxy: np.ndarray) -> list[list[float]] | None:
    """The outline of the object in a box.

    Args:
        image: (H, W, 3) uint8 RGB.
        xyxy: (4,) the box in pixels.

    Returns:
        COCO polygons, [x1, y1, x2, y2, ...] each; None if GrabCut finds nothing that fills the box.
    """
    import cv2

    height, width = image.shape[:2]
    size = xyxy[2:] - xyxy[:2]
    start = np.floor(np.maximum(xyxy[:2] - size * _MARGIN, 0)).astype(int)
    end = np.ceil(np.minimum(xyxy[2:] + size * _MARGIN, (width, height))).astype(int)
    crop = image[start[1] : end[1], start[0] : end[0]]
    scale = min(1.0, _SIDE_PX / max(crop.shape[:2]))
    if min(crop.shape[:2]) * scale < 1:
        return None  # nothing of so thin a strip is left
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    zoom = np.array(small.shape[1::-1]) / np.array(crop.shape[1::-1])
    inside = (
        np.concatenate([(xyxy[:2] - start) * zoom, (xyxy[2:] - start) * zoom]).round().astype(int)
    )
    x1, y1 = np.maximum(inside[:2], 0)
    x2, y2 = np.minimum(inside[2:], small.shape[1::-1])
    if x2 - x1 < 4 or y2 - y1 < 4:
        return None
    mask = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    mask[y1:y2, x1:x2] = cv2.GC_PR_FGD
    centre, half = ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) / 2 * _SURE, (y2 - y1) / 2 * _SURE)
    cv2.ellipse(
        mask, centre, (max(1, round(half[0])), max(1, round(half[1]))), 0, 0, 360, cv2.GC_FGD, -1
    )
    if not (mask == cv2.GC_BGD).any():
        return None  # the box is the whole picture: nothing shows what is behind the object
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, mask, (0, 0, 0, 0), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    polygons = _polygons(found, _TOLERANCE * max(x2 - x1, y2 - y1))
    if not polygons:
        return None
    points = np.concatenate(polygons) / zoom + start
    own = np.concatenate([points.min(axis=0), points.max(axis=0)])
    if pairwise_iou(own[None], xyxy[None].astype(float))[0, 0] < _SAME_BOX:
        return None
    return [
        np.clip(polygon / zoom + start, 0, (width, height)).round(1).ravel().tolist()
        for polygon in polygons
    ]


def _polygons(found: npt.NDArray[np.uint8], tolerance: float) -> list[np.ndarray]:
    """The outlines of a mask's parts without holes and specks, (n, 2) each, in pixels' corners."""
    import cv2

    # Twice as large, a part's edge runs along its pixels' edges, not through their middles.
    large = np.kron(found, np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    least = _SPECK * max(map(cv2.contourArea, contours), default=0)
    thin = [
        cv2.approxPolyDP(c, 2 * tolerance, True)[:, 0]
        for c in contours
        if cv2.contourArea(c) > least
    ]
    return [(polygon + 0.5) / 2 for polygon in thin if len(polygon) >= 3]
