"""What `Detector.predict` takes: paths, PIL images and arrays, one or many; everything else is explained.

images, is_one = as_images("a.jpg")        # [(H, W, 3) uint8 RGB], True
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect.errors import UserError
from duckdetect.imaging.io import MAX_PIXELS, ImageArray, load_image
from duckdetect.utils.reading import as_path

if TYPE_CHECKING:
    from PIL import Image

    ImageLike = str | Path | Image.Image | ImageArray


def as_images(images: Any) -> tuple[list[ImageArray], bool]:
    """Arrays (H, W, 3) uint8 RGB of one image or many, and whether it was one.

    That an array's channels are blue, green, red cannot be seen: OpenCV's are, and need
    `cv2.cvtColor(image, cv2.COLOR_BGR2RGB)` first.

    Args:
        images: A path, a PIL image, an array or tensor (H, W, 3) uint8 RGB, or a list of these; also
            an array (N, H, W, 3).

    Raises:
        UserError: If it is something else; says what it looks like and how to make an image of it.
    """
    if _is_one(images):
        return [_as_image(images, "the image")], True
    if not isinstance(images, Iterable) or isinstance(images, dict | bytes | bytearray):
        raise UserError(f"{_kind(images)} is no image: give {_WANTED}, or a list of these")
    return [_as_image(image, f"image {i}") for i, image in enumerate(images)], False


_WANTED = "a path, a PIL image or an array (H, W, 3) uint8 RGB"


def _is_one(images: Any) -> bool:
    if isinstance(images, str | Path) or _is_pil(images) or _is_tensor(images):
        return True
    return isinstance(images, np.ndarray) and images.ndim != 4


def _as_image(image: Any, name: str) -> ImageArray:
    if isinstance(image, str | Path):
        image = as_path(image, name)
        if image.is_dir():
            raise UserError(f"{image} is a folder: give a file, or give it to `duckdetect.detect`")
        return load_image(image)
    if _is_pil(image):
        image = _from_pil(image)
    if _is_tensor(image):
        return _from_tensor(image, name)
    if not isinstance(image, np.ndarray):
        raise UserError(f"{name} is {_kind(image)}: give {_WANTED}")
    trouble = _trouble(image)
    if trouble is not None:
        raise UserError(f"{name} is an array {image.shape} of {image.dtype}, {trouble}")
    return image


def _trouble(image: np.ndarray) -> str | None:
    """What is wrong with an array, and the cure; None if it is an image."""
    shape = image.shape
    if len(shape) != 3:
        if len(shape) == 2 and 0 not in shape:
            return "without colours: give np.stack([image] * 3, axis=-1)"
        return "not (H, W, 3): give one image, or a list of images"
    if 0 in shape:
        return "which is empty: check how it was made"
    if shape[2] != 3:
        if shape[0] == 3:
            return "channels first: give image.transpose(1, 2, 0)"
        if shape[2] == 4:
            return "with transparency: give image[..., :3]"
        if shape[2] == 1:
            return "without colours: give np.repeat(image, 3, axis=-1)"
        return "not (H, W, 3): give red, green and blue"
    if shape[0] * shape[1] > MAX_PIXELS:
        return f"of over {MAX_PIXELS // 1_000_000} million pixels: make it smaller"
    if image.dtype == np.uint8:
        return None
    if np.issubdtype(image.dtype, np.floating):
        return (
            "not uint8: give (image * 255).round().astype(np.uint8) if its values are from 0 to 1, "
            "image.round().astype(np.uint8) if they are from 0 to 255"
        )
    if image.dtype == bool or int(image.max()) <= 255:
        return "not uint8: give values from 0 to 255, as image.astype(np.uint8)"
    # astype alone would keep the last 8 bits of each value, which is no picture any more.
    return "not uint8: give (image / image.max() * 255).astype(np.uint8)"


def _is_pil(value: Any) -> bool:
    from PIL import Image

    return isinstance(value, Image.Image)


def _from_pil(image: Image.Image) -> ImageArray:
    """Upright and RGB, as a file of it would be read."""
    from PIL import ImageOps

    from duckdetect.imaging.io import to_rgb

    try:
        return np.asarray(to_rgb(ImageOps.exif_transpose(image)))
    except Exception as error:  # closed, or of a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the PIL image cannot be read ({reason}): give it while it is open, or its path"
        ) from error


def _is_tensor(value: Any) -> bool:
    return not isinstance(value, np.ndarray) and type(value).__name__ in (
        "Tensor", "EagerTensor", "SymbolicTensor", "ResourceVariable", "Parameter", "ArrayImpl",
    )  # fmt: skip


def _from_tensor(tensor: Any, name: str) -> ImageArray:
    """The array of a tensor that is laid out as one."""
    try:
        image = np.asarray(tensor)
    except (TypeError, RuntimeError, NotImplementedError, AttributeError):
        image = None  # symbolic, on a GPU, or part of a gradient
    if image is None or _trouble(image) is not None:
        raise UserError(f"{name} is a tensor ({_kind(tensor)}): give {_of_tensor(tensor)}")
    return image


def _of_tensor(tensor: Any) -> str:
    if type(tensor).__module__.startswith("torch"):
        return "tensor.permute(1, 2, 0).cpu().numpy(), (H, W, 3) uint8"
    if type(tensor).__module__.startswith("jax"):
        return "np.asarray(tensor), (H, W, 3) uint8"
    return "tensor.numpy(), (H, W, 3) uint8"


def _kind(value: Any) -> str:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    shape = getattr(value, "shape", None)
    return name if shape is None else f"{name} {tuple(shape)}"
