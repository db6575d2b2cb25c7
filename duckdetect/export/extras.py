"""Packages that only exporting needs, and the one command that brings them."""

from __future__ import annotations

import importlib.util

from duckdetect.errors import UserError

INSTALL = 'pip install "duckdetect[export]"'


def needed(module: str, what: str) -> None:
    """Check that a package is installed.

    Raises:
        UserError: If not.
    """
    if importlib.util.find_spec(module) is None:
        package = module.replace("_", "-")
        raise UserError(f"{what} needs {package}, which is not installed: {INSTALL}")
