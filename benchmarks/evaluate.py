"""Time and memory of measuring a large test set: 5,000 pictures with 100 detections each.

    python benchmarks/evaluate.py [--images 5000] [--detections 100]

The truth and the detections are made up; no picture is read. Times are given as ratios to
pycocotools called directly on the same boxes, in the same process. Peak memory is the process's, the
made-up data included. Writes results/bench/evaluate.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import supervision as sv
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from duckdetect.data.dataset import Dataset, Sample
from duckdetect.evaluation.matching import confusion_matrix, count_mistakes
from duckdetect.evaluation.metrics import bootstrap_intervals, score_detections
from duckdetect.inference.detections_json import read_detections, write_detections_json
from duckdetect.utils.files import write_json

ROOT = Path(__file__).parents[1]
CLASSES = ("duck", "goose", "swan")


def made_up(n_images: int, n_detections: int) -> tuple[Dataset, list[sv.Detections]]:
    """Up to ten boxes a picture; detections near them and elsewhere."""
    random = np.random.default_rng(0)
    samples, detections = [], []
    for image in range(n_images):
        n = int(random.integers(1, 11))
        corner = random.uniform(0, 500, (n, 2))
        side = np.exp(random.uniform(np.log(12), np.log(300), (n, 2)))
        boxes = np.concatenate([corner, corner + side], 1)
        class_id = random.integers(0, len(CLASSES), n)
        path = Path(f"{image}.jpg")
        samples.append(Sample(path, image, (800, 800), boxes.astype(np.float32), class_id))
        of = random.integers(0, n, n_detections)
        noise = random.normal(0, 0.3, (n_detections, 4)) * np.tile(side[of], 2)
        xyxy = boxes[of] + noise
        xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
        detections.append(
            sv.Detections(
                xyxy=xyxy.astype(np.float32),
                confidence=random.random(n_detections).astype(np.float32),
                class_id=class_id[of],
            )
        )
    return Dataset(Path("made up"), CLASSES, tuple(samples)), detections


def pycocotools_alone(dataset: Dataset, detections: list[sv.Detections]) -> float:
    """COCO's AP by pycocotools as its own demo calls it."""
    ground_truth = dataset.to_coco()
    results = [
        {"image_id": sample.image_id, "category_id": int(k) + 1, "score": float(score),
         "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]}
        for sample, one in zip(dataset, detections, strict=True)
        for (x1, y1, x2, y2), score, k in zip(one.xyxy, one.confidence, one.class_id, strict=True)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"info": {}, **ground_truth}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100)
    args = parser.parse_args()
    dataset, detections = made_up(args.images, args.detections)
    result: dict[str, Any] = {"images": args.images, "detections": args.detections}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        # Of the processor: a busy machine does not change it.
        start = time.process_time()
        value = call()
        result[f"{name}_s"] = round(time.process_time() - start, 2)
        return value

    result["before_mb"] = peak_mb()
    metrics = timed("score", lambda: score_detections(dataset, detections))
    result["score_peak_mb"] = peak_mb()
    timed("confusion", lambda: confusion_matrix(dataset, detections, 0.5))
    timed("mistakes", lambda: count_mistakes(dataset, detections, 0.5))
    timed("bootstrap_20", lambda: bootstrap_intervals(dataset, detections, 20))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detections.json"
        records = [
            (sample.image_id, sample.path.name, found)
            for sample, found in zip(dataset.samples, detections, strict=True)
        ]
        timed("write", lambda: write_detections_json(path, records, dataset.classes, digits=None))
        result["file_mb"] = round(path.stat().st_size / 1e6, 1)
        timed("read", lambda: read_detections(path, check_masks=False))
    result["peak_mb"] = peak_mb()
    alone = timed("pycocotools", lambda: pycocotools_alone(dataset, detections))
    result["pycocotools_peak_mb"] = peak_mb()
    assert metrics.AP is not None
    assert abs(metrics.AP - alone) < 1e-9, "not what pycocotools says"
    result["score_to_pycocotools"] = round(result["score_s"] / result["pycocotools_s"], 2)
    write_json(ROOT / "results" / "bench" / "evaluate.json", result)
    print(json.dumps(result, indent=1))


def peak_mb() -> float:
    """The most memory that this process has had so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0)  # KiB on Linux


if __name__ == "__main__":
    main()
