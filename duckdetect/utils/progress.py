"""Progress bars: on stderr, but in a notebook on stdout, where no red box is drawn around them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm


def in_kernel() -> bool:
    """Whether this Python is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def stream() -> TextIO:
    """Where progress is shown. Jupyter shows what comes on stderr as if it were an error."""
    return sys.stdout if in_kernel() else sys.stderr


def progress_bar(
    iterable: Iterable[Any] | None = None,
    desc: str | None = None,
    total: float | None = None,
    **more: Any,
) -> Any:
    """Tqdm's bar, on `stream()`."""
    bar: Any = tqdm  # whose overloads know no **more
    return bar(iterable, desc, total, file=stream(), **more)
