"""Writing files so that a half-written one never replaces a good one."""

from __future__ import annotations

import contextlib
import json
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
