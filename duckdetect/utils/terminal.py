r"""Names from strangers, made safe to print: control characters and bidirectional marks as escapes.

    print(printable(path))        # "a\x1b[2Jb.jpg", not a cleared screen

A file name, a class name or a line of a label file may hold terminal control sequences (ECMA-48) or
bidirectional overrides (Unicode TR 36, "Trojan Source", Boucher and Anderson 2021). Every message that
leaves the package, an error, a warning, a log line, goes through `printable`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

# Joiners inside emoji and in Persian or Indic words; invisible, but harmless and needed.
_JOINERS = {"\u200c", "\u200d"}
_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(value: object, keep: str = "") -> str:
    r"""The text of a value, with what a terminal would obey or hide written as Python escapes.

    Args:
        value: Anything; `str` makes its text.
        keep: Characters to leave as they are, such as "\n" for a text of several lines.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        sign
        if sign.isprintable() or sign in keep or not _is_dangerous(sign)
        else sign.encode("unicode_escape").decode("ascii")
        for sign in text
    )


def _is_dangerous(sign: str) -> bool:
    return sign not in _JOINERS and unicodedata.category(sign) in _ESCAPED


class _Muted:
    """A stream of the whole process that is muted while somebody wants it to be, in whichever threads."""

    def __init__(self, mute: Callable[[], Callable[[], None]]) -> None:
        self._mute = mute  # mutes it, and returns what undoes that
        self._lock = threading.Lock()
        self._count = 0
        self._undo: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._count:
                self._undo = self._mute()
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if not self._count:
                    self._undo()


def _mute_stderr() -> Callable[[], None]:
    if sys.stderr is not None:
        sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 2)

    def undo() -> None:
        os.dup2(kept, 2)
        os.close(kept)

    return undo


def _mute_stdout() -> Callable[[], None]:
    kept, sys.stdout = sys.stdout, io.StringIO()

    def undo() -> None:
        sys.stdout = kept

    return undo


silenced = _Muted(_mute_stderr)
"""No stderr: TensorFlow and LiteRT write notes there from C++, whatever log level is set."""
unprinted = _Muted(_mute_stdout)
"""No stdout: libraries print what they do."""
