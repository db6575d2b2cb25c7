"""Reading labelled images: the format is detected; folders, zips and split files.

    dataset = load_dataset("images")            # a folder of labelled images
    test = load_dataset("export.zip", "test")   # an export with train, valid and test in it
    valid = load_dataset("split.json", "valid") # what `split_dataset` wrote

A zip is unpacked once, into the cache. A split file says which images belong to which split, without
copies of them:

    {"format": "duckdetect split 1", "data": "../images",
     "splits": {"train": ["a.jpg"], "valid": ["b.jpg"], "test": ["c.jpg"]}}

`data` is a folder or zip, relative to the file's own folder; images are named relative to `data`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from duckdetect.data.dataset import (
    SPLIT_NAMES,
    Dataset,
    Problem,
    Reading,
    ReadOptions,
    Report,
    alike_classes,
    alike_warning,
    current_options,
    join,
    merge_classes,
    noting,
    read_options,
    strict,
)
from duckdetect.data.formats import READERS, coco, csv_table, foreign, places, yolo
from duckdetect.errors import DataWarning, UserError, reason_of
from duckdetect.imaging.kinds import file_kind
from duckdetect.utils.archives import check_unpacked, unzip
from duckdetect.utils.files import cache_folder, file_sha256, make_folder, one_at_a_time, write_json
from duckdetect.utils.outputs import own_output
from duckdetect.utils.progress import DELAY_S, progress_bar
from duckdetect.utils.reading import as_path, noting_files, read_head, refuse_pipes
from duckdetect.utils.schema import is_path, is_unicode, parse_json, short
from duckdetect.utils.words import counted, plural, some_names

_FORMAT = "duckdetect split 1"


@dataclass(frozen=True)
class SplitFile:
    """A split file's content: `data`, and the names of the pictures in each split."""

    data: Path
    splits: dict[str, tuple[str, ...]]


def read_split_file(path: Path) -> SplitFile:
    """Read a split file.

    Raises:
        UserError: If it is no split file, names a picture twice, or names an unknown split.
    """
    content = parse_json(path, "split the data set again")
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UserError(
            f"{path} is no split file (its format is not {_FORMAT!r}): give the folder of labelled "
            "pictures"
        )
    data, splits = content.get("data"), content.get("splits")
    if not isinstance(data, str) or not is_path(data) or not isinstance(splits, dict) or not splits:
        raise UserError(f"{path} lacks `data` or `splits`: split the data set again")
    seen: set[str] = set()
    for split, names in splits.items():
        if split not in SPLIT_NAMES:
            raise UserError(f"{path}: {split!r} is no split: name it train, valid or test")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path}: {split!r} is no list of names: split the data set again")
        for name in names:
            if name in seen:
                raise UserError(f"{path}: {name} is there twice: keep it in one split")
            seen.add(name)
    return SplitFile(path.parent / data, {k: tuple(v) for k, v in splits.items()})


def write_split_file(path: Path, data: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write a split file, atomically, in the place of an older one alone.

    `data` is noted from its folder, so that both can move.
    """
    relative = Path(os.path.relpath(data.resolve(), path.resolve().parent)).as_posix()
    names = {split: list(names) for split, names in splits.items()}
    with own_output(path, "split") as part:
        write_json(part, {"format": _FORMAT, "data": relative, "splits": names})


def image_name(image: Path, data: Path) -> str:
    """A picture's name in a split file of the folder `data`."""
    return Path(os.path.relpath(image, data)).as_posix()


# These say what a folder is, and are no wrapping around it.
_MEANS_SOMETHING = {"images", "labels", "annotations", "jpegimages"}.union(*SPLIT_NAMES.values())


def unpacked(path: Path, depth: int = 0) -> Path:
    """The folder that a zip holds; any other path as it is.

    It lies in the cache (`DUCKDETECT_CACHE`) under the zip's name and check sum, and is unpacked when
    it is first asked for. A single folder around everything is stepped into.

    Raises:
        UserError: If it is damaged, locked by a password, too large, or not to be trusted.
    """
    if not path.is_file() or not (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
        return path
    sha256 = _sum(path.resolve(), path.stat().st_size, path.stat().st_mtime_ns)
    name = re.sub(r"[^\w.-]+", "_", path.stem)[:60]
    folder = make_folder(cache_folder() / "data") / f"{name}-{sha256[:12]}"
    with one_at_a_time(folder):
        if not folder.is_dir():
            unzip(path, folder)
        _check_unpacked(path.resolve(), folder)
    inside = _inside(folder)
    zips = [entry for entry in inside.iterdir() if entry.suffix.lower() == ".zip"]
    if len(zips) == 1 and _is_all(inside, zips[0]):
        if depth == _MOST_ZIPS:
            raise UserError(f"{path} holds zips within zips within zips: give the innermost one")
        return unpacked(zips[0], depth + 1)  # as Drive and some sites pack a download once more
    return inside


_MOST_ZIPS = 2  # one within another; a zip can even hold itself


def _is_all(folder: Path, entry: Path) -> bool:
    """Whether a folder holds nothing else, but for a read-me."""
    return all(p == entry or p.stem.lower().startswith(("readme", "lic")) for p in folder.iterdir())


@functools.lru_cache(maxsize=16)
def _check_unpacked(path: Path, folder: Path) -> None:
    """`check_unpacked`, once a process: a data set's parts are read one by one."""
    check_unpacked(path, folder)


@functools.lru_cache(maxsize=16)
def _sum(path: Path, size: int, mtime_ns: int) -> str:
    """A file's check sum, computed again once its size or time changes."""
    return file_sha256(path)


def _inside(folder: Path) -> Path:
    """Step into a folder that is all there is, but for a read-me."""
    while True:
        entries = [p for p in folder.iterdir() if not p.stem.lower().startswith(("readme", "lic"))]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        if entries[0].name.lower() in _MEANS_SOMETHING:
            return folder
        folder = entries[0]


def load_dataset(
    path: str | Path, split: str | None = None, options: ReadOptions | None = None
) -> Dataset:
    """Read labelled pictures: a folder, a zip or a split file.

    The format is found out, see docs/data.md. Pictures without objects are kept where the labels name
    them (COCO's `images`, an XML file without objects, an image of a YOLO split); pictures that no
    label names are left out.

    Args:
        path: A labelled folder, or one with splits: `train`, `valid`, `test` below it, a COCO file for
            each in `annotations/`, or as `data.yaml` says. A zip of any of these is unpacked once,
            into the cache. A split file takes the pictures it names from where it says; its splits
            share one table of classes. A split's own folder will do, too, also where it is none:
            "export.zip/test", "split.json/test".
        split: Which of them. If None, what the folder itself holds, and where it holds nothing but
            splits, `train`.
        options: What the labels do not say themselves; those of `read_options` if None.

    Raises:
        UserError: At the first thing that is wrong; `check_dataset` lists all of them.

    Warns:
        DataWarning: Of each thing that is suspicious or left out.
    """
    notes: list[Problem] = []
    with contextlib.nullcontext() if options is None else read_options(options):
        dataset = read_dataset(as_path(path, "the data"), split, noting(notes))
    warn_of(notes, [dataset])
    return dataset


def warn_of(notes: list[Problem], parts: Iterable[Dataset | None]) -> None:
    """Issue what labels are warned of for the one who called our caller, and files that are not read."""
    from duckdetect.data.check import left_over  # which imports this

    notes = notes + left_over([part for part in parts if part is not None], unlabelled=False)
    for note in dict.fromkeys(map(str, notes)):
        warnings.warn(note, DataWarning, stacklevel=3)


def load_training(
    path: str | Path,
    val: str | Path | None = None,
    use_valid: bool = True,
    report: Report | None = None,
) -> tuple[Dataset, Dataset | None]:
    """The pictures to train on and those to watch training with.

    Args:
        path: As `load_dataset`.
        val: Labelled pictures to watch with. If None, the `valid` split beside the `train` split that
            `path` holds, if there is one.
        use_valid: Whether that split may be taken.
        report: Told of every problem; if None, they are raised and warned of as by `load_dataset`.

    Raises:
        UserError: As `load_dataset`.
    """
    if report is None:
        notes: list[Problem] = []
        loaded = load_training(path, val, use_valid, noting(notes))
        warn_of(notes, loaded)
        return loaded
    path = as_path(path, "the data")
    parts = list_parts(path)
    own = val is None and use_valid and None not in parts and "valid" in parts
    watch = None if val is None else read_dataset(as_path(val, "val"), None, report)
    train = read_dataset(path, None, report)
    valid = read_dataset(path, "valid", report) if own else watch
    if valid is not None:
        both = _in_both(train, valid)
        if both:
            names = some_names(sorted(both))
            what = counted(len(both), f"pictures are of both train and valid ({names})")
            cure = "what is measured on them says nothing of new ones: give others"
            report(Problem(str(path), what, cure, "warning"))
    return train, valid


def _in_both(train: Dataset, valid: Dataset) -> list[str]:
    """The names of validation pictures that are trained on, too: the same files, or copies of them."""
    first, second = (
        {sample.path: sample.path.stat().st_size for sample in dataset}
        for dataset in (train, valid)
    )
    common = set(first.values()) & set(second.values())

    def marks(sizes: dict[Path, int]) -> dict[Path, tuple[int, int]]:
        """Of few files, as hardly two pictures have one size; what begins alike is the same then."""
        alike = {path: size for path, size in sizes.items() if size in common}
        return {path: (size, hash(read_head(path, 65_536))) for path, size in alike.items()}

    known = set(marks(first).values())
    return [path.name for path, mark in marks(second).items() if mark in known]


def read_dataset(path: Path, split: str | None, report: Report) -> Dataset:
    """`load_dataset` with all problems told to `report`; what has none is returned."""
    with _naming_the_zip(path) as named:

        def told(problem: Problem) -> None:
            report(replace(problem, where=named(problem.where), what=named(problem.what)))

        return _read(path, split, told)


@contextlib.contextmanager
def _naming_the_zip(path: Path) -> Iterator[Callable[[str], str]]:
    """What is said of a zip: the user knows it, and not where in the cache it is unpacked."""
    folder = unpacked(path)

    def named(text: str) -> str:
        return text.replace(str(folder), str(path))

    try:
        yield named
    except UserError as error:
        if folder == path:
            raise
        raise UserError(named(str(error))) from error


def _read(
    path: Path,
    split: str | None,
    report: Report,
    root: Path | None = None,
    below: str | None = None,
    beside: tuple[Path, ...] = (),
) -> Dataset:
    if split is not None and not isinstance(split, str):
        raise UserError(f"the split is {split!r}: give one name, such as 'train'")
    parts = _parts(path)
    if split is None:
        part = parts.get(None) or parts.get("train")
    else:
        itself = path.resolve().name.lower() in SPLIT_NAMES.get(split, ())
        part = parts.get(split) or (parts.get(None) if itself else None)
    if part is None:
        splits = ", ".join(name for name in parts if name is not None)
        cure = f"give one of {splits}" if splits else "leave the split out to read all of it"
        raise UserError(f"{path} has no split {split or 'train'!r}: {cure}")
    root = root or part.root
    if part.below is not None and below is None:
        what = f"its labels lie in {part.below}"
        report(Problem(str(path), what, "they are read from there", "warning"))
    if part.below is None and unpacked(path).is_dir():
        _report_hidden(part.root, parts, report)
    if part.read is None:
        return _read(part.source, None, report, root, part.below, (*beside, *part.beside))
    reading = Reading(root, report, (*beside, *part.beside))
    if part.source != path:  # else the user has named the file itself
        reading.inside(part.source)
    with progress_bar(
        desc="reading labels", unit="picture", delay=DELAY_S, leave=False
    ) as reading.bar:
        with noting_files() as read:
            dataset = _read_part(part, reading)
        dataset = _checked(dataset, reading)
    if part.split is None and len(found := _split_folders(dataset, root)) > 1:
        what = (
            f"its pictures lie in folders of several splits ({some_names(found)}), and are one set"
        )
        cure = "export labels for each split, or divide the set again with `duckdetect split`"
        report(Problem(str(root), what, cure, "warning"))
    return replace(dataset, options=reading.options, label_files=dataset.label_files | read)


def _split_folders(dataset: Dataset, root: Path) -> list[str]:
    """The names of the folders below `root` that mean splits, and in which its pictures lie; one each."""
    folders = {sample.path.parent for sample in dataset.samples}
    names = {p for f in folders if f.is_relative_to(root) for p in f.relative_to(root).parts}
    found = {split: n for n in sorted(names) if (split := places.split_named(n))}
    return sorted(found.values())


def _report_hidden(path: Path, parts: Mapping[str | None, _Part], report: Report) -> None:
    """Folders below with labels of their own, of no split, or which this folder's would hide."""
    mean_something = {*places.IMAGE_FOLDERS, *places.LABEL_FOLDERS}
    mean_something |= {name for split in parts if split for name in SPLIT_NAMES[split]}
    # Of two folders that are called as one split, train and Train, one is read.
    folders = {split: part.source for split, part in parts.items() if split and part.read is None}
    named = {name for split in folders for name in SPLIT_NAMES[split]}
    for folder in places.locked(path):
        what = "is not looked into for labels: it may not be read"
        report(Problem(str(folder), what, "change its permissions if it holds any", "warning"))
    below = places.children(path)
    listed = any(part.source.name.lower() == yolo.LISTS for part in parts.values())
    for folder in below[:_MOST_FOLDERS]:
        name = folder.name.lower()
        if folder in folders.values() or (name in mean_something and name not in named):
            continue
        if listed and re.fullmatch(r"obj_\w+_data", name):  # CVAT's, which the lists name
            continue
        texts = itertools.islice(yolo.text_labels(folder), _FEW_TEXTS)
        if _has_labels(folder) or any(map(yolo.looks_like_labels, texts)):
            what = "has labels of its own, which are left out"
            cure = "give that folder for them, or move them up to have both"
            report(Problem(str(folder), what, cure, "warning"))
    if len(below) > _MOST_FOLDERS:
        what = f"{len(below) - _MOST_FOLDERS} folders here were not looked into for labels of their own"
        report(Problem(str(path), what, "give each that has any", "warning"))


def _read_part(part: Any, reading: Reading) -> Dataset:
    try:
        dataset: Dataset = part.read(part.source, part.split, reading)
    except (ValueError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        # Numbers that no float holds, or of more digits than Python reads.
        reason = reason_of(error, 100)
        raise UserError(
            f"{part.source} cannot be read ({reason}): export the labels again"
        ) from error
    for number, name in enumerate(dataset.classes):
        if not name.strip() or not is_unicode(name):
            # No detector could be saved with it.
            what = f"class {number} is named {name!r}, which is no name"
            reading(Problem(str(part.source), what, "give it one, or drop the class"))
    return dataset


def find_splits(path: Path) -> dict[str, Path]:
    """The splits of a folder, `train`, `valid` and `test`: each one's folder or file of labels."""
    return {name: part.source for name, part in _parts(path).items() if name is not None}


def list_parts(path: Path) -> list[str | None]:
    """What `read_dataset` can read in a folder: its splits, and None for labels of its own."""
    with _naming_the_zip(path):
        return list(_parts(path))


def holds_labels(path: Path) -> bool:
    """Whether labels can be read there, good or bad ones; a folder named `test` alone is none."""

    def passed(problem: Problem) -> None:
        """All that counts is that there is something."""

    try:
        own = _own_parts(path) if path.is_dir() else {}
        return any(len(read_dataset(path, name, passed)) > 0 for name in own)
    except UserError:
        return False


def _read_split(source: Path, split: str | None, reading: Reading) -> Dataset:
    """The pictures that a split file names, out of all that its data set holds."""
    file = read_split_file(source)
    data = unpacked(file.data)
    if data.is_file():  # itself, perhaps
        raise UserError(f"{source}: its data {file.data} are no folder: split the data set again")
    # By the zip's own name, if it is one: messages know of no cache then.
    whole = join([read_dataset(file.data, name, reading.report) for name in list_parts(file.data)])
    samples = {image_name(sample.path, data): sample for sample in whole}
    wanted = file.splits[split or "train"]
    for name in wanted:
        if name not in samples:
            what = f"the picture {name!r} is not among those of {file.data}"
            reading(Problem(str(source), what, "put it back, or split the data set again"))
    left = samples.keys() - {name for names in file.splits.values() for name in names}
    if left:
        what = counted(len(left), f"pictures are in no split ({some_names(sorted(left))})")
        cure = "split the data set again to use them"
        reading(Problem(str(source), what, cure, "warning"))
    found = tuple(samples[name] for name in wanted if name in samples)
    return replace(whole, root=source, samples=found)


class _Part(NamedTuple):
    """One split: its reader (None: `source` is a folder that is yet to be looked into) and sources.

    `root` is the folder that its pictures must lie in, or in those of `beside`; `below` what of the path
    was not given.
    """

    read: Callable[[Path, str | None, Reading], Dataset] | None
    source: Path
    split: str | None
    root: Path
    below: str | None = None
    beside: tuple[Path, ...] = ()


def _parts(path: Path) -> dict[str | None, _Part]:
    """All that can be read in a folder by split; None stands for what the folder itself holds."""
    if not path.exists():
        return _named_split(path)
    if path.is_file() and path.suffix.lower() == ".json":
        if _is_coco(path):
            return {None: _Part(coco.read, path, None, path.parent, beside=_beside(path.parent))}
        splits = read_split_file(path).splits
        return {split: _Part(_read_split, path, split, path.parent) for split in splits}
    path = unpacked(path)
    if not path.is_dir():
        refuse_pipes(path)
        kind = file_kind(path).name
        what, cure = "is a file", "give the folder of labelled pictures, or a zip of it"
        if kind == "a zip":
            what, cure = "is a zip that is not whole", "export or download it again"
        elif kind.endswith("archive"):
            what, cure = f"is {kind}", "unpack it and give the folder"
        raise UserError(f"{path} {what}: {cure}")
    return _own_parts(path) or _of_parent(path) or _parts_below(path) or _nothing(path)


def _beside(folder: Path) -> tuple[Path, ...]:
    """Folders of pictures beside a folder of labels; nothing else of its parent is the data set's."""
    if folder.resolve().name.lower() not in places.LABEL_FOLDERS:
        return ()
    names = {*places.IMAGE_FOLDERS, *(n for names in SPLIT_NAMES.values() for n in names)}
    return tuple(p for p in places.children(folder.resolve().parent) if p.name.lower() in names)


def _is_coco(path: Path) -> bool:
    content = places.content_of(path)
    return isinstance(content, dict) and {"images", "categories"} <= content.keys()


def _own_parts(path: Path, surely: bool = False) -> dict[str | None, _Part]:
    """What a folder holds itself, and its folders of splits; `surely`: only those with labels."""
    beside = _beside(path)
    parts: dict[str | None, _Part] = {}
    for reader in READERS:
        if found := reader.find(path):
            parts = {
                split: _Part(reader.read, source, split, path, beside=beside)
                for split, source in found.items()
            }
            break
    labelled = bool(parts)
    for folder in places.children(path):
        split = places.split_named(folder.name)
        # Beside labels of its own, a folder may hold one of this name that means something else.
        if (
            split is not None
            and split not in parts
            and (_has_labels(folder) or not (labelled or surely))
        ):
            parts[split] = _Part(None, folder, None, path, beside=beside)
    return {s: parts[s] for s in (None, *SPLIT_NAMES) if s in parts}


def _named_split(path: Path) -> dict[str | None, _Part]:
    """`export.zip/test` and the like: a split that is no folder of its own."""
    for split, names in SPLIT_NAMES.items():
        if path.name.lower() in names and path.parent.exists():
            part = _parts(path.parent).get(split)
            if part is not None:
                return {None: part}
    raise UserError(f"{path} is not there: give a folder of labelled pictures")


def _has_labels(folder: Path) -> bool:
    return any(reader.find(folder) for reader in READERS)


def _of_parent(path: Path) -> dict[str | None, _Part]:
    """YOLO's settings lie above its splits."""
    path = path.resolve()
    for split, source in yolo.find(path.parent).items():
        if split is not None and path.name.lower() in SPLIT_NAMES[split]:
            return {None: _Part(yolo.read, source, split, path.parent)}
    return {}


_DEPTH = 3  # folders further down are not searched for labels
_MOST_FOLDERS = 1000
_FEW_TEXTS = 3  # the first may be notes


def _parts_below(path: Path) -> dict[str | None, _Part]:
    """The labels of the one folder below that has any (`VOCdevkit/VOC2007`, a download's top folder)."""
    level = [path]
    for _ in range(_DEPTH):
        level = [below for folder in level for below in places.children(folder)]
        looked = level[:_MOST_FOLDERS]
        found = {folder: parts for folder in looked if (parts := _own_parts(folder, surely=True))}
        if len(found) > 1:
            names = ", ".join(folder.relative_to(path).as_posix() for folder in list(found)[:5])
            raise UserError(f"{path} holds several folders of labels ({names}): give one of them")
        if len(level) > len(looked):
            raise UserError(
                f"{path} holds {len(level)} folders that may have labels, more than are looked into: "
                "give the one that has"
            )
        for folder, parts in found.items():
            below = folder.relative_to(path).as_posix()
            return {split: part._replace(root=path, below=below) for split, part in parts.items()}
    return {}


def _nothing(path: Path) -> dict[str | None, _Part]:
    """Raise UserError: it says why what looks like labels is none."""
    known = foreign.recognise(path)
    if known is not None:
        file, name = known
        raise UserError(f"{file} is {name}, which is not read: export the labels as COCO")
    for table in places.listed(path, (".csv",)):
        if (what := csv_table.lacking(table)) is not None:
            cure = "give corners in pixels (xmin, ymin, xmax, ymax), or export COCO"
            raise UserError(f"{table} {what}: {cure}")
    files = coco.json_files(path)
    if len(files) == 1:
        coco.parse(files[0])  # raises: it says why the one file that may hold labels does not
    texts = [file for file in yolo.text_labels(path) if yolo.looks_like_labels(file)]
    if texts:
        example = texts[0].relative_to(path).as_posix()
        raise UserError(
            f"{path} holds YOLO labels ({example}{' ...' if len(texts) > 1 else ''}), but no names of "
            f"classes: write them into {path / 'classes.txt'}, one a line"
        )
    zips = [entry.name for entry in sorted(path.iterdir()) if entry.suffix.lower() == ".zip"]
    if zips:
        raise UserError(f"{path} holds no labels, but {', '.join(zips[:3])}: give {path / zips[0]}")
    if tables := places.listed(path, (".csv",)):
        raise UserError(
            f"{path} holds no labels, but the table {tables[0].name}: its first line must name the "
            "columns filename, xmin, ymin, xmax, ymax and class"
        )
    raise UserError(
        f"{path} holds no labels (_annotations.coco.json, data.yaml or XML files): "
        "draw boxes with duckdetect.annotate, or give a labelled folder"
    )


def require_dataset(given: object) -> None:
    """Raise UserError if something is no data set, such as the path of one."""
    if not isinstance(given, Dataset):
        raise UserError(f"{given!r} is no Dataset: give what `load_dataset` returns")


def require_boxes(dataset: Dataset) -> None:
    """Raise UserError if there is nothing to learn: no picture, or no box in any of them."""
    require_dataset(dataset)
    if not dataset.samples:
        raise UserError(f"{dataset.root} holds no labelled picture: draw boxes on some first")
    if not any((~sample.crowd).any() for sample in dataset.samples):
        raise UserError(
            f"{dataset.root} has no box in any of its {plural(len(dataset), 'picture')}: "
            "draw boxes around the object with duckdetect.annotate"
        )


def describe_dataset(dataset: Dataset) -> list[str]:
    """A few lines for people: pictures, boxes, classes, sizes."""
    require_dataset(dataset)
    empty = sum(len(s.class_id) == 0 for s in dataset.samples)
    lines = [
        f"{plural(len(dataset), 'picture')}, {plural(dataset.n_boxes, 'box')}, "
        f"{plural(empty, 'picture')} without a box"
    ]
    counts = Counter(int(c) for s in dataset.samples for c in s.class_id)
    width = max((len(name) for name in dataset.classes), default=0)
    lines += [f"  {name:<{width}}  {counts[i]}" for i, name in enumerate(dataset.classes)]
    parts = [
        np.sqrt(np.prod(s.xyxy[:, 2:] - s.xyxy[:, :2], axis=1) / np.prod(s.size_hw))
        for s in dataset.samples
    ]
    if dataset.n_boxes:
        low, middle, high = np.quantile(np.concatenate(parts), [0, 0.5, 1])
        lines.append(
            f"box sides, of the picture's: {low:.0%} to {high:.0%}, half of them over {middle:.0%}"
        )
        areas = np.concatenate(
            [np.prod(s.xyxy[:, 2:] - s.xyxy[:, :2], axis=1) for s in dataset.samples]
        )
        small, large = int((areas < 32**2).sum()), int((areas >= 96**2).sum())
        lines.append(
            f"box areas, as COCO counts: {small} small (under 32x32 pixels), "
            f"{len(areas) - small - large} medium, {large} large (96x96 or more)"
        )
    return lines


_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _checked(dataset: Dataset, reading: Reading) -> Dataset:
    """Tell of what only the whole shows: names that are there twice, classes alike, turned pictures."""
    # By the whole path: frames of two cameras often have the same names, in a folder for each.
    for path, count in Counter(sample.path for sample in dataset.samples).items():
        if count > 1:
            what = f"{count} entries are named {path.name}"
            cure = "give each picture a name of its own, labelled once"
            reading(Problem(str(dataset.root), what, cure))
    if reading.turned:
        n, names = len(reading.turned), some_names(reading.turned)
        what = (
            f"EXIF turns {n} {'picture' if n == 1 else 'pictures'} ({names}), and the labels do not "
            "tell whether they were drawn on the turned pictures; LabelImg draws on the stored ones"
        )
        cure = "look at `check --sheet`: if the boxes lie astray there, give --labels-as-stored"
        reading.warn(dataset.root, what, cure)
    if odd := [name for name in dataset.classes if _CONTROLS.search(name)]:
        what = f"the name of class {short(odd[0])} has a control character or line break in it"
        reading(Problem(str(dataset.root), what, "rename the class"))
    if reading.options.merge_classes:
        return merge_classes(dataset, reading.options.spellings)
    for group in alike_classes(dataset.classes):
        reading.warn(dataset.root, *alike_warning(group))
    return dataset


def data_sha256(dataset: Dataset) -> str:
    """The SHA-256 of the pictures' bytes, boxes, classes and outlines, as config.json holds it.

    Raises:
        UserError: If a picture cannot be read.
    """
    digest = hashlib.sha256()
    for sample in progress_bar(
        dataset.samples, "check sum", unit="picture", delay=DELAY_S, leave=False
    ):
        try:
            digest.update(sample.path.read_bytes())
        except OSError as error:
            raise UserError(
                f"{sample.path} cannot be read ({error.strerror}): put the picture back"
            ) from error
        for array in (sample.xyxy, sample.class_id, sample.crowd):
            digest.update(np.ascontiguousarray(array).tobytes())
        if len(sample.hard_negatives) or not sample.whole:
            digest.update(bytes([sample.whole]) + sample.hard_negatives.tobytes())
        if sample.segmentation is not None:
            digest.update(json.dumps(sample.segmentation, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def recorded_places(record: Mapping[str, Any], run: Path | None = None) -> list[Path]:
    """Where the data set of a record `{"folder", "path"}` may be: those places that hold labels.

    Args:
        record: From `describe_data`. 0.1.0 had no `path`.
        run: The folder that the record lies in: a relative `folder` may be meant from one above it.
    """
    folder = Path(str(record.get("folder", "")))
    above = (
        [] if run is None or folder.is_absolute() else [p / folder for p in run.resolve().parents]
    )
    places = [folder, *([Path(str(record["path"]))] if record.get("path") else []), *above]
    return [place for place in dict.fromkeys(places) if _is_labelled(place)]


def _is_labelled(path: Path) -> bool:
    try:
        return bool(list_parts(path))
    except (UserError, OSError, ValueError):  # a name that no file can have
        return False


def find_again(record: Mapping[str, Any], run: Path | None = None) -> Dataset | None:
    """The data set of a record with its `sha256`, None if it is gone, broken or changed.

    A record may name a split's folder, or what holds the splits: each is tried. Arguments as
    `recorded_places` has them.
    """
    with as_recorded(record):
        for place in recorded_places(record, run):
            for split in list_parts(place):
                try:
                    dataset = read_dataset(place, split, strict)
                    if data_sha256(dataset) == record.get("sha256"):
                        return dataset
                except UserError:
                    continue
    return None


@contextlib.contextmanager
def as_recorded(record: Mapping[str, Any]) -> Iterator[None]:
    """Read labels as those of a record were read: in stored pixels, classes merged.

    Folders outside are not restored: only the user may allow them, and a run may be a stranger's.
    """
    given, noted = current_options(), record.get("options")
    noted = noted if isinstance(noted, dict) else {}
    options = replace(
        given,
        labels_as_stored=given.labels_as_stored or noted.get("labels_as_stored") is True,
        merge_classes=given.merge_classes or noted.get("merge_classes") is True,
    )
    with read_options(options):
        yield


def is_of_record(path: Path, record: Mapping[str, Any], run: Path | None = None) -> bool:
    """Whether a data set is a record's own, one of its splits, or what holds them."""
    own = path.resolve()
    places = [place.resolve() for place in recorded_places(record, run)]
    return any(
        own in (place, place.parent) or own.parent in (place, place.parent) for place in places
    )


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """Where a data set lies, its size, and a fingerprint of its pictures and labels.

    `folder` is as the user named it, from the folder that he worked in; `path` is absolute; `options`, if
    there are any, are what the user said of its labels (`as_recorded`).
    """
    options = dataset.options or current_options()
    said = {name: True for name in ("labels_as_stored", "merge_classes") if getattr(options, name)}
    return {
        "folder": str(dataset.root),
        "path": str(dataset.root.resolve()),
        "pictures": len(dataset),
        "boxes": dataset.n_boxes,
        "sha256": data_sha256(dataset),
        **({"options": said} if said else {}),
    }
