"""Exported detectors against the run they come from: speed on one thread, start-up, memory, size, AP.

    python benchmarks/export.py [--run results/demo] [--rounds 3]

Each measurement is a fresh process held to one processor, and the files take turns, so that
a busy machine slows all of them; ratios are of the processor's time, which depends little on its load.
`start` is from Python's start to the detector, `first` to the first picture's detections. AP is the
comparison that `duckdetect export` makes itself. Writes results/bench/export.json and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

ROOT = Path(__file__).parents[1]
ONE_PROCESS = """
import sys, time
start = time.perf_counter()
import resource
import duckdetect as dd
detector = dd.load_detector(sys.argv[1])
if sys.argv[2] == "1":
    detector = detector if hasattr(detector, 'path') else detector.changed(fast=True)
loaded = time.perf_counter() - start
from duckdetect.imaging.io import list_images, load_image
images = [load_image(p) for p in list_images(sys.argv[3])][:6]
begin = time.perf_counter()
detector.predict(images[0])
first = loaded + time.perf_counter() - begin
best = []
for image in images:
    times = []
    for _ in range(3):
        begin = time.process_time()
        detector.predict(image)
        times.append(time.process_time() - begin)
    best.append(min(times))
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(loaded, first, memory, *best)
"""
KINDS = [
    ("TFLite float32", "float32.tflite", "float32"),
    ("TFLite float16", "float16.tflite", "float16"),
    ("TFLite int8", "int8.tflite", "int8"),
    ("ONNX float32", "float32.onnx", "float32"),
]


def measure(path: Path, scales: int, images: Path) -> dict[str, float]:
    """One fresh process on one processor."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", ONE_PROCESS, str(path), str(scales), str(images)]
    out = subprocess.run(
        ["taskset", "-c", str(max(os.sched_getaffinity(0))), *command],
        capture_output=True, text=True, check=True, env=environment,
    ).stdout.split()  # fmt: skip
    start, first, memory, *times = map(float, out[-9:])
    return {
        "start_s": start,
        "first_s": first,
        "memory_mb": memory,
        "cpu_ms": 1e3 * statistics.mean(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "results" / "demo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scales", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--images", type=Path, default=ROOT / "data" / "ducks" / "test")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench")
    args = parser.parse_args()
    import duckdetect as dd
    from duckdetect.export.exporting import export_detector
    from duckdetect.utils.files import write_json

    detector = dd.load_detector(args.run)
    rows: list[dict[str, Any]] = []
    for scales in args.scales if detector.high_res_hw else (1,):
        row: dict[str, Any] = {"scales": scales, "what": "TensorFlow", "path": args.run}
        rows.append(row)
        for what, name, weights in KINDS:
            path = args.out / f"{scales}_{name}"
            exported = export_detector(detector, path, weights=weights, scales=scales, accept=True)
            rows.append(
                {
                    "scales": scales,
                    "what": what,
                    "path": path,
                    "mb": path.stat().st_size / 1e6,
                    "sets": exported.parity.to_json()["sets"],
                }
            )
    runs: list[list[dict[str, float]]] = [[] for _ in rows]
    for _ in range(args.rounds):
        for row, found in zip(rows, runs, strict=True):
            found.append(measure(row["path"], row["scales"], args.images))
    for row, found in zip(rows, runs, strict=True):
        row.update({key: min(one[key] for one in found) for key in found[0]})
        row["path"] = str(row["path"])
    base = {row["scales"]: row["cpu_ms"] for row in rows if row["what"] == "TensorFlow"}
    print("| scales | | MB | CPU ms | against TensorFlow | start s | first s | memory MB | AP |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        row["ratio"] = base[row["scales"]] / row["cpu_ms"]
        ap = " ".join(f"{s['name']} {s['ap_after']:.3f}" for s in row.get("sets", ()))
        mb = f"{row['mb']:.1f}" if "mb" in row else ""
        print(
            f"| {row['scales']} | {row['what']} | {mb} | {row['cpu_ms']:.1f} | {row['ratio']:.2f} "
            f"| {row['start_s']:.2f} | {row['first_s']:.2f} | {row['memory_mb']:.0f} | {ap} |"
        )
    write_json(args.out / "export.json", json.loads(json.dumps(rows)))


if __name__ == "__main__":
    main()
