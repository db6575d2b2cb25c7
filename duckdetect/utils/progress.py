"""Progress bars: on stderr, but in a notebook on stdout, where no red box is drawn around them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TextIO

from tqdm import tqdm
from tqdm.utils import ObjectWrapper

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)

DELAY_S = 2
"""Before a bar of what is hardly ever long is shown."""


@contextlib.contextmanager
def quiet(on: bool) -> Iterator[None]:
    """While the block runs, no bar is shown, if `on`."""
    token = _QUIET.set(on)
    try:
        yield
    finally:
        _QUIET.reset(token)


def in_kernel() -> bool:
    """Whether this Python is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def stream() -> TextIO:
    """Where progress is shown. Jupyter shows what comes on stderr as if it were an error.

    What cannot be written there, as where a log's disk is full, is lost: no work may end of it.
    """
    shown: Any = _Lossy(sys.stdout if in_kernel() else sys.stderr)
    return shown


class _Lossy(ObjectWrapper):
    """A stream whose errors are passed over: one within tqdm leaves its lock held for ever."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._wrapped.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._wrapped.flush()

    def __eq__(self, other: object) -> bool:
        """Tqdm asks whether a bar is on the terminal, before it writes a line there."""
        return bool(self._wrapped == getattr(other, "_wrapped", other))

    def __hash__(self) -> int:
        return hash(self._wrapped)


def tell_minutes(what: str, seconds: float) -> None:
    """Say what a wait of a minute or more will be, measured on its first part."""
    if seconds >= 60:
        tqdm.write(f"{what}: about {seconds / 60:.0f} min on this machine", file=stream())


@contextlib.contextmanager
def waiting(what: str, on: bool = True) -> Iterator[None]:
    """While the block runs, show for how long, if it takes long: of what nobody knows how far it is."""
    over = threading.Event()

    def show() -> None:
        if not over.wait(DELAY_S):
            with progress_bar(desc=what, bar_format="{desc}: {elapsed}", leave=False) as bar:
                while not over.wait(1):
                    bar.refresh()

    thread = threading.Thread(target=show, daemon=True)
    if on and not _QUIET.get():
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()


def progress_bar(
    iterable: Iterable[Any] | None = None,
    desc: str | None = None,
    total: float | None = None,
    **more: Any,
) -> Any:
    """Tqdm's bar, on `stream()`."""
    bar: Any = tqdm  # whose overloads know no **more
    more["disable"] = more.get("disable", False) or _QUIET.get()
    return bar(iterable, desc, total, file=stream(), **more)


def end_bars() -> None:
    """End the lines of bars that an error left open, so that what is said of it begins a line."""
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()
