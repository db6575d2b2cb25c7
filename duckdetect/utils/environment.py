"""Where this Python runs."""

from __future__ import annotations

import sys


def is_colab() -> bool:
    """Whether this Python is the kernel of a Google Colab notebook."""
    # Colab's kernel loads its package before the first cell. That the package is installed proves
    # nothing, and a script that a cell starts has no page to mount Drive or show a widget in.
    return "google.colab" in sys.modules
