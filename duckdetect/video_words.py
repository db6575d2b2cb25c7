"""Times and ratios as people and PyAV write them, and FFmpeg's errors as people can read them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from duckdetect.errors import UserError


def parse_time(text: float | str) -> Fraction:
    """Read a time as seconds: 90, "90", "90.5", "1:30", "01:02:03.25".

    Raises:
        UserError: If it is none of these, or negative.
    """
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", str(text).strip())
    if match is None:
        raise UserError(f"{text!r} is no time: give seconds (90.5) or hh:mm:ss (0:01:30.5)")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + Fraction(seconds)


def reason(error: Exception) -> str:
    """What FFmpeg says of an error, in one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())


def ratio(value: Any) -> Fraction | None:
    """A ratio of PyAV's: a Fraction or None up to version 18, from 19 on an AVRational, 0 for None."""
    return Fraction(value.numerator, value.denominator) if value else None


def seconds_of(ticks: int | None, time_base: Any) -> Fraction | None:
    """A time in units of `time_base`, as seconds; None if either is not known."""
    base = ratio(time_base)
    return None if ticks is None or base is None else ticks * base
