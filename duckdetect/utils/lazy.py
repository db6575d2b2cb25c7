"""Names of a package that are imported on first use, since TensorFlow takes seconds.

__getattr__, __dir__ = lazy_names(__name__, {"fetch": "duckdetect.models.weights"})
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from duckdetect.utils.words import did_you_mean


def lazy_names(
    package: str, homes: Mapping[str, str], deprecated: Mapping[str, tuple[str, str]] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: The package's `__name__`.
        homes: For each public name the module that defines it.
        deprecated: For each name that will go, "module:name" and what to use instead.
    """
    old = deprecated or {}

    def get(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(homes[name]), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in old:
            home, instead = old[name]
            warnings.warn(
                f"{package}.{name} will be removed in the next release: use {instead}",
                DeprecationWarning,
                stacklevel=2,
            )
            module, _, attribute = home.partition(":")
            return getattr(importlib.import_module(module), attribute)
        near = did_you_mean(name, homes)
        hint = f": {near}" if near else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")

    return get, lambda: sorted(homes)
