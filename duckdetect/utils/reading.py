"""Reading files that may lie on a mounted Drive, where reading fails for a moment, or for good.

    content = read_bytes(path)       # UserError with the cure; what passes by itself is tried again

Colab mounts Google Drive as a file system that answers "Input/output error" (errno 5) when it is
busy, and "Transport endpoint is not connected" (107) once it has been lost. Neither says anything of
the file: nobody should be told to remove or export it again.
"""

from __future__ import annotations

import contextlib
import errno
import math
import numbers
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from duckdetect.errors import UserError

DRIVE_ERRORS = frozenset(
    {errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNABORTED, errno.EREMOTEIO}
)
"""What a mount says when it cannot be reached; each of them may pass."""
_LOST = frozenset({errno.ENOTCONN, errno.ESTALE, errno.ECONNABORTED})
_WAITS_S = (0.1, 0.4)

T = TypeVar("T")


def as_path(given: Any, what: str) -> Path:
    """A path that a caller gave; the empty one would be the folder that we are in.

    Raises:
        UserError: If it is empty, or something else, such as None.
    """
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise UserError(f"{what} is {given!r}: give the path of a file or a folder")
    path = Path(given)
    if not _can_be_called(path):
        raise UserError(
            f"{what} is {str(path)[:60]!r}..., which no file can be called: give its path"
        )
    return _without_detours(path) if ".." in path.parts else path


def _can_be_called(path: Path) -> bool:
    try:
        parts = [os.fsencode(part) for part in path.parts]
    except UnicodeEncodeError:  # half a letter of JSON
        return False
    return all(b"\0" not in part and len(part) <= MOST_NAME_BYTES for part in parts)


def _without_detours(path: Path) -> Path:
    """`a/../b` as `b`, unless `a` is a link: to write to the first would leave an empty folder `a`."""
    straight = Path()
    for part in path.parts:
        detour = part == ".." and straight.name not in ("", "..") and not straight.is_symlink()
        straight = straight.parent if detour else straight / part
    return straight


def as_number(given: Any, what: str) -> float:
    """A number that a caller gave, one of numpy's too.

    Raises:
        UserError: If it is something else, such as a text or True, or no float can hold it.
    """
    if isinstance(given, numbers.Real) and not isinstance(given, bool):
        with contextlib.suppress(OverflowError):
            return float(given)
    raise UserError(f"{what} is {_shown(given)}: give a number")


def as_whole(given: Any, what: str, least: int, most: float = math.inf, cure: str = "") -> int:
    """A whole number from `least` to `most` that a caller gave; otherwise as `as_number`."""
    is_whole = isinstance(given, numbers.Integral) and not isinstance(given, bool)
    if is_whole and least <= int(given) <= most:
        return int(given)
    cure = cure or f"give a whole number of at least {least}"
    raise UserError(f"{what} is {_shown(given)}: {cure}")


def _shown(given: Any) -> str:
    text = "a huge number" if isinstance(given, int) and abs(given) > 1e300 else repr(given)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


_MOST_SHOWN = 60
MOST_NAME_BYTES = 255
"""Of a file's name, on all usual file systems."""


# The files that are read within `noting_files`; None outside.
_NOTED: ContextVar[set[Path] | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def noting_files() -> Iterator[set[Path]]:
    """Yield the files that `read_bytes` reads while the block runs."""
    noted: set[Path] = set()
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def read_bytes(path: str | Path) -> bytes:
    """A file's content.

    Raises:
        UserError: If it is missing, may not be read, is a pointer of Git LFS, or its mount does not
            answer.
    """
    path = Path(path)
    if (noted := _NOTED.get()) is not None:
        noted.add(path)
    content = retried(path, path.read_bytes)
    if content.startswith(LFS_HEAD):  # whose lines would be taken for names of classes
        raise UserError(f"{path} is a Git LFS pointer: fetch the file itself with `git lfs pull`")
    return content


LFS_HEAD = b"version https://git-lfs"
"""How a file begins that Git LFS has not fetched yet."""


def read_head(path: str | Path, n_bytes: int) -> bytes:
    """A file's first bytes; errors as `read_bytes`."""
    path = Path(path)

    def head() -> bytes:
        with path.open("rb") as file:
            return file.read(n_bytes)

    return retried(path, head)


def decoded(content: bytes) -> str:
    """The text of a file from people: UTF-16 or UTF-8, by its mark or not, else Windows-1252 (Excel)."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A head of a file may be cut within a letter.
        if error.start >= len(content) - 3 and error.reason == "unexpected end of data":
            return content.decode("utf-8-sig", errors="ignore")
        # Line by line: of tables that were put together each may have its own.
        return b"".join(map(_as_utf8, content.splitlines(keepends=True))).decode("utf-8")


def _as_utf8(line: bytes) -> bytes:
    try:
        return line.decode("utf-8-sig").encode()
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace").encode()


def refuse_pipes(path: str | Path) -> None:
    """Raise UserError for a pipe, a socket or a device: to read from one may wait or go on for ever."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return  # reading it says why
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UserError(f"{path} is a pipe or a device, not a file: remove it, or give a file")


def retried(path: Path, read: Callable[[], T]) -> T:
    """The result of `read`, tried again where a mount may come back; `path` is for the message.

    Raises:
        UserError: If it raises an OSError; other exceptions are passed on.
    """
    refuse_pipes(path)
    for wait_s in (*_WAITS_S, None):
        try:
            return read()
        except OSError as error:
            if not is_drive_error(error) or wait_s is None:
                raise reading_error(path, error) from error
            time.sleep(wait_s)
    raise AssertionError("the loop above returns or raises")


def is_drive_error(error: BaseException | None) -> bool:
    """Whether an error says that a mount cannot be reached, and nothing of the file itself."""
    return isinstance(error, OSError) and error.errno in DRIVE_ERRORS


def reading_error(path: str | Path, error: OSError) -> UserError:
    """What to tell of a file that could not be read."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _LOST:
        return UserError(
            f"{path} could not be read ({reason}): Google Drive or another mount is gone, mount it "
            "again and give the same command again"
        )
    if is_drive_error(error):
        return UserError(
            f"{path} could not be read ({reason}): Google Drive may be busy, give the same command "
            "again in a minute; the file itself need not be changed"
        )
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path} is not there: check its name")
    if isinstance(error, IsADirectoryError):
        return UserError(f"{path} is a folder: give a file")
    if isinstance(error, PermissionError):
        return UserError(f"{path} may not be read: change its permissions")
    return UserError(f"{path} could not be read ({reason}): copy it again or check the disk")
