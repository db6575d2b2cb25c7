"""The verb `cache`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from duckdetect.cli.options import add_verb
from duckdetect.cli.say import say
from duckdetect.utils.cache import clear_cache, list_cache
from duckdetect.utils.files import cache_folder


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    add_verb(app, cache, "duckdetect cache --clear downloads")


def cache(
    clear: Annotated[
        Optional[str],  # noqa: UP045  (typer reads it at run time)
        typer.Option(
            metavar="KIND",
            help="Remove data (unpacked zips), weights, downloads (unfinished ones), npm (the web "
            "page's runtime) or all.",
        ),
    ] = None,
) -> None:
    """Show what is in the cache, or clear it."""
    if clear is None:
        entries = list_cache()
        for entry in entries:
            say(entry)
        say(f"{sum(e.size_bytes for e in entries) / 1e6:.1f} MB in {cache_folder()}")
    else:
        removed = clear_cache(clear)
        say(f"removed {sum(e.size_bytes for e in removed) / 1e6:.1f} MB from {cache_folder()}")
