"""config.json of a run's folder: read in one place, written by training/run_folder.py.

config = read_config("results/duck")
config["base"], config["classes"], config["data"]["sha256"], config.get("done")
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from duckdetect.errors import UserError

CONFIG = "config.json"


def read_config(run: str | Path) -> dict[str, Any]:
    """A run's config.json, whichever version wrote it, and whether the run is done or not.

    Raises:
        UserError: If there is none, or it is no JSON object.
    """
    path = Path(run) / CONFIG
    if not path.is_file():
        raise UserError(f"{run} holds no run: give the --out of `duckdetect train`")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError("it is no JSON object")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is broken ({error}): train the run again") from error
    return config
