"""Times as people write them, and FFmpeg's errors as people can read them."""

from __future__ import annotations

import re
from fractions import Fraction

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
