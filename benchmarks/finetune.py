"""Training speed: the stock loop against ours, measured in one run.

    python benchmarks/finetune.py [--base ssd_mobilenet_v2] [--base retinanet50] [--steps 20]

For each base: seconds to the first step and seconds a step of the stock loop (the whole model in
every step) and of ours (heads on cached features), on the five sample pictures, batch 4, and the
ratio. RetinaNet50 has random weights where the zoo cannot be reached; speed does not depend on them.
For the embedded base also the whole of `duckdetect train`, from command to saved detector, in a fresh
process. Writes results/bench/finetune.json.
"""

from __future__ import annotations

import argparse
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
from duckdetect.augment import PlainViews
from duckdetect.bases.od_api import build_base, load_base
from duckdetect.bases.od_api_import import pipeline_pb2, text_format
from duckdetect.config import TrainConfig
from duckdetect.datasets import load_dataset
from duckdetect.features import cache_features, frozen_part
from duckdetect.files import write_json
from duckdetect.finetuning import train_step
from duckdetect.loop import batch_index, make_optimizer
from duckdetect.zoo import fetch

import tensorflow as tf  # isort: skip  (duckdetect chooses the Keras)

ROOT = Path(__file__).parents[1]
CONFIG = TrainConfig.stock()


def build(name: str) -> Any:
    if name != "retinanet50":
        return load_base(fetch(name), 1)
    text = (ROOT / "tests" / "data" / "retinanet50.pbtxt").read_text()
    config = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig()).model
    return build_base(name, config, 1)


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
    step = train_step(base, cache, optimizer, variables)
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


def command_seconds(name: str) -> float:
    """Seconds of `duckdetect train` on the five sample pictures, in a fresh process."""
    out = ROOT / "results" / "bench" / "train"
    shutil.rmtree(out, ignore_errors=True)
    data = str(ROOT / "data" / "ducks" / "train")
    command = [sys.executable, "-m", "duckdetect.cli", "train", data, "--base", name]
    start = time.perf_counter()
    subprocess.run([*command, "--out", str(out)], check=True, cwd=ROOT)
    return time.perf_counter() - start


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
    if "ssd_mobilenet_v2" in result:
        result["train_command_s"] = min(command_seconds("ssd_mobilenet_v2") for _ in range(2))
        print(f"duckdetect train, command to saved detector: {result['train_command_s']:.1f} s")
    write_json(ROOT / "results" / "bench" / "finetune.json", result)


if __name__ == "__main__":
    main()
