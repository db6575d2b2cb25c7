"""Looks: boxes follow the object, nothing lies outside, the same seed gives the same looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from duckdetect.data import augment
from duckdetect.data.augment import View, _turned, augmented_views, corners

BACKGROUND, OBJECT = 40, 220


def marked_view(x1, y1, x2, y2, height=300, width=400):
    """A dark picture with one bright rectangle, which is the object."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    image[y1:y2, x1:x2] = OBJECT
    return View(image, np.array([[x1, y1, x2, y2]], np.float32), np.array([0]), "marked")


@pytest.fixture
def plain_colours(monkeypatch):
    monkeypatch.setattr(
        "duckdetect.data.augment._recolouring", lambda seed: lambda image: {"image": image}
    )


@pytest.mark.parametrize("rotate", [False, True])
def test_boxes_follow_the_object(plain_colours, rotate):
    view = marked_view(150, 100, 260, 180)
    sizes = []
    for look in augmented_views([view], 40, seed=1, rotate=rotate):
        bright = look.image[..., 0] > (BACKGROUND + OBJECT) / 2
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(look.xyxy[0], seen, atol=2.5)
        sides = (look.xyxy[0, 2:] - look.xyxy[0, :2]) / look.image.shape[1::-1]
        sizes.append(float(np.sqrt(np.prod(sides))))
    # From the part of a window as wide as three pictures to nearly a whole window.
    assert min(sizes) < 0.12
    assert max(sizes) > 0.6


@pytest.mark.parametrize("case", range(6))
def test_a_window_is_cut_where_it_lies(case):
    """Against a canvas that holds the whole picture and all around it, scaled as one."""
    rng = np.random.default_rng(case)
    rows, columns = np.mgrid[:150, :220]
    image = np.stack([rows, columns, (rows + columns) // 2], axis=-1).astype(np.uint8)
    start = rng.uniform(-120, 80, 2)
    end = start + rng.uniform(150, 400, 2)
    out_wh = rng.integers(120, 500, 2)
    fill = np.array([200, 10, 90], np.uint8)
    ours = augment._cut(image, start, end, out_wh, fill)
    canvas = np.full((900, 900, 3), fill, np.uint8)
    canvas[300:450, 300:520] = image
    box = (*(start + 300), *(end + 300))
    theirs = np.asarray(
        Image.fromarray(canvas).resize(tuple(out_wh), Image.Resampling.BILINEAR, box=box)
    )
    difference = np.abs(ours.astype(int) - theirs).max(axis=-1)
    # The picture's edge falls between pixels, and a shrunk one's edge is mixed with what lies beyond.
    assert np.mean(difference > 2) < 0.05
    assert np.median(difference) <= 1


@settings(max_examples=30)
@given(
    st.integers(0, 340),
    st.integers(0, 240),
    st.integers(4, 400),
    st.integers(4, 300),
    st.integers(0, 2**31),
)
def test_boxes_stay_inside_and_hold_an_area(x, y, w, h, seed):
    view = marked_view(x, y, min(x + w, 400), min(y + h, 300))
    for look in augmented_views([view], 3, seed):
        height, width = look.image.shape[:2]
        assert look.image.dtype == np.uint8
        assert len(look.xyxy) == len(look.class_id)
        assert (look.xyxy >= 0).all()
        assert (look.xyxy <= [width, height, width, height]).all()
        assert (look.xyxy[:, 2:] > look.xyxy[:, :2]).all()


def test_the_seed_decides():
    view = marked_view(150, 100, 260, 180)
    first, again, other = (list(augmented_views([view], 4, seed)) for seed in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.xyxy, b.xyxy)
    assert any(a.xyxy.tolist() != b.xyxy.tolist() for a, b in zip(first, other, strict=True))


def test_images_without_a_box_are_not_looked_at():
    empty = View(
        np.zeros((50, 50, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, int), "e"
    )
    view = marked_view(150, 100, 260, 180)
    assert {look.name for look in augmented_views([empty, view], 5, 0)} == {"marked"}


def test_corners_of_views_without_a_box() -> None:
    image = np.arange(100 * 60 * 3, dtype=np.uint32).reshape(60, 100, 3).astype(np.uint8)
    none = View(image, np.zeros((0, 4), np.float32), np.zeros(0, int), "none")
    one = View(image, np.array([[1, 1, 9, 9]], np.float32), np.zeros(1, int), "one")
    found = [view.image for view in corners([one, none], 0.6)]
    expected = [image[:36, :60], image[:36, 40:], image[24:, :60], image[24:, 40:]]
    assert len(found) == 4
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_turned_views_stand_in_all_four_ways(plain_colours):
    """A box at the upper left, wider than high, comes into every corner, lying and standing."""
    view = View(np.zeros((200, 300, 3), np.uint8), np.array([[0, 0, 60, 30.0]], np.float32),
                np.array([0]), "a")  # fmt: skip
    corners_seen = set()
    for quarters in range(4):
        turned = _turned(view, quarters)
        height, width = turned.image.shape[:2]
        assert (height, width) == ((200, 300), (300, 200))[quarters % 2]
        x1, y1, x2, y2 = turned.xyxy[0]
        assert (x2 - x1, y2 - y1) == ((60, 30), (30, 60))[quarters % 2]
        corners_seen.add((x1 == 0, y1 == 0))
        assert x1 == 0 or x2 == width
        assert y1 == 0 or y2 == height
    assert len(corners_seen) == 4
