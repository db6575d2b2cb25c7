"""YOLO: a text file of normalised labels for each image; read and written.

A line is `class x_centre y_centre width height` or, for a polygon, `class x1 y1 x2 y2 x3 y3 ...`, all
as parts of the image's width and height. An image without a text file, or with an empty one, has
no object. The classes and images are listed by

    data.yaml                                     Roboflow, Ultralytics, CVAT
    images/a.jpg  labels/a.txt  classes.txt       Label Studio
    a.jpg  a.txt  classes.txt                     LabelImg
    obj.data  obj.names  train.txt  obj_train_data/a.jpg  obj_train_data/a.txt     CVAT's YOLO 1.1

The writer is our own and not supervision's (0.31): that rounds to five decimals, a fortieth of a pixel in
an image of 4,000, draws outlines as pixels and traces them again, without three quarters of their
points, and makes a separate object of each part.
"""

from __future__ import annotations

import codecs
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from duckdetect.data.dataset import (
    SPLIT_NAMES,
    Dataset,
    Label,
    Problem,
    Report,
    Sample,
    make_sample,
)
from duckdetect.errors import UserError
from duckdetect.imaging.io import image_size_hw, list_images, natural_key
from duckdetect.utils.schema import read_yaml

CLASS_FILES = ("classes.txt", "obj.names")

"""What LabelImg and Label Studio, and CVAT, name the list of classes."""


def read_images(
    root: Path, classes: tuple[str, ...], images: Sequence[Path], report: Report
) -> Dataset:
    """Read the labels of pictures, each from `labels` in place of `images` in its path, or beside it."""
    by_folder: dict[Path, list[Path]] = {}
    for image in images:
        by_folder.setdefault(image.parent, []).append(image)
    places = {folder: _labels_folder(folder) for folder in by_folder}
    for folder, of_folder in by_folder.items():
        _report_left_over(of_folder, folder, places[folder], report)
    samples: list[Sample] = []
    for image in images:
        labels = _labels(image, places[image.parent], len(classes), report)
        sample = make_sample(image, len(samples) + 1, None, labels, report)
        if sample is not None:
            samples.append(sample)
    return Dataset(root, classes, tuple(samples))


def read_text(path: Path) -> str:
    """A text file's content, with or without a byte order mark."""
    content = path.read_bytes()
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8-sig", errors="replace")


def _labels_folder(folder: Path) -> Path:
    """`labels` in place of the last `images` of the pictures' folder, or that folder itself."""
    if "images" not in folder.parts:
        return folder
    last = len(folder.parts) - 1 - folder.parts[::-1].index("images")
    beside = Path(*folder.parts[:last], "labels", *folder.parts[last + 1 :])
    return beside if beside.is_dir() else folder


def _report_left_over(
    images: list[Path], folder: Path, labels_folder: Path, report: Report
) -> None:
    """Tell of labels without a picture, pictures that share one, and of no labels at all."""
    if not any((labels_folder / f"{image.stem}.txt").is_file() for image in images):
        what = f"none of its {len(images)} pictures has a text file of labels"
        report(Problem(str(folder), what, "put them beside the pictures or in `labels`"))
    counts = Counter(image.stem for image in images)
    for image in images:
        if counts[image.stem] > 1 and (labels_folder / f"{image.stem}.txt").is_file():
            what = f"shares its labels {image.stem}.txt with another picture"
            report(Problem(str(image), what, "rename one, with labels of its own"))
    if labels_folder != folder:  # among the pictures, a text file may be anything
        for path in sorted(labels_folder.glob("*.txt"), key=natural_key):
            if path.stem not in counts and path.name not in CLASS_FILES:
                what = f"has no picture in {folder}"
                report(Problem(str(path), what, "put the picture there, or remove its labels"))


def _labels(image: Path, folder: Path, n_classes: int, report: Report) -> list[Label]:
    path = folder / f"{image.stem}.txt"
    if not path.is_file():
        return []
    try:
        height, width = image_size_hw(image)
    except UserError:
        return []  # make_sample tells of the picture
    text = read_text(path)
    scale = np.array([width, height], float)
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        problem, label = _parse_line(where, line, n_classes, scale)
        if problem:
            report(problem)
        if label:
            found.append(label)
    return found


def _parse_line(
    where: str, line: str, n_classes: int, scale: np.ndarray
) -> tuple[Problem | None, Label | None]:
    fields = line.split()
    try:
        # Some tools write the class as 0.0.
        class_number, values = float(fields[0]), np.array([float(v) for v in fields[1:]])
    except ValueError:
        return Problem(where, f"{line[:60]!r} is not all numbers", "export it again"), None
    if not (class_number.is_integer() and 0 <= class_number < n_classes):
        what = f"there is no class {fields[0]} (there are {n_classes}, from 0)"
        return Problem(where, what, "mend the number or add the name to data.yaml"), None
    class_id = int(class_number)
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        what = f"has {len(values)} numbers after the class"
        return Problem(where, what, "give 4 for a box, or pairs for 3 or more points"), None
    if not np.isfinite(values).all() or (values < -0.02).any() or (values > 1.02).any():
        return Problem(where, "a coordinate is not from 0 to 1", "export it normalised"), None
    if len(values) == 4:
        centre, size = values[:2] * scale, values[2:] * scale
        return None, Label(where, [*(centre - size / 2), *(centre + size / 2)], class_id)
    points = values.reshape(-1, 2) * scale
    xyxy = [*points.min(axis=0), *points.max(axis=0)]
    return None, Label(where, xyxy, class_id, segmentation=[points.ravel().tolist()])


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
    images: dict[Path, None] = {}  # in order, each once
    for place in _places(source, settings, split or "train"):
        listed = place.is_file()
        found = listed_images(place, base, report) if listed else list_images(place)
        images |= dict.fromkeys(found)
    return read_images(source.parent, settings["names"], list(images), report)


def _settings(source: Path) -> dict[str, Any]:
    """The YAML file's content, its `names` a tuple."""
    settings = read_yaml(source, "export the labels again")
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


def listed_images(path: Path, base: Path, report: Report) -> list[Path]:
    """The pictures that a text file of paths names, as CVAT exports them; tells of missing ones."""
    images = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if name := line.strip().replace("\\", "/"):
            image = find_file((base, path.parent), name)
            if image is None:
                what = f"the picture {name!r} is missing"
                cure = "export the labels with their pictures, or remove the line"
                report(Problem(f"{path}, line {number}", what, cure))
            else:
                images.append(image)
    return images


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


_LISTS = "obj.data"


def find_plain(folder: Path) -> dict[str | None, Path]:
    """The file that says what there is, by split; None where there are none."""
    if (folder / _LISTS).is_file():
        settings = _plain_settings(folder / _LISTS)
        splits = [s for s, names in SPLIT_NAMES.items() if any(name in settings for name in names)]
        return dict.fromkeys(splits or ["train"], folder / _LISTS)
    for name in CLASS_FILES:
        # A list of classes alone says little: other tools write one, too.
        if (folder / name).is_file() and any(
            path.name not in CLASS_FILES
            for place in (folder, folder / "labels")
            for path in place.glob("*.txt")
        ):
            return {None: folder / name}
    return {}


def read_plain(source: Path, split: str | None, report: Report) -> Dataset:
    """Read the pictures of a folder with `classes.txt`, or one split of `obj.data`."""
    folder = source.parent
    if source.name != _LISTS:
        places = folder / "images"
        images = list_images(places if places.is_dir() else folder)
        return read_images(folder, _class_names(source), images, report)
    settings = _plain_settings(source)
    listed = next((settings[n] for n in SPLIT_NAMES[split or "train"] if n in settings), None)
    if listed is None:
        raise UserError(f"{source} names no list of pictures (train = train.txt): export it again")
    names = folder / settings.get("names", "obj.names").replace("\\", "/").rpartition("/")[2]
    if not names.is_file():
        raise UserError(f"{names} is missing: export the labels again")
    path = find_file([folder], listed.replace("\\", "/"))
    if path is None:
        raise UserError(f"{source}: the list {listed!r} is missing: export the labels again")
    images = listed_images(path, folder, report)
    return read_images(folder, _class_names(names), images, report)


def _class_names(path: Path) -> tuple[str, ...]:
    lines = [line.strip() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:  # an empty line between others keeps its number
        lines.pop()
    if not lines:
        raise UserError(f"{path} is empty: write a class name a line")
    return tuple(lines)


def _plain_settings(path: Path) -> dict[str, str]:
    """Lines of `key = value`."""
    pairs = (line.partition("=") for line in read_text(path).splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


# What is read back is kept in single precision: nine decimals are finer than that.
_DECIMALS = 9


def write_settings(folder: Path, classes: Sequence[str], folders: Mapping[str, str]) -> None:
    """Write `data.yaml`.

    Args:
        folder: Where.
        classes: Their names by class id.
        folders: For `train`, `valid` and `test` the folder of pictures, from the file's own.

    Raises:
        UserError: If there is no class: nothing reads such a file.
    """
    if not classes:
        raise UserError(f"{folder.name} would have no class, which YOLO needs: label a box")
    keys = {"train": "train", "valid": "val", "test": "test"}
    settings: dict[str, Any] = {keys[split]: folder for split, folder in folders.items()}
    settings |= {"nc": len(classes), "names": list(classes)}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def write(folder: Path, dataset: Dataset, file_names: Sequence[str]) -> Counter[str]:
    """Write a text file for each picture, an empty one where there is no object.

    Args:
        folder: The split's; the files go into `labels` below it.
        dataset: What to write.
        file_names: For each sample the name of its picture.

    Returns:
        What the format cannot hold, and how often that was met.
    """
    labels = folder / "labels"
    labels.mkdir()
    lost: Counter[str] = Counter()
    for sample, name in zip(dataset.samples, file_names, strict=True):
        size_wh = np.array(sample.size_hw[::-1], float)
        outlines = sample.segmentation or [None] * len(sample.class_id)
        lines = []
        for xyxy, class_id, crowd, outline in zip(
            sample.xyxy.astype(float), sample.class_id, sample.crowd, outlines, strict=True
        ):
            if crowd:
                # Written, it would be learnt as one object; Ultralytics leaves them out as well.
                lost["crowd or difficult boxes are left out: YOLO cannot mark them"] += 1
                continue
            points = None
            if isinstance(outline, dict):
                lost["masks of run lengths are left out, their boxes kept: YOLO has none"] += 1
            elif outline:
                points = _one_outline(outline, size_wh)
                lost["outlines of several parts are joined by lines: YOLO holds one part"] += (
                    len(outline) > 1
                )
            if points is None:
                values = np.concatenate([(xyxy[:2] + xyxy[2:]) / 2, xyxy[2:] - xyxy[:2]])
                values /= np.tile(size_wh, 2)
            else:
                values = (points / size_wh).ravel()
                extent = np.concatenate([points.min(axis=0), points.max(axis=0)])
                lost["boxes move by over a pixel: YOLO takes them from the outlines"] += bool(
                    np.abs(extent - xyxy).max() > 1
                )
            numbers = [np.format_float_positional(v, _DECIMALS, trim="-") for v in values]
            lines.append(f"{class_id} {' '.join(numbers)}\n")
        (labels / f"{Path(name).stem}.txt").write_text("".join(lines), encoding="utf-8")
    return lost


def _one_outline(polygons: Sequence[Sequence[float]], size_wh: np.ndarray) -> np.ndarray | None:
    """The polygons inside the picture, joined into one: (N, 2) pixels, None if no area is left.

    A part is joined where it comes nearest, by a line there and back that has no area. All parts
    turn the same way round, so that the area of the whole is the sum of theirs.
    """
    parts = [np.clip(np.array(p, float).reshape(-1, 2), 0, size_wh) for p in polygons]
    parts = [part for part in parts if _area(part) != 0]
    if len(parts) < 2:
        return parts[0] if parts else None
    parts = [part if _area(part) > 0 else part[::-1] for part in parts]
    whole = parts[0]
    for part in parts[1:]:
        distance = np.linalg.norm(whole[:, None] - part[None], axis=2)  # (N, M)
        here, there = np.unravel_index(int(distance.argmin()), distance.shape)
        ring = np.concatenate([part[there:], part[: there + 1]])
        whole = np.concatenate([whole[: here + 1], ring, whole[here:]])
    return whole


def _area(points: np.ndarray) -> float:
    """With a sign: positive if the points turn from x to y."""
    x, y = (points - points[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
