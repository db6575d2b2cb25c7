"""The verbs about labelled images: check, convert, split, roboflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

import duckdetect as dd
from duckdetect.cli.labels import reads_labels
from duckdetect.cli.say import say
from duckdetect.errors import UserError
from duckdetect.utils.outputs import check_outputs

Data = Annotated[
    Path,
    typer.Argument(help="Labelled pictures (COCO, VOC or YOLO): a folder, a zip or a split file."),
]

Out = Annotated[Path, typer.Option(help="The folder to write.")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the data set in --out.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for verb in (check, convert, split):
        app.command()(reads_labels(verb))
    app.command()(roboflow)


def check(
    data: Data,
    sheet: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads it at run time)
        typer.Option(help="Draw pictures with their boxes on one sheet, this JPEG file."),
    ] = None,
    pictures: Annotated[int, typer.Option(help="How many at most are on the sheet.")] = 24,
) -> None:
    """List all that is wrong with labelled pictures, at once, and what they hold."""
    if sheet is not None:
        check_outputs([sheet], "check", [data])
    problems = dd.data.check_dataset(data)
    for problem in problems:
        say(problem)
    if sheet is not None:
        dd.data.label_sheet(data, sheet, pictures, problems=problems)
        say(f"look at {sheet}")
    from duckdetect.data.check import describe_parts

    for line in describe_parts(data):
        say(line)
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        raise UserError(f"{data}: {len(errors)} error(s), listed above: mend them before training")


def convert(
    data: Data,
    to: Annotated[str, typer.Option(help="coco, voc or yolo.")],
    out: Out,
    overwrite: Overwrite = False,
) -> None:
    """Write labelled pictures in another format; says what that cannot hold."""
    say(dd.data.convert_dataset(data, to, out, overwrite).text())


def split(
    data: Data,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder to write: COCO, with copies of the pictures."),
    ] = None,
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A split file (.json) to write instead, without copies."),
    ] = None,
    train: Annotated[float, typer.Option(help="The share of pictures to learn from.")] = 0.7,
    valid: Annotated[float, typer.Option(help="The share to watch training with.")] = 0.15,
    test: Annotated[float, typer.Option(help="The share to measure with.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Of what is left to chance.")] = 0,
    clips: Annotated[
        bool, typer.Option(help="Keep frames of one clip together, by their file names.")
    ] = True,
    overwrite: Overwrite = False,
) -> None:
    """Divide labelled pictures by class, those that show the same kept together."""
    done = dd.data.split_dataset(
        data, out, train, valid, test, seed, file, clips, overwrite, progress=True
    )
    say(done.text())


def roboflow(
    project: Annotated[str, typer.Argument(metavar="WORKSPACE/PROJECT/VERSION")],
    out: Out,
    api_key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of Roboflow's settings; ROBOFLOW_API_KEY by default."),
    ] = None,
    export: Annotated[str, typer.Option(help="Or coco-segmentation, for outlines.")] = "coco",
    overwrite: Overwrite = False,
) -> None:
    """Download a version of a Roboflow project, by its own client."""
    folder = dd.data.download_roboflow(project, out, api_key, export, overwrite)
    say(f"{project} is in {folder}; next: duckdetect check {folder}")
