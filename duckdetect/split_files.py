"""A split file: which pictures of a data set belong to which split, without copies of them.

{
 "format": "duckdetect split 1",
 "data": "../images",
 "splits": {"train": ["a.jpg"], "valid": ["b.jpg"], "test": ["c.jpg"]}
}

`data` is a folder or zip, from the file's own folder; pictures are named from `data`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from duckdetect.errors import UserError
from duckdetect.files import write_json
from duckdetect.samples import SPLIT_NAMES

_FORMAT = "duckdetect split 1"


@dataclass(frozen=True)
class SplitFile:
    """A split file's content: `data`, and the names of the pictures in each split."""

    data: Path
    splits: dict[str, tuple[str, ...]]


def read_split_file(path: Path) -> SplitFile:
    """Read a split file.

    Raises:
        UserError: If it is no split file, names a picture twice, or names an unknown split.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): split the data set again") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UserError(
            f"{path} is no split file (its format is not {_FORMAT!r}): give the folder of labelled "
            "pictures"
        )
    data, splits = content.get("data"), content.get("splits")
    if not isinstance(data, str) or not isinstance(splits, dict) or not splits:
        raise UserError(f"{path} lacks `data` or `splits`: split the data set again")
    seen: set[str] = set()
    for split, names in splits.items():
        if split not in SPLIT_NAMES:
            raise UserError(f"{path}: {split!r} is no split: name it train, valid or test")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path}: {split!r} is no list of names: split the data set again")
        for name in names:
            if name in seen:
                raise UserError(f"{path}: {name} is there twice: keep it in one split")
            seen.add(name)
    return SplitFile(path.parent / data, {k: tuple(v) for k, v in splits.items()})


def write_split_file(path: Path, data: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write a split file, atomically; `data` is noted from its folder, so that both can move."""
    relative = Path(os.path.relpath(data.resolve(), path.resolve().parent)).as_posix()
    names = {split: list(names) for split, names in splits.items()}
    write_json(path, {"format": _FORMAT, "data": relative, "splits": names})


def picture_name(picture: Path, data: Path) -> str:
    """A picture's name in a split file of the folder `data`."""
    return Path(os.path.relpath(picture, data)).as_posix()
