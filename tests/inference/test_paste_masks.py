"""Masks come back to the picture as the Object Detection API puts them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from duckdetect.inference.detector import paste_masks
from duckdetect.models.tfod.api import model_builder

reframe = model_builder.faster_rcnn_meta_arch.ops.reframe_box_masks_to_image_masks


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 90), st.integers(2, 90), st.sampled_from([7, 33]))
def test_every_pixel_is_the_apis(seed, height, width, side):
    rng = np.random.default_rng(seed)
    n = 4
    masks = rng.random((n, side, side)).astype(np.float32)
    corners = np.sort(rng.uniform(0, 1, (n, 2, 2)), axis=1).astype(np.float32)
    parts = corners.reshape(n, 4)  # y1 x1 y2 x2
    parts[0] = [0, 0, 1, 1]
    theirs = reframe(tf.constant(masks), tf.constant(parts), height, width).numpy()
    xyxy = parts[:, [1, 0, 3, 2]] * [width, height, width, height]
    ours = paste_masks(masks, xyxy, (height, width))
    # Where the API's float32 is as good as on the threshold, either is right.
    sure = np.abs(theirs - 0.5) > 1e-3
    # And its rounding puts a pixel on the box's very edge outside, where all is 0.
    on_edge = ours & (theirs == 0)
    assert (on_edge.sum(axis=(1, 2)) <= height + width).all()
    np.testing.assert_array_equal((ours & ~on_edge)[sure], theirs[sure] > 0.5)


def test_a_box_without_a_pixel_and_no_box():
    nothing = paste_masks(np.ones((1, 7, 7), np.float32), np.array([[3.2, 3.2, 3.3, 3.3]]), (9, 9))
    assert nothing.shape == (1, 9, 9)
    assert not nothing.any()
    empty = paste_masks(np.zeros((0, 7, 7), np.float32), np.zeros((0, 4)), (9, 8))
    assert empty.shape == (0, 9, 8)
    assert empty.dtype == bool


@pytest.mark.parametrize(("x", "y"), [(10, 4), (0, 0), (29, 19)])
def test_a_full_mask_fills_its_box(x, y):
    xyxy = np.array([[x, y, x + 1 + 10, y + 1 + 10]], float)
    mask = paste_masks(np.ones((1, 33, 33), np.float32), xyxy, (30, 40))[0]
    rows, columns = np.nonzero(mask)
    assert abs(rows.min() - y) <= 1
    assert abs(rows.max() - min(y + 10, 29)) <= 1
    assert abs(columns.min() - x) <= 1
    assert abs(columns.max() - min(x + 10, 39)) <= 1
