"""Names that a terminal would obey are printed as escapes; people's own writing stays as it is."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckdetect.utils.terminal import printable, silenced, unprinted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb.jpg", r"a\x1b[2Jb.jpg"),
        ("\x9b31m", r"\x9b31m"),
        ("duck\u202egpj.exe", r"duck\u202egpj.exe"),
        ("\u2066a\u2069\u200f\u061c", r"\u2066a\u2069\u200f\u061c"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\u2028\u2029\u200b\ufeff\x7f\x00", r"\u2028\u2029\u200b\ufeff\x7f\x00"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),  # a tag, invisible
    ],
)
def test_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Entenküken 0.87",
        "утка",
        "بط",
        "鴨",
        "नमस्\u200dते",
        "👨\u200d👩\u200d👧 ",
        "a\xa0b",
        "می\u200cخواهم",  # noqa: RUF001
    ],
)
def test_what_people_write(text: str) -> None:
    assert printable(text) == text


@given(st.text())
def test_the_result_is_plain_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in shown)
    assert printable(shown) == shown
    shown.encode("utf-8")
    assert printable(text, keep="\n").count("\n") == text.count("\n")


def test_threads_that_mute_a_stream_leave_it_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """Each kept the other's silence for what was there before, and nothing was printed any more."""
    inside = threading.Barrier(2)

    def mute(first: bool) -> None:
        with silenced(), unprinted():
            inside.wait(10)
            print("unheard")
            os.write(2, b"unheard")
            if first:
                inside.wait(10)  # ends after the other
        if not first:
            inside.wait(10)

    threads = [threading.Thread(target=mute, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("heard")
    os.write(2, b"heard")
    assert capfd.readouterr() == ("heard\n", "heard")
