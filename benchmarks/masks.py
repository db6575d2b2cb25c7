"""Masks of a one-stage base: how good, how long to train, what they cost in detecting.

    python benchmarks/masks.py [--seeds 0 1] [--sets people ducks strawberries]

The default base and settings: photos of people as they are divided (35 to train on, 7 to validate on, 8
to test on), the five sample ducks and their test, five strawberry photos and the others. A row a set and
seed: AP and AP50 of boxes and of masks, the mean IoU of masks in boxes that match a labelled one, what
training the masks adds, and a picture with and without masks, each measured in the same run. Rows are
kept in results/bench/masks.json and not measured again; the table of all of them is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from pycocotools import mask as coco_mask

import duckdetect as dd
from benchmarks.fewshot import DUCKS, SHARED, load
from duckdetect.data.outline import outline_sample
from duckdetect.evaluation.evaluate import collect_detections
from duckdetect.evaluation.metrics import score_detections
from duckdetect.imaging.geometry import detection_rles, pairwise_iou, to_rle
from duckdetect.training import finetune
from duckdetect.utils.files import write_json

ROWS = Path(__file__).parents[1] / "results" / "bench" / "masks.json"
COLUMNS = ("AP", "AP50", "mask AP", "mask AP50", "mean IoU", "train s", "of it masks s",
           "ms boxes", "ms with masks", "objects a picture")  # fmt: skip


def parts(name: str, seed: int) -> tuple[dd.Dataset, dd.Dataset | None, dd.Dataset]:
    """What to train on, to validate on and to test on; of NAME:computer the first outlined by GrabCut."""
    name, _, computer = name.partition(":")
    if computer:
        train, val, test = parts(name, seed)
        bare = (replace(sample, segmentation=None) for sample in train)
        return replace(train, samples=tuple(map(outline_sample, bare))), val, test
    if name == "people":
        folder = SHARED / "people"
        return (*(dd.load_dataset(folder, split) for split in ("train", "valid", "test")),)  # type: ignore[return-value]
    source = f"{DUCKS / 'train'}:{DUCKS / 'test'}" if name == "ducks" else SHARED / "fewshot" / name
    train, test = load(str(source), 5, seed, 40)
    return train, None, test


def matched_iou(test: dd.Dataset, found: list[Any]) -> float:
    """The mean IoU of labelled masks with that of the best-scored detection on each of their boxes."""
    values = []
    for sample, one in zip(test.samples, found, strict=True):
        rles = detection_rles(one) or []
        if not rles or sample.segmentation is None:
            continue
        overlap = pairwise_iou(sample.xyxy, one.xyxy)
        for i, outline in enumerate(sample.segmentation):
            on_it = np.flatnonzero(overlap[i] >= 0.5)
            if outline and len(on_it):
                best = on_it[np.argmax(one.confidence[on_it])]
                truth = to_rle(outline, sample.size_hw)
                values.append(float(coco_mask.iou([rles[best]], [truth], [0])[0, 0]))
    return float(np.mean(values))


def milliseconds(detector: Any, images: list[np.ndarray], masks: bool) -> float:
    """The median time of a picture at the detector's own threshold."""
    times = []
    for image in images:
        start = time.perf_counter()
        detector.predict(image, masks=masks)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def measure(name: str, seed: int) -> dict[str, float]:
    """Train, and measure."""
    train, val, test = parts(name, seed)
    took = [0.0]
    real = finetune.train_masks

    def timed(*args: Any, **more: Any) -> Any:
        start = time.perf_counter()
        trained = real(*args, **more)
        took[0] = time.perf_counter() - start
        return trained

    finetune.train_masks = timed
    try:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            config = dd.TrainConfig(seed=seed)
            run = dd.train(train, out=Path(folder) / "run", config=config, val=val)
            whole = time.perf_counter() - start
    finally:
        finetune.train_masks = real
    found = collect_detections(run.detector, test)
    metrics = score_detections(test, found)
    assert metrics.masks is not None
    images = [sample.load() for sample in test.samples[:20]]
    milliseconds(run.detector, images[:2], True)
    bare, with_masks = (milliseconds(run.detector, images, masks) for masks in (False, True))
    n_kept = np.mean([len(run.detector.predict(image, masks=False)) for image in images])
    row = (metrics.AP, metrics.AP50, metrics.masks.AP, metrics.masks.AP50, matched_iou(test, found),
           whole, took[0], bare, with_masks, n_kept)  # fmt: skip
    return {key: round(float(value or 0), 3) for key, value in zip(COLUMNS, row, strict=True)}


def main() -> None:
    """Measure what is not measured yet, and print all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--sets", nargs="+", default=["people", "ducks", "strawberries"])
    args = parser.parse_args()
    rows = json.loads(ROWS.read_text()) if ROWS.is_file() else {}
    for seed in args.seeds:
        for name in args.sets:
            if f"{name} {seed}" not in rows:
                rows[f"{name} {seed}"] = measure(name, seed)
                ROWS.parent.mkdir(parents=True, exist_ok=True)
                write_json(ROWS, rows)
    print(f"| set, seed | {' | '.join(COLUMNS)} |\n|{' --- |' * (len(COLUMNS) + 1)}")
    for key, row in rows.items():
        print(f"| {key} | {' | '.join(f'{row[column]:.3g}' for column in COLUMNS)} |")


if __name__ == "__main__":
    main()
