"""Counts in words: "1 box", "2 boxes", "1 box is rounded"; and what a misspelt name may mean."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from duckdetect.errors import UserError


def plural(count: int, noun: str) -> str:
    """A count with its noun: 1 box, 2 boxes."""
    ending = "" if count == 1 else "es" if noun.endswith(("x", "s", "ch")) else "s"
    return f"{count} {noun}{ending}"


def some_names(names: Sequence[str | Path], at_most: int = 5) -> str:
    """The first names of a list that may be long, for a message: a, b, c and 4 more."""
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    named = (name.name if isinstance(name, Path) else name for name in names[:at_most])
    return ", ".join(named) + more


_ONE = {"are": "is", "have": "has", "move": "moves", "their": "its", "them": "it"}


def counted(count: int, what: str) -> str:
    """A count with what is said of several: "boxes are rounded" is "1 box is rounded" of one.

    The first word is the noun; of verbs and pronouns those in `_ONE` are known.
    """
    if count != 1:
        return f"{count} {what}"
    noun, _, rest = what.partition(" ")
    noun = re.sub(r"(?<=x|s)es$|(?<=[^s])s$", "", noun)
    rest = re.sub(r"(?<!would )\b[a-z]+", lambda word: _ONE.get(word[0], word[0]), rest)
    return f"1 {noun} {rest}"


def composed(name: str) -> str:
    """A name in Unicode's composed form, as Windows and Linux write it: Macs take accents apart.

    One of more than 1,000 letters stays as it is: the time grows with the square of a run of accents.
    """
    return unicodedata.normalize("NFC", name) if len(name) <= 1000 else name


def note_lines(notes: Sequence[object], data: object = "DATA", at_most: int = 20) -> list[str]:
    """The first notes of labels, a line each, and how to see the others."""
    more = len(notes) - at_most
    told = [f"note: {more} more, which `duckdetect check {data}` lists"] if more > 0 else []
    return [*(f"note: {note}" for note in notes[:at_most]), *told]


def refuse_text(what: str, given: object) -> None:
    """Raise UserError for what is no list of names; a text would be taken for a list of letters."""
    if isinstance(given, str):
        raise UserError(f"{what}={given!r} is one text: give a list, such as [{given!r}]")
    if not isinstance(given, Collection) or not all(isinstance(name, str) for name in given):
        raise UserError(f"{what}={given!r}: give a list of names")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names the likest of some names; "" if none is alike."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""
