"""What K images of any object buy: default settings, several data sets, seeds and numbers of images.

    python benchmarks/fewshot.py [--data ../shared/data/fewshot/*] [--shots 5 20 all] [--seeds 0 1 2]
        [--train auto heads] [--stock] [--test 40]

A seed draws the K images, each class once where K allows, and the run's views, weights and batches; the
test is a fixed draw of the others (with `all`, every second image is the test). It writes
results/bench/fewshot.json after each row and prints a table. Settings are chosen on the odd
half of the sets by name and on seeds 0 and 1; the even half and seed 2 are reported beside them.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import duckdetect as dd
from duckdetect.evaluation.matching import match_detections
from duckdetect.utils.files import write_json

ROOT = Path(__file__).parents[1]
SETS = ROOT.parent / "shared" / "data" / "fewshot"
BASE = "ssd_mobilenet_v2"


def draw(data: dd.Dataset, shots: int | None, seed: int, n_test: int) -> tuple[Any, Any]:
    """K images to train on, and a fixed test from the others; None for all but every second."""
    if shots is None:
        return data.subset(range(0, len(data), 2)), data.subset(range(1, len(data), 2))
    with_box = [i for i, sample in enumerate(data.samples) if len(sample.xyxy)]
    rng = random.Random(seed)
    rng.shuffle(with_box)
    chosen: list[int] = []
    missing = {int(c) for sample in data.samples for c in sample.class_id}
    for class_id in sorted(missing):
        if class_id in missing and len(chosen) < shots:
            first = next(
                i for i in with_box if i not in chosen and class_id in data.samples[i].class_id
            )
            chosen.append(first)
            missing -= {int(c) for c in data.samples[first].class_id}
    chosen += [i for i in with_box if i not in chosen][: shots - len(chosen)]
    others = [i for i in range(len(data)) if i not in chosen]
    random.Random(1).shuffle(others)
    return data.subset(chosen), data.subset(sorted(others[:n_test]))


def f1_at(test: dd.Dataset, found: Any, threshold: float) -> float:
    matches = [
        match_detections(sample, detections, threshold)
        for sample, detections in zip(test.samples, found, strict=True)
    ]
    right, wrong, missed = (
        sum(getattr(m, n) for m in matches) for n in ("n_true", "n_false", "n_missed")
    )
    return 2 * right / max(1, 2 * right + wrong + missed)


def calibration_error(test: dd.Dataset, found: Any) -> float:
    """The expected calibration error of scores from 0.05 up, ten bins (Guo et al. 2017)."""
    score, right = [], []
    for sample, detections in zip(test.samples, found, strict=True):
        match = match_detections(sample, detections, 0.05)
        score += list(np.asarray(detections.confidence)[match.kept])
        right += list(match.is_true)
    if not score:
        return 1.0
    scores, rights = np.array(score), np.array(right, float)
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [abs((scores - rights)[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(sum(gaps))


def measure(
    data: dd.Dataset, shots: int | None, seed: int, n_test: int, config: Any
) -> dict[str, Any]:
    train, test = draw(data, shots, seed, n_test)
    wall, cpu = time.perf_counter(), time.process_time()
    run = dd.finetune(BASE, train, config, progress=False)
    seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    found = [run.detector.predict(sample.load(), threshold=0.0) for sample in test.samples]
    metrics = dd.evaluate(run.detector, test)
    return {
        "images": len(train),
        "boxes": train.n_boxes,
        "train": run.config.train,
        "AP": metrics.AP or 0.0,
        "AP50": metrics.AP50 or 0.0,
        "threshold": run.detector.threshold,
        "F1": f1_at(test, found, run.detector.threshold),
        "best_F1": max(f1_at(test, found, t) for t in np.arange(0.05, 0.95, 0.02)),
        "calibration_error": calibration_error(test, found),
        **seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", default=sorted(SETS.glob("*")))
    parser.add_argument("--shots", nargs="+", default=["5", "20", "all"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", nargs="+", default=["auto"])
    parser.add_argument("--stock", action="store_true", help="the few-shot notebook's recipe too")
    parser.add_argument("--test", type=int, default=40, help="test images at most")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print("| set | images | trained | AP | AP50 | F1 (best) | calibration error | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for folder in args.data:
        data = dd.load_dataset(folder)
        for shots in args.shots:
            for level in [*args.train, *(["stock"] if args.stock else [])]:
                found = []
                for seed in args.seeds:
                    config = (
                        dd.TrainConfig.stock(seed=seed)
                        if level == "stock"
                        else dd.TrainConfig(train=level, seed=seed)
                    )
                    k = None if shots == "all" else int(shots)
                    row = measure(data, k, seed, args.test, config)
                    rows.append(
                        {"set": folder.name, "shots": shots, "recipe": level, "seed": seed, **row}
                    )
                    write_json(ROOT / "results" / "bench" / "fewshot.json", {"rows": rows})
                    found.append(row)
                mean = {
                    key: np.mean([row[key] for row in found]) for key in found[0] if key != "train"
                }
                print(
                    f"| {folder.name} | {found[0]['images']} | {level}: {found[0]['train']} | "
                    f"{mean['AP']:.3f} | {mean['AP50']:.3f} | {mean['F1']:.2f} ({mean['best_F1']:.2f}) | "
                    f"{mean['calibration_error']:.2f} | {mean['cpu_s']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
