"""Create ML (Apple, Roboflow): a JSON list of pictures, boxes by their middle, in pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from duckdetect.data.dataset import (
    NORMALISED,
    Dataset,
    Label,
    Problem,
    Reading,
    Sample,
    are_normalised,
    make_sample,
)
from duckdetect.data.formats import places


def find(folder: Path) -> dict[str | None, Path]:
    """The Create ML files of a folder by split; None for a single one."""
    found = [p for p in places.listed(folder, (".json",)) if _is_createml(places.content_of(p))]
    return places.by_split(folder, found, "Create ML")


def read(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read a Create ML file; classes are in alphabetical order."""
    entries = places.load(source)
    classes = places.class_names(a.get("label") for e in entries for a in _annotations(e))
    class_ids = {name: i for i, name in enumerate(classes)}
    folders = places.of_images(source)
    samples: list[Sample] = []
    read_labels: list[Label] = []
    for number, entry in enumerate(entries, 1):
        where = f"{source}, image {number}"
        name = entry.get("image", entry.get("imagefilename")) if isinstance(entry, dict) else None
        path = reading.image(where, name if isinstance(name, str) else "", folders)
        if path is None:
            continue
        labels = [
            label
            for i, a in enumerate(_annotations(entry), 1)
            if (label := _label(f"{where}, annotation {i}", a, class_ids, reading)) is not None
        ]
        read_labels += labels
        sample = make_sample(path, len(samples) + 1, None, labels, reading)
        if sample is not None:
            samples.append(sample)
    if are_normalised(read_labels):
        reading(Problem(str(source), *NORMALISED))
    return Dataset(source.parent, classes, tuple(samples))


def _is_createml(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    return (
        isinstance(first, dict)
        and bool(first.keys() & {"image", "imagefilename"})
        and isinstance(first.get("annotations", first.get("annotation")), list)
    )


def _annotations(entry: Any) -> list[dict[str, Any]]:
    found = entry.get("annotations", entry.get("annotation")) if isinstance(entry, dict) else None
    return [a if isinstance(a, dict) else {} for a in found] if isinstance(found, list) else []


def _label(
    where: str, entry: dict[str, Any], class_ids: dict[str, int], reading: Reading
) -> Label | None:
    name, box = entry.get("label"), entry.get("coordinates")
    if not isinstance(name, str) or not name.strip():
        reading(Problem(where, "has no label", "name its class"))
        return None
    try:
        x, y, width, height = (float(box[k]) for k in ("x", "y", "width", "height"))  # type: ignore[index]
    except (TypeError, ValueError, KeyError):
        x = math.nan
    if not math.isfinite(x):
        what = "has no coordinates of four numbers"
        reading(Problem(where, what, "give x and y of the middle, width and height in pixels"))
        return None
    xyxy = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return Label(where, xyxy, class_ids[name.strip()])
