"""Text files with a line for each picture: `a.jpg x1,y1,x2,y2,class ...` (Roboflow's YOLOv4 PyTorch).

Roboflow writes `_annotations.txt` and `_classes.txt` into each split's folder; the YOLOv3 and YOLOv4
of Keras and PyTorch have `train.txt` with `classes.txt`. Coordinates are pixels, classes from 0.
"""

from __future__ import annotations

import re
from pathlib import Path

from duckdetect.data.dataset import (
    NORMALISED,
    Dataset,
    Label,
    Problem,
    Reading,
    Sample,
    are_normalised,
    make_sample,
)
from duckdetect.data.formats import places
from duckdetect.data.formats.yolo import CLASS_FILES, file_of, read_text
from duckdetect.errors import UserError

_BOX = re.compile(r"(-?\d+(?:\.\d+)?,){4}\d+(?:\.0+)?")  # some tools write the class as 0.0
_CLASS_FILES = ("_classes.txt", *CLASS_FILES)


def find(folder: Path) -> dict[str | None, Path]:
    """The lists of boxes in a folder by split; None for a single one."""
    found = [
        path
        for path in places.listed(folder, (".txt",))
        if path.name.lower().strip("_").startswith(_STARTS) and _is_list(path)
    ]
    return places.by_split(folder, found, "Darknet")


_STARTS = ("annotation", "train", "val", "test", "label", "box")


def read(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read a list; the names of the classes stand in a file beside it, one a line."""
    tops = (source.parent, source.parent.parent)
    names = next((p for top in tops if (p := file_of(top, _CLASS_FILES)) is not None), None)
    if names is None:
        raise UserError(f"{source.parent / '_classes.txt'} is missing: write a class name a line")
    listed = [line.strip() for line in read_text(reading.inside(names)).strip().splitlines()]
    table, numbers = reading.classes(names, listed)
    folders = places.of_images(source)
    samples: list[Sample] = []
    read_labels: list[Label] = []
    for number, line in enumerate(read_text(source).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        name, boxes = _parted(line)
        path = reading.image(where, name, folders)
        if path is None:
            continue
        labels = []
        for box in boxes:
            *xyxy, class_number = (float(v) for v in box.split(","))
            if class_number >= len(numbers):
                named = box.rpartition(",")[2].partition(".")[0]
                named = named if len(named) <= 20 else f"of {len(named)} digits"
                what = f"there is no class {named} (there are {len(numbers)}, from 0)"
                cure = f"fix the number or add the name to {names.name}"
                reading(Problem(where, what, cure))
                continue
            labels.append(Label(where, xyxy, numbers[int(class_number)]))
        read_labels += labels
        sample = make_sample(path, len(samples) + 1, None, labels, reading, upright=False)
        if sample is not None:
            samples.append(sample)
    if are_normalised(read_labels):
        reading(Problem(str(source), *NORMALISED))
    return Dataset(source.parent, table, tuple(samples))


def _is_list(path: Path) -> bool:
    return any(_parted(line)[1] for line in read_text(path).splitlines())


def _parted(line: str) -> tuple[str, list[str]]:
    """A picture's name, which may hold blanks, and the boxes after it."""
    rest, boxes = line.strip(), []
    words = rest.split()
    while len(words) > 1 and _BOX.fullmatch(words[-1]):
        boxes.append(words.pop())
    if boxes:  # cut once: what the name itself holds of blanks stays
        rest = rest.rsplit(maxsplit=len(boxes))[0]
    return rest, boxes[::-1]
