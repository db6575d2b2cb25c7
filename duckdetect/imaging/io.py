"""Image files as people have them, read as upright RGB uint8 (H, W, 3); resizing and letterboxing."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from duckdetect.errors import UserError
from duckdetect.utils.outputs import own_output

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

MAX_PIXELS = 150_000_000

"""Larger pictures are refused: 450 MB once decoded, and a file that claims more may be an attack."""

_ORIENTATION = 0x0112  # EXIF's tag; 5 to 8 stand for a quarter turn


def load_image(path: str | Path) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 RGB, an array of its own that may be drawn on.

    EXIF rotation is applied. Grey, palette and CMYK pictures are converted, 16-bit ones by their high
    byte, floating-point ones from 0..1 or, where they go beyond, from 0..255; transparent pixels show
    white; of an animation the first frame counts.

    Raises:
        UserError: If the file is missing, no picture, truncated, or over 150 million pixels.
    """
    path = Path(path)
    with _opened(path) as image:
        try:
            upright = ImageOps.exif_transpose(image)
            upright.load()
        except Exception as error:  # Pillow's decoders raise a dozen kinds for damaged files
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{path} is damaged ({reason}): copy or save the picture again"
            ) from error
        return np.array(_to_rgb(upright))


def image_size_hw(path: str | Path) -> tuple[int, int]:
    """(height, width) after EXIF rotation, from the file's head alone; errors as `load_image`."""
    path = Path(path)
    with _opened(path) as image:
        width, height = image.size
        try:
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        except Exception:  # `load_image` tells of damage
            turned = False
        in_tiff = image.format == "TIFF"
    if turned and in_tiff:
        # Some versions of Pillow swap the sides of a TIFF when they open it, others do not.
        height, width = load_image(path).shape[:2]
        return height, width
    return (width, height) if turned else (height, width)


def list_images(folder: str | Path) -> list[Path]:
    """The pictures in a folder, 2.jpg before 10.jpg, hidden files left out.

    Raises:
        UserError: If the folder is missing, is a file, or holds no picture.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{folder} is not there: give a folder of pictures")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder of pictures")
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}): change its permissions"
        ) from error
    found = [
        path
        for path in entries
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and not path.is_dir()
    ]
    if not found:
        raise UserError(f"{folder} holds no pictures ({', '.join(IMAGE_SUFFIXES)}): put some there")
    return sorted(found, key=natural_key)


def natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts numbers inside names by value."""
    pieces = re.findall(r"\d+|\D+", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces], path.name


def save_jpeg(
    path: str | Path, image: np.ndarray, quality: int = 90, verb: str | None = None
) -> None:
    """Write (H, W, 3) uint8 RGB as JPEG, atomically; `verb` as in `own_output`."""
    with own_output(path, verb) as part:
        Image.fromarray(image).save(part, format="JPEG", quality=quality)


def shrink(image: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """Halve, third ... a picture that is far larger than a model's input, by averaging its pixels.

    Models resize by bilinear interpolation, which skips pixels when it shrinks much: a phone's photo
    would come out grainy, unlike anything the model was trained on. At least twice the input's size
    is left, so that pictures of the size that COCO's have (640 pixels) are not touched.

    Args:
        image: (H, W, 3) uint8.
        input_hw: The model's input size, pixels.
    """
    height, width = image.shape[:2]
    factor = min(height // (2 * input_hw[0]), width // (2 * input_hw[1]))
    if factor < 2:
        return image
    return np.asarray(Image.fromarray(image).reduce(factor))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        # Pillow warns of large pictures, whose limit is ours, and of odd metadata, which do no harm.
        warnings.simplefilter("ignore")
        with _open(path) as image:
            yield image


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
    except FileNotFoundError:
        raise UserError(f"{path} is not there: check its name") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: give a picture") from None
    except PermissionError:
        raise UserError(f"{path} may not be read: change its permissions") from None
    except Image.DecompressionBombError:
        raise UserError(_too_large(path)) from None
    except Exception:  # UnidentifiedImageError as a rule, others from damaged heads
        empty = path.is_file() and path.stat().st_size == 0
        what = "is empty" if empty else "is not a picture that can be read"
        raise UserError(f"{path} {what}: remove it or save it as JPEG or PNG") from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise UserError(_too_large(path))
    return image


def _too_large(path: Path) -> str:
    return f"{path} has over {MAX_PIXELS // 1_000_000} million pixels: save it smaller"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        # Pillow clips 16-bit values at 255 when it converts; the high byte keeps the range.
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image), posinf=0, neginf=0)
        scale = 255 if values.max() <= 1 else 1
        return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        # White, as paper and web pages show it; black would hide dark drawings.
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return image.convert("RGB")


ImageArray = npt.NDArray[np.uint8]  # (H, W, 3) RGB


def fit(image: ImageArray, max_side_px: int) -> ImageArray:
    """Shrink a picture, never enlarge it, so that its longer side is at most `max_side_px`."""
    from PIL import Image

    height, width = image.shape[:2]
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return image
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size_wh, Image.Resampling.LANCZOS))


def letterbox(image: ImageArray, size_hw: tuple[int, int], fill: int = 0) -> ImageArray:
    """Centre a picture on a plain ground of `size_hw`, which must be at least as large."""
    height, width = image.shape[:2]
    if (height, width) == size_hw:
        return image
    canvas = np.full((*size_hw, 3), fill, np.uint8)
    top, left = (size_hw[0] - height) // 2, (size_hw[1] - width) // 2
    canvas[top : top + height, left : left + width] = image
    return canvas
