"""A data set of Roboflow by its name, through Roboflow's own client, which is an extra of ours.

    download_roboflow("my-workspace/ducks/3", "ducks")       # the key is in ROBOFLOW_API_KEY

The client is not among the requirements: it asks for a typer older than Colab's, and pip would replace
that one. docs/data.md says how to install it there.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

from duckdetect.datasets import holds_labels
from duckdetect.errors import UserError
from duckdetect.files import atomic_path
from duckdetect.writing import check_out

_KEY = "ROBOFLOW_API_KEY"


def download_roboflow(
    project: str,
    out: str | Path,
    api_key: str | None = None,
    export: str = "coco",
    overwrite: bool = False,
) -> Path:
    """Download one version of a project; the folder appears whole or not at all.

    Args:
        project: "WORKSPACE/PROJECT/VERSION", or the address of that version in the browser.
        out: The folder to write.
        api_key: Of Roboflow's settings; `ROBOFLOW_API_KEY` if None. It is never asked for.
        export: Roboflow's name of the format: "coco", "coco-segmentation" for outlines, "voc",
            "yolov8" ...
        overwrite: Replace a data set that is there already.

    Returns:
        The folder, for `load_dataset`.

    Raises:
        UserError: If the client, the key or the network is missing, Roboflow refuses, or what came
            is no data set.
    """
    workspace, name, version = _names(project)
    out = Path(out)
    check_out(out, (), overwrite)
    key = (api_key or os.environ.get(_KEY, "")).strip()
    if not key:
        raise UserError(
            f"no API key of Roboflow: set {_KEY} to the one in Roboflow's settings (API keys)"
        )
    try:
        import roboflow
    except ImportError as error:
        raise UserError(
            f"Roboflow's client is not here ({error}): pip install 'duckdetect[roboflow]', or in "
            "Colab as docs/data.md says"
        ) from error
    with atomic_path(out) as part:
        try:
            # It prints where it is, on errors with the key in the address.
            with contextlib.redirect_stdout(io.StringIO()):
                found = roboflow.Roboflow(api_key=key).workspace(workspace).project(name)
                found.version(version).download(export, location=str(part), overwrite=True)
        except (Exception, SystemExit) as error:
            raise UserError(_explain(error, f"{workspace}/{name}/{version}", key)) from None
        if not holds_labels(part):
            raise UserError(
                f"what Roboflow sent of {workspace}/{name}/{version} as {export!r} holds no labels: "
                "give the export of an object detection project, coco or coco-segmentation"
            )
    return out


def _names(project: str) -> tuple[str, str, int]:
    path = re.sub(r"^\w+://[^/]+", "", project).partition("?")[0]
    parts = [part for part in path.split("/") if part]
    if len(parts) == 4 and parts[2] == "dataset":  # as in the address of a public version
        del parts[2]
    if len(parts) != 3 or not parts[2].isdecimal():
        raise UserError(
            f"{project!r} is no WORKSPACE/PROJECT/VERSION: give it as the address of the version "
            "has it, for instance my-workspace/ducks/3"
        )
    return parts[0], parts[1], int(parts[2])


def _explain(error: BaseException, project: str, key: str) -> str:
    """One line on what went wrong, without the key that the client puts into addresses."""
    names = {kind.__name__ for kind in type(error).__mro__}
    reason = _message(error)
    reason = " ".join(reason.replace(key, "...").split())[:200] or type(error).__name__
    if names & {"ConnectionError", "Timeout", "ChunkedEncodingError", "URLError"}:
        return (
            f"Roboflow cannot be reached ({reason}): check the network, and give the command again"
        )
    return (
        f"Roboflow does not give {project} ({reason}): check the names, the version and the API key"
    )


def _message(error: BaseException) -> str:
    """What Roboflow answered, which the client hands on as JSON text, or what Python says."""
    text = str(error)
    try:
        content: Any = json.loads(text)
    except ValueError:
        return text
    for key in ("error", "message"):
        if isinstance(content, dict) and key in content:
            content = content[key]
    return content if isinstance(content, str) else text
