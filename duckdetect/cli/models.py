"""The verbs about base models: bases, fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

import duckdetect as dd
from duckdetect.cli.options import add_verb
from duckdetect.cli.say import say


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    add_verb(app, bases, "duckdetect bases")
    add_verb(app, fetch, "duckdetect fetch retinanet50 --from retinanet50.tar.gz")


def bases() -> None:
    """List the base models: where each comes from, and whether it is here."""
    for status in dd.models.list_bases():
        say(status)


def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The base model; `duckdetect bases` lists them.")
    ],
    source: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads it at run time)
        typer.Option(
            "--from",
            help="An archive, an unpacked folder or a frozen graph to take; by default its server.",
        ),
    ] = None,
    progress: bool = True,
) -> None:
    """Bring a base model's weights into the cache."""
    files = dd.models.fetch(name, source=source, progress=progress)
    say(f"{name} is in {files.folder} (from {files.origin})")
