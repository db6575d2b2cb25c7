"""Image files as people have them, read as upright RGB uint8 (H, W, 3); resizing and letterboxing."""

from __future__ import annotations

import functools
import re
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from duckdetect.errors import DataWarning, UserError
from duckdetect.imaging.kinds import (
    CURES,
    IMAGE_SUFFIXES,
    Kind,
    cure,
    is_hidden,
    kind_of_bytes,
    quick_kind,
)
from duckdetect.utils.outputs import own_output
from duckdetect.utils.reading import as_path, is_drive_error, retried
from duckdetect.utils.words import some_names

MAX_PIXELS = 150_000_000

"""Larger pictures are refused: 450 MB once decoded, and a file that claims more may be an attack."""

_MOST_TILES = 200_000  # a decoder is made for each; a row of pixels each is the most that is usual
_MOST_PAGES = 1000
_SCAN, _MOST_SCANS = b"\xff\xda", 500  # of a JPEG; ten are usual
_MOST_READS = 200_000  # of a picture's head, in pieces of two bytes and more

_ORIENTATION = 0x0112  # EXIF's tag; 5 to 8 stand for a quarter turn

# A picture is decoded by the one decoder that its first bytes ask for: Pillow, left to itself, also
# hands files to Ghostscript. MPO comes with JPEG; TGA has no mark and goes by its suffix.
_DECODERS = {
    "JPEG": ("JPEG",),
    "PNG": ("PNG",),
    "GIF": ("GIF",),
    "WebP": ("WEBP",),
    "AVIF": ("AVIF",),
    "HEIC": ("HEIF",),
    "BMP": ("BMP", "DIB"),
    "TIFF": ("TIFF",),
    "JPEG 2000": ("JPEG2000",),
    "PPM": ("PPM",),
    "TGA": ("TGA",),
}

T = TypeVar("T")


class ImageHead(NamedTuple):
    """What the head of an image file says.

    Attributes:
        size_hw: (height, width) in pixels as it is shown, after EXIF rotation.
        orientation: EXIF's, 1 to 8; 1 if the stored pixels are the right way up.
        n_frames: Frames of an animation, pictures of an MPO, pages of a TIFF (counted up to 1000); as a
            rule 1.
    """

    size_hw: tuple[int, int]
    orientation: int = 1
    n_frames: int = 1

    @property
    def stored_hw(self) -> tuple[int, int]:
        """(height, width) of the stored pixels, which tools see that pass over EXIF."""
        return self.size_hw[::-1] if self.orientation in (5, 6, 7, 8) else self.size_hw


def load_image(path: str | Path) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 RGB, an array of its own that may be drawn on.

    JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF, JPEG 2000, GIF, PPM and TGA are read, recognised by their
    content. EXIF rotation is applied. Grey, palette and CMYK pictures are converted, 16-bit ones by
    their high byte, floating-point ones from 0..1 or, where they go far beyond, from 0..255; transparent
    pixels show white; of an animation the first frame counts.

    Raises:
        UserError: If the file is missing, no picture, truncated, over 150 million pixels, or too large
            for the memory that is left.
    """
    path = as_path(path, "the picture")

    def decoded(image: Image.Image) -> tuple[str, np.ndarray]:
        try:
            upright = ImageOps.exif_transpose(image)
            upright.load()
        except MemoryError:  # of no fault of the file's
            raise
        except Exception as error:  # Pillow's decoders raise a dozen kinds for damaged files
            if is_drive_error(error):
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{path} is damaged ({reason}): copy or save the picture again"
            ) from error
        return image.mode, np.array(to_rgb(upright))

    try:
        mode, rgb = _read(path, decoded)
    except MemoryError as error:
        raise UserError(
            f"{path} does not fit into the memory that is left: make it smaller, or close other programs"
        ) from error
    if mode[0] in "IF" and is_dark_or_flat(rgb) and path.parent not in _TOLD:
        _TOLD.add(path.parent)  # once, of its folder
        warnings.warn(
            f"{path} and perhaps others have more than 8 bits and come out dark or flat: stretch their "
            "values to the whole range of their files",
            DataWarning,
            stacklevel=2,
        )
    return rgb


_TOLD: set[Path] = set()
_DARK = 64  # of 255; 12 bits in a file of 16 give at most 15, 14 bits 63
_FLAT = 32  # values from the darkest to the brightest: heat in a file of 16 bits


def is_dark_or_flat(image: np.ndarray) -> bool:
    """Whether a picture's values cover little of the range, as where its file has more than 8 bits."""
    darkest, brightest = int(image.min()), int(image.max())
    return brightest < _DARK or brightest - darkest < _FLAT


def image_size_hw(path: str | Path) -> tuple[int, int]:
    """(height, width) after EXIF rotation, from the file's head alone; errors as `load_image`."""
    return image_head(path).size_hw


def image_head(path: str | Path) -> ImageHead:
    """What an image file's head says; errors as `load_image`."""
    path = Path(path)

    def head(image: Image.Image) -> ImageHead:
        width, height = image.size
        try:
            # As ImageOps.exif_transpose takes it, which turns by numbers and not by texts.
            found = image.getexif().get(_ORIENTATION, 1)
            orientation = next((n for n in range(1, 9) if n == found), 1)
        except Exception as error:  # `load_image` tells of damage
            if is_drive_error(error):
                raise
            orientation = 1
        if image.format == "TIFF" and orientation >= 5:
            # Some versions of Pillow swap the sides of a TIFF when they open it, others do not.
            return ImageHead(load_image(path).shape[:2], orientation, 1)
        turned = orientation >= 5
        return ImageHead(
            (width, height) if turned else (height, width), orientation, _n_frames(path, image)
        )

    return _read(path, head)


class Listing(NamedTuple):
    """What a folder holds: `images` in order, `others` with their kinds, `folders` of pictures."""

    images: list[Path]
    others: list[tuple[Path, Kind]]
    folders: list[str]

    def notes(self, labelled: bool = False) -> list[str]:
        """Lines for people: what is left out, by kind and count, and what is read unexpectedly.

        Args:
            labelled: Whether label files are meant to lie there: these are not counted then.
        """
        lines: list[str] = []
        heic = [path for path in self.images if path.suffix.lower() in (".heic", ".heif", ".hif")]
        if heic:
            lines.append(f"{_count(len(heic), 'HEIC file')} read ({some_names(heic)})")
        linked = [path for path in self.images if path.is_symlink() and _leads_away(path)]
        if linked:  # a folder from a stranger may hold one to a picture that is nobody's business
            lines.append(
                f"{_count(len(linked), 'file')} read from elsewhere by links ({some_names(linked)})"
            )
        groups: dict[tuple[str, Kind], list[Path]] = {}
        for path, kind in self.others:
            if not (labelled and kind.name in LABEL_KINDS):
                video = kind.group == "video"
                key = ("video", Kind("video", "video")) if video else (path.suffix.lower(), kind)
                groups.setdefault(key, []).append(path)
        for (suffix, kind), paths in groups.items():
            named = f"({some_names(paths)})"
            if kind.group == "video":
                lines.append(
                    f"{_count(len(paths), 'video')} left out {named}: give a video by itself"
                )
                continue
            counted = _count(len(paths), f"{suffix} file" if suffix else "file without a suffix")
            known = kind.name in CURES
            told = f"left out, {kind.name}: {cure(kind)}" if known else "not pictures: left out"
            told = "not a picture: left out" if len(paths) == 1 and not known else told
            lines.append(f"{counted} {told} {named}")
        if self.folders:
            lines.append(f"pictures in folders below are left out ({some_names(self.folders)})")
        return lines


def _leads_away(path: Path) -> bool:
    """Whether a link leads out of its folder."""
    return not path.resolve().is_relative_to(path.parent.resolve())


def _count(n: int, what: str) -> str:
    return (
        f"{n} {what} is"
        if n == 1
        else f"{n} {what.replace('file', 'files').replace('video', 'videos')} are"
    )


LABEL_KINDS = ("text", "JSON", "XML", "YAML", "CSV", "TFRecord", "a cache")
"""Kinds of files that lie beside labelled pictures."""


def list_folder(folder: str | Path) -> Listing:
    """What a folder holds, in natural order: 2.jpg before 10.jpg.

    Hidden files and folders are passed over, and so is what an earlier `detect` wrote there. Files
    with a well-known suffix are taken at its word here, others judged by their content.

    Raises:
        UserError: If the folder is missing, is a file, or cannot be read.
    """
    folder = as_path(folder, "the folder")
    if not folder.exists():
        raise UserError(f"{folder} is not there: give a folder of pictures")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder of pictures")
    entries = retried(folder, lambda: list(folder.iterdir()))
    entries = [path for path in entries if not is_hidden(path)]
    own = _OWN_OUTPUT if any(path.name == "detections.json" for path in entries) else set()
    listing = Listing([], [], [])
    for path in sorted(entries, key=natural_key):
        if path.name in own:
            continue
        if path.is_dir():
            if len(listing.folders) < _MAX_FOLDERS and _holds_images(path):
                listing.folders.append(path.name)
            continue
        try:
            kind = quick_kind(path)
        except UserError:
            if path.is_file():
                raise
            kind = Kind("other", "no file")  # a link to nothing or to itself, a pipe
        if kind.group == "image":
            listing.images.append(path)
        else:
            listing.others.append((path, kind))
    return listing


_OWN_OUTPUT = {
    "detections.gif",
    "detections.mp4",
    "detections.partial.mp4",
    "detections.json",
    "frames",
    "crops",
}
_MAX_FOLDERS = 50  # looked into for a message alone


def list_images(folder: str | Path) -> list[Path]:
    """The pictures in a folder, 2.jpg before 10.jpg, hidden files left out; see `list_folder`.

    Raises:
        UserError: If the folder is missing, is a file, or holds no picture.
    """
    listing = list_folder(folder)
    if not listing.images:
        raise UserError(_no_images(Path(folder), listing))
    return listing.images


def _no_images(folder: Path, listing: Listing) -> str:
    if listing.folders:
        places = ", ".join(str(folder / name) for name in listing.folders[:3])
        return f"{folder} holds no pictures itself, they lie in {places}: give that"
    videos = [path for path, kind in listing.others if kind.group == "video"]
    if videos:
        return (
            f"{folder} holds no pictures, but {len(videos)} "
            f"{'video' if len(videos) == 1 else 'videos'} ({some_names(videos)}): give a video by "
            f"itself, such as {videos[0]}"
        )
    left = "; ".join(listing.notes())
    return (
        f"{folder} holds no pictures{f' ({left})' if left else ''}: put some there "
        "(JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP, GIF)"
    )


def _holds_images(folder: Path) -> bool:
    """Whether pictures lie in a folder, or one further down, by their names alone."""
    try:
        entries = [path for path in folder.iterdir() if not is_hidden(path)]
        if any(path.suffix.lower() in IMAGE_SUFFIXES for path in entries):
            return True
        below = [path for path in entries if path.is_dir()][:_MAX_FOLDERS]
        return any(
            path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path)
            for place in below
            for path in place.iterdir()
        )
    except OSError:
        return False


def natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts numbers inside names by value."""
    pieces = re.findall(r"\d+|\D+", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces], path.name


def check_jpeg(path: str | Path) -> None:
    """Raise UserError for the name of another kind of file, which a JPEG shall not get."""
    if Path(path).suffix.lower() not in (".jpg", ".jpeg"):
        raise UserError(f"{path} would be a JPEG by another name: end it in .jpg")


def save_jpeg(
    path: str | Path, image: np.ndarray, quality: int = 90, verb: str | None = None
) -> None:
    """Write (H, W, 3) uint8 RGB as JPEG, atomically; `verb` as in `own_output`."""
    check_jpeg(path)
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


class _Quiet:
    """No warnings while any thread is inside.

    `warnings.catch_warnings` exchanges the filters of the whole process: of two threads in two such
    blocks, the one that leaves last would leave them as the other had set them. Here the first to
    enter sets them and the last to leave puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


_QUIET = _Quiet()


def _read(path: Path, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of the opened image, tried again where a mounted Drive does not answer."""

    def once() -> T:
        # Pillow warns of large pictures, whose limit is ours, and of odd metadata that do no harm.
        with path.open("rb") as file, _QUIET, _open(path, file) as image:
            return use(image)

    return retried(path, once)


class _Head:
    """A file whose head is read in few pieces: Pillow passes padding and comments byte by byte.

    Of a JPEG also one of few scans: each goes over all pixels, and may be said in a hundred bytes.
    """

    def __init__(self, file: BinaryIO, is_jpeg: bool) -> None:
        self._file = file
        self._scans_left = _MOST_SCANS if is_jpeg else None
        self.reads_left: int | None = _MOST_READS

    def read(self, n: int = -1) -> bytes:
        if self.reads_left is not None:
            if not self.reads_left:
                raise ValueError("its head has no end")
            self.reads_left -= 1
        content = self._file.read(n)
        if self._scans_left is not None:
            self._scans_left -= content.count(_SCAN)
            if self._scans_left < 0:
                raise ValueError(f"it has over {_MOST_SCANS} scans")
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _open(path: Path, file: BinaryIO) -> Image.Image:
    kind = kind_of_bytes(file.read(4096), path.suffix.lower())
    file.seek(0)
    if kind.group != "image":
        what = "is empty" if kind.group == "empty" else f"is not a picture but {kind.name}"
        if kind.group == "video":
            what = f"is not a picture but a video ({kind.name})"
        if kind.name == "of an unknown kind":
            what = "is not a picture that can be read"
        raise UserError(f"{path} {what}: {cure(kind)}")
    decoders = _DECODERS[kind.name]
    if kind.name == "HEIC":
        _need_heif(path)
    head = _Head(file, kind.name == "JPEG")
    try:
        image = Image.open(head, formats=decoders)
    except Image.DecompressionBombError:
        raise UserError(_too_large(path)) from None
    except Exception as error:  # UnidentifiedImageError as a rule, others from damaged heads
        if is_drive_error(error):
            raise
        raise UserError(
            f"{path} is damaged, or not a picture that can be read (it begins as {kind.name}): "
            "copy it again, or save it as JPEG or PNG"
        ) from None
    head.reads_left = None
    if image.width * image.height > MAX_PIXELS or _tile_pixels(image) > MAX_PIXELS:
        image.close()
        raise UserError(_too_large(path))
    if len(image.tile) > _MOST_TILES:
        image.close()
        raise UserError(f"{path} consists of {len(image.tile)} pieces: save the picture again")
    return image


def _tile_pixels(image: Image.Image) -> int:
    """Pixels of one tile of a TIFF, which may claim more than the picture has and is decoded whole."""
    tags = getattr(image, "tag_v2", {})
    width_tag, length_tag = 322, 323
    sides = tags.get(width_tag, 0), tags.get(length_tag, 0)
    return int(sides[0]) * int(sides[1]) if all(isinstance(side, int) for side in sides) else 0


@functools.cache
def _heif_is_there() -> bool:
    try:
        import pi_heif
    except ImportError:
        return False
    # Thumbnails and depth maps are not asked for.
    pi_heif.register_heif_opener(thumbnails=False, depth_images=False)
    return True


def _need_heif(path: Path) -> None:
    if not _heif_is_there():
        raise UserError(
            f"{path} is HEIC, which the package pi-heif reads: pip install pi-heif, or save it as JPEG"
        )


def _n_frames(path: Path, image: Image.Image) -> int:
    """Frames that a user would miss: not the gain map that phones put behind a JPEG as an MPO."""
    try:
        if image.format == "MPO" and path.suffix.lower() != ".mpo":
            entries = image.mpinfo[0xB002][1:]  # type: ignore[attr-defined]
            kinds = [str(entry["Attribute"]["MPType"]) for entry in entries]
            return 1 + sum(kind.startswith("Multi-Frame") for kind in kinds)
        if image.format == "TIFF":  # Pillow's own count grows with the square of their number
            return _n_pages(image)
        if image.format in ("GIF", "WEBP", "PNG", "AVIF", "MPO"):
            return int(getattr(image, "n_frames", 1))
    except Exception as error:  # `load_image` tells of damage
        if is_drive_error(error):
            raise
    return 1


def _n_pages(image: Image.Image) -> int:
    for page in range(1, _MOST_PAGES):
        try:
            image.seek(page)
        except EOFError:
            return page
    return _MOST_PAGES


def _too_large(path: Path) -> str:
    return f"{path} has over {MAX_PIXELS // 1_000_000} million pixels: save it smaller"


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: 16 bits by their high byte, transparency on white."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        # Pillow clips 16-bit values at 255 when it converts; the high byte keeps the range.
        values = np.asarray(image).astype(np.int64)
        # Some programs keep values of 8 bits in more: their high byte would be black.
        shift = 8 if values.max(initial=0) > 255 else 0
        return Image.fromarray((values.clip(0, 65535) >> shift).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image), posinf=0, neginf=0)
        scale = 255 if values.max() <= 2 else 1  # a little beyond 1 is no 255th
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
