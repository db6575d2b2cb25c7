"""CSV tables with a row for each box, as Roboflow, the Object Detection API's tutorials and Kaggle have.

    filename,width,height,class,xmin,ymin,xmax,ymax       Roboflow, TensorFlow
    images/a.jpg,10,20,110,90,duck                        keras-retinanet, without a head

Columns go by their names in the head, in any order. Corners that are all from 0 to 1 are parts of
the picture's sides (Open Images).
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from duckdetect.data.dataset import (
    Dataset,
    Label,
    Problem,
    Reading,
    Sample,
    are_parts,
    make_sample,
)
from duckdetect.data.formats import places
from duckdetect.errors import UserError
from duckdetect.utils.reading import decoded, read_bytes, read_head
from duckdetect.utils.words import some_names

_COLUMNS = {
    "name": ("filename", "file_name", "image", "image_name", "imagename", "image_id", "imageid",
             "image_path", "img", "path", "file", "frame", "image_names"),
    # Names before what may be their numbers, where a table has both.
    "class": ("class_name", "classname", "category_name", "label_name", "labelname", "class", "label",
              "category", "object", "name", "classes"),
    "x1": ("xmin", "x_min", "x1", "left", "bbox_xmin", "x0"),
    "y1": ("ymin", "y_min", "y1", "top", "bbox_ymin", "y0"),
    "x2": ("xmax", "x_max", "x2", "right", "bbox_xmax"),
    "y2": ("ymax", "y_max", "y2", "bottom", "bbox_ymax"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
    "crowd": ("isgroupof", "iscrowd"),
}  # fmt: skip
_HEAD_BYTES = 1 << 16
_NEEDED = ("name", "class", "x1", "y1", "x2", "y2")
_NUMBERS = ("x1", "y1", "x2", "y2")  # where 1,000 may be a thousand or one
_MOST_PX = 10**9  # beyond any image
_HEADLESS = ("name", "x1", "y1", "x2", "y2", "class")


def find(folder: Path) -> dict[str | None, Path]:
    """The tables of boxes in a folder by split; None for a single one."""
    listed = places.listed(folder, (".csv",))
    found = [path for path in listed if is_table(path)]
    return places.by_split(folder, found, "CSV")


def read(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read a table; classes are in alphabetical order."""
    text = _text(read_bytes(source))
    first = _first_row(text)
    found = _columns(first)
    if found is None:
        raise UserError(f"{source} is no table of boxes: give the columns {', '.join(_NEEDED)}")
    columns, with_head = found
    table = _rows(text)
    by_comma = _delimiter(text) == ","
    head = first if with_head else None
    names = [name.strip().lower() for name in head or []]
    read_ones = {names[i] for i in columns.values()} if names else set()
    if twice := sorted(name for name in read_ones if names.count(name) > 1):
        what = f"it has several columns {some_names(twice)}"
        reading.warn(source, what, "the first of each is read")
    for key in ("class", *_NUMBERS) if names else ():
        of_key = [name for name in dict.fromkeys(names) if name in _COLUMNS[key]]
        if len(of_key) < 2:
            continue
        read_one = names[columns[key]]
        reading.warn(
            source, f"the columns {some_names(of_key)} say the same", f"{read_one!r} is read"
        )
    if of_splits := [name for name in names if name in ("split", "set", "subset")]:
        what = f"the column {of_splits[0]} is not read"
        reading.warn(source, what, "make a table for each split, train.csv, valid.csv and test.csv")
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        for number, cells in table:
            if any("\n" in cell or "\r" in cell for cell in cells):
                cure = "look for a quotation mark that is not closed, or too many"
                reading(Problem(f"{source}, line {number}", "has a cell of several lines", cure))
                continue
            # Also where files that were put together repeat it.
            if any(cell.strip() for cell in cells) and cells != head:
                row = {k: cells[i].strip() if i < len(cells) else "" for k, i in columns.items()}
                rows.append((number, row))
                if by_comma and (odd := next((row[k] for k in _NUMBERS if "," in row[k]), None)):
                    what, cure = f"holds the number {odd!r}", "write it without a comma"
                    reading(Problem(f"{source}, line {number}", what, cure))
                n = len(columns) if head is None else len(head)
                if any(cell.strip() for cell in cells[n:]):
                    what = f"has {len(cells)} cells and not {n}"
                    cure = "put what holds a comma in quotation marks, or remove what is too much"
                    reading(Problem(f"{source}, line {number}", what, cure))
    except csv.Error as error:  # a quote that is never closed, most often
        what = f"cannot be read after line {rows[-1][0] if rows else 1} ({error})"
        raise UserError(f"{source} {what}: look for a quotation mark too many there") from error
    classes = places.class_names(row["class"] for _, row in rows)
    class_ids = {name: i for i, name in enumerate(classes)}
    by_name: dict[str, list[tuple[int, Mapping[str, str]]]] = {}
    for number, row in rows:
        by_name.setdefault(row["name"], []).append((number, row))
    parts = _are_parts([row for _, row in rows])
    if parts:
        what = "its corners are parts of the picture's sides, from 0 to 1"
        reading.warn(source, what, "they are multiplied by its width and height")
    folders = places.of_images(source)
    samples: list[Sample] = []
    for name, of_image in by_name.items():
        path = reading.image(f"{source}, line {of_image[0][0]}", name, folders)
        if path is None:
            continue
        scale_wh = (reading.frame_hw(path) or (1, 1))[::-1] if parts else (1, 1)
        labels = [
            label
            for number, row in of_image
            if (label := _label(f"{source}, line {number}", row, class_ids, scale_wh, reading))
        ]
        declared = _declared_hw(source, of_image, reading)
        sample = make_sample(path, len(samples) + 1, declared, labels, reading, upright=False)
        if sample is not None:
            samples.append(sample)
    return Dataset(source.parent, classes, tuple(samples))


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the number of the line that it begins on."""
    # Not strict, csv takes what follows a stray quotation mark for one cell, without a word.
    table = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    number = 1
    for cells in table:
        yield number, cells
        number = table.line_num + 1


def _delimiter(text: str) -> str:
    return max(",;\t|", key=text.lstrip("\r\n").partition("\n")[0].count)


def is_table(path: Path) -> bool:
    """Whether a file is a table of boxes, by its first row."""
    return _columns(_first_row(_beginning(path))) is not None


def _beginning(path: Path) -> str:
    return _text(read_head(path, _HEAD_BYTES))


def _text(content: bytes) -> str:
    """A table's text; the line `sep=;`, for Excel alone, is left empty."""
    return re.sub(r'\A"?sep=.?"?[,;\t|]*(?=[\r\n])', "", decoded(content), flags=re.IGNORECASE)


def _first_row(text: str) -> list[str]:
    """The cells of a text's first row; none if it cannot be read."""
    try:
        table = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        return next(filter(None, table), [])
    except csv.Error:
        return []


def lacking(path: Path) -> str | None:
    """What a table lacks that seems to be one of boxes; None if it does not seem so."""
    names = [name.strip().lower() for name in _first_row(_beginning(path))]
    missing = [key for key in _NEEDED if not set(_COLUMNS[key]) & set(names)]
    looks = len(names) > 2 and ("name" not in missing or "class" not in missing)
    if not looks or not missing:
        return None
    wanted = ", ".join(
        {"name": "filename", "class": "class"}.get(k, _COLUMNS[k][0]) for k in missing
    )
    return f"is a table with the columns {', '.join(names[:12])}, but without {wanted}"


def _columns(first: list[str]) -> tuple[dict[str, int], bool] | None:
    """The place of each column, and whether the first row names them; None if it is no table of boxes."""
    names = [name.strip().lower() for name in first]
    columns = {
        key: names.index(match)
        for key, known in _COLUMNS.items()
        if (match := next((name for name in known if name in names), None)) is not None
    }
    if all(key in columns for key in _NEEDED):
        return columns, True
    numbers = all(_number(cell) is not None or not cell.strip() for cell in first[1:5])
    if len(first) == 6 and numbers and "." in first[0] and _number(first[5]) is None:
        return {key: i for i, key in enumerate(_HEADLESS)}, False
    return None


def _number(text: str) -> float | None:
    if "_" in text:  # which Python takes within numbers
        return None
    try:
        # 10,5 is 10.5 where the cells are not parted by commas: they would be two cells.
        value = float(text.replace(",", ".") if text.count(",") == 1 else text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _are_parts(rows: list[dict[str, str]]) -> bool:
    values = [_number(row[key]) for row in rows for key in ("x1", "y1", "x2", "y2")]
    return are_parts(value for value in values if value is not None)


def _size_hw(row: Mapping[str, str]) -> tuple[int, int] | None:
    height, width = (_number(row.get(key, "")) for key in ("height", "width"))
    if not height or not width:
        return None
    return round(min(height, _MOST_PX)), round(min(width, _MOST_PX))


def _declared_hw(
    source: Path, of_image: list[tuple[int, Mapping[str, str]]], reading: Reading
) -> tuple[int, int] | None:
    """The size that a picture's rows say it has; those that contradict the first are reported."""
    sizes = [(number, size) for number, row in of_image if (size := _size_hw(row)) is not None]
    if not sizes:
        return None
    first, (height, width) = sizes[0]
    for number, size in sizes[1:]:
        if size != (height, width):
            what = f"says that its picture is {size[1]}x{size[0]}, line {first} {width}x{height}"
            reading(Problem(f"{source}, line {number}", what, "give the picture's size in both"))
    return height, width


def _label(
    where: str,
    row: Mapping[str, str],
    class_ids: dict[str, int],
    scale_wh: tuple[int, int],
    reading: Reading,
) -> Label | None:
    texts = [row[key] for key in ("x1", "y1", "x2", "y2")]
    if not any(texts) and not row["class"]:
        return None  # a picture without an object
    corners = [_number(text) for text in texts]
    if any(value is None for value in corners):
        what = f"its corners are {', '.join(text or 'empty' for text in texts)}"
        reading(Problem(where, what, "give four numbers"))
        return None
    if not row["class"]:
        reading(Problem(where, "has no class", "name it"))
        return None
    xyxy = [float(v or 0) * s for v, s in zip(corners, (*scale_wh, *scale_wh), strict=True)]
    # One box around many of a kind, as Open Images marks it.
    said = row.get("crowd", "")
    crowd = said.lower() == "true" or _number(said) == 1  # pandas writes 1.0
    return Label(where, xyxy, class_ids[row["class"]], crowd)
