"""The verbs about labelled images: check, convert, split, roboflow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

import duckdetect as dd
from duckdetect.cli.labels import reads_labels
from duckdetect.cli.options import Data, Json, Out, Overwrite, add_verb, print_json
from duckdetect.cli.say import say
from duckdetect.errors import UserError


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    add_verb(app, reads_labels(check), "duckdetect check images --sheet sheet.jpg")
    add_verb(app, reads_labels(convert), "duckdetect convert images --to yolo -o images-yolo")
    add_verb(app, reads_labels(split), "duckdetect split images --file split.json")
    add_verb(app, reads_labels(outline), "duckdetect outline images -o outlined --sheet sheet.jpg")
    add_verb(app, roboflow, "duckdetect roboflow my-space/my-mugs/3 -o mugs")


def check(
    data: Data,
    sheet: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads it at run time)
        typer.Option(
            help="Draw images with their boxes on one sheet, this JPEG file; by default none."
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option("--images", "--pictures", help="At most this many images on the sheet.")
    ] = 24,
    as_json: Json = False,
) -> None:
    """List everything that is wrong with labelled images, at once, and what they hold."""
    from duckdetect.data.check import describe_parts
    from duckdetect.data.contact_sheet import check_sheet
    from duckdetect.imaging.fonts import missing_letters

    if sheet is not None:
        check_sheet(sheet, "check", [data])
    problems = dd.data.check_dataset(data)
    holds = describe_parts(data)
    if not as_json:  # first: of very broken labels there is no sheet
        for line in (*(problems or ["No problems found."]), *holds):
            say(line)
    if sheet is not None:
        dd.data.label_sheet(data, sheet, pictures, problems=problems)
    if as_json:
        print_json(data=str(data), problems=[asdict(p) for p in problems], holds=holds)
    elif sheet is not None:
        if letters := missing_letters(holds):
            say(letters)
        say(f"look at {sheet}")
    errors = sum(problem.severity == "error" for problem in problems)
    if errors:
        raise UserError(f"{data}: {errors} error(s), listed above: fix them before training")


def convert(
    data: Data,
    to: Annotated[str, typer.Option(help="The format to write: coco, voc or yolo.")],
    out: Out,
    overwrite: Overwrite = False,
) -> None:
    """Write labelled images in another format; says what that cannot hold."""
    say(dd.data.convert_dataset(data, to, out, overwrite).text())


def split(
    data: Data,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out", "-o", help="A folder to write: COCO, with copies of the images; or use --file."
        ),
    ] = None,
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A split file (.json) to write instead, without copies."),
    ] = None,
    train: Annotated[float, typer.Option(help="The share of images to train on.")] = 0.7,
    valid: Annotated[float, typer.Option(help="The share to validate training with.")] = 0.15,
    test: Annotated[float, typer.Option(help="The share to measure with.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Seed of what is left to chance.")] = 0,
    clips: Annotated[
        bool, typer.Option(help="Keep frames of one clip together, by their file names.")
    ] = True,
    overwrite: Overwrite = False,
    progress: bool = True,
) -> None:
    """Divide labelled images by class; images that show the same stay together."""
    done = dd.data.split_dataset(
        data, out, train, valid, test, seed, file, clips, overwrite, progress=progress
    )
    say(done.text())


def outline(
    data: Data,
    out: Out,
    sheet: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Draw the outlines on this JPEG file, to look at; by default none."),
    ] = None,
    leave_out: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="The name of a picture whose outlines are wrong; repeatable."),
    ] = None,
    overwrite: Overwrite = False,
    progress: bool = True,
) -> None:
    """Make outlines from boxes, for masks; of what stands out from what is behind it."""
    say(dd.data.outline_dataset(data, out, sheet, leave_out or (), overwrite, progress).text())
    if sheet is not None:
        say(f"look at {sheet}; of wrong outlines: --leave-out NAME --overwrite")


def roboflow(
    project: Annotated[
        str,
        typer.Argument(metavar="WORKSPACE/PROJECT/VERSION", help="As in the project's address."),
    ],
    out: Out,
    api_key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The key from Roboflow's settings; by default $ROBOFLOW_API_KEY."),
    ] = None,
    export: Annotated[
        str, typer.Option(help="The format: coco, or coco-segmentation for outlines.")
    ] = "coco",
    overwrite: Overwrite = False,
) -> None:
    """Download a version of a Roboflow project, with Roboflow's own client."""
    folder = dd.data.download_roboflow(project, out, api_key, export, overwrite)
    say(f"{project} is in {folder}; next: duckdetect check {folder}")
