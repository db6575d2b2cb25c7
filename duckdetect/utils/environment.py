"""Where this Python runs."""

from __future__ import annotations

import os
import sys

from duckdetect.errors import UserError

_forked = False  # from a process whose TensorFlow had begun


def is_colab() -> bool:
    """Whether this Python is the kernel of a Google Colab notebook."""
    # Colab's kernel loads its package before the first cell. That the package is installed proves
    # nothing, and a script that a cell starts has no page to mount Drive or show a widget in.
    return "google.colab" in sys.modules


def refuse_fork() -> None:
    """Raise UserError in a fork of a process that used TensorFlow, which would wait in it for ever."""
    if _forked:
        raise UserError(
            "this process is a fork of one that has used TensorFlow, whose threads are not here: start "
            'processes by multiprocessing.get_context("spawn")'
        )


def _in_fork() -> None:
    global _forked
    eager = getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)
    _forked = _forked or getattr(eager, "_initialized", False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_fork)
