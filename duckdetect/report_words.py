"""Figures and names as a report writes them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plural(count: int, noun: str) -> str:
    """A count with its noun: 1 box, 2 boxes."""
    ending = "" if count == 1 else "es" if noun.endswith(("x", "s", "ch")) else "s"
    return f"{count} {noun}{ending}"


def place(path: object) -> str:
    """A path as it is called from here: without the current folder, if it is below that."""
    try:
        return str(Path(str(path)).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def quote(path: object) -> str:
    """A path or name as a shell takes it."""
    return shlex.quote(place(path))


def digest(record: Mapping[str, Any]) -> str:
    """The beginning of a check sum, enough to tell two apart; the whole is in the run's JSON."""
    return f"SHA-256 {str(record['sha256'])[:16]}…"


def show(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where it has no meaning."""
    return "-" if value is None else f"{value:.{digits}f}"


def show_range(interval: Sequence[float] | None) -> str:
    """An interval, or nothing where there is none."""
    return "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def show_percent(value: float | None) -> str:
    """A share in percent, or a dash."""
    return "-" if value is None else f"{value:.0%}"
