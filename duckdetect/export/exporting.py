"""A detector as one file for another place, and the proof that it is still the same detector.

    exported = export_detector("results/duck", "duck.tflite", weights="float16")
    print(exported.parity.table())

From the saved detector alone: no Object Detection API, no base model's download. Before the file appears
it has detected on the run's own pictures beside its original; how far it is off stands beside it as JSON,
and one that is off too far does not appear unless that is accepted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from duckdetect.data.augment import PlainViews, augmented_views
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import data_sha256, find_again, load_dataset
from duckdetect.errors import QualityError, UserError
from duckdetect.evaluation.evaluate import read_about
from duckdetect.export.extras import needed
from duckdetect.export.parity import Parity, compare
from duckdetect.imaging.io import shrink
from duckdetect.inference.detector import Detector, load_detector
from duckdetect.inference.exported import ExportedModel
from duckdetect.inference.light import load_light
from duckdetect.inference.run_config import read_config
from duckdetect.training.config import TrainConfig
from duckdetect.training.threshold import threshold_on_views
from duckdetect.utils.files import write_json
from duckdetect.utils.outputs import check_outputs, own_output
from duckdetect.utils.reading import as_path

TARGETS = {"tflite": ".tflite", "onnx": ".onnx", "web": ".html", "saved-model": ""}
"""What can be exported to, and the suffix that says so."""
WEIGHTS = {
    "tflite": ("float16", "float32", "int8"),
    "onnx": ("float32", "float16"),
    "web": ("float16", "float32", "int8"),
    "saved-model": ("float32",),
}
"""For each target the weights it can have, the default first."""

# Calibration: the training pictures and so many augmented views of them in all, so that layers are not
# measured on the same five pictures again and again.
_CALIBRATION = 24
_VERB = "export"
_SEED = 2_000_003  # far from the seeds of training and of threshold selection


class ParityError(QualityError):
    """An export is too far from its original; `exported` says how far."""

    def __init__(self, message: str, exported: Exported) -> None:
        super().__init__(message)
        self.exported = exported


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: The file, or the folder of a SavedModel.
        parity: How far it is from the original.
        parity_path: The same as JSON, beside the file.
        notes: What a user should know, sentences.
    """

    path: Path
    parity: Parity
    parity_path: Path
    notes: tuple[str, ...]


def export_detector(
    run: Detector | str | Path,
    out: str | Path,
    to: str | None = None,
    *,
    weights: str | None = None,
    scales: int | None = None,
    data: str | Path | None = None,
    accept: bool = False,
) -> Exported:
    """Export a trained detector.

    Args:
        run: A run's folder, or a detector that was loaded from one.
        out: The file, or for "saved-model" the folder; an older one is replaced.
        to: "tflite", "onnx", "web" or "saved-model"; by default what `out`'s suffix says.
        weights: "float32", "float16" or "int8"; the target's default if None (`WEIGHTS`).
        scales: 1 or 2, at how many sizes the detector sees a picture; as it was trained if None.
        data: Labelled pictures to compare and to calibrate on; by default those that the run was
            trained and evaluated on.
        accept: Write the file even if it is too far from its original.

    Returns:
        The file and the comparison.

    Raises:
        UserError: If a setting is wrong, a package is missing, or the detector cannot be converted.
        ParityError: If the export lost more than 0.02 AP or a confident detection, and not `accept`.
    """
    out = as_path(out, "the output")
    to = _target(out, to)
    weights = _weights(to, weights)
    parity_path = out.with_name(out.name + ".parity.json")
    of_run = run.folder if isinstance(run, Detector) else as_path(run, "the run")
    # Before the detector is loaded:
    check_outputs([out, parity_path], _VERB, [of_run] if of_run is not None else [])
    detector, folder = _detector(run)
    notes: list[str] = []
    datasets = _datasets(folder, data, notes)
    original = _at_scales(detector, scales, to)
    if original.has_masks and to == "web":
        notes.append(
            "a page shows the boxes alone, masks are left out: every other target has them"
        )
        original = original.changed(masks=False)
    with own_output(out, _VERB, [folder]) as part:
        after = _write(original, part, to, weights, datasets, _seed(folder))
        parity = compare(original, after, datasets, _bytes(folder), _bytes(part))
        problems = parity.problems()
        refused = bool(problems) and not accept
        if refused:  # what lies at `out` keeps its own comparison
            parity_path = out.with_name(out.name + ".refused.json")
        with own_output(parity_path, _VERB) as json_part:
            write_json(json_part, parity.to_json())
        exported = Exported(out, parity, parity_path, tuple(notes))
        if refused:
            raise ParityError(
                f"{out} was not written: {'; '.join(problems)} (see {parity_path}; "
                "--accept writes it all the same)",
                exported,
            )
    return exported


def _target(out: Path, to: str | None) -> str:
    if not out.name:
        raise UserError(f"{out} is no name of a file or folder: choose another --out")
    if to is None:
        suffixes = {suffix: name for name, suffix in TARGETS.items() if suffix}
        to = suffixes.get(out.suffix.lower())
        if to is None:
            raise UserError(
                f"{out} does not say what to export to: end it in {', '.join(suffixes)}, "
                "or give --to saved-model"
            )
    if to not in TARGETS:
        raise UserError(f"there is no target {to!r}: give one of {', '.join(TARGETS)}")
    if TARGETS[to] and out.suffix.lower() != TARGETS[to]:
        raise UserError(f"{out} is no {to} file: end its name in {TARGETS[to]}")
    return to


def _weights(to: str, weights: str | None) -> str:
    known = WEIGHTS[to]
    if weights is None:
        return known[0]
    if weights not in known:
        raise UserError(f"{to} has no {weights} weights: give one of {', '.join(known)}")
    return weights


def _detector(run: Detector | str | Path) -> tuple[Detector, Path]:
    detector = run if isinstance(run, Detector) else load_detector(run)
    folder = detector.folder
    if folder is None or not hasattr(detector._functions, "prepare"):
        raise UserError(
            "only a detector in a run's folder can be exported: save it, or load it with "
            "duckdetect.load_detector"
        )
    return detector, folder


def _at_scales(detector: Detector, scales: int | None, to: str) -> Detector:
    """The detector as the export shall be, so that like is compared with like."""
    from duckdetect.export.graph import resolve_scales

    if detector.two_stage:
        if to != "saved-model":
            raise UserError(
                f"{detector.base_name} reads each of its proposals, which {to} has no operators "
                "for: use --to saved-model, or train a one-stage base (`duckdetect bases`)"
            )
        return detector
    return detector if resolve_scales(detector, scales) == 2 else detector.changed(fast=True)


def _datasets(folder: Path, data: str | Path | None, notes: list[str]) -> dict[str, Dataset]:
    """The run's own pictures by name: training, validation and test, as far as they are still there."""
    if data is not None:
        data = as_path(data, "the data")
        return {data.name: load_dataset(data)}
    try:
        config = read_config(folder.parent)
    except UserError:
        config = {}
    known: list[tuple[str, Any]] = [
        ("train", config.get("data")),
        ("valid", config.get("validation")),
    ]
    about = read_about(folder.parent)
    known.append(("test", about and about["data"]))
    found: dict[str, Dataset] = {}
    for name, described in known:
        if not described:
            continue
        dataset = find_again(described, folder.parent)
        if dataset is None:
            notes.append(
                f"{described.get('folder')}, the run's {name} images, cannot be read or has changed"
            )
            continue
        if not any(data_sha256(dataset) == data_sha256(other) for other in found.values()):
            found[name] = dataset
    if not found:
        raise UserError(
            f"none of the pictures of {folder.parent} is there any more, to prove the export on: "
            "give others with --data"
        )
    return found


def _seed(folder: Path) -> int:
    try:
        seed = read_config(folder.parent)["train"]["seed"]
        return TrainConfig(seed=seed).seed
    except (UserError, KeyError, TypeError):  # no run, or none of ours
        return 0


def _write(
    detector: Detector,
    part: Path,
    to: str,
    weights: str,
    datasets: dict[str, Dataset],
    seed: int,
) -> Any:
    """Write the export; returns what detects with it."""
    if to == "saved-model":
        from duckdetect.export.saved_model import ServedDetector, write_saved_model

        write_saved_model(detector, part, None)
        return ServedDetector(part)
    from duckdetect.export.graph import describe, read_network

    for module in ("tf2onnx", "onnxruntime") if to == "onnx" else ("ai_edge_litert",):
        needed(module, f"--to {to}")
    network = read_network(detector)
    about = describe(detector, network, weights)
    if to == "onnx":  # suppression is within
        about = replace(about, postprocess=None)
    description = f"{detector.base_name} trained by duckdetect to find: " + ", ".join(
        detector.classes
    )
    if to == "onnx":
        from duckdetect.export.onnx import to_onnx

        part.write_bytes(to_onnx(network, about, description))
        return load_light(part)
    from duckdetect.export.tflite import to_tflite
    from duckdetect.export.tflite_metadata import with_metadata

    train = next(iter(datasets.values()))
    views = PlainViews(train.samples)
    content = to_tflite(network, weights, _calibration(about, views, seed))
    model = part if to == "tflite" else part.with_suffix(".tflite")
    model.write_bytes(with_metadata(content, about, description))
    if weights == "int8":
        # Eight bits move scores by tenths: the threshold is chosen as training chose its own.
        chosen = threshold_on_views(load_light(model), views, seed, distractors=True)
        about = replace(about, threshold=chosen)
        model.write_bytes(with_metadata(content, about, description))
    light = load_light(model)
    if to == "web":
        from duckdetect.export.web import write_page

        write_page(part, model.read_bytes(), about)
    return light


def _calibration(
    about: ExportedModel, views: PlainViews, seed: int
) -> Iterator[tuple[np.ndarray, ...]]:
    boxed = any(len(sample.xyxy) for sample in views.samples)
    n_plain = min(len(views), _CALIBRATION)
    images = itertools.chain(
        (views[i].image for i in range(n_plain)),
        (v.image for v in augmented_views(views, _CALIBRATION - n_plain, seed + _SEED))
        if boxed
        else (),
    )
    for image in images:
        yield tuple(one.run(shrink(image, one.size_hw))[0][np.newaxis] for one in about.inputs)


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
