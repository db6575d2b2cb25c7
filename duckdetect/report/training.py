"""The report's sections on training: the data, the curves, and how to reproduce the run."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect._version import __version__
from duckdetect.data.loading import list_parts
from duckdetect.errors import UserError
from duckdetect.evaluation.plots import plot_history
from duckdetect.imaging.draw import draw_shrunk
from duckdetect.report.blocks import (
    Block,
    Code,
    Facts,
    Figure,
    Figures,
    Note,
    Section,
    Text,
    digest,
    photo,
    place,
    plot,
    quote,
    spread,
)
from duckdetect.training.again import AGAIN, SIZED
from duckdetect.training.config import RECIPES, TrainConfig, flag
from duckdetect.training.run_folder import (
    CORRECTIONS,
    MASKS,
    read_histories,
    read_history,
    read_validation,
)
from duckdetect.utils.words import plural, some_names

if TYPE_CHECKING:
    from duckdetect.data.dataset import Dataset, Sample


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
    words = "The same commands on the same data give the same detector and the same results."
    return Section("Reproduce this run", [Text(words), Code(lines), Facts(facts)])


def train_commands(run: Path, config: Mapping[str, Any]) -> list[str]:
    """The command that trains the run again; every setting has an option."""
    data, base = config["data"]["folder"], config["base"]
    try:
        settings = TrainConfig.from_dict(config["train"]).to_dict()
    except UserError:  # a setting of a newer version
        settings = dict(config["train"])
    if isinstance(start := config.get("start"), Mapping):
        usual: Mapping[str, Any] = AGAIN
        correct = quote(run / CORRECTIONS)
        words = [f"duckdetect train {quote(str(start.get('run')))} --correct {correct}"]
        if start.get("from_base"):
            words.append("--from-base")
            usual = {key: getattr(TrainConfig, key) for key in (*AGAIN, *SIZED)}
        changed = _changes({key: settings[key] for key in usual}, usual)
        return [" ".join([*words, *_options(changed), f"--out {quote(run)}"])]
    val = (config.get("validation") or {}).get("folder")
    recipe, changed = min(
        ((name, _changes(settings, start().to_dict())) for name, start in RECIPES.items()),
        key=lambda one: len(one[1]),
    )
    words = [f"duckdetect train {quote(data)} --base {quote(base)} --out {quote(run)}"]
    if val != data:  # else it is a split of the same, which is found by itself
        words += [f"--val {quote(val)}"] if val else ["--no-val"] if _has_valid(data) else []
    words += [f"--recipe {recipe}"] if recipe != "few-shot" else []
    words += _options(changed)
    return [" ".join([*words, f"--seed {settings.get('seed', 0)}"])]


def _options(changed: Mapping[str, Any]) -> list[str]:
    return [
        flag(key, value) if isinstance(value, bool) else f"{flag(key)} {value}"
        for key, value in changed.items()
    ]


def _changes(settings: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, Any]:
    """What an option must say; None cannot be said, and is what a base decides by itself."""
    return {
        key: value
        for key, value in settings.items()
        if key != "seed" and value is not None and start.get(key) != value
    }


def _has_valid(folder: str) -> bool:
    """Whether `duckdetect train` would find a validation split there."""
    try:
        return "valid" in list_parts(Path(folder))
    except UserError:
        return False


def versions() -> str:
    """Python and the packages that decide a result."""
    named = [f"Python {platform.python_version()}", f"duckdetect {__version__}"]
    for package in ("tensorflow", "numpy", "pycocotools"):
        try:
            named.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:  # tensorflow-cpu, a source build
            continue
    return ", ".join(named)


_SAMPLES = 6

_MOST_CLASSES = 100  # that are named

_SAMPLE_PX = 480


def training_section(config: Mapping[str, Any], dataset: Dataset | None) -> Section:
    """What was trained on what, in words and pictures.

    Args:
        config: The run's config.json.
        dataset: Its training pictures; None if they are gone or were changed.
    """
    data, weights = config["data"], config["weights"]
    classes = list(config["classes"])
    facts = [
        ("Classes", some_names(classes, _MOST_CLASSES)),
        (
            "Trained on",
            f"{plural(data['pictures'], 'picture')} with {plural(data['boxes'], 'box')}",
        ),
        *_started_from(config.get("start")),
        *_watched_with(config.get("validation")),
        ("Base model", f"{config['base']}{_description(config['base'])}"),
        ("Its weights", f"{weights['origin']}"),
    ]
    blocks: list[Block] = [
        Facts(facts),
        Text(_settings_in_words(_present_names(config["train"]), data)),
    ]
    if dataset is None:
        blocks.append(
            Note(
                f"The training pictures are no longer in {place(data['folder'])} as they were, "
                "so there is none to see."
            )
        )
    else:
        shown = [dataset.samples[i] for i in spread(len(dataset), _SAMPLES)]
        of_all = "" if len(shown) == len(dataset) else f" {len(shown)} of {len(dataset)} are below."
        blocks.append(Text(f"The training pictures with their labelled boxes.{of_all}"))
        images = [_labelled(sample, dataset.classes) for sample in shown]
        blocks.append(Figures(images, columns=2))
    return Section("What was trained", blocks)


def curves_section(run: Path) -> Section:
    """The losses over the steps, and what was measured on the validation pictures."""
    title = "How training went"
    try:
        history, views = read_history(run), read_validation(run)
        first, last = history[0]["loss"], history[-1]["loss"]
        dots = "; dots on validation pictures" if views else ""
        caption = f"Over the steps: pale as they were, bold smoothed{dots}."
        drawn = plot(lambda path: plot_history(history, path, views), caption)
    except (UserError, OSError, ValueError, KeyError, IndexError):
        missing = (
            f"{run / 'history.csv'} or validation.csv is missing or broken, so no curves are drawn."
        )
        return Section(title, [Note(missing)])
    words = (
        "The loss says how far the predictions are from the truth: in where the boxes lie (box) "
        f"and in what they hold (class). Training brought it from {first:.3f} at the first to "
        f"{last:.3f} at the last of {plural(len(history), 'step')}. A curve that falls and flattens "
        "is a good one."
    )
    if any("class_accuracy" in row for row in history):
        words += (
            " Class accuracy is the share of places on an object where its class gets the highest "
            "score, and at least one half."
        )
    blocks: list[Block] = [Text(words)]
    known = [row for row in views if "AP50" in row]
    if known:
        best = max(known, key=lambda row: row["AP50"])
        blocks.append(
            Text(
                f"{plural(len(views), 'look')} at the validation pictures: AP50 was best with "
                f"{best['AP50']:.3f} at step {best['step']:.0f}. A validation loss that rises while "
                "the training loss falls means that it learns the pictures by heart."
            )
        )
    return Section(title, [*blocks, Figures([drawn]), *_mask_blocks(run)])


def _mask_blocks(run: Path) -> list[Block]:
    """Of a mask head that was trained after the boxes: its curves."""
    history, views = read_histories(run / MASKS)
    if not history:
        return []
    iou = float(np.mean([row["mask_iou"] for row in history[-20:]]))
    words = (
        f"Masks were trained after the boxes, for {plural(len(history), 'step')}. In boxes that are "
        f"given, they overlap the labelled outlines by {iou:.2f} in the end (mean intersection over "
        "union)."
    )
    caption = "The mask head over its steps, as above."
    drawn = plot(lambda path: plot_history(history, path, views), caption)
    return [Text(words), Figures([drawn])]


def _watched_with(validation: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if not validation:
        return []
    count = plural(validation["pictures"], "picture")
    return [("Validated on", f"{count} with {plural(validation['boxes'], 'box')}, not trained on")]


def _description(base: str) -> str:
    from duckdetect.models.catalog import spec_for

    try:
        return f": {spec_for(base).description}"
    except UserError:  # a base of a newer version, or one that was taken out
        return ""


def _present_names(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of an earlier version by their present names."""
    try:
        return TrainConfig.from_dict(dict(settings)).to_dict()
    except UserError:  # settings of a newer version
        return settings


def _started_from(start: Any) -> list[tuple[str, str]]:
    if not isinstance(start, Mapping):
        return []
    n = int(start.get("corrected", 0))
    how = "Trained from the base on" if start.get("from_base") else "Started from"
    return [(how, f"{place(str(start.get('run')))}, and {plural(n, 'corrected picture')}")]


def _settings_in_words(settings: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What the settings mean; one that is missing, as in a run of another version, is left out."""
    part = {
        "heads": "the last layers of its box and class heads",
        "towers": "its box and class heads",
        "top": "its upper layers and its box and class heads",
        "deep": "the upper half of its backbone and what follows it",
        "second-stage": "its heads and the layers that describe each proposal",
    }.get(str(settings.get("train")), "its heads")
    words = (
        "All layers of the base model were trained."
        if settings.get("train") == "all"
        else f"The base model stayed as it was, but for {part}."
    )
    if {"steps", "batch_size", "learning_rate"} <= settings.keys():
        rise = f", reached after {settings['warmup']} steps" if settings.get("warmup") else ""
        decay = ", falling along a cosine to 0" if settings.get("decay") == "cosine" else ""
        words += (
            f" They were trained for up to {settings['steps']} steps of "
            f"{plural(settings['batch_size'], 'view')}"
            f" each, at a learning rate of {settings['learning_rate']:g}{rise}{decay}."
        )
    views = settings.get("views")
    if views:
        words += (
            f" The views are the {plural(data['pictures'], 'picture')} and {views} augmented views "
            "of them: random crops in which the object is larger or smaller, mirrored, with other "
            "colours."
        )
    elif views == 0:
        words += " The views are the pictures as they are."
    if settings.get("class_init"):
        words += (
            " A new class started from the mean of the base's classes that it resembles most, "
            "if the base has any."
        )
    return words


def _labelled(sample: Sample, classes: Sequence[str]) -> Figure:
    import supervision as sv

    truth = sv.Detections(sample.xyxy.reshape(-1, 4), class_id=sample.class_id)
    n = len(sample.class_id)
    caption = f"{sample.path.name}: {plural(n, 'box') if n else 'no object'}"
    return photo(draw_shrunk(sample.load(), truth, classes, _SAMPLE_PX), caption)
