"""Labelled pictures in a zip, as tools export them: unpacked once, into the cache.

    folder = unpacked(Path("ducks.v3.coco.zip"))     # a folder is returned as it is

Zips come from strangers: a path that leads out of the folder, a link, and a bomb are refused before
anything is written.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from duckdetect.basecache import one_at_a_time
from duckdetect.download import file_sha256
from duckdetect.errors import UserError
from duckdetect.files import atomic_path, make_folder
from duckdetect.samples import SPLIT_NAMES
from duckdetect.unpack import BROKEN
from duckdetect.zoo import cache_folder

MAX_BYTES = 50 << 30
"""A zip that holds more is refused; COCO's whole training set is 19 GB."""
MAX_RATIO = 100
"""A larger one than this, unpacked to zipped, is refused beyond `FREE_BYTES`: pictures are packed
already (about 1), labels shrink to between a fifth and a twentieth, a bomb to a thousandth."""
FREE_BYTES = 256 << 20
_MAX_FILES = 1_000_000
_SAYS_UTF_8 = 0x800  # a bit of an entry's flags

_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
# These say what a folder is, and are no wrapping around it.
_MEANS_SOMETHING = {"images", "labels", "annotations", "jpegimages"}.union(*SPLIT_NAMES.values())


def unpacked(path: Path) -> Path:
    """The folder that a zip holds; any other path as it is.

    It lies in the cache (`DUCKDETECT_CACHE`) under the zip's name and check sum, and is unpacked when
    it is first asked for. A single folder around everything is stepped into.

    Raises:
        UserError: If it is damaged, locked by a password, too large, or not to be trusted.
    """
    if not path.is_file() or not (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
        return path
    sha256 = _sum(path.resolve(), path.stat().st_size, path.stat().st_mtime_ns)
    name = re.sub(r"[^\w.-]+", "_", path.stem)[:60]
    folder = make_folder(cache_folder() / "data") / f"{name}-{sha256[:12]}"
    with one_at_a_time(folder):
        if not folder.is_dir():
            unzip(path, folder)
    return _inside(folder)


def unzip(path: Path, folder: Path) -> None:
    """Unpack a zip into a folder that appears whole or not at all; errors as `unpacked`."""
    with atomic_path(folder) as part:
        part.mkdir()
        try:
            with zipfile.ZipFile(path) as archive:
                entries = _entries(path, archive)
                _check_sizes(path, part, sum(info.file_size for info in entries.values()))
                for name, info in entries.items():
                    target = part / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # It reads no more than the size that was counted, and compares the check sum.
                    with archive.open(info) as stream, target.open("wb") as file:
                        shutil.copyfileobj(stream, file, 1 << 20)
        except (*BROKEN, NotImplementedError, ValueError, IndexError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{path} is damaged or no zip ({error}): export or download it again"
            ) from error
        except OSError as error:
            raise UserError(
                f"{path} cannot be unpacked into {folder.parent} ({error.strerror}): "
                "unpack it by hand and give the folder"
            ) from error


@functools.lru_cache(maxsize=16)
def _sum(path: Path, size: int, mtime_ns: int) -> str:
    """A file's check sum, computed anew once its size or time changes."""
    return file_sha256(path)


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files to write, by their path in the folder."""
    found: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > _MAX_FILES:
        raise UserError(f"{path} holds {len(infos)} files: unpack it by hand and give the folder")
    for info in infos:
        name = _name(info).replace("\\", "/")  # Windows tools write them against the standard
        parts = PurePosixPath(name).parts
        if any(part in _JUNK or part.startswith("._") for part in parts):
            continue
        mode = stat.S_IFMT(info.external_attr >> 16)
        if name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name):
            what = "leads out of the folder"
        elif mode == stat.S_IFLNK:
            what = "is a link"
        elif info.flag_bits & 1:
            raise UserError(
                f"{path} is locked by a password: unpack it by hand and give the folder"
            )
        elif name.endswith("/") or not parts:
            continue
        elif str(PurePosixPath(name)) in found:
            what = "is there twice"
        else:
            found[str(PurePosixPath(name))] = info
            continue
        raise UserError(f"{path} is not unpacked, since its entry {name!r} {what}: export it again")
    if not found:
        raise UserError(f"{path} holds no files: export the labels again")
    return found


def _name(info: zipfile.ZipInfo) -> str:
    """An entry's name; a Mac writes UTF-8 and does not say so, other names are hardly ever UTF-8."""
    if not info.flag_bits & _SAYS_UTF_8:
        with contextlib.suppress(UnicodeError):
            return info.filename.encode("cp437").decode("utf-8")
    return info.filename


def _check_sizes(path: Path, folder: Path, n_bytes: int) -> None:
    # Of the file's own size: the parts of a bomb may share their bytes.
    if n_bytes > MAX_BYTES or n_bytes > max(FREE_BYTES, MAX_RATIO * path.stat().st_size):
        raise UserError(
            f"{path} would grow from {_size(path.stat().st_size)} to {_size(n_bytes)}, as a zip "
            "bomb does: if you trust it, unpack it by hand and give the folder"
        )
    if n_bytes > shutil.disk_usage(folder).free:
        raise UserError(
            f"{path} needs {_size(n_bytes)} in {folder.parent.parent}, which has less: make room, "
            "or set DUCKDETECT_CACHE to another place"
        )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes > 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _inside(folder: Path) -> Path:
    """Step into a folder that is all there is, but for a read-me."""
    while True:
        entries = [p for p in folder.iterdir() if not p.stem.lower().startswith(("readme", "lic"))]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        if entries[0].name.lower() in _MEANS_SOMETHING:
            return folder
        folder = entries[0]
