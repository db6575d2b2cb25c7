"""The one exception for mistakes that a user can fix, and what the system's own errors mean to one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from duckdetect.utils.terminal import printable


class UserError(ValueError):
    """Bad input or a bad setting; its text is one line: what is wrong, where, and the cure.

    The command line prints it to stderr and ends with exit code 2; everything else that goes wrong
    is a fault of ours and keeps its traceback. Names in the text may come from strangers: what a terminal
    would obey is written as escapes.
    """

    def __init__(self, text: object) -> None:
        super().__init__(printable(text))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback."""
        return [f"UserError: {_with_fields(str(self))}"]


# Options and commands of the command line by what a notebook has for the same; empty elsewhere.
_FIELDS: dict[str, str] = {}


def name_fields(*fields: str) -> None:
    """Let errors that a notebook shows speak of its fields: BATCH_SIZE in place of --batch-size."""
    _FIELDS.update({f"--{field.lower().replace('_', '-')}": field for field in fields})
    _FIELDS["duckdetect bases"] = "dd.models.list_bases()"


def _with_fields(text: str) -> str:
    option = r"(?<![\w-])--[a-z]+(?:-[a-z]+)*|duckdetect [a-z]+"
    return re.sub(option, lambda at: _FIELDS.get(at[0], at[0]), text)


class DataWarning(UserWarning):
    """What is suspicious in a data set, or was left out of it; the text is one line, as an error's."""


class PlaceError(UserError):
    """A folder to write to cannot be used, such as the cache: what would be put there is not at fault."""


class QualityError(Exception):
    """A result that is not good enough to be used unseen; the message says what, and what to do."""


_SYSTEM = {
    errno.ENOSPC: "no space is left: make room, or choose another place",
    errno.EDQUOT: "your quota there is used up: make room, or choose another place",
    errno.EFBIG: "the file would be too large for that place: choose another place",
    errno.EROFS: "it is on a read-only file system: choose another place",
    errno.EACCES: "permission denied: change its permissions, or choose another place",
    errno.EPERM: "permission denied: change its permissions, or choose another place",
    errno.EMFILE: "too many files are open: raise `ulimit -n`, or close other programs",
    errno.ENFILE: "too many files are open on this machine: close other programs",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ENOENT: "it is gone, as somebody moved or removed it meanwhile: give the command again",
    errno.ENOMEM: "memory is used up: close other programs, or take smaller or fewer images",
}


@contextlib.contextmanager
def saving(path: object) -> Iterator[None]:
    """What the system refuses while `path` is written, as a UserError: in a callback nobody sees more."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise of_system(error) or UserError(f"{path} cannot be written ({reason})") from error


def reason_of(error: BaseException, most: int = 200) -> str:
    """The first line of what an error says, or its kind; so many letters at most."""
    return (str(error).splitlines() or [type(error).__name__])[0][:most]


def of_system(error: BaseException) -> UserError | None:
    """What an error of the operating system or of memory means to a user; None for any other error."""
    if type(error).__module__.startswith("tensorflow."):  # whose own kinds say it in words
        number = next((n for n in _SYSTEM if os.strerror(n) in str(error)), None)
        if number is not None:
            # "{{function_node ...}} the file; what the system says [Op:...]"
            place, _, rest = re.sub(r"^\{\{.*?\}\} ?", "", str(error)).partition("; ")
            return UserError(
                f"{place if rest else 'a file, or what is printed'}: {_SYSTEM[number]}"
            )
    # oneDNN, which is out of memory, ends an operation as "aborted"; nothing else does on one machine.
    exhausted = type(error).__name__ in ("ResourceExhaustedError", "AbortedError")
    unmapped = isinstance(error, ImportError) and "failed to map segment" in str(error)
    if isinstance(error, MemoryError) or exhausted or unmapped:
        return UserError(
            "memory is used up: close other programs, take smaller or fewer images, or, to train, lower "
            "--batch-size"
        )
    if not isinstance(error, OSError) or error.errno not in _SYSTEM:
        return None
    return UserError(f"{error.filename or 'a file, or what is printed'}: {_SYSTEM[error.errno]}")
