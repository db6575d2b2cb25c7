"""The options of all verbs that read labels: what a user says of them that they do not say themselves."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional, get_type_hints

import typer

LabelsAsStored = Annotated[
    bool,
    typer.Option(
        "--labels-as-stored",
        help="The boxes were drawn on the stored pixels of pictures that EXIF turns (LabelImg).",
    ),
]
MergeClasses = Annotated[
    bool,
    typer.Option(
        "--merge-classes", help="Classes whose names differ in case or blanks only are one."
    ),
]
AllowOutside = Annotated[
    Optional[list[Path]],  # noqa: UP045  (typer reads it at run time)
    typer.Option(help="A folder outside DATA that its labels may name pictures in; repeatable."),
]


def reads_labels(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with these options, which hold for all labels that it reads."""

    @functools.wraps(verb)
    def wrapped(
        *args: Any,
        labels_as_stored: bool = False,
        merge_classes: bool = False,
        allow_outside: list[Path] | None = None,
        **kwargs: Any,
    ) -> None:
        from duckdetect.data.dataset import ReadOptions, read_options

        options = ReadOptions(labels_as_stored, merge_classes, tuple(allow_outside or ()))
        with read_options(options):
            verb(*args, **kwargs)

    hints = get_type_hints(verb, include_extras=True)
    options = {
        "labels_as_stored": (LabelsAsStored, False),
        "merge_classes": (MergeClasses, False),
        "allow_outside": (AllowOutside, None),
    }
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(verb).parameters.items()
    ] + [
        inspect.Parameter(name, kind, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
    # What typer looks at.
    del wrapped.__wrapped__
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return wrapped
