"""Training speed: the stock loop against ours, measured in one run.

    python benchmarks/finetune.py [--base ssd_mobilenet_v2] [--base retinanet50] [--steps 20]

For each base: seconds to the first step and seconds a step of the stock loop (the whole model in
every step) and of ours (heads on cached features), on the five sample pictures, batch 4, and the
ratio. RetinaNet50 has random weights where the zoo cannot be reached; speed does not depend on them.
Also the whole of `duckdetect train`, from command to saved detector, in a fresh process: with its
defaults, of RetinaNet50 with 100 steps. Writes results/bench/finetune.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.stock import stock_step
from duckdetect.data.augment import PlainViews
from duckdetect.data.loading import load_dataset
from duckdetect.models.graphs import frozen_part
from duckdetect.models.tfod.api import pipeline_pb2, text_format
from duckdetect.models.tfod.load import build_base, load_base
from duckdetect.models.weights import fetch
from duckdetect.training.config import TrainConfig
from duckdetect.training.feature_cache import cache_features
from duckdetect.training.finetune import train_step
from duckdetect.training.loop import batch_index, make_optimizer
from duckdetect.utils.files import write_json

import tensorflow as tf  # isort: skip  (duckdetect chooses the Keras)

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "results" / "bench"
RETINANET_CONFIG = ROOT / "tests" / "helpers" / "data" / "retinanet50.pbtxt"
CONFIG = TrainConfig.stock()


def build(name: str, n_classes: int = 1) -> Any:
    if name != "retinanet50":
        return load_base(fetch(name), n_classes)
    text = RETINANET_CONFIG.read_text()
    config = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig()).model
    return build_base(name, config, n_classes)


def timed(step: Callable[[int], Any], steps: int) -> dict[str, float]:
    """Seconds of the first call and the median of the others."""
    seconds = []
    for number in range(steps + 1):
        start = time.perf_counter()
        step(number)
        seconds.append(time.perf_counter() - start)
    return {"first_step_s": seconds[0], "step_s": statistics.median(seconds[1:])}


def measure(name: str, steps: int, stock_steps: int) -> dict[str, Any]:
    views = PlainViews(load_dataset(ROOT / "data" / "ducks", "train").samples)

    base = build(name)
    optimizer = tf.keras.optimizers.SGD(CONFIG.learning_rate, momentum=CONFIG.momentum)
    stock = stock_step(base, optimizer, base.trained_variables("heads"))
    stock_row = timed(
        lambda n: stock([views[i] for i in batch_index(len(views), 4, 0, n)]), stock_steps
    )

    base = build(name)
    start = time.perf_counter()
    cache = cache_features(base, frozen_part(base, "heads"), views, len(views), patches=True)
    cache_s = time.perf_counter() - start
    variables = base.trained_variables("heads")
    optimizer = make_optimizer(CONFIG, variables)
    step = train_step(base, cache, optimizer, variables, CONFIG)
    ours = timed(
        lambda n: [float(x) for x in step(batch_index(len(views), 4, 0, n)).values()],
        steps,
    )
    return {
        "stock": stock_row,
        "ours": {**ours, "cache_s": cache_s, "cache_mb": cache.n_bytes / 1e6},
        "ratio_per_step": stock_row["step_s"] / ours["step_s"],
        "ratio_100_steps": (stock_row["first_step_s"] + 99 * stock_row["step_s"])
        / (cache_s + ours["first_step_s"] + 99 * ours["step_s"]),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def command(name: str, *options: str) -> dict[str, float]:
    """What `duckdetect train` takes on the five sample pictures, in a fresh process."""
    out = BENCH / "train"
    shutil.rmtree(out, ignore_errors=True)
    data = str(ROOT / "data" / "ducks" / "train")
    words = [sys.executable, "-m", "duckdetect.cli.app", "train", data, "--base", name, *options]
    start = time.perf_counter()
    process = subprocess.Popen([*words, "--out", str(out)], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)  # of this one alone, not of the largest so far
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return {"s": time.perf_counter() - start, "peak_memory_mb": usage.ru_maxrss / 1024}


def untrained_archive() -> Path:
    """RetinaNet50 as the zoo's archive holds it, but with random weights."""
    folder = BENCH / "retinanet50"
    base = build("retinanet50", 90)
    tf.train.Checkpoint(model=base.model).write(str(folder / "checkpoint" / "ckpt-0"))
    shutil.copy(RETINANET_CONFIG, folder / "pipeline.config")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", action="append", help="a base model; both if not given")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--stock-steps", type=int, default=5)
    args = parser.parse_args()
    result: dict[str, Any] = {}
    for name in args.base or ["ssd_mobilenet_v2", "retinanet50"]:
        result[name] = measure(name, args.steps, args.stock_steps)
        row = result[name]
        print(
            f"{name}: stock {row['stock']['step_s']:.3f} s a step, "
            f"ours {row['ours']['step_s']:.4f}, ratio {row['ratio_per_step']:.0f}"
        )
        if name == "retinanet50":
            options = ("--weights", str(untrained_archive()), "--steps", "100")
            row["command"] = command(name, *options)
        else:
            row["command"] = min((command(name) for _ in range(3)), key=lambda taken: taken["s"])
        print(
            f"duckdetect train, command to saved detector: {row['command']['s']:.1f} s, "
            f"{row['command']['peak_memory_mb']:.0f} MB"
        )
    write_json(BENCH / "finetune.json", result)


if __name__ == "__main__":
    main()
