"""Folders of runs as training leaves them, without training: for tests of what comes after it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import describe_data
from duckdetect.training.config import TrainConfig


def put_run(
    folder: Path,
    trained_on: Dataset,
    steps: int = 20,
    views: int = 4,
    watched_with: Dataset | None = None,
) -> Path:
    """Write config.json, histories and a detector that is a stub: nobody loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "duckdetect": "0.1.0",
        "base": "ssd_mobilenet_v2",
        "weights": {"origin": "a wheel", "sha256": "0123456789abcdef" * 4},
        "classes": list(trained_on.classes),
        "data": describe_data(trained_on),
        "validation": describe_data(watched_with) if watched_with else None,
        "train": TrainConfig(steps=steps, seed=7, train="heads").to_dict(),
        "done": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    rows = [
        {"step": k, "loss": 3 / k, "box_loss": 1 / k, "class_loss": 2 / k, "class_accuracy": 0.5}
        for k in range(1, steps + 1)
    ]
    put_csv(folder / "history.csv", rows)
    if views:
        marks = np.linspace(1, steps, views).round().astype(int)
        put_csv(
            folder / "validation.csv",
            [{"step": k, "loss": 3.5 / k, "AP": 0.3, "AP50": 0.5 + k / 1000} for k in marks],
        )
    (folder / "detector").mkdir(exist_ok=True)
    for name in ("detector.json", "saved_model.pb"):
        (folder / "detector" / name).write_text("{}")
    return folder


def identity(run: Path, **changes: Any) -> dict[str, Any]:
    """What config.json says of a run, with other settings."""
    found = json.loads((run / "config.json").read_text())
    config = replace(TrainConfig.from_dict(found["train"]), **changes)
    return {**found, "train": config.to_dict()}


def put_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class Guesser:
    """Finds most labelled boxes, somewhat moved, and others; knows a data set's truth."""

    threshold = 0.6

    def __init__(self, dataset: Dataset, seed: int = 0, spread: float = 0.08) -> None:
        self.classes = dataset.classes
        self._samples = iter(dataset.samples)
        self._random = np.random.default_rng(seed)
        self._spread = spread

    def predict(self, images: Any, threshold: float) -> list[sv.Detections]:
        return [self._guess() for _ in images]

    def _guess(self) -> sv.Detections:
        sample, random = next(self._samples), self._random
        height, width = sample.size_hw
        kept = random.random(len(sample.xyxy)) < 0.8
        boxes = sample.xyxy[kept].astype(float)
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes += random.normal(0, self._spread, boxes.shape) * sides
        corner = random.uniform(0, 0.6, (2, 2)) * [width, height]
        noise = np.concatenate([corner, corner + 0.3 * np.array([width, height])], axis=1)
        xyxy = np.clip(np.concatenate([boxes, noise]), 0, [width, height, width, height])
        classes = sample.class_id[kept].copy()
        wrong = random.random(len(classes)) < 0.15
        classes[wrong] = random.integers(0, len(self.classes), int(wrong.sum()))
        score = np.concatenate([random.uniform(0.4, 1, len(boxes)), random.uniform(0, 0.7, 2)])
        good = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        found = sv.Detections(
            xyxy=xyxy.astype(np.float32),
            confidence=score.astype(np.float32),
            class_id=np.concatenate([classes, random.integers(0, len(self.classes), 2)]),
        )
        return found[good]  # type: ignore[return-value]
