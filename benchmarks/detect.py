"""Detection speed against the bare model, and the start-up of a saved detector.

    python benchmarks/detect.py [--pictures 64]

`predict` on pictures in memory (resizing, the model, suppression, pixels) and `detect` on the same as
files (reading, drawing, writing as well), each against the bare frozen part in batches of the same
size: ratios measured in one run. Start-up is a fresh process, from import to the first picture.
Writes results/bench/detect.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdetect as dd
from duckdetect.bases.od_api import load_base
from duckdetect.features import frozen_part
from duckdetect.files import write_json
from duckdetect.pictures import list_pictures

import tensorflow as tf  # isort: skip  (duckdetect chooses the Keras)

ROOT = Path(__file__).parents[1]
BASE = "ssd_mobilenet_v2"
BATCH = 8

START_UP = """
import sys, time
start = time.perf_counter()
import duckdetect as dd
detector = dd.load_detector(sys.argv[1])
detector.predict(dd.load_picture(sys.argv[2]))
print(time.perf_counter() - start)
"""


def best(call: Callable[[], Any], times: int = 3) -> float:
    """The least of a few durations in seconds, after one call to warm up."""
    call()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=48)
    args = parser.parse_args()
    paths = list_pictures(ROOT / "data" / "ducks" / "clip")[: args.pictures]
    pictures = [dd.load_picture(path) for path in paths]
    base = load_base(dd.fetch(BASE), 1)
    frozen = frozen_part(base, "heads")
    batches = [
        tf.zeros([min(BATCH, len(pictures) - i), *base.input_hw, 3])
        for i in range(0, len(pictures), BATCH)
    ]
    bare_s = best(lambda: [frozen(batch) for batch in batches])
    with tempfile.TemporaryDirectory() as folder:
        run = dd.finetune(
            BASE,
            dd.load_dataset(ROOT / "data" / "ducks", "train"),
            dd.TrainConfig.stock(),
            f"{folder}/run",
            progress=False,
        )
        predict_s = best(lambda: run.detector.predict(pictures))
        files_s = best(lambda: dd.detect(run.detector, paths, f"{folder}/out", progress=False), 1)
        command = [sys.executable, "-c", START_UP, f"{folder}/run", str(paths[0])]
        start_up_s = min(
            float(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
            for _ in range(2)
        )
    result = {
        "pictures": len(pictures),
        "bare_s": bare_s,
        "predict_s": predict_s,
        "predict_ratio": predict_s / bare_s,
        "detect_files_s": files_s,
        "detect_files_ratio": files_s / bare_s,
        "start_up_s": start_up_s,
    }
    for name, value in result.items():
        print(f"{name:20} {value:.3f}")
    write_json(ROOT / "results" / "bench" / "detect.json", result)


if __name__ == "__main__":
    main()
