"""Which images to label next: random choice against `rank`, and clicks with suggestions against none.

    python benchmarks/suggest.py [--data FOLDER ...] [--how random rank] [--rounds 5 10 15] [--seeds 0 1]
        [--test 40] [--train on from-base]

A person is simulated who labels whole images: from five on some are added a round, chosen at random
or by the last detector, and trained on from the last run as `train --correct` does, or from the base.
After each round AP50 on a fixed test, and what correcting that detector's suggestions there would cost;
before it, the same for the round's images. A box to draw (with its class), delete, move or give another
class is one click, a suggestion that is right (IoU of one half or more) is none, a press on Next is one.
Rows are kept in results/bench/suggest.json as they are measured, and not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import duckdetect as dd
from benchmarks.fewshot import BASE, SHARED, draw, name_of
from duckdetect.annotation.suggestions import rank, suggest
from duckdetect.data.convert import write_splits
from duckdetect.evaluation.evaluate import collect_detections
from duckdetect.evaluation.matching import match_detections
from duckdetect.evaluation.metrics import score_detections
from duckdetect.utils.files import write_json

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "results" / "bench" / "suggest.json"


def clicks(truth: dd.Dataset, suggested: Sequence[Any], threshold: float) -> tuple[int, int]:
    """Clicks to label these images from nothing, and by correcting what is suggested.

    Args:
        truth: The images with their labels.
        suggested: The detections of each.
        threshold: The score from which they are suggested.
    """
    drawn = corrected = 0
    for sample, found in zip(truth.samples, suggested, strict=True):
        drawn += len(sample.xyxy) + 1
        match = match_detections(sample, found, threshold)
        # Whatever its class: what is found and called by another name takes a key.
        place = match_detections(sample, found, threshold, same_class=False)
        renamed = max(place.n_true - match.n_true, 0)
        corrected += place.n_missed + place.n_false + renamed + 1
    return drawn, corrected


def as_detections(sample: dd.Sample) -> Any:
    """Suggested boxes as detections."""
    import supervision as sv

    return sv.Detections(sample.xyxy, None, sample.score, sample.class_id.astype(int))


def simulate(
    data: Path, how: str, seed: int, rounds: list[int], n_test: int, from_base: bool = False
) -> list[dict[str, Any]]:
    """Label, train and measure, round by round."""
    whole = dd.load_dataset(data)
    first, test = draw(whole, rounds[0], seed, n_test)
    taken = {sample.path for sample in (*first.samples, *test.samples)}
    pool = [sample for sample in whole.samples if sample.path not in taken]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        # The runs must find their images again.
        write_splits({None: first}, "coco", Path(scratch) / "first", False, verb="convert")
        run = dd.train(
            Path(scratch) / "first", BASE, Path(scratch) / "run",
            dd.TrainConfig(seed=seed), progress=False,
        )  # fmt: skip
        rows.append({"images": rounds[0], **measured(run, test)})
        for n in rounds[1:]:
            n_more = n - rows[-1]["images"]
            found = suggest(run, [sample.path for sample in pool])
            chosen = {one.sample.path for one in rank(found, n_more)}
            if how == "random":
                chosen = {sample.path for sample in random.Random(seed + n).sample(pool, n_more)}
            more = dd.Dataset(whole.root, whole.classes, tuple(s for s in pool if s.path in chosen))
            by_path = {sample.path: as_detections(sample) for sample in found.dataset.samples}
            suggested = [by_path[sample.path] for sample in more.samples]
            drawn, corrected = clicks(more, suggested, found.threshold)
            pool = [sample for sample in pool if sample.path not in chosen]
            began = time.process_time()
            run = dd.train(more, start=run, from_base=from_base, progress=False)
            spent = round(time.process_time() - began, 1)
            rows.append(
                {
                    "images": n,
                    **measured(run, test),
                    "drawn": drawn,
                    "corrected": corrected,
                    "cpu_s": spent,
                }
            )
    return rows


def measured(run: Any, test: dd.Dataset) -> dict[str, float]:
    """AP and AP50 on the test, and the clicks that labelling it would take."""
    found = collect_detections(run.detector, test)
    drawn, corrected = clicks(test, found, run.detector.threshold)
    scores = score_detections(test, found)
    return {
        "AP": scores.AP or 0.0, "AP50": scores.AP50 or 0.0,
        "test_drawn": drawn, "test_corrected": corrected,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=[str(SHARED / "fewshot" / "bccd_blood_cells")])
    parser.add_argument("--how", nargs="+", default=["random", "rank"], choices=["random", "rank"])
    parser.add_argument("--train", nargs="+", default=["on"], choices=["on", "from-base"])
    parser.add_argument("--rounds", type=int, nargs="+", default=[5, 10, 15])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--test", type=int, default=40, help="test images at most")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(ROWS.read_text())["rows"] if ROWS.exists() else []
    for seed in args.seeds:
        for data in args.data:
            for how, train in itertools.product(args.how, args.train):
                key = {"set": name_of(data), "how": how, "train": train, "seed": seed}
                if any(key.items() <= row.items() for row in rows):
                    continue
                found = simulate(
                    Path(data), how, seed, args.rounds, args.test, from_base=train == "from-base"
                )
                rows += [{**key, **row} for row in found]
                write_json(ROWS, {"rows": rows})
                print(rows[-len(found) :], file=sys.stderr, flush=True)
    print(
        "| set | chosen | trained | images | seeds | AP | AP50 | clicks from nothing | corrected "
        "| on the test | corrected |"
    )
    print("| --- " * 11 + "|")
    columns = ("set", "how", "train", "images")
    for key in sorted({tuple(row[c] for c in columns) for row in rows}):
        found = [r for r in rows if tuple(r[c] for c in columns) == key]
        values = [
            str(len(found)),
            *(f"{np.mean([r[k] for r in found]):.3f}" for k in ("AP", "AP50")),
        ]
        values += [
            f"{np.mean([r[key] for r in found]):.0f}" if key in found[0] else "-"
            for key in ("drawn", "corrected", "test_drawn", "test_corrected")
        ]
        print(f"| {' | '.join(map(str, key))} | {' | '.join(values)} |")


if __name__ == "__main__":
    main()
