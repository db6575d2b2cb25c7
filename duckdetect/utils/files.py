"""Files that appear whole or not at all, folders, locks and check sums."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdetect.errors import UserError


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; it becomes `target` only if the block succeeds.

    Args:
        target: The file or folder that shall exist afterwards; an older one is replaced whole.

    Yields:
        A path that does not exist yet, with `target`'s suffix, on the same file system.

    Raises:
        UserError: If the folder cannot be made or written.

    Example:
        with atomic_path("results/metrics.json") as part:
            part.write_text("{}")
    """
    target = Path(target)
    make_folder(target.parent)
    part_dir = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    part = part_dir / target.name
    try:
        yield part
        if part.is_dir() and target.is_dir():
            # Path.replace cannot put a folder over one that is not empty: the old one steps aside.
            target.replace(part_dir / "replaced")
        part.replace(target)
    finally:
        shutil.rmtree(part_dir, ignore_errors=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN is refused since JSON has no such number."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def make_folder(path: str | Path) -> Path:
    """Make a folder and its parents, and prove that it can be written.

    Raises:
        UserError: If it is a file, or cannot be made or written.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError:
        raise UserError(f"{path} is a file, not a folder: choose another output folder") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): choose another output folder"
        ) from error
    return path


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder for downloaded weights: as given, or from the environment, or the usual one."""
    given = cache_dir or os.environ.get("DUCKDETECT_CACHE")
    if given:
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "duckdetect"


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
    """The SHA-256 sum of a file, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    """The SHA-256 of all files below a folder, their names included; "" if it is not there."""
    if not folder.is_dir():
        return ""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
