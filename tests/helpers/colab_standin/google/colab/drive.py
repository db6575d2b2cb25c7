"""Google Drive: a folder that outlives the runtime."""

from __future__ import annotations

import os
from pathlib import Path

from google.colab import log


def mount(mountpoint: str) -> None:
    """Make My Drive appear below `mountpoint`; ValueError, as Colab's, if the user refuses."""
    log(f"mount {mountpoint}")
    drive = os.environ["STANDIN_DRIVE"]
    if not drive:
        raise ValueError("mount failed")
    Path(mountpoint).mkdir(parents=True)
    (Path(mountpoint) / "MyDrive").symlink_to(drive)
