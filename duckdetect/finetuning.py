"""Trains the heads of a base model on a handful of labelled pictures.

    run = finetune("ssd_mobilenet_v2", load_dataset("images"), TrainConfig(steps=100), out="results/duck")

The frozen part sees each view once (features.py); the loop then runs on the heads alone. A run is
reproducible by its seed, saves its state as it goes, and takes up an interrupted run at the last
saved step with the result that the uninterrupted run would have had.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from duckdetect import runs
from duckdetect.augment import looks, plain_views
from duckdetect.bases.base import BaseModel, TrainPart
from duckdetect.config import TrainConfig
from duckdetect.datasets import Dataset, require_boxes
from duckdetect.detector import Detector, export_detector, load_detector
from duckdetect.errors import UserError
from duckdetect.features import FeatureCache, cache_features, frozen_part
from duckdetect.headstart import give_head_start
from duckdetect.thresholds import choose_threshold
from duckdetect.zoo import fetch

__all__ = ["Run", "TrainConfig", "finetune"]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training run.

    Attributes:
        folder: Where it lies on disk, or None if it was not written.
        detector: What it learnt.
        history: For each step `step`, `loss`, `box_loss`, `class_loss`, `learning_rate`.
        resumed: The step it was taken up at: 0 if it started afresh, `steps` if it was done already.
    """

    folder: Path | None
    detector: Detector
    history: list[dict[str, float]]
    resumed: int = 0


def finetune(
    base_name: str,
    dataset: Dataset,
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Teach a base model the classes of a data set.

    Args:
        base_name: `retinanet50`, `ssd_mobilenet_v2`, or an SSD model's name in the TF2 zoo.
        dataset: Labelled pictures; those without a box teach it what is none.
        config: The settings; `TrainConfig()` if None.
        out: The run's folder. The same call on an interrupted run resumes it, and on a finished
            one returns it without training.
        weights: The base model's weights, as a file or folder, instead of the cache or the zoo.
        overwrite: Replace another run that lies in `out`.
        progress: Show progress on stderr.

    Raises:
        UserError: If no picture has a box, the folder holds another run, the weights cannot be had,
            or a loss is not finite.
    """
    config = config or TrainConfig()
    require_boxes(dataset)
    files = fetch(base_name, source=weights, progress=progress)
    folder = None
    if out is not None:
        folder = Path(out)
        identity = runs.describe(base_name, files, dataset, config)
        if runs.open_run(folder, identity, overwrite) == "done":
            return Run(folder, load_detector(folder), runs.read_history(folder), config.steps)

    from duckdetect.bases.od_api import load_base  # the API takes seconds to import

    base = load_base(files, len(dataset.classes), config.seed)
    frozen = frozen_part(base, config.train)
    plain = list(plain_views(dataset.samples))
    views = itertools.chain(plain, looks(plain, config.looks, config.seed))
    cache = cache_features(base, frozen, views, config.train)
    if config.head_start and base.own_class_head is not None:
        give_head_start(base, cache, base.own_class_head, len(plain))
    history, resumed = train_heads(base, cache, config, folder, progress)
    detector = export_detector(base, frozen, config.train, dataset.classes)
    if config.looks:
        detector.threshold = choose_threshold(detector, plain, config.seed)
    if folder is not None:
        detector.save(folder / "detector")
        runs.close_run(folder)
    return Run(folder, detector, history, resumed)


def train_heads(
    base: BaseModel,
    cache: FeatureCache,
    config: TrainConfig,
    folder: Path | None = None,
    progress: bool = True,
) -> tuple[list[dict[str, float]], int]:
    """Run the training loop on cached features; the base's heads change in place.

    Args:
        base: The base model.
        cache: The views' features and targets.
        config: The settings.
        folder: Where to save the state every `config.save_every` steps, and to resume from.
        progress: Show a bar with the losses on stderr.

    Returns:
        The history, a row a step, and the step the run was resumed at.
    """
    variables = base.trained_variables(config.train)
    rate: Any = config.learning_rate
    if config.decay == "cosine":
        rate = tf.keras.optimizers.schedules.CosineDecay(config.learning_rate, config.steps)
    optimizer = tf.keras.optimizers.SGD(rate, momentum=config.momentum)
    optimizer.build(variables)
    state = [*variables, *optimizer.variables]
    history: list[dict[str, float]] = []
    if folder is not None:
        history = runs.load_state(folder, state)
    resumed = len(history)
    step = train_step(base, cache, optimizer, variables)
    steps = range(resumed, config.steps)
    bar = tqdm(
        steps,
        desc="training",
        unit="step",
        initial=resumed,
        total=config.steps,
        disable=not progress,
        file=sys.stderr,
    )
    for number in bar:
        learning_rate = float(optimizer.learning_rate)
        index = batch_index(len(cache), config.batch_size, config.seed, number)
        box_loss, class_loss = (float(x) for x in step(tf.constant(index, tf.int32)))
        loss = box_loss + class_loss
        if not np.isfinite(loss):
            names = ", ".join(sorted({cache.names[i] for i in index}))
            raise UserError(
                f"the loss is {loss} at step {number + 1} (pictures {names}): "
                f"lower --learning-rate (it is {config.learning_rate}) or check these pictures' boxes"
            )
        history.append(
            {
                "step": number + 1,
                "loss": loss,
                "box_loss": box_loss,
                "class_loss": class_loss,
                "learning_rate": learning_rate,
            }
        )
        bar.set_postfix_str(
            f"loss {loss:.3f}: box {box_loss:.3f}, class {class_loss:.3f}", refresh=False
        )
        last = number + 1 == config.steps
        if folder is not None and (last or (number + 1) % config.save_every == 0):
            runs.save_state(folder, state, history)
    return history, resumed


def batch_index(n_views: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Which views step `step` trains on; depends on nothing before, so that a run can resume.

    Drawn without repetition as in the few-shot notebook; with fewer views than `batch_size`, each is
    taken as evenly often as can be.
    """
    rng = np.random.default_rng([seed, step])
    rounds = -(-batch_size // n_views)
    return np.concatenate([rng.permutation(n_views) for _ in range(rounds)])[:batch_size]


def train_step(
    base: BaseModel,
    cache: FeatureCache,
    optimizer: tf.keras.optimizers.Optimizer,
    variables: list[tf.Variable],
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    part: TrainPart = "heads" if cache.patches else "towers"

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def step(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = cache.batch(index)
        with tf.GradientTape() as tape:
            if cache.patches:
                box_codes = base.patch_codes(batch.box_features)
            else:
                box_codes = base.box_codes(batch.box_features, part)
            box_loss, class_loss = base.losses(
                box_codes,
                base.class_logits(batch.class_features, part),
                batch.box_target,
                batch.box_weight,
                batch.class_index,
                batch.class_weight,
            )
            loss = box_loss + class_loss
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return box_loss, class_loss

    return step
