"""A detector's boxes on new images, to be corrected instead of drawn, and which images to label next.

found = suggest(detector, "new_images")           # a Dataset; its boxes have scores
for one in rank(found, 5):
    print(one.sample.path, one.reason)
write_suggestions(found, "prelabels", to="yolo")  # for a labelling tool
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from duckdetect.data.contact_sheet import MOST_IMAGES, label_sheet
from duckdetect.data.convert import write_splits
from duckdetect.data.dataset import Dataset, Problem, Sample
from duckdetect.data.loading import find_again
from duckdetect.data.similar import hash_distances, image_hash
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import detection_rles
from duckdetect.imaging.io import list_folder, list_images, load_image
from duckdetect.inference.detect import loaded_images, predicted_images
from duckdetect.inference.detector import as_detector
from duckdetect.inference.run_config import read_config
from duckdetect.inference.suppression import check_score
from duckdetect.utils.reading import as_path
from duckdetect.utils.words import counted

_LOWEST = 0.05  # below it a score says nothing of an image
_MOST_APART = 500  # images that are chosen far from one another; the time grows with it


@dataclass(frozen=True)
class Suggestions:
    """What a detector found on images that nobody has labelled yet.

    Attributes:
        dataset: Each image with its boxes of score `_LOWEST` or more, best first, in `Sample.score`.
        threshold: The score from which a box is suggested.
        hashes: (N, 288) int8, `image_hash` of each image.
        failed: Why images could not be read, each one line.
        notes: What of the folder was left out, or read from elsewhere, each one line.
    """

    dataset: Dataset
    threshold: float
    hashes: np.ndarray
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def labels(self, samples: Sequence[Sample] | None = None) -> Dataset:
        """The boxes at or above the threshold, of these samples or of all."""
        chosen = self.dataset.samples if samples is None else samples
        return replace(
            self.dataset, samples=tuple(_at_least(sample, self.threshold) for sample in chosen)
        )


@dataclass(frozen=True)
class Ranked:
    """An image that is worth labelling, and why, in words."""

    sample: Sample
    reason: str


def suggest(
    detector: Any,
    source: str | Path | Sequence[str | Path],
    threshold: float | None = None,
    *,
    progress: bool = False,
) -> Suggestions:
    """Detect on images for somebody to correct the boxes.

    Args:
        detector: A detector, a `TrainRun`, or a run's folder.
        source: An image, a folder of images, or a list of images.
        threshold: The score from which a box is suggested, 0 to 1; the detector's own if None.
        progress: Show a bar on stderr.

    Raises:
        UserError: If there is no image, or none can be read.
    """
    threshold = None if threshold is None else check_score(threshold)
    root, paths = images_of(source)
    detector = as_detector(detector)  # which takes seconds, and so comes last
    kept = detector.threshold if threshold is None else threshold
    samples: list[Sample] = []
    hashes: list[np.ndarray] = []
    failed: list[str] = []
    images = loaded_images(paths, failed)
    lowest = min(_LOWEST, kept)
    for path, image, found in predicted_images(
        detector, images, len(paths), lowest, progress, "suggesting"
    ):
        samples.append(_sample(path, len(samples) + 1, image.shape[:2], found))
        hashes.append(image_hash(image))
    if not samples:
        raise UserError(failed[0])
    dataset = Dataset(root, tuple(detector.classes), tuple(samples))
    # Of a list, all that was named is read.
    listed = isinstance(source, str | Path) and root.is_dir()
    notes = list_folder(root).notes(labelled=True) if listed else []
    return Suggestions(dataset, kept, np.stack(hashes), tuple(failed), tuple(notes))


def images_of(source: Any) -> tuple[Path, list[Path]]:
    """A folder and its images; of one image, or of a list of them, the folder of the first.

    Raises:
        UserError: If there is none.
    """
    if isinstance(source, str) or not isinstance(source, Sequence):
        root = as_path(source, "the source")
        return root, [root] if root.is_file() else list_images(root)
    paths = list(dict.fromkeys(as_path(one, "a picture") for one in source))
    if not paths:
        raise UserError("the list of pictures is empty: give at least one")
    if folder := next((path for path in paths if path.is_dir()), None):
        raise UserError(f"{folder} is a folder among pictures: give it alone")
    return paths[0].parent, paths


def rank(found: Suggestions, n: int, labelled: Iterable[str | Path] = ()) -> list[Ranked]:
    """Choose the images to label next: the detector is unsure of them, and they differ.

    Uncertainty sampling (Lewis and Gale 1994) with an image's least certain box, weighed with the
    distance to what is labelled or chosen already (farthest-first traversal, Sener and Savarese 2018)
    by a perceptual hash.

    Args:
        found: What was detected.
        n: How many, at least 1.
        labelled: Images that are labelled already.

    Returns:
        The images, the most useful first; fewer than `n` if there are not so many.
    """
    check_rank(n)
    doubts = [doubt_of(sample, found) for sample in found.dataset.samples]
    doubt = np.array([value for value, _ in doubts])
    nearest = np.ones(len(doubt))  # to an image that is labelled or chosen
    for path in labelled:
        nearest = np.minimum(nearest, hash_distances(image_hash(load_image(path)), found.hashes))
    chosen: list[int] = []
    left = np.ones(len(doubt), bool)
    for _ in range(min(n, len(doubt), _MOST_APART)):
        best = int(np.argmax(np.where(left, doubt * nearest, -1.0)))
        left[best] = False
        chosen.append(best)
        nearest = np.minimum(nearest, hash_distances(found.hashes[best], found.hashes))
    rest = np.argsort(np.where(left, -doubt * nearest, np.inf), kind="stable")
    chosen += rest[: min(n, len(doubt)) - len(chosen)].tolist()
    return [Ranked(found.dataset.samples[i], doubts[i][1]) for i in chosen]


def trained_images(run: str | Path, most: int = 100) -> list[Path]:
    """The images that a run was trained on, evenly chosen of very many; none if they are gone."""
    try:
        dataset = find_again(read_config(run)["data"], Path(run))
    except (UserError, KeyError):  # a detector alone
        return []
    return [] if dataset is None else [sample.path for sample in dataset.evenly(most)]


def check_rank(n: int) -> None:
    """Raise UserError if so many images cannot be chosen."""
    if n < 1:
        raise UserError(f"--rank is {n}: give the number of pictures to label next, 1 or more")


def write_suggestions(
    found: Suggestions,
    out: str | Path,
    to: str = "coco",
    ranked: Sequence[Ranked] | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write images with suggested boxes as labels that annotation tools import.

    Args:
        found: What was detected.
        out: The folder.
        to: "coco" (keeps the scores), "voc" or "yolo".
        ranked: These images alone, in this order; all if None.
        overwrite: Replace what an earlier call wrote there.

    Returns:
        A line for each thing that the format cannot hold.
    """
    dataset = found.labels(None if ranked is None else [one.sample for one in ranked])
    lost = write_splits({None: dataset}, to, out, overwrite, verb="suggest")
    if to != "coco" and dataset.n_boxes:
        lost.append(counted(dataset.n_boxes, f"scores are left out: {to} cannot hold them"))
    return lost


def suggestion_sheet(
    found: Suggestions, ranked: Sequence[Ranked], out: str | Path | None = None
) -> np.ndarray:
    """Draw ranked images with their boxes, each with the reason below; (H, W, 3) uint8 RGB.

    Of more than `MOST_IMAGES` the first.
    """
    ranked = ranked[:MOST_IMAGES]
    reasons = [Problem(str(one.sample.path), one.reason, "", "warning") for one in ranked]
    dataset = found.labels([one.sample for one in ranked])
    return label_sheet(dataset, out, images=len(ranked), problems=reasons, verb="suggest")


def _sample(path: Path, image_id: int, size_hw: tuple[int, ...], found: Any) -> Sample:
    rles = detection_rles(found)
    return Sample(
        path,
        image_id,
        (size_hw[0], size_hw[1]),
        np.asarray(found.xyxy, np.float32),
        np.asarray(found.class_id, np.int64),
        segmentation=None if rles is None else tuple(rles),
        score=np.asarray(found.confidence, np.float32),
    )


def _at_least(sample: Sample, threshold: float) -> Sample:
    assert sample.score is not None
    kept = np.flatnonzero(sample.score >= threshold)
    return replace(
        sample,
        xyxy=sample.xyxy[kept],
        class_id=sample.class_id[kept],
        crowd=sample.crowd[kept],
        score=sample.score[kept],
        segmentation=None
        if sample.segmentation is None
        else tuple(sample.segmentation[i] for i in kept),
    )


def doubt_of(sample: Sample, found: Suggestions) -> tuple[float, str]:
    """How unsure the detector is of an image, 0 to 1, and of what."""
    score, threshold = sample.score, found.threshold
    assert score is not None
    if not len(score):
        return 0.5, "nothing found: is there an object?"
    # 1 at the threshold, 0 at scores of 0 and 1.
    room = np.where(score < threshold, max(threshold, 1e-6), max(1 - threshold, 1e-6))
    doubt = 1 - np.abs(score - threshold) / room
    i = int(np.argmax(doubt))
    name = found.dataset.classes[sample.class_id[i]]
    if score.max() < threshold:
        told = f"nothing surely found: best {name} {score.max():.2f}"
        return float(max(doubt[i], 0.5)), told
    return float(doubt[i]), f"unsure of {name} {score[i]:.2f}"
