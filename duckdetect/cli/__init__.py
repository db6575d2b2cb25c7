"""The command line; `duckdetect.cli:main` is its entry point."""

from duckdetect.cli.app import main

__all__ = ["main"]
