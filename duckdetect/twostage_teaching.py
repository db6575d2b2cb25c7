"""Teaches a Faster or Mask R-CNN, from its files to a detector; `finetuning.finetune` calls it."""

from __future__ import annotations

import itertools
from pathlib import Path

from tqdm import tqdm

from duckdetect import runs
from duckdetect.augment import WIDEST_TWO_STAGE, PlainViews, looks
from duckdetect.bases.od_api import load_two_stage
from duckdetect.config import TrainConfig
from duckdetect.datasets import Dataset
from duckdetect.detector import Detector
from duckdetect.loop import Trained, make_optimizer, run_loop
from duckdetect.summary import summary_text
from duckdetect.twostage_export import export_two_stage
from duckdetect.twostage_headstart import give_head_start
from duckdetect.twostage_trainer import TwoStageTrainer
from duckdetect.twostage_watch import TwoStageWatch
from duckdetect.zoo import BaseFiles


def teach(
    files: BaseFiles,
    dataset: Dataset,
    plain: PlainViews,
    config: TrainConfig,
    folder: Path | None,
    val: Dataset | None,
    progress: bool,
) -> tuple[Trained, Detector]:
    """Load the base, run what stays frozen, train, and export.

    Args:
        files: The base's files.
        dataset: What it shall learn.
        plain: The data set's pictures, with masks.
        config: The settings.
        folder: The run's folder, or None.
        val: Pictures to validate on, in the data set's classes, or None.
        progress: Show what is trained, and how far it is, on stderr.
    """
    base = load_two_stage(files, len(dataset.classes), config.seed, config.sizes)
    masks = any(any(sample.segmentation or ()) for sample in dataset.samples)
    trainer = TwoStageTrainer(base, masks, config)
    if progress:
        for text in (summary_text(base.name, trainer.summary), *trainer.notes):
            tqdm.write(text)
    if folder is not None:
        runs.describe_model(folder, trainer.model)
    if config.head_start and base.own_last_layers is not None:
        give_head_start(base, base.own_last_layers, plain)
    n_looks = config.looks or 0
    views = itertools.chain(plain, looks(plain, n_looks, config.seed, WIDEST_TWO_STAGE))
    trainer.look_at(views, len(plain) + n_looks, progress)
    if trainer.on_disk and progress:
        tqdm.write(f"features: {trainer.n_bytes / 1e9:.1f} GB, kept on disk")
    detector = export_two_stage(base, dataset.classes)
    watch = None
    if val is not None:
        watch = TwoStageWatch(base, detector, val, config, trainer.masks, progress)
    optimizer = make_optimizer(config, trainer.variables)
    trained = run_loop(
        trainer.make_step(optimizer),
        optimizer,
        trainer.variables,
        trainer.names,
        config,
        folder,
        progress,
        watch,
    )
    return trained, detector
