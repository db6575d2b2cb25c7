"""What a file is, found out from its first bytes, whatever its name says.

    kind = file_kind("IMG_0001")     # Kind("image", "JPEG")
    kind.group                       # "image", "video", "other", "empty"
    cure(kind)                       # what to do with a file that is no image

Names lie: phones and browsers save JPEG as .jfif, .mpo or without a suffix, HEIC as .jpg, web pages
as .png. The bytes decide which decoder sees a file, and what a message says of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from duckdetect.utils.files import is_of_system
from duckdetect.utils.reading import LFS_HEAD, read_head

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".heic", ".heif", ".hif",
    ".bmp", ".dib", ".tif", ".tiff", ".gif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
    ".tga",
)  # fmt: skip
"""Names under which images are known; what has another name, or none, is judged by its bytes."""

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts",
    ".m2ts", ".3gp", ".h264", ".264", ".h265", ".hevc", ".mjpeg", ".mjpg", ".ogv", ".vob", ".asf",
)  # fmt: skip

RAW_SUFFIXES = (
    ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".sr2", ".raf", ".rw2", ".orf", ".pef", ".srw",
    ".3fr", ".iiq", ".rwl",
)  # fmt: skip

# Never images, however they begin: a folder of twenty thousand labels is not opened file by file.
_OTHER_SUFFIXES = {
    ".txt": "text", ".json": "JSON", ".xml": "XML", ".yaml": "YAML", ".yml": "YAML", ".csv": "CSV",
    ".md": "text", ".log": "text", ".py": "text", ".ipynb": "JSON", ".html": "a web page",
    ".names": "text", ".data": "text", ".pbtxt": "text", ".npz": "NumPy", ".npy": "NumPy",
    ".tfrecord": "TFRecord", ".record": "TFRecord", ".cache": "a cache",
}  # fmt: skip
_HEAD_BYTES = 4096
_HIDDEN_FOLDERS = {"@eadir", "$recycle.bin"}


class Kind(NamedTuple):
    """A kind of file: what it can be used as, and its name for people ("JPEG", "a PDF")."""

    group: Literal["image", "video", "other", "empty"]
    name: str


def is_hidden(path: Path) -> bool:
    """Whether a system put the file there (`._a.jpg`, `.DS_Store`, `Thumbs.db`, `@eaDir`, ...)."""
    name = path.name
    return name.startswith(".") or is_of_system(name) or name.lower() in _HIDDEN_FOLDERS


def file_kind(path: str | Path) -> Kind:
    """What a file is, by its bytes, and by its name only where these do not say.

    Raises:
        UserError: If it cannot be read.
    """
    path = Path(path)
    return kind_of_bytes(read_head(path, _HEAD_BYTES), path.suffix.lower())


def quick_kind(path: Path) -> Kind:
    """As `file_kind`, but a well-known suffix is taken at its word, and the file not opened.

    For listing folders; whoever opens the image goes by its bytes and tells of a wrong name.
    """
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES:
        return Kind("other", "a camera's raw file")
    if suffix in IMAGE_SUFFIXES:
        return Kind("image", suffix[1:].upper())
    if suffix in VIDEO_SUFFIXES:
        return Kind("video", suffix[1:].upper())
    if suffix in _OTHER_SUFFIXES:
        return Kind("other", _OTHER_SUFFIXES[suffix])
    return file_kind(path)


def kind_of_bytes(head: bytes, suffix: str = "") -> Kind:
    """What a file is that begins with `head`; `suffix` (lower case) decides where bytes do not."""
    if not head:
        return Kind("empty", "empty")
    if suffix in RAW_SUFFIXES or _is_raw(head):
        return Kind("other", "a camera's raw file")
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] in (b"RIFF", b"RIFX"):
        return {
            b"WEBP": Kind("image", "WebP"),
            b"AVI ": Kind("video", "AVI"),
        }.get(head[8:12], Kind("other", "RIFF"))
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return Kind("video", "QuickTime")
    if head[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7", b"Pf", b"PF") and head[
        2:3
    ] in (b"\n", b" ", b"\t", b"\r", b"#"):
        return Kind("image", "PPM")
    if head[128:132] == b"DICM":
        return Kind("other", "DICOM")
    if b"%PDF-" in head[:1024]:
        return Kind("other", "a PDF")
    if head[:1] == b"\x47" and (len(head) < 189 or head[188:189] == b"\x47"):
        return Kind("video", "MPEG-TS")
    if suffix == ".tga":  # without a mark of its own
        return Kind("image", "TGA")
    if suffix in VIDEO_SUFFIXES:
        return Kind("video", suffix[1:].upper())
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text and text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")):
        return Kind("other", "an SVG drawing")
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Kind("other", "a web page")
    if text.startswith(LFS_HEAD):
        return Kind("other", "a Git LFS pointer")
    return Kind("other", "text" if _is_text(head) else "of an unknown kind")


def cure(kind: Kind) -> str:
    """What to do with a file that is wanted as an image and is none."""
    return CURES.get(kind.name) or (
        "give it to `detect` alone, or save its frames as images"
        if kind.group == "video"
        else "remove it or save it as JPEG or PNG"
    )


CURES = {
    "a PDF": "save its pages as JPEG or PNG",
    "an SVG drawing": "export it as PNG",
    "PostScript": "export it as PNG",
    "a camera's raw file": "develop it: export it as JPEG from the camera's program",
    "a web page": "download the picture itself, not the page around it",
    "a Git LFS pointer": "fetch the file itself with `git lfs pull`",
    "a zip": "unpack it, or give it as DATA if it holds labels",
    "a Photoshop file": "export it as JPEG or PNG",
    "JPEG XL": "save it as JPEG or PNG",
    "OpenEXR": "export it as PNG",
    "an icon": "save it as PNG",
    "DICOM": "export it as PNG",
}

_MAGIC = (
    (b"\xff\xd8\xff", Kind("image", "JPEG")),
    (b"\x89PNG\r\n\x1a\n", Kind("image", "PNG")),
    (b"GIF87a", Kind("image", "GIF")),
    (b"GIF89a", Kind("image", "GIF")),
    (b"BM", Kind("image", "BMP")),
    (b"II*\x00", Kind("image", "TIFF")),
    (b"MM\x00*", Kind("image", "TIFF")),
    (b"II+\x00", Kind("image", "TIFF")),
    (b"MM\x00+", Kind("image", "TIFF")),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Kind("image", "JPEG 2000")),
    (b"\xff\x4f\xff\x51", Kind("image", "JPEG 2000")),
    (b"\x1aE\xdf\xa3", Kind("video", "Matroska")),
    (b"FLV\x01", Kind("video", "FLV")),
    (b"\x00\x00\x01\xba", Kind("video", "MPEG")),
    (b"\x00\x00\x01\xb3", Kind("video", "MPEG")),
    (b"0&\xb2u\x8ef\xcf\x11", Kind("video", "ASF")),
    (b"OggS", Kind("video", "Ogg")),
    (b"\x00\x00\x00\x01", Kind("video", "H.264")),
    (b"DKIF", Kind("video", "IVF")),
    (b"YUV4MPEG2", Kind("video", "Y4M")),
    (b"%!PS", Kind("other", "PostScript")),
    (b"\xc5\xd0\xd3\xc6", Kind("other", "PostScript")),
    (b"8BPS", Kind("other", "a Photoshop file")),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", Kind("other", "JPEG XL")),
    (b"\xff\x0a", Kind("other", "JPEG XL")),
    (b"v/1\x01", Kind("other", "OpenEXR")),
    (b"\x00\x00\x01\x00", Kind("other", "an icon")),
    (b"icns", Kind("other", "an icon")),
    (b"PK\x03\x04", Kind("other", "a zip")),
    (b"PK\x05\x06", Kind("other", "a zip")),
    (b"Rar!", Kind("other", "a RAR archive")),
    (b"7z\xbc\xaf", Kind("other", "a 7-Zip archive")),
    (b"\x1f\x8b", Kind("other", "a gzip archive")),
)


def _of_brands(head: bytes) -> Kind:
    """The kind of an ISO base media file (ISO/IEC 14496-12): by its major and compatible brands."""
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)) - 3, 4))]
    if brands[0] == b"crx ":
        return Kind("other", "a camera's raw file")
    if brands[0] in (b"avif", b"avis"):
        return Kind("image", "AVIF")
    if brands[0] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"):
        generic = brands[0] in (b"mif1", b"msf1")
        return Kind("image", "AVIF" if generic and b"avif" in brands else "HEIC")
    return Kind("video", "QuickTime" if brands[0] == b"qt  " else "MP4")


def _is_raw(head: bytes) -> bool:
    """Camera files that are no TIFF, or one whose first image is only a thumbnail of the raw one."""
    return (
        head.startswith((b"FUJIFILMCCD-RAW", b"IIU\x00", b"IIRO", b"IIRS", b"MMOR"))
        or (head[:4] == b"II*\x00" and head[8:10] == b"CR")
        or (head[:4] in (b"II*\x00", b"MM\x00*") and _has_raw_tags(head))
    )


def _has_raw_tags(head: bytes) -> bool:
    """Whether the first directory of a TIFF says DNG, or "reduced, the real image is elsewhere"."""
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    start = int.from_bytes(head[4:8], order)
    count = int.from_bytes(head[start : start + 2], order) if start + 2 <= len(head) else 0
    tags: dict[int, int] = {}
    for i in range(min(count, 200)):
        entry = head[start + 2 + 12 * i : start + 14 + 12 * i]
        if len(entry) == 12:
            wide = int.from_bytes(entry[2:4], order) != 3
            value = int.from_bytes(entry[8:12] if wide else entry[8:10], order)
            tags[int.from_bytes(entry[:2], order)] = value
    dng_version, new_subfile_type, sub_ifds = 50706, 254, 330
    return dng_version in tags or (tags.get(new_subfile_type) == 1 and sub_ifds in tags)


def _is_text(head: bytes) -> bool:
    if any(control in head for control in range(8)):
        return head.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 4  # cut within a letter
    return True
