"""A training run's folder: its identity, its state while it runs, its history.

config.json      base, classes, settings, fingerprints of data and weights, whether it is done
state.npz        trained variables, optimiser, histories and best weights at the last saved step
history.csv      a row a step
validation.csv   a row a validation round
masks/           of a one-stage base's mask head the same: state, histories, TensorBoard's files
corrections.json what a person said of earlier runs' detections; written by again.py
handed_back.json what was said of this run's; written by annotation/correct.py, kept by --overwrite
tensorboard/     written by loop.py
detector/        written by inference/detector.py at the end
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from duckdetect._version import __version__
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import describe_data
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import FILES as EVALUATION_FILES
from duckdetect.evaluation.plots import CURVES
from duckdetect.inference.detector import FILES as DETECTOR_FILES
from duckdetect.inference.run_config import CONFIG, check_parts, read_config
from duckdetect.models.weights import BaseFiles
from duckdetect.training.config import TrainConfig, wrong_setting
from duckdetect.utils.files import atomic_path, make_folder, remove_leftovers, write_json
from duckdetect.utils.locks import only_writer
from duckdetect.utils.outputs import check_folder, check_outputs, forget_removed, note_output
from duckdetect.utils.reading import refuse_pipes
from duckdetect.utils.schema import Fields, is_number, read_json, short
from duckdetect.utils.words import some_names

if TYPE_CHECKING:
    import tensorflow as tf

_STATE = "state.npz"

CORRECTIONS, HANDED_BACK = "corrections.json", "handed_back.json"

_HISTORY = "history.csv"

_VALIDATION = "validation.csv"

_MOST_HISTORY_BYTES = 256 << 20  # a million steps

Rows = list[dict[str, float]]

# What training writes beside config.json: files, and folders with what their files are named.
_FILES = (
    _STATE,
    _HISTORY,
    _VALIDATION,
    CURVES,
    CORRECTIONS,
)
_FOLDERS = {
    "detector": DETECTOR_FILES,
    "tensorboard": r"[^/]+/events\.out\.tfevents\.[^/]+",
    # A phase of its own, with the files of one.
    "masks": r"state\.npz|(history|validation)\.csv|curves\.png"
    r"|tensorboard/[^/]+/events\.out\.tfevents\.[^/]+",
}
MASKS = "masks"

# What other commands write there, with the command and what it names the files in it.
_RESULTS = {
    "evaluation": ("eval", EVALUATION_FILES),
    "metrics.json": ("eval", ""),
    "report.html": ("report", ""),
    "report.pdf": ("report", ""),
}


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
    files: BaseFiles | None,
    dataset: Dataset,
    config: TrainConfig,
    val: Dataset | None = None,
) -> dict[str, Any]:
    """All that decides a run's result; two runs with the same description are the same run.

    Without `files`, runs on any weights are.
    """
    return {
        "duckdetect": __version__,
        "base": base_name,
        "weights": files and {"origin": files.origin, "sha256": files.sha256},
        "classes": list(dataset.classes),
        "data": describe_data(dataset),
        "validation": None if val is None else describe_data(val),
        "train": config.to_dict(),
    }


def only_trainer(folder: Path | None) -> contextlib.AbstractContextManager[None]:
    """Let no second training write into a run's folder; UserError if another does."""
    return contextlib.nullcontext() if folder is None else only_writer(make_folder(folder))


def check_apart_from(folder: Path, dataset: Dataset) -> None:
    """Refuse to make a run of the folder that is trained on: it would be read as a run from then on.

    Raises:
        UserError: If it is that folder, and no run of an earlier version's; or a detector's own.
    """
    if folder.resolve() == dataset.root.resolve() and not (folder / CONFIG).exists():
        raise UserError(f"{folder} holds the labelled pictures: choose another --out")
    resolved = folder.resolve()
    for place in (resolved, *resolved.parents):
        below = resolved.relative_to(place).parts[:1]
        is_run = all((place / p).is_file() for p in (CONFIG, "detector/saved_model.pb"))
        if is_run and {*_FOLDERS, *_RESULTS}.intersection(below):
            raise UserError(f"{place / below[0]} is of the run {place}: choose another --out")
        if all((place / name).is_file() for name in ("detector.json", "saved_model.pb")):
            raise UserError(f"{place} holds a detector, which stays as it is: choose another --out")


def begin_run(folder: Path, identity: dict[str, Any]) -> None:
    """Write what a new run is."""
    write_json(folder / CONFIG, {**identity, "done": False})


def check_run(
    folder: Path, identity: dict[str, Any], overwrite: bool
) -> Literal["new", "resumable", "done"]:
    """Make a run's folder, or find what an earlier call left there.

    Raises:
        UserError: If the folder holds another run and `overwrite` is false, or files that no run wrote.
    """
    path = folder / CONFIG
    make_folder(folder)
    names = (*_FILES, *_FOLDERS, *_RESULTS, HANDED_BACK)
    for name in names:  # of a process that was killed
        remove_leftovers(folder / name)
    if not path.exists():
        taken = [name for name in names if os.path.lexists(folder / name)]
        if taken:
            raise UserError(
                f"{folder / taken[0]} lies there without a run's config.json: choose another --out"
            )
    else:
        found = read_identity(folder)
        if _same(found, identity):
            if found.get("done") and (folder / "detector" / "saved_model.pb").is_file():
                _remove_states(folder)
                return "done"
            _refuse_links(folder)
            # Its detector is gone, and what somebody changed since must not go as well.
            if found.get("done"):
                _check_own(folder)
            return "resumable"
        if not overwrite:
            on = f", or train on from it: `duckdetect train {folder}`" if found.get("done") else ""
            raise UserError(
                f"{folder} holds another run ({_difference(found, identity)}): "
                f"choose another --out, or --overwrite it{on}"
            )
        _remove_run(folder)
    return "new"


def _refuse_links(folder: Path) -> None:
    """Refuse to go on with a run of which a folder leads elsewhere: training would write there."""
    for name in _FOLDERS:
        for path in (folder / name, *(folder / name).rglob("*")):
            if path.is_symlink():
                raise UserError(
                    f"{path} is a link, and training would write through it: remove it, or choose "
                    "another --out"
                )


def _check_own(folder: Path) -> None:
    """Raise UserError if a run's folders hold what no training wrote, or a file was changed since."""
    for name, known in _FOLDERS.items():
        check_folder(folder / name, known, "train")
    # A run that was interrupted, or of an earlier version, has no manifest.
    check_outputs([folder / name for name in _FILES], "train", known="")
    for name, known in _FOLDERS.items():
        check_outputs([folder / name], "train", known=known)


def _remove_run(folder: Path) -> None:
    """Remove what a run wrote, its detector first: a folder must never hold half of two runs.

    What somebody handed back stays: it is said of pictures, not of the run.

    Raises:
        UserError: As `_check_own`; nothing is removed then.
    """
    _check_own(folder)
    for name, (verb, known) in _RESULTS.items():
        check_outputs([folder / name], verb, known=known)
    for name in (*_FOLDERS, *_FILES, *_RESULTS):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    forget_removed(folder)


def read_identity(folder: Path) -> dict[str, Any]:
    """What config.json says a run is, `describe`'s keys checked, and whether it is done.

    Raises:
        UserError: If it is broken, or no run's.
    """
    fields = read_json(folder / CONFIG, "move it away, or choose another --out")
    fields.text("base")
    fields.texts("classes", least=1)
    fields.object("train")
    for key in ("data", "weights", "validation"):
        if key != "validation" or fields.has(key):
            fields.object(key).text("sha256")
    check_parts(fields)
    fields.flag("done", default=False)
    return fields.values


def finished_config(folder: Path) -> dict[str, Any]:
    """A finished run's config.json, with all that a report or training again needs of it.

    Raises:
        UserError: If it is not there, broken, or the run is not done.
    """
    config = read_config(folder)
    fields = Fields(config, str(folder / CONFIG), "train the run again")
    fields.texts("classes", least=1)
    fields.text("base")
    settings = fields.object("train")
    settings.whole("steps", least=1)
    if wrong := wrong_setting(settings.values):
        settings.fail(wrong)
    fields.object("weights").text("origin")
    fields.object("weights").text("sha256")
    for key in ("data", "validation"):
        if key == "data" or fields.has(key):
            part = fields.object(key)
            part.text("folder"), part.text("sha256")
            part.whole("pictures"), part.whole("boxes")
    if fields.has("start"):
        fields.object("start").whole("corrected", default=0)
    if not fields.flag("done", default=False):
        raise UserError(
            f"{folder} is not trained to its end: run its `duckdetect train` command again first"
        )
    return config


def find_run(results: Path, identity: dict[str, Any]) -> Path | None:
    """The folder below `results` that holds a run, whichever version wrote it and whatever its name.

    Of several the finished one, and of these the last. Settings are compared as parsed, so that
    those which a later version renamed or added do not make another run of it.

    Args:
        results: A folder of runs.
        identity: From `describe`.
    """
    found = []
    for path in results.glob(f"*/{CONFIG}"):
        with contextlib.suppress(UserError, OSError):
            config = read_config(path.parent)
            if _same(config, identity):
                found.append((bool(config.get("done")), path.stat().st_mtime, path.parent))
    return max(found)[2] if found else None


def is_same(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether the folder holds the run of this description."""
    try:
        return _same(read_identity(folder), identity)
    except (OSError, UserError):
        return False


def started_from(folder: Path) -> str | None:
    """The fingerprint of what a folder's run was started from, None if it was from a base."""
    try:
        return str(read_identity(folder)["start"]["sha256"])
    except (OSError, UserError, KeyError, TypeError):
        return None


def describe_model(folder: Path, model: dict[str, Any]) -> None:
    """Add to config.json what was trained: sizes, numbers of weights."""
    write_json(folder / CONFIG, {**read_config(folder), "model": model})


def close_run(folder: Path) -> None:
    """Mark a run as done, its files as ours; its state is no longer needed."""
    write_json(folder / CONFIG, {**read_config(folder), "done": True})
    _remove_states(folder)
    for name in (*_FILES, *_FOLDERS):
        if (folder / name).exists():
            note_output(folder / name, "train")


def _remove_states(folder: Path) -> None:
    (folder / _STATE).unlink(missing_ok=True)
    if not (folder / MASKS).is_symlink():  # which would lead out of the run
        (folder / MASKS / _STATE).unlink(missing_ok=True)


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
    """Restore what `save_state` saved and return the rest; an empty state if there is none.

    Raises:
        UserError: If the file is broken or of other variables; these are not changed then.
    """
    path = folder / _STATE
    if not path.exists():
        return State()
    refuse_pipes(path)
    try:
        wanted = sum(variable.dtype.size * variable.shape.num_elements() for variable in state)
        with zipfile.ZipFile(path) as archive:
            declared = sum(info.file_size for info in archive.infolist())
        if declared > 3 * wanted + _MOST_HISTORY_BYTES:  # the state and the best weights
            raise ValueError(f"it unpacks to {declared / 1e6:.0f} MB")
        with np.load(path) as saved:
            values = [saved[f"v{i}"] for i in range(len(state))]
            history, validation = json.loads(str(saved["history"]))
            best = [saved[f"b{i}"] for i in range(sum(n.startswith("b") for n in saved.files))]
        for variable, value in itertools.chain(
            zip(state, values, strict=True), zip(state, best, strict=False)
        ):
            if value.shape != tuple(variable.shape) or value.dtype != variable.dtype.as_numpy_dtype:
                raise ValueError(f"{variable.name} is {value.dtype} {value.shape} there")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ValueError(f"{variable.name} is not finite")
        rows = _checked_rows(history), _checked_rows(validation)
        if not all({"AP50", "AP"} <= row.keys() or "mask_iou" in row for row in rows[1]):
            raise ValueError("a validation round has no score")
        if bool(best) != bool(validation) or len(best) > len(state):
            raise ValueError("its best weights do not fit its validation rounds")
        done = rows[0][-1]["step"] if rows[0] else 0
        for variable, value in zip(state, values, strict=True):
            if variable.dtype.is_integer and value.shape == () and int(value) != done:
                raise ValueError(f"its optimiser is at step {value}, its history at {done}")
    except Exception as error:  # zipfile, pickle and numpy raise many kinds for a broken file
        raise UserError(f"{path} is broken ({error}): delete it to start the run again") from error
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return State(*rows, best)


def _checked_rows(rows: Any) -> Rows:
    """A history's rows: step 1, 2, ... or some of them, and finite numbers.

    Raises:
        ValueError: If they are anything else.
    """
    if not isinstance(rows, list):
        raise ValueError("its history is no list")
    before = 0
    for row in rows:
        if not isinstance(row, dict) or not all(is_number(value) for value in row.values()):
            raise ValueError(f"a row of its history is {short(row)}")
        if not {"step", "loss"} <= row.keys() or not before < row["step"] < 1e9:
            raise ValueError(f"a row of its history has no step after {before}, or no loss")
        before = row["step"]
    return [{**row, "step": int(row["step"])} for row in rows]


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
        UserError: If it is missing or broken.
    """
    path = Path(folder) / _HISTORY
    if not path.exists():
        raise UserError(f"{path} is missing: give the folder of a run")
    return _read(path)


def read_validation(folder: str | Path) -> Rows:
    """Read validation.csv, a row a validation round; empty if there was none.

    Raises:
        UserError: If it is broken.
    """
    path = Path(folder) / _VALIDATION
    return _read(path) if path.exists() else []


def read_histories(folder: str | Path) -> tuple[Rows, Rows]:
    """Both histories of a finished run; one that is missing or broken is empty: the detector is not."""
    found: list[Rows] = []
    for read in (read_history, read_validation):
        try:
            found.append(read(folder))
        except UserError:
            found.append([])
    return found[0], found[1]


def _read(path: Path) -> Rows:
    refuse_pipes(path)
    try:
        if path.stat().st_size > _MOST_HISTORY_BYTES:
            raise ValueError(f"it has {path.stat().st_size / 1e6:.0f} MB")
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if twice := sorted(k for k, n in Counter(table.fieldnames or ()).items() if n > 1):
                raise ValueError(f"it has several columns {some_names(twice)}")
            rows = [{k: float(v) for k, v in row.items() if v} for row in table]
        if not rows:
            raise ValueError("it has no rows")
        return _checked_rows(rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{path} is broken ({error}): train the run again to get it") from error


def _same(found: dict[str, Any], identity: dict[str, Any]) -> bool:
    return not _difference(found, identity)


def _difference(found: dict[str, Any], identity: dict[str, Any]) -> str:
    """What differs, in a few words; where the data or weights lie does not count."""
    words = [
        f"{key}: {_short(found.get(key))} there, {_short(identity[key])} here"
        for key in ("base", "classes")
        if found.get(key) != identity[key]
    ]
    here = TrainConfig.from_dict(identity["train"]).to_dict()
    try:
        # A run of a version that knew none of it is this run, whatever is wanted of masks now.
        there = TrainConfig.from_dict({"masks": here["masks"], **found["train"]}).to_dict()
    except (KeyError, TypeError, AttributeError, UserError):
        words.append("other settings")  # that this version does not know
    else:
        words += [
            f"{key}: {_short(there[key])} there, {_short(value)} here"
            for key, value in here.items()
            if there[key] != value
        ]
    parts = {"data": "images", "validation": "validation", "weights": "weights", "start": "start"}
    words += [
        f"other {name}"
        for key, name in parts.items()
        if not (key == "weights" and identity[key] is None)
        and (found.get(key) or {}).get("sha256") != (identity.get(key) or {}).get("sha256")
    ]
    return ", ".join(words)


def _short(value: Any) -> str:
    text = " and ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
