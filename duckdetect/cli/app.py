"""The command line: each verb reads its arguments, calls one public function and prints.

Exit codes: 0 done, 2 the user's mistake (one line on stderr), 1 anything else.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer

import duckdetect as dd
from duckdetect.cli import cache, data, train
from duckdetect.cli.data import Data
from duckdetect.cli.labels import reads_labels
from duckdetect.cli.say import say
from duckdetect.errors import UserError, of_system
from duckdetect.inference import trust
from duckdetect.utils.files import write_json
from duckdetect.utils.outputs import check_outputs, own_output
from duckdetect.utils.reading import is_drive_error, reading_error

app = typer.Typer(
    help="Teach an object detector a new object from five pictures.",
    epilog="A detector that was not trained on this machine is a program of somebody else: every command "
    "that loads one wants --trust, once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RunFolder = Annotated[Path, typer.Argument(help="A training run's folder.")]

BaseName = Annotated[str, typer.Option(help="The base model; `duckdetect bases` lists them.")]

Weights = Annotated[
    Optional[Path],  # noqa: UP045  (typer reads it at run time)
    typer.Option(help="The base's weights as a file or folder, instead of the cache or the zoo."),
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace another run in --out.")]


@app.command()
def demo(
    base: BaseName = "ssd_mobilenet_v2",
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("results/demo"),
) -> None:
    """Train on the five sample pictures, evaluate, and write frames and a GIF."""
    from duckdetect.demo import run_demo

    say(run_demo(base, out).text())


@app.command()
def bases() -> None:
    """List the base models: where each comes from, and whether it is here."""
    for status in dd.models.list_bases():
        say(status)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="The base model; `duckdetect bases` lists them.")],
    source: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--from", help="An archive, an unpacked folder or a frozen graph to take."),
    ] = None,
) -> None:
    """Bring a base model's weights into the cache."""
    files = dd.models.fetch(name, source=source)
    say(f"{name} is in {files.folder} (from {files.origin})")


@app.command()
def detect(
    run: RunFolder,
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A picture, a folder or a video.")
    ],
    out: Annotated[Path, typer.Option(help="Where to write.")],
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Keep detections with at least this score; the run's own by default."),
    ] = None,
    every: Annotated[
        int, typer.Option(help="Of a video: look at every Nth frame; between, boxes stay.")
    ] = 1,
    start: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Of a video: begin at this time, in seconds or hh:mm:ss."),
    ] = None,
    end: Annotated[Optional[str], typer.Option(help="Of a video: end there.")] = None,  # noqa: UP045
    track: Annotated[
        bool,
        typer.Option("--track", help="In a video: number the objects, and keep them in sight."),
    ] = False,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Look once at each picture: small objects are missed more."),
    ] = False,
) -> None:
    """Detect on pictures or a video; write frames, GIF or MP4, and JSON."""
    done = dd.detect(
        dd.load_detector(run), source, out, threshold,
        every=every, start=start, end=end, track=track, fast=fast,
    )  # fmt: skip
    for note in done.notes:
        say(note)
    say(
        f"{done.n_detections} detections of score {done.threshold:.2f} or more "
        f"in {done.n_found} of {done.n_images} pictures: see {done.animation}"
    )


Split = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Which split; by default DATA itself, else its test, valid or train split."),
]


@app.command("eval")
@reads_labels
def evaluate(
    run: RunFolder,
    data: Data,
    split: Split = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write the figures there, too; RUN/metrics.json always holds them."),
    ] = None,
) -> None:
    """Measure a run's detector on labelled pictures with COCO's figures."""
    if out is not None:
        check_outputs([out], "eval", [data])
    measured = dd.evaluate(run, data, split, progress=True)
    if out is not None:
        with own_output(out, "eval", [data]) as part:
            write_json(part, measured.metrics.to_json())
    say(measured.metrics.table())


@app.command()
@reads_labels
def report(
    run: RunFolder,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Labelled pictures to measure on; by default those of the last time."),
    ] = None,
    split: Split = None,
) -> None:
    """Write RUN/report.html and RUN/report.pdf: how good it is, where it fails, what threshold."""
    written = dd.write_report(run, data, split, progress=True)
    say(f"look at {written.html} or {written.pdf}")
    if written.missing:
        say(written.missing)


data.register(app)

train.register(app)

cache.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (the process's own if None) and return its exit code."""
    # TensorFlow is a million objects that stay. By default Python looks through all of them time and
    # again while they are made, and once more at the end: a third of the start-up, and a second.
    gc.set_threshold(100_000, 20, 10)
    atexit.register(gc.freeze)
    given = list(sys.argv[1:] if argv is None else argv)
    # Of every verb that loads a detector; here, so that no verb can forget it.
    trusted = "--trust" in given
    try:
        with trust.required(unless=trusted):
            code = app(args=[a for a in given if a != "--trust"], standalone_mode=False)
    except UserError as error:
        say(f"duckdetect: {error}", error=True)
        return 2
    except OSError as error:
        told = of_system(error)
        if is_drive_error(error):
            told = reading_error(error.filename or "a file", error)
        if told is None:
            raise
        say(f"duckdetect: {told}", error=True)
        return 2
    except Exception as error:
        known = of_system(error)
        if known is not None:
            say(f"duckdetect: {known}", error=True)
            return 2
        # Click's own errors, an unknown option or a missing argument, know how to show themselves.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return 2
    if code:  # what typer makes of Ctrl-C
        say(
            "duckdetect: interrupted; training goes on from there when the command is given again",
            error=True,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
