"""Fine-tuning: from labelled images and a base model to a detector.

    run = finetune("ssd_mobilenet_v2", load_dataset("images"), TrainConfig(steps=100), out="results/duck")

The frozen part sees each view once (feature_cache.py); the loop (loop.py) then runs on the heads alone. A
run is reproducible by its seed, saves its state as it goes, and resumes an interrupted run at the last
saved step with the result that the uninterrupted run would have had.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from duckdetect.data.augment import PlainViews
from duckdetect.data.dataset import Dataset, Problem, in_classes_of, noting
from duckdetect.data.loading import load_dataset, load_training, require_boxes, warn_of
from duckdetect.data.views import TrainingViews
from duckdetect.errors import UserError
from duckdetect.evaluation.plots import CURVES, plot_history
from duckdetect.inference.build import export_detector
from duckdetect.inference.detector import Detector, load_detector
from duckdetect.models.catalog import spec_for
from duckdetect.models.graphs import frozen_class_inputs, frozen_part, traced
from duckdetect.models.interfaces import BaseModel, LayerGroup
from duckdetect.models.mask_head import MaskHead
from duckdetect.models.weights import BaseFiles, fetch
from duckdetect.training import run_folder
from duckdetect.training.again import Start, add_classes, train_again
from duckdetect.training.class_init import (
    choose_confusables,
    init_classes,
    measure_familiarity,
    own_scores,
)
from duckdetect.training.config import (
    DEFAULT_BASE,
    TrainConfig,
    check_settings,
    level_text,
    one_stage_summary,
    summary_text,
)
from duckdetect.training.feature_cache import Batch, FeatureCache, cache_features
from duckdetect.training.loop import Trained, Validator, best_step, make_optimizer, run_loop
from duckdetect.training.masks import train_masks, wants_masks
from duckdetect.training.threshold import choose_threshold
from duckdetect.training.validation import (
    OneStageValidator,
    class_accuracy,
    head_losses,
)
from duckdetect.utils.environment import refuse_fork
from duckdetect.utils.progress import waiting
from duckdetect.utils.reading import as_path
from duckdetect.utils.room import size
from duckdetect.utils.words import plural

# Of the image's side. Objects that are large in the training images are large elsewhere too, and the
# high-resolution scale then fires on their parts, which resemble whole ones (docs/accuracy.md).
_SMALL_SIDE = 0.4

# If this environment variable is set, the detector is traced after training and not beside it: the same
# detector, some seconds later.
_ONE_THREAD = "DUCKDETECT_ONE_THREAD"


@dataclass(frozen=True, eq=False)
class TrainRun:
    """A finished training run.

    Attributes:
        folder: Where it lies on disk, or None if it was not written.
        detector: The trained detector.
        history: For each step `step`, `loss`, its parts (`box_loss`, `class_loss`, of a two-stage base
            more), `class_accuracy` (missing where the step held no object; see `class_accuracy`;
            SSD family only) and `learning_rate`.
        resumed: The step it was taken up at: 0 if it started afresh, `steps` if it was done already.
        validation: For each validation round `step`, the losses and `class_accuracy`
            there, `AP`, `AP50`, `AR100` and `best_threshold`; empty without validation images.
        best: The step whose weights the detector has, where it was validated.
        config: The settings, with what was left open settled.
        mask_history: Of a one-stage base's mask head, which is trained after the boxes, for each step
            `mask_loss` and `mask_iou`, the mean IoU of masks within their boxes.
        mask_validation: The same for each of its validation rounds.
        mask_resumed: The step that its training was taken up at, as `resumed`.
        compared: What got better and worse, of a run that was trained on from another.
    """

    folder: Path | None
    detector: Detector
    history: list[dict[str, float]] = field(repr=False)
    resumed: int = 0
    validation: list[dict[str, float]] = field(default_factory=list, repr=False)
    best: int | None = None
    config: TrainConfig = field(default_factory=TrainConfig)
    mask_history: list[dict[str, float]] = field(default_factory=list, repr=False)
    mask_validation: list[dict[str, float]] = field(default_factory=list, repr=False)
    mask_resumed: int = 0
    compared: str = ""

    def text(self) -> str:
        """What was trained, in a line or two."""
        masks_done = self.mask_resumed == len(self.mask_history)
        if self.resumed == self.config.steps and masks_done:
            return f"{self.folder} was trained already, with these settings on these images"
        again = f" (resumed at step {self.resumed})" if self.resumed else ""
        first, last = self.history[0]["loss"], self.history[-1]["loss"]
        told = f"trained {plural(len(self.history), 'step')}{again}: loss {first:.3f} -> {last:.3f}"
        told += self._masks_text()
        best = next((row for row in self.validation if row["step"] == self.best), None)
        if best is None:
            return told
        early = ""
        if len(self.history) < self.config.steps:
            early = f"\nstopped early: no validation round was better since step {self.best}"
        of_masks = ""
        if "mask_AP50" in best:
            of_masks = f", of masks {best['mask_AP50']:.3f} and {best['mask_AP']:.3f}"
        return (
            f"{told}{early}\nbest on the validation images at step {self.best}: "
            f"AP50 {best['AP50']:.3f}, AP {best['AP']:.3f}{of_masks}; its weights are kept, "
            f"see {self.folder}/{CURVES}"
        )

    def _masks_text(self) -> str:
        if not self.mask_history:
            return ""
        last = np.mean([row["mask_iou"] for row in self.mask_history[-20:]])
        text = (
            f"\nmasks: {plural(len(self.mask_history), 'step')}, mean IoU {last:.2f} in their boxes"
        )
        if self.mask_validation:
            best = max(row["mask_iou"] for row in self.mask_validation)
            text += f", {best:.2f} on the validation images"
        return text


def train(
    data: str | Path | Dataset,
    base: str = DEFAULT_BASE,
    out: str | Path | None = None,
    config: TrainConfig | Mapping[str, Any] | None = None,
    *,
    start: TrainRun | str | Path | None = None,
    from_base: bool = False,
    add_to: TrainRun | str | Path | None = None,
    val: str | Path | Dataset | None = None,
    use_valid: bool = True,
    weights: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> TrainRun:
    """Fine-tune a base model on labelled images.

    Args:
        data: A folder, zip or split file of labelled images, as `load_dataset` takes it, or a Dataset;
            images without a box show what is background.
        base: `ssd_mobilenet_v2`, `retinanet50`, `mask_rcnn`, or the name of an SSD, EfficientDet
            or Faster R-CNN in the TF2 zoo.
        out: The run's folder. The same call on an interrupted run resumes it, and on a finished
            one returns it without training.
        config: The settings, or those that differ from the defaults by name (from the run's own with
            `start` or `add_to`); `TrainConfig()` if None.
        start: A finished run to train on from: with its base, settings and pictures, and `data` are
            corrections or further pictures; see `again.train_again`.
        from_base: With `start`, whether to begin with the base's weights instead of the run's, in the
            time of a first run; docs/accuracy.md says what it gave.
        add_to: A finished run to add the new classes of `data` to; see `again.add_classes`.
        val: Labelled images that are not trained on. The run is validated on them as it goes,
            stops once they get no better, and keeps the weights and the threshold that were best
            on them. If None, the `valid` split of `data`, if it has one.
        use_valid: Whether that split may be taken.
        weights: The base model's weights, as a file or folder, instead of the cache or the zoo.
        overwrite: Replace another run that lies in `out`.
        progress: Show progress on stderr.

    Raises:
        UserError: If no image has a box, the folder holds another run or another training writes it,
            the weights cannot be had, a loss is not finite, or `val` labels a class that `data` does not.

    Example:
        run = train("images", out="results/duck")
    """
    if isinstance(val, str | Path):
        val = load_dataset(val)
    if not isinstance(config, TrainConfig | Mapping | None):
        raise UserError(f"config is {config!r}: give a TrainConfig, or a dictionary of settings")
    if not isinstance(val, Dataset | None):
        raise UserError(f"val is {val!r}: give labelled pictures that are not trained on")
    if start is not None and add_to is not None:
        raise UserError(
            "start and add_to are both given: train on from a run, or add a class to one"
        )
    if from_base and start is None:
        raise UserError("from_base says how a run is trained on from: give it with start")
    more: dict[str, Any] = {
        "val": val, "weights": weights, "overwrite": overwrite, "progress": progress
    }  # fmt: skip
    if start is not None:
        return train_again(start, data, out, config, from_base=from_base, **more)
    if add_to is not None:
        return add_classes(add_to, data, out, config, **more)
    if isinstance(config, Mapping):
        config = TrainConfig.from_dict(dict(config))
    if not isinstance(data, Dataset):
        notes: list[Problem] = []
        data, valid = load_training(data, None, use_valid and val is None, noting(notes))
        warn_of(notes, [data, valid])
        val = val or valid
    return finetune(base, data, config, out, **{**more, "val": val})


def finetune(
    base_name: str,
    dataset: Dataset | str | Path,
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    *,
    val: Dataset | None = None,
    weights: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
    start: Start | None = None,
) -> TrainRun:
    """`train` with the order of arguments that 0.1.0 had; validates on `val` alone.

    Args:
        base_name: `retinanet50`, `ssd_mobilenet_v2`, `mask_rcnn`, or the name of an SSD, EfficientDet
            or Faster R-CNN in the TF2 zoo.
        dataset: Labelled images, or where they lie; images without a box show what is background.
        config: The settings; `TrainConfig()` if None.
        out: The run's folder. The same call on an interrupted run resumes it, and on a finished
            one returns it without training.
        val: Labelled images that are not trained on. The run is measured on them as it goes,
            stops once they get no better, and keeps the weights and the threshold that were best
            on them.
        weights: The base model's weights, as a file or folder, instead of the cache or the zoo.
        overwrite: Replace another run that lies in `out`.
        progress: Show progress on stderr.
        start: The run that is trained on from, see `again.train_again`.

    Raises:
        UserError: If no image has a box, the folder holds another run, the weights cannot be had,
            a loss is not finite, or `val` labels a class that `dataset` does not.
    """
    refuse_fork()
    spec = spec_for(base_name)
    given = config or TrainConfig()
    check_settings(spec, given)
    if not isinstance(dataset, Dataset):
        dataset = load_dataset(dataset)
    require_boxes(dataset)
    if val is not None:
        require_boxes(val)
        val = in_classes_of(val, dataset)
    folder = None if out is None else as_path(out, "out")
    if folder is not None:
        run_folder.check_apart_from(folder, dataset)
    files = fetch(base_name, source=weights, progress=progress)
    if start is not None and start.detector.has_masks and given.masks != "no":
        masks = True  # what was labelled since needs no outlines
    else:
        masks = wants_masks(given, spec, dataset)
    two_stage = spec.family.stages == 2
    # One-stage boxes are trained on the same views with masks and without.
    plain = PlainViews(dataset.samples, masks=two_stage)
    candidates = given.candidates(spec, len(dataset), dataset.n_boxes)
    # Reads every image: once, whichever of the candidates it is.
    identity = {} if folder is None else run_folder.describe(base_name, files, dataset, given, val)
    if start is not None:
        start.check_weights(files.sha256)
        identity |= start.identity()
    with run_folder.only_trainer(folder):
        begun = _begun(folder, candidates, identity)
        config = begun or candidates[0]
        state = "new"
        if folder is not None:
            state = run_folder.check_run(folder, _settled(identity, config), overwrite)
            if state == "done":
                return _finished(folder, config, masks, progress)
        if folder is not None and state == "resumable" and not two_stage:
            # What a version without masks began ends as it would have.
            masks = masks and "masks" in run_folder.read_identity(folder)["train"]
        base = None
        if begun is None and len(candidates) > 1:
            base = _load_one_stage(files, dataset, given.seed, progress)
            known = measure_familiarity(base, dataset, progress)
            config = given.for_data(spec, len(dataset), dataset.n_boxes, known)
        if folder is not None and state == "new":
            run_folder.begin_run(folder, _settled(identity, config))
            if start is not None:
                start.begin(folder)

        mask_phase = Trained()
        if two_stage:
            trained, detector = _train_two_stage(
                files, dataset, plain, config, folder, val, progress, masks
            )
        else:
            base = base or _load_one_stage(files, dataset, config.seed, progress)
            head = MaskHead(base.mask_depths, base.mask_pyramid, config.seed) if masks else None
            trained, detector, mask_phase = _train_one_stage(
                base,
                head,
                dataset,
                plain,
                config,
                folder,
                val,
                progress,
                None if start is None or start.from_base else start,
            )
        best_round = next((r for r in trained.validation if r["step"] == trained.best), None)
        detector.threshold = choose_threshold(detector, plain, config, val, best_round, progress)
        if folder is not None:
            with waiting("saving the detector", progress):
                plot_history(trained.history, folder / CURVES, trained.validation)
                if mask_phase.history:
                    path = folder / run_folder.MASKS / CURVES
                    plot_history(mask_phase.history, path, mask_phase.validation)
                detector.save(folder / "detector")
                run_folder.close_run(folder)
        return TrainRun(
            folder, detector, trained.history, trained.resumed, trained.validation, trained.best, config,
            mask_phase.history, mask_phase.validation, mask_phase.resumed,
        )  # fmt: skip


def _finished(folder: Path, config: TrainConfig, masks: bool, progress: bool) -> TrainRun:
    """A run that is done, from its folder; `masks` is whether it would be trained with them now."""
    history, validation = run_folder.read_histories(folder)
    detector = load_detector(folder)
    if masks and progress and not detector.has_masks:
        tqdm.write(f"{folder} was trained without masks: --overwrite trains it with them")
    of_masks = run_folder.read_histories(folder / run_folder.MASKS)
    return TrainRun(
        folder, detector, history, config.steps, validation, best_step(validation), config,
        *of_masks, len(of_masks[0]),
    )  # fmt: skip


def _settled(identity: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    """A run's description with other settings."""
    return {**identity, "train": config.to_dict()}


def _begun(
    folder: Path | None, candidates: Sequence[TrainConfig], identity: Mapping[str, Any]
) -> TrainConfig | None:
    """The settings of the run that the folder holds, if "auto" may have meant them."""
    if folder is None:
        return None
    return next((c for c in candidates if run_folder.is_same(folder, _settled(identity, c))), None)


def _load_one_stage(files: BaseFiles, dataset: Dataset, seed: int, progress: bool) -> BaseModel:
    with waiting("loading the base model", progress):
        from duckdetect.models.tfod.load import load_base  # the API takes seconds to import

        return load_base(files, len(dataset.classes), seed)


def _train_one_stage(
    base: BaseModel,
    head: MaskHead | None,
    dataset: Dataset,
    plain: PlainViews,
    config: TrainConfig,
    folder: Path | None,
    val: Dataset | None,
    progress: bool,
    start: Start | None = None,
) -> tuple[Trained, Detector, Trained]:
    part = config.part
    # Masks are trained, and not kept as the earlier run has them.
    teach_masks = head is not None and not (start is not None and start.keeps_masks(config))
    if progress:
        groups = one_stage_summary(base, part)
        if head is not None:
            ids = {id(v) for v in head.variables if teach_masks}
            groups.append(LayerGroup.count("mask head", head.variables, ids))
        tqdm.write(summary_text(base.name, groups))
        counts = len(dataset), dataset.n_boxes
        tqdm.write(level_text(base.name, config, *counts, masks=teach_masks))
    side = typical_side(dataset) if start is None else start.object_side()
    high_res = config.refine and side < _SMALL_SIDE
    if high_res:
        base.set_high_res(side)
    frozen = frozen_part(base, part, masks=head is not None)
    views = TrainingViews(
        plain,
        config.views or 0,
        config.seed,
        distractors=config.distractors,
        rotate=config.rotate,
        corner_part=base.input_hw[0] / base.high_res_hw[0]
        if high_res and base.high_res_hw is not None
        else None,
    )
    cache = cache_features(base, frozen, views, len(views), part == "heads", progress)
    if cache.on_disk and progress:
        tqdm.write(f"features of {len(views)} views: {size(cache.n_bytes)}, kept on disk")
    confusables, own = None, base.own_class_head
    if own is not None and (config.class_init or config.confusables):
        class_inputs = frozen_class_inputs(base, frozen, part)  # as they are before training
        alike = own_scores(base, cache, own, len(plain), class_inputs, progress)
        with waiting("starting from the classes alike", progress):
            if config.class_init:
                init_classes(base, own, alike)
            if config.confusables:
                confusables = choose_confusables(own, alike, base.num_classes, class_inputs)
    if start is not None:
        start.restore(base)
        confusables = start.confusables(confusables)
    only = start.only_new(base) if start is not None else None
    taught = start is not None and head is not None and start.restore_masks(head)
    validator = (
        OneStageValidator(base, frozen, val, config, progress, confusables)
        if val is not None
        else None
    )

    def make_detector() -> Detector:
        return export_detector(
            base,
            frozen,
            part,
            dataset.classes,
            refine=config.refine,
            high_res=high_res,
            confusables=confusables,
            mask_head=head,
        )

    def train() -> tuple[Trained, Trained]:
        boxes = train_heads(base, cache, config, folder, progress, validator, only)
        if head is None or not teach_masks:
            return boxes, Trained()
        return boxes, train_masks(
            head, base, frozen, dataset, config,
            high_res=high_res, folder=folder, val=val, progress=progress, again=taught,
        )  # fmt: skip

    if os.environ.get(_ONE_THREAD):
        boxes, masks = train()
        return boxes, make_detector(), masks
    # Tracing takes seconds of one core, and training leaves a half of one idle.
    with ThreadPoolExecutor(1) as beside:
        making = beside.submit(make_detector)
        boxes, masks = train()
        return boxes, making.result(), masks


def _train_two_stage(*args: Any) -> tuple[Trained, Detector]:
    from duckdetect.training.two_stage import train_two_stage  # knows the API

    return train_two_stage(*args)


def typical_side(dataset: Dataset) -> float:
    """The median of sqrt(box area / image area)."""
    sides = []
    for sample in dataset.samples:
        height, width = sample.size_hw
        parts = (sample.xyxy[:, 2:] - sample.xyxy[:, :2]) / [width, height]
        sides += list(np.sqrt(np.prod(parts, axis=1))[~sample.crowd])
    return float(np.median(sides)) if sides else 1.0


def train_heads(
    base: BaseModel,
    cache: FeatureCache,
    config: TrainConfig,
    folder: Path | None = None,
    progress: bool = True,
    validator: Validator | None = None,
    only: Sequence[tuple[tf.Variable, np.ndarray]] | None = None,
) -> Trained:
    """Run the training loop on cached features; the base's heads change in place.

    Args:
        base: The base model.
        cache: The views' features and targets.
        config: The settings.
        folder: Where to save the state, and to resume from; see `loop.run_loop`.
        progress: Show a bar with the losses on stderr.
        validator: Validates as the loop goes.
        only: What to train instead of the whole of `config.part`: variables, and 1 where they may
            change, else 0.
    """
    variables = [v for v, _ in only] if only else base.trained_variables(config.part)
    masks = [mask for _, mask in only] if only else None
    optimizer = make_optimizer(config, variables)
    step = train_step(base, cache, optimizer, variables, config, masks)
    return run_loop(step, optimizer, variables, cache.names, config, folder, progress, validator)


def train_step(
    base: BaseModel,
    cache: FeatureCache,
    optimizer: Any,
    variables: list[tf.Variable],
    config: TrainConfig,
    masks: Sequence[np.ndarray] | None = None,
) -> Callable[[np.ndarray], Mapping[str, tf.Tensor]]:
    """The step on cached views: takes their numbers, (B,), and returns losses and accuracy.

    The box loss is reported unscaled; its gradient is scaled by `config.box_lr_multiplier`.
    """
    part = config.part
    zeros = tf.UnconnectedGradients.ZERO  # a backbone may have layers that no output depends on

    @traced(input_signature=[cache.signature])
    def step(batch: Batch) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            losses, _, logits = head_losses(base, batch, cache.patches, part)
            loss = config.box_lr_multiplier * losses["box_loss"] + losses["class_loss"]
        gradients = tape.gradient(loss, variables, unconnected_gradients=zeros)
        if masks is not None:
            gradients = [g * mask for g, mask in zip(gradients, masks, strict=True)]
        if config.gradient_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, config.gradient_norm)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {**losses, "class_accuracy": class_accuracy(logits, batch.class_index)}

    return lambda index: step(cache.batch(index))
