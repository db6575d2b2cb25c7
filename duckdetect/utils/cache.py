"""What lies in the cache, how large it is, and removing it.

    for entry in list_cache(): print(entry.kind, entry.path, entry.size_bytes)
    clear_cache("data")          # unpacked zips; they are unpacked again when they are next read

The cache holds base models' weights (a folder with origin.json each), what zips of labelled images were
unpacked to (below `data`), the web page's runtime (below `npm`), and downloads that were interrupted.
Whatever else lies there is left alone: a user may have named a folder of other things as the cache, so
what is ours is known by what we left with it, not by its name alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from duckdetect.errors import UserError
from duckdetect.utils.files import (
    cache_folder,
    download_mark,
    one_at_a_time,
    remove_leftovers,
)
from duckdetect.utils.reading import read_bytes

Kind = Literal["data", "weights", "downloads", "npm"]

# As data/loading.py names them: the zip's name and the start of its check sum.
_UNPACKED = re.compile(r".+-[0-9a-f]{12}")
_LEFTOVER = re.compile(r"\.(.+)\.duckdetect-[a-z0-9_]{8}")
_PART, _NOTE = ".part", ".part.json"


@dataclass(frozen=True)
class CacheEntry:
    """A file or folder in the cache: what it is, where, and its size in bytes."""

    kind: Kind
    path: Path
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.kind:9}  {self.size_bytes / 1e6:8.1f} MB  {self.path}"


def list_cache(cache_dir: str | Path | None = None) -> list[CacheEntry]:
    """All that is in the cache, the largest first.

    Args:
        cache_dir: The cache, if not the usual one (`cache_folder`).

    Raises:
        UserError: If the cache is a file.
    """
    folder = cache_folder(cache_dir)
    if folder.is_file():
        raise UserError(
            f"the cache {folder} is a file, not a folder: set DUCKDETECT_CACHE to another folder"
        )
    found = [
        CacheEntry(kind, path, _size(path))
        for parent in (folder, folder / "data", folder / "npm")
        if parent.is_dir() and (parent == folder or not parent.is_symlink())
        for path in parent.iterdir()
        if (kind := _kind(path, folder)) is not None
    ]
    return sorted(found, key=lambda entry: -entry.size_bytes)


def clear_cache(kind: str = "data", cache_dir: str | Path | None = None) -> list[CacheEntry]:
    """Remove one kind of what is in the cache.

    Args:
        kind: "data", "weights", "downloads", "npm", or "all". Weights must be fetched again then.
        cache_dir: As `list_cache` has it.

    Returns:
        What was removed.

    Raises:
        UserError: If the kind is unknown, or something cannot be removed.
    """
    kinds = get_args(Kind)
    if kind not in (*kinds, "all"):
        raise UserError(f"{kind!r} is no part of the cache: give one of {', '.join(kinds)} or all")
    removed = []
    for entry in list_cache(cache_dir):
        if kind not in (entry.kind, "all"):
            continue
        try:
            if (target := _target_of(entry.path)) is not None:
                remove_leftovers(target)
                if not entry.path.exists():  # else a process is still at it
                    removed.append(entry)
                continue
            with one_at_a_time(entry.path):  # another process may just be filling it
                if entry.path.is_dir():
                    with contextlib.suppress(FileNotFoundError):  # another clears it, too
                        shutil.rmtree(entry.path)
                else:
                    entry.path.unlink(missing_ok=True)
            entry.path.with_name(f".{entry.path.name}.lock").unlink(missing_ok=True)
            download_mark(entry.path).unlink(missing_ok=True)
            removed.append(entry)
        except OSError as error:
            raise UserError(
                f"{entry.path} cannot be removed ({error.strerror}): change its permissions"
            ) from error
    return removed


def _kind(path: Path, folder: Path) -> Kind | None:
    if path.is_symlink():
        return None
    if (target := _target_of(path)) is not None:
        if not path.is_dir() or not _was_locked(target):
            return None
        if path.parent == folder:
            return "weights"
        return "npm" if path.parent.name == "npm" else "data"
    if path.parent == folder / "npm":
        return "npm" if path.suffix == ".tgz" and path.is_file() and _was_locked(path) else None
    if path.parent != folder:
        named = _UNPACKED.fullmatch(path.name) and path.is_dir()
        ours = path.name.startswith("tfrecord-") or _was_locked(path)
        return "data" if named and ours else None
    if path.is_dir():
        return "weights" if _is_base(path) else None
    if path.name.endswith((_PART, _NOTE)) and path.is_file():
        note = path if path.name.endswith(_NOTE) else path.with_name(f"{path.name}.json")
        return "downloads" if {"url", "validator", "size"} <= _keys(note) else None
    return "downloads" if path.is_file() and download_mark(path).is_file() else None


def _target_of(path: Path) -> Path | None:
    """What a killed process was filling when it left this folder; None if it is no such folder."""
    found = _LEFTOVER.fullmatch(path.name)
    return path.with_name(found[1]) if found else None


def _was_locked(path: Path) -> bool:
    """Whether `one_at_a_time` has filled it: its lock stays."""
    return path.with_name(f".{path.name}.lock").is_file()


def _is_base(folder: Path) -> bool:
    """Whether a folder holds origin.json, and nothing that is not listed there."""
    known = _keys(folder / "origin.json", "files")
    files = (path.relative_to(folder).as_posix() for path in _files(folder))
    return bool(known) and all(name in known or name == "origin.json" for name in files)


def _keys(path: Path, of: str | None = None) -> set[str]:
    """The keys of a JSON object, or of an object in it; none if it is something else."""
    try:
        content = json.loads(read_bytes(path))
        return set((content if of is None else content[of]).keys())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()


def _size(path: Path) -> int:
    total = 0
    for file in _files(path) if path.is_dir() else [path]:
        with contextlib.suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total


def _files(folder: Path) -> Iterator[Path]:
    """All files below; a folder that another process removes meanwhile is passed over."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)
