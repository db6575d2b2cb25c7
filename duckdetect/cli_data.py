"""The command line's verbs about labelled pictures; cli.py puts them among the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import duckdetect as dd

Data = Annotated[
    Path,
    typer.Argument(help="Labelled pictures (COCO, VOC or YOLO): a folder, a zip or a split file."),
]
Out = Annotated[Path, typer.Option(help="The folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the data set in --out.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for verb in (convert,):
        app.command()(verb)


def convert(
    data: Data,
    to: Annotated[str, typer.Option(help="coco, voc or yolo.")],
    out: Out,
    overwrite: Overwrite = False,
) -> None:
    """Write labelled pictures in another format; says what that cannot hold."""
    print(dd.convert_dataset(data, to, out, overwrite).text())
