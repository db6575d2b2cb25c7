"""Uploads: the files are written to the current folder, and their contents are returned. Downloads."""

from __future__ import annotations

import os
from pathlib import Path

from google.colab import log


def download(filename: str) -> None:
    """The browser's download."""
    log(f"download {Path(filename).name}")


def upload() -> dict[str, bytes]:
    """What the user picks, by name."""
    log("upload")
    picked = [Path(path) for path in os.environ.get("STANDIN_UPLOAD", "").split(":") if path]
    uploaded = {path.name: path.read_bytes() for path in picked}
    for name, contents in uploaded.items():
        Path(name).write_bytes(contents)
    return uploaded
