"""The command line; `duckdetect.cli:main` is its entry point."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """`app.main`, whose imports take a second in which Ctrl-C is an interruption as well."""
    try:
        from duckdetect.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("duckdetect: interrupted\n")
        return 1
    return run(argv)
