"""The command line: each verb reads its arguments, calls one public function and prints.

Exit codes: 0 done, 2 the user's mistake (one line on stderr), 1 anything else, such as pictures that
`detect` could not read.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import duckdetect as dd
from duckdetect.cli import bulk, cache, data, detector, export, models, train
from duckdetect.cli.say import say
from duckdetect.errors import QualityError, UserError, of_system
from duckdetect.inference import trust
from duckdetect.utils.reading import is_drive_error, reading_error

app = typer.Typer(
    name="duckdetect",
    help="Train an object detector on five images of a new object, and use it.",
    epilog="A detector that was not trained on this machine is a program of somebody else: every command "
    "that loads one wants --trust, once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"duckdetect {dd.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Train an object detector on five images of a new object, and use it."""


# In the order in which they are used, which is the order in which the help lists them.
train.register_demo(app)
models.register(app)
data.register(app)
train.register(app)
detector.register(app)
export.register(app)
bulk.register(app)
cache.register(app)


def _check_folder() -> None:
    """A shell may stand in a folder that was removed since: no relative path means anything there."""
    try:
        Path.cwd()
    except OSError as error:
        raise UserError("the folder that this is run in is gone: cd to another one") from error


def _check_empty(arguments: Sequence[str]) -> None:
    """An empty argument, of a variable of the shell that is not set, would mean the folder we are in."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument or re.fullmatch(r"--[\w-]+=", argument):
            where = argument.rstrip("=") or (before if before.startswith("-") else "an argument")
            raise UserError(f"{where} is empty: is a variable of the shell not set?")


@contextlib.contextmanager
def _notes_said() -> Iterator[None]:
    """While the block runs, what labels are warned of is said as all else is."""
    shown = warnings.showwarning

    def show(message: Any, category: type[Warning], *more: Any, **named: Any) -> None:
        if issubclass(category, dd.DataWarning):
            say(f"note: {message}")
        else:
            shown(message, category, *more, **named)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


_INTERRUPTED = 130  # what typer makes of Ctrl-C
_ENDED = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on `argv` (the process's own if None) and return its exit code."""
    # TensorFlow is a million objects that stay. By default Python looks through all of them time and
    # again while they are made, and once more at the end: a third of the start-up, and a second.
    gc.set_threshold(100_000, 20, 10)
    atexit.register(gc.freeze)
    if argv is None:  # a process of its own
        # An end that the system asks for cleans up as Ctrl-C does; otherwise half a copy stays.
        for ended in _ENDED:
            if signal.getsignal(ended) is signal.SIG_DFL:  # nohup ignores one
                signal.signal(ended, signal.default_int_handler)
    given = list(sys.argv[1:] if argv is None else argv)
    # Of every verb that loads a detector; here, so that no verb can forget it.
    trusted = "--trust" in given
    try:
        _check_folder()
        _check_empty(given)
        with trust.required(unless=trusted), _notes_said():
            code = app(
                args=[a for a in given if a != "--trust"],
                prog_name="duckdetect",
                standalone_mode=False,
            )
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
    except QualityError as error:
        say(f"duckdetect: {error}", error=True)
        return 1
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
    if code == _INTERRUPTED:
        resumes = next((a for a in given if not a.startswith("-")), "") in ("train", "bulk")
        more = "; it goes on from there when the command is given again" if resumes else ""
        say(f"duckdetect: interrupted{more}", error=True)
        return 1
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main())
