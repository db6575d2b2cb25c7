"""Formats that are not read: recognised, so that a message can say what they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from duckdetect.data.formats import places
from duckdetect.utils.reading import read_head

_LOOKED_INTO = 20  # files


def recognise(folder: Path) -> tuple[Path, str] | None:
    """A label file in a folder that is not read, and the name of its format; None if there is none."""
    for path in places.listed(folder, (".json", ".xml", ".txt", ".csv", ".manifest", ".ndjson"))[
        :_LOOKED_INTO
    ]:
        name = _of_file(path)
        if name is not None:
            return path, name
    for below in places.children(folder):
        if below.name.lower() in ("ann", "label_2"):
            return below, "KITTI" if below.name.lower() == "label_2" else "Supervisely's format"
    return None


def _of_file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in (".manifest", ".ndjson"):
        return "a manifest of SageMaker Ground Truth or Labelbox"
    if suffix == ".json":
        return _of_json(places.content_of(path))
    head = read_head(path, 2000).decode("utf-8", errors="replace")
    if suffix == ".xml":
        roots = re.findall(r"<([A-Za-z_][\w.-]*)", head)
        return {
            "annotations": "CVAT's own XML",
            "dataset": "dlib's (imglab) XML",
            "opencv_storage": "OpenCV's XML",
            "tagset": "an ImageClipper file",
        }.get(roots[0].lower() if roots else "")
    fields = head.strip().partition("\n")[0].split()
    if (
        suffix == ".txt"
        and len(fields) in (15, 16)
        and _numbers(fields[1:])
        and not _numbers(fields[:1])
    ):
        return "KITTI"
    if (
        suffix == ".txt"
        and len(fields) in (9, 10)
        and _numbers(fields[:8])
        and not _numbers(fields[8:9])
    ):
        return "DOTA"
    if suffix == ".csv":
        names = head.partition("\n")[0].lower()
        if "region_shape_attributes" in names:
            return "VGG VIA's CSV"
        if re.match(r"(train|test|validation|unassigned),", names):
            return "Google AutoML's CSV"
    return None


def _numbers(fields: list[str]) -> bool:
    try:
        return bool([float(field) for field in fields])
    except ValueError:
        return False


def _of_json(content: Any) -> str | None:
    first: Any = content
    if isinstance(content, list):
        first = content[0] if content else None
    if not isinstance(first, dict):
        return None
    keys = first.keys()
    if "_via_img_metadata" in keys or "_via_settings" in keys:
        return "a project of VGG VIA"
    inner = next(iter(first.values()), None)
    if isinstance(inner, dict) and {"regions", "filename"} <= inner.keys():
        return "VGG VIA's JSON"
    for wanted, name in _JSON_KEYS:
        if wanted <= keys:
            return name
    return None


_JSON_KEYS = (
    ({"items", "categories"}, "Datumaro's format"),
    ({"data", "annotations"}, "Label Studio's own JSON"),
    ({"data", "completions"}, "Label Studio's own JSON"),
    ({"objects", "size"}, "Supervisely's format"),
    ({"classes", "tags"}, "Supervisely's format"),
    ({"asset", "regions"}, "VoTT's format"),
    ({"assets"}, "VoTT's format"),
    ({"data_row"}, "Labelbox's format"),
    ({"Labeled Data"}, "Labelbox's format"),
    ({"item", "annotations"}, "Darwin's (V7) format"),
    ({"labels", "name"}, "BDD100K's or Scale's format"),
    ({"samples"}, "FiftyOne's own format"),
)
