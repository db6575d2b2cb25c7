"""Pascal VOC: an XML file for each picture, beside it or in `Annotations/`.

Coordinates are kept as they stand. VOC itself counts pixels from 1, LabelImg and Roboflow from 0;
the files do not say which, and a pixel is within the accuracy of drawn boxes.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from duckdetect.pictures import PICTURE_SUFFIXES, natural_key
from duckdetect.samples import Dataset, Label, Problem, Report, Sample, make_sample


def find(folder: Path) -> dict[str | None, Path]:
    """The folder itself, for None, if it holds VOC files."""
    return {None: folder} if _xml_files(folder) else {}


def read(source: Path, split: str | None, report: Report) -> Dataset:
    """Read a folder of VOC files; classes are in alphabetical order."""
    parsed: list[tuple[Path, Element]] = []
    for path in _xml_files(source):
        try:
            # defusedxml: an XML file may hold entities that fill the memory.
            root = fromstring(path.read_bytes())
        except (ParseError, DefusedXmlException, ValueError, LookupError, OSError) as error:
            # LookupError: an encoding that Python does not know.
            reason = "it is empty" if path.is_file() and path.stat().st_size == 0 else str(error)
            report(Problem(str(path), f"is no XML ({reason})", "export the labels again"))
            continue
        if root.tag != "annotation":
            report(Problem(str(path), f"is <{root.tag}>, not VOC", "export the labels as VOC"))
            continue
        parsed.append((path, root))
    names = {o.findtext("name", "").strip() for _, root in parsed for o in root.iter("object")}
    classes = tuple(sorted(names - {""}))
    samples: list[Sample] = []
    for path, root in parsed:
        picture = _picture(source, path, root, report)
        if picture is None:
            continue
        labels = [
            label
            for number, entry in enumerate(root.iter("object"), 1)
            if (label := _label(f"{path}, object {number}", entry, classes, report))
        ]
        size = (_whole(root, "size/height"), _whole(root, "size/width"))
        declared = (size[0], size[1]) if size[0] and size[1] else None
        sample = make_sample(picture, len(samples) + 1, declared, labels, report)
        if sample is not None:
            samples.append(sample)
    return Dataset(source, classes, tuple(samples))


def _xml_files(folder: Path) -> list[Path]:
    for place in (folder, folder / "Annotations", folder / "annotations"):
        found = sorted(place.glob("*.xml"), key=natural_key)
        if found:
            return found
    return []


def _picture(source: Path, path: Path, root: Element, report: Report) -> Path | None:
    named = root.findtext("filename", "").strip().replace("\\", "/").rpartition("/")[2]
    places = [
        folder / name
        for folder in (path.parent, source, path.parent.parent)
        for name in ("", "JPEGImages", "images")
    ]
    # The XML's own name first: people rename both files, and what stands inside goes stale.
    suffix = Path(named).suffix
    names = [path.stem + suffix, named] if suffix else []
    names += [path.stem + suffix for suffix in PICTURE_SUFFIXES]
    for name in names:
        for place in places:
            if (place / name).is_file():
                return place / name
    report(
        Problem(
            str(path), f"the picture {named or path.stem!r} is missing", "put it beside the labels"
        )
    )
    return None


def _label(where: str, entry: Element, classes: tuple[str, ...], report: Report) -> Label | None:
    name = entry.findtext("name", "").strip()
    try:
        corners = [
            float(entry.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")
        ]
    except ValueError:
        report(Problem(where, "has no bndbox of four numbers", "draw the box again"))
        return None
    if not name:
        report(Problem(where, "has no name", "name its class"))
        return None
    difficult = entry.findtext("difficult", "0").strip() == "1"
    return Label(where, corners, classes.index(name), difficult)


def _whole(root: Element, key: str) -> int:
    text = root.findtext(key, "0").strip()
    return int(text) if text.isdecimal() else 0
