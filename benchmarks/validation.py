"""What validation during training costs, measured in one run.

    python benchmarks/validation.py [--images 20] [--steps 200] [--repeats 3]

Seconds of the training loop on the five sample images and their augmented views, without validation and
with rounds on `--images` validation images as often as by default, both with all files written; what
validating on an image costs in views trained on; and, once, the seconds to compute the validation images'
features. Seconds are the processor's: others may use the machine, too. Writes
results/bench/validation.json.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdetect as dd
from duckdetect.data.augment import PlainViews, augmented_views
from duckdetect.models.catalog import spec_for
from duckdetect.models.graphs import frozen_part
from duckdetect.models.tfod.load import load_base
from duckdetect.training.feature_cache import cache_features
from duckdetect.training.finetune import train_heads
from duckdetect.training.validation import OneStageValidator
from duckdetect.utils.files import write_json

ROOT = Path(__file__).parents[1]
BASE = "ssd_mobilenet_v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    # As `train` does: without a number of its own, a base gets its default number of views.
    config = dd.TrainConfig(steps=args.steps, train="heads").for_data(spec_for(BASE), 5, 5)
    assert config.views is not None
    train = dd.load_dataset(ROOT / "data" / "ducks", "train")
    test = dd.load_dataset(ROOT / "data" / "ducks", "test")
    # More images than there are: the same ones again.
    val = replace(test, samples=tuple(itertools.islice(itertools.cycle(test.samples), args.images)))
    base = load_base(dd.models.fetch(BASE), 1)
    frozen = frozen_part(base, config.part)
    plain = PlainViews(train.samples)
    views = itertools.chain(plain, augmented_views(plain, config.views, 0))
    cache = cache_features(base, frozen, views, len(plain) + config.views, True, False)
    start = time.process_time()
    validator = OneStageValidator(base, frozen, val, config)
    features_s = time.process_time() - start
    validator.validate()  # traced here

    def loop_s(steps: int, validated: bool) -> tuple[float, int]:
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            trained = train_heads(
                base,
                cache,
                replace(config, steps=steps),
                Path(folder),
                progress=False,
                validator=validator if validated else None,
            )
            return time.process_time() - start, len(trained.validation)

    round_s, plain_s, validated_s, first_s, n_rounds = [], [], [], [], 0
    for _ in range(args.repeats):
        start = time.process_time()
        validator.validate()
        round_s.append(time.process_time() - start)
        first_s.append(loop_s(1, False)[0])  # most of it traces the step
        plain_s.append(loop_s(args.steps, False)[0])
        seconds, n_rounds = loop_s(args.steps, True)
        validated_s.append(seconds)
    step_s = (min(plain_s) - min(first_s)) / (args.steps - 1)
    result = {
        "images": args.images,
        "steps": args.steps,
        "rounds": n_rounds,
        "features_s": features_s,
        "step_ms": 1000 * step_s,
        "round_ms": 1000 * min(round_s),
        "cost_views": min(round_s) / args.images / (step_s / config.batch_size),
        "validated_ratio": min(validated_s) / min(plain_s),
    }
    for name, value in result.items():
        print(f"{name:28} {value:.3f}")
    write_json(ROOT / "results" / "bench" / "validation.json", result)


if __name__ == "__main__":
    main()
