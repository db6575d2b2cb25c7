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

Data = Annotated[
    Path,
    typer.Argument(help="Labelled images (COCO, VOC or YOLO): a folder, a zip or a split file."),
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

    @functools.wraps(verb)
    def run(**given: Any) -> None:
        quiet, verbose = given.pop("quiet"), given.pop("verbose")
        if verbose:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        if "progress" in own:
            given["progress"] = not quiet
        if with_settings:
            said = [(setting, given.pop(option)) for option, setting in option_names]
            given["settings"] = {setting: value for setting, value in said if value is not None}
        try:
            verb(**given)
        except UserError:
            if verbose:
                traceback.print_exc()
            raise

    signature = inspect.Signature(list(parameters.values()))
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {key: p.annotation for key, p in parameters.items()}
    app.command(name, epilog=f"Example: {example}")(run)


def print_json(**document: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False, default=str))


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
