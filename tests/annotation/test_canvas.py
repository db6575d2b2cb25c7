"""From the screen to pixels and back, whatever the picture's size and the way the mouse went."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckdetect.annotation.canvas import MIN_DRAG, CanvasTransform, fit, paint, to_jpeg
from duckdetect.annotation.colab_widget import place
from duckdetect.annotation.store import Box

sides = st.integers(1, 9000)
sizes = st.tuples(sides, sides)


@st.composite
def boxes_in_images(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[float, ...]]:
    height, width = draw(sizes)
    x1, x2 = sorted((draw(st.floats(0, width)), draw(st.floats(0, width))))
    y1, y2 = sorted((draw(st.floats(0, height)), draw(st.floats(0, height))))
    return (height, width), (x1, y1, x2, y2)


@pytest.mark.parametrize("where", [place, lambda size_hw: fit(size_hw, (600, 860), 24)])
class TestShown:
    @given(case=boxes_in_images(), flip_x=st.booleans(), flip_y=st.booleans())
    def test_a_box_drawn_in_any_direction_comes_back(
        self, where: Any, case: Any, flip_x: bool, flip_y: bool
    ) -> None:
        size_hw, xyxy = case
        shown: CanvasTransform = where(size_hw)
        x1, y1, x2, y2 = shown.to_canvas(xyxy)
        if flip_x:
            x1, x2 = x2, x1
        if flip_y:
            y1, y2 = y2, y1
        back = shown.to_image((x1, y1, x2, y2))
        if abs(x2 - x1) > MIN_DRAG + 0.01 and abs(y2 - y1) > MIN_DRAG + 0.01:
            assert back is None or back == pytest.approx(xyxy, abs=1e-6 * max(size_hw))
            is_sliver = xyxy[2] - xyxy[0] < 0.11 or xyxy[3] - xyxy[1] < 0.11
            assert (back is None) <= is_sliver
        elif abs(x2 - x1) < MIN_DRAG - 0.01 or abs(y2 - y1) < MIN_DRAG - 0.01:
            assert back is None

    @given(
        size_hw=sizes,
        drawn=st.tuples(*[st.floats(-1e4, 1e4, allow_nan=False)] * 4),
    )
    def test_whatever_is_drawn_lies_in_the_image(
        self, where: Any, size_hw: Any, drawn: Any
    ) -> None:
        xyxy = where(size_hw).to_image(drawn)
        if xyxy is not None:
            assert 0 <= xyxy[0] < xyxy[2] <= size_hw[1]
            assert 0 <= xyxy[1] < xyxy[3] <= size_hw[0]
            assert Box(xyxy, "duck")

    @given(size_hw=sizes)
    def test_the_image_lies_on_its_canvas_undistorted(self, where: Any, size_hw: Any) -> None:
        shown: CanvasTransform = where(size_hw)
        bottom, right = shown.top + shown.area_hw[0], shown.left + shown.area_hw[1]
        assert bottom <= shown.canvas_hw[0]
        assert right <= shown.canvas_hw[1]
        assert shown.canvas_hw <= (600, 900)
        scale_y, scale_x = (a / s for a, s in zip(shown.area_hw, size_hw, strict=True))
        # Rounding to whole pixels moves the shorter side by at most half a pixel.
        if min(shown.area_hw) > 1:
            assert abs(scale_y / scale_x - 1) <= 1.01 / min(shown.area_hw)

    def test_what_is_painted_is_where_it_is_said_to_be(self, where: Any) -> None:
        image = np.full((1000, 500, 3), 255, np.uint8)
        image[200:400, 100:300] = (255, 0, 0)
        shown: CanvasTransform = where((1000, 500))
        title = "" if shown.top == shown.left else "duck: 1 of 3"
        canvas = paint(image, shown, title).astype(int)
        assert canvas.shape == (*shown.canvas_hw, 3)
        is_red = (canvas[..., 0] > 200) & (canvas[..., 1] < 100)
        ys, xs = np.nonzero(is_red)
        found = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert found == pytest.approx(shown.to_canvas((100, 200, 300, 400)), abs=1.01)


def test_numbers_that_are_none_make_no_box() -> None:
    shown = fit((60, 80), (600, 860), 24)
    assert shown.to_image((float("nan"), 100, 200, 200)) is None
    assert shown.to_image((100, 100, float("inf"), 200)) is None


def test_a_image_of_50_megapixels_goes_to_the_browser_small() -> None:
    image = np.random.default_rng(0).integers(0, 255, (6000, 8400, 3), np.uint8)
    assert len(to_jpeg(paint(image, fit((6000, 8400), (600, 860), 24)))) < 500_000
