"""The verb `train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

import duckdetect as dd
from duckdetect.cli.data import Data
from duckdetect.cli.labels import reads_labels
from duckdetect.cli.say import say
from duckdetect.errors import UserError

RECIPES: dict[str, Callable[..., dd.TrainConfig]] = {
    "few-shot": lambda **settings: dd.TrainConfig(**settings),
    "stock": lambda **settings: dd.TrainConfig.stock(**settings),
}

_Number = Optional[int]  # noqa: UP045  (typer reads it at run time)


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(reads_labels(train))


def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    base: Annotated[
        str, typer.Option(help="The base model; `duckdetect bases` lists them.")
    ] = "retinanet50",
    val: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Labelled pictures to watch training with; DATA's valid split if any."),
    ] = None,
    no_val: Annotated[bool, typer.Option("--no-val", help="Leave DATA's valid split out.")] = False,
    recipe: Annotated[
        str, typer.Option(help="few-shot; or stock, as TensorFlow's few-shot notebook trains.")
    ] = "few-shot",
    steps: Annotated[_Number, typer.Option(help="Training steps.")] = None,
    batch_size: Annotated[_Number, typer.Option(help="Views a step.")] = None,
    learning_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Of gradient descent, at its start."),
    ] = None,
    warmup: Annotated[_Number, typer.Option(help="Steps in which the rate rises to it.")] = None,
    views: Annotated[
        _Number,
        typer.Option(
            "--views",
            "--looks",
            help="Augmented views of the pictures to train on, besides them; 100, with large bases 40.",
        ),
    ] = None,
    val_every: Annotated[_Number, typer.Option(help="Steps between two validation rounds.")] = None,
    patience: Annotated[
        _Number,
        typer.Option(help="Stop after so many validation rounds without a better one; 0: never."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of views, weights and batches.")] = 0,
    train_part: Annotated[
        str,
        typer.Option(
            "--train",
            help="How deep: heads; of SSDs also towers, top, deep or all of the backbone; of Faster "
            "and Mask R-CNN also second-stage, the features of proposals, or all. auto: what suits "
            "the base and the pictures.",
        ),
    ] = "auto",
    input_size: Annotated[
        _Number, typer.Option(help="R-CNN: the longer side in pixels of what it is given.")
    ] = None,
    proposals: Annotated[
        _Number, typer.Option(help="R-CNN: boxes that its first stage hands on.")
    ] = None,
    proposal_batch: Annotated[
        _Number, typer.Option(help="R-CNN: of these, how many of a picture are trained on.")
    ] = None,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The base's weights, a file or folder, instead of the cache or the zoo."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another run.")] = False,
) -> None:
    """Teach a base model the objects of labelled pictures."""
    if recipe not in RECIPES:
        raise UserError(f"there is no recipe {recipe!r}: give one of {', '.join(RECIPES)}")
    given: dict[str, Any] = {
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "views": views,
        "val_every": val_every,
        "patience": patience,
        "input_size": input_size,
        "proposals": proposals,
        "proposal_batch": proposal_batch,
    }
    if train_part != "auto":
        given["train"] = train_part
    config = RECIPES[recipe](seed=seed, **{k: v for k, v in given.items() if v is not None})
    learn, validator = dd.data.load_training(data, val, use_valid=not no_val)
    run = dd.finetune(base, learn, config, out, val=validator, weights=weights, overwrite=overwrite)
    say(_told(run, validator))
    say(f"next: duckdetect detect {out} PICTURES --out {out / 'new'}")


def _told(run: dd.TrainRun, validator: dd.Dataset | None) -> str:
    if run.resumed == run.config.steps:
        return f"{run.folder} was trained already, with these settings on these pictures"
    again = f" (resumed at step {run.resumed})" if run.resumed else ""
    first, last = run.history[0]["loss"], run.history[-1]["loss"]
    told = f"trained {len(run.history)} steps{again}: loss {first:.3f} -> {last:.3f}"
    if validator is None or not run.validation:
        return told
    best = next(row for row in run.validation if row["step"] == run.best)
    early = " and stopped early" if len(run.history) < run.config.steps else ""
    return (
        f"{told}{early}\nbest on {validator.root} at step {run.best}: "
        f"AP50 {best['AP50']:.3f}, AP {best['AP']:.3f}; kept, with {run.folder}/curves.png"
    )
