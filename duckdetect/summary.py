"""What training will change and what it will leave, told before it starts.

print(summary_text("mask_rcnn", base.summary("heads")))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duckdetect.bases.base import PARTS, BaseModel, LayerGroup, TrainPart
from duckdetect.bases.two_stage import Sizes
from duckdetect.config import TrainConfig
from duckdetect.errors import UserError
from duckdetect.specs import BaseSpec


def check_settings(spec: BaseSpec, config: TrainConfig) -> None:
    """Refuse what this base does not have, before anything is fetched or loaded.

    Raises:
        UserError: If the part to train, or a size, is another family's.
    """
    parts = PARTS[spec.family]
    if config.train not in parts:
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
