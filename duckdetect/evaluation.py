"""Run a detector over a labelled data set and measure it.

    metrics = evaluate(run.detector, load_dataset("test"), out="metrics.json")
    print(metrics.table())

The figures themselves are made in metrics.py (pycocotools) and matching.py (F1, confusion).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from duckdetect.errors import UserError
from duckdetect.figures import Metrics
from duckdetect.files import write_json
from duckdetect.masks import compacted
from duckdetect.metrics import score_detections

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.datasets import Dataset

# Pictures in memory at once; a detector's batch is its own affair. With masks one is enough: a
# hundred masks of a photo may take a gigabyte.
BATCH, BATCH_WITH_MASKS = 8, 1


class Predictor(Protocol):
    """What evaluation asks of a detector; one that finds masks says so by `has_masks = True`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a detection's class id indexes them."""

    def predict(self, pictures: Any, threshold: float) -> Any:
        """One Detections for each picture of a list."""


def evaluate(
    detector: Predictor, dataset: Dataset, out: str | Path | None = None, progress: bool = False
) -> Metrics:
    """Measure a detector on a data set.

    Args:
        detector: Its classes are matched with the data set's by name; detections of a class that
            the data set does not label are left out, since nothing says whether they are right.
        dataset: Labelled pictures.
        out: A JSON file to write the figures to.
        progress: Show a bar on stderr.

    Returns:
        The figures.

    Raises:
        UserError: If the data set holds no pictures, or no class name is in both.
    """
    metrics = score_detections(dataset, collect_detections(detector, dataset, progress))
    if out is not None:
        write_json(out, metrics.to_json())
    return metrics


def collect_detections(
    detector: Predictor, dataset: Dataset, progress: bool = False
) -> list[Detections]:
    """Every detection of a data set's pictures, whatever its score, in the data set's class ids.

    Returns:
        One Detections for each of `dataset.samples`, in that order; masks are kept as run lengths
        (see `masks.compacted`), which `score_detections` reads.

    Raises:
        UserError: As `evaluate`.
    """
    if not dataset.samples:
        raise UserError(f"{dataset.root} holds no pictures to evaluate on: choose another data set")
    table = _class_table(detector.classes, dataset)
    found: list[Detections] = []
    batch = BATCH_WITH_MASKS if getattr(detector, "has_masks", False) else BATCH
    with _bar(len(dataset.samples), progress) as bar:
        for start in range(0, len(dataset.samples), batch):
            pictures = [sample.load() for sample in dataset.samples[start : start + batch]]
            for one in detector.predict(pictures, threshold=0.0):
                found.append(compacted(_translate(one, table)))
            bar.update(len(pictures))
    return found


def _class_table(names: Sequence[str], dataset: Dataset) -> npt.NDArray[np.int64]:
    """(number of the detector's classes,) the data set's class id for each, -1 for none."""
    table = np.array(
        [dataset.classes.index(name) if name in dataset.classes else -1 for name in names],
        np.int64,
    )
    if not (table >= 0).any():
        raise UserError(
            f"the detector knows {_list(names)} and {dataset.root} labels "
            f"{_list(dataset.classes)}: no class name is in both, rename one or choose other data"
        )
    return table


def _translate(detections: Detections, table: npt.NDArray[np.int64]) -> Detections:
    if len(detections) == 0:
        return detections
    if detections.class_id is None:
        raise ValueError("the detector's detections carry no class ids")
    class_id = table[detections.class_id]
    # A copy: the detector's own stays as it is.
    translated = cast("Detections", detections[class_id >= 0])
    translated.class_id = class_id[class_id >= 0]
    return translated


def _bar(total: int, shown: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="evaluate", unit="picture", disable=not shown)


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "no class"
