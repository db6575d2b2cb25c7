"""Which views a detector is trained on: the images themselves, augmented views, distractors, corners.

    views = TrainingViews(plain, 100, seed=0, distractors=True)
    held_out = random_views(plain, 20, seed=1, distractors=True)     # more of the same kind

The one recipe for training, for the threshold and for what the contact sheet shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from duckdetect.data.augment import (
    WIDEST,
    WIDEST_TWO_STAGE,
    PlainViews,
    View,
    augmented_views,
    corners,
)
from duckdetect.data.distractors import with_distractors


def random_views(
    plain: Sequence[View],
    n: int,
    seed: int,
    *,
    two_stage: bool = False,
    distractors: bool = False,
    rotate: bool = False,
) -> Iterator[View]:
    """`n` augmented views as one-stage or two-stage bases are trained on.

    Args:
        plain: The images, at least one of them with a box.
        n: How many.
        seed: Decides windows, colours and distractors.
        two_stage: Narrower windows, and never distractors: both were measured for one stage only.
        distractors: Whether a one-stage base's views get hard negatives.
        rotate: Whether they are also turned by quarters.
    """
    views = augmented_views(plain, n, seed, WIDEST_TWO_STAGE if two_stage else WIDEST, rotate)
    return with_distractors(views, plain, seed) if distractors and not two_stage else views


@dataclass(frozen=True)
class TrainingViews:
    """All views of a run, in a fixed order; made again each time they are iterated over.

    Attributes:
        plain: The images as they are, which come first.
        n_augmented: How many augmented views follow.
        seed, two_stage, distractors, rotate: As `random_views` has them.
        corner_part: For multi-scale inference: the four corners of each image without a box follow,
            windows of this part of its sides, and four around each hard negative; None for none.
    """

    plain: PlainViews
    n_augmented: int
    seed: int
    two_stage: bool = False
    distractors: bool = False
    rotate: bool = False
    corner_part: float | None = None

    def __iter__(self) -> Iterator[View]:
        more = random_views(
            self.plain,
            self.n_augmented,
            self.seed,
            two_stage=self.two_stage,
            distractors=self.distractors,
            rotate=self.rotate,
        )
        windows = corners(self.plain, self.corner_part) if self.corner_part is not None else ()
        return itertools.chain(self.plain, more, windows)

    def __len__(self) -> int:
        n = len(self.plain) + self.n_augmented
        if self.corner_part is None:
            return n
        samples = self.plain.samples
        empty = sum(bool(s.crowd.all()) and not len(s.hard_negatives) for s in samples)
        return n + 4 * (empty + sum(len(s.hard_negatives) for s in samples))
