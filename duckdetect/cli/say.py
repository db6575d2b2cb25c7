"""Printing what a command has to say; names in it may come from strangers."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from duckdetect.utils.progress import end_bars
from duckdetect.utils.terminal import printable
from duckdetect.utils.words import note_lines


def say(text: object, error: bool = False) -> None:
    """Print a text of one line or several, with what a terminal would obey as escapes."""
    if error:
        end_bars()
    stream = sys.stderr if error else sys.stdout
    line = printable(text, keep="\n\t")
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # A terminal of few signs shows the others as escapes, too.
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream)


_MOST_NOTES = 5


def say_notes(notes: Sequence[object], data: object) -> None:
    """Print the first warnings of labels, and how to see the others."""
    for line in note_lines(notes, data, _MOST_NOTES):
        say(line)
