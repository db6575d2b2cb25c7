"""COCO JSON, in Roboflow's layout (`_annotations.coco.json`) and CVAT's (`annotations/*.json`)."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duckdetect.data.dataset import SPLIT_NAMES, Dataset, Label, Problem, Report, make_sample
from duckdetect.errors import UserError
from duckdetect.utils.files import write_json

ROBOFLOW = "_annotations.coco.json"


def find(folder: Path) -> dict[str | None, Path]:
    """The COCO files of a folder by split; None stands for a single file, whatever its name."""
    if (folder / ROBOFLOW).is_file():
        return {None: folder / ROBOFLOW}
    found = [path for path in json_files(folder) if _looks_like_coco(path)]
    # COCO's own folder holds key points and captions of the same pictures as well.
    found = [path for path in found if path.name.startswith("instances")] or found
    if len(found) < 2:
        return dict.fromkeys([None], found[0]) if found else {}
    # Named as in instances_train2017.json: the word after the last underscore, without digits.
    by_split: dict[str | None, Path] = {}
    for path in found:
        word = path.stem.lower().rpartition("_")[2].strip("0123456789-")
        for split, names in SPLIT_NAMES.items():
            if word in names and split not in by_split:
                by_split[split] = path
    if not by_split:
        names_ = ", ".join(path.name for path in found)
        raise UserError(f"{folder} holds several COCO files ({names_}): keep the one to read")
    return by_split


def json_files(folder: Path) -> list[Path]:
    """The JSON files in a folder and in `annotations` below it."""
    return [p for place in (folder, folder / "annotations") for p in sorted(place.glob("*.json"))]


def read(source: Path, split: str | None, report: Report) -> Dataset:
    """Read a COCO file; the pictures lie beside it, above it, or in `images` beside or above it."""
    content = parse(source)
    images = [entry for entry in content["images"] if _has_id(entry, "image", source, report)]
    classes, class_ids = _classes(content["categories"], content["annotations"], source, report)
    by_image: dict[int, list[Label]] = {}
    for entry in images:
        if entry["id"] in by_image:
            what = f"two images have the id {entry['id']}"
            report(Problem(str(source), what, "export the labels again"))
        by_image[entry["id"]] = []
    for number, entry in enumerate(content["annotations"], 1):
        name = (
            entry.get("id", f"number {number}") if isinstance(entry, dict) else f"number {number}"
        )
        where = f"{source}, annotation {name}"
        if not isinstance(entry, dict):
            report(Problem(where, f"is {_short(entry)}", "export the labels again"))
        elif type(entry.get("image_id")) is not int or entry["image_id"] not in by_image:
            what = f"there is no image {_short(entry.get('image_id'))}"
            report(Problem(where, what, "export the labels again, or remove it"))
        elif label := _label(where, entry, class_ids, report):
            by_image[entry["image_id"]].append(label)
    places = _places(source)
    samples = []
    for entry in images:
        path = _image(source, places, entry, report)
        labels = by_image.pop(entry["id"], [])
        if path is None:
            continue
        sample = make_sample(path, entry["id"], _declared_hw(entry), labels, report)
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
            "info": {"description": "written by duckdetect"},
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
    try:
        # From bytes, json itself tells UTF-8, with or without a mark, from UTF-16 and UTF-32.
        content = json.loads(source.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        empty = source.is_file() and source.stat().st_size == 0
        reason = "it is empty" if empty else str(error)
        raise UserError(f"{source} is not JSON ({reason}): export the labels again") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f"{source} is not COCO (it has no list {key!r}): export the labels as COCO JSON"
            )
    return content


def _looks_like_coco(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"images", "categories"} <= content.keys()


def _has_id(entry: Any, kind: str, source: Path, report: Report) -> bool:
    # A bool is an int to isinstance.
    good = isinstance(entry, dict) and type(entry.get("id")) is int
    if not good:
        what = f"{kind} {_short(entry)} has no whole-number id"
        report(Problem(str(source), what, "export the labels again"))
    return good


def _classes(
    categories: list[Any], annotations: list[Any], source: Path, report: Report
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names in the file's order, and the class id of each category id."""
    good = []
    for entry in categories:
        if not _has_id(entry, "category", source, report):
            continue
        if isinstance(entry.get("name"), str) and entry["name"]:
            good.append(entry)
        else:
            report(Problem(str(source), f"category {entry['id']} has no name", "name it"))
    for category_id, count in Counter(c["id"] for c in good).items():
        if count > 1:
            what = f"{count} categories have the id {category_id}"
            report(Problem(str(source), what, "export the labels again"))
    used = [a.get("category_id") for a in annotations if isinstance(a, dict)]
    # Roboflow writes a parent of all classes as category 0, which no box ever has.
    kept = [
        c
        for c in good
        if c["id"] != 0
        or 0 in used
        or c["name"] not in [other.get("supercategory") for other in good if other is not c]
    ]
    names = list(dict.fromkeys(c["name"] for c in kept))  # two ids of one name are one class
    number = {name: i for i, name in enumerate(names)}
    return tuple(names), {c["id"]: number[c["name"]] for c in kept}


def _places(source: Path) -> list[Path]:
    """Where the pictures may lie."""
    beside, above = source.parent, source.parent.parent
    if source.name == ROBOFLOW:
        return [beside, beside / "images"]
    # Two splits may have pictures of the same names: the folder that is named as the file goes first.
    split = source.stem.rpartition("_")[2]
    named = [place / split for place in (beside, above, above / "images")]
    others = sorted(path for path in (above / "images").glob("*/") if path.is_dir())
    return list(
        dict.fromkeys([*named, beside, beside / "images", above, above / "images", *others])
    )


def _image(
    source: Path, places: Sequence[Path], entry: dict[str, Any], report: Report
) -> Path | None:
    name = str(entry.get("file_name") or "").replace("\\", "/")
    # Some exports name paths of the machine that they were made on: then the last part counts.
    # A Mac takes letters and their accents apart in file names, the labels may have them together.
    forms = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    for candidate in dict.fromkeys([*forms, *(form.rpartition("/")[2] for form in forms)]):
        for place in places:
            if candidate and not candidate.startswith("/") and _is_file(place / candidate):
                return place / candidate
    where = f"{source}, image {entry['id']}"
    what = f"the picture {_short(name)} is missing" if name else "has no file_name"
    report(Problem(where, what, "put it beside the labels, or remove its entry"))
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have, as it is too long
        return False


def _declared_hw(entry: dict[str, Any]) -> tuple[int, int] | None:
    height, width = (entry.get(key) for key in ("height", "width"))
    try:
        return (int(height), int(width)) if height and width else None
    except (TypeError, ValueError, OverflowError):
        return None


def _label(
    where: str, entry: dict[str, Any], class_ids: dict[int, int], report: Report
) -> Label | None:
    category_id, bbox = entry.get("category_id"), entry.get("bbox")
    if type(category_id) is not int or category_id not in class_ids:
        known = ", ".join(map(str, class_ids)) or "none"
        what = f"there is no category {_short(category_id)} (there are {known})"
        report(Problem(where, what, "export the labels again, or mend the id"))
        return None
    try:
        if not isinstance(bbox, list) or any(isinstance(v, bool | str) for v in bbox):
            raise TypeError
        x, y, width, height = map(float, bbox)
    except (TypeError, ValueError, OverflowError):
        what = f"bbox is {_short(bbox)}"
        report(Problem(where, what, "give [x, y, width, height] in pixels"))
        return None
    return Label(
        where,
        (x, y, x + width, y + height),
        class_ids[category_id],
        bool(entry.get("iscrowd")),
        entry.get("segmentation"),
    )


def _short(value: Any) -> str:
    """A value from the file on one line."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
