"""The verbs about a trained detector: eval, threshold, detect, report, suggest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

import duckdetect as dd
from duckdetect.cli.labels import reads_labels
from duckdetect.cli.options import (
    Data,
    Device,
    Json,
    Out,
    Overwrite,
    RunFolder,
    Split,
    add_verb,
    print_json,
    results_folder,
    unused,
)
from duckdetect.cli.say import say, say_notes
from duckdetect.utils.files import write_json
from duckdetect.utils.outputs import check_apart, check_outputs, own_output
from duckdetect.utils.words import plural

RunOrFile = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run's folder, or a .tflite or .onnx file of `duckdetect export`."
    ),
]

PerClass = Annotated[
    Optional[bool],  # noqa: UP045  (typer reads it at run time)
    typer.Option(
        "--per-class/--across-classes",
        help="Whether one object may get boxes of several classes; by default as the detector is set: "
        "one, and what else it may be at 0.3 of its score; several from a detector of version 0.1.0.",
        show_default=False,
    ),
]

Threshold = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--threshold",
        "-t",
        help="Keep detections with at least this score, 0 to 1; by default the detector's own.",
    ),
]

Fast = Annotated[
    bool,
    typer.Option(
        "--fast",
        help="Detect at one scale only, four times as fast: more small objects are missed.",
    ),
]

NoMasks = Annotated[
    bool, typer.Option("--no-masks", help="Make no masks, boxes alone: the faster for it.")
]

Iou = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        help="Of two detections that overlap by more than this (intersection over union, 0 to 1) the "
        "lower-scored gives way; by default 0.6."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    add_verb(app, reads_labels(evaluate), "duckdetect eval results/mug labelled-images", "eval")
    add_verb(app, threshold, "duckdetect threshold results/mug 0.52")
    add_verb(app, detect, "duckdetect detect results/mug new-images -o results/mug/new")
    add_verb(app, reads_labels(report), "duckdetect report results/mug")
    add_verb(app, suggest, "duckdetect suggest results/mug new-images -o prelabels --rank 5")


def evaluate(
    run: RunFolder,
    data: Data,
    split: Split = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads it at run time)
        typer.Option(
            "--out",
            "-o",
            help="Write the metrics there as well; RUN/metrics.json always holds them.",
        ),
    ] = None,
    per_class: PerClass = None,
    iou: Iou = None,
    device: Device = None,
    as_json: Json = False,
    progress: bool = True,
) -> None:
    """Measure a run's detector on labelled images with COCO's metrics."""
    if out is not None:
        from duckdetect.evaluation.evaluate import FOLDER

        check_apart(out, run / FOLDER)
        check_outputs([out], "eval", [data])
    measured = dd.evaluate(run, data, split, per_class=per_class, iou=iou, progress=progress)
    if out is not None:
        with own_output(out, "eval", [data]) as part:
            write_json(part, measured.to_json())
    if as_json:
        print_json(**measured.to_json())
    else:
        say_notes(measured.notes, data)
        say(measured.table())


def threshold(
    run: RunFolder,
    value: Annotated[
        Optional[float],  # noqa: UP045
        typer.Argument(
            metavar="THRESHOLD", help="A score from 0 to 1; without it nothing is changed."
        ),
    ] = None,
) -> None:
    """Show or change the score from which a run's detector keeps its detections."""
    from duckdetect.evaluation.evaluate import change_threshold
    from duckdetect.inference.detector import saved_threshold

    if value is None:
        say(f"{saved_threshold(run):g}")
    else:
        say(f"the threshold of {run} is {value:g}, it was {change_threshold(run, value):g}")


def detect(
    run: RunOrFile,
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Images, folders of images and patterns such as 'new/*.jpg'; or one video.",
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out",
            "-o",
            help="The folder to write; by default results/INPUT, with a number if that is there.",
        ),
    ] = None,
    threshold: Threshold = None,
    every: Annotated[
        int, typer.Option(help="Of a video: detect on every Nth frame; between, boxes stay.")
    ] = 1,
    start: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of a video: begin at this time, in seconds or hh:mm:ss; by default 0."),
    ] = None,
    end: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of a video: stop at this time; by default at its end."),
    ] = None,
    track: Annotated[
        bool,
        typer.Option("--track", help="In a video: number the objects, and keep them in sight."),
    ] = False,
    fast: Fast = False,
    per_class: PerClass = None,
    iou: Iou = None,
    no_masks: NoMasks = False,
    classes: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Keep this class alone; give it again for more. By default all."),
    ] = None,
    save_crops: Annotated[
        bool,
        typer.Option(
            "--save-crops", help="Of images: also write the contents of each box to crops/."
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Stop at an image that cannot be read and write nothing; by default it is left out, "
            "and the exit code is 1.",
        ),
    ] = False,
    device: Device = None,
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="Draw the boxes without names and scores.")
    ] = False,
    no_scores: Annotated[
        bool, typer.Option("--no-scores", help="Write the names without scores.")
    ] = False,
    line_width: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Width of the boxes' lines in pixels; by default it follows the picture and the box."
        ),
    ] = None,
    csv: Annotated[
        bool,
        typer.Option("--csv", help="Write tables, too: a row a detection, and a row an image."),
    ] = False,
    as_json: Json = False,
    progress: bool = True,
) -> None:
    """Detect on images or a video; write frames, GIF or MP4, and JSON."""
    if out is None:
        out = unused(results_folder(source[0]))
    done = dd.detect(
        run, source, out, threshold,
        every=every, start=start, end=end, track=track, fast=fast, per_class=per_class, iou=iou,
        masks=not no_masks, classes=classes, save_crops=save_crops, csv=csv, strict=strict,
        labels=not no_labels, scores=not no_scores, line_width=line_width,
        progress=progress,
    )  # fmt: skip
    if as_json:
        print_json(**asdict(done))
    else:
        say(done.text())
    if done.failed:
        raise typer.Exit(1)


def report(
    run: RunFolder,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Labelled images to measure on; by default those of the last time, else the test or "
            "valid split of the training data."
        ),
    ] = None,
    split: Split = None,
    progress: bool = True,
) -> None:
    """Write RUN/report.html and RUN/report.pdf: how good it is, where it fails, what threshold."""
    written = dd.write_report(run, data, split, progress=progress)
    say(f"look at {written.html} or {written.pdf}")
    if written.missing:
        say(written.missing)


def suggest(
    run: RunFolder,
    source: Annotated[
        list[Path], typer.Argument(metavar="IMAGES", help="Images, or one folder of images.")
    ],
    out: Out,
    to: Annotated[
        str,
        typer.Option(help="The format: coco, which keeps the scores, voc or yolo."),
    ] = "coco",
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--threshold",
            "-t",
            help="Suggest boxes with at least this score; by default the detector's own threshold.",
        ),
    ] = None,
    rank: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Write only so many images, those to label next: the detector is unsure of them, and "
            "they differ. By default all."
        ),
    ] = None,
    sheet: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Draw the images with their boxes, and why each was chosen, on this JPEG file."
        ),
    ] = None,
    overwrite: Overwrite = False,
    progress: bool = True,
) -> None:
    """Write images with the detector's boxes as labels, to be corrected in an annotation tool."""
    from duckdetect.annotation.suggestions import (
        check_rank,
        images_of,
        suggestion_sheet,
        trained_images,
        write_suggestions,
    )
    from duckdetect.annotation.suggestions import rank as choose
    from duckdetect.annotation.suggestions import suggest as find
    from duckdetect.data.contact_sheet import MOST_IMAGES
    from duckdetect.data.convert import check_out, writer_of

    # At once, not after detecting.
    if rank is not None:
        check_rank(rank)
    check_out(out, source, overwrite, "suggest", sheet)
    given = source[0] if len(source) == 1 else source
    writer_of(to, images_of(given)[1])
    found = find(run, given, threshold, progress=progress)
    labelled = [] if rank is None and sheet is None else trained_images(run)
    ranked = None if rank is None else choose(found, rank, labelled)
    lost = write_suggestions(found, out, to, ranked, overwrite)
    if sheet is not None:
        suggestion_sheet(found, ranked or choose(found, MOST_IMAGES, labelled), sheet)
    for one in ranked or ():
        say(f"{one.sample.path}: {one.reason}")
    for line in (*found.notes, *lost, *(f"not read: {reason}" for reason in found.failed)):
        say(line)
    n = found.labels(None if ranked is None else [one.sample for one in ranked])
    say(
        f"{plural(n.n_boxes, 'suggested box')} on {plural(len(n), 'picture')} in {out}: correct them, "
        "then train"
    )
    if sheet is not None and len(n) > MOST_IMAGES:
        say(f"{sheet} shows {MOST_IMAGES} of them")
    if found.failed:
        raise typer.Exit(1)
