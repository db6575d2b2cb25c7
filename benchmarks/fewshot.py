"""What K images of any object buy: default settings, several data sets, seeds and numbers of images.

    python benchmarks/fewshot.py [--shots 5 20 all] [--seeds 0 1 2] [--train auto auto+rotate heads]
        [--stock] [--api 1 10] [--data FOLDER TRAIN_FOLDER:TEST_FOLDER ...] [--test 40]

A seed draws the K images, each class once where K allows, and the run's views, weights and batches; the
test is a fixed draw of the others (with `all`, every second image is the test). TRAIN_FOLDER:TEST_FOLDER
has its own test, and is left out where it has fewer than K images. Rows are kept in
results/bench/fewshot.json as they are measured, and not measured again; the table of all of them is
printed at the end. Settings are chosen on the odd half of the sets by name and on seeds 0 and 1; the
even half and seed 2 are reported beside them. `--api 1 10` trains the same base on the same images as the
API's own script does (stock.py, `full_fine_tuning`), as long as the first recipe took, and ten times so.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import duckdetect as dd
from benchmarks.stock import full_fine_tuning
from duckdetect.evaluation.evaluate import collect_detections
from duckdetect.evaluation.matching import match_detections
from duckdetect.evaluation.metrics import score_detections
from duckdetect.utils.files import write_json

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
DUCKS = ROOT / "data" / "ducks"
BASE = "ssd_mobilenet_v2"
ROWS = ROOT / "results" / "bench" / "fewshot.json"


def default_sets() -> list[str]:
    """The six sets that nobody tuned to, raccoons, ducks, and one drawing of ducks to another."""
    folders = [*sorted((SHARED / "fewshot").glob("*")), SHARED / "raccoon"]
    pairs = [f"{DUCKS / 'train'}:{DUCKS / 'test'}", f"{SHARED / 'ducky'}:{DUCKS / 'test'}"]
    return [*map(str, folders), *pairs]


def name_of(data: str) -> str:
    """A set's name in the table."""
    folders = [Path(part) for part in data.split(":")]
    return " to ".join(
        dict.fromkeys(f.parent.name if f.name in ("train", "test") else f.name for f in folders)
    )


def load(data: str, shots: int | None, seed: int, n_test: int) -> tuple[dd.Dataset, dd.Dataset]:
    """Images to train on and to test on."""
    first, _, second = data.partition(":")
    whole = dd.load_dataset(first)
    if not second:
        return draw(whole, shots, seed, n_test)
    train = whole if shots in (None, len(whole)) else draw(whole, shots, seed, 0)[0]
    test = dd.load_dataset(second)
    if len(train.classes) == len(test.classes) == 1:  # one object, whatever each calls it
        test = dataclasses.replace(test, classes=train.classes)
    return train, test


def draw(
    data: dd.Dataset, shots: int | None, seed: int, n_test: int
) -> tuple[dd.Dataset, dd.Dataset]:
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
    """F1 at IoU 0.5 of the detections from a score up."""
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


def measure(train: dd.Dataset, test: dd.Dataset, config: dd.TrainConfig) -> dict[str, Any]:
    """Train once and measure on the test images."""
    wall, cpu = time.perf_counter(), time.process_time()
    run = dd.train(train, BASE, config=config, progress=False)
    seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    wall = time.perf_counter()
    found = collect_detections(run.detector, test)
    seconds["detect_s"] = (time.perf_counter() - wall) / len(test)
    metrics = score_detections(test, found)
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


def measure_api(train: dd.Dataset, test: dd.Dataset, seconds: float, seed: int) -> dict[str, Any]:
    """The API's full fine-tuning on the same images; its F1 is at the best threshold there."""
    cpu = time.process_time()
    detect, n_steps = full_fine_tuning(train, seconds, seed)
    cpu = time.process_time() - cpu
    found = [detect(sample.load()) for sample in test.samples]
    metrics = score_detections(test, found)
    best = max(f1_at(test, found, t) for t in np.arange(0.05, 0.95, 0.02))
    return {
        "images": len(train),
        "boxes": train.n_boxes,
        "train": f"all, {n_steps} steps",
        "AP": metrics.AP or 0.0,
        "AP50": metrics.AP50 or 0.0,
        "F1": best,
        "best_F1": best,
        "calibration_error": calibration_error(test, found),
        "wall_s": None,
        "cpu_s": cpu,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Means over the seeds, a line for each set, number of images and recipe."""
    lines = [
        "| set | images | recipe | trained | seeds | AP | AP50 | F1 (best) | calibration error | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    keys = dict.fromkeys((row["set"], row["shots"], row["recipe"]) for row in rows)
    for key in sorted(keys):
        found = [row for row in rows if (row["set"], row["shots"], row["recipe"]) == key]
        mean = {
            name: float(np.mean([row[name] for row in found]))
            for name in ("AP", "AP50", "F1", "best_F1", "calibration_error", "cpu_s")
        }
        trained = " or ".join(dict.fromkeys(row["train"] for row in found))
        lines.append(
            f"| {key[0]} | {found[0]['images']} | {key[2]} | {trained} | "
            f"{' '.join(str(row['seed']) for row in found)} | "
            f"{mean['AP']:.3f} | {mean['AP50']:.3f} | {mean['F1']:.2f} ({mean['best_F1']:.2f}) | "
            f"{mean['calibration_error']:.2f} | {mean['cpu_s']:.0f} |"
        )
    return "\n".join(lines)


def settings(recipe: str, seed: int) -> dd.TrainConfig:
    """The settings of `auto`, of a level with settings that are on (`auto+rotate`), or of `stock`."""
    if recipe == "stock":
        return dd.TrainConfig.stock(seed=seed)
    level, *on = recipe.split("+")
    more: dict[str, Any] = {"train": level, **dict.fromkeys(on, True)}
    return dd.TrainConfig(seed=seed, **more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=default_sets())
    parser.add_argument("--shots", nargs="+", default=["5", "20", "all"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", nargs="+", default=["auto"])
    parser.add_argument("--stock", action="store_true", help="the few-shot notebook's recipe too")
    parser.add_argument(
        "--api", type=float, nargs="+", default=[], help="the API's own training, times as long"
    )
    parser.add_argument("--test", type=int, default=40, help="test images at most")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(ROWS.read_text())["rows"] if ROWS.exists() else []
    recipes = [*args.train, *(["stock"] if args.stock else [])]
    for seed in args.seeds:
        for shots in args.shots:
            k = None if shots == "all" else int(shots)
            for data in args.data:
                train, test = load(data, k, seed, args.test)
                for recipe in recipes if k is None or len(train) == k else []:
                    key = {"set": name_of(data), "shots": shots, "recipe": recipe, "seed": seed}
                    if any(key.items() <= row.items() for row in rows):
                        continue
                    rows.append({**key, **measure(train, test, settings(recipe, seed))})
                    write_json(ROWS, {"rows": rows})
                    print(rows[-1], file=sys.stderr, flush=True)
                for times in args.api if k is None or len(train) == k else []:
                    key = {"set": name_of(data), "shots": shots, "seed": seed}
                    ours = {**key, "recipe": recipes[0]}
                    seconds = times * next(r["cpu_s"] for r in rows if ours.items() <= r.items())
                    key["recipe"] = f"API, x{times:g}"
                    if any(key.items() <= row.items() for row in rows):
                        continue
                    rows.append({**key, **measure_api(train, test, seconds, seed)})
                    write_json(ROWS, {"rows": rows})
                    print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
