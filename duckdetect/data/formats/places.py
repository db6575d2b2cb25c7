"""Where label files and their pictures lie; what the readers of single label files have in common."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from duckdetect.data.dataset import SPLIT_NAMES
from duckdetect.data.names import Places
from duckdetect.errors import UserError
from duckdetect.imaging.kinds import is_hidden
from duckdetect.utils.reading import read_bytes
from duckdetect.utils.schema import json_value

IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "data", "jpegimages", "pictures", "photos", "frames",
)  # fmt: skip
LABEL_FOLDERS = (
    "annotations",
    "annotation",
    "labels",
    "label",
    "ann",
    "json",
    "xml",
    "xmls",
    "csv",
)


def children(folder: Path) -> list[Path]:
    """The folders below one, those hidden or locked left out, in alphabetical order."""
    return sorted(path for path in _folders(folder) if _may_be_read(path))


def locked(folder: Path) -> list[Path]:
    """Those that may not be read, such as a disk's `lost+found`."""
    return sorted(path for path in _folders(folder) if not _may_be_read(path))


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if not is_hidden(path) and path.is_dir()]


def _may_be_read(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def listed(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files with one of these suffixes in a folder and in its folders of labels."""
    below = [place for place in children(folder) if place.name.lower() in LABEL_FOLDERS]
    return [
        path
        for place in (folder, *below)
        for path in (sorted(place.iterdir()) if place.is_dir() else [])
        if path.suffix.lower() in suffixes and not is_hidden(path) and path.is_file()
    ]


def load(path: Path) -> Any:
    """A JSON file's content.

    Raises:
        UserError: If it cannot be read, or is none.
    """
    text = read_bytes(path)
    try:
        # From bytes, json itself tells UTF-8, with or without a mark, from UTF-16 and UTF-32.
        return json_value(text)
    except ValueError as error:
        reason = str(error) if text else "it is empty"
        raise UserError(f"{path} is not JSON ({reason}): export the labels again") from error


def content_of(path: Path) -> Any:
    """A JSON file's content; None if it is none."""
    try:
        return json.loads(read_bytes(path))
    except UserError:
        raise
    except (ValueError, RecursionError):
        return None


def split_named(name: str) -> str | None:
    """The split that a folder is called as: Train, val, testing."""
    return next((s for s, names in SPLIT_NAMES.items() if name.lower() in names), None)


def split_word(path: Path) -> str | None:
    """The split that a file is named after: `train.csv`, `test_labels.csv`, `duck-val-0.record`."""
    words = path.name.lower().replace("-", "_").replace(".", "_").replace(" ", "_").split("_")
    words = [word.strip("0123456789") for word in words]
    return next(filter(None, map(split_named, words)), None)


def by_split(folder: Path, found: Sequence[Path], what: str) -> dict[str | None, Path]:
    """Label files by the split they are named after; None for a single one.

    Raises:
        UserError: If there are several that no split tells apart.
    """
    if len(found) < 2:
        return dict.fromkeys([None], found[0]) if found else {}
    splits: dict[str | None, Path] = {}
    for path in found:
        split = split_word(path)
        if split is not None:
            splits.setdefault(split, path)
    if splits:
        return whole(splits, found, folder, what)
    names = ", ".join(path.name for path in found[:5]) + (" ..." if len(found) > 5 else "")
    raise UserError(
        f"{folder} holds several {what} files ({names}): put their entries into one, or keep the one "
        "to read"
    )


def whole(
    splits: dict[str | None, Path], found: Sequence[Path], folder: Path, what: str
) -> dict[str | None, Path]:
    """The label files by split, if none is left over, which would be passed over without a word.

    Raises:
        UserError: If one is.
    """
    left = next((path for path in found if path not in splits.values()), None)
    if left is None:
        return splits
    named = " and ".join(path.name for path in splits.values())
    raise UserError(
        f"{folder} holds the {what} files {named}, and {left.name} besides: join those of one split, "
        "or move away what is not to be read"
    )


def of_images(source: Path) -> Places:
    """Where the pictures of a label file may lie: beside it, above it, in folders of pictures there."""
    beside, above = source.parent, source.parent.parent
    tops = [beside, above] if beside.name.lower() in LABEL_FOLDERS else [beside]
    split = split_word(source)
    names = SPLIT_NAMES[split] if split is not None else ()
    images = [p for top in tops for p in children(top) if p.name.lower() in IMAGE_FOLDERS]
    named = [p for top in (*tops, *images) for p in children(top) if p.name.lower() in names]
    first = list(dict.fromkeys([*named, *tops, *images]))
    below = own_split([p for top in images for p in children(top) if p not in first], named)
    return [*first, *([below] if below else [])]


def own_split(folders: Iterable[Path], named: Iterable[Path]) -> list[Path]:
    """The folders, those of other splits left out if one of `named`, the file's own, is there.

    Other splits hold other pictures, often of the same names: frame 1 of another video.
    """
    apart = any(folder.is_dir() for folder in named)
    return [folder for folder in folders if not apart or split_word(folder) is None]


def class_names(names: Iterable[Any]) -> tuple[str, ...]:
    """The names in alphabetical order, each once, blanks around them taken off."""
    return tuple(sorted({name.strip() for name in names if isinstance(name, str)} - {""}))
