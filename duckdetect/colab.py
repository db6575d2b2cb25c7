"""Where things lie: on Google Drive in Colab, in a local folder elsewhere.

folder = workspace()  # mounts Drive on Colab
folder / "images", folder / "results", folder / "cache"
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from duckdetect.errors import UserError
from duckdetect.files import make_folder

MOUNT_POINT = Path("/content/gdrive")
_SUBFOLDERS = ("images", "results", "cache")


def is_colab() -> bool:
    """Whether this Python is the kernel of a Google Colab notebook."""
    # Colab's kernel loads its package before the first cell. That the package is installed proves
    # nothing, and a script that a cell starts has no page to mount Drive or show a widget in.
    return "google.colab" in sys.modules


def workspace(name: str = "transfer_learning_project", drive: bool = True) -> Path:
    """Make the project's folder, with `images`, `results` and `cache` below it.

    Args:
        name: The folder's name: in My Drive on Colab, in the current folder elsewhere.
        drive: On Colab, whether to use Drive; False keeps all on the runtime's own disk, which is
            lost when the runtime ends.

    Returns:
        The folder's absolute path.

    Raises:
        UserError: If Drive cannot be mounted, or the folder cannot be made or written.
    """
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"workspace name {name!r} is no folder name: give one such as 'my_project'")
    parent = _mounted_drive() if is_colab() and drive else Path.cwd()
    folder = make_folder(parent / name)
    for subfolder in _SUBFOLDERS:
        make_folder(folder / subfolder)
    return folder


def _mounted_drive() -> Path:
    """My Drive's folder; mounts Drive if that has not been done yet."""
    my_drive = MOUNT_POINT / "MyDrive"
    if my_drive.is_dir():
        return my_drive
    try:
        importlib.import_module("google.colab.drive").mount(str(MOUNT_POINT))
    # Colab has raised ValueError, KeyError and errors of its own for a refusal over the years.
    except Exception as error:
        raise _not_mounted(str(error) or type(error).__name__) from error
    if not my_drive.is_dir():
        raise _not_mounted(f"{my_drive} is not there")
    return my_drive


def _not_mounted(reason: str) -> UserError:
    return UserError(
        f"Google Drive could not be mounted at {MOUNT_POINT} ({' '.join(reason.split())}): "
        "run this cell again and allow access to Drive, or call workspace(drive=False) to work "
        "without it (files are then lost when the runtime ends)"
    )
