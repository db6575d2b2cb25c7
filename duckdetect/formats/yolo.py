"""YOLO: `data.yaml` with the class names, and for each picture a text file of labels.

The pictures of a split are those of a folder, as Roboflow and Ultralytics name it, or of a text file
that lists them, as CVAT writes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from duckdetect.errors import UserError
from duckdetect.formats.yolo_lines import read_pictures, read_text
from duckdetect.pictures import list_pictures
from duckdetect.samples import SPLIT_NAMES, Dataset, Problem, Report

_YAML = ("data.yaml", "dataset.yaml", "data.yml")


def find(folder: Path) -> dict[str | None, Path]:
    """The YAML file of a folder for each split that it names.

    Their pictures must be there, too: Roboflow names all splits, also those that an export does not
    have. Without any, `train` is named, so that `read` tells what is missing.
    """
    source = next((folder / name for name in _YAML if (folder / name).is_file()), None)
    if source is None:
        return {}
    found: dict[str | None, Path] = {}
    for split in ("valid", "test"):
        with contextlib.suppress(UserError):  # `read` tells what is wrong with the file
            _places(source, _settings(source), split)
            found[split] = source
    with contextlib.suppress(UserError):
        if found and _named(_settings(source), "train") is None:
            return found
    return {"train": source, **found}


def read(source: Path, split: str | None, report: Report) -> Dataset:
    """Read one split that a YAML file names, `train` if None."""
    settings = _settings(source)
    base = source.parent / str(settings.get("path") or "")
    pictures: dict[Path, None] = {}  # in order, each once
    for place in _places(source, settings, split or "train"):
        listed = place.is_file()
        found = listed_pictures(place, base, report) if listed else list_pictures(place)
        pictures |= dict.fromkeys(found)
    return read_pictures(source.parent, settings["names"], list(pictures), report)


def _settings(source: Path) -> dict[str, Any]:
    """The YAML file's content, its `names` a tuple."""
    try:
        settings = yaml.safe_load(source.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{source} is not YAML ({reason}): export the labels again") from error
    names = settings.get("names") if isinstance(settings, dict) else None
    if isinstance(names, dict):
        # Ultralytics numbers them; a gap would shift all classes after it.
        names = [names[i] for i in sorted(names)] if set(names) == set(range(len(names))) else None
    if not isinstance(names, list) or not names:
        raise UserError(
            f"{source} is no YOLO data file: give `names`, a list of class names or numbered from 0"
        )
    return {**settings, "names": tuple(str(name) for name in names)}


def _named(settings: dict[str, Any], split: str) -> Any:
    """What the YAML file says of a split's pictures, or None."""
    return next((settings[key] for key in SPLIT_NAMES[split] if settings.get(key)), None)


def _places(source: Path, settings: dict[str, Any], split: str) -> list[Path]:
    """Where a split's pictures are: folders, or text files that list them."""
    named = _named(settings, split)
    places = named if isinstance(named, list) and named else [named]
    if not all(isinstance(place, str) for place in places):
        what = f"has no split {split!r}" if named is None else f"{split!r} is {str(named)[:60]!r}"
        raise UserError(f"{source}: {what}: give the folder of its pictures")
    base = source.parent / str(settings.get("path") or "")
    return [_place(source, base, place.replace("\\", "/"), split) for place in places]


def listed_pictures(path: Path, base: Path, report: Report) -> list[Path]:
    """The pictures that a text file of paths names, as CVAT exports them; tells of missing ones."""
    pictures = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if name := line.strip().replace("\\", "/"):
            picture = find_file((base, path.parent), name)
            if picture is None:
                what = f"the picture {name!r} is missing"
                cure = "export the labels with their pictures, or remove the line"
                report(Problem(f"{path}, line {number}", what, cure))
            else:
                pictures.append(picture)
    return pictures


def find_file(bases: Sequence[Path], relative: str) -> Path | None:
    """A file by its path or, as paths of other machines do not hold here, by the end of it."""
    parts = [part for part in relative.split("/") if part not in ("", ".", "..")]
    ends = (parts[start:] for start in range(len(parts)))
    paths = (base.joinpath(*end) for end in ends for base in dict.fromkeys(bases))
    return next((path for path in paths if path.is_file()), None)


def _place(source: Path, base: Path, relative: str, split: str) -> Path:
    bases = tuple(dict.fromkeys((base, source.parent)))
    if relative.lower().endswith(".txt"):
        path = find_file(bases, relative)
        if path is None:
            raise UserError(
                f"{source}: the list {relative!r} of split {split!r} is missing: mend its path"
            )
        return path
    parts = [part for part in relative.split("/") if part not in ("", ".", "..")]
    # Roboflow writes "../train/images" although the folder lies beside data.yaml; others write paths
    # of the machine that the labels were made on, whose last parts may hold here.
    tails = ["/".join(parts), relative, "/".join(parts[-2:]), *parts[-1:]]
    for place in bases:
        for tail in tails:
            for folder in (place / tail / "images", place / tail):
                if folder.is_dir() and any(folder.glob("*.*")):
                    return folder
    raise UserError(
        f"{source}: the folder {relative!r} of split {split!r} is missing or empty: mend its path"
    )
