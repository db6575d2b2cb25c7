"""A small stand-in for `google.colab`, for a notebook's kernel that shall take itself for Colab's.

`tests/helpers/colab_standin` goes to the front of PYTHONPATH; `google` has no `__init__.py`, so that
`google.protobuf` is still found. Settings come as environment variables:

STANDIN_DRIVE: the folder that stands for My Drive; empty for a user who refuses access.
STANDIN_UPLOAD: files that the user picks for an upload, separated by colons.
STANDIN_LOG: a file that gets a line for each call.
"""

from __future__ import annotations

import os
from pathlib import Path


def log(line: str) -> None:
    """Note a call for the test to read."""
    with Path(os.environ["STANDIN_LOG"]).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
