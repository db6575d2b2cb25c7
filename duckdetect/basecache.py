"""The folder of one base model in the cache: filled whole, checked, and remembered.

A base's folder holds its files and `origin.json`: where they came from, when, sizes and sums.

    with one_at_a_time(folder):
        if cache_problem(spec, folder, verify=False):
            install(spec, folder, Path("model.tar.gz"), origin="https://...", downloaded=True)
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdetect.download import DownloadError, file_sha256
from duckdetect.errors import UserError
from duckdetect.files import atomic_path, write_json
from duckdetect.specs import BaseSpec, all_specs
from duckdetect.unpack import take_files

ORIGIN_FILE = "origin.json"
# The last eight bytes of a checkpoint's index, which is a table in LevelDB's format.
_INDEX_END = bytes.fromhex("57fb808b247547db")


def read_origin(folder: Path) -> dict[str, Any]:
    """The base's origin.json; {} if there is none that can be read."""
    try:
        origin = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
        sums = {name: (file["size"], file["sha256"]) for name, file in origin["files"].items()}
        return dict(origin) if origin["origin"] and sums else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def cache_problem(spec: BaseSpec, folder: Path, verify: bool) -> str | None:
    """Why the cached files cannot be used, or None if they can."""
    if not folder.is_dir():
        return "not there yet"
    origin = read_origin(folder)
    if not origin:
        return f"no {ORIGIN_FILE}"
    for name in spec.files:
        path, known = folder / name, origin["files"].get(name, {})
        if not path.is_file() or path.stat().st_size != known.get("size"):
            return f"{name} is missing or has another size than before"
        if verify and file_sha256(path) != known.get("sha256"):
            return f"{name} is damaged"
    return None


def install(
    spec: BaseSpec,
    folder: Path,
    source: Path,
    origin: str,
    downloaded: bool = False,
) -> None:
    """Check the files in `source` and put them, with origin.json, in the place of `folder`.

    Args:
        spec: Which base it shall be.
        folder: The base's folder in the cache; what it held is replaced.
        source: A folder, archive or file that holds the base's files.
        origin: Where `source` came from, for origin.json and for errors.
        downloaded: Whether we chose the source, not the user.

    Raises:
        DownloadError: If a downloaded source does not hold what it should.
        UserError: If the user's source does not, or if a downloaded one is sound but holds other
            files than the ones that `folder` remembers.
    """
    before = read_origin(folder)
    with atomic_path(folder) as part:
        part.mkdir()
        try:
            held_in = take_files(source, spec.files, part)
            _check_contents(spec, part, held_in, source)
        except UserError as error:
            if downloaded:  # another place may have what this one has not
                raise DownloadError(str(error).replace(str(source), origin)) from error
            raise
        files = {
            name: {"size": (part / name).stat().st_size, "sha256": file_sha256(part / name)}
            for name in spec.files
        }
        for name, now in files.items():
            known = before.get("files", {}).get(name, now)
            # A user who names a file wants that file; a download must not change by itself.
            if downloaded and known["sha256"] != now["sha256"]:
                raise UserError(
                    f"{origin} holds another {name} (sha256 {now['sha256']}) than the one fetched "
                    f"on {before.get('date')} ({known['sha256']}): if that is right, delete "
                    f"{folder} and fetch again"
                )
        write_json(
            part / ORIGIN_FILE,
            {
                "name": spec.name,
                "zoo_name": spec.zoo_name,
                "origin": origin,
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "archive_sha256": file_sha256(source) if source.is_file() else None,
                "files": files,
            },
        )


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a base's folder; the others wait and find it filled.

    A file system without locks (some network mounts) goes without: the folder is put in place
    whole all the same, and a part that two have written is caught by its sums.
    """
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_contents(spec: BaseSpec, folder: Path, held_in: str, source: Path) -> None:
    """Check unpacked files by known sums and by what they must look like."""
    others = {other.zoo_name for other in all_specs()} - {spec.zoo_name}
    if held_in in others:
        raise UserError(f"{source} is the archive of {held_in}, not of {spec.zoo_name}")
    for name in spec.files:
        path, expected = folder / name, spec.sha256.get(name)
        if expected is not None and (found := file_sha256(path)) != expected:
            raise UserError(
                f"{source}: {name} is not the right one (sha256 expected {expected}, found {found})"
            )
        if path.stat().st_size == 0:
            raise UserError(f"{source}: {name} is empty: get the file again")
        if name.endswith(".index") and not path.read_bytes().endswith(_INDEX_END):
            raise UserError(f"{source}: {name} is no index of a TensorFlow checkpoint")
        if name.endswith(".config"):
            text = path.read_bytes().decode("utf-8", errors="replace")
            kind = {"ssd": "ssd", "rcnn": "faster_rcnn"}[spec.family]
            if not re.search(
                rf"^\s*model\s*:?\s*\{{\s*{kind}\s*:?\s*\{{", text, flags=re.MULTILINE
            ):
                raise UserError(
                    f"{source}: {name} describes no {spec.family.upper()} model "
                    f"(model {{ {kind} {{ ... }} }})"
                )
