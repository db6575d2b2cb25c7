"""What may be replaced: only what an earlier run of the same command wrote, never its input.

    check_outputs([out / "frames", out / "detections.json"], "detect", inputs=[source])  # at first
    with own_output(out / "detections.json", "detect") as part:
        part.write_text("[]")

Beside the file or folder that a command writes lies the manifest `.duckdetect-outputs`: which files were
written, by which command, and their SHA-256. A file that is not listed there, or was changed since, is
somebody's work: the command stops with one line and touches nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from duckdetect.errors import UserError
from duckdetect.utils.files import atomic_path, file_sha256, is_of_system
from duckdetect.utils.locks import folder_lock
from duckdetect.utils.reading import as_path

MANIFEST = ".duckdetect-outputs"
_FORMAT = "duckdetect outputs 1"
_UNFINISHED = "unfinished"  # in the place of a sum
_MAX_MANIFEST_BYTES = 256 << 20  # a million files take half of that

Entries = dict[
    str, dict[str, Any]
]  # by path from the manifest's folder: {"by": verb, "sha256": [...]}


def check_outputs(
    targets: Iterable[str | Path],
    verb: str,
    inputs: Iterable[str | Path] = (),
    known: str | None = None,
) -> None:
    """Refuse to write where something lies that an earlier run of `verb` did not write.

    Args:
        targets: The files and folders that the command will replace.
        verb: The command, such as "detect".
        inputs: What it reads.
        known: Of what earlier versions wrote without a manifest, a regular expression of the files'
            names as paths from the target, "" for the target itself: no manifest is needed for these.

    Raises:
        UserError: If a target is, holds or lies above an input, is not the command's own, was changed
            since it was written, or lies inside a detector.
    """
    paths = [as_path(target, "the output") for target in targets]
    for source in map(Path, inputs):
        for target in paths:
            if _holds(target, source):
                raise UserError(
                    f"{target} would be replaced, and {source} is read from there: "
                    "choose another output"
                )
    for target in paths:
        # Its bytes are what a detector is known and trusted by; nothing else belongs in there.
        detector = next((p for p in target.parents[:2] if (p / "saved_model.pb").is_file()), None)
        if detector is not None:
            raise UserError(
                f"{target} would lie inside the detector {detector}: choose another output"
            )
        manifest = target.parent / MANIFEST
        if os.path.lexists(manifest) and (manifest.is_symlink() or not manifest.is_file()):
            raise UserError(f"{manifest} is no file of ours: move it away")
        foreign = _foreign(target, verb, known)
        if foreign:
            raise UserError(
                f"{foreign}, so {target} is not replaced: move it away, or choose another output"
            )


def check_apart(one: str | Path, other: str | Path) -> None:
    """Refuse two outputs of one command of which one is, or lies in, the other."""
    first, second = Path(one).resolve(), Path(other).resolve()
    if first.is_relative_to(second) or second.is_relative_to(first):
        raise UserError(
            f"{one} and {other} are both written, one in the other's place: choose another for one"
        )


def check_folder(folder: str | Path, known: str, verb: str) -> None:
    """Refuse to replace a folder that holds anything but what a run of `verb` writes, by its names.

    For what a command knows by its names, and earlier versions wrote without a manifest.

    Args:
        folder: The folder; it need not be there.
        known: A regular expression of its files' names, as paths from the folder.
        verb: The command, such as "train".

    Raises:
        UserError: If it is a link, holds one, or another file.
    """
    folder = Path(folder)
    for path in [folder, *sorted(folder.rglob("*"))]:
        below = path.relative_to(folder).as_posix()
        if path.is_symlink() or (path.is_file() and not re.fullmatch(known, below)):
            raise UserError(
                f"{path} was not written by `duckdetect {verb}`: move it away, or choose another --out"
            )


@contextlib.contextmanager
def own_output(
    target: str | Path,
    verb: str | None,
    inputs: Iterable[str | Path] = (),
    known: str | None = None,
    new: bool = False,
) -> Iterator[Path]:
    """`atomic_path` for a command's result: checked before as by `check_outputs`, and noted after.

    Args:
        target: The file or folder to write.
        verb: The command; None for a plain `atomic_path`.
        inputs: What it reads.
        known: As `check_outputs` has it.
        new: Whether it may replace nothing but an empty folder.

    Yields:
        A path to write to; it becomes `target` only if the block succeeds.

    Raises:
        UserError: As `check_outputs`, before the block and after it; if it is `new`, and another process
            put something there meanwhile.
    """
    target = Path(target)
    if verb is not None:
        check_outputs([target], verb, inputs, known)
    with atomic_path(target) as part:
        yield part
        if verb is not None and not new:  # it may have taken minutes
            check_outputs([target], verb, known=known)
        # Noted before it is put in place: a run that is killed in between finds both versions its own.
        if verb is not None:
            note_output(target, verb, part)
        if new and target.exists() and (target.is_file() or any(target.iterdir())):
            raise UserError(
                f"another process has written {target} meanwhile: choose another output"
            )


@contextlib.contextmanager
def unfinished_output(target: Path, verb: str | None) -> Iterator[None]:
    """Until a command has written a file piece by piece, what it leaves there is its own.

    Args:
        target: The file, which is gone in the end if all went well.
        verb: The command; None notes nothing.
    """
    if verb is not None:
        with _manifest(target.parent) as entries:
            entries[target.name] = {"by": verb, "files": {"": [_UNFINISHED]}}
    yield
    if verb is not None:
        forget_removed(target.parent)


def forget_removed(folder: Path) -> None:
    """Forget what a folder's manifest lists and is gone: what comes in its place is another's."""
    if (folder / MANIFEST).exists():
        with _manifest(folder):
            pass  # which drops it


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


def _foreign(target: Path, verb: str, known_names: str | None) -> str | None:
    """What lies at `target` that is not an earlier run's; None if nothing."""
    if not os.path.lexists(target):
        return None
    if target.is_symlink():
        return f"{target} is a link"
    entry = _read(target.parent).get(target.name, {"by": verb, "files": {}})
    below: dict[Path, Entries] = {}  # what was written later into a folder that was written before
    for path in sorted(target.rglob("*")) if target.is_dir() else [target]:
        if path.is_symlink():
            return f"{path} is a link"
        if path.is_dir() or (path.name == MANIFEST and _read(path.parent)):
            continue
        if path != target and is_of_system(path.name):  # it comes with a look at the folder
            continue
        by, known = entry["by"], entry["files"].get(_key(path, target))
        if known is None:
            by, known = _noted_below(path, target, below)
        if known is None:
            if known_names is not None and re.fullmatch(known_names, _key(path, target)):
                continue
            return f"{path} was not written by an earlier `duckdetect {verb}`"
        if by != verb:
            return f"{path} was written by `duckdetect {by}`, not by `{verb}`"
        try:
            # Only for videos under work: a stranger's manifest may say so of labels, which users edit.
            under_work = path == target and path.stem.endswith(".partial")
            same = (under_work and _UNFINISHED in known) or file_sha256(path) in known
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        if not same:
            return f"{path} was changed since `duckdetect {verb}` wrote it"
    return None


def _noted_below(
    path: Path, target: Path, below: dict[Path, Entries]
) -> tuple[str, list[str] | None]:
    """Who wrote a file, and its sums, by the manifests in the folders from `target` down to it."""
    for folder in path.parents:
        if folder not in below:
            below[folder] = _read(folder)
        entry = below[folder].get(path.relative_to(folder).parts[0])
        if entry is not None:
            return entry["by"], entry["files"].get(
                _key(path, folder / path.relative_to(folder).parts[0])
            )
        if folder == target:
            break
    return "", None


def note_output(target: Path, verb: str, part: Path | None = None) -> None:
    """Remember what a command wrote.

    Args:
        target: The file or folder.
        verb: The command.
        part: Where that lies which is about to be put in place; both versions are the command's own then.
    """
    part = part or target
    paths = sorted(part.rglob("*")) if part.is_dir() else [part]
    now = {_key(path, part): file_sha256(path) for path in paths if path.is_file()}
    with _manifest(target.parent) as entries:
        before = entries.get(target.name, {"files": {}})["files"]
        names = before.keys() | now.keys()
        files = {
            name: [*before.get(name, [])[-1:], *([now[name]] if name in now else [])]
            for name in sorted(names)
        }
        entries[target.name] = {"by": verb, "files": files}


def is_as_written(target: Path, name: str) -> bool | None:
    """Whether a file is still what a command wrote into a folder of its own.

    Args:
        target: The folder.
        name: The file's path from there.

    Returns:
        None if no manifest tells, or the file is gone.
    """
    known = _read(target.parent).get(target.name, {"files": {}})["files"].get(name)
    if known is None or not (target / name).is_file():
        return None
    return file_sha256(target / name) in known


def note_change(target: Path, name: str) -> None:
    """Remember that a command has changed a file in a folder that an earlier one wrote and noted."""
    if target.name not in _read(target.parent):
        return
    with _manifest(target.parent) as entries:
        if target.name in entries:
            entries[target.name]["files"][name] = [file_sha256(target / name)]


@contextlib.contextmanager
def _manifest(folder: Path) -> Iterator[Entries]:
    """A folder's manifest to be changed, without what is there no more."""
    with folder_lock(folder):
        entries = {
            name: entry for name, entry in _read(folder).items() if os.path.lexists(folder / name)
        }
        yield entries
        with atomic_path(folder / MANIFEST) as new:
            content = {"format": _FORMAT, "outputs": entries}
            new.write_text(
                json.dumps(content, ensure_ascii=True, indent=0) + "\n", encoding="utf-8"
            )


def _key(path: Path, target: Path) -> str:
    return "" if path == target else path.relative_to(target).as_posix()


def _read(folder: Path) -> Entries:
    """A folder's manifest; {} if there is none that can be read: then nothing is known to be ours."""
    path = folder / MANIFEST
    try:
        if not path.is_file() or path.stat().st_size > _MAX_MANIFEST_BYTES:
            return {}
        content = json.loads(path.read_bytes())
        outputs = content["outputs"] if content["format"] == _FORMAT else {}
        return {
            name: {
                "by": str(entry["by"]),
                "files": {k: [str(s) for s in v] for k, v in entry["files"].items()},
            }
            for name, entry in outputs.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
