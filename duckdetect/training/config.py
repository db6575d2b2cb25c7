"""The settings of a training run, checked against the base, and the summary of what is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from duckdetect.errors import UserError
from duckdetect.models.catalog import BaseSpec
from duckdetect.models.interfaces import PARTS, BaseModel, LayerGroup, Sizes, TrainPart

Decay = Literal["cosine", "none"]

LEVELS = ("auto", *get_args(TrainPart))

# Bases whose levels were measured; others are trained at their heads unless asked.
_MEASURED = ("ssd_mobilenet_v2",)
DEEP_BOXES = 30
_CLIP_NORM = 5.0
_FEW_IMAGES = 5
_VIEWS_PER_IMAGE, _MOST_VIEWS = 4, 1000
_STEPS_PER_IMAGE, _MOST_STEPS = 10, 1500

VIEWS, VIEWS_OF_LARGE = 100, 40  # docs/accuracy.md; of large bases, what two cores do in a minute

# Settings of 0.1.0 by their present names: config.json of its runs is still read.
_RENAMED = {
    "looks": "views",
    "head_start": "class_init",
    "decoys": "distractors",
    "box_rate": "box_lr_multiplier",
    "careful": "refine",
    "rivals": "confusables",
    "val_pictures": "val_images",
}


@dataclass(frozen=True)
class TrainConfig:
    """How the heads are trained.

    The defaults are what docs/accuracy.md found best for five pictures; `TrainConfig.stock()` is the
    recipe of TensorFlow's few-shot notebook.

    Attributes:
        steps: Training steps. Where the backbone is trained (`train`) and this is at its default, it
            grows with the images.
        batch_size: Views a step. Where the backbone is trained, the default means half as many.
        learning_rate: Of stochastic gradient descent, at its start.
        warmup: Steps over which the rate first rises to `learning_rate`; 0 for none.
        decay: "cosine", from `learning_rate` to 0 over the steps, or "none".
        momentum: Of stochastic gradient descent, 0 to below 1.
        views: Random windows of the pictures, recoloured, that are trained on besides the pictures
            themselves (augment.py); 0 for none, None for as many as suit the base: 100, or 40 where
            each costs a second without a GPU.
        class_init: Whether a new class begins as the base's own classes that it looks most like
            (headstart.py), or with small random weights.
        distractors: Whether looks get plain shapes in the object's colours beside it, which are none
            (decoys.py).
        box_lr_multiplier: How fast the box head learns, as a part of the class head's: the base
            knows already
            where things end, and five pictures would teach it their own.
        refine: Whether boxes that overlap a detection have a say in where it lies and fade beside it,
            and, where the objects are small in the training pictures and the base's input is small
            as well, the detector looks at pictures magnified too.
        confusables: Whether a careful detector trusts less in what the base takes for another kind
            of thing
            more surely than any object it was trained on (rivals.py).
        seed: Of looks, weights and batches.
        train: How deep. Of the SSD family "heads", the last layer of the box and class heads;
            "towers", the layers that lead to them as well; "top", the extra layers or the feature
            pyramid and, without a pyramid, the upper blocks of the backbone as well; "deep", more of
            the backbone; or "all". Of Faster and Mask R-CNN "heads", the box, class and mask heads;
            "second-stage", the features of proposals as well; or "all". Everything else stays as it
            was, bit for bit. "auto" is settled by `for_data`.
        clip_norm: The gradient's largest norm; 0 for no limit, None for 5 where the backbone is
            trained and no limit elsewhere.
        save_every: Steps between two saved states.
        val_every: Steps between two looks at the validation pictures; 0 for as often as slows
            training by less than a fifth (validation.py).
        val_images: Look at no more validation pictures than this, evenly chosen.
        patience: Stop when so many looks in a row were no better than the best before them; 0 to
            train all steps.
        input_size: Of Faster and Mask R-CNN, the longer side in pixels that pictures are brought to;
            the model's own if None.
        proposals: Of the same, how many boxes the first stage hands on.
        proposal_batch: Of these, how many of a picture are trained on.
    """

    steps: int = 250
    batch_size: int = 8
    learning_rate: float = 0.003
    warmup: int = 0
    decay: Decay = "cosine"
    momentum: float = 0.9
    views: int | None = None
    class_init: bool = True
    distractors: bool = True
    box_lr_multiplier: float = 0.3
    refine: bool = True
    confusables: bool = True
    seed: int = 0
    train: TrainPart | Literal["auto"] = "auto"
    clip_norm: float | None = None
    save_every: int = 50
    val_every: int = 0
    val_images: int = 200
    patience: int = 5
    input_size: int | None = None
    proposals: int | None = None
    proposal_batch: int | None = None

    @classmethod
    def stock(cls, **changes: Any) -> TrainConfig:
        """The recipe of TensorFlow's few-shot notebook: the pictures as they are, a new head.

        Example:
            TrainConfig.stock(seed=1)
        """
        return cls(
            **{
                "train": "heads",
                "steps": 100,
                "batch_size": 4,
                "learning_rate": 0.01,
                "decay": "none",
                "views": 0,
                "class_init": False,
                "distractors": False,
                "box_lr_multiplier": 1.0,
                "refine": False,
                "confusables": False,
                **changes,
            }
        )

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("batch_size", 1),
            ("save_every", 1),
            ("seed", 0),
            ("views", 0),
            ("warmup", 0),
            ("val_every", 0),
            ("val_images", 1),
            ("patience", 0),
            ("input_size", 64),
            ("proposals", 1),
            ("proposal_batch", 1),
        ):
            value = getattr(self, name)
            if value is None and name in ("views", "input_size", "proposals", "proposal_batch"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f"{name} is {value!r}: give a whole number of at least {least}")
        if self.decay not in get_args(Decay):
            raise UserError(f"decay is {self.decay!r}: give one of {', '.join(get_args(Decay))}")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"learning_rate is {self.learning_rate!r}: give a number above 0")
        if not 0 < self.box_lr_multiplier <= 1:
            raise UserError(
                f"box_rate is {self.box_lr_multiplier!r}: give a number above 0, at most 1"
            )
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum is {self.momentum!r}: give a number from 0 to below 1")
        if self.train not in LEVELS:
            raise UserError(f"train is {self.train!r}: give one of {', '.join(LEVELS)}")
        if self.clip_norm is not None and not 0 <= self.clip_norm < float("inf"):
            raise UserError(f"clip_norm is {self.clip_norm!r}: give a number of at least 0")

    def for_data(self, spec: BaseSpec, n_images: int, n_boxes: int) -> TrainConfig:
        """The settings with what is left open settled for a base and a data set.

        "auto" means "heads" for bases whose levels were not measured (docs/accuracy.md); of
        SSD MobileNet V2 "top", and from `DEEP_BOXES` boxes on "deep".

        Args:
            spec: The base.
            n_images: How many images there are to train on.
            n_boxes: How many boxes they have.
        """
        train, views, steps, batch_size = self.train, self.views, self.steps, self.batch_size
        if train == "auto":
            train = "heads"
            if spec.name in _MEASURED:
                train = "deep" if n_boxes >= DEEP_BOXES else "top"
        further = max(0, n_images - _FEW_IMAGES) if train in ("top", "deep") else 0
        if views is None:
            views = VIEWS if spec.is_light else VIEWS_OF_LARGE
            views = min(views + _VIEWS_PER_IMAGE * further, _MOST_VIEWS)
        if train in ("top", "deep"):
            if steps == TrainConfig.steps:
                steps = min(steps + _STEPS_PER_IMAGE * further, _MOST_STEPS)
            if batch_size == TrainConfig.batch_size:
                batch_size //= 2
        return replace(self, train=train, views=views, steps=steps, batch_size=batch_size)

    @property
    def part(self) -> TrainPart:
        """What is trained; the heads where `for_data` has not settled "auto"."""
        return "heads" if self.train == "auto" else self.train

    @property
    def gradient_norm(self) -> float:
        """The gradient's largest norm, 0 for no limit."""
        if self.clip_norm is not None:
            return self.clip_norm
        return _CLIP_NORM if self.train in ("top", "deep") else 0.0

    @property
    def sizes(self) -> Sizes:
        """What is changed of a two-stage model's sizes."""
        return Sizes(self.input_size, self.proposals, self.proposal_batch)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The settings from `to_dict`'s values, also those of earlier versions.

        Raises:
            UserError: If a name is unknown.
        """
        known = [f.name for f in fields(cls)]
        values = {_RENAMED.get(name, name): value for name, value in values.items()}
        for name in values:
            if name not in known:
                raise UserError(f"unknown setting {name!r}: give one of {', '.join(known)}")
        return cls(**values)


def check_settings(spec: BaseSpec, config: TrainConfig) -> None:
    """Refuse what this base does not have, before anything is fetched or loaded.

    Raises:
        UserError: If the part to train, or a size, is another family's.
    """
    parts = PARTS[spec.family]
    if config.part not in parts:
        raise UserError(
            f"{spec.name} has no {config.train} to train: give --train {' or '.join(parts)}"
        )
    if spec.family == "ssd" and config.sizes != Sizes():
        raise UserError(
            f"{spec.name} has one size and no proposals: leave out --input-size, --proposals and "
            "--proposal-batch, they are for Faster and Mask R-CNN"
        )


def one_stage_summary(base: BaseModel, part: TrainPart) -> list[LayerGroup]:
    """What `part` trains of an SSD-family model, and what it freezes."""
    trained = {id(v) for v in base.trained_variables(part)}
    groups: dict[str, list[Any]] = {"features": [], f"{part} of boxes and classes": []}
    frozen, changed = groups.values()
    for variable in base.variables():
        (changed if id(variable) in trained else frozen).append(variable)
    return [LayerGroup.count(name, group, trained) for name, group in groups.items()]


def summary_text(name: str, groups: Sequence[LayerGroup]) -> str:
    """A table: each part's layers, its weights that are trained and those that stay."""
    total = LayerGroup(
        "all",
        sum(g.n_layers for g in groups),
        sum(g.n_trained for g in groups),
        sum(g.n_frozen for g in groups),
    )
    rows: list[tuple[str, ...]] = [(name, "layers", "trained weights", "frozen weights")]
    for group in (*groups, total):
        counts = (group.n_layers, group.n_trained, group.n_frozen)
        rows.append((group.name, *(f"{count:,}" if count else "-" for count in counts)))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


# Processor seconds a view of a step, of SSD MobileNet V2 on one core of 2.4 GHz.
_SECONDS = {"heads": 0.004, "top": 0.065, "deep": 0.13}


def level_text(spec_name: str, config: TrainConfig, n_images: int, n_boxes: int) -> str:
    """One sentence on what is trained and how long, for the summary before training."""
    text = (
        f"{n_images} images with {n_boxes} boxes: training {config.part}, {config.steps} steps of "
        f"{config.batch_size} on {n_images + (config.views or 0)} views"
    )
    if spec_name not in _MEASURED or config.part not in _SECONDS:
        return text
    n_cores = os.cpu_count() or 1
    seconds = _SECONDS[config.part] * config.steps * config.batch_size / n_cores
    return f"{text}, about {max(10, round(seconds, -1)):.0f} s on {n_cores} idle cores"
