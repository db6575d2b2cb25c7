"""What the box widget asks of a page; nobody looks at this one, so no callback is ever called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from google.colab import log


def register_callback(name: str, callback: Callable[..., Any]) -> None:
    """Colab would call it from the page."""
    log(f"register_callback {callable(callback)}")


def eval_js(script: str) -> None:
    """Colab would run it in the page."""
    log(f"eval_js {len(script) > 0}")


def redirect_to_element(element: str) -> contextlib.AbstractContextManager[None]:
    """Colab would send what is displayed to that element."""
    return contextlib.nullcontext()


def enable_custom_widget_manager() -> None:
    """Colab would let third-party widgets be shown."""
    log("enable_custom_widget_manager")
