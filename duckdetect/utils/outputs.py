"""What may be replaced: only what an earlier run of the same command wrote, never its input.

    check_outputs([out / "frames", out / "detections.json"], "detect", inputs=[source])  # at first
    with own_output(out / "detections.json", "detect") as part:
        part.write_text("[]")

Beside a file, and within a folder, that a command writes lies the manifest `.duckdetect-outputs`: which
files were written, by which command, and their SHA-256. A file that is not listed there, or was changed
since, is somebody's work: the command stops with one line and touches nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from duckdetect.errors import UserError
from duckdetect.utils.files import atomic_path, file_sha256
from duckdetect.utils.locks import folder_lock

MANIFEST = ".duckdetect-outputs"
_FORMAT = "duckdetect outputs 1"
_MAX_MANIFEST_BYTES = 256 << 20  # a million files take half of that

Entries = dict[
    str, dict[str, Any]
]  # by path from the manifest's folder: {"by": verb, "sha256": [...]}


def check_outputs(
    targets: Iterable[str | Path], verb: str, inputs: Iterable[str | Path] = ()
) -> None:
    """Refuse to write where something lies that an earlier run of `verb` did not write.

    Args:
        targets: The files and folders that the command will replace.
        verb: The command, such as "detect".
        inputs: What it reads.

    Raises:
        UserError: If a target is, holds or lies above an input, is not the command's own, or was changed
            since it was written.
    """
    paths = [Path(target) for target in targets]
    for source in map(Path, inputs):
        for target in paths:
            if _holds(target, source):
                raise UserError(
                    f"{target} would be replaced, and {source} is read from there: "
                    "choose another output"
                )
    for target in paths:
        foreign = _foreign(target, verb)
        if foreign:
            raise UserError(
                f"{foreign}, so {target} is not replaced: move it away, or choose another output"
            )


@contextlib.contextmanager
def own_output(
    target: str | Path, verb: str | None, inputs: Iterable[str | Path] = ()
) -> Iterator[Path]:
    """`atomic_path` for a command's result: checked before as by `check_outputs`, and noted after.

    Args:
        target: The file or folder to write.
        verb: The command; None for a plain `atomic_path`.
        inputs: What it reads.

    Yields:
        A path to write to; it becomes `target` only if the block succeeds.
    """
    target = Path(target)
    if verb is not None:
        check_outputs([target], verb, inputs)
    with atomic_path(target) as part:
        yield part
        # Noted before it is put in place: a run that is killed in between finds both versions its own.
        if verb is None:
            return
        if part.is_dir():
            _write(part, _entries_of(part, verb))
        else:
            _note(target, verb, file_sha256(part))


def _holds(target: Path, source: Path) -> bool:
    """Whether replacing `target` would take `source` away."""
    if not os.path.lexists(target) or not source.exists():
        return False
    with contextlib.suppress(OSError):
        if target.samefile(source):
            return True
    if not target.is_dir():
        return False
    return source.resolve().is_relative_to(target.resolve())


def _foreign(target: Path, verb: str) -> str | None:
    """What lies at `target` that is not an earlier run's; None if nothing."""
    if not os.path.lexists(target):
        return None
    if target.is_symlink():
        return f"{target} is a link"
    if not target.is_dir():
        return _foreign_file(target, _read(target.parent).get(target.name), verb)
    entries = _read(target)
    for path in sorted(target.rglob("*")):
        if path.is_symlink():
            return f"{path} is a link"
        if path.is_dir() or path == target / MANIFEST:
            continue
        found = _foreign_file(path, entries.get(path.relative_to(target).as_posix()), verb)
        if found:
            return found
    return None


def _foreign_file(path: Path, entry: dict[str, Any] | None, verb: str) -> str | None:
    if entry is None:
        return f"{path} was not written by an earlier `duckdetect {verb}`"
    if entry["by"] != verb:
        return f"{path} was written by `duckdetect {entry['by']}`, not by `{verb}`"
    try:
        same = file_sha256(path) in entry["sha256"]
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return None if same else f"{path} was changed since `duckdetect {verb}` wrote it"


def _note(target: Path, verb: str, sha256: str) -> None:
    """Remember a file that is about to be put in place, beside the one that lies there now."""
    with folder_lock(target.parent):
        entries = _read(target.parent)
        before = entries.get(target.name, {"sha256": []})["sha256"][-1:]
        entries[target.name] = {"by": verb, "sha256": [*before, sha256]}
        _write(target.parent, entries)


def _entries_of(folder: Path, verb: str) -> Entries:
    return {
        path.relative_to(folder).as_posix(): {"by": verb, "sha256": [file_sha256(path)]}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def _write(folder: Path, entries: Entries) -> None:
    with atomic_path(folder / MANIFEST) as part:
        text = json.dumps({"format": _FORMAT, "files": entries}, ensure_ascii=True, indent=0)
        part.write_text(text + "\n", encoding="utf-8")


def _read(folder: Path) -> Entries:
    """A folder's manifest; {} if there is none that can be read: then nothing is known to be ours."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            return {}
        content = json.loads(path.read_bytes())
        files = content["files"] if content["format"] == _FORMAT else {}
        return {
            name: {"by": str(entry["by"]), "sha256": [str(s) for s in entry["sha256"]]}
            for name, entry in files.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
