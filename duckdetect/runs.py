"""A training run's folder: what it is, its state while it runs, its history.

config.json    base, classes, settings, fingerprints of data and weights, whether it is done
state.npz      trained variables, optimiser and history at the last saved step
history.csv    a row a step
detector/      written by detector.py at the end
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import duckdetect
from duckdetect.config import TrainConfig
from duckdetect.datasets import Dataset
from duckdetect.errors import UserError
from duckdetect.files import atomic_path, make_folder, write_json
from duckdetect.zoo import BaseFiles

if TYPE_CHECKING:
    import tensorflow as tf

_STATE = "state.npz"
_HISTORY = "history.csv"


def describe(
    base_name: str, files: BaseFiles, dataset: Dataset, config: TrainConfig
) -> dict[str, Any]:
    """All that decides a run's result; two runs with the same description are the same run."""
    digest = hashlib.sha256()
    for sample in dataset.samples:
        digest.update(sample.path.read_bytes())
        for array in (sample.xyxy, sample.class_id, sample.crowd):
            digest.update(np.ascontiguousarray(array).tobytes())
    return {
        "duckdetect": duckdetect.__version__,
        "base": base_name,
        "weights": {"origin": files.origin, "sha256": files.sha256},
        "classes": list(dataset.classes),
        "data": {
            "folder": str(dataset.root),
            "pictures": len(dataset),
            "boxes": dataset.n_boxes,
            "sha256": digest.hexdigest(),
        },
        "train": config.to_dict(),
    }


def open_run(
    folder: Path, identity: dict[str, Any], overwrite: bool
) -> Literal["new", "resumable", "done"]:
    """Make a run's folder, or find what an earlier call left there.

    Raises:
        UserError: If the folder holds another run and `overwrite` is false.
    """
    path = folder / "config.json"
    make_folder(folder)
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        if _same(found, identity):
            return "done" if found.get("done") and (folder / "detector").is_dir() else "resumable"
        if not overwrite:
            raise UserError(
                f"{folder} holds another run ({_difference(found, identity)}): "
                "choose another --out, or --overwrite it"
            )
        # The old detector goes with its settings: a folder must never hold half of each.
        (folder / _STATE).unlink(missing_ok=True)
        (folder / _HISTORY).unlink(missing_ok=True)
        (folder / "metrics.json").unlink(missing_ok=True)
    write_json(path, {**identity, "done": False})
    return "new"


def close_run(folder: Path) -> None:
    """Mark a run as done; its state is no longer needed."""
    path = folder / "config.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "done": True})
    (folder / _STATE).unlink(missing_ok=True)


def save_state(folder: Path, state: Sequence[tf.Variable], history: list[dict[str, float]]) -> None:
    """Save variables and history, in one file so that they cannot disagree."""
    with atomic_path(folder / _STATE) as part, part.open("wb") as file:
        np.savez(
            file,
            history=json.dumps(history),
            **{f"v{i}": variable.numpy() for i, variable in enumerate(state)},
        )
    write_history(folder, history)


def load_state(folder: Path, state: Sequence[tf.Variable]) -> list[dict[str, float]]:
    """Restore what `save_state` saved and return the history; an empty one if there is none."""
    path = folder / _STATE
    if not path.exists():
        return []
    try:
        with np.load(path) as saved:
            values = [saved[f"v{i}"] for i in range(len(state))]
            history: list[dict[str, float]] = json.loads(str(saved["history"]))
    except Exception as error:  # zipfile, pickle and numpy raise many kinds for a broken file
        raise UserError(f"{path} is broken ({error}): delete it to start the run anew") from error
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return history


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """Write history.csv, a row a step."""
    with (
        atomic_path(folder / _HISTORY) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def read_history(folder: str | Path) -> list[dict[str, float]]:
    """Read history.csv, a row a step."""
    path = Path(folder) / _HISTORY
    if not path.exists():
        raise UserError(f"{path} is missing: give the folder of a run")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return [{**row, "step": int(row["step"])} for row in rows]


def _same(found: dict[str, Any], identity: dict[str, Any]) -> bool:
    return not _difference(found, identity)


def _difference(found: dict[str, Any], identity: dict[str, Any]) -> str:
    """The settings that differ, in a few words; where the data or weights lie does not count."""
    names = []
    for key in ("base", "classes", "train"):
        if found.get(key) != identity[key]:
            names.append(key)
    for key in ("data", "weights"):
        if (found.get(key) or {}).get("sha256") != identity[key]["sha256"]:
            names.append(key)
    return f"other {', '.join(names)}" if names else ""
