"""The command line; `duckdetect.cli:main` is its entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """`app.main`, whose imports take a second in which Ctrl-C is an interruption as well."""
    if argv is None:
        _open_streams()
    try:
        from duckdetect.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("duckdetect: interrupted\n")
        return 1
    return run(argv)


def _open_streams() -> None:
    """Send to nowhere what goes to a stream that was closed before we began, as cron and daemons do.

    The number of a closed one would be that of the next file opened, into which TensorFlow then logs.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the first number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
