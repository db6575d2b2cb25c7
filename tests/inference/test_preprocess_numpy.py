"""The numpy resize is TensorFlow's, in both conventions; the padding is the Object Detection API's."""

from __future__ import annotations

import numpy as np
import pytest

from duckdetect.errors import UserError
from duckdetect.inference.exported import ExportedModel
from duckdetect.inference.postprocess_numpy import PostProcess
from duckdetect.inference.preprocess_numpy import Preprocess, resize_bilinear
from duckdetect.inference.suppression import Suppression


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("half_pixel_centers", [False, True])
@pytest.mark.parametrize("hw", [(480, 640), (100, 77), (1200, 901), (300, 300), (13, 7), (1, 1)])
def test_the_resize_is_tensorflows(hw, half_pixel_centers):
    import tensorflow as tf

    image = noise(*hw)
    wanted = tf.raw_ops.ResizeBilinear(
        images=image[None], size=(300, 200), half_pixel_centers=half_pixel_centers
    )[0].numpy()
    found = resize_bilinear(image, (300, 200), half_pixel_centers)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_scale_and_offset():
    one = Preprocess((2, 2), True, (1.0, 2.0, 0.5), (-1.0, 0.0, 3.0))
    inputs, filled_hw = one.run(np.full((5, 9, 3), 10, np.uint8))
    np.testing.assert_allclose(inputs, np.full((2, 2, 3), 1.0) * [9.0, 20.0, 8.0])
    np.testing.assert_array_equal(filled_hw, [1, 1])


def test_a_picture_that_keeps_its_shape_is_padded_with_zeros():
    one = Preprocess((100, 100), False, (1.0,) * 3, (5.0,) * 3, keep_aspect=True)
    inputs, filled_hw = one.run(np.zeros((50, 200, 3), np.uint8))
    np.testing.assert_allclose(filled_hw, [0.25, 1])
    assert (inputs[:25] == 5).all()
    assert (inputs[25:] == 0).all()


def test_the_metadata_round_trip():
    one = Preprocess((300, 200), False, (0.1, 0.2, 0.3), (-1.0, 0.0, 1.0), True)
    for post in (PostProcess(voting=True), None):
        about = ExportedModel(
            ("duck",), 0.5, "base", "int8", (one,), ("image",), post, Suppression(True, 0.4)
        )
        assert ExportedModel.from_json(about.to_json()) == about
        huge = about.to_json().replace("0.3", "1e308")
        with pytest.raises(UserError, match="its scale and offset are"):
            ExportedModel.from_json(huge)
