"""`duckdetect bulk` beside the plain loop in one run, and its memory from few to many pictures.

    python benchmarks/bulk.py [--run results/demo] [--pictures 400] [--memory 1000 20000 --small-run RUN]

The loop reads with four threads and detects on batches of eight, on all cores. Bulk's time runs from the
first picture that is given out; Ray's start and the loading of the detectors are told apart. Writes
results/bench/bulk.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdetect as dd
from duckdetect.imaging.io import load_image
from duckdetect.inference import bulk as bulk_module
from duckdetect.utils.files import write_json

ROOT = Path(__file__).parents[1]
PICTURES = sorted((ROOT / "data" / "ducks" / "test").glob("*.jpg"))


def copies(folder: Path, n: int, side: int | None = None) -> list[str]:
    """N pictures by links; small ones where a side in pixels is given."""
    sources = PICTURES
    if side:
        from PIL import Image

        sources = []
        for path in PICTURES:
            small = folder / f"source-{path.name}"
            Image.open(path).resize((side, side)).save(small)
            sources.append(small)
    (folder / "many").mkdir()
    for i in range(n):
        (folder / "many" / f"{i:06d}.jpg").symlink_to(sources[i % len(sources)])
    return sorted(map(str, (folder / "many").iterdir()))


def loop_seconds(run: str, paths: list[str]) -> float:
    """The plain loop, its detector warm."""
    detector = dd.load_detector(run)
    detector.predict([load_image(path) for path in paths[:8]])
    start = time.perf_counter()
    with ThreadPoolExecutor(4) as readers:
        images = readers.map(load_image, paths)
        while batch := [image for _, image in zip(range(8), images, strict=False)]:
            detector.predict(batch)
    return time.perf_counter() - start


def bulk_seconds(run: str, folder: Path) -> dict[str, float]:
    """All of it, and a picture once all workers are warm."""
    times: list[tuple[float, int]] = []
    detected = bulk_module._detected

    def timed(*args: Any) -> Any:
        for table in detected(*args):
            times.append((time.perf_counter(), table.num_rows))
            yield table

    bulk_module._detected = timed
    bulk_module._TASK = 8  # rows come back evenly
    start = time.perf_counter()
    try:
        bulk_module.bulk(run, folder / "many", folder / "out", progress=False)
    finally:
        bulk_module._detected = detected
    # Not the first rows: what other workers had done by then would count as done in no time.
    first = min(2 * (os.cpu_count() or 1), len(times) // 2)
    seconds, rows = times[-1][0] - times[first][0], sum(n for _, n in times[first + 1 :])
    return {"all_s": time.perf_counter() - start, "per_picture_s": seconds / rows}


def tree_mb() -> float:
    """What this process and its children hold together, MB, shared pages counted once (PSS)."""
    parents, total = {os.getpid()}, 0.0
    for proc in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: int(p.name)):
        try:
            parent = int((proc / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in parents or int(proc.name) in parents:
                parents.add(int(proc.name))
                rollup = (proc / "smaps_rollup").read_text()
                total += next(
                    int(x.split()[1]) for x in rollup.splitlines() if x.startswith("Pss:")
                )
        except (OSError, StopIteration, ValueError):
            continue
    return total / 1024


def peak_mb(run: str, folder: Path) -> float:
    """The most that bulk and its processes hold, looked at every two seconds."""
    peaks, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(2):
            peaks.append(tree_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        bulk_module.bulk(run, folder / "many", folder / "out", progress=False)
    finally:
        done.set()
        watcher.join()
    return max(peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default=str(ROOT / "results" / "demo"))
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--memory", type=int, nargs="*", default=[])
    parser.add_argument("--small-run", help="a detector with a small input, for --memory")
    args = parser.parse_args()
    result: dict[str, Any] = {"cores": os.cpu_count(), "pictures": args.pictures}
    folder = Path(tempfile.mkdtemp())
    try:
        paths = copies(folder, args.pictures)
        loop = loop_seconds(args.run, paths) / len(paths)
        found = bulk_seconds(args.run, folder)
        result |= {"loop_s": loop, "bulk_s": found["per_picture_s"], "all_s": found["all_s"]}
        result["rate"] = loop / found["per_picture_s"]
        result["peak_mb"] = {}
        for n in args.memory:
            place = folder / f"memory-{n}"
            place.mkdir()
            copies(place, n, side=160)
            result["peak_mb"][n] = peak_mb(args.small_run or args.run, place)
    finally:
        shutil.rmtree(folder)
    write_json(ROOT / "results" / "bench" / "bulk.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
