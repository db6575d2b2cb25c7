"""Mask R-CNN: a training step of the stock loop against ours with heads only, measured in one run.

    python benchmarks/mask_rcnn.py [--input-size 512] [--proposals 100] [--proposal-batch 32] [--steps 10]

Both train the same heads of mask_rcnn (random weights where the zoo cannot be reached: speed does not
depend on them) on the five sample pictures with their masks, the same number of pictures a step. An
untrained first stage proposes nothing near a duck, so proposals are put near the labelled boxes in both
loops: as many match as may, which is the dearest case for us, whose mask head runs on these alone. Each
loop has a process of its own, so that its peak memory is its own. Beside them a step of the mask head of
the embedded base, on as many regions as its training takes. Writes results/bench/mask_rcnn.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.finetune import timed
from benchmarks.stock_rcnn import stock_step
from duckdetect.data.augment import PlainViews
from duckdetect.data.loading import load_dataset
from duckdetect.models.graphs import frozen_part
from duckdetect.models.interfaces import Sizes
from duckdetect.models.mask_head import MaskHead
from duckdetect.models.tfod.api import model_pb2, text_format
from duckdetect.models.tfod.load import build_two_stage, load_base
from duckdetect.models.weights import fetch
from duckdetect.training import masks
from duckdetect.training.config import TrainConfig
from duckdetect.training.loop import Trained, batch_index, make_optimizer
from duckdetect.training.two_stage import TwoStageTrainer
from duckdetect.utils.files import write_json

import tensorflow as tf  # isort: skip  (duckdetect chooses the Keras)

ROOT = Path(__file__).parents[1]
LOOPS = ("stock", "ours", "mask-head")


def near_the_boxes(base: Any, views: list[Any]) -> None:
    """Let the first stage propose boxes around the sample's ducks, whatever its weights say."""
    height, width = base.input_hw
    rng = np.random.default_rng(0)
    found = []
    for view in views:
        scale = np.array([height, width, height, width]) / np.tile(view.image.shape[:2], 2)
        found.append(view.xyxy[0, [1, 0, 3, 2]] * scale)
    ground_truth = np.array(found)[rng.integers(0, len(found), base.n_proposals)]  # (K, 4)
    side = np.tile(ground_truth[:, 2:] - ground_truth[:, :2], 2)
    boxes = np.clip(
        ground_truth + side * rng.normal(0, 0.05, ground_truth.shape), 0, [height, width] * 2
    )
    boxes = tf.constant(boxes, tf.float32)
    real = base.model._first_stage_nms_fn

    def suppress(*args: Any, **options: Any) -> tuple[Any, ...]:
        """Does its work, for the time it takes, and hands on other boxes."""
        out = list(real(*args, **options))
        batch = tf.shape(out[0])[0]
        out[0] = tf.tile(boxes[tf.newaxis], [batch, 1, 1]) + 0.0 * tf.reduce_sum(out[0])
        out[5] = tf.fill([batch], base.n_proposals) + 0 * tf.cast(out[5], tf.int32)
        return tuple(out)

    base.model._first_stage_nms_fn = suppress


def measure(args: argparse.Namespace) -> dict[str, Any]:
    message = text_format.Parse(
        (ROOT / "tests" / "helpers" / "data" / "mask_rcnn.pbtxt").read_text(),
        model_pb2.DetectionModel(),
    )
    sizes = Sizes(args.input_size, args.proposals, args.proposal_batch)
    base = build_two_stage("mask_rcnn", message, 1, sizes=sizes)
    samples = load_dataset(ROOT / "data" / "ducks", "train").samples
    views = list(PlainViews(samples, masks=True))
    near_the_boxes(base, views)
    config = TrainConfig(
        batch_size=args.batch_size, views=0, proposals=args.proposals, input_size=args.input_size
    )
    index = [batch_index(len(views), args.batch_size, 0, n) for n in range(args.steps + 1)]
    if args.loop == "stock":
        variables = base.trained_variables("heads")
        run = stock_step(base, make_optimizer(config, variables), variables, args.batch_size)
        row = timed(lambda n: run([views[i] for i in index[n]]), args.stock_steps)
    else:
        trainer = TwoStageTrainer(base, any(v.has_mask.any() for v in views), config)
        start = time.perf_counter()
        trainer.cache_views(views, len(views), progress=False)
        cache_s = time.perf_counter() - start
        step = trainer.make_step(make_optimizer(config, trainer.variables))
        row = timed(lambda n: [float(x) for x in step(index[n]).values()], args.steps)
        assert trainer.cache is not None
        assert trainer.cache.targets is not None
        matched = float(tf.reduce_sum(trainer.cache.targets.mask_weight)) / len(views)
        row |= {"cache_s": cache_s, "cache_mb": trainer.cache.n_bytes / 1e6, "matched": matched}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**row, "peak_memory_mb": peak, "positive_slots": base.n_positive}


def measure_mask_head(steps: int) -> dict[str, Any]:
    """A step of the embedded base's mask head, as `train_masks` makes it."""
    base = load_base(fetch("ssd_mobilenet_v2"), 1, 0)
    head = MaskHead(base.mask_depths, base.mask_pyramid, 0)
    rows: list[dict[str, Any]] = []

    def loop(step: Any, _: Any, __: Any, names: Any, config: TrainConfig, *more: Any) -> Trained:
        index = [batch_index(len(names), config.batch_size, 0, n) for n in range(steps + 1)]
        rows.append(timed(lambda n: float(step(index[n])["mask_loss"]), steps))
        rows[0]["regions"] = config.batch_size
        return Trained()

    masks.run_loop = loop
    frozen = frozen_part(base, "heads", masks=True)
    data = load_dataset(ROOT / "data" / "ducks", "train")
    masks.train_masks(head, base, frozen, data, TrainConfig(train="heads"), progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**rows[0], "peak_memory_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input-size", type=int, default=512)
    parser.add_argument("--proposals", type=int, default=100)
    parser.add_argument("--proposal-batch", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--stock-steps", type=int, default=3)
    parser.add_argument("--loop", choices=LOOPS, help="one alone, as JSON")
    args = parser.parse_args()
    if args.loop:
        head = args.loop == "mask-head"
        print(json.dumps(measure_mask_head(args.steps) if head else measure(args)))
        return
    result: dict[str, Any] = {k: v for k, v in vars(args).items() if k != "loop"}
    for loop in LOOPS:
        command = [sys.executable, __file__, *sys.argv[1:], "--loop", loop]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result[loop] = json.loads(done.stdout.splitlines()[-1])
    result["ratio_per_step"] = result["stock"]["step_s"] / result["ours"]["step_s"]
    result["mask_head_ratio"] = result["ours"]["step_s"] / result["mask-head"]["step_s"]
    write_json(ROOT / "results" / "bench" / "mask_rcnn.json", result)
    for loop in LOOPS:
        row = result[loop]
        print(f"{loop}: {row['step_s']:.3f} s a step, peak memory {row['peak_memory_mb']:.0f} MB")
    print(
        f"ratio {result['ratio_per_step']:.1f}; ours to the mask head {result['mask_head_ratio']:.1f}"
    )


if __name__ == "__main__":
    main()
