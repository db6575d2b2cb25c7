"""Pascal VOC: an XML file for each picture, beside it or in `Annotations/`, with splits in `ImageSets/`.

Coordinates are kept as they stand. VOC itself counts pixels from 1, LabelImg and Roboflow from 0;
the files do not say which, and a pixel is within the accuracy of drawn boxes.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from duckdetect.data.dataset import (
    NORMALISED,
    SPLIT_NAMES,
    Dataset,
    Label,
    Problem,
    Reading,
    Sample,
    are_normalised,
    make_sample,
)
from duckdetect.data.formats.places import children, split_named
from duckdetect.data.names import MissingError, NamingError
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import turned_box_xyxy
from duckdetect.imaging.io import natural_key
from duckdetect.imaging.kinds import IMAGE_SUFFIXES, is_hidden
from duckdetect.utils.reading import decoded, read_bytes
from duckdetect.utils.words import counted, some_names

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LABEL_FOLDERS = ("annotations", "annotation", "labels", "xml", "xmls")
_IMAGE_FOLDERS = ("jpegimages", "images", "image", "imgs", "img", "data", "pictures", "photos")


def find(folder: Path) -> dict[str | None, Path]:
    """The folder itself, for None or for the splits that `ImageSets/Main` or its folders name."""
    files = xml_files(folder)
    if not files:
        return {}
    splits = list(_image_sets(folder)) or list(_split_folders(files))
    return {split: folder for split in splits} if splits else {None: folder}


def read(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read a folder of VOC files, or one split of it; classes are in alphabetical order."""
    parsed: list[tuple[Path, Element]] = []
    files = xml_files(source)
    files = _of_split(source, files, split, reading) if split is not None else files
    files = reading.all_inside(files)
    if split is None and (lists := _list_files(source)):
        named = ", ".join(path.name for path in lists[:3])
        what = f"the lists of ImageSets/Main ({named}) are named after no split"
        reading.warn(
            source, what, "all XML files are read: name the lists train.txt, val.txt, test.txt"
        )
    for path in files:
        try:
            root = _parse(path)
        except UserError as error:
            reading(Problem.of(error, path))
            continue
        if root.tag != "annotation":
            known = {"annotations": "CVAT's own XML", "dataset": "dlib's XML"}.get(root.tag)
            what = f"is {known or f'<{root.tag}>'}, not VOC"
            cure = "export the labels as COCO" if known else "export the labels as VOC"
            reading(Problem(str(path), what, cure))
            continue
        parsed.append((path, root))
    names = {
        _name(entry)
        for _, root in parsed
        for entry in root.iter("object")
        if not _is_deleted(entry)
    }
    classes = tuple(sorted(names - {""}))
    class_ids = {name: i for i, name in enumerate(classes)}
    samples: list[Sample] = []
    read_labels: list[Label] = []
    places: dict[Path, list[Path]] = {}  # to list folders for each file takes hours
    image_folders = functools.cache(_image_folders)
    for path, root in parsed:
        if path.parent not in places:
            places[path.parent] = _places(source, path.parent, image_folders)
        image = _image(path, root, places[path.parent], reading)
        if image is None:
            continue
        labels = [
            label
            for number, entry in enumerate(root.iter("object"), 1)
            if not _is_deleted(entry)
            and (label := _label(f"{path}, object {number}", entry, class_ids, reading))
        ]
        read_labels += labels
        size = (_whole(root, "size/height"), _whole(root, "size/width"))
        declared = (size[0], size[1]) if size[0] and size[1] else None
        # LabelImg draws on the stored pixels, and its sizes do not tell where the sides are equal
        # or the picture stands on its head.
        told = root.findtext("source/database", "").strip() != "Unknown"
        sample = make_sample(image, len(samples) + 1, declared, labels, reading, told)
        if sample is not None:
            samples.append(sample)
    if are_normalised(read_labels):
        reading(Problem(str(source), *NORMALISED))
    return Dataset(source, classes, tuple(samples))


def xml_files(folder: Path) -> list[Path]:
    """The XML files of a folder: its own, and those of `Annotations`, `labels` and the like and below."""
    found = _xml_in(folder)
    for place in children(folder):
        if place.name.lower() in _LABEL_FOLDERS:
            found += _xml_in(place) + [x for below in children(place) for x in _xml_in(below)]
    return found


def _xml_in(folder: Path) -> list[Path]:
    found = (p for p in folder.glob("*.[xX][mM][lL]") if not is_hidden(p))
    return sorted(found, key=natural_key)


def _image_sets(folder: Path) -> dict[str, list[Path]]:
    """The lists of `ImageSets/Main` by split: `train.txt`, or `duck_train.txt` for each class."""
    files = _list_files(folder)
    lists: dict[str, list[Path]] = {}
    for split, names in SPLIT_NAMES.items():
        own = [path for path in files if path.stem.lower() in names]
        of_classes = [p for p in files if p.stem.lower().rpartition("_")[2] in names]
        if own or of_classes:
            lists[split] = own or of_classes
    return lists


def _list_files(folder: Path) -> list[Path]:
    main = next(
        (below for place in children(folder) if place.name.lower() == "imagesets"
         for below in children(place) if below.name.lower() == "main"),
        None,
    )  # fmt: skip
    return sorted(main.glob("*.[tT][xX][tT]")) if main is not None else []


def _split_folders(files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files by the split that their folder is named after, where there is one of `train`.

    Others beside these are of no split; without `train`, all are of the folder itself.
    """
    by_split: dict[str, list[Path]] = {}
    for path in files:
        split = split_named(path.parent.name)
        if split is not None and path.parent.parent.name.lower() in _LABEL_FOLDERS:
            by_split.setdefault(split, []).append(path)
    n_files = sum(map(len, by_split.values()))
    return by_split if "train" in by_split or n_files == len(files) else {}


def _of_split(source: Path, files: Sequence[Path], split: str, reading: Reading) -> list[Path]:
    lists = _image_sets(source)
    if not lists:
        return _split_folders(files).get(split, [])
    known = _by_name(files)
    wanted = {name: _named(reading.all_inside(paths), known) for name, paths in lists.items()}
    listed = {path for names in wanted.values() for name in names for path in known.get(name, ())}
    left = sorted({path.stem for path in files if path not in listed})
    if left:
        what = f"{len(left)} XML files are in no list of ImageSets/Main ({', '.join(left[:3])} ...)"
        reading.warn(source, what, "they are left out: add them to a list, or remove ImageSets")
    missing = [name for name in wanted[split] if name not in known]
    if missing:
        what = counted(
            len(missing), f"pictures of split {split!r} have no XML file ({missing[0]} ...)"
        )
        reading.warn(lists[split][0], what, "put it there, or remove their lines")
    for name in wanted[split]:
        if len(found := known.get(name, [])) > 1:
            what = f"{name} may be {found[0]} and {found[1]}"
            reading(Problem(str(lists[split][0]), what, "name the folder, too, or rename one"))
    return list(dict.fromkeys(path for name in wanted[split] for path in known.get(name, ())))


def _by_name(files: Iterable[Path]) -> dict[str, list[Path]]:
    """XML files by what a list may call them: the stem, with its folder or without."""
    known: dict[str, list[Path]] = {}
    for path in files:
        for name in (path.stem, f"{path.parent.name}/{path.stem}"):
            known.setdefault(name, []).append(path)
    return known


def _named(paths: Sequence[Path], known: Mapping[str, Sequence[Path]]) -> list[str]:
    """The pictures that lists name, one a line: a stem or file name, with VOC's 1 or -1 behind it."""
    named: dict[str, None] = {}
    for path in paths:
        for line in decoded(read_bytes(path)).splitlines():
            parts = line.strip().replace("\\", "/").split("/")
            # A name may end as a flag does, and a stem may hold dots: what is there decides.
            last = _forms(parts[-1])
            found = next((f for f in _forms("/".join(parts[-2:])) if f in known), None)
            if found is None:
                found = next((f for f in last if _fits(known.get(f, ()), len(parts) > 1)), None)
            if found is None:
                _, plain, _, stem = last
                found = stem if Path(plain).suffix.lower() in IMAGE_SUFFIXES else plain
            if found:
                named[found] = None
    return list(named)


def _fits(files: Sequence[Path], in_folder: bool) -> bool:
    """Whether a bare stem may name one of these: not of a line that names another folder than theirs."""
    return any(not in_folder or path.parent.name.lower() in _LABEL_FOLDERS for path in files)


def _forms(name: str) -> tuple[str, str, str, str]:
    """What a line may mean: as it stands, without a flag, without a suffix, without both."""
    words = name.rsplit(maxsplit=1)
    plain = words[0] if len(words) == 2 and words[1] in ("-1", "0", "1") else name
    return (
        name,
        plain,
        name.removesuffix(Path(name).suffix),
        plain.removesuffix(Path(plain).suffix),
    )


def _parse(path: Path) -> Element:
    content = read_bytes(path)
    if not content.strip():
        raise UserError(f"{path} is no XML (it is empty): export the labels again")
    try:
        # defusedxml: an XML file may hold entities that fill the memory.
        root: Element = fromstring(_as_utf8(content))
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        # LookupError: an encoding that Python does not know.
        raise UserError(f"{path} is no XML ({error}): export the labels again") from error
    for element in root.iter():
        element.tag = element.tag.lower()  # <Object> is no other thing than <object>
    return root


def _as_utf8(content: bytes) -> bytes:
    """XML in an encoding that Python knows and its XML parser does not (GBK, Shift-JIS) as UTF-8."""
    found = re.match(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)[\"'][^>]*\?>", content[:200])
    if found is None:
        return content
    codec = codecs.lookup(found[1].decode("ascii", errors="replace"))
    if codec.name in ("utf-8", "utf-16", "iso8859-1", "ascii"):
        return content
    if codec.name in ("punycode", "idna", "unicode_escape", "raw_unicode_escape"):
        raise LookupError(f"{codec.name} is no encoding of texts")  # slow, and nobody's
    return content[found.end() :].decode(codec.name).encode("utf-8")


def _image_folders(top: Path) -> list[Path]:
    return [p for p in children(top) if p.name.lower() in _IMAGE_FOLDERS]


def _places(source: Path, labels: Path, image_folders: Callable[[Path], list[Path]]) -> list[Path]:
    """Where the pictures of a folder of XML files may lie."""
    above, split = labels.parent, labels.name
    folders = [labels]
    for top in dict.fromkeys((source, above, above.parent if above != source else above)):
        if not top.resolve().is_relative_to(source.resolve()) and top != above:
            continue
        images = image_folders(top)
        folders += [place / split for place in images] + [top, *images]
    return list(dict.fromkeys(folders))


def _image(path: Path, root: Element, places: Sequence[Path], reading: Reading) -> Path | None:
    # The XML's own name first: people rename both files, and what stands inside goes stale. Its
    # suffix may tell a.jpg from a.png.
    named = root.findtext("filename", "").strip()
    last = named.replace("\\", "/").rpartition("/")[2]
    suffix = Path(last).suffix
    finder = reading.finder
    try:
        if suffix:
            for folder in places:
                if (found := finder.file(folder, path.stem + suffix)) is not None:
                    return found
        found = finder.of_stem(path.stem, places)
        if found is None and named:
            with contextlib.suppress(MissingError):
                return finder.find(named, places)
    except NamingError as error:
        reading(Problem(str(path), error.what, error.cure))
        return None
    if found is None:
        what = f"the picture {last or path.stem!r} is missing"
        reading(Problem(str(path), what, "put it beside the labels"))
    return found


def _name(entry: Element) -> str:
    # Where a line was broken by whoever laid out the XML, a blank was meant. Line by line: a pattern of
    # blanks before a line's end looks through each run of blanks from each of its places.
    lines = re.split(r"[\r\n]", entry.findtext("name", ""))
    return " ".join(filter(None, map(str.strip, lines)))


def _is_deleted(entry: Element) -> bool:
    """Whether the MIT's LabelMe keeps an object that was deleted."""
    return entry.findtext("deleted", "").strip() == "1"


def _label(where: str, entry: Element, class_ids: dict[str, int], reading: Reading) -> Label | None:
    name = _name(entry)
    polygon = _polygon(entry)
    xyxy = _corners(entry)
    if xyxy is None and polygon:
        xyxy = [*np.min(np.reshape(polygon, (-1, 2)), 0), *np.max(np.reshape(polygon, (-1, 2)), 0)]
    if xyxy is None:
        reading(Problem(where, "has no bndbox of four numbers", "draw the box again"))
        return None
    if not name:
        reading(Problem(where, "has no name", "name its class"))
        return None
    if len(entry.findall("bndbox")) > 1:
        reading(Problem(where, "has several boxes", "give each box an object of its own"))
        return None
    tags = ("name", *(f"bndbox/{key}" for key in _CORNERS))
    if twice := [tag.rpartition("/")[2] for tag in tags if len(entry.findall(tag)) > 1]:
        reading(Problem(where, f"has {some_names(twice)} twice", "keep the right one of them"))
        return None
    rotation = _rotation(entry)
    if rotation:
        xyxy = turned_box_xyxy(xyxy, rotation)
        what = f"its box is turned by {rotation:g} degrees (CVAT's rotation)"
        reading.warn(where, what, "the upright box around it is taken")
    difficult = entry.findtext("difficult", "0").strip().lower() in ("1", "true", "yes")
    outline = [polygon] if polygon and not rotation else None
    return Label(where, xyxy, class_ids[name], difficult, outline)


def _corners(entry: Element) -> list[float] | None:
    texts = [entry.findtext(f"bndbox/{key}", "") for key in _CORNERS]
    if any("_" in text for text in texts):  # which Python takes within numbers
        return None
    try:
        return [float(text) for text in texts]
    except ValueError:
        return None


def _polygon(entry: Element) -> list[float] | None:
    """An outline as Roboflow (x1, y1, x2, ...) and LabelMe (pt/x, pt/y) write it into VOC."""
    polygon = entry.find("polygon")
    if polygon is None:
        return None
    points = [(pt.findtext("x"), pt.findtext("y")) for pt in polygon.iter("pt")]
    if not points:
        by_name: dict[str, str | None] = {}
        for child in polygon:
            by_name.setdefault(child.tag, child.text)
        numbered = range(1, 1 + len(polygon) // 2)
        points = [(by_name.get(f"x{n}"), by_name.get(f"y{n}")) for n in numbered]
    try:
        numbers = [float(v or "") for point in points for v in point]
    except ValueError:
        return None
    return numbers if len(numbers) >= 6 and all(map(math.isfinite, numbers)) else None


def _rotation(entry: Element) -> float:
    """The turn in degrees that CVAT notes among an object's attributes, beside its unturned box."""
    for attribute in entry.iter("attribute"):
        if attribute.findtext("name", "").strip() == "rotation":
            try:
                degrees = float(attribute.findtext("value", "0"))
            except ValueError:
                return 0.0
            return degrees % 360 if math.isfinite(degrees) else 0.0
    return 0.0


def _whole(root: Element, key: str) -> int:
    """A size, also as 400.0; 0 if there is none."""
    try:
        number = float(root.findtext(key, "0"))
    except ValueError:
        return 0
    return round(number) if 0 < number < 1e9 else 0


def write(folder: Path, dataset: Dataset, file_names: Sequence[str]) -> Counter[str]:
    """Write an XML file for each picture into `folder`, to lie beside it as in Roboflow's exports.

    Our own and not supervision's (0.31): that adds a pixel to the left and upper side, which LabelImg,
    Roboflow and this reader take as they stand, knows no `difficult`, and makes one object of each
    part of a mask.

    Args:
        folder: An existing folder.
        dataset: What to write.
        file_names: For each sample the name of its picture there.

    Returns:
        What the format cannot hold, and how often that was met.
    """
    lost: Counter[str] = Counter()
    for sample, name in zip(dataset.samples, file_names, strict=True):
        root = Element("annotation")
        SubElement(root, "filename").text = name
        size = SubElement(root, "size")
        for key, value in zip(
            ("width", "height", "depth"), (*sample.size_hw[::-1], 3), strict=True
        ):
            SubElement(size, key).text = str(value)
        SubElement(root, "segmented").text = "0"
        corners = _whole_pixels(sample)
        for index, class_id in enumerate(sample.class_id):
            entry = SubElement(root, "object")
            SubElement(entry, "name").text = dataset.classes[class_id]
            SubElement(entry, "truncated").text = "0"
            SubElement(entry, "difficult").text = str(int(sample.crowd[index]))
            box = SubElement(entry, "bndbox")
            for key, value in zip(_CORNERS, corners[index], strict=True):
                SubElement(box, key).text = str(value)
        lost["boxes are rounded: Pascal VOC holds whole pixels"] += int(
            (corners != sample.xyxy).any(axis=1).sum()
        )
        outlines = sample.segmentation or ()
        lost["outlines are left out: Pascal VOC holds boxes alone"] += sum(map(bool, outlines))
        lost["crowds are marked as difficult: Pascal VOC has no crowds"] += int(sample.crowd.sum())
        indent(root)
        path = folder / f"{Path(name).stem}.xml"
        path.write_text(tostring(root, encoding="unicode") + "\n", encoding="utf-8")
    return lost


def _whole_pixels(sample: Sample) -> np.ndarray:
    """The boxes rounded, (N, 4) int, each still a pixel wide and high and inside the picture."""
    rounded = np.rint(sample.xyxy).astype(int)
    corner, opposite = rounded[:, :2], rounded[:, 2:]
    corner = np.where(opposite > corner, corner, np.floor(sample.xyxy[:, :2]).astype(int))
    return np.concatenate([corner, np.maximum(opposite, corner + 1)], axis=1)  # (N, 4)
