"""Decoys: beside the object, never on it; in its colours; the same for the same seed."""

from __future__ import annotations

import numpy as np

from duckdetect.data.augment import View
from duckdetect.data.distractors import with_distractors

BACKGROUND, OBJECT = (40, 60, 200), (230, 200, 20)
BOXES = np.array([[60, 50, 120, 110], [200, 150, 260, 190]], np.float32)


def view() -> View:
    image = np.full((240, 320, 3), BACKGROUND, np.uint8)
    for x1, y1, x2, y2 in BOXES.astype(int):
        image[y1:y2, x1:x2] = OBJECT
    return View(image, BOXES, np.array([0, 1]), "two")


def test_decoys_lie_beside_the_objects_in_their_colours():
    plain = [view()]
    changed, yellowish = 0, 0
    for look in with_distractors([view() for _ in range(60)], plain, seed=3):
        for x1, y1, x2, y2 in BOXES.astype(int):
            assert (look.image[y1:y2, x1:x2] == OBJECT).all()
        np.testing.assert_array_equal(look.xyxy, BOXES)
        np.testing.assert_array_equal(look.class_id, [0, 1])
        new = look.image[(look.image != plain[0].image).any(axis=-1)].astype(int)
        if len(new):
            changed += 1
            yellowish += np.median(new[:, 0] - new[:, 2]) > 80
    assert 30 <= changed <= 54  # seven looks of ten
    assert yellowish > changed / 2
    assert (plain[0].image == view().image).all()


def test_the_same_seed_draws_the_same_decoys():
    def images(seed):
        return [v.image for v in with_distractors([view() for _ in range(6)], [view()], seed)]

    for one, again in zip(images(1), images(1), strict=True):
        np.testing.assert_array_equal(one, again)
    pairs = zip(images(1), images(2), strict=True)
    assert any((one != other).any() for one, other in pairs)


def test_a_box_that_fills_the_look_leaves_no_place():
    full = View(
        np.zeros((40, 40, 3), np.uint8),
        np.array([[0, 0, 40, 40]], np.float32),
        np.array([0]),
        "full",
    )
    for look in with_distractors([full] * 10, [full], seed=0):
        assert not look.image.any()
