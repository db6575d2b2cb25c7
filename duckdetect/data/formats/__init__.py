"""Formats of labelled images: the one registry of readers and writers.

A reader finds the labels of a folder by split and reads one of them; a writer writes one split and says
what the format cannot hold. A new format is a module here and an entry in these tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from duckdetect.data.dataset import Dataset, Reading
from duckdetect.data.formats import (
    coco,
    createml,
    csv_table,
    darknet,
    labelme,
    tfrecord,
    voc,
    yolo,
)


class Reader(NamedTuple):
    """Reads a format.

    Attributes:
        find: The splits that a folder holds in this format, and where each lies; None for what the
            folder itself holds; empty if it holds none.
        read: One of them: source, split, and what finds pictures and reports problems.
    """

    find: Callable[[Path], dict[str | None, Path]]
    read: Callable[[Path, str | None, Reading], Dataset]


class Writer(NamedTuple):
    """Writes a format.

    Attributes:
        labels: Writes a split's labels: its folder, the data set, its images' file names. Returns
            how often what could not be held.
        images: Where the images lie below the split's folder.
        by_stem: Whether labels are found by an image's name without suffix, so that no two may share it.
        settings: Writes what the splits have in common: the folder, class names, each split's images.
        lists_classes: Whether a class is written that no box is of.
        crowds: Whether crowds are written.
    """

    labels: Callable[[Path, Dataset, Sequence[str]], Counter[str]]
    images: str = ""
    by_stem: bool = True
    settings: Callable[[Path, Sequence[str], Mapping[str, str]], None] | None = None
    lists_classes: bool = True
    crowds: bool = True


# In this order: a folder may hold a list of classes beside Pascal VOC's files, so plain YOLO comes last.
READERS: tuple[Reader, ...] = (
    Reader(coco.find, coco.read),
    Reader(yolo.find, yolo.read),
    Reader(voc.find, voc.read),
    Reader(createml.find, createml.read),
    Reader(labelme.find, labelme.read),
    Reader(csv_table.find, csv_table.read),
    Reader(darknet.find, darknet.read),
    Reader(tfrecord.find, tfrecord.read),
    Reader(yolo.find_plain, yolo.read_plain),
)

WRITERS: dict[str, Writer] = {
    "coco": Writer(coco.write, by_stem=False),
    "voc": Writer(voc.write, lists_classes=False),
    "yolo": Writer(yolo.write, images="images", settings=yolo.write_settings, crowds=False),
}
