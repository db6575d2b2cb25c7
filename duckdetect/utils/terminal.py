r"""Names from strangers, made safe to print: control characters and bidirectional marks as escapes.

    print(printable(path))        # "a\x1b[2Jb.jpg", not a cleared screen

A file name, a class name or a line of a label file may hold terminal control sequences (ECMA-48) or
bidirectional overrides (Unicode TR 36, "Trojan Source", Boucher and Anderson 2021). Every message that
leaves the package, an error, a warning, a log line, goes through `printable`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
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


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """No stderr: TensorFlow and LiteRT write notes there from C++, whatever log level is set."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
