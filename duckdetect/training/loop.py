"""The training loop, whatever is trained: steps, history, validation, TensorBoard, saved state, resume.

    optimizer = make_optimizer(config, variables)
    trained = run_loop(step, optimizer, variables, names, config, folder)

A step takes the numbers of some views and returns named metrics; those called `..._loss` add up to the
loss. What the views are, cached features of an SSD or proposals of a Mask R-CNN, is the step's affair.
TensorBoard's files are written by `tf.summary`, which does not load the tensorboard package.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from duckdetect.errors import UserError
from duckdetect.training import run_folder
from duckdetect.training.config import TrainConfig
from duckdetect.utils.progress import progress_bar, tell_minutes

FOLDER = "tensorboard"


class TensorBoardWriter:
    """Writes a run's events; does nothing where there is no folder.

    Args:
        folder: The run's folder.
        settings: What to show as the run's settings; None for a run that is taken up again, whose
            settings are there already.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any] | None) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}
        if settings is not None:
            rows = [f"| {name} | {value} |" for name, value in settings.items()]
            table = "\n".join(["| setting | value |", "| --- | --- |", *rows])
            if writer := self._writer("train"):
                with writer.as_default(step=0):
                    tf.summary.text("settings", table)

    def write(self, part: str, row: Mapping[str, float]) -> None:
        """Write a row's metrics at its step; `part` is the curve: train or validation."""
        if writer := self._writer(part):
            metrics = [_scalar(name, value) for name, value in row.items() if name != "step"]
            with writer.as_default(step=int(row["step"])):
                # All at once: five calls of tf.summary.scalar would take a tenth of a step.
                raw = tf.compat.v1.Summary(value=metrics).SerializeToString()
                tf.summary.experimental.write_raw_pb(raw)

    def draw(self, part: str, images: Iterable[tuple[str, np.ndarray]], step: int) -> None:
        """Write images (H, W, 3) uint8 by their names."""
        if writer := self._writer(part):
            with writer.as_default(step=step):
                for name, image in images:
                    tf.summary.image(name, image[np.newaxis])

    def close(self) -> None:
        """Write what is not yet on disk."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, part: str) -> Any:
        if self._folder is None:
            return None
        if part not in self._writers:
            path = self._folder / FOLDER / part
            self._writers[part] = tf.summary.create_file_writer(str(path))
        return self._writers[part]


def _scalar(name: str, value: float) -> Any:
    """What `tf.summary.scalar` writes."""
    summary = tf.compat.v1
    metadata = summary.SummaryMetadata(
        plugin_data=summary.SummaryMetadata.PluginData(plugin_name="scalars"),
        data_class="DATA_CLASS_SCALAR",
    )
    tensor = tf.make_tensor_proto(value, tf.float32, shape=[])
    return summary.Summary.Value(tag=name, metadata=metadata, tensor=tensor)


# A loss starts at about 1 and falls; a thousand times that is a bad start, a million is none.
_EXPLODED = 1e6
_NO_BETTER = 100  # times the first loss, at the end

_EXPLODED_WEIGHT = 1e10  # squares of it still fit into float32

Row = dict[str, float]

Step = Callable[[np.ndarray], Mapping[str, Any]]


class Validator(Protocol):
    """Measures the model on validation images every `every` steps."""

    every: int

    def validate(self) -> Row:
        """Measure the model as it is: losses, `AP50` and `AP` or `mask_iou`, and whatever else."""
        ...

    def images(self) -> Iterable[tuple[str, np.ndarray]]:
        """A few images (H, W, 3) uint8 with what the last round found, by name."""
        ...


@dataclass
class Trained:
    """What a loop has done.

    Attributes:
        history: A row a step: `step`, `loss`, the step's own metrics, `learning_rate`.
        validation: A row a validation round: `step` and the round's metrics.
        resumed: The step the loop was taken up at.
        best: The step whose weights were kept, None if nothing was validated.
    """

    history: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    resumed: int = 0
    best: int | None = None


def make_optimizer(config: TrainConfig, variables: Sequence[tf.Variable]) -> Any:
    """Stochastic gradient descent with the settings' rate, warm-up, decay and momentum."""
    schedules = tf.keras.optimizers.schedules
    rate: Any = config.learning_rate
    warmup = min(config.warmup, config.steps - 1)
    first = config.learning_rate / (warmup + 1)
    if config.decay == "cosine" and warmup:
        rate = schedules.CosineDecay(
            first, config.steps - warmup, warmup_target=config.learning_rate, warmup_steps=warmup
        )
    elif config.decay == "cosine":
        rate = schedules.CosineDecay(config.learning_rate, config.steps)
    elif warmup:  # a polynomial of degree 1 that ends at the full rate and stays there
        rate = schedules.PolynomialDecay(first, warmup, config.learning_rate)
    optimizer = tf.keras.optimizers.SGD(rate, momentum=config.momentum)
    optimizer.build(variables)
    return optimizer


def run_loop(
    step: Step,
    optimizer: Any,
    variables: Sequence[tf.Variable],
    names: Sequence[str],
    config: TrainConfig,
    folder: Path | None = None,
    progress: bool = True,
    validator: Validator | None = None,
) -> Trained:
    """Train `variables` in place for `config.steps` steps, or until validation has stopped improving.

    Args:
        step: Trains on the views with these numbers, (B,) int32, and returns scalars by name.
        optimizer: `make_optimizer`'s, which the step applies.
        variables: What is trained; with a validator they end with the best step's values.
        names: The views' names, for messages.
        config: The settings.
        folder: Where to save the state every `config.save_every` steps and at each validation, to
            resume from, and to write histories and TensorBoard's files.
        progress: Show a bar with the losses on stderr.
        validator: Validates every `validator.every` steps and after the last.

    Raises:
        UserError: If training diverges: a loss or a weight is not finite or explodes; the images of
            that step are named. What was saved before it is kept.
    """
    state = [*variables, *optimizer.variables]
    saved = run_folder.State() if folder is None else run_folder.load_state(folder, state)
    trained = Trained(saved.history, saved.validation, resumed=len(saved.history))
    best = saved.best
    board = TensorBoardWriter(folder, config.to_dict() if not trained.resumed else None)
    began = 0.0
    bar = progress_bar(
        desc="training",
        unit="step",
        initial=trained.resumed,
        total=config.steps,
        disable=not progress,
    )
    while len(trained.history) < config.steps and not _stalled(trained.validation, config):
        number = len(trained.history)
        if number == trained.resumed + 1:  # the step before was also traced
            began = time.monotonic()
        if number == trained.resumed + 4 and progress:
            seconds = (time.monotonic() - began) / 3 * (config.steps - number)
            tell_minutes(f"{config.steps - number} steps", seconds)
        index = batch_index(len(names), config.batch_size, config.seed, number)
        metrics = step(index)
        # The optimiser tells the rate that it last applied: only now this step's.
        row = _row(number + 1, metrics, float(optimizer.learning_rate))
        if not row["loss"] < _EXPLODED:  # NaN is not, either
            bar.close()
            raise UserError(_diverged(row, {names[i] for i in index}, config))
        trained.history.append(row)
        board.write("train", row)
        bar.set_postfix_str(_describe(row), refresh=False)
        bar.update()
        last = number + 1 == config.steps
        due = validator is not None and (last or (number + 1) % validator.every == 0)
        if validator is not None and due:
            found = {"step": number + 1, **validator.validate()}
            if not trained.validation or _rank(found) > max(map(_rank, trained.validation)):
                best = [variable.numpy() for variable in variables]
            trained.validation.append(found)
            board.write("validation", found)
            board.draw("validation", validator.images(), number + 1)
        # Before anything is kept of it: what was saved last is good.
        if (due or last or (number + 1) % config.save_every == 0) and _overflown(state):
            bar.close()
            raise UserError(_diverged(row, {names[i] for i in index}, config))
        if folder is not None and (due or last or (number + 1) % config.save_every == 0):
            run_folder.save_state(folder, state, trained.history, trained.validation, best)
    begun, ended = trained.history[0], trained.history[-1]
    if not trained.validation and ended["loss"] > _NO_BETTER * max(begun["loss"], 1):
        bar.close()
        raise UserError(_diverged(ended, set(names), config))
    if len(trained.history) < config.steps:  # a bar that stands still at 44 % looks like a fault
        bar.set_description_str("stopped early", refresh=False)
        bar.total = bar.n
        bar.refresh()
    bar.close()
    if trained.validation:
        trained.best = best_step(trained.validation)
        for variable, value in zip(variables, best, strict=True):
            variable.assign(value)
    board.close()
    return trained


def _overflown(state: Sequence[tf.Variable]) -> bool:
    """Whether weights or momenta are beyond what float32 can train with."""
    return any(
        variable.dtype.is_floating and not float(tf.reduce_max(tf.abs(variable))) < _EXPLODED_WEIGHT
        for variable in state
        if variable.shape.num_elements()
    )


def best_step(validation: Sequence[Row]) -> int | None:
    """The step of the best validation round; of equals the first."""
    return int(max(validation, key=_rank)["step"]) if validation else None


def batch_index(n_views: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Which views step `step` trains on; depends on nothing before, so that a run can resume.

    Drawn without repetition as in the few-shot notebook; with fewer views than `batch_size`, each is
    taken as evenly often as can be.
    """
    rng = np.random.default_rng([seed, step])
    rounds = -(-batch_size // n_views)
    return np.concatenate([rng.permutation(n_views) for _ in range(rounds)])[:batch_size]


def _row(step: int, metrics: Mapping[str, Any], learning_rate: float) -> Row:
    values = {name: float(value) for name, value in metrics.items()}
    loss = sum(value for name, value in values.items() if name.endswith("_loss"))
    # An accuracy of nothing, where no object was in the batch, is not written down.
    known = {k: v for k, v in values.items() if k.endswith("_loss") or np.isfinite(v)}
    return {"step": step, "loss": loss, **known, "learning_rate": learning_rate}


def _describe(row: Row) -> str:
    parts = [f"{k.removesuffix('_loss')} {v:.3f}" for k, v in row.items() if k.endswith("_loss")]
    return f"loss {row['loss']:.3f}: {', '.join(parts)}"


def _rank(row: Row) -> float:
    """The model-selection score: AP50 (finding objects) plus AP (placing their boxes well).

    The same of masks is added where they are detected with the boxes; of masks in boxes that are given,
    it is their mean IoU.
    """
    if "AP50" not in row:
        return row["mask_iou"]
    return row["AP50"] + row["AP"] + row.get("mask_AP50", 0.0) + row.get("mask_AP", 0.0)


def _stalled(validation: Sequence[Row], config: TrainConfig) -> bool:
    """Early stopping: whether the best round lies `config.patience` rounds back."""
    if not config.patience or len(validation) <= config.patience:
        return False
    best = max(range(len(validation)), key=lambda i: (_rank(validation[i]), -i))
    return len(validation) - 1 - best >= config.patience


def _diverged(row: Row, names: set[str], config: TrainConfig) -> str:
    some = sorted(names)
    more = f" and {len(some) - 8} more" if len(some) > 8 else ""
    return (
        f"training diverged: the loss is {row['loss']:g} at step {row['step']:.0f} "
        f"(pictures {', '.join(some[:8])}{more}): lower --learning-rate (it is "
        f"{config.learning_rate}) or check these pictures' boxes"
    )
