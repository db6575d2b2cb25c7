"""What `predict` takes, and what it says of what it does not take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from duckdetect.errors import UserError
from duckdetect.inference.images import as_images


class EagerTensor:
    """Looks like TensorFlow's."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._pixels


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (6, 5, 3), dtype=np.uint8)


def test_a_path_a_pil_image_an_array_and_a_tensor_are_the_same_image(pixels, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    for one in (path, str(path), Image.open(path), pixels, EagerTensor(pixels)):
        (found,), is_one = as_images(one)
        assert is_one
        np.testing.assert_array_equal(found, pixels)
    found, is_one = as_images([path, Image.open(path), pixels])
    assert not is_one
    assert all((image == pixels).all() for image in found)
    for many in ((p for p in [pixels, pixels]), (pixels, pixels), np.stack([pixels, pixels])):
        found, is_one = as_images(many)
        assert (len(found), is_one) == (2, False)
    assert as_images([]) == ([], False)


def test_a_pil_image_is_turned_as_its_camera_said(pixels, tmp_path):
    path, exif = tmp_path / "a.png", Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    (upright,), _ = as_images(Image.open(path))
    np.testing.assert_array_equal(upright, np.rot90(pixels, -1))
    np.testing.assert_array_equal(upright, as_images(path)[0][0])
    (rgb,), _ = as_images(Image.fromarray(pixels).convert("L"))
    assert rgb.shape == (6, 5, 3)


def closed(pixels: np.ndarray) -> Image.Image:
    image = Image.fromarray(pixels)
    image.close()
    return image


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p.astype(np.float32) / 255, "of float32, not uint8: give (image * 255)"),
        (lambda p: p.astype(np.int64), "not uint8: give values from 0 to 255"),
        (lambda p: p.astype(np.uint16) * 257, r"not uint8: give (image / image.max() * 255)"),
        (lambda p: p.transpose(2, 0, 1), "channels first: give image.transpose(1, 2, 0)"),
        (lambda p: p[..., 0], "without colours: give np.stack"),
        (lambda p: p[..., :1], "without colours: give np.repeat"),
        (lambda p: np.dstack([p, p[..., :1]]), "with transparency: give image[..., :3]"),
        (lambda p: p[:0], "which is empty"),
        (lambda p: EagerTensor(p.transpose(2, 0, 1)), "is a tensor"),
        (lambda p: [p, EagerTensor(p / 255)], "image 1 is a tensor"),
        (lambda p: [p, None], "image 1 is NoneType: give a path, a PIL image or an array"),
        (
            lambda p: closed(p),
            "cannot be read (Operation on closed image): give it while it is open",
        ),
        (lambda p: Image.fromarray(p).crop((5, 5, 5, 5)), "(0, 0, 3) of uint8, which is empty"),
        (lambda p: "", "the image is '': give the path of a file"),
        (lambda p: None, "NoneType is no image"),
        (lambda p: b"jpeg", "bytes is no image"),
        (lambda p: "nowhere.jpg", "nowhere.jpg is not there"),
        (lambda p: ".", ". is a folder: give a file, or give it to `duckdetect.detect`"),
    ],
)
def test_what_is_no_image_is_explained(make: Any, said: str, pixels: np.ndarray):
    with pytest.raises(UserError) as error:
        as_images(make(pixels))
    assert said in str(error.value)
