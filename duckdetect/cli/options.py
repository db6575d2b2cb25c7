"""What the verbs share: arguments and options that several have, and how a verb is added."""

from __future__ import annotations

import functools
import inspect
import json
import os
import traceback
from collections.abc import Callable
from dataclasses import Field
from pathlib import Path
from typing import Annotated, Any, Optional, get_type_hints

import typer

from duckdetect.errors import UserError
from duckdetect.training.config import default_text, flag, settings
from duckdetect.utils import progress
from duckdetect.utils.reading import as_path, refuse_pipes

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Labelled images (COCO, VOC, YOLO ...): a folder, a zip or a split file.",
    ),
]

RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, the --out of `duckdetect train`.")
]

Base = Annotated[
    str, typer.Option("--base", "-b", help="The base model; `duckdetect bases` lists them.")
]

Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what another call wrote to --out.")
]

_DEVICES = ("cpu", "gpu")


def _use_device(name: str | None) -> str | None:
    """Hide GPUs from TensorFlow, which is not yet imported, or ask for one."""
    if name == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    elif name == "gpu":
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            raise UserError("TensorFlow sees no GPU here: leave --device out, or give --device cpu")
    elif name is not None:
        raise UserError(f"--device is {name!r}: give {' or '.join(_DEVICES)}")
    return name


Device = Annotated[
    Optional[str],  # noqa: UP045  (typer reads it at run time)
    typer.Option(
        help="Compute on this: cpu or gpu; by default on a GPU where TensorFlow sees one.",
        callback=_use_device,
        is_eager=True,
    ),
]


def results_folder(source: Path) -> Path:
    """`results/NAME`, the default of --out, by what is read."""
    return Path("results") / (source.resolve().stem or "detections")


def unused(folder: Path) -> Path:
    """`folder`, or `folder-2` and so on: the first that is not there."""
    found, number = folder, 1
    while os.path.lexists(found):
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found


Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of text, and nothing else.")
]

Split = Annotated[
    Optional[str],  # noqa: UP045  (typer reads it at run time)
    typer.Option(
        help="Which split of DATA: train, valid or test. By default DATA itself where it has labels "
        "of its own, else its test, valid or train split."
    ),
]

_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr.")]

_VERBOSE = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show TensorFlow's messages, and where an error arose."),
]

_TRUST = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Load a detector that was not trained on this machine, though it is a program and may do "
        "anything. It is remembered.",
    ),
]


def add_verb(
    app: typer.Typer,
    verb: Callable[..., None],
    example: str,
    name: str | None = None,
    with_settings: bool = False,
) -> None:
    """Add a function to the command line, with --quiet and --verbose and an example in its help.

    Args:
        app: The command line.
        verb: The function; its docstring is the help. One with a parameter `progress` is told whether
            to show it.
        example: A command line.
        name: What it is called, if not as the function.
        with_settings: Whether it gets an option for each setting of TrainConfig; those that are given
            reach it as the dictionary `settings`.
    """
    hints = get_type_hints(verb, include_extras=True)
    own = inspect.signature(verb).parameters
    parameters = {
        key: p.replace(annotation=hints[key], kind=inspect.Parameter.KEYWORD_ONLY)
        for key, p in own.items()
        if key not in ("progress", "settings")
    }
    option_names = []
    if with_settings:
        for field_, kind in settings():
            for parameter in _options(field_, kind):
                parameters[parameter.name] = parameter
                option_names.append((parameter.name, field_.name))
    for key, annotation in (("quiet", _QUIET), ("verbose", _VERBOSE)):
        parameters[key] = inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
        )

    if own.keys() & {"run", "correct"}:  # for the help: `main` takes it out and acts on it
        parameters["trust"] = inspect.Parameter(
            "trust", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_TRUST
        )

    @functools.wraps(verb)
    def run(**given: Any) -> None:
        quiet, verbose = given.pop("quiet"), given.pop("verbose")
        given.pop("trust", None)
        if verbose:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        if "progress" in own:
            given["progress"] = not quiet
        if with_settings:
            said = [(setting, given.pop(option)) for option, setting in option_names]
            given["settings"] = {setting: value for setting, value in said if value is not None}
        try:
            given = {key: _checked(key, value) for key, value in given.items()}
            with progress.quiet(quiet):
                verb(**given)
        except UserError:
            if verbose:
                traceback.print_exc()
            raise

    signature = inspect.Signature(list(parameters.values()))
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {key: p.annotation for key, p in parameters.items()}
    paragraphs = (inspect.getdoc(verb) or "").split("\n\n")
    about = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(name, help=about, epilog=f"Example: {example}")(run)


def _checked(key: str, value: Any) -> Any:
    """An argument, of which a path is one that a file can have, and no pipe's."""
    if isinstance(value, list):
        return [_checked(key, one) for one in value]
    if isinstance(value, Path):
        value = as_path(value, key)
        refuse_pipes(value)  # reading from one may wait for ever
    return value


def print_json(**document: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False, default=str))


def _options(field_: Field[Any], kind: type) -> list[inspect.Parameter]:
    """The option of a setting, and a hidden one for what it was called before."""
    about = field_.metadata
    flags = flag(field_.name)
    if kind is bool:
        flags += f"/{flag(field_.name, False)}"
    shown = default_text(field_)
    if kind is bool:
        shown = flag(field_.name, field_.default).removeprefix("--")
    option = typer.Option(
        flags,
        help=f"{about['help']} (default: {shown})",
        show_default=False,
        rich_help_panel="Settings",
    )
    made = [_parameter(f"set_{field_.name}", kind, option)]
    for old in about["old_flags"]:
        hidden = typer.Option(old, hidden=True)
        made.append(_parameter(f"old_{old.strip('-').replace('-', '_')}", kind, hidden))
    return made


def _parameter(name: str, kind: type, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[kind], option],  # noqa: UP045
    )
