"""From one format of labelled pictures to another: what `duckdetect convert` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from duckdetect.datasets import list_parts, read_dataset
from duckdetect.samples import Dataset, Problem, strict
from duckdetect.writing import write_splits


@dataclass(frozen=True)
class Converted:
    """What `convert_dataset` wrote.

    Attributes:
        folder: The data set.
        format: "coco", "voc" or "yolo".
        pictures: How many, by split; None stands for the folder itself.
        boxes: How many were read.
        lost: A line for each thing that the format cannot hold, and each that was left out as broken.
    """

    folder: Path
    format: str
    pictures: dict[str | None, int]
    boxes: int
    lost: tuple[str, ...]

    def text(self) -> str:
        """For people, some lines."""
        by_split = ", ".join(f"{split} {n}" for split, n in self.pictures.items() if split)
        lines = [
            f"{sum(self.pictures.values())} pictures{f' ({by_split})' if by_split else ''} with "
            f"{self.boxes} boxes written as {self.format} to {self.folder}"
        ]
        return "\n".join([*lines, *(f"note: {line}" for line in self.lost)])


def convert_dataset(
    path: str | Path, to: str, out: str | Path, overwrite: bool = False
) -> Converted:
    """Write a labelled folder in another format, with copies of its pictures.

    Splits, classes, their order, and pictures without objects are kept, and what else the format can
    hold: COCO all of it; Pascal VOC boxes in whole pixels and crowds as `difficult`, no outlines;
    YOLO boxes and outlines, no crowds and no masks of run lengths.

    Args:
        path: As `load_dataset` takes it.
        to: "coco", "voc" or "yolo".
        out: The folder to write; it appears whole or not at all.
        overwrite: Replace a data set that is there already.

    Raises:
        UserError: If something is wrong with the labels (`check_dataset` lists it), or `out` is taken.
    """
    path, notes = Path(path), []

    def report(problem: Problem) -> None:
        strict(problem)
        notes.append(str(problem))

    parts: dict[str | None, Dataset] = {
        split: read_dataset(path, split, report) for split in list_parts(path)
    }
    lost = write_splits(parts, to, out, overwrite)
    return Converted(
        Path(out),
        to,
        {split: len(part) for split, part in parts.items()},
        sum(part.n_boxes for part in parts.values()),
        (*lost, *notes),
    )
