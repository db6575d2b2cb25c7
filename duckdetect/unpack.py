"""Taking the few files that are wanted out of whatever holds them.

Model archives hold more than is needed (a saved model beside the checkpoint), and users have them
as archives, as unpacked folders or as a bare file; `take_files` copes with each of these.

    take_files(Path("model.tar.gz"), ["checkpoint/ckpt-0.index", "pipeline.config"], Path("out"))
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, cast

from duckdetect.errors import UserError

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
                shutil.copyfileobj(stream, file, 1 << 20)
    except BROKEN as error:
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
            yield from _tar_members(cast(IO[bytes], plain))
            while plain.read(1 << 20):  # gzip compares its check sum only at the very end
                pass
    elif tarfile.is_tarfile(source):
        with source.open("rb") as file:
            yield from _tar_members(file)
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


def _tar_members(stream: IO[bytes]) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                yield PurePosixPath(member.name), content


def _is_gzip(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC
