"""labelme: a JSON file for each picture, with polygons, rectangles and circles in pixels."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
from duckdetect.data.names import Places
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import Rle, merged_rles, to_rle
from duckdetect.utils.words import plural

_IGNORED = ("__ignore__", "_background_")
_LOOKED_INTO = 20  # files; a folder holds one for each picture


def find(folder: Path) -> dict[str | None, Path]:
    """The folder of labelme files, for None."""
    found = places.listed(folder, (".json",))
    # Spread over the folder: the first may be something else.
    looked = dict.fromkeys(
        found[i * len(found) // _LOOKED_INTO] for i in range(_LOOKED_INTO) if found
    )
    return {None: folder} if any(_is_labelme(places.content_of(path)) for path in looked) else {}


def read(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read a folder of labelme files; classes are in alphabetical order."""
    contents: list[tuple[Path, dict[str, Any]]] = []
    for path in reading.all_inside(places.listed(source, (".json",))):
        try:
            content = places.load(path)
        except UserError as error:
            reading(Problem.of(error, path))
            continue
        if _is_labelme(content):
            contents.append((path, content))
        else:
            reading.warn(path, "is not labelme's JSON", "it is passed over")
    named = (s.get("label") for _, c in contents for s in _shapes(c))
    classes = tuple(n for n in places.class_names(named) if n not in _IGNORED)
    class_ids = {name: i for i, name in enumerate(classes)}
    samples: list[Sample] = []
    read_labels: list[Label] = []
    embedded = 0
    known: dict[tuple[Path, str | None], Places] = {}  # to list folders for each file takes hours
    for path, content in contents:
        name = str(content.get("imagePath") or path.stem)
        key = path.parent, places.split_word(path)
        if key not in known:
            known[key] = places.of_images(path)
        image = reading.image(str(path), name, known[key])
        if image is None:
            embedded += bool(content.get("imageData"))
            continue
        labels = _joined(
            (shape.get("group_id"), label)
            for i, shape in enumerate(content["shapes"], 1)
            if (label := _label(f"{path}, shape {i}", shape, class_ids, image, reading)) is not None
        )
        read_labels += labels
        size = (content.get("imageHeight"), content.get("imageWidth"))
        declared = size if all(type(v) is int and v > 0 for v in size) else None
        sample = make_sample(image, len(samples) + 1, declared, labels, reading)  # type: ignore[arg-type]
        if sample is not None:
            samples.append(sample)
    if embedded:
        what = (
            f"{embedded} of the pictures that are missing are inside the JSON files, as imageData"
        )
        reading.warn(
            source, what, "save each beside its file (base64), under the name in imagePath"
        )
    if are_normalised(read_labels):
        reading(Problem(str(source), *NORMALISED))
    return Dataset(source, classes, tuple(samples))


def _is_labelme(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("shapes"), list)
        and ("imagePath" in content or "imageData" in content)
    )


def _shapes(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [shape for shape in content["shapes"] if isinstance(shape, dict)]


def _label(
    where: str, shape: Any, class_ids: dict[str, int], image: Path, reading: Reading
) -> Label | None:
    if not isinstance(shape, dict):
        reading(Problem(where, "is no shape", "draw it again or remove it"))
        return None
    name, kind = shape.get("label"), shape.get("shape_type") or "polygon"
    if not isinstance(name, str) or not name.strip():
        reading(Problem(where, "has no label", "name its class"))
        return None
    try:
        points = np.array(shape.get("points"), float)
    except (TypeError, ValueError):
        points = np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        reading(Problem(where, "has no points of two numbers", "draw it again or remove it"))
        return None
    if name.strip() in _IGNORED:
        reading.warn(
            where, f"is named {name.strip()}, labelme's word for no class", "it is left out"
        )
        return None
    outline: Any = None
    if kind == "circle" and len(points) == 2:
        radius = math.dist(*points)
        points = np.array([points[0] - radius, points[0] + radius])
    elif kind in ("polygon", "linestrip", "rotation") and len(points) > 2:
        if kind == "linestrip":
            reading.warn(where, "is an open line", "its ends are joined to an outline")
        outline = [points.ravel().tolist()]
    elif kind in ("rectangle", "mask"):
        if len(points) != 2 and not _are_corners(points):
            what = f"is a {kind} of {plural(len(points), 'point')}"
            reading(Problem(where, what, "draw it again: two opposite corners or all four"))
            return None
        if kind == "mask":
            outline = _mask_outline(where, shape.get("mask"), points, image, reading)
            # To the far side of its last pixels.
            points = np.array([points.min(axis=0), points.max(axis=0) + 1])
    else:
        reading.warn(where, f"is a {kind}, no box or outline", "it is left out")
        return None
    xyxy = [*points.min(axis=0), *points.max(axis=0)]
    difficult = shape.get("difficult") is True  # of X-AnyLabeling, as Pascal VOC has it
    return Label(where, xyxy, class_ids[name.strip()], difficult, outline)


def _mask_outline(
    where: str, mask: Any, points: np.ndarray, image: Path, reading: Reading
) -> Rle | None:
    """The run lengths of labelme's mask: a PNG of the pixels from one corner to the other, in base64."""
    size_hw = reading.frame_hw(image)
    if size_hw is None:
        return None
    (x1, y1), (x2, y2) = (np.rint(corner).astype(int) for corner in (points.min(0), points.max(0)))
    try:
        content = io.BytesIO(base64.b64decode(mask, validate=True))
        with Image.open(content, formats=["PNG"]) as part:
            if part.size != (x2 - x1 + 1, y2 - y1 + 1):
                raise ValueError(f"it is {part.width}x{part.height}")
            pixels = np.asarray(part.convert("L")) > 0
        if x1 < 0 or y1 < 0 or x2 >= size_hw[1] or y2 >= size_hw[0]:
            raise ValueError("it reaches beyond the picture")
    except (TypeError, ValueError, OSError, SyntaxError, Image.DecompressionBombError):
        reading.warn(
            where, "has a mask that is no picture of its box", "its box is kept without it"
        )
        return None
    # Of a small mask in a large picture the runs alone, columns first as COCO has them.
    column, row = np.nonzero(pixels.T)
    inside = (column + x1) * size_hw[0] + row + y1
    if not len(inside):
        return None
    first = np.flatnonzero(np.diff(inside, prepend=-2) > 1)
    last = np.append(first[1:], len(inside)) - 1
    edges = np.stack([inside[first], inside[last] + 1], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=size_hw[0] * size_hw[1])
    return to_rle({"size": list(size_hw), "counts": counts.tolist()}, size_hw)


def _joined(labels: Iterable[tuple[Any, Label]]) -> list[Label]:
    """Labels with their `group_id`; what has one id and class are parts of one object, as in labelme."""
    found: dict[Any, Label] = {}
    for group, label in labels:
        key = len(found) if group is None else (str(group), label.class_id)
        first = found.get(key)
        if first is not None:
            corners = np.array([first.xyxy, label.xyxy])
            xyxy = [*corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0)]
            outline = _both(first, label)
            crowd = first.crowd or label.crowd
            label = replace(first, xyxy=xyxy, crowd=crowd, segmentation=outline)
        found[key] = label
    return list(found.values())


def _both(first: Label, second: Label) -> Any:
    """The outline of two parts of an object, polygons or run lengths; None where neither has any."""
    if not (first.segmentation or second.segmentation):
        return None
    one, other = (part.segmentation or [_rectangle(part.xyxy)] for part in (first, second))
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    (size_hw,) = {tuple(part["size"]) for part in (one, other) if isinstance(part, dict)}
    return merged_rles([to_rle(one, size_hw), to_rle(other, size_hw)])


def _rectangle(xyxy: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = xyxy
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def _are_corners(points: np.ndarray) -> bool:
    """Whether points (N, 2) are the four corners of an upright box, as X-AnyLabeling writes them."""
    low, high = points.min(axis=0), points.max(axis=0)
    at_high = np.isclose(points, high)
    at_either = at_high | np.isclose(points, low)
    return len(points) == 4 and bool(at_either.all()) and len({*map(tuple, at_high.tolist())}) == 4
