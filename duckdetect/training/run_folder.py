"""A training run's folder: its identity, its state while it runs, its history.

config.json      base, classes, settings, fingerprints of data and weights, whether it is done
state.npz        trained variables, optimiser, histories and best weights at the last saved step
history.csv      a row a step
validation.csv   a row a validation round
tensorboard/     written by loop.py
detector/        written by inference/detector.py at the end
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from duckdetect._version import __version__
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import describe_data
from duckdetect.errors import UserError
from duckdetect.evaluation.plots import CURVES
from duckdetect.models.weights import BaseFiles
from duckdetect.training.config import TrainConfig
from duckdetect.utils.files import atomic_path, make_folder, write_json

if TYPE_CHECKING:
    import tensorflow as tf

_STATE = "state.npz"

_HISTORY = "history.csv"

_VALIDATION = "validation.csv"

# What a run leaves beside config.json.
_FOLDERS = ("detector", "evaluation", "tensorboard")
_FILES = (_STATE, _HISTORY, _VALIDATION, CURVES, "metrics.json", "report.html", "report.pdf")

Rows = list[dict[str, float]]


@dataclass
class State:
    """What a loop goes on from.

    Attributes:
        history: A row a step done.
        validation: A row a validation round.
        best: The trained variables' values at the best of these rounds; empty without one.
    """

    history: Rows = field(default_factory=list)
    validation: Rows = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)


def describe(
    base_name: str,
    files: BaseFiles,
    dataset: Dataset,
    config: TrainConfig,
    val: Dataset | None = None,
) -> dict[str, Any]:
    """All that decides a run's result; two runs with the same description are the same run."""
    return {
        "duckdetect": __version__,
        "base": base_name,
        "weights": {"origin": files.origin, "sha256": files.sha256},
        "classes": list(dataset.classes),
        "data": describe_data(dataset),
        "validation": None if val is None else describe_data(val),
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
        # The old detector goes first, and all that was made of it: a folder must never hold half of
        # each run, also when this one is interrupted at once.
        for name in (*_FOLDERS, *_FILES):
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    write_json(path, {**identity, "done": False})
    return "new"


def describe_model(folder: Path, model: dict[str, Any]) -> None:
    """Add to config.json what was trained: sizes, numbers of weights."""
    path = folder / "config.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "model": model})


def close_run(folder: Path) -> None:
    """Mark a run as done; its state is no longer needed."""
    path = folder / "config.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "done": True})
    (folder / _STATE).unlink(missing_ok=True)


def save_state(
    folder: Path,
    state: Sequence[tf.Variable],
    history: Rows,
    validation: Rows,
    best: Sequence[np.ndarray],
) -> None:
    """Save variables, histories and best weights, in one file so that they cannot disagree."""
    with atomic_path(folder / _STATE) as part, part.open("wb") as file:
        arrays: dict[str, Any] = {f"v{i}": variable.numpy() for i, variable in enumerate(state)}
        arrays |= {f"b{i}": value for i, value in enumerate(best)}
        np.savez(file, history=json.dumps([history, validation]), **arrays)
    write_history(folder, history, validation)


def load_state(folder: Path, state: Sequence[tf.Variable]) -> State:
    """Restore what `save_state` saved and return the rest; an empty state if there is none."""
    path = folder / _STATE
    if not path.exists():
        return State()
    try:
        with np.load(path) as saved:
            values = [saved[f"v{i}"] for i in range(len(state))]
            history, validation = json.loads(str(saved["history"]))
            best = [saved[f"b{i}"] for i in range(sum(n.startswith("b") for n in saved.files))]
    except Exception as error:  # zipfile, pickle and numpy raise many kinds for a broken file
        raise UserError(f"{path} is broken ({error}): delete it to start the run again") from error
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return State(history, validation, best)


def write_history(folder: Path, history: Rows, validation: Rows) -> None:
    """Write history.csv, a row a step, and where the run was validated validation.csv."""
    for name, rows in ((_HISTORY, history), (_VALIDATION, validation)):
        if not rows:
            continue
        # An accuracy is missing where there was nothing to be right about.
        fields = max((list(row) for row in rows), key=len)
        with (
            atomic_path(folder / name) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=fields)
            writer.writeheader()
            writer.writerows(rows)


def read_history(folder: str | Path) -> Rows:
    """Read history.csv, a row a step.

    Raises:
        UserError: If it is missing.
    """
    path = Path(folder) / _HISTORY
    if not path.exists():
        raise UserError(f"{path} is missing: give the folder of a run")
    return _read(path)


def read_validation(folder: str | Path) -> Rows:
    """Read validation.csv, a row a validation round; empty if there was none."""
    path = Path(folder) / _VALIDATION
    return _read(path) if path.exists() else []


def _read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    return [{**row, "step": int(row["step"])} for row in rows]


def _same(found: dict[str, Any], identity: dict[str, Any]) -> bool:
    return not _difference(found, identity)


def _difference(found: dict[str, Any], identity: dict[str, Any]) -> str:
    """What differs, in a few words; where the data or weights lie does not count."""
    words = [
        f"{key}: {_short(found.get(key))} there, {_short(identity[key])} here"
        for key in ("base", "classes")
        if found.get(key) != identity[key]
    ]
    here = identity["train"]
    try:
        there = TrainConfig.from_dict(found["train"]).to_dict()
    except (KeyError, TypeError, AttributeError, UserError):
        words.append("other settings")  # that this version does not know
    else:
        words += [
            f"{key}: {_short(there[key])} there, {_short(value)} here"
            for key, value in TrainConfig.from_dict(here).to_dict().items()
            if there[key] != value
        ]
    words += [
        f"other {name}"
        for key, name in (("data", "images"), ("validation", "validation"), ("weights", "weights"))
        if (found.get(key) or {}).get("sha256") != (identity[key] or {}).get("sha256")
    ]
    return ", ".join(words)


def _short(value: Any) -> str:
    text = " and ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
