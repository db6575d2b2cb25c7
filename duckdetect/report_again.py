"""The report's section on how to do it again: commands, check sums, versions."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdetect
from duckdetect.config import TrainConfig
from duckdetect.datasets import list_parts
from duckdetect.errors import UserError
from duckdetect.report_blocks import (
    Code,
    Facts,
    Section,
    Text,
)
from duckdetect.report_words import digest, place, quote

# Options of `duckdetect train` by the setting's name.
_OPTIONS = {
    "steps": "--steps",
    "batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
    "warmup": "--warmup",
    "looks": "--looks",
    "val_every": "--val-every",
    "patience": "--patience",
    "train": "--train",
}


def reproduce_section(
    run: Path, config: Mapping[str, Any], about: Mapping[str, Any] | None
) -> Section:
    """Commands, check sums and versions.

    Args:
        run: The run's folder.
        config: Its config.json.
        about: What it was measured on (evaluation_runs.py); None if it was not.
    """
    folder = quote(run)
    lines = train_commands(run, config)
    if about is not None:
        split = about["data"].get("split")
        chosen = f" --split {split}" if split else ""
        lines.append(f"duckdetect eval {folder} {quote(about['data']['folder'])}{chosen}")
    lines.append(f"duckdetect report {folder}")
    facts = [
        ("Training data", f"{place(config['data']['folder'])}, {digest(config['data'])}"),
        ("Base weights", digest(config["weights"])),
        ("Seed", str(config["train"].get("seed", "unknown"))),
    ]
    if about is not None:
        data = about["data"]
        facts.append(("Measured on", f"{place(data['folder'])}, {digest(data)}"))
        facts.append(("Detector", digest(about["detector"])))
    facts.append(("Trained with", f"duckdetect {config.get('duckdetect', 'unknown')}"))
    facts.append(("Report made with", versions()))
    words = "The same commands on the same data give the same detector and the same figures."
    return Section("How to do it again", [Text(words), Code(lines), Facts(facts)])


def train_commands(run: Path, config: Mapping[str, Any]) -> list[str]:
    """The call that trains the run again: for the shell where it can say all, else in Python."""
    data, base, settings = config["data"]["folder"], config["base"], config["train"]
    val = (config.get("validation") or {}).get("folder")
    for recipe, start in (("few-shot", TrainConfig()), ("stock", TrainConfig.stock())):
        plain = start.to_dict()
        changed = {k: v for k, v in settings.items() if k != "seed" and plain.get(k) != v}
        # A setting that the run does not know would take its default now: that is another run.
        if changed.keys() <= _OPTIONS.keys():
            words = [f"duckdetect train {quote(data)} --base {quote(base)} --out {quote(run)}"]
            if val != data:  # else it is a split of the same, which is found by itself
                words += (
                    [f"--val {quote(val)}"] if val else ["--no-val"] if _has_valid(data) else []
                )
            words += [f"--recipe {recipe}"] if recipe != "few-shot" else []
            words += [f"{_OPTIONS[key]} {value}" for key, value in changed.items()]
            return [" ".join([*words, f"--seed {settings.get('seed', 0)}"])]
    default = TrainConfig().to_dict()
    given = ", ".join(f"{k}={v!r}" for k, v in settings.items() if default.get(k) != v)
    return [
        "python",
        ">>> import duckdetect as dd",
        f">>> data = dd.load_dataset({place(data)!r})",
        *([f">>> val = dd.load_dataset({place(val)!r}, 'valid')"] if val else []),
        f">>> dd.finetune({base!r}, data, dd.TrainConfig({given}), {place(run)!r}"
        + (", val=val)" if val else ")"),
    ]


def _has_valid(folder: str) -> bool:
    """Whether `duckdetect train` would find a validation split there."""
    try:
        return "valid" in list_parts(Path(folder))
    except UserError:
        return False


def versions() -> str:
    """Python and the packages that decide a result."""
    named = [f"Python {platform.python_version()}", f"duckdetect {duckdetect.__version__}"]
    for package in ("tensorflow", "numpy", "pycocotools"):
        try:
            named.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:  # tensorflow-cpu, a source build
            continue
    return ", ".join(named)
