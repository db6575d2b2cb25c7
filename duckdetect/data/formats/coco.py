"""COCO JSON, in Roboflow's layout (`_annotations.coco.json`) and CVAT's (`annotations/*.json`)."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from duckdetect.data.dataset import (
    NORMALISED,
    SPLIT_NAMES,
    Dataset,
    Label,
    Problem,
    Reading,
    Report,
    are_parts,
    join,
    make_sample,
)
from duckdetect.data.formats.places import load, own_split, split_word, whole
from duckdetect.data.names import Places
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import is_number, turned_box_xyxy
from duckdetect.imaging.kinds import is_hidden
from duckdetect.utils.files import write_json
from duckdetect.utils.reading import read_bytes
from duckdetect.utils.words import some_names

ROBOFLOW = "_annotations.coco.json"
_WRITTEN = "written by duckdetect"

_MOST_IDS = 20  # in a message


def find(folder: Path) -> dict[str | None, Path]:
    """The COCO files of a folder by split; None stands for a single file, whatever its name."""
    if (folder / ROBOFLOW).is_file():
        return {None: folder / ROBOFLOW}
    kinds = {path: _kind(path) for path in json_files(folder)}
    found = [path for path, kind in kinds.items() if kind == "COCO"]
    # COCO's own folder holds key points and captions of the same pictures as well.
    found = [path for path in found if path.name.startswith("instances")] or found
    # Reading it tells of it, where it is named as a split; else that would be missing in silence.
    cut = [path for path, kind in kinds.items() if kind == "broken"] if found else []
    if len(found) + len(cut) < 2:
        return dict.fromkeys([None], found[0]) if found else {}
    # Named as in instances_train2017.json: the word after the last underscore, without digits.
    by_split: dict[str | None, Path] = {}
    for path in (*found, *cut):
        word = path.stem.lower().rpartition("_")[2].strip("0123456789-")
        for split, names in SPLIT_NAMES.items():
            if word in names and split not in by_split:
                by_split[split] = path
    if by_split:
        return whole(by_split, found, folder, "COCO")
    words = {split_word(path): path for path in (*found, *cut)}
    if None not in words and len(words) == len(found) + len(
        cut
    ):  # train_labels.json, val.coco.json
        return words
    if len(found) < 2:
        return {None: found[0]}
    counts = Counter(name for path in found for name in _file_names(path))
    if counts and max(counts.values()) == 1:  # a file for each picture, or for a part of them
        return {None: found[0].parent}
    names_ = ", ".join(path.name for path in found[:5]) + (" ..." if len(found) > 5 else "")
    raise UserError(f"{folder} holds several COCO files ({names_}): keep the one to read")


def json_files(folder: Path) -> list[Path]:
    """The JSON files in a folder and in `annotations` or `labels` below it, in any letters."""
    named = ("annotations", "labels")
    below = [p for p in _listed(folder) if p.name.lower() in named and p.is_dir()]
    return [
        path
        for place in (folder, *below)
        for path in _listed(place)
        if path.suffix.lower() == ".json" and path.is_file()
    ]


def _listed(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if not is_hidden(p)) if folder.is_dir() else []


def read(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read a COCO file, or a folder of them; the pictures lie beside it, above it, or near there."""
    if not source.is_dir():
        if source.name == ROBOFLOW:
            for other in json_files(source.parent):
                if other != source and _kind(other) == "COCO":
                    reading.warn(
                        other, f"is not read beside {ROBOFLOW}", "join the two, or move it away"
                    )
        return _read(source, reading, _places(source, _image_folders(source.parent)))
    folders: dict[Path, _ImageFolders] = {}  # to list folders for each file takes hours
    parts = []
    for path in reading.all_inside(json_files(source)):
        kind = _kind(path)
        if kind == "COCO":
            if path.parent not in folders:
                folders[path.parent] = _image_folders(path.parent)
            parts.append(_read(path, reading, _places(path, folders[path.parent])))
        elif kind == "broken":
            reading(Problem(str(path), "is not JSON, it may be cut off", "export the labels again"))
        else:
            reading.warn(path, "is not COCO", "it is passed over")
    return join(parts)


def _read(source: Path, reading: Reading, places: Places) -> Dataset:
    content = parse(source)
    if content.get("unlabelled") is True:
        what = f"has no annotations: its {len(content['images'])} pictures are left out"
        reading.warn(source, what, "label them to use them (COCO's image_info_test has none)")
        content["images"] = []
    images = _images(content["images"], source, reading)
    classes, class_ids = _classes(content["categories"], content["annotations"], source, reading)
    entries = list(_annotations(content["annotations"], images, source, reading))
    unread = [key for key in _UNREAD if any(_is_said(entry.get(key)) for _, entry, _ in entries)]
    if unread:
        cure = "they are not read, and nothing that is written has them"
        reading.warn(source, f"its annotations have {' and '.join(unread)}", cure)
    ours = content.get("info") == {"description": _WRITTEN}  # which are in pixels, however small
    boxes = [box for _, entry, _ in entries if (box := _numbers(entry.get("bbox"))) is not None]
    if not ours and are_parts(value for box in boxes for value in box):
        what, cure = NORMALISED
        reading(Problem(str(source), what, f"{cure}, [x, y, width, height]"))
        entries = []
    corners = _are_corners([entry for _, entry, _ in entries])
    if corners:
        what = (
            "its boxes are corners [x1, y1, x2, y2]: the outlines or areas of all of them say so, "
            "COCO's are [x, y, width, height]"
        )
        reading.warn(source, what, "they are read as corners, export them as COCO to be sure")
    by_image: dict[int, list[Label]] = {number: [] for number in images}
    for where, entry, image_id in entries:
        if label := _label(where, entry, class_ids, corners, reading):
            by_image[image_id].append(label)
    samples = []
    for image_id, entry in images.items():
        where = f"{source}, image {entry['id']}"
        path = reading.image(where, _text(entry.get("file_name")), places)
        if path is None:
            continue
        declared = _declared_hw(entry)
        upright = declared is not None  # tools that say the size show what EXIF makes of it
        sample = make_sample(path, image_id, declared, by_image[image_id], reading, upright)
        if sample is not None:
            samples.append(sample)
    return Dataset(source.parent, classes, tuple(samples))


def write_coco(path: str | Path, dataset: Dataset, file_names: Sequence[str] | None = None) -> None:
    """Write a data set in Roboflow's layout, atomically.

    Args:
        path: The JSON file, `_annotations.coco.json` as a rule.
        dataset: What to write; category ids count from 1, under an empty parent 0 as Roboflow's.
        file_names: For each sample the name to write, its path's own if None.
    """
    content = dataset.to_coco()
    if file_names is not None:
        for image, name in zip(content["images"], file_names, strict=True):
            image["file_name"] = name
    parent = "objects"
    categories = [{**c, "supercategory": parent} for c in content["categories"]]
    if categories:
        categories.insert(0, {"id": 0, "name": parent, "supercategory": "none"})
    annotations = [{"segmentation": [], **a} for a in content["annotations"]]
    write_json(
        path,
        {
            "info": {"description": _WRITTEN},
            "licenses": [],
            "categories": categories,
            "images": content["images"],
            "annotations": annotations,
        },
    )


def write(folder: Path, dataset: Dataset, file_names: Sequence[str]) -> Counter[str]:
    """Write a split in Roboflow's layout; COCO can hold all that there is."""
    write_coco(folder / ROBOFLOW, dataset, file_names)
    return Counter()


def parse(source: Path) -> dict[str, Any]:
    """A COCO file's content, with lists of images, annotations and categories.

    Raises:
        UserError: If it is something else.
    """
    content = load(source)
    if isinstance(content, dict) and content.get("annotations") is None:
        content["annotations"] = []  # `read` tells of it
        content["unlabelled"] = True
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f"{source} is not COCO (it has no list {key!r}): export the labels as COCO JSON"
            )
    return content


def _kind(path: Path) -> Literal["COCO", "broken", "other"]:
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        return "broken"
    is_coco = (
        isinstance(content, dict)
        and {"images", "categories"} <= content.keys()
        and isinstance(content["images"], list)
    )
    return "COCO" if is_coco else "other"


def _file_names(path: Path) -> set[str]:
    images = json.loads(read_bytes(path)).get("images")
    return {
        _text(entry.get("file_name"))
        for entry in (images if isinstance(images, list) else [])
        if isinstance(entry, dict)
    }


_UNREAD = ("keypoints", "attributes")


def _is_said(value: Any) -> bool:
    """Whether it holds anything: CVAT gives every box its attributes, with `occluded` false."""
    values = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list) and any(values)


_MOST_DIGITS = 100  # of an id that is written as a text; Python reads no more than 4,300


def _id(value: Any) -> int | str | None:
    """An id as it was meant: pandas writes 1.0 for 1, others "1"; None if it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.strip():
        text = value.strip()
        number = text.removesuffix(".0")
        is_number = number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS
        return int(number) if is_number else text
    return None


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _images(entries: list[Any], source: Path, reading: Reading) -> dict[int, dict[str, Any]]:
    """The image entries by a number; `id` in them is what annotations refer to."""
    good = [(_has_id(entry, "image", source, reading), entry) for entry in entries]
    known = [(image_id, entry) for image_id, entry in good if image_id is not None]
    for image_id, count in Counter(image_id for image_id, _ in known).items():
        if count > 1:
            what = f"two images have the id {image_id}"
            reading(Problem(str(source), what, "export the labels again"))
    free = 1 + max((i for i, _ in known if isinstance(i, int)), default=0)
    found: dict[int, dict[str, Any]] = {}
    for image_id, entry in known:
        number = image_id if isinstance(image_id, int) else free
        free += isinstance(image_id, str)
        found[number] = {**entry, "id": image_id}
    return found


def _annotations(
    entries: list[Any], images: dict[int, dict[str, Any]], source: Path, reading: Reading
) -> list[tuple[str, dict[str, Any], int]]:
    """(where, entry, image's number) of the annotations that belong to an image."""
    numbers = {entry["id"]: number for number, entry in images.items()}
    ids = Counter(_id(entry.get("id")) for entry in entries if isinstance(entry, dict))
    twice = [i for i, count in ids.items() if i is not None and count > 1]
    if twice:
        named = some_names([str(i) for i in twice])
        what = f"several annotations have the same id ({named})"
        reading.warn(source, what, "all are read, some other tools keep one of each id")
    found = []
    for number, entry in enumerate(entries, 1):
        name = (
            entry.get("id", f"number {number}") if isinstance(entry, dict) else f"number {number}"
        )
        where = f"{source}, annotation {name}"
        if not isinstance(entry, dict):
            reading(Problem(where, f"is {_short(entry)}", "export the labels again"))
            continue
        image_id = _id(entry.get("image_id"))
        if image_id is None or image_id not in numbers:
            what = f"there is no image {_short(entry.get('image_id'))}"
            reading(Problem(where, what, "export the labels again, or remove it"))
        else:
            found.append((where, entry, numbers[image_id]))
    return found


def _has_id(entry: Any, kind: str, source: Path, report: Report) -> int | str | None:
    found = _id(entry.get("id")) if isinstance(entry, dict) else None
    if found is None:
        what = f"{kind} {_short(entry)} has no whole-number id"
        report(Problem(str(source), what, "export the labels again"))
    return found


def _classes(
    categories: list[Any], annotations: list[Any], source: Path, reading: Reading
) -> tuple[tuple[str, ...], dict[int | str, int]]:
    """Names in the file's order, and the class id of each category id."""
    good = []
    for entry in categories:
        category_id = _has_id(entry, "category", source, reading)
        if category_id is None:
            continue
        if _text(entry.get("name")).strip():  # a number is a name, too
            good.append({**entry, "id": category_id, "name": _text(entry["name"])})
        else:
            reading(Problem(str(source), f"category {category_id} has no name", "name it"))
    for category_id, count in Counter(c["id"] for c in good).items():
        if count > 1:
            what = f"{count} categories have the id {category_id}"
            reading(Problem(str(source), what, "export the labels again"))
    used = {_id(a.get("category_id")) for a in annotations if isinstance(a, dict)}
    # Roboflow writes a parent of all classes as category 0, which no box ever has.
    parents = Counter(_text(c.get("supercategory")) for c in good)
    kept = [
        c
        for c in good
        if c["id"] != 0
        or 0 in used
        or parents[c["name"]] == (_text(c.get("supercategory")) == c["name"])
    ]
    classes, places = reading.classes(source, [c["name"] for c in kept])
    return classes, {c["id"]: place for c, place in zip(kept, places, strict=True)}


class _ImageFolders(NamedTuple):
    """Folders of pictures beside and above labels, and what lies below these."""

    tops: list[Path]
    below: list[Path]
    # Of `below` those that no `tops` are: one list, in which names are looked up.
    others: list[Path]


def _image_folders(beside: Path) -> _ImageFolders:
    tops = [
        path
        for place in (beside, beside.parent)
        for path in _listed(place)
        if path.name.lower() in _IMAGE_FOLDERS and path.is_dir()
    ]
    below = [p for folder in tops for p in _listed(folder) if p.is_dir()]
    usual = {*_usual(beside), *tops}
    return _ImageFolders(tops, below, [path for path in below if path not in usual])


def _usual(beside: Path) -> tuple[Path, ...]:
    above = beside.parent
    return beside, beside / "images", above, above / "images"


def _places(source: Path, folders: _ImageFolders) -> Places:
    """Where the pictures may lie."""
    beside, above = source.parent, source.parent.parent
    if source.name == ROBOFLOW:
        return [beside, beside / "images"]
    # Two splits may have pictures of the same names: the folder named as the file goes first.
    word = split_word(source)
    names = [source.stem.rpartition("_")[2], *(SPLIT_NAMES[word] if word is not None else ())]
    named = [place / name for name in names for place in (beside, above, above / "images")]
    places = dict.fromkeys([*named, *_usual(beside), *folders.tops])
    below = folders.others
    if any(folder.is_dir() for folder in named):
        below = own_split([path for path in folders.below if path not in places], named)
    return [*places, *([below] if below else [])]


_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "data", "jpegimages", "pictures", "photos")


def _declared_hw(entry: dict[str, Any]) -> tuple[int, int] | None:
    height, width = (_whole(entry.get(key)) for key in ("height", "width"))
    return (height, width) if height and width else None


def _whole(value: Any) -> int | None:
    """A size as it was meant: 120, 120.0 or "120"; None if it is none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return round(number) if 0 < number < 1e9 else None


def _numbers(bbox: Any) -> list[float] | None:
    """Four numbers, or None."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    try:
        return None if any(isinstance(v, bool | str) for v in bbox) else [float(v) for v in bbox]
    except (TypeError, ValueError, OverflowError):
        return None


def _are_corners(entries: Sequence[dict[str, Any]]) -> bool:
    """Whether the outline or area of every box that has one says corners, and none says sizes."""
    votes = [box_voting for entry in entries if (box_voting := _vote(entry)) is not None]
    return bool(votes) and all(box_voting == "corners" for box_voting in votes)


def _vote(entry: dict[str, Any]) -> str | None:
    """How a box is meant by its outline, else its area: "corners", "sizes", or None if open."""
    box = _numbers(entry.get("bbox"))
    if box is None:
        return None
    x, y, a, b = box
    outline = _outline(entry.get("segmentation"))
    if isinstance(outline, list):
        points = [v for p in outline if isinstance(p, list) and len(p) > 5 for v in p]
        if not points or len(points) % 2 or not all(is_number(v) for v in points):
            return None
        xs, ys = points[::2], points[1::2]
        extent = np.array([min(xs), min(ys), max(xs), max(ys)], float)
        slack = max(2.0, 0.02 * float(max(extent[2:] - extent[:2])))
        if np.abs(extent - [x, y, x + a, y + b]).max() <= slack:
            return "sizes"
        return "corners" if np.abs(extent - box).max() <= slack else "neither"
    area: Any = entry.get("area")
    if outline is not None or not is_number(area) or area <= 0 or not (a > x and b > y):
        return None
    for meant, size in (("sizes", a * b), ("corners", (a - x) * (b - y))):
        if math.isclose(area, size, rel_tol=0.01, abs_tol=0.5):
            return meant
    return None


def _outline(value: Any) -> Any:
    """A segmentation as COCO has it, also from what others write: one flat list, points in pairs."""
    if not isinstance(value, list) or not value:
        return value
    if all(is_number(v) for v in value):
        return [value]
    if all(_is_point(v) for v in value) and len(value) > 2:
        return [[v for point in value for v in point]]
    return [
        [v for point in polygon for v in point]
        if isinstance(polygon, list) and len(polygon) > 2 and all(_is_point(v) for v in polygon)
        else polygon
        for polygon in value
    ]


def _around(outline: Any) -> list[float] | None:
    """The box around polygons, where a tool left it out; None if they are none."""
    if not isinstance(outline, list) or not all(
        isinstance(p, list) and len(p) > 5 for p in outline
    ):
        return None
    xs, ys = ([v for p in outline for v in p[i::2]] for i in (0, 1))
    if not xs or len(xs) != len(ys) or not all(is_number(v) for v in (*xs, *ys)):
        return None
    return [float(v) for v in (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))]


def _is_point(value: Any) -> bool:
    if isinstance(value, dict) or not isinstance(value, list) or len(value) != 2:
        return False
    return all(is_number(v) for v in value)


def is_crowd(value: Any) -> bool | None:
    """COCO's `iscrowd`, also as text; None if it is neither 0 nor 1."""
    if value is None or value == "":
        return False
    text = str(value).strip().lower()
    if text in ("0", "0.0", "false", "no"):
        return False
    return True if text in ("1", "1.0", "true", "yes") else None


def _rotation(entry: dict[str, Any]) -> float:
    """The turn that CVAT notes beside a box that it writes unturned, degrees."""
    attributes = entry.get("attributes")
    value = attributes.get("rotation") if isinstance(attributes, dict) else entry.get("rotation")
    try:
        degrees = float(value) if value is not None and not isinstance(value, bool) else 0.0
    except (TypeError, ValueError):
        return 0.0
    return degrees % 360 if math.isfinite(degrees) else 0.0


def _label(
    where: str,
    entry: dict[str, Any],
    class_ids: dict[int | str, int],
    corners: bool,
    reading: Reading,
) -> Label | None:
    category_id, bbox = _id(entry.get("category_id")), entry.get("bbox")
    if category_id is None or category_id not in class_ids:
        # Of thousands of annotations each is told of: not with thousands of ids each.
        known = ", ".join(map(str, itertools.islice(class_ids, _MOST_IDS))) or "none"
        known += f" and {len(class_ids) - _MOST_IDS} more" if len(class_ids) > _MOST_IDS else ""
        what = f"there is no category {_short(entry.get('category_id'))} (there are {known})"
        reading(Problem(where, what, "export the labels again, or fix the id"))
        return None
    box = _numbers(bbox)
    if box is None and bbox in (None, []):
        box = _around(_outline(entry.get("segmentation")))
    if box is None:
        what = f"bbox is {_short(bbox)}"
        reading(Problem(where, what, "give [x, y, width, height] in pixels"))
        return None
    crowd = is_crowd(entry.get("iscrowd"))
    if crowd is None:
        what = f"iscrowd is {_short(entry.get('iscrowd'))}"
        reading(Problem(where, what, "give 0 for one object, 1 for a crowd"))
        return None
    x, y, a, b = box
    xyxy = [x, y, a, b] if corners else [x, y, x + a, y + b]
    outline = _outline(entry.get("segmentation"))
    rotation = _rotation(entry)
    if rotation and not outline:
        xyxy = turned_box_xyxy(xyxy, rotation)
        what = f"its box is turned by {rotation:g} degrees (CVAT's rotation)"
        reading.warn(where, what, "the upright box around it is taken")
    elif not corners and not rotation and (box_voting := _vote(entry)) in ("corners", "neither"):
        what = f"bbox {_short(bbox)} is not around its own outline or area"
        if box_voting == "corners":
            what += ", as corners [x1, y1, x2, y2] it would be"
        reading.warn(where, what, "draw one of the two again")
    hint = ""
    if a > x and b > y and not corners:
        hint = "draw it again, or give [x, y, width, height] if these are corners [x1, y1, x2, y2]"
    return Label(where, xyxy, class_ids[category_id], crowd, outline, hint)


def _short(value: Any) -> str:
    """A value from the file on one line."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
