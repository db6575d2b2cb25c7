"""What watching a validation split costs, measured in one run.

    python benchmarks/validation.py [--pictures 20] [--steps 200] [--repeats 3]

Seconds of the training loop on the five sample pictures and their looks, without validation and with
`--pictures` validation pictures looked at as often as the default says, both with all files written;
what a look at one picture costs in views trained on; and, once, the seconds to compute the validation
pictures' features. Seconds are the processor's: others may use the machine, too. Writes
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
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    config = dd.TrainConfig(steps=args.steps)
    train = dd.load_dataset(ROOT / "data" / "ducks", "train")
    test = dd.load_dataset(ROOT / "data" / "ducks", "test")
    # More pictures than there are: the same ones again.
    val = replace(test, samples=tuple(itertools.islice(itertools.cycle(test.samples), args.images)))
    base = load_base(dd.models.fetch(BASE), 1)
    frozen = frozen_part(base, config.train)
    plain = PlainViews(train.samples)
    views = itertools.chain(plain, augmented_views(plain, config.views, 0))
    cache = cache_features(base, frozen, views, len(plain) + config.views, True, False)
    start = time.process_time()
    validator = OneStageValidator(base, frozen, val, config)
    features_s = time.process_time() - start
    validator.validate()  # traced here

    def loop_s(steps: int, validation_subset: bool) -> tuple[float, int]:
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            trained = train_heads(
                base,
                cache,
                replace(config, steps=steps),
                Path(folder),
                progress=False,
                validator=validator if validation_subset else None,
            )
            return time.process_time() - start, len(trained.validation)

    look_s, plain_s, watched_s, first_s, n_augmented = [], [], [], [], 0
    for _ in range(args.repeats):
        start = time.process_time()
        validator.validate()
        look_s.append(time.process_time() - start)
        first_s.append(loop_s(1, False)[0])  # most of it traces the step
        plain_s.append(loop_s(args.steps, False)[0])
        seconds, n_augmented = loop_s(args.steps, True)
        watched_s.append(seconds)
    step_s = (min(plain_s) - min(first_s)) / (args.steps - 1)
    result = {
        "pictures": args.images,
        "steps": args.steps,
        "looks": n_augmented,
        "features_s": features_s,
        "step_ms": 1000 * step_s,
        "look_ms": 1000 * min(look_s),
        "look_cost_views": min(look_s) / args.images / (step_s / config.batch_size),
        "watched_ratio": min(watched_s) / min(plain_s),
    }
    for name, value in result.items():
        print(f"{name:28} {value:.3f}")
    write_json(ROOT / "results" / "bench" / "validation.json", result)


if __name__ == "__main__":
    main()
