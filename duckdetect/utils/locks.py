"""One writer at a time for a folder, without leaving a lock file in it.

    with folder_lock(path.parent):
        content = read(path)
        write(path, change(content))

The lock is the system's own on the folder itself (flock): it is gone when its holder is, also after
kill -9. Some mounted file systems have no locks (NFS for folders, some network drives): there
`stamp` tells whether another writer came between reading and writing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from duckdetect.errors import UserError
from duckdetect.utils.progress import waiting
from duckdetect.utils.terminal import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Folders by device and inode that `only_writer` holds in this process, which need not wait for itself.
_written: set[tuple[int, int]] = set()


@contextlib.contextmanager
def only_writer(folder: str | Path, cure: str = ", or choose another --out") -> Iterator[None]:
    """Let nobody else write into an existing folder while the block runs, which may take hours.

    Args:
        folder: The folder. Within the block this process may take `folder_lock` of it.
        cure: What a second one may do other than to wait.

    Raises:
        UserError: If another process, or another thread of this one, is writing.
    """
    found = Path(folder).stat()
    key = found.st_dev, found.st_ino
    with folder_lock(folder, wait=False) as held:
        if held is None or key in _written:
            raise UserError(f"another duckdetect is writing {folder}: wait until it is done{cure}")
        _written.add(key)
        try:
            yield
        finally:
            _written.discard(key)


@contextlib.contextmanager
def folder_lock(folder: str | Path, wait: bool = True) -> Iterator[bool | None]:
    """Hold the only lock on an existing folder while the block runs.

    Args:
        folder: The folder.
        wait: Wait for another holder to finish, and say so if it takes long; else go on without the
            lock.

    Yields:
        Whether the lock is held: False where the file system has no locks, and None, if not `wait`,
        where another holds it.
    """
    descriptor = None
    held: bool | None = False
    if fcntl is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            found = os.fstat(descriptor)
            try:
                if (found.st_dev, found.st_ino) not in _written:
                    _lock(descriptor, folder, wait)
                held = True
            except BlockingIOError:
                held = None
    try:
        yield held
    finally:
        if descriptor is not None:
            os.close(descriptor)  # which unlocks


def _lock(descriptor: int, folder: str | Path, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise
        with waiting(f"waiting for another duckdetect, which is writing {printable(folder)}"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def stamp(path: str | Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written: (inode, size, time in ns); None if missing."""
    try:
        found = os.stat(path)  # noqa: PTH116  (a plain call: this runs on every change of a box)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
