"""Exported detectors against the run they come from: speed on one thread, start-up, memory, size, AP.

    python benchmarks/export.py [--run results/demo] [--rounds 3]

Each measurement is a fresh process held to one processor, and the files take turns, so that
a busy machine slows all of them; ratios are of the processor's time, which depends little on its load.
`start` is from Python's start to the detector, `first` to the first picture's detections. AP and AP50 on
the labelled `--images`, and confident detections lost and gained, are of the comparison that `duckdetect
export` makes itself. Of the page the size alone is measured; it holds the TFLite file. Writes
results/bench/export.json and prints a table.
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
from pathlib import Path
import duckdetect as dd
if sys.argv[1].endswith("served"):
    from duckdetect.export.saved_model import ServedDetector
    detector = ServedDetector(Path(sys.argv[1]))
else:
    detector = dd.load_detector(sys.argv[1])
    if sys.argv[2] == "1" and not hasattr(detector, "path"):
        detector = detector.changed(fast=True)
loaded = time.perf_counter() - start
from duckdetect.imaging.io import list_images, load_image
images = [load_image(p) for p in list_images(sys.argv[3])][:6]
begin = time.perf_counter()
detector.predict(images[:1], detector.threshold)
first = loaded + time.perf_counter() - begin
best = []
for image in images:
    times = []
    for _ in range(3):
        begin = time.process_time()
        detector.predict([image], detector.threshold)
        times.append(time.process_time() - begin)
    best.append(min(times))
# getrusage would tell of the process that started this one.
memory = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
print(loaded, first, memory, *best)
"""
KINDS = [
    ("TFLite float32", "float32.tflite", "float32"),
    ("TFLite float16", "float16.tflite", "float16"),
    ("TFLite int8", "int8.tflite", "int8"),
    ("ONNX float32", "float32.onnx", "float32"),
    ("ONNX float16", "float16.onnx", "float16"),
    ("saved-model", "served", "float32"),
    ("page", "float16.html", "float16"),
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
    dd.evaluate(args.run, args.images)  # so that the comparison is made on them, too
    rows: list[dict[str, Any]] = []
    for scales in args.scales if detector.high_res_hw else (1,):
        original: dict[str, Any] = {"scales": scales, "what": "TensorFlow", "path": args.run}
        rows.append(original)
        for what, name, weights in KINDS:
            path = args.out / f"{scales}_{name}"
            to = "saved-model" if name == "served" else None
            exported = export_detector(
                detector, path, to, weights=weights, scales=scales, accept=True
            )
            parity = exported.parity
            test = parity.sets[-1]
            rows.append(
                {
                    "scales": scales,
                    "what": what,
                    "path": path,
                    "mb": parity.bytes_after / 1e6,
                    "ap": test.ap_after,
                    "ap50": test.ap50_after,
                    "sets": parity.to_json()["sets"],
                }
            )
            original |= {
                "mb": parity.bytes_before / 1e6,
                "ap": test.ap_before,
                "ap50": test.ap50_before,
            }
    runs: list[list[dict[str, float]]] = [[] for _ in rows]
    for _ in range(args.rounds):
        for row, found in zip(rows, runs, strict=True):
            if row["what"] != "page":
                found.append(measure(row["path"], row["scales"], args.images))
    for row, found in zip(rows, runs, strict=True):
        row |= {key: min(one[key] for one in found) for key in (found or [{}])[0]}
        row["path"] = str(row["path"])
    base = {row["scales"]: row["cpu_ms"] for row in rows if row["what"] == "TensorFlow"}
    print(
        "| scales | | CPU ms | against TF | start s | first s | memory MB | MB | AP | AP50 | lost |"
    )
    print("|" + " --- |" * 11)
    for row in rows:
        cells = [str(row["scales"]), row["what"], *[""] * 5]
        if "cpu_ms" in row:
            row["ratio"] = base[row["scales"]] / row["cpu_ms"]
            cells[2:] = [
                f"{row['cpu_ms']:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['start_s']:.2f}",
                f"{row['first_s']:.2f}",
                f"{row['memory_mb']:.0f}",
            ]
        test = row.get("sets", [{"lost": 0, "gained": 0, "confident": 0}])[-1]
        lost = f"{test['lost']} of {test['confident']}, {test['gained']} gained"
        more = [f"{row['mb']:.1f}", f"{row['ap']:.3f}", f"{row['ap50']:.3f}", lost]
        print(f"| {' | '.join(cells + more)} |")
    write_json(args.out / "export.json", json.loads(json.dumps(rows)))


if __name__ == "__main__":
    main()
