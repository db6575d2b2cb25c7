"""One recipe of views for training, the threshold and the contact sheet."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import duckdetect as dd
from duckdetect.data.augment import WIDEST_TWO_STAGE, PlainViews, augmented_views, corners
from duckdetect.data.distractors import with_distractors
from duckdetect.data.views import TrainingViews, random_views


@pytest.fixture(scope="module")
def plain(project_data: Path) -> PlainViews:
    return PlainViews(dd.load_dataset(project_data / "ducks", "train").samples)


def test_the_order_of_a_runs_views(plain: PlainViews) -> None:
    views = TrainingViews(plain, 6, seed=3, distractors=True, corner_part=0.6)
    expected = list(
        itertools.chain(
            plain,
            with_distractors(augmented_views(plain, 6, 3), plain, 3),
            corners(plain, 0.6),
        )
    )
    for made in (list(views), list(views)):  # the same time and again
        assert len(made) == len(views) == len(expected)
        for one, other in zip(made, expected, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.xyxy, other.xyxy)


def test_two_stage_views_are_narrower_and_have_no_distractors(plain: PlainViews) -> None:
    made = random_views(plain, 4, 0, two_stage=True, distractors=True)
    for one, other in zip(made, augmented_views(plain, 4, 0, WIDEST_TWO_STAGE), strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_images_without_a_box_give_corners(plain: PlainViews) -> None:
    from dataclasses import replace

    first = plain.samples[0]
    crowds = replace(first, crowd=np.ones(len(first.class_id), bool))
    mixed = PlainViews([first, crowds])
    assert len(TrainingViews(mixed, 2, 0, corner_part=0.5)) == 8
    assert len(list(TrainingViews(mixed, 2, 0, corner_part=0.5))) == 8
    assert len(TrainingViews(mixed, 2, 0)) == 4


def test_images_are_read_for_what_is_drawn_of_them_alone(
    plain: PlainViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten thousand images twenty views need twenty, and some for their colours."""
    from duckdetect.data.dataset import Sample

    many = PlainViews([*plain.samples] * 40)
    read: list[Path] = []
    load = Sample.load
    monkeypatch.setattr(Sample, "load", lambda self: read.append(self.path) or load(self))
    assert len(list(random_views(many, 4, 0, distractors=True))) == 4
    assert list(corners(many, 0.5)) == []
    assert 4 <= len(read) < 4 + 4 * 4
