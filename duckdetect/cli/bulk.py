"""The verb for very many pictures: bulk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Optional

import typer

from duckdetect.cli.detector import Fast, NoMasks, RunOrFile, Threshold
from duckdetect.cli.options import Json, Out, add_verb, print_json
from duckdetect.cli.say import say


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    add_verb(app, bulk, "duckdetect bulk results/mug s3://bucket/pictures -o found")


def bulk(
    run: RunOrFile,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, which is read with all below it; a text file with a path or an address a "
            "line; or s3://... or gs://...",
        ),
    ],
    out: Out,
    threshold: Threshold = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045  (typer reads it at run time)
        typer.Option(help="Processes that detect; by default one a core of this machine."),
    ] = None,
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="coco: also join all shards in detections.json. By default shards alone."
        ),
    ] = None,
    fast: Fast = False,
    no_masks: NoMasks = False,
    as_json: Json = False,
    progress: bool = True,
) -> None:
    """Detect on thousands to millions of pictures; write Parquet tables.

    Stopped at any moment and started again, it does what is missing. With RAY_ADDRESS set it joins that
    cluster. A picture that cannot be read is a row with its error.
    """
    from duckdetect.inference.bulk import bulk as run_bulk

    done = run_bulk(
        run, source, out, threshold,
        workers=workers, to=to, fast=fast, masks=not no_masks, progress=progress,
    )  # fmt: skip
    if as_json:
        print_json(**asdict(done))
    else:
        say(done.text())
