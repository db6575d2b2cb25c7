"""Boxes as geometry: pixels and parts of a model's input, there and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckdetect.imaging.geometry import from_normalised, pairwise_iou, to_normalised

sides = st.integers(1, 5000)
parts = st.floats(0.1, 1)


def test_parts_of_the_input_in_closed_form() -> None:
    xyxy = np.array([[20, 10, 100, 50]], np.float32)
    found = to_normalised(xyxy, (100, 200))
    np.testing.assert_allclose(found, [[0.1, 0.1, 0.5, 0.5]], atol=1e-7)
    # The picture fills the input's upper half: a model pads below.
    found = to_normalised(xyxy, (100, 200), np.array([0.5, 1], np.float32))
    np.testing.assert_allclose(found, [[0.05, 0.1, 0.25, 0.5]], atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(height=sides, width=sides, filled=st.tuples(parts, parts), seed=st.integers(0, 99))
def test_there_and_back(
    dtype: npt.DTypeLike, height: int, width: int, filled: tuple[float, float], seed: int
) -> None:
    xyxy = np.random.default_rng(seed).uniform(0, [width, height] * 2, (5, 4)).astype(dtype)
    parts_of = to_normalised(xyxy, (height, width), filled)
    assert parts_of.dtype == dtype
    assert (parts_of <= np.tile(filled, 2) * (1 + 1e-6)).all()
    back = from_normalised(parts_of, (height, width), filled)
    np.testing.assert_allclose(back, xyxy, rtol=1e-6 if dtype == np.float32 else 1e-13)


def test_no_box() -> None:
    none = np.zeros((0, 4), np.float32)
    assert to_normalised(none, (4, 4)).shape == from_normalised(none, (4, 4)).shape == (0, 4)


def test_iou_in_closed_form() -> None:
    one = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    other = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [10, 10, 20, 20]])
    np.testing.assert_allclose(pairwise_iou(one, other), [[1 / 3, 1, 0], [0, 0, 0]])
