"""Writing labelled images in another format: what `duckdetect convert` does, and `split` to a folder.

convert_dataset("export.zip", "yolo", "ducks-yolo").text()   # what the format could not hold
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duckdetect.data.check import left_over
from duckdetect.data.contact_sheet import check_sheet
from duckdetect.data.dataset import SPLIT_NAMES, Dataset, Problem, classes_alike, noting
from duckdetect.data.formats import WRITERS, Writer
from duckdetect.data.loading import list_parts, read_dataset
from duckdetect.errors import UserError
from duckdetect.imaging.io import image_head
from duckdetect.imaging.kinds import IMAGE_SUFFIXES, is_hidden
from duckdetect.utils.files import FreeNames, remove_leftovers
from duckdetect.utils.outputs import check_apart, check_outputs, own_output
from duckdetect.utils.reading import as_path
from duckdetect.utils.words import counted, note_lines, plural


def write_splits(
    parts: Mapping[Any, Dataset],
    to: str,
    out: str | Path,
    overwrite: bool = False,
    verb: str = "convert",
) -> list[str]:
    """Write data sets with copies of their pictures; the folder appears whole or not at all.

    coco is Roboflow's layout, `SPLIT/_annotations.coco.json`; voc an XML file beside each picture in
    `SPLIT/`; yolo `data.yaml`, `SPLIT/images` and `SPLIT/labels`. What is not of a split (None) goes
    into the folder itself, in YOLO into `train`.

    Args:
        parts: A data set for each split, `train`, `valid`, `test` or None.
        to: "coco", "voc" or "yolo".
        out: The folder.
        overwrite: Replace what an earlier call with this `verb` wrote there.
        verb: The command that writes.

    Returns:
        A line for each thing that the format cannot hold.

    Raises:
        UserError: If the format is unknown, the folder holds something, or a name cannot be written.
    """
    out = Path(out)
    paths = [sample.path for part in parts.values() for sample in part.samples]
    writer = writer_of(to, paths)
    parts = classes_alike(parts)
    check_out(out, paths, overwrite, verb)
    if to == "yolo" and None in parts:
        if "train" in parts:
            raise UserError(
                f"{parts[None].root} holds labels of its own and a train split, both would be YOLO's "
                "train: write them one by one"
            )
        parts = {split or "train": part for split, part in parts.items()}
    with own_output(out, verb, new=not overwrite) as folder:
        folder.mkdir()
        lost: Counter[str] = Counter()
        for split, part in parts.items():
            lost += _write(writer, folder / (split or ""), part)
        if writer.settings is not None:
            classes = next(iter(parts.values())).classes
            writer.settings(folder, classes, {str(s): f"{s}/{writer.images}" for s in parts})
    if not writer.lists_classes:
        every = {name for part in parts.values() for name in part.classes}
        used = {
            part.classes[c] for part in parts.values() for s in part.samples for c in s.class_id
        }
        lost["classes without a box are dropped: the format has no list of classes"] += len(
            every - used
        )
    return [counted(count, what) for what, count in lost.items() if count]


# Control characters, and bytes that are no UTF-8: XML knows no way to write them. A backslash would be
# read as the end of a folder's name.
_UNWRITTEN = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def file_names(dataset: Dataset, by_stem: bool) -> list[str]:
    """A name for each sample's picture that no other has, its own where that is free and can be written.

    Args:
        dataset: Its samples may come from several folders.
        by_stem: Two names must differ in more than the suffix (YOLO and Pascal VOC name a picture's
            labels by it). Case does not count, as on Windows and Macs.
    """
    free = FreeNames(by_stem)
    free.take("_annotations.coco", ".json")  # COCO's labels lie among the pictures
    if not by_stem:
        for split in SPLIT_NAMES:  # as may the splits' folders, and a picture may have no suffix
            free.take(split, "")
    return [
        free.take(_UNWRITTEN.sub("_", sample.path.stem), sample.path.suffix)
        for sample in dataset.samples
    ]


def _write(writer: Writer, folder: Path, dataset: Dataset) -> Counter[str]:
    if writer.by_stem:
        _check_classes(dataset)
    names = file_names(dataset, writer.by_stem)
    return _copy(dataset, folder / writer.images, names) + writer.labels(folder, dataset, names)


def _copy(dataset: Dataset, folder: Path, names: Sequence[str]) -> Counter[str]:
    folder.mkdir(parents=True, exist_ok=True)
    lost: Counter[str] = Counter()
    for sample, name in zip(dataset.samples, names, strict=True):
        try:
            # The bytes alone: pictures of a read-only place must not make the copies read-only.
            shutil.copyfile(sample.path, folder / name)
            if image_head(folder / name).size_hw != sample.size_hw:
                raise UserError(f"{sample.path} was changed while it was copied: start again")
        except OSError as error:
            raise UserError(
                f"{sample.path} cannot be copied ({error.strerror}): check it, and the space left"
            ) from error
        lost[
            "pictures are renamed: two had the same name, or signs in it that labels cannot hold"
        ] += name != sample.path.name
    return lost


def writer_of(to: str, paths: Iterable[Path]) -> Writer:
    """What writes a format.

    Raises:
        UserError: If there is none, or it finds labels by their images' names, as YOLO does, and an
            image has a name that is not an image's.
    """
    writer = WRITERS.get(to) if isinstance(to, str) else None
    if writer is None:
        raise UserError(f"there is no format {to!r}: give one of {', '.join(WRITERS)}")
    for path in paths if writer.by_stem else ():
        if path.suffix.lower() not in IMAGE_SUFFIXES or is_hidden(path):
            raise UserError(
                f"{path} would not be taken for a picture: name it as one "
                f"({', '.join(IMAGE_SUFFIXES)})"
            )
    return writer


def _check_classes(dataset: Dataset) -> None:
    for name in dataset.classes:
        if not name.isprintable() or name != name.strip():
            raise UserError(f"{dataset.root}: the class name {name!r} cannot be written: rename it")


def check_out(
    out: Path,
    sources: Iterable[Path],
    overwrite: bool,
    verb: str,
    sheet: str | Path | None = None,
) -> None:
    """Refuse to put a folder, and a sheet, in the place of anything but what an earlier `verb` wrote."""
    sources = list(sources)
    if sheet is not None:
        check_apart(sheet, out)
        check_sheet(sheet, verb, sources)
    remove_leftovers(out)  # of a run that was killed when the folder was whole, too
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out} is a file, not a folder: choose another --out")
    if not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{out} holds something already: choose another --out, or --overwrite it")
    for source in sources:
        if source.resolve().is_relative_to(out.resolve()):
            raise UserError(f"{out} holds the pictures to be read: choose another --out")
    check_outputs([out], verb)


@dataclass(frozen=True)
class Converted:
    """What `convert_dataset` wrote.

    Attributes:
        folder: The data set.
        format: "coco", "voc" or "yolo".
        images: How many, by split; None stands for the folder itself.
        boxes: How many were written.
        lost: A line for each thing that the format cannot hold, and each that was left out as broken.
    """

    folder: Path
    format: str
    images: dict[str | None, int]
    boxes: int
    lost: tuple[str, ...]

    def text(self) -> str:
        """For people, some lines."""
        by_split = ", ".join(f"{split} {n}" for split, n in self.images.items() if split)
        lines = [
            f"{plural(sum(self.images.values()), 'picture')}{f' ({by_split})' if by_split else ''} with "
            f"{plural(self.boxes, 'box')} written as {self.format} to {self.folder}"
        ]
        return "\n".join([*lines, *note_lines(self.lost)])


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
        overwrite: Replace what an earlier conversion wrote there.

    Raises:
        UserError: If something is wrong with the labels (`check_dataset` lists it), or `out` is taken.
    """
    path, out = as_path(path, "the data"), as_path(out, "out")
    notes: list[Problem] = []
    parts: dict[str | None, Dataset] = {
        split: read_dataset(path, split, noting(notes)) for split in list_parts(path)
    }
    lost = write_splits(parts, to, out, overwrite)
    notes += left_over(parts.values())
    crowds = sum(int(s.crowd.sum()) for part in parts.values() for s in part.samples)
    n_boxes = sum(part.n_boxes for part in parts.values())
    return Converted(
        out,
        to,
        {split: len(part) for split, part in parts.items()},
        n_boxes if WRITERS[to].crowds else n_boxes - crowds,
        (*lost, *dict.fromkeys(map(str, notes))),
    )
