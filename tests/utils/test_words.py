"""Counts in words."""

from pathlib import Path

import pytest

from duckdetect.utils.words import composed, counted, plural, some_names


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (0, "box", "0 boxes"),
        (1, "box", "1 box"),
        (2, "picture", "2 pictures"),
        (3, "class", "3 classes"),
    ],
)
def test_plural(count: int, noun: str, said: str) -> None:
    assert plural(count, noun) == said


def test_what_is_said_of_several_is_said_of_one() -> None:
    said = {
        "boxes are rounded": "1 box is rounded",
        "classes without a box are dropped": "1 class without a box is dropped",
        "pictures are renamed: two would have one name": "1 picture is renamed: two would have one name",
        "boxes move: it takes them from the outlines": "1 box moves: it takes it from the outlines",
        "masks are left out, their boxes kept": "1 mask is left out, its boxes kept",
    }
    assert [counted(1, many) for many in said] == list(said.values())
    assert counted(2, "boxes are rounded") == "2 boxes are rounded"


def test_of_many_names_some_are_said() -> None:
    assert some_names(["a", "b"]) == "a, b"
    assert (
        some_names([Path("x/a.jpg"), Path("b.jpg"), Path("c.jpg")], 2) == "a.jpg, b.jpg and 1 more"
    )
    assert some_names(["a/b"]) == "a/b"  # of a class, not of a file


def test_a_name_is_composed_and_a_very_long_one_stays() -> None:
    """Forty thousand accents on one letter took 17 s, a million would have taken hours."""
    assert composed("a\u0308hre") == "\u00e4hre"
    accents = "a" + "\u0301\u0327" * 500_000
    assert composed(accents) == accents
