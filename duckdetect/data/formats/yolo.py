"""YOLO: a text file of normalised labels for each image; read and written.

A line is `class x_centre y_centre width height` or, for a polygon, `class x1 y1 x2 y2 x3 y3 ...`, all
as parts of the image's width and height. An image without a text file, or with an empty one, has
no object. The classes and images are listed by

    data.yaml                                     Roboflow, Ultralytics, CVAT
    images/a.jpg  labels/a.txt  classes.txt       Label Studio; images/train too, as a split
    a.jpg  a.txt  classes.txt                     LabelImg
    obj.data  obj.names  train.txt  obj_train_data/a.jpg  obj_train_data/a.txt     CVAT's YOLO 1.1

Lines of key points, track numbers, scores and oriented boxes look like polygons one by one: which they
are is told by `kpt_shape` in `data.yaml` and by the shape of all lines together (`_shape_of`).

The writer is our own and not supervision's (0.31): that rounds to five decimals, a fortieth of a pixel in
an image of 4,000, draws outlines as pixels and traces them again, without three quarters of their
points, and makes a separate object of each part.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from duckdetect.data.dataset import (
    SPLIT_NAMES,
    Dataset,
    Label,
    Problem,
    Reading,
    Sample,
    make_sample,
)
from duckdetect.data.formats.places import children, split_named, split_word
from duckdetect.data.names import MissingError, NamingError
from duckdetect.errors import UserError
from duckdetect.imaging.io import list_folder, list_images, natural_key
from duckdetect.imaging.kinds import is_hidden
from duckdetect.utils.reading import decoded, read_bytes
from duckdetect.utils.schema import is_path, read_yaml, short
from duckdetect.utils.words import plural, some_names

CLASS_FILES = (
    "classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt", "classes.names",
)  # fmt: skip

"""What LabelImg and Label Studio, CVAT, Roboflow's Darknet export and others name their classes."""

_NO_LABELS = ("classes.txt", "predefined_classes.txt", "_classes.txt", "labels.txt", "notes.txt")

_WRITTEN_LISTS = tuple(name for name in CLASS_FILES if name != "predefined_classes.txt")
"""Of these the ones that a tool writes as the list of the labels beside it."""


class ClassList(NamedTuple):
    """The classes by the numbers in the text files, and where their names stand."""

    names: Sequence[str]
    file: Path
    key_points: tuple[int, int] | None = None  # how many, and numbers for each


class _Row(NamedTuple):
    """A line of a text file: the class and the numbers behind it, as written and as numbers."""

    where: str
    fields: list[str]
    values: np.ndarray


def read_images(
    root: Path,
    classes: ClassList,
    images: Sequence[Path],
    reading: Reading,
    split: str | None = None,
    upright: bool = False,
) -> Dataset:
    """Read the labels of pictures, each from `labels` in place of `images` in its path, or beside it.

    Args:
        root: Where the data set lies.
        classes: The classes by number.
        images: The pictures of the split.
        reading: Told of every problem.
        split: Which split; without any labels, `test` is left out rather than wrong.
        upright: Whether the tool shows pictures as EXIF turns them.
    """
    by_folder: dict[Path, list[Path]] = {}
    for image in images:
        by_folder.setdefault(image.parent, []).append(image)
    places = {folder: _labels_folder(folder, reading) for folder in by_folder}
    files: dict[Path, Path] = {}
    without: set[Path] = set()  # folders of `test` without labels
    read_from: dict[Path, list[Path]] = {}  # several folders of pictures may have one of labels
    for folder, of_folder in by_folder.items():
        place = places[folder]
        found = _label_files(of_folder, place, reading)
        files |= found
        if not found and split == "test":
            what = f"none of its {plural(len(of_folder), 'picture')} has labels: they are left out"
            reading.warn(folder, what, "label them to measure with them")
            without.add(folder)
        else:
            _report_unread(of_folder, found, folder, place, reading)
            read_from.setdefault(place, []).append(folder)
    used = set(files.values())
    for place, folders in read_from.items():
        _report_left_over(place, folders, used, reading)
    images = [image for image in images if image.parent not in without]
    _report_shared(files, places, reading)
    for folder in dict.fromkeys(
        [root, *(near for place in places.values() for near in (place, place.parent))]
    ):
        if (other := file_of(folder, _WRITTEN_LISTS)) is not None:
            _compare(classes, other, reading)
    table, numbers = reading.classes(classes.file, classes.names)
    rows: dict[Path, list[_Row]] = {}
    for image in images:
        rows[image] = (
            _rows(files[image], len(numbers), classes.file, reading) if (image in files) else []
        )
    sizes = {image: reading.frame_hw(image) for image in images if rows[image]}
    shape = _shape_of(
        [(row, sizes[image]) for image in sizes for row in rows[image] if sizes[image]],
        classes.key_points,
    )
    if shape.note:
        reading.warn(files[next(iter(sizes))].parent, *shape.note)
    samples: list[Sample] = []
    for image in images:
        size_hw = sizes.get(image)
        labels = [
            label
            for row in rows[image]
            if size_hw and (label := _label(row, shape.kind, numbers, size_hw, reading))
        ]
        sample = make_sample(image, len(samples) + 1, None, labels, reading, upright)
        if sample is not None:
            samples.append(sample)
    return Dataset(root, table, tuple(samples))


def read_text(path: Path) -> str:
    """A text file's content, in whatever encoding people save it."""
    return decoded(read_bytes(path))


def looks_like_labels(path: Path) -> bool:
    """Whether a text file begins with a line of a class number and four or more others."""
    with contextlib.suppress(ValueError, IndexError):
        line = next((line for line in read_text(path).splitlines() if line.strip()), "")
        values = [float(field) for field in line.split()]
        return len(values) >= 5 and values[0].is_integer() and all(-1 < v < 2 for v in values[1:5])
    return False


def _labels_folder(folder: Path, reading: Reading) -> Path:
    """`labels` in place of the last `images` of the pictures' folder, or that folder itself.

    A `labels` outside the data set is another one's, as where all of them lie below a folder `images`.
    """
    top = _images_above(folder)
    if top is None:
        return folder
    beside = next((p for p in children(top.parent) if p.name.lower() == "labels"), None)
    if beside is None:
        return folder
    below = beside / folder.relative_to(top)
    while not below.is_dir() and below != beside:
        below = below.parent
    try:
        return reading.finder.check(below) if below.is_dir() else folder
    except NamingError as error:
        if any(path.suffix.lower() == ".txt" for path in reading.finder.files(folder)):
            return folder  # they lie beside the pictures
        raise UserError(f"{error.what}: {error.cure}") from error


def _images_above(folder: Path) -> Path | None:
    """The last `images` of a folder's path."""
    return next((p for p in (folder, *folder.parents) if p.name.lower() == "images"), None)


def _label_files(images: list[Path], folder: Path, reading: Reading) -> dict[Path, Path]:
    """Each picture's text file: `a.txt`, else in other letters (`A.TXT`), else `a.jpg.txt`."""
    stems = {image.stem for image in images}
    found: dict[Path, Path] = {}
    for image in images:
        for name in (f"{image.stem}.txt", f"{image.name}.txt"):
            path = reading.finder.entry(folder, name)
            if path is None:
                try:
                    path = reading.finder.file(folder, name)
                except NamingError as error:
                    reading(Problem(str(image), error.what, error.cure))
            # In other letters it may be the file of another picture.
            if path is not None and (
                path.stem in (image.stem, image.name) or (path.stem not in stems)
            ):
                with contextlib.suppress(NamingError):
                    found[image] = reading.finder.check(path)
                break
    return found


def _report_unread(
    images: list[Path],
    files: Mapping[Path, Path],
    folder: Path,
    labels_folder: Path,
    reading: Reading,
) -> None:
    """Tell of a folder's pictures without labels, and of labels beside them that are not read."""
    if not files:
        what = f"none of its {plural(len(images), 'picture')} has a text file of labels"
        reading(Problem(str(folder), what, "put them beside the pictures or in `labels`"))
    if labels_folder == folder:
        return
    beside = {
        path.stem: path for path in reading.finder.files(folder) if path.suffix.lower() == ".txt"
    }
    for image in images:
        path = beside.get(image.stem)
        if path is not None and image not in files and looks_like_labels(path):
            what = f"is not read: the labels of these pictures lie in {labels_folder}"
            reading(Problem(str(path), what, "move it there, or remove it"))


def _report_left_over(
    labels_folder: Path, folders: Sequence[Path], used: Set[Path], reading: Reading
) -> None:
    """Tell of labels that no picture of the folders that are labelled from there has."""
    lying = [path for folder in folders for path in reading.finder.files(folder)]
    pictures = {
        name for path in lying if path.suffix.lower() != ".txt" for name in (path.stem, path.name)
    }
    for path in sorted(reading.finder.files(labels_folder), key=natural_key):
        if path.suffix.lower() != ".txt" or path in used or path.name.lower() in _NO_LABELS:
            continue
        if path.name.lower() in CLASS_FILES or not path.is_file():
            continue
        if path.stem in pictures:  # of another split, which has its labels there as well
            continue
        what = f"has no picture in {some_names(folders)}"
        problem = Problem(str(path), what, "put the picture there, or remove its labels")
        labels = looks_like_labels(path)
        if labels_folder not in folders:
            reading(problem)
        elif labels:  # among the pictures, a text file may be anything
            reading.warn(path, what, problem.cure)


def _compare(classes: ClassList, other: Path, reading: Reading) -> None:
    """Tell of a second list of classes that gives a number another name."""
    if looks_like_labels(other):  # of a picture that is called classes.jpg
        return
    with contextlib.suppress(UserError, NamingError):  # outside the data set, or empty: not read
        for number, names in enumerate(
            zip(classes.names, _class_list(reading.finder.check(other)).names, strict=False)
        ):
            if names[0].strip() != names[1]:
                what = f"class {number} is {short(names[0])} here and {short(names[1])} in {other}"
                cure = "this file's names are taken: remove the other if they are right"
                reading.warn(classes.file, what, cure)
                return


def _report_shared(
    files: Mapping[Path, Path], places: Mapping[Path, Path], reading: Reading
) -> None:
    """Tell of pictures that share their labels: of one folder, of several, or of another split."""
    users: dict[Path, set[Path]] = {}
    for image, path in files.items():
        users.setdefault(path, set()).add(image)
    # Where labels lie less deep than the pictures, they may be those of other folders as well.
    less_deep: dict[Path, set[Path]] = {}
    for folder in {image.parent for image in files}:
        if len(places[folder].parts) < len(folder.parts):
            less_deep.setdefault(places[folder], set()).add(folder)
    for top in set(filter(None, map(_images_above, set().union(*less_deep.values())))):
        for other in top.rglob("*"):
            if not other.is_dir() or is_hidden(other):
                continue
            place = _labels_folder(other, reading)
            if less_deep.get(place, set()) - {other}:
                for image, path in _label_files(list_folder(other).images, place, reading).items():
                    users.get(path, set()).add(image)
    for image, path in files.items():
        if len(users[path]) > 1:
            what = f"shares its labels {path.name} with another picture"
            reading(Problem(str(image), what, "rename one, with labels of its own"))


def _rows(path: Path, n_classes: int, class_file: Path, reading: Reading) -> list[_Row]:
    """The lines of a text file whose class is known and whose other fields are numbers."""
    found = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        where, fields = f"{path}, line {number}", line.split()
        if not fields:
            continue
        try:
            if "_" in line:  # which Python takes within numbers
                raise ValueError
            # Some tools write the class as 0.0.
            class_number, values = float(fields[0]), np.array([float(v) for v in fields[1:]])
        except ValueError:
            cure = "export it again"
            if len(fields) in (9, 10) and _all_numbers(fields[:8]):
                cure = "this is DOTA's format of oriented boxes: export YOLO or COCO"
            elif len(fields) in (15, 16) and _all_numbers(fields[1:]):
                cure = "this is KITTI's format: export YOLO or COCO"
            reading(Problem(where, f"{line[:60]!r} is not all numbers", cure))
            continue
        if not (class_number.is_integer() and 0 <= class_number < n_classes):
            what = f"there is no class {fields[0]} (there are {n_classes}, from 0)"
            cure = f"fix the number or add the name to {class_file.name}"
            reading(Problem(where, what, cure))
            continue
        found.append(_Row(where, fields, values))
    return found


def _all_numbers(fields: Sequence[str]) -> bool:
    with contextlib.suppress(ValueError):
        return all(np.isfinite(float(field)) for field in fields)
    return False


class _Shape(NamedTuple):
    """What the lines of a split are, and what to tell of it."""

    kind: str  # "plain": boxes and polygons by their length; "box": a box and more; "oriented"
    note: tuple[str, str] | None = None


def _shape_of(
    rows: Sequence[tuple[_Row, tuple[int, int] | None]], key_points: tuple[int, int] | None
) -> _Shape:
    """What lines mean that are longer than a box, judged by all lines of a split together."""
    lengths = {len(row.values) for row, _ in rows}
    longer = [row for row, _ in rows if len(row.values) > 4]
    taken = "the box before them is taken"
    if key_points is not None:
        if lengths <= {4}:
            return _Shape("box")
        if lengths <= {4, 4 + key_points[0] * key_points[1]}:
            what = "its lines have key points behind the boxes"
            return _Shape("box", (what, "they are not read, and nothing that is written has them"))
        n, each = key_points
        what = f"kpt_shape says {n} key points of {each} numbers, but lines have other lengths"
        return _Shape("box", (what, taken))
    if not longer:
        return _Shape("plain")
    if lengths <= {4, 5, 6} and all(_is_tracked(row) for row in longer):
        what = "its lines hold scores or track numbers behind the boxes (a detector's output)"
        return _Shape("box", (what, f"{taken}: look whether a person checked them"))
    if lengths == {5}:
        return _Shape("plain")  # refused line by line
    if lengths == {8} and all(hw and _is_rectangle(row, hw) for row, hw in rows):
        if any(not _is_upright(row) for row, _ in rows):
            what = "its lines are oriented boxes: four corners each, at right angles"
            return _Shape("oriented", (what, "the upright boxes around them are taken"))
        return _Shape("plain")
    if len(lengths) == 1 and len(longer) == len(rows):
        visible = all(_are_key_points(row.values, 3) for row in longer)
        if visible or all(_are_key_points(row.values, 2) for row in longer):
            what = "its lines look like boxes with key points behind them"
            if visible or any(_crosses_itself(row.values) for row in longer):
                return _Shape("box", (what, f"{taken}: give kpt_shape in data.yaml to be sure"))
            if len(longer) > 2:
                cure = "give kpt_shape in data.yaml if they are, they are read as polygons now"
                return _Shape("plain", (what, cure))
    return _Shape("plain")


def _is_tracked(row: _Row) -> bool:
    """A box, and a score, a track number, or both: `yolo track save_txt save_conf`."""
    extra, score = row.fields[5:], row.values[4]
    if len(extra) == 1:
        return extra[0].isdecimal() or 0 <= score <= 1
    return (extra[1].isdecimal() and 0 <= score <= 1) or (
        extra[0].isdecimal() and 0 <= row.values[5] <= 1 and not extra[1].isdecimal()
    )


def _is_rectangle(row: _Row, size_hw: tuple[int, int]) -> bool:
    points = row.values.reshape(4, 2) * np.array(size_hw[::-1])
    sides = np.roll(points, -1, axis=0) - points  # (4, 2)
    lengths = np.linalg.norm(sides, axis=1)
    slack = 1.5 + 0.02 * lengths.max()
    opposite = np.abs(lengths[:2] - lengths[2:]).max() <= slack
    across = abs(float(sides[0] @ sides[1])) <= slack * max(lengths.min(), 1.0)
    return bool(opposite and across and lengths.min() > 0)


def _is_upright(row: _Row) -> bool:
    points = row.values.reshape(4, 2)
    sides = np.abs(np.roll(points, -1, axis=0) - points)
    return bool((sides.min(axis=1) < 0.002).all())


def _are_key_points(values: np.ndarray, each: int) -> bool:
    """Whether behind a box lie points inside it, with 0, 1 or 2 for "visible" if `each` is 3."""
    if len(values) < (7 if each == 3 else 10) or (len(values) - 4) % each:
        return False
    points = values[4:].reshape(-1, each)
    if each == 3 and not np.isin(points[:, 2], (0, 1, 2)).all():
        return False
    inside = np.abs(points[:, :2] - values[:2]) <= values[2:4] / 2 + 0.02
    unmarked = (points[:, :2] == 0).all(axis=1)
    return bool((inside.all(axis=1) | unmarked).all() and not unmarked.all())


def _crosses_itself(values: np.ndarray) -> bool:
    """Whether numbers taken as a polygon cross themselves, which drawn outlines hardly do."""
    points = values.reshape(-1, 2)
    ends = np.roll(points, -1, axis=0)

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    n = min(len(points), 60)
    for i in range(n):
        for j in range(i + 2, n):
            a, b, c, d = points[i], ends[i], points[j], ends[j]
            if (i or j < len(points) - 1) and (
                side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
            ):
                return True
    return False


def _label(
    row: _Row, kind: str, numbers: Sequence[int], size_hw: tuple[int, int], reading: Reading
) -> Label | None:
    values, scale = row.values, np.array(size_hw[::-1], float)
    if kind == "box":
        values = values[:4]
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        what = f"has {len(values)} numbers after the class"
        cure = "give 4 for a box, or pairs for 3 or more points"
        if len(values) == 5:
            cure = "give 4 for a box: is the fifth an angle? export upright boxes"
        reading(Problem(row.where, what, cure))
        return None
    if not np.isfinite(values).all() or (values < -0.02).any() or (values > 1.02).any():
        what = "a coordinate is not from 0 to 1"
        reading(Problem(row.where, what, "export it normalised"))
        return None
    class_id = numbers[int(float(row.fields[0]))]
    if len(values) == 4:
        centre, size = values[:2] * scale, values[2:] * scale
        return Label(row.where, [*(centre - size / 2), *(centre + size / 2)], class_id)
    points = values.reshape(-1, 2) * scale
    xyxy = [*points.min(axis=0), *points.max(axis=0)]
    outline = None if kind == "oriented" else [points.ravel().tolist()]
    return Label(row.where, xyxy, class_id, segmentation=outline)


_YAML = ("data.yaml", "dataset.yaml", "data.yml")


def find(folder: Path) -> dict[str | None, Path]:
    """The YAML file of a folder for each split that it names.

    Their pictures must be there, too: Roboflow names all splits, also those that an export does not
    have. Without any, `train` is named, so that `read` tells what is missing.
    """
    source = file_of(folder, _YAML) or _other_yaml(folder)
    if source is None:
        return {}
    found: dict[str | None, Path] = {}
    for split in ("valid", "test"):
        with contextlib.suppress(UserError):  # `read` tells what is wrong with the file
            if _is_there(source, _settings(source), split):
                found[split] = source
    with contextlib.suppress(UserError):
        if found and _named(_settings(source), "train") is None:
            return found
    return {"train": source, **found}


def _is_there(source: Path, settings: dict[str, Any], split: str) -> bool:
    """Whether one of the places that a split names is there; `read` tells of the others."""
    named = _named(settings, split)
    for place in named if isinstance(named, list) else [named]:
        with contextlib.suppress(UserError):
            if isinstance(place, str) and _place(source, _base(source, settings), place, split):
                return True
    return False


def _other_yaml(folder: Path) -> Path | None:
    """A YAML file of another name that names classes and splits."""
    found = [path for path in _yaml_files(folder) if _names_splits(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder} holds several YOLO data files ({names}): keep the one to read")
    return found[0] if found else None


def _yaml_files(folder: Path) -> list[Path]:
    suffixes = (".yaml", ".yml")
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in suffixes and not is_hidden(p))


def _names_splits(path: Path) -> bool:
    with contextlib.suppress(UserError):
        settings = _settings(path)
        return any(_named(settings, split) for split in SPLIT_NAMES)
    return False


def read(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read one split that a YAML file names, `train` if None."""
    settings = _settings(source)
    base = _base(source, settings)
    for path in _yaml_files(source.parent):
        if path != source and _names_splits(path):
            reading.warn(path, f"is not read beside {source.name}", "join the two, or move it away")
    for other in ("valid", "test") if split in (None, "train") else ():
        named = _named(settings, other)
        # Roboflow names all splits, by such a path, also those that an export does not have.
        usual = isinstance(named, str) and named.startswith("../")
        if named is not None and not usual and not _is_there(source, settings, other):
            what = f"its split {other!r} is not there ({short(named)})"
            reading.warn(source, what, "it is left out: fix its path if you have it")
    images: dict[Path, None] = {}  # in order, each once
    for place in _places(source, settings, split or "train"):
        reading.inside(place)
        listed = place.is_file()
        found = listed_images(place, base, reading) if listed else _images_below(place)
        images |= dict.fromkeys(found)
    count = settings.get("nc")
    if (
        isinstance(count, str)
        and count.strip().isdecimal()
        and int(count) != len(settings["names"])
    ):
        what = f"nc is {count.strip()}, but names has {len(settings['names'])}"
        reading.warn(source, what, "look whether a class is missing; names is taken")
    classes = ClassList(settings["names"], source, _key_points(source, settings))
    return read_images(source.parent, classes, list(images), reading, split)


def _images_below(folder: Path) -> list[Path]:
    """The pictures of a folder and of all folders below it, as Ultralytics reads them."""
    seen: set[Path] = set()  # a link may lead back

    def below(place: Path, depth: int) -> list[Path]:
        real = place.resolve()
        if real in seen:
            return []
        seen.add(real)
        found = list_folder(place).images
        folders = children(place) if depth < _DEPTH else []
        return found + [
            p for f in folders if f.name.lower() != "labels" for p in below(f, depth + 1)
        ]

    return below(folder, 0) or list_images(folder)  # the latter tells what there is


_DEPTH = 8

_NUMBER = re.compile(r"\d{1,9}")


def _settings(source: Path) -> dict[str, Any]:
    """The YAML file's content, all values as they are written, its `names` a tuple."""
    # `yes`, `no`, `001` and `null` are names of classes, too.
    settings = read_yaml(source, "export the labels again", as_written=True)
    names = settings.get("names") if isinstance(settings, dict) else None
    if isinstance(names, dict):
        # Ultralytics numbers them; a gap would shift all classes after it.
        by_number = {
            int(k): v for k, v in names.items() if isinstance(k, str) and _NUMBER.fullmatch(k)
        }
        if by_number and set(by_number) != set(range(len(names))):
            gap = next(i for i in range(len(names)) if i not in by_number)
            raise UserError(f"{source}: `names` has no number {gap}: number the classes from 0 on")
        names = [by_number.get(i) for i in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise UserError(
            f"{source} is no YOLO data file: give `names`, a list of class names or numbered from 0"
        )
    return {**settings, "names": tuple(names)}


def _key_points(source: Path, settings: dict[str, Any]) -> tuple[int, int] | None:
    shape = settings.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2:
        return None
    n, each = (v if isinstance(v, str) and re.fullmatch(r"[0-9]{1,4}", v) else "0" for v in shape)
    if int(n) < 1 or int(each) not in (2, 3):
        raise UserError(
            f"{source}: kpt_shape is {short(shape)}: give how many key points there are, and 2 or 3 for "
            "the numbers of each"
        )
    return int(n), int(each)


def _named(settings: dict[str, Any], split: str) -> Any:
    """What the YAML file says of a split's pictures, or None."""
    values = (settings.get(key) for key in SPLIT_NAMES[split])
    return next((value for value in values if value and value not in ("null", "~")), None)


def _places(source: Path, settings: dict[str, Any], split: str) -> list[Path]:
    """Where a split's pictures are: folders, or text files that list them."""
    named = _named(settings, split)
    places = named if isinstance(named, list) and named else [named]
    if not all(isinstance(place, str) for place in places):
        what = f"has no split {split!r}" if named is None else f"{split!r} is {str(named)[:60]!r}"
        raise UserError(f"{source}: {what}: give the folder of its pictures")
    return [_place(source, _base(source, settings), place, split) for place in places]


def _base(source: Path, settings: dict[str, Any]) -> Path:
    """The folder that the paths in a YAML file are relative to."""
    return source.parent / str(settings.get("path") or "")


def listed_images(path: Path, base: Path, reading: Reading) -> list[Path]:
    """The pictures that a text file of paths names, as CVAT exports them; tells of missing ones."""
    images = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if name := line.strip():
            try:
                images.append(reading.finder.find(name, list(dict.fromkeys((base, path.parent)))))
            except NamingError as error:
                cure = "export the labels with their pictures, or remove the line"
                if isinstance(error, MissingError):
                    error = NamingError(f"the picture {name!r} is missing", cure)
                reading(Problem(f"{path}, line {number}", error.what, error.cure))
    return images


def _inside_first(found: Sequence[Path], folder: Path) -> Path | None:
    """The first path inside a folder, else the first of all, which `Finder.check` may refuse."""
    top = folder.resolve()
    return next((p for p in found if p.resolve().is_relative_to(top)), next(iter(found), None))


def find_file(bases: Sequence[Path], relative: str) -> Path | None:
    """A file by its path or, as paths of other machines do not hold here, by the end of it."""
    parts = [part for part in relative.split("/") if part not in ("", ".", "..")]
    if not is_path(relative):
        return None
    ends = (parts[start:] for start in range(len(parts)))
    paths = [base.joinpath(*end) for end in ends for base in dict.fromkeys(bases)]
    return _inside_first([path for path in paths if path.is_file()], bases[-1])


def _place(source: Path, base: Path, relative: str, split: str) -> Path:
    relative = relative.replace("\\", "/")
    bases = tuple(dict.fromkeys((base, source.parent)))
    if relative.lower().endswith(".txt"):
        path = find_file(bases, relative)
        if path is None:
            raise UserError(
                f"{source}: the list {relative!r} of split {split!r} is missing: fix its path"
            )
        return path
    if not is_path(relative):
        what = f"{relative[:60]!r}... of split {split!r} is no path"
        raise UserError(f"{source}: {what}: fix it")
    parts = [part for part in relative.split("/") if part not in ("", ".", "..")]
    # Roboflow writes "../train/images" although the folder lies beside data.yaml; others write paths
    # of the machine that the labels were made on, whose last parts may hold here.
    tails = ["/".join(parts), relative, "/".join(parts[-2:])]
    # A bare `images` holds what there is to train on, and not the pictures of `valid/images`.
    if split == "train" or not any(split_word(Path(part)) for part in parts[:-1]):
        tails += parts[-1:]
    found = [
        folder
        for place in bases
        for tail in tails
        for folder in (place / tail / "images", place / tail)
        if folder.is_dir() and any(not is_hidden(path) for path in folder.iterdir())
    ]
    best = _inside_first(found, source.parent)
    if best is None:
        raise UserError(
            f"{source}: the folder {relative!r} of split {split!r} is missing or empty: "
            "fix its path"
        )
    return best


LISTS = "obj.data"


def find_plain(folder: Path) -> dict[str | None, Path]:
    """The file that says what there is, by split; None where there are none."""
    if (lists := file_of(folder, (LISTS,))) is not None:
        settings = _plain_settings(lists)
        splits = [s for s, names in SPLIT_NAMES.items() if any(name in settings for name in names)]
        return dict.fromkeys(splits or ["train"], lists)
    for place in (folder, *(p for p in children(folder) if p.name.lower() == "labels")):
        # A list of classes alone says little: other tools write one, too.
        if (names := file_of(place, CLASS_FILES)) is not None and text_labels(folder):
            return dict.fromkeys(_split_folders(folder) or [None], names)
    return {}


def _split_folders(folder: Path) -> dict[str | None, list[Path]]:
    """The folders of `images` by split, where they hold all pictures and one is for training."""
    place = _images_of(folder)
    found: dict[str | None, list[Path]] = {}
    for below in children(place) if place is not None else []:
        found.setdefault(split_named(below.name), []).append(below)
    if place is None or None in found or "train" not in found or list_folder(place).images:
        return {}
    return found


def _images_of(folder: Path) -> Path | None:
    return next((p for p in children(folder) if p.name.lower() == "images"), None)


def file_of(folder: Path, names: Sequence[str]) -> Path | None:
    """The file with the first of these names, in capitals if need be."""
    files = {
        path.name.lower(): path
        for path in sorted(folder.glob("*"), reverse=True)  # "classes.txt" before "Classes.txt"
        if path.name.lower() in names and path.is_file()
    }
    return next((files[name] for name in names if name in files), None)


def text_labels(folder: Path) -> list[Path]:
    """The text files that may be labels, in a folder and in `labels` below it."""
    below = [place for place in children(folder) if place.name.lower() == "labels"]
    below += [place for top in below for place in children(top)]
    return [
        path
        for place in (folder, *below)
        for path in sorted(place.glob("*.[tT][xX][tT]"))
        if not is_hidden(path) and path.name.lower() not in (*CLASS_FILES, *_NO_LABELS)
    ]


def read_plain(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read the pictures of a folder with `classes.txt`, or one split of `obj.data`."""
    folder = source.parent
    if source.name.lower() != LISTS:
        folder = folder.parent if folder.name.lower() == "labels" else folder
        place = _images_of(folder)
        images = _images_below(place) if place is not None else list_images(folder)
        if split is not None:
            images = [p for below in _split_folders(folder)[split] for p in _images_below(below)]
        upright = (folder / "notes.json").is_file()  # Label Studio draws in a browser
        classes = _class_list(source)
        if comment := next((name for name in classes.names if name.startswith("#")), None):
            what = f"its line {comment[:40]!r} is a class, too, and numbers those after it"
            reading.warn(source, what, "remove it if it is a comment")
        return read_images(folder, classes, images, reading, split, upright)
    settings = _plain_settings(source)
    listed = next((settings[n] for n in SPLIT_NAMES[split or "train"] if n in settings), None)
    if listed is None:
        raise UserError(f"{source} names no list of pictures (train = train.txt): export it again")
    given = settings.get("names", "obj.names").replace("\\", "/").rpartition("/")[2]
    names = folder / given
    if not is_path(given) or not names.is_file():
        raise UserError(f"{names} is missing: export the labels again")
    path = find_file([folder], listed.replace("\\", "/"))
    if path is None:
        raise UserError(f"{source}: the list {listed!r} is missing: export the labels again")
    reading.inside(path), reading.inside(names)
    images = listed_images(path, folder, reading)
    return read_images(folder, _class_list(names), images, reading, split, upright=True)


def _class_list(path: Path) -> ClassList:
    lines = [line.strip() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:  # an empty line between others keeps its number
        lines.pop()
    if not lines:
        raise UserError(f"{path} is empty: write a class name a line")
    if any(line.startswith(("<<<<<<< ", ">>>>>>> ")) for line in lines):
        raise UserError(f"{path} holds a conflict of Git's: resolve it, as each line is a class")
    return ClassList(lines, path)


def _plain_settings(path: Path) -> dict[str, str]:
    """Lines of `key = value`."""
    pairs = (line.partition("=") for line in read_text(path).splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


# What is read back is kept in single precision: nine decimals are finer than that.
_DECIMALS = 9


def write_settings(folder: Path, classes: Sequence[str], folders: Mapping[str, str]) -> None:
    """Write `data.yaml`.

    Args:
        folder: Where.
        classes: Their names by class id.
        folders: For `train`, `valid` and `test` the folder of pictures, from the file's own.

    Raises:
        UserError: If there is no class: nothing reads such a file.
    """
    if not classes:
        raise UserError(f"{folder.name} would have no class, which YOLO needs: label a box")
    keys = {"train": "train", "valid": "val", "test": "test"}
    settings: dict[str, Any] = {keys[split]: folder for split, folder in folders.items()}
    settings |= {"nc": len(classes), "names": list(classes)}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def write(folder: Path, dataset: Dataset, file_names: Sequence[str]) -> Counter[str]:
    """Write a text file for each picture, an empty one where there is no object.

    Args:
        folder: The split's; the files go into `labels` below it.
        dataset: What to write.
        file_names: For each sample the name of its picture.

    Returns:
        What the format cannot hold, and how often that was met.
    """
    labels = folder / "labels"
    labels.mkdir()
    lost: Counter[str] = Counter()
    for sample, name in zip(dataset.samples, file_names, strict=True):
        size_wh = np.array(sample.size_hw[::-1], float)
        outlines = sample.segmentation or [None] * len(sample.class_id)
        lines = []
        for xyxy, class_id, crowd, outline in zip(
            sample.xyxy.astype(float), sample.class_id, sample.crowd, outlines, strict=True
        ):
            if crowd:
                # Written, it would be trained on as one object; Ultralytics leaves them out as well.
                lost["boxes marked crowd or difficult are left out: YOLO cannot mark them"] += 1
                continue
            points = None
            if isinstance(outline, dict):
                lost["masks of run lengths are left out, their boxes kept: YOLO has none"] += 1
            elif outline:
                points = _one_outline(outline, size_wh)
                lost["outlines of several parts are joined by lines: YOLO holds one part"] += (
                    len(outline) > 1
                )
            if points is None:
                values = np.concatenate([(xyxy[:2] + xyxy[2:]) / 2, xyxy[2:] - xyxy[:2]])
                values /= np.tile(size_wh, 2)
            else:
                values = (points / size_wh).ravel()
                extent = np.concatenate([points.min(axis=0), points.max(axis=0)])
                lost["boxes move by over a pixel: YOLO takes them from the outlines"] += bool(
                    np.abs(extent - xyxy).max() > 1
                )
            numbers = [np.format_float_positional(v, _DECIMALS, trim="-") for v in values]
            lines.append(f"{class_id} {' '.join(numbers)}\n")
        (labels / f"{Path(name).stem}.txt").write_text("".join(lines), encoding="utf-8")
    return lost


def _one_outline(polygons: Sequence[Sequence[float]], size_wh: np.ndarray) -> np.ndarray | None:
    """The polygons inside the picture, joined into one: (N, 2) pixels, None if no area is left.

    A part is joined where it comes nearest, by a line there and back that has no area; of very many
    points, some evenly chosen ones are looked at. All parts turn the same way round, so that the area
    of the whole is the sum of theirs.
    """
    parts = [np.clip(np.array(p, float).reshape(-1, 2), 0, size_wh) for p in polygons]
    parts = [part for part in parts if _area(part) != 0]
    if len(parts) < 2:
        return parts[0] if parts else None
    parts = [part if _area(part) > 0 else part[::-1] for part in parts]
    whole = parts[0]
    most = max(_LEAST_PAIRS, min(_MOST_PAIRS, 10 * _MOST_PAIRS // len(parts)))
    for part in parts[1:]:
        if len(whole) * len(part) > most:
            m = min(len(part), max(math.isqrt(most), most // len(whole)))
        else:
            m = len(part)
        from_whole, from_part = _evenly(len(whole), most // m), _evenly(len(part), m)
        offset = whole[from_whole, None] - part[None, from_part]  # (N, M, 2)
        distance = np.square(offset).sum(axis=2)
        nearest = np.unravel_index(int(distance.argmin()), distance.shape)
        here, there = from_whole[nearest[0]], from_part[nearest[1]]
        ring = np.concatenate([part[there:], part[: there + 1]])
        whole = np.concatenate([whole[: here + 1], ring, whole[here:]])
    return whole


_MOST_PAIRS = 1_000_000  # of points whose distance is taken to join two parts: 16 MB
_LEAST_PAIRS = 1_000


def _evenly(n: int, most: int) -> np.ndarray:
    """All indices below `n`, or so many of them."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(int)


def _area(points: np.ndarray) -> float:
    """With a sign: positive if the points turn from x to y."""
    x, y = (points - points[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
