"""Archives: the files wanted of a model's archive, and zips of strangers unpacked with care.

    take_files(Path("model.tar.gz"), ["checkpoint/ckpt-0.index", "pipeline.config"], Path("out"))
    unzip(Path("ducks.v3.coco.zip"), Path("out"))

Model archives hold more than is needed (a saved model beside the checkpoint), and users have them
as archives, as unpacked folders or as a bare file; `take_files` copes with each of these. `unzip`
refuses a path that leads out of the folder, a link and a bomb before anything is written.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, cast

from duckdetect.errors import UserError
from duckdetect.utils.files import atomic_path, is_of_system
from duckdetect.utils.progress import DELAY_S, progress_bar
from duckdetect.utils.room import require_disk, size

_GZIP_MAGIC = b"\x1f\x8b"

# RuntimeError is what zipfile raises for a password or an unknown compression.
BROKEN = (
    EOFError,
    RuntimeError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
)


MAX_MODEL_BYTES = 8 << 30
"""Of a model's archive, unpacked; the zoo's largest has 1.6 GB."""

_MAX_MODEL_FILES = 10_000


def take_files(source: Path, wanted: Sequence[str], folder: Path) -> str:
    """Copy the wanted files from `source` into `folder`.

    Nothing is written but `folder / name` for each wanted name, so a member's path cannot lead out
    of the folder; links in an archive are never followed.

    Args:
        source: A folder, a tar archive (compressed with gzip or not), a zip or wheel, or, if just
            one file is wanted, that file under any name that ends the same (".pb").
        wanted: Paths relative to the top of the model ("checkpoint/ckpt-0.index"). In an archive
            they may lie at any depth; the one nearest to the top is taken.
        folder: An existing folder.

    Returns:
        The name of the folder that held the files in `source`; "" if they lay at the top.

    Raises:
        UserError: If `source` is missing, damaged, or lacks a wanted file. An archive is read to
            its end, so that gzip's own check sum (or zip's) covers all of it.
    """
    found: dict[str, PurePosixPath] = {}
    try:
        for path, stream in _members(source, wanted):
            name = next((n for n in wanted if path.match(n)), None)
            if name is None or (name in found and len(found[name].parts) <= len(path.parts)):
                continue
            found[name] = path
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while block := stream.read(1 << 20):
                    if file.tell() + len(block) > MAX_MODEL_BYTES:
                        raise _too_large(source)
                    file.write(block)
    except (*BROKEN, ValueError, LookupError, ArithmeticError) as error:  # of odd heads of members
        if isinstance(error, UserError):
            raise
        raise UserError(f"{source} is damaged ({error}): get the file again") from error
    except FileNotFoundError:
        raise UserError(f"{source} does not exist: check the path") from None
    except OSError as error:
        raise UserError(f"{source} cannot be copied to {folder} ({error.strerror})") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(f"{source} holds no {', '.join(missing)}: is it the archive of this model?")
    tops = {path.parts[: -len(PurePosixPath(name).parts)] for name, path in found.items()}
    if len(tops) > 1:
        raise UserError(f"{source} holds more than one model: give the archive of one")
    top = tops.pop()
    return top[-1] if top else ""


def _members(source: Path, wanted: Sequence[str]) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Yield each regular file in `source` with a stream that is good until the next one."""
    if source.is_dir():
        yield from _folder_members(source, wanted)
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as stream:
                        yield PurePosixPath(info.filename), stream
    elif _is_gzip(source):
        with gzip.open(source) as plain:
            yield from _tar_members(source, cast(IO[bytes], plain))
            n_bytes = 0
            while block := plain.read(1 << 20):  # gzip compares its sum only at the very end
                n_bytes += len(block)
                if n_bytes > MAX_MODEL_BYTES:
                    raise _too_large(source)
    elif tarfile.is_tarfile(source):
        with source.open("rb") as file:
            yield from _tar_members(source, file)
    elif len(wanted) == 1 and source.suffix == PurePosixPath(wanted[0]).suffix:
        with source.open("rb") as file:
            yield PurePosixPath(wanted[0]), file
    else:
        raise UserError(f"{source} is no folder, .tar.gz or .zip: give the model's archive")


def _folder_members(
    source: Path, wanted: Sequence[str]
) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    # The folder itself or one right below it: nobody means a search of a whole home directory.
    below = sorted(path for path in source.iterdir() if path.is_dir())
    whole = (top for top in (source, *below) if all((top / name).is_file() for name in wanted))
    top = next(whole, source)
    for path in (top / name for name in wanted):
        if path.is_file():
            with path.open("rb") as file:
                yield PurePosixPath(path.relative_to(source.parent).as_posix()), file


def _too_large(source: Path) -> UserError:
    return UserError(
        f"{source} unpacks to more than {MAX_MODEL_BYTES / 1e9:.0f} GB, which no model has: give the "
        "model's own archive"
    )


def _tar_members(name: Path, stream: IO[bytes]) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        n_bytes = 0
        for number, member in enumerate(archive, 1):
            n_bytes += member.size
            if number > _MAX_MODEL_FILES or n_bytes > MAX_MODEL_BYTES:
                raise UserError(
                    f"{name} holds {number} files of {n_bytes / 1e9:.1f} GB or more, which no model "
                    "has: give the model's own archive"
                )
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                yield PurePosixPath(member.name), content


def _is_gzip(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


MAX_BYTES = 50 << 30

"""A zip that holds more is refused; COCO's whole training set is 19 GB."""

MAX_RATIO = 100

"""A larger one than this, unpacked to zipped, is refused beyond `FREE_BYTES`: images are packed
already (about 1), labels shrink to between a fifth and a twentieth, a bomb to a thousandth."""

FREE_BYTES = 256 << 20

_MAX_FILES = 1_000_000

_MAX_DEPTH = 100  # folders

_SAYS_UTF_8 = 0x800  # a bit of an entry's flags

_LABELS = (".json", ".jsonl", ".txt", ".xml", ".csv", ".yaml", ".yml")


def unzip(path: Path, folder: Path) -> None:
    """Unpack a zip into a folder that appears whole or not at all; errors as `unpacked`."""
    with atomic_path(folder) as part:
        part.mkdir()
        try:
            with zipfile.ZipFile(path) as archive:
                entries = _entries(path, archive)
                _check_sizes(path, part, sum(info.file_size for info in entries.values()))
                for name, info in progress_bar(
                    entries.items(), f"unpacking {path.name}", unit="file", delay=DELAY_S
                ):
                    target = part / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # It reads no more than the size that was counted, and compares the check sum.
                    with archive.open(info) as stream, target.open("wb") as file:
                        shutil.copyfileobj(stream, file, 1 << 20)
        except NotImplementedError as error:  # Windows packs large folders by Deflate64
            raise UserError(
                f"{path} is packed in a way that is not read here ({error}): unpack it by hand and "
                "give the folder"
            ) from error
        except (*BROKEN, ValueError, IndexError) as error:
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


def check_unpacked(path: Path, folder: Path) -> None:
    """Raise UserError if somebody has changed what `unzip` made of a zip.

    By the files' names and sizes, and of labels by their check sums: to read all pictures takes minutes.
    """
    with zipfile.ZipFile(path) as archive:
        entries = _entries(path, archive)
    changed = next((n for n, info in entries.items() if not _is_intact(folder / n, info)), None)
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    added = [p.as_posix() for p in files if not any(map(is_of_system, p.parts))]
    if changed is None and len(added) > len(entries):
        changed = next((name for name in added if name not in entries), None)
    if changed is not None:
        raise UserError(
            f"{folder / changed} was changed since {path} was unpacked there: give {folder} to read it "
            "as it is, or remove that folder to have the zip unpacked again"
        )


def _is_intact(file: Path, info: zipfile.ZipInfo) -> bool:
    try:
        if file.stat().st_size != info.file_size:
            return False
        labels = file.suffix.lower() in _LABELS
        return not labels or zlib.crc32(file.read_bytes()) == info.CRC
    except OSError:
        return False


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files to write, by their path in the folder."""
    found: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > _MAX_FILES:
        raise UserError(f"{path} holds {len(infos)} files: unpack it by hand and give the folder")
    for info in infos:
        name = _name(info).replace("\\", "/")  # Windows tools write them against the standard
        parts = PurePosixPath(name).parts
        if any(map(is_of_system, parts)):
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
        elif len(parts) > _MAX_DEPTH:
            what = f"lies {len(parts)} folders deep"
        elif str(PurePosixPath(name)) in found:
            what = "is there twice"
        else:
            found[str(PurePosixPath(name))] = info
            continue
        raise UserError(f"{path} is not unpacked, since its entry {name!r} {what}: export it again")
    if not found:
        raise UserError(f"{path} holds no files: export the labels again")
    for name in found:
        if any(str(parent) in found for parent in PurePosixPath(name).parents):
            raise UserError(
                f"{path} is not unpacked, since its entry {name!r} lies in a file: export it again"
            )
    return found


def _name(info: zipfile.ZipInfo) -> str:
    """An entry's name; a Mac writes UTF-8 and does not say so, other names are hardly ever UTF-8."""
    if not info.flag_bits & _SAYS_UTF_8:
        with contextlib.suppress(UnicodeError):
            return info.filename.encode("cp437").decode("utf-8")
    return info.filename


def refuse_bomb(path: Path) -> None:
    """Raise UserError if a gzipped file grows as `MAX_RATIO` and `FREE_BYTES` forbid, or to `MAX_BYTES`.

    A damaged one passes: whoever reads it says so.
    """
    allowed = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * path.stat().st_size))
    n_bytes = 0
    with contextlib.suppress(*BROKEN), gzip.open(path) as plain:
        while n_bytes <= allowed and (block := plain.read(1 << 20)):
            n_bytes += len(block)
    if n_bytes > allowed:
        raise UserError(
            f"{path} grows from {size(path.stat().st_size)} to more than {size(allowed)}, as a bomb "
            "does: if you trust it, unpack it by hand"
        )


def _check_sizes(path: Path, folder: Path, n_bytes: int) -> None:
    # Of the file's own size: the parts of a bomb may share their bytes.
    if n_bytes > MAX_BYTES or n_bytes > max(FREE_BYTES, MAX_RATIO * path.stat().st_size):
        raise UserError(
            f"{path} would grow from {size(path.stat().st_size)} to {size(n_bytes)}, as a zip "
            "bomb does: if you trust it, unpack it by hand and give the folder"
        )
    cure = "make room, or set DUCKDETECT_CACHE to another place"
    require_disk(folder.parent.parent, n_bytes, f"{path} needs", cure)
