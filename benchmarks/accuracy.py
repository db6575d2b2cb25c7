"""What each part of the recipe is worth: five shots, two data sets, several seeds.

    python benchmarks/accuracy.py [--seeds 3] [--row default --row stock ...]

Ducks: data/ducks/train against data/ducks/test; a seed decides views, weights and batches. Raccoons:
the seed also draws the five shots out of ../shared/data/raccoon, the other 95 are the test; left out
where that folder is absent. Writes results/bench/accuracy.json and prints docs/accuracy.md's rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import duckdetect as dd
from duckdetect.utils.files import write_json

ROOT = Path(__file__).parents[1]
RACCOON = ROOT.parent / "shared" / "data" / "raccoon"
BASE = "ssd_mobilenet_v2"

ROWS: dict[str, dict[str, Any]] = {
    "default": {},
    "without class-weight initialisation": {"class_init": False},
    "without distractors": {"distractors": False},
    "box head at full rate": {"box_lr_multiplier": 1.0},
    "without refinement": {"refine": False},
    "without confusable classes": {"confusables": False},
    "without augmented views": {"views": 0},
    "without decay": {"decay": "none"},
    "learning rate 0.01": {"learning_rate": 0.01},
    "60 views, 200 steps": {"views": 60, "steps": 200},
    "stock": dd.TrainConfig.stock().to_dict(),
}


def shots(data: str, seed: int) -> tuple[dd.Dataset, dd.Dataset]:
    """Five images to train on, and the others."""
    if data == "ducks":
        folder = ROOT / "data" / "ducks"
        return dd.load_dataset(folder, "train"), dd.load_dataset(folder, "test")
    raccoons = dd.load_dataset(RACCOON)
    order = np.random.default_rng(seed).permutation(len(raccoons))
    return raccoons.subset(order[:5]), raccoons.subset(sorted(order[5:]))


def measure(data: str, changes: dict[str, Any], seed: int) -> dict[str, float]:
    train, test = shots(data, seed)
    config = dd.TrainConfig.from_dict({**changes, "seed": seed})
    start = time.perf_counter()
    run = dd.finetune(BASE, train, config, progress=False)
    seconds = time.perf_counter() - start
    metrics = dd.evaluate(run.detector, test)
    empty = [s.load() for s in test.samples if not len(s.xyxy)]
    false = sum(len(found) for found in run.detector.predict(empty)) if empty else 0
    return {
        "AP": metrics.AP or 0.0,
        "AP50": metrics.AP50 or 0.0,
        "threshold": run.detector.threshold,
        "false_on_empty": false,
        "train_s": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--row", action="append", choices=list(ROWS), help="all if not given")
    args = parser.parse_args()
    datasets = ["ducks"] + (["raccoons"] if RACCOON.is_dir() else [])
    result: dict[str, Any] = {}
    for name in args.row or ROWS:
        result[name] = {}
        cells = [name]
        for data in datasets:
            rows = [measure(data, ROWS[name], seed) for seed in range(args.seeds)]
            result[name][data] = rows
            for key in ("AP", "AP50"):
                values = [row[key] for row in rows]
                cells.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}")
        print("| " + " | ".join(cells) + " |", flush=True)
    write_json(ROOT / "results" / "bench" / "accuracy.json", result)


if __name__ == "__main__":
    main()
