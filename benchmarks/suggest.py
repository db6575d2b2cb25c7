"""Which images to label next: random choice against `rank`, and clicks with suggestions against none.

    python benchmarks/suggest.py [--data FOLDER ...] [--how random rank ...] [--rounds 5 10 15]
        [--seeds 0 1] [--test 40] [--train on from-base]

A person is simulated who labels whole images: from five on some are added a round, chosen at random,
by `rank`, or by one of the two things that it weighs: how unsure the last detector is of an image, and
how unlike the images that are labelled it looks. They are trained on from the last run as
`train --correct` does, or from the base.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import duckdetect as dd
from benchmarks.fewshot import BASE, SHARED, draw, name_of
from duckdetect.annotation.suggestions import Suggestions, doubt_of, rank, suggest
from duckdetect.data.convert import write_splits
from duckdetect.data.similar import hash_distances, image_hash
from duckdetect.evaluation.evaluate import collect_detections
from duckdetect.evaluation.matching import match_detections
from duckdetect.evaluation.metrics import score_detections
from duckdetect.imaging.io import load_image
from duckdetect.utils.files import write_json

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "results" / "bench" / "suggest.json"
HOW = ("random", "rank", "uncertainty", "diversity")


@dataclass(frozen=True)
class First:
    """The run on the first images.

    Attributes:
        whole: All images of the set.
        labelled: Those that it was trained on.
        test: Those that it is measured on.
        run: The run.
        row: What it scores.
    """

    whole: dd.Dataset
    labelled: dd.Dataset
    test: dd.Dataset
    run: Any
    row: dict[str, Any]


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


def choose(found: Suggestions, how: str, n: int, seed: int, labelled: Sequence[Path]) -> set[Path]:
    """The images to label next.

    Args:
        found: What the last detector finds on those that are not labelled.
        how: One of `HOW`.
        n: How many.
        seed: Of the random choice.
        labelled: Those that are.
    """
    samples = found.dataset.samples
    if how == "rank":
        return {one.sample.path for one in rank(found, n, labelled)}
    if how == "random":
        paths = sorted(sample.path for sample in samples)
        return set(random.Random(seed).sample(paths, n))
    if how == "uncertainty":
        order = np.argsort([-doubt_of(sample, found)[0] for sample in samples], kind="stable")
        return {samples[i].path for i in order[:n]}
    # Farthest first (Sener and Savarese 2018).
    known = [image_hash(load_image(path)) for path in labelled]
    nearest = np.min([hash_distances(one, found.hashes) for one in known], axis=0)
    chosen: set[Path] = set()
    while len(chosen) < n:
        i = int(np.argmax(nearest))
        chosen.add(samples[i].path)
        nearest = np.minimum(nearest, hash_distances(found.hashes[i], found.hashes))
        nearest[i] = -1
    return chosen


def first_run(data: Path, seed: int, n: int, n_test: int, scratch: Path) -> First:
    """The run that all ways to choose go on from."""
    whole = dd.load_dataset(data)
    first, test = draw(whole, n, seed, n_test)
    # The runs must find their images again.
    write_splits({None: first}, "coco", scratch / "first", False, verb="convert")
    run = dd.train(
        scratch / "first", BASE, scratch / "run", dd.TrainConfig(seed=seed), progress=False
    )
    return First(whole, first, test, run, {"images": n, **measured(run, test)})


def simulate(
    first: First, how: str, seed: int, rounds: Sequence[int], from_base: bool = False
) -> list[dict[str, Any]]:
    """Label, train and measure, round by round."""
    whole, test, run = first.whole, first.test, first.run
    taken = {sample.path for sample in (*first.labelled.samples, *test.samples)}
    pool = [sample for sample in whole.samples if sample.path not in taken]
    labelled = [sample.path for sample in first.labelled.samples]
    rows = [first.row]
    for n in rounds:
        n_more = n - rows[-1]["images"]
        found = suggest(run, [sample.path for sample in pool])
        chosen = choose(found, how, n_more, seed + n, labelled)
        more = dd.Dataset(whole.root, whole.classes, tuple(s for s in pool if s.path in chosen))
        by_path = {sample.path: as_detections(sample) for sample in found.dataset.samples}
        suggested = [by_path[sample.path] for sample in more.samples]
        drawn, corrected = clicks(more, suggested, found.threshold)
        pool = [sample for sample in pool if sample.path not in chosen]
        labelled += sorted(chosen)
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
    parser.add_argument("--how", nargs="+", default=["random", "rank"], choices=HOW)
    parser.add_argument("--train", nargs="+", default=["on"], choices=["on", "from-base"])
    parser.add_argument("--rounds", type=int, nargs="+", default=[5, 10, 15])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--test", type=int, default=40, help="test images at most")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(ROWS.read_text())["rows"] if ROWS.exists() else []
    for seed in args.seeds:
        for data in args.data:
            ways = [
                {"set": name_of(data), "how": how, "train": train, "seed": seed}
                for how, train in itertools.product(args.how, args.train)
            ]
            ways = [way for way in ways if not any(way.items() <= row.items() for row in rows)]
            if not ways:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                first = first_run(Path(data), seed, args.rounds[0], args.test, Path(scratch))
                for way in ways:
                    from_base = way["train"] == "from-base"
                    found = simulate(first, way["how"], seed, args.rounds[1:], from_base)
                    rows += [{**way, **row} for row in found]
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
