"""Pascal VOC: an XML file for each picture, beside it or in `Annotations/`.

Coordinates are kept as they stand. VOC itself counts pixels from 1, LabelImg and Roboflow from 0;
the files do not say which, and a pixel is within the accuracy of drawn boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from duckdetect.data.dataset import Dataset, Label, Problem, Report, Sample, make_sample
from duckdetect.imaging.io import IMAGE_SUFFIXES, natural_key


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
    class_ids = {name: i for i, name in enumerate(classes)}
    samples: list[Sample] = []
    for path, root in parsed:
        image = _image(source, path, root, report)
        if image is None:
            continue
        labels = [
            label
            for number, entry in enumerate(root.iter("object"), 1)
            if (label := _label(f"{path}, object {number}", entry, class_ids, report))
        ]
        size = (_whole(root, "size/height"), _whole(root, "size/width"))
        declared = (size[0], size[1]) if size[0] and size[1] else None
        sample = make_sample(image, len(samples) + 1, declared, labels, report)
        if sample is not None:
            samples.append(sample)
    return Dataset(source, classes, tuple(samples))


def _xml_files(folder: Path) -> list[Path]:
    for place in (folder, folder / "Annotations", folder / "annotations"):
        found = sorted(place.glob("*.xml"), key=natural_key)
        if found:
            return found
    return []


def _image(source: Path, path: Path, root: Element, report: Report) -> Path | None:
    named = root.findtext("filename", "").strip().replace("\\", "/").rpartition("/")[2]
    places = [
        folder / name
        for folder in (path.parent, source, path.parent.parent)
        for name in ("", "JPEGImages", "images")
    ]
    # The XML's own name first: people rename both files, and what stands inside goes stale.
    suffix = Path(named).suffix
    names = [path.stem + suffix, named] if suffix else []
    names += [path.stem + suffix for suffix in IMAGE_SUFFIXES]
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


def _label(where: str, entry: Element, class_ids: dict[str, int], report: Report) -> Label | None:
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
    return Label(where, corners, class_ids[name], difficult)


def _whole(root: Element, key: str) -> int:
    text = root.findtext(key, "0").strip()
    return int(text) if text.isdecimal() else 0


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
    used = {int(c) for sample in dataset.samples for c in sample.class_id}
    lost["classes without a box are dropped: Pascal VOC has no list of classes"] += sum(
        class_id not in used for class_id in range(len(dataset.classes))
    )
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
            for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners[index], strict=True):
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
