"""The verbs that train: demo, train.

The flags of training's settings are not here: each field of `training/config.py` becomes one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

import duckdetect as dd
from duckdetect.cli.labels import reads_labels
from duckdetect.cli.options import Base, Data, Device, Out, Overwrite, add_verb, results_folder
from duckdetect.cli.say import say, say_notes
from duckdetect.utils.progress import waiting


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    add_verb(
        app,
        reads_labels(train),
        "duckdetect train images -o results/mug --steps 400",
        with_settings=True,
    )


def register_demo(app: typer.Typer) -> None:
    """Add the demo, which comes first."""
    add_verb(app, demo, "duckdetect demo")


def demo(
    base: Base = "ssd_mobilenet_v2",
    out: Out = Path("results/demo"),
) -> None:
    """Train on the five sample images, evaluate, and write frames, a GIF and a report."""
    from duckdetect.demo import run_demo

    say(run_demo(base, out).text())


def train(
    data: Data,
    settings: dict[str, Any],
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads it at run time)
        typer.Option(
            "--out",
            "-o",
            help="The run's folder, by default results/DATA. The same command again resumes a run that "
            "was interrupted, and does not repeat one that is finished.",
        ),
    ] = None,
    base: Annotated[
        Optional[str],  # noqa: UP045  (typer reads it at run time)
        typer.Option(
            "--base",
            "-b",
            help="The base model; `duckdetect bases` lists them.",
            show_default="that of --config, else ssd_mobilenet_v2",
        ),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Take the settings of a run's config.json, or of a file with its `train` part; "
            "options that are given here come first. By default those of --recipe."
        ),
    ] = None,
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="few-shot, or stock: as TensorFlow's few-shot notebook trains.",
            show_default="few-shot",
        ),
    ] = None,
    val: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Labelled images to validate training with; by default DATA's valid split, if any."
        ),
    ] = None,
    no_val: Annotated[
        bool,
        typer.Option("--no-val", help="Train without validation, also where DATA has a split."),
    ] = False,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="The base's weights, a file or folder; by default the cache, else the base's server."
        ),
    ] = None,
    correct: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Train on from the run that is given as DATA, on its pictures and on this: a file of "
            "corrections, or more labelled images. By default the new run lies beside the old, as RUN-2."
        ),
    ] = None,
    from_base: Annotated[
        bool,
        typer.Option(
            "--from-base",
            help="With --correct: train from the base on all the images, not on from the run: "
            "slower, and better or worse (docs/accuracy.md).",
        ),
    ] = False,
    add_to: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="RUN",
            help="Add DATA's new classes to this run's detector, which keeps those that it knows. By "
            "default the new run lies beside the old, as RUN-2.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    device: Device = None,
    progress: bool = True,
) -> None:
    """Train a base model to find the objects of labelled images.

    A finished run in the place of DATA is trained on from, for more steps or with --correct.
    """
    from duckdetect.data.dataset import noting
    from duckdetect.training.config import choose_settings

    is_run = (data / "config.json").is_file() and (data / "detector").is_dir()
    if correct is not None or add_to is not None or is_run:
        from duckdetect.data.corrections import is_corrections
        from duckdetect.inference.run_config import refuse_file

        refuse_file(data if add_to is None else add_to)
        from duckdetect.training.again import add_classes, train_again  # which takes seconds

        if add_to is not None and from_base:
            raise dd.UserError("--add-to keeps what its run knows: give it without --from-base")
        if base or config or recipe or no_val or (correct and add_to):
            raise dd.UserError(
                "a run is trained on with its own base and settings: give --correct, --add-to or "
                "neither, without --base, --config, --recipe and --no-val"
            )
        more: dict[str, Any] = {
            "val": _load(val) if val else None, "weights": weights,
            "overwrite": overwrite, "progress": progress,
        }  # fmt: skip
        if add_to is not None:
            again = add_classes(add_to, _load(data), out, settings, **more)
        else:
            said = correct if correct is None or is_corrections(correct) else _load(correct)
            again = train_again(data, said, out, settings, from_base=from_base, **more)
        say(f"{again.text()}\n{again.compared}")
        say(f"next: duckdetect detect {again.folder} IMAGES --out {again.folder}/new")
        return
    if from_base:
        raise dd.UserError(
            "--from-base says how a run is trained on from: give it with a run in place of DATA"
        )
    out = out or results_folder(data)
    base, chosen = choose_settings(base, config, recipe, settings)
    notes: list[dd.data.Problem] = []
    train_data, valid_data = dd.data.load_training(data, val, not no_val, noting(notes))
    parts = [part for part in (train_data, valid_data) if part is not None]
    notes += dd.data.left_over(parts, unlabelled=False)
    say_notes(notes, data)
    with waiting("loading TensorFlow", progress):
        dd.train  # noqa: B018  (which imports it)
    run = dd.train(
        train_data, base, out, chosen,
        val=valid_data, weights=weights, overwrite=overwrite, progress=progress,
    )  # fmt: skip
    say(run.text())
    say(f"next: duckdetect detect {out} IMAGES --out {out / 'new'}")


def _load(path: Path) -> dd.Dataset:
    """Labelled images; what their labels are warned of is said."""
    from duckdetect.data.dataset import noting
    from duckdetect.data.loading import read_dataset

    notes: list[dd.data.Problem] = []
    loaded = read_dataset(path, None, noting(notes))
    say_notes([*notes, *dd.data.left_over([loaded], unlabelled=False)], path)
    return loaded
