"""The settings of a training run, checked against the base, and the summary of what is trained."""

from __future__ import annotations

import operator
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from duckdetect.errors import UserError
from duckdetect.models.catalog import BaseSpec
from duckdetect.models.interfaces import BaseModel, LayerGroup, Sizes, TrainPart
from duckdetect.utils.schema import is_number, read_json
from duckdetect.utils.words import did_you_mean

Decay = Literal["cosine", "none"]

TrainLevel = Literal["auto"] | TrainPart

Masks = Literal["auto", "yes", "no"]

_DECAYS, _TRAIN_LEVELS = get_args(Decay), ("auto", *get_args(TrainPart))

# Bases whose levels were measured; of others "auto" means the heads.
_MEASURED = ("ssd_mobilenet_v2",)
_AUTO_LEVELS: tuple[TrainPart, ...] = ("heads", "top", "deep")
DEEP_BOXES = 30
FAMILIAR = 0.25

# Where the backbone is trained.
_CUT_LEVELS = ("top", "deep", "all")
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


def setting(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
    default_text: str | None = None,
    old_flags: Sequence[str] = (),
) -> Any:
    """A field of TrainConfig: its default, its documentation and what it may be.

    This is the one place where a setting is described. The checks, `help(TrainConfig)`, the options of
    `duckdetect train` (cli/train.py) and the report's recipe are made of it.

    Args:
        default: What it is if nothing is said; None where the base decides.
        help: A sentence or two for users.
        at_least: The smallest value.
        above: Or the value that it must exceed.
        at_most: The largest value.
        below: Or the value that it must stay under.
        choices: The only values of a text.
        default_text: How the default is told, where the value alone says too little.
        old_flags: Options of earlier versions that still work.
    """
    limits = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    return field(
        default=default,
        metadata={
            "help": help,
            "limits": {name: value for name, value in limits.items() if value is not None},
            "choices": tuple(choices),
            "default_text": default_text,
            "old_flags": tuple(old_flags),
        },
    )


@dataclass(frozen=True)
class TrainConfig:
    """How the heads are trained.

    The defaults are what docs/accuracy.md found best for five images; `TrainConfig.stock()` is the
    recipe of TensorFlow's few-shot notebook.

    Example:
        TrainConfig(steps=400, seed=1)
    """

    steps: int = setting(
        250,
        "Training steps. Where the backbone is trained, the default grows with the images.",
        at_least=1,
        at_most=10_000_000,
    )
    batch_size: int = setting(
        8,
        "Augmented views in each step. Where the backbone is trained, the default means half as many.",
        at_least=1,
        at_most=10_000,
    )
    learning_rate: float = setting(
        0.003, "Learning rate of stochastic gradient descent at its start.", above=0, at_most=1e38
    )
    warmup: int = setting(
        0, "Steps over which the learning rate first rises to its value.", at_least=0
    )
    decay: Decay = setting(  # noqa: RUF009
        "cosine",
        "How the learning rate falls: cosine, to 0 over the steps, or none.",
        choices=_DECAYS,
    )
    momentum: float = setting(0.9, "Momentum of stochastic gradient descent.", at_least=0, below=1)
    views: int | None = setting(
        None,
        "Augmented views to train on besides the images themselves: random crops, flipped and "
        "recoloured. 0 for none.",
        at_least=0,
        default_text="100, with large bases 40; more where the backbone is trained on many images",
        old_flags=("--looks",),
    )
    class_init: bool = setting(
        True,
        "Start a new class as the base's own classes that it resembles most, instead of at random.",
    )
    distractors: bool = setting(
        True,
        "One-stage bases: draw plain shapes in the object's colours beside it, which are not the "
        "object.",
    )
    rotate: bool = setting(
        False,
        "Also train on views turned by quarters: for what has no upright, such as cells under the "
        "microscope, things seen from above, cards on a table.",
    )
    box_lr_multiplier: float = setting(
        0.3,
        "Learning rate of the box head as a part of the class head's: the base already knows where "
        "things end, and five images would bias it to their own way of drawing boxes.",
        above=0,
        at_most=1,
    )
    refine: bool = setting(
        True,
        "Let boxes that overlap a detection help to place it (box voting) and score lower beside it "
        "(Soft-NMS); where the objects are small, detect at two scales.",
    )
    confusables: bool = setting(
        True,
        "Lower the score of what the base takes for another kind of thing more surely than any "
        "object it was trained on. Needs --refine.",
    )
    seed: int = setting(0, "Seed of views, weights and batches.", at_least=0)
    train: TrainLevel = setting(  # noqa: RUF009
        "auto",
        "How deep to train; what lies below stays bit for bit. Of SSDs heads (the last layer of the "
        "box and class heads), towers (the layers before as well), top (the extra layers or feature "
        "pyramid as well and, without a pyramid, the upper blocks of the backbone), deep (more of the "
        "backbone) or all; of Faster and Mask R-CNN heads, second-stage (the features of proposals "
        "as well) or all. auto: what suits the base and the images.",
        choices=_TRAIN_LEVELS,
    )
    masks: Masks = setting(  # noqa: RUF009
        "auto",
        "Whether masks are trained, from outlines: yes, no, or auto, of Mask R-CNN where there is any "
        "outline, of other bases where at least half of the boxes have one.",
        choices=get_args(Masks),
    )
    clip_norm: float | None = setting(
        None,
        "The gradient's largest norm; 0 for no limit.",
        at_least=0,
        at_most=1e38,
        default_text="5 where the backbone is trained, else no limit",
    )
    save_every: int = setting(50, "Steps between two saved states, to resume from.", at_least=1)
    val_every: int = setting(
        0,
        "Steps between two validation rounds.",
        at_least=0,
        default_text="as often as slows training by less than a fifth",
    )
    val_images: int = setting(
        200, "Validate on at most this many images, evenly chosen.", at_least=1
    )
    patience: int = setting(
        5,
        "Stop after this many validation rounds without a better one; 0 to train all steps.",
        at_least=0,
    )
    input_size: int | None = setting(
        None,
        "Faster and Mask R-CNN: longer side in pixels that images are brought to.",
        at_least=64,
        default_text="the model's own",
    )
    proposals: int | None = setting(
        None,
        "Faster and Mask R-CNN: boxes that the first stage hands on.",
        at_least=1,
        default_text="the model's own",
    )
    proposal_batch: int | None = setting(
        None,
        "Faster and Mask R-CNN: how many of an image's proposals are trained on.",
        at_least=1,
        default_text="the model's own",
    )

    @classmethod
    def stock(cls, **changes: Any) -> TrainConfig:
        """The recipe of TensorFlow's few-shot notebook: the pictures as they are, a new head.

        Example:
            TrainConfig.stock(seed=1)
        """
        return cls(
            **{
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
                "masks": "no",
                **changes,
            }
        )

    def __post_init__(self) -> None:
        for field_, kind in settings():
            _check(field_, kind, getattr(self, field_.name))

    def for_data(
        self, spec: BaseSpec, n_images: int, n_boxes: int, familiarity: float = 0.0
    ) -> TrainConfig:
        """The settings with what is left open settled for a base and a data set.

        "auto" means "heads" for bases whose levels were not measured (docs/accuracy.md), and for what
        the base's own classes know already; else of SSD MobileNet V2 "top", and from `DEEP_BOXES`
        boxes on "deep".

        Args:
            spec: The base.
            n_images: How many images there are to train on.
            n_boxes: How many boxes they have.
            familiarity: How surely the base's own classes tell the objects; see `class_init`.
        """
        train, views, steps, batch_size = self.train, self.views, self.steps, self.batch_size
        if train == "auto":
            train = "heads"
            if spec.name in _MEASURED and familiarity < FAMILIAR:
                train = "deep" if n_boxes >= DEEP_BOXES else "top"
        through_backbone = spec.family.stages == 1 and train in _CUT_LEVELS
        further = max(0, n_images - _FEW_IMAGES) if through_backbone else 0
        if views is None:
            views = VIEWS if spec.is_light else VIEWS_OF_LARGE
            views = min(views + _VIEWS_PER_IMAGE * further, _MOST_VIEWS)
        if through_backbone:
            if steps == TrainConfig.steps:
                steps = min(steps + _STEPS_PER_IMAGE * further, _MOST_STEPS)
            if batch_size == TrainConfig.batch_size:
                batch_size //= 2
        return replace(self, train=train, views=views, steps=steps, batch_size=batch_size)

    def candidates(self, spec: BaseSpec, n_images: int, n_boxes: int) -> list[TrainConfig]:
        """What `for_data` may make of the settings: of "auto" each level that it may mean."""
        levels: tuple[TrainLevel, ...] = (self.train,)
        if self.train == "auto":
            levels = _AUTO_LEVELS if spec.name in _MEASURED else ("heads",)
        return [replace(self, train=level).for_data(spec, n_images, n_boxes) for level in levels]

    @property
    def part(self) -> TrainPart:
        """What is trained; the heads where `for_data` has not settled "auto"."""
        return "heads" if self.train == "auto" else self.train

    @property
    def gradient_norm(self) -> float:
        """The gradient's largest norm in the one-stage loop, 0 for no limit."""
        if self.clip_norm is not None:
            return self.clip_norm
        return _CLIP_NORM if self.train in _CUT_LEVELS else 0.0

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
                near = did_you_mean(name, known)
                hint = f"{near} The settings are" if near else "give one of"
                raise UserError(f"unknown setting {name!r}: {hint} {', '.join(known)}")
        return cls(**values)


def wrong_setting(values: Mapping[str, Any]) -> str | None:
    """What a run's file says that a setting cannot be; settings of later versions pass."""
    known = {f.name: (f, kind) for f, kind in settings()}
    for name, value in values.items():
        field_and_kind = known.get(_RENAMED.get(name, name))
        if field_and_kind is not None:
            try:
                _check(*field_and_kind, value)
            except UserError as error:
                return str(error)
    return None


_KINDS: dict[str, type] = {"int": int, "float": float, "bool": bool}


def settings() -> list[tuple[Field[Any], type]]:
    """Each setting's field and its type: int, float, bool or str."""
    return [(f, _KINDS.get(str(f.type).split(" ")[0], str)) for f in fields(TrainConfig)]


def is_optional(field_: Field[Any]) -> bool:
    """Whether the setting may be None: the base decides then."""
    return field_.default is None


def flag(name: str, value: Any = True) -> str:
    """The option of `duckdetect train` for a setting: `--batch-size`, `--no-refine`."""
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def default_text(field_: Field[Any]) -> str:
    """How a setting's default is told."""
    told = field_.metadata["default_text"]
    if told is not None:
        return str(told)
    return str(field_.default)


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}


def _check(field_: Field[Any], kind: type, value: Any) -> None:
    name, about = field_.name, field_.metadata
    if value is None and is_optional(field_):
        return
    if about["choices"]:
        if value not in about["choices"]:
            raise UserError(f"{name} is {value!r}: give one of {', '.join(about['choices'])}")
        return
    if kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{name} is {value!r}: give True or False")
        return
    is_kind = isinstance(value, int if kind is int else int | float)
    if (
        isinstance(value, bool)
        or not is_kind
        or not is_number(value)
        or not all(_COMPARE[how](value, limit) for how, limit in about["limits"].items())
    ):
        raise UserError(f"{name} is {value!r}: give {_wanted(kind, about['limits'])}")


def _wanted(kind: type, limits: Mapping[str, float]) -> str:
    """`a whole number of at least 1`, `a number above 0, at most 1`."""
    told = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}
    words = ", ".join(f"{told[name]} {value:g}" for name, value in limits.items())
    between = " of" if "at_least" in limits else ""
    return f"a {'whole ' if kind is int else ''}number{between} {words}"


def _attributes() -> str:
    """The attributes' part of the class's docstring."""
    lines = []
    for field_, _ in settings():
        text = f"{field_.name}: {field_.metadata['help']}"
        if is_optional(field_):
            text += f" By default {default_text(field_)}."
        lines += textwrap.wrap(
            text, 100, initial_indent=" " * 8, subsequent_indent=" " * 12, break_on_hyphens=False
        )
    return "\n    Attributes:\n" + "\n".join(lines) + "\n    "


TrainConfig.__doc__ = f"{(TrainConfig.__doc__ or '').rstrip()}\n{_attributes()}"


def read_settings(path: str | Path) -> tuple[str | None, TrainConfig]:
    """The base (None if the file names none) and the settings of a JSON file.

    Args:
        path: A run's config.json, or a file with what its `train` part holds.

    Raises:
        UserError: If the file is missing or holds something else.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "config.json"
    fields = read_json(path, "give a run's config.json")
    found = fields.values
    whole = isinstance(found.get("train"), dict)
    base = fields.text("base") if whole and fields.has("base") else None
    try:
        return base, TrainConfig.from_dict(found["train"] if whole else found)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


DEFAULT_BASE = "ssd_mobilenet_v2"  # it is measured, and needs no zoo

RECIPES: dict[str, Callable[..., TrainConfig]] = {
    "few-shot": TrainConfig,
    "stock": TrainConfig.stock,
}


def choose_settings(
    base: str | None, path: str | Path | None, recipe: str | None, given: Mapping[str, Any]
) -> tuple[str, TrainConfig]:
    """The base and the settings that a command line asks for.

    Args:
        base: The base, if one is named.
        path: A file with settings, as `read_settings` takes it.
        recipe: One of `RECIPES`, instead of a file.
        given: Settings that come first.

    Raises:
        UserError: If the file cannot be read, or there is no such recipe.
    """
    if path is None:
        recipe = recipe or "few-shot"
        if recipe not in RECIPES:
            raise UserError(f"there is no recipe {recipe!r}: give one of {', '.join(RECIPES)}")
        return base or DEFAULT_BASE, RECIPES[recipe](**given)
    if recipe is not None:
        raise UserError("--config and --recipe both say what the settings are: give one of them")
    found, config = read_settings(path)
    return base or found or DEFAULT_BASE, replace(config, **given)


def check_settings(spec: BaseSpec, config: TrainConfig) -> None:
    """Refuse what this base does not have, before anything is fetched or loaded.

    Raises:
        UserError: If the part to train, or a size, is another family's.
    """
    parts = spec.family.parts
    if config.part not in parts:
        raise UserError(
            f"{spec.name} has no {config.train} to train: give --train {' or '.join(parts)}"
        )
    if spec.family.stages == 1 and config.sizes != Sizes():
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


# Processor seconds of SSD MobileNet V2 on one core of 2.4 GHz: a view of a step, a view that is cached,
# the mask head; and what more cores do not hasten: tracing, choosing the threshold, saving.
_SECONDS = {"heads": 0.014, "top": 0.105, "deep": 0.19}
_VIEW_S, _MASKS_S, _FIXED_S = 0.14, 84.0, 15.0


def level_text(
    spec_name: str, config: TrainConfig, n_images: int, n_boxes: int, masks: bool = False
) -> str:
    """One sentence on what is trained and how long it takes, for the summary before training."""
    n_views = n_images + (config.views or 0)
    text = (
        f"{n_images} images with {n_boxes} boxes: training {config.part}, {config.steps} steps of "
        f"{config.batch_size} on {n_views} views"
    )
    if spec_name not in _MEASURED or config.part not in _SECONDS:
        return text
    n_cores = os.cpu_count() or 1
    seconds = _SECONDS[config.part] * config.steps * config.batch_size
    seconds += _VIEW_S * n_views + _MASKS_S * masks
    return f"{text}, about {_FIXED_S + seconds / n_cores:.0f} s on {n_cores} idle cores"
