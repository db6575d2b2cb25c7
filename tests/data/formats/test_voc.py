"""Pascal VOC: where the files lie, what stands in them, and what is said of broken ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from helpers.labelled_folders import SIZE_HW, put_image, voc_xml

from duckdetect.data.check import check_dataset
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError


def put_voc(folder: Path, images: str = "", labels: str = "", xml: str | None = None) -> Path:
    put_image(folder / images / "a.jpg")
    (folder / labels).mkdir(parents=True, exist_ok=True)
    (folder / labels / "a.xml").write_text(voc_xml() if xml is None else xml, encoding="utf-8")
    return folder


def test_the_hundred_raccoons_as_supervision_reads_them(shared_data: Path) -> None:
    folder = shared_data / "raccoon"
    ours = load_dataset(folder)
    theirs = sv.DetectionDataset.from_pascal_voc(
        str(folder / "images"), str(folder / "annotations")
    )
    boxes = {Path(path).name: detections.xyxy for path, _, detections in theirs}
    assert len(ours) == len(boxes) == 100
    assert ours.classes == tuple(theirs.classes) == ("raccoon",)
    # supervision takes VOC's pixels to count from 1; ours stand as LabelImg wrote them, clipped.
    shifts = np.concatenate([sample.xyxy - boxes[sample.path.name] for sample in ours])
    assert set(np.unique(shifts)) <= {0.0, 1.0}
    again = load_dataset(folder)
    assert [s.path.name for s in ours][:11] == [s.path.name for s in again][:11]
    assert [s.path.stem for s in ours][:3] == ["raccoon-1", "raccoon-2", "raccoon-3"]


@pytest.mark.parametrize(
    ("images", "labels", "given"),
    [
        ("", "", ""),
        ("JPEGImages", "Annotations", ""),
        ("images", "annotations", ""),
        ("", "Annotations", ""),
        ("images", "annotations", "annotations"),
        ("train", "train", ""),
        ("train", "train", "train"),
    ],
)
def test_layouts(tmp_path: Path, images: str, labels: str, given: str) -> None:
    put_voc(tmp_path, images, labels)
    dataset = load_dataset(tmp_path / given)
    assert dataset.classes == ("duck",)
    np.testing.assert_array_equal(dataset.samples[0].xyxy, [[10, 20, 40, 35]])


def test_classes_are_sorted_and_difficult_ones_are_crowds(tmp_path: Path) -> None:
    put_voc(tmp_path, xml=voc_xml(name="duck", difficult=1))
    put_image(tmp_path / "b.jpg")
    (tmp_path / "b.xml").write_text(voc_xml("b.jpg", name="cat"))
    put_image(tmp_path / "c.jpg")
    (tmp_path / "c.xml").write_text("<annotation><filename>c.jpg</filename></annotation>")
    put_image(tmp_path / "unlabelled.jpg")
    dataset = load_dataset(tmp_path)
    assert dataset.classes == ("cat", "duck")
    assert [s.class_id.tolist() for s in dataset] == [[1], [0], []]
    assert [s.crowd.tolist() for s in dataset] == [[True], [False], []]


def test_renamed_files_go_before_the_name_inside(tmp_path: Path) -> None:
    """Copies of one picture's file, renamed with their pictures, still name the first."""
    for name, x in (("a", 10), ("b", 11)):
        put_image(tmp_path / f"{name}.jpg")
        (tmp_path / f"{name}.xml").write_text(voc_xml("a.jpg", (x, 20, 40, 35)))
    dataset = load_dataset(tmp_path)
    assert [(s.path.name, s.xyxy[0, 0]) for s in dataset] == [("a.jpg", 10), ("b.jpg", 11)]


@pytest.mark.parametrize(
    "filename", ["a.jpg", "C:\\ducks\\a.jpg", "/home/me/a.jpg", "", "a", "a.png", "other.jpg"]
)
def test_names_of_other_machines(tmp_path: Path, filename: str) -> None:
    put_voc(tmp_path, xml=voc_xml(filename))
    assert load_dataset(tmp_path).samples[0].path.name == "a.jpg"


def test_a_image_found_by_the_name_inside(tmp_path: Path) -> None:
    put_image(tmp_path / "frame 1.jpg")
    (tmp_path / "0001.xml").write_text(voc_xml("frame 1.jpg"))
    assert load_dataset(tmp_path).samples[0].path.name == "frame 1.jpg"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "windows-1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    put_voc(tmp_path)
    head = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    text = head + voc_xml(name="Gummiente größer")
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    assert load_dataset(tmp_path).classes == ("Gummiente größer",)


def test_tags_in_capitals_and_a_name_on_two_lines(tmp_path: Path) -> None:
    xml = voc_xml(name="\n  rubber\n  duck\n")
    for tag in ("object", "name", "bndbox", "xmin", "size"):
        xml = xml.replace(f"<{tag}>", f"<{tag.title()}>").replace(f"</{tag}>", f"</{tag.title()}>")
    dataset = load_dataset(put_voc(tmp_path, xml=xml))
    assert dataset.classes == ("rubber duck",)
    np.testing.assert_array_equal(dataset.samples[0].xyxy, [[10, 20, 40, 35]])


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", r"a\.xml: is no XML \(it is empty\): export the labels again"),
        ("<annotation><object>", r"a\.xml: is no XML \(no element found"),
        ("not xml", r"a\.xml: is no XML \(syntax error"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', r"is no XML \("),
        (BOMB, r"is no XML \(EntitiesForbidden"),
        ("<project/>", r"a\.xml: is <project>, not VOC"),
        (voc_xml(box=(40, 20, 10, 35)), r"object 1: box \(40, 20, 10, 35\) is inverted"),
        (voc_xml(box=(10, 20, 10, 35)), r"is empty: draw it again or remove it"),
        (voc_xml(box=("nan", 20, 10, 35)), r"not finite"),
        (voc_xml(box=("1e400", 20, 10, 35)), r"not finite"),
        (voc_xml(box=(10, 20, 100, 35)), r"reaches beyond the picture of 80x60"),
        (voc_xml(box=("", 20, 30, 35)), r"object 1: has no bndbox of four numbers"),
        (voc_xml(name=""), r"object 1: has no name: name its class"),
        (voc_xml(size_hw=(10, 10)), r"a\.jpg: is 80x60, but its labels say 10x10"),
    ],
)
def test_broken_files(tmp_path: Path, xml: str, message: str) -> None:
    put_voc(tmp_path, xml=xml)
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value) in map(str, check_dataset(tmp_path))


def test_a_missing_image(tmp_path: Path) -> None:
    put_voc(tmp_path)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"a\.xml: the picture 'a\.jpg' is missing: put it beside"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("size", [(0, 0), ("?", 3)])
def test_a_size_of_nothing_is_passed_over(tmp_path: Path, size: tuple[int, int]) -> None:
    put_voc(tmp_path, xml=voc_xml(size_hw=size))
    assert load_dataset(tmp_path).samples[0].size_hw == SIZE_HW


def test_all_broken_files_are_listed(shared_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shared_data / "raccoon", tmp_path / "raccoon")
    assert [p for p in check_dataset(folder) if p.severity == "error"] == []
    (folder / "images" / "raccoon-1.jpg").unlink()
    (folder / "annotations" / "raccoon-2.xml").write_text("")
    image = folder / "images" / "raccoon-4.jpg"
    image.write_bytes(image.read_bytes()[:2000])
    errors = [str(p) for p in check_dataset(folder) if p.severity == "error"]
    assert len(errors) == 3
    for name in ("raccoon-1.xml", "raccoon-2.xml", "raccoon-4.jpg"):
        assert sum(name in line for line in errors) == 1


def test_xml_beside_the_pictures_hides_none_elsewhere(tmp_path: Path) -> None:
    put_voc(tmp_path)
    put_image(tmp_path / "JPEGImages" / "b.jpg")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "b.xml").write_text(voc_xml())
    assert sorted(s.path.name for s in load_dataset(tmp_path)) == ["a.jpg", "b.jpg"]
    assert check_dataset(tmp_path) == []
    # A folder that is of no kind is not read, and this is said.
    put_voc(tmp_path / "more")
    told = [str(p) for p in check_dataset(tmp_path)]
    assert any("more: has labels of its own, which are left out" in line for line in told)
    assert len(load_dataset(tmp_path)) == 2
    (tmp_path / "Annotations" / "a.xml").write_text(voc_xml())
    with pytest.raises(UserError, match=r"2 entries are named a\.jpg"):
        load_dataset(tmp_path)


def test_a_stale_file_name_of_another_picture(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    put_image(tmp_path / "b.png")
    (tmp_path / "b.xml").write_text(voc_xml(filename="a.jpg"))
    assert [sample.path.name for sample in load_dataset(tmp_path)] == ["b.png"]
    (tmp_path / "b.png").unlink()
    assert [sample.path.name for sample in load_dataset(tmp_path)] == ["a.jpg"]


def test_xml_in_a_folder_of_annotations_beside_others(tmp_path: Path) -> None:
    put_voc(tmp_path, "images", "Annotations")
    put_image(tmp_path / "images" / "b.jpg")
    (tmp_path / "Annotations" / "extra").mkdir()
    (tmp_path / "Annotations" / "extra" / "b.xml").write_text(voc_xml(filename="b.jpg"))
    assert [sample.path.name for sample in load_dataset(tmp_path)] == ["a.jpg", "b.jpg"]
