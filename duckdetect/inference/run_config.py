"""config.json of a run's folder: read in one place, written by training/run_folder.py.

config = read_config("results/duck")
config["base"], config["classes"], config["data"]["sha256"], config.get("done")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from duckdetect.errors import UserError
from duckdetect.utils.schema import Fields, is_path, read_json

CONFIG = "config.json"


def refuse_file(run: str | Path) -> None:
    """Raise UserError for a file, such as an exported detector, where a run's folder is needed."""
    if Path(run).is_file():
        raise UserError(
            f"{run} is a file, and this needs the run that it was exported from: give the folder that "
            "`duckdetect train` wrote"
        )


def read_config(run: str | Path) -> dict[str, Any]:
    """A run's config.json, whichever version wrote it, and whether the run is done or not.

    Raises:
        UserError: If there is none, it is no JSON object, or its paths and check sums are none.
    """
    refuse_file(run)
    path = Path(run) / CONFIG
    if not path.is_file():
        raise UserError(f"{run} holds no run: give the --out of `duckdetect train`")
    fields = read_json(path, "train the run again")
    check_parts(fields)
    return fields.values


def check_parts(fields: Fields) -> None:
    """Refuse what config.json says of data, weights and an earlier run where it is none of that."""
    for key in ("data", "validation", "weights", "start"):
        part = fields.object(key) if fields.has(key) else None
        for name in ("folder", "path", "sha256", "run"):
            if part is not None and part.has(name) and not is_path(part.text(name)):
                part.fail(f"{name} is no path")
