"""How time and memory grow: makes sets of N pictures and runs each command on them, a process each.

    python benchmarks/scale.py --sizes 1000 5000 --verbs check convert split

Prints and writes results/scale.json: seconds of processor time, peak memory in MB, and the growth from
one size to the next (1.0 is linear). Peak memory is the system's own count for the process (ru_maxrss).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
VERBS = ("check", "convert", "split", "split-camera", "train", "detect", "eval")


def put_set(folder: Path, n: int, camera: bool = False, seed: int = 0, n_classes: int = 20) -> None:
    """N pictures of 160 x 120, three boxes each; of a fixed camera they look alike."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    images, boxes = [], []
    scene = rng.integers(0, 256, (12, 16, 3), np.uint8)
    for i in range(1, n + 1):
        coarse = scene if camera else rng.integers(0, 256, (12, 16, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
        if camera:
            x, y = (int(v) for v in rng.integers(0, 100, 2))
            picture.paste((255, 210, 0), (x, y, x + 12, y + 12))
        picture.save(folder / f"{i}.jpg", quality=80)
        images.append({"id": i, "file_name": f"{i}.jpg", "width": 160, "height": 120})
        for _ in range(3):
            x, y = (float(v) for v in rng.integers(0, 100, 2))
            boxes.append(
                {
                    **{"id": len(boxes) + 1, "image_id": i, "iscrowd": 0},
                    **{"category_id": int(rng.integers(1, n_classes + 1)), "bbox": [x, y, 20, 20]},
                }
            )
    categories = [{"id": k, "name": f"class {k}"} for k in range(1, n_classes + 1)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(content))


def command(verb: str, data: Path, work: Path, run: Path) -> list[str]:
    """The arguments of the command line."""
    out = str(work / f"{data.name}-{verb}")
    return {
        "check": ["check", str(data)],
        "convert": ["convert", str(data), "--to", "yolo", "--out", out],
        "split": ["split", str(data), "--file", f"{out}.json"],
        "split-camera": ["split", str(data), "--file", f"{out}.json"],
        "train": ["train", str(data), "--base", "ssd_mobilenet_v2", "--out", out, "--steps", "50"],
        "detect": ["detect", str(run), str(data), "--out", out, "--trust"],
        "eval": ["eval", str(run), str(data), "--trust"],
    }[verb]


def measure(arguments: list[str]) -> dict[str, float]:
    """Seconds of processor time and peak memory of a command in a process of its own."""
    pid = os.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(ROOT)
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        os.execv(sys.executable, [sys.executable, "-m", "duckdetect", *arguments])
    _, status, usage = os.wait4(pid, 0)
    used: resource.struct_rusage = usage
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "seconds": round(used.ru_utime + used.ru_stime, 1),
        "MB": round(used.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=["check", "convert", "split"])
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--run", type=Path, default=ROOT / "results" / "demo")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "scale.json")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        before: dict[str, tuple[int, float]] = {}
        for n in sorted(arguments.sizes):
            for camera in (False, True):
                verbs = [v for v in arguments.verbs if (v == "split-camera") == camera]
                data = work / f"{n}{'-camera' if camera else ''}"
                if verbs:
                    put_set(data, n, camera, n_classes=arguments.classes)
                for verb in verbs:
                    found = measure(command(verb, data, work, arguments.run))
                    row: dict[str, object] = {"verb": verb, "images": n, **found}
                    if verb in before:
                        n_before, seconds = before[verb]
                        row["growth"] = round(found["seconds"] / seconds / (n / n_before), 2)
                    before[verb] = (n, found["seconds"])
                    rows.append(row)
                    print(row, flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
