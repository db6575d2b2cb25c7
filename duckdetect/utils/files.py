"""Files that appear whole or not at all, folders, locks and check sums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdetect.errors import PlaceError, UserError
from duckdetect.utils.locks import folder_lock
from duckdetect.utils.reading import MOST_NAME_BYTES, refuse_pipes

_REPLACED = "replaced"
# What writing refuses without saying to which file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Where a file system has no locks, a part that nobody has touched for so long has no writer any more.
_STALE_SECONDS = 24 * 3600
# An empty part may be another writer's that is about to lock it.
_NEW_SECONDS = 10


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; it becomes `target` only if the block succeeds.

    A part that a killed process left of the same target is removed; if it was killed in the moment when
    the older version was set aside, that version is put back first.

    Args:
        target: The file or folder that shall exist afterwards; an older one is replaced whole.

    Yields:
        A path that does not exist yet, with `target`'s suffix, on the same file system.

    Raises:
        UserError: If the folder cannot be made or written.
        OSError: If the disk is full; it names `target`.

    Example:
        with atomic_path("results/metrics.json") as part:
            part.write_text("{}")
    """
    target = Path(target)
    make_folder(target.parent)
    remove_leftovers(target)
    part_dir = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    part, replaced = part_dir / target.name, part_dir / _REPLACED
    with folder_lock(part_dir, wait=False):  # says that this part has a writer
        try:
            yield part
            if part.is_dir() and target.is_dir():
                # Path.replace cannot put a folder over one that is not empty: the old one steps aside.
                with folder_lock(target.parent):  # of two at a time one comes after the other
                    target.replace(replaced)
                    part.replace(target)
            elif target.is_dir():
                raise UserError(f"{target} is a folder: give the name of a file")
            else:
                part.replace(target)
        except OSError as error:
            if error.filename is None and error.errno in _FULL:
                error.filename = str(target)
            raise
        finally:
            if replaced.exists() and not target.exists():
                replaced.replace(target)
            shutil.rmtree(part_dir, ignore_errors=True)


@contextlib.contextmanager
def scratch_folder(name: Path) -> Iterator[Path]:
    """Yield an empty folder beside `name` that is gone afterwards, with what killed processes left."""
    make_folder(name.parent)
    remove_leftovers(name)
    part_dir = Path(tempfile.mkdtemp(prefix=_prefix(name), dir=name.parent))
    with folder_lock(part_dir, wait=False):  # says that it is in use
        try:
            scratch = part_dir / name.name
            scratch.mkdir()
            yield scratch
        finally:
            shutil.rmtree(part_dir, ignore_errors=True)


def remove_leftovers(target: str | Path) -> None:
    """Remove what killed processes left beside a file or folder that they were writing."""
    target = Path(target)
    pattern = re.compile(re.escape(_prefix(target)) + r"[a-z0-9_]{8}")
    try:
        found = [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]
    except OSError:
        return
    for part_dir in found:
        with contextlib.suppress(FileNotFoundError):  # its writer is done with it
            _remove_leftover(part_dir, target)


def _remove_leftover(part_dir: Path, target: Path) -> None:
    # What somebody may have put there is not ours to remove.
    if part_dir.is_symlink() or not part_dir.is_dir():
        return
    names = {path.name for path in part_dir.iterdir()}
    age = time.time() - part_dir.stat().st_mtime
    if not names <= {target.name, _REPLACED} or (not names and age < _NEW_SECONDS):
        return
    with folder_lock(part_dir, wait=False) as is_ours:
        if not is_ours and age < _STALE_SECONDS:
            return
        replaced = part_dir / _REPLACED
        if replaced.exists() and not target.exists():
            replaced.replace(target)
        shutil.rmtree(part_dir, ignore_errors=True)


def _prefix(target: Path) -> str:
    start = target.name.encode("utf-8", "surrogateescape")[:200]  # of the 255 bytes of a name
    # Our name in it: .out.20261128 may be anybody's.
    return f".{start.decode('utf-8', 'ignore')}.duckdetect-"


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN is refused since JSON has no such number."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def make_folder(path: str | Path) -> Path:
    """Make a folder and its parents, and prove that it can be written.

    Raises:
        PlaceError: If it is a file, or cannot be made or written.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (FileExistsError, NotADirectoryError):
        raise PlaceError(f"{path} is a file, not a folder: {_other_folder(path)}") from None
    except OSError as error:
        raise PlaceError(
            f"{path} cannot be written ({error.strerror}): change that, or {_other_folder(path)}"
        ) from error
    return path


def _other_folder(path: Path) -> str:
    """The cure for a folder that cannot be written."""
    with contextlib.suppress(RuntimeError):  # nobody's home is known: then it is not in the cache
        if path.is_relative_to(cache_folder()):
            return "set DUCKDETECT_CACHE to another folder"
    return "choose another folder"


class FreeNames:
    """Names for the files of a folder: a name that is taken gets a number, a.jpg, a_2.jpg, a_3.jpg.

    Case does not count, as on Windows and Macs.

    Args:
        by_stem: Whether two names must differ in more than the suffix.
    """

    def __init__(self, by_stem: bool) -> None:
        self._by_stem = by_stem
        self._taken: set[str] = set()
        self._number: Counter[str] = Counter()  # of a thousand alike each would else try all before

    def take(self, stem: str, suffix: str) -> str:
        """The name, or the next that is free, whole; cut where the system would not take it."""

        def key(stem: str) -> str:
            return (stem if self._by_stem else stem + suffix).casefold()

        kept = stem

        def fitting(number: str) -> str:
            nonlocal kept
            while kept and len(os.fsencode(kept + number + suffix)) > MOST_NAME_BYTES:
                kept = kept[:-1]
            return kept + number

        name = fitting("")
        while key(name) in self._taken:
            self._number[key(stem)] += 1
            name = fitting(f"_{self._number[key(stem)] + 1}")
        self._taken.add(key(name))
        return name + suffix


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder for downloaded weights: as given, or from the environment, or the usual one."""
    given = cache_dir or os.environ.get("DUCKDETECT_CACHE")
    if given:
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "duckdetect"


def download_mark(archive: Path) -> Path:
    """The empty file that tells an archive that we brought into the cache from one of the user's."""
    return archive.with_name(f".{archive.name}.ours")


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a base's folder; the others wait and find it filled.

    A file system without locks (some network mounts) goes without: the folder is put in place
    whole all the same, and a part that two have written is caught by its sums.
    """
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def file_sha256(path: str | Path) -> str:
    """The SHA-256 sum of a file, in hex.

    Raises:
        UserError: If it is a pipe or a device.
    """
    refuse_pipes(path)
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_of_system(name: str) -> bool:
    """Whether a file or folder is what macOS or Windows puts into folders that somebody looks at."""
    return name.startswith("._") or name.lower() in _OF_SYSTEMS


_OF_SYSTEMS = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}


def folder_sha256(folder: Path) -> str:
    """The SHA-256 of all files below a folder, their names included; "" if it is not there.

    What a system puts there is passed over: a look at the folder on a Mac must not change its sum.
    """
    if not folder.is_dir():
        return ""
    digest = hashlib.sha256()
    found = list(folder.rglob("*"))  # which does not go through links to folders
    found += [below for p in found if p.is_symlink() and p.is_dir() for below in p.iterdir()]
    for path in sorted(p for p in found if p.is_file() and not is_of_system(p.name)):
        digest.update(os.fsencode(path.relative_to(folder).as_posix()) + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
