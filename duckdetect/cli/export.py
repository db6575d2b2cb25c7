"""The verb that takes a detector elsewhere: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from duckdetect.cli.options import Json, RunFolder, add_verb, print_json
from duckdetect.cli.say import say


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    add_verb(app, export, "duckdetect export results/mug -o mug.tflite")


def export(
    run: RunFolder,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="The file to write: .tflite, .onnx or .html; for saved-model a folder.",
        ),
    ],
    to: Annotated[
        Optional[str],  # noqa: UP045  (typer reads it at run time)
        typer.Option(help="tflite, onnx, web or saved-model; by default what --out ends in."),
    ] = None,
    weights: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="float32, float16 or int8; by default float16 for tflite and web, else float32."
        ),
    ] = None,
    scales: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="1 detects at one scale only, four times as fast: more small objects are missed; "
            "by default as trained."
        ),
    ] = None,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Labelled images to compare on; by default the run's own."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Write it even if it detects worse than the run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a run's detector for a phone, a browser, a small computer or a server.

    It detects on the run's own images beside the original first, and says how far it is off.
    """
    from duckdetect.export.exporting import ParityError, export_detector

    refused = None
    try:
        exported = export_detector(
            run, out, to, weights=weights, scales=scales, data=data, accept=accept
        )
    except ParityError as error:
        refused, exported = error, error.exported
    if as_json:
        print_json(**exported.parity.to_json())
    else:
        say("\n".join(["compared with the run's own detector:", exported.parity.table()]))
        for note in exported.notes:
            say(f"note: {note}")
    if refused is not None:
        raise refused
    for problem in exported.parity.problems():
        say(f"duckdetect: accepted although {problem}", error=True)
    if not as_json:
        say(f"{exported.path} is written; {exported.parity_path} keeps the comparison")
