"""Boxes beside their images: `_annotations.coco.json`, changed one image at a time.

`AnnotationStore` is what the drawing widgets write to. Each change reads the file again, touches
one image's boxes of the classes being drawn, and replaces the file atomically: whatever else the
file holds (other images, other classes, keys unknown here) is kept as it was.

An image stands in `images` only once somebody has looked at it; one that stands there without an
annotation was marked "no object". Where it has boxes of other classes alone, its key `no_object_of`
names the classes that were looked for in vain.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from duckdetect.data.formats.coco import is_crowd
from duckdetect.data.names import fold
from duckdetect.errors import UserError, saving
from duckdetect.utils.files import make_folder, write_json
from duckdetect.utils.locks import folder_lock, stamp
from duckdetect.utils.reading import refuse_pipes
from duckdetect.utils.schema import is_number, is_unicode, json_value

FILE_NAME = "_annotations.coco.json"

_LISTS = ("images", "annotations", "categories")

_MOST_TRIES = 100
_SAME_PIXELS = 1e-3

_NO_OBJECT_OF = "no_object_of"


@dataclass(frozen=True)
class Box:
    """One drawn box.

    Attributes:
        xyxy: Left, top, right, bottom in pixels of the image as `load_image` turns it.
        class_name: What is in it.
        annotation_id: The id in the file of a box read from there; None for a new one.
        score: From 0 to 1 for a box that a detector suggests; None for one that a person drew.
    """

    xyxy: tuple[float, float, float, float]
    class_name: str
    annotation_id: int | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.xyxy
        # Written so that a NaN fails as well.
        if not (x2 > x1 and y2 > y1 and all(map(math.isfinite, self.xyxy))):
            raise ValueError(f"a box needs x2 > x1 and y2 > y1, all finite, got {self.xyxy}")


class AnnotationStore:
    """The boxes of a folder's images.

    Args:
        folder: Where the images lie; `_annotations.coco.json` stands beside them, or will.

    Raises:
        UserError: From every method, if the file there is not a COCO file. It is then left alone.

    Example:
        store = AnnotationStore("images")
        store.put("a.jpg", (480, 640), [Box((10, 20, 110, 90), "rubber duck")], ["rubber duck"])
        store.put("b.jpg", (480, 640), [], ["rubber duck"])  # no object in it
        store.looked_at()  # {"a.jpg", "b.jpg"}
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / FILE_NAME

    def looked_at(self) -> set[str]:
        """File names of the images with boxes, and of those marked "no object"."""
        return {name for _, name in self._named(self._read()) if name is not None}

    def looked_at_for(self, classes: Iterable[str]) -> set[str]:
        """File names of the images with boxes of these classes, or marked to hold none of them."""
        coco, wanted = self._read(), set(classes)
        names: dict[Any, set[str]] = {}
        for annotation in coco["annotations"]:
            name = _name_of(coco, annotation["category_id"])
            names.setdefault(annotation["image_id"], set()).add(name or "")
        return {
            name
            for image, name in self._named(coco)
            if name is not None
            and (
                (there := names.get(image["id"], set())) & wanted
                or not there
                or wanted <= set(image.get(_NO_OBJECT_OF, ()))
            )
        }

    def counts(self) -> dict[str, int]:
        """How many boxes there are of each class that has any."""
        coco = self._read()
        names = (_name_of(coco, a["category_id"]) for a in coco["annotations"] if _is_box(a))
        return dict(Counter(name for name in names if name is not None))

    def rename(self, old: str, new: str) -> int:
        """Give a class another name, that of a second class to merge both; returns its boxes.

        Raises:
            UserError: If there is no class of the old name, or the new one is empty.
        """
        if not isinstance(new, str):
            raise UserError(f"{new!r} is no name for a class: give a text")
        if not is_unicode(new):
            raise UserError(f"{new!r} is no name: it holds half of a letter")
        changed = 0

        def change(coco: dict[str, Any]) -> None:
            nonlocal changed
            olds = self._ids_of(coco, old)
            changed = sum(a["category_id"] in olds for a in coco["annotations"])
            into = [c["id"] for c in coco["categories"] if c["name"] == new]
            if not into:
                for category in coco["categories"]:
                    category["name"] = new if category["id"] in olds else category["name"]
                return
            for annotation in coco["annotations"]:
                if annotation["category_id"] in olds:
                    annotation["category_id"] = into[-1]
            coco["categories"] = [c for c in coco["categories"] if c["id"] not in olds]

        if not new.strip() or new.strip() != new:
            raise UserError(f"{new!r} is no name for a class: give one, without spaces around it")
        if old != new:
            self._change(change)
        return changed

    def drop(self, name: str) -> int:
        """Take a class and all its boxes out; returns how many there were.

        Images that had no other boxes count as not looked at.

        Raises:
            UserError: If there is no such class.
        """
        dropped = 0

        def change(coco: dict[str, Any]) -> None:
            nonlocal dropped
            olds = self._ids_of(coco, name)
            gone = [a for a in coco["annotations"] if a["category_id"] in olds]
            dropped = len(gone)
            coco["annotations"] = [a for a in coco["annotations"] if a["category_id"] not in olds]
            coco["categories"] = [c for c in coco["categories"] if c["id"] not in olds]
            left = {a["image_id"] for a in coco["annotations"]}
            emptied = {a["image_id"] for a in gone} - left
            coco["images"] = [image for image in coco["images"] if image["id"] not in emptied]

        self._change(change)
        return dropped

    def require_class(self, name: str) -> None:
        """Raise UserError if there is no such class."""
        self._ids_of(self._read(), name)

    def _ids_of(self, coco: dict[str, Any], name: str) -> set[Any]:
        found = {c["id"] for c in coco["categories"] if c["name"] == name}
        if not found:
            names = ", ".join(sorted({c["name"] for c in coco["categories"]})) or "none"
            raise UserError(f"{self.path} has no class {name!r}; its classes: {names}")
        return found

    def boxes(self, file_name: str, classes: Iterable[str] | None = None) -> list[Box]:
        """The boxes of one image, in the file's order; crowds are left out.

        Args:
            file_name: As in the file, such as "duck_1.jpg".
            classes: Only boxes of these classes; None for all.
        """
        coco = self._read()
        names = {category["id"]: category["name"] for category in coco["categories"]}
        wanted = set(names.values() if classes is None else classes)
        image_ids = self._image_ids(coco, file_name)
        return [
            Box(_xyxy(annotation), names[annotation["category_id"]], annotation["id"])
            for annotation in coco["annotations"]
            if annotation["image_id"] in image_ids
            and names.get(annotation["category_id"]) in wanted
            and _is_box(annotation)
        ]

    def put(
        self,
        file_name: str,
        size_hw: tuple[int, int],
        boxes: Sequence[Box],
        classes: Sequence[str],
    ) -> None:
        """Replace one image's boxes of the given classes, and save.

        A box whose `annotation_id` is in the file keeps its unknown keys; its outline
        (`segmentation`) is kept only if it was not moved. No box at all means "no object".

        Args:
            file_name: The image's name in the folder.
            size_hw: Its height and width in pixels.
            boxes: All its boxes of `classes`; boxes of other classes in the file are kept.
            classes: The classes that were asked for; those without a box lose theirs here.
        """
        if isinstance(classes, str) or not all(map(_is_name, classes)):
            raise UserError(f"the classes are {classes!r}: give a list of names")
        if not isinstance(file_name, str | os.PathLike) or not str(file_name):
            raise UserError(f"{file_name!r} is no picture's name: give one, such as 'a.jpg'")
        try:
            height, width = map(int, size_hw)
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"size_hw is {size_hw!r}: give height and width in pixels") from None
        if not isinstance(boxes, Sequence) or not all(isinstance(box, Box) for box in boxes):
            raise UserError(f"the boxes are {boxes!r}: give a list of Box")
        for box in boxes:
            if box.class_name not in classes:
                raise UserError(f"a box is of class {box.class_name!r}: give it among the classes")
        plain = [_plain(box) for box in boxes]
        self._change(lambda coco: self._put(coco, str(file_name), (height, width), plain, classes))

    def _put(
        self,
        coco: dict[str, Any],
        file_name: str,
        size_hw: tuple[int, int],
        boxes: Sequence[Box],
        classes: Sequence[str],
    ) -> None:
        category_ids = {name: _category_id(coco, name) for name in classes}
        image = self._image(coco, file_name)
        image["height"], image["width"] = size_hw
        replaced = self._replaced(coco, file_name, classes)
        old = {annotation["id"]: annotation for annotation in reversed(replaced)}
        _remove(coco, replaced)
        next_id = 1 + max((a["id"] for a in [*coco["annotations"], *replaced]), default=0)
        for box in boxes:
            annotation = old.pop(box.annotation_id, {}) if box.annotation_id is not None else {}
            if not annotation:
                annotation, next_id = {"id": next_id}, next_id + 1
            moved = "bbox" not in annotation or not _same(_xyxy(annotation), box.xyxy)
            if moved:
                x1, y1, x2, y2 = (round(value, 2) for value in box.xyxy)
                annotation["bbox"] = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
                annotation["area"] = round((x2 - x1) * (y2 - y1), 2)
                annotation["segmentation"] = []
                annotation.pop("score", None)
            if box.score is not None:  # where a label comes from that nobody has drawn
                annotation["score"] = round(box.score, 4)
            annotation["image_id"] = image["id"]
            annotation.setdefault("iscrowd", 0)
            if _name_of(coco, annotation.get("category_id")) != box.class_name:
                annotation["category_id"] = category_ids[box.class_name]
            coco["annotations"].append(annotation)
        if boxes or not any(a["image_id"] == image["id"] for a in coco["annotations"]):
            image.pop(_NO_OBJECT_OF, None)
        else:
            image[_NO_OBJECT_OF] = sorted({*image.get(_NO_OBJECT_OF, ()), *classes})

    def forget(self, file_name: str, classes: Sequence[str]) -> None:
        """Take one image's boxes of the given classes out, and save.

        The image counts as not looked at again, unless it has boxes of other classes.
        """
        self._change(lambda coco: self._forget(coco, file_name, classes))

    def _forget(self, coco: dict[str, Any], file_name: str, classes: Sequence[str]) -> None:
        _remove(coco, self._replaced(coco, file_name, classes))
        ids = self._image_ids(coco, file_name)
        if not any(annotation["image_id"] in ids for annotation in coco["annotations"]):
            coco["images"] = [image for image in coco["images"] if image["id"] not in ids]
        for image in coco["images"]:
            if image["id"] in ids and _NO_OBJECT_OF in image:
                image[_NO_OBJECT_OF] = [c for c in image[_NO_OBJECT_OF] if c not in classes]

    def _named(self, coco: dict[str, Any]) -> list[tuple[dict[str, Any], str | None]]:
        """Each image's entry with the name of the file in this folder that it is of; None if of none.

        Some exports write the path on the machine they were made on, of which the last part counts. Where
        an entry's path is a picture in a folder below, or several entries end alike, they are others'. A
        name is spelt as the folder spells it, as when the labels are read.
        """
        given = {_plain_name(image) for image in coco["images"]}
        ends = Counter(_base(name) for name in given)
        found: list[tuple[dict[str, Any], str | None]] = []
        for image in coco["images"]:
            name = _plain_name(image)
            base = _base(name)
            # os.path: whatever a name may be, this is no error.
            if name != base and (ends[base] > 1 or os.path.isfile(self.path.parent / name)):  # noqa: PTH113
                found.append((image, None))
            else:
                alike = self._spellings.get(fold(base), [])
                found.append((image, alike[0] if len(alike) == 1 else base))
        return found

    @functools.cached_property
    def _spellings(self) -> dict[str, list[str]]:
        """The folder's files by their folded names, looked at once: a listing on Drive takes seconds."""
        names: dict[str, list[str]] = {}
        with contextlib.suppress(OSError):
            for path in self.path.parent.iterdir():
                names.setdefault(fold(path.name), []).append(path.name)
        return names

    def _image_ids(self, coco: dict[str, Any], file_name: str) -> set[Any]:
        return {image["id"] for image, name in self._named(coco) if name == file_name}

    def _image(self, coco: dict[str, Any], file_name: str) -> dict[str, Any]:
        """The image's entry, made if there is none."""
        for image, name in self._named(coco):
            if name == file_name:
                return image
        ids = [image["id"] for image in coco["images"] if isinstance(image["id"], int)]
        if file_name != _base(file_name):  # it would be taken for another folder's from now on
            raise UserError(
                f"{file_name} is no picture of {self.path.parent} itself: give the name of one, or a "
                "store of the folder that it lies in"
            )
        image = {"id": 1 + max(ids, default=0), "file_name": file_name}
        coco["images"].append(image)
        return image

    def _replaced(
        self, coco: dict[str, Any], file_name: str, classes: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The image's annotations that the widgets show for these classes."""
        ids = self._image_ids(coco, file_name)
        return [
            annotation
            for annotation in coco["annotations"]
            if annotation["image_id"] in ids
            and _name_of(coco, annotation["category_id"]) in classes
            and _is_box(annotation)
        ]

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Read the file again, change it, and put it back, while no other writer can.

        Where the file system has no locks, a file that another writer has put there meanwhile is seen by
        its stamp, and the change is made on that.
        """
        make_folder(self.path.parent)
        with saving(self.path), folder_lock(self.path.parent):
            for _ in range(_MOST_TRIES):
                found = stamp(self.path)
                coco = self._read()
                before = json.dumps(coco)
                change(coco)
                if json.dumps(coco) == before and found is not None:
                    return
                if stamp(self.path) == found:
                    write_json(self.path.resolve(), coco)  # of a link the file that it leads to
                    return
        raise UserError(f"{self.path} is written by others all the time: try again")

    def _read(self) -> dict[str, Any]:
        refuse_pipes(self.path)
        try:
            # From bytes, json itself tells UTF-8, with or without a mark, from UTF-16.
            coco = json_value(self.path.read_bytes(), parse_constant=_refuse, parse_float=_finite)
            _check(coco)
        except FileNotFoundError:
            return {"info": {}, "licenses": [], "categories": [], "images": [], "annotations": []}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._broken(error) from error
        return coco

    def _broken(self, error: Exception) -> UserError:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        reason = reason.splitlines()[0] if reason else type(error).__name__
        return UserError(
            f"{self.path} is not a COCO file ({reason}): fix it, or move it away and draw again"
        )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and is_unicode(value)


def _plain(box: Box) -> Box:
    """The box in Python's own numbers, which JSON can hold."""
    x1, y1, x2, y2 = map(float, box.xyxy)
    return replace(
        box, xyxy=(x1, y1, x2, y2), score=None if box.score is None else float(box.score)
    )


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _check(coco: Any) -> None:
    """Raise ValueError, KeyError or TypeError where the file lacks what this module reads."""
    if not isinstance(coco, dict):
        raise ValueError("its top is not an object")
    for key in _LISTS:
        if not isinstance(coco.setdefault(key, []), list):
            raise ValueError(f"{key} is not a list")
    for image in coco["images"]:
        hash(image["id"])
        if not isinstance(image["file_name"], str):
            raise ValueError(f"file_name {image['file_name']!r} is no text")
        of = image.get(_NO_OBJECT_OF, [])
        if not isinstance(of, list) or not all(isinstance(name, str) for name in of):
            raise ValueError(f"{_NO_OBJECT_OF} of {image['file_name']!r} is no list of texts")
    for category in coco["categories"]:
        if not isinstance(category["name"], str):
            raise ValueError(f"a category is named {category['name']!r}, no text")
    for annotation in coco["annotations"]:
        hash(annotation["image_id"]), hash(annotation["category_id"])
        bbox = annotation.get("bbox", [])
        if not isinstance(bbox, list) or len(bbox) not in (0, 4) or not all(map(is_number, bbox)):
            raise ValueError(f"annotation {annotation['id']}: bbox is not four numbers")
        if bbox and not all(map(math.isfinite, _xyxy(annotation))):
            raise ValueError(f"annotation {annotation['id']}: bbox lies beyond any image")
        if is_crowd(annotation.get("iscrowd")) is None:
            raise ValueError(f"annotation {annotation['id']}: iscrowd is neither 0 nor 1")
    for entry in [*coco["categories"], *coco["annotations"]]:
        if not isinstance(entry["id"], int):
            raise ValueError(f"id {entry['id']!r} is not a whole number")
    for key, entries in (("image_id", coco["images"]), ("category_id", coco["categories"])):
        ids = {entry["id"] for entry in entries}
        texts = {str(each): each for each in ids}
        for annotation in coco["annotations"]:
            meant = texts.get(str(annotation[key]))
            # Its box would not be shown, and be drawn a second time.
            if meant is not None and annotation[key] not in ids:
                raise ValueError(
                    f"annotation {annotation['id']}: {key} is {annotation[key]!r}, where the "
                    f"{key.removesuffix('_id')}'s own id is {meant!r}"
                )


def _plain_name(image: dict[str, Any]) -> str:
    """An entry's path, without the `./` that some tools write before it."""
    return re.sub(r"^(\.[/\\])+", "", image["file_name"])


def _base(file_name: str) -> str:
    """The name without folders: some exports write the path on the machine they were made on."""
    return file_name.replace("\\", "/").rsplit("/", 1)[-1]


def _category_id(coco: dict[str, Any], name: str) -> int:
    """The id of a class, made if there is none."""
    found = [category["id"] for category in coco["categories"] if category["name"] == name]
    if found:
        # Roboflow's empty parent may bear the same name as its only child, which comes after it.
        return found[-1]
    # 0 is left to Roboflow's empty parent, so that no reader takes the first class for one.
    new_id = 1 + max((category["id"] for category in coco["categories"]), default=0)
    coco["categories"].append({"id": new_id, "name": name, "supercategory": "none"})
    return new_id


def _name_of(coco: dict[str, Any], category_id: Any) -> str | None:
    for category in coco["categories"]:
        if category["id"] == category_id:
            return category["name"]
    return None


def _remove(coco: dict[str, Any], gone: Sequence[dict[str, Any]]) -> None:
    """Take these annotations out; others may have their ids, as careless merges leave them."""
    objects = {id(annotation) for annotation in gone}
    coco["annotations"] = [a for a in coco["annotations"] if id(a) not in objects]


def _is_box(annotation: dict[str, Any]) -> bool:
    """Whether it can be shown as a box: no crowd, and with an area."""
    if is_crowd(annotation.get("iscrowd")) or not annotation.get("bbox"):
        return False
    x1, y1, x2, y2 = _xyxy(annotation)
    return x2 > x1 and y2 > y1


def _xyxy(annotation: dict[str, Any]) -> tuple[float, float, float, float]:
    x, y, width, height = (float(value) for value in annotation["bbox"])
    return x, y, x + width, y + height


def _same(xyxy: Sequence[float], other_xyxy: Sequence[float]) -> bool:
    return all(abs(a - b) <= _SAME_PIXELS for a, b in zip(xyxy, other_xyxy, strict=True))
