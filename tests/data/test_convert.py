"""`convert_dataset`: what each format can hold comes back, what it cannot is said, DIR is whole."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from helpers.labelled_folders import SIZE_HW, annotation, put_coco, put_image, put_yolo, voc_xml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import duckdetect as dd
from duckdetect.data.convert import convert_dataset, file_names, write_splits
from duckdetect.data.dataset import Dataset, Sample
from duckdetect.data.formats import WRITERS, yolo
from duckdetect.data.loading import find_splits, list_parts
from duckdetect.data.split import split_dataset
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import segmentation_area
from duckdetect.utils.outputs import MANIFEST

H, W = SIZE_HW


FORMATS = tuple(WRITERS)


def same(mine: Dataset, other: Dataset, atol_px: float) -> None:
    """All but the outlines; Pascal VOC sorts pictures and classes, so both go by name."""
    by_name = {sample.path.name: sample for sample in other}
    assert len(by_name) == len(mine)
    for sample in mine:
        found = by_name[sample.path.name]
        assert found.size_hw == sample.size_hw
        assert found.path.read_bytes() == sample.path.read_bytes()
        np.testing.assert_allclose(found.xyxy, sample.xyxy, rtol=0, atol=atol_px)
        assert [other.classes[k] for k in found.class_id] == [
            mine.classes[k] for k in sample.class_id
        ]
        np.testing.assert_array_equal(found.crowd, sample.crowd)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("name", ["raccoon", "people", "ducks"])
def test_round_trips_of_real_data(
    name: str, to: str, tmp_path: Path, shared_data: Path, project_data: Path
) -> None:
    """There and back to COCO; VOC rounds to whole pixels, which the ducks' boxes are not."""
    source = project_data / "ducks" if name == "ducks" else shared_data / name
    there = convert_dataset(source, to, tmp_path / to)
    convert_dataset(tmp_path / to, "coco", tmp_path / "back")
    splits = list(find_splits(source)) or [None]
    for split in splits:
        before = dd.load_dataset(source, split)
        for folder in (tmp_path / to, tmp_path / "back"):
            again = dd.load_dataset(folder, split)
            same(before, again, 0.5 if to == "voc" else 1e-3 if to == "yolo" else 0)
    assert there.boxes == sum(dd.load_dataset(source, split).n_boxes for split in splits)
    assert dd.data.check_dataset(tmp_path / "back") == [] or name != "ducks"


def test_outlines_of_real_people(shared_data: Path, tmp_path: Path) -> None:
    """COCO keeps them to the letter, YOLO to nine decimals, VOC not at all, and says so."""
    for to in ("coco", "yolo"):
        convert_dataset(shared_data / "people", to, tmp_path / to)
        for split in ("train", "valid", "test"):
            before = dd.load_dataset(shared_data / "people", split)
            for mine, other in zip(before, dd.load_dataset(tmp_path / to, split), strict=True):
                assert mine.segmentation is not None
                assert other.segmentation is not None
                for a, b in zip(mine.segmentation, other.segmentation, strict=True):
                    for p, q in zip(a, b, strict=True):
                        np.testing.assert_allclose(p, q, rtol=0, atol=1e-5 if to == "yolo" else 0)
    done = convert_dataset(shared_data / "people", "voc", tmp_path / "voc")
    assert done.lost == ("165 outlines are left out: Pascal VOC holds boxes alone",)
    assert "note: 165 outlines" in done.text()
    assert "50 pictures (train 35, valid 7, test 8) with 165 boxes" in done.text()


def test_supervision_reads_what_is_written(shared_data: Path, tmp_path: Path) -> None:
    """Another reader than ours. It takes VOC's left and upper side to count from 1."""
    for to in FORMATS:
        convert_dataset(shared_data / "people", to, tmp_path / to)
    coco, voc, yolo = (tmp_path / to / "valid" for to in FORMATS)
    theirs = {
        "coco": sv.DetectionDataset.from_coco(str(coco), str(coco / "_annotations.coco.json")),
        "voc": sv.DetectionDataset.from_pascal_voc(str(voc), str(voc)),
        "yolo": sv.DetectionDataset.from_yolo(
            str(yolo / "images"), str(yolo / "labels"), str(yolo.parent / "data.yaml")
        ),
    }
    ground_truth = {s.path.name: s.xyxy for s in dd.load_dataset(shared_data / "people", "valid")}
    for to, dataset in theirs.items():
        assert len(dataset) == len(ground_truth)
        for path, _, detections in dataset:
            moved = np.array([1, 1, 0, 0]) if to == "voc" else 0
            xyxy = ground_truth[Path(path).name]
            np.testing.assert_allclose(detections.xyxy + moved, xyxy, atol=1.01)


def mixed(folder: Path) -> Path:
    """Two splits whose classes differ in order, an empty picture, a crowd, outlines of all kinds."""
    rle = {"size": [H, W], "counts": [5, 7, H * W - 12]}
    two = [[10, 20, 20, 20, 20, 30, 10, 30], [30, 20, 30, 35, 40, 35, 40, 20]]
    boxes = [
        annotation(id=1, segmentation=two),
        annotation([1.25, 2.5, 20, 30], id=2, category_id=2),
        annotation([0, 5, 1, 7], id=3, segmentation=rle),
        annotation([40, 5, 30, 30], id=4, iscrowd=1),
    ]
    categories = [{"id": 1, "name": "duck"}, {"id": 2, "name": "cat"}, {"id": 7, "name": "none"}]
    put_coco(folder / "train", boxes, ["a.jpg", "empty.jpg"], categories=categories)
    put_coco(folder / "valid", names=["v.jpg"], categories=[{"id": 1, "name": "cat"}])
    return folder


def test_coco_keeps_everything(tmp_path: Path) -> None:
    done = convert_dataset(mixed(tmp_path / "in"), "coco", tmp_path / "out")
    assert done.lost == ()
    assert done.images == {"train": 2, "valid": 1}
    for split in ("train", "valid"):
        before, after = (dd.load_dataset(tmp_path / f, split) for f in ("in", "out"))
        same(before, after, 0)
        assert after.classes == ("duck", "cat", "none")  # alike in all splits
        assert [s.segmentation for s in before] == [s.segmentation for s in after]


def test_what_voc_cannot_hold(tmp_path: Path) -> None:
    done = convert_dataset(mixed(tmp_path / "in"), "voc", tmp_path / "out")
    assert sorted(done.lost) == [
        "1 box is rounded: Pascal VOC holds whole pixels",
        "1 class without a box is dropped: the format has no list of classes",
        "1 crowd is marked as difficult: Pascal VOC has no crowds",
        "2 outlines are left out: Pascal VOC holds boxes alone",
    ]
    train = dd.load_dataset(tmp_path / "out")
    assert train.classes == ("cat", "duck")
    assert [s.path.name for s in train] == ["a.jpg", "empty.jpg"]
    assert train.samples[0].crowd.tolist() == [False, False, False, True]
    assert train.samples[0].class_id.tolist() == [1, 0, 1, 1]


def test_what_yolo_cannot_hold(tmp_path: Path) -> None:
    done = convert_dataset(mixed(tmp_path / "in"), "yolo", tmp_path / "out")
    assert "with 4 boxes written as yolo" in done.text()
    assert sorted(done.lost) == [
        "1 box marked crowd or difficult is left out: YOLO cannot mark it",
        "1 mask of run lengths is left out, its boxes kept: YOLO has none",
        "1 outline of several parts is joined by lines: YOLO holds one part",
    ]
    train = dd.load_dataset(tmp_path / "out")
    assert train.classes == ("duck", "cat", "none")
    assert [len(s.class_id) for s in train] == [3, 0]
    outlines = train.samples[0].segmentation
    assert outlines is not None
    # Both parts, of 100 and 150 square pixels, and nothing between them.
    assert segmentation_area(outlines[0]) == pytest.approx(250, abs=1e-3)
    assert outlines[1:] == (None, None)


def test_joined_outlines_cover_the_same_pixels() -> None:
    parts = [[2, 2, 2, 20, 20, 20, 20, 2], [40, 5, 60, 5, 50, 30], [30, 40, 45, 55, 20, 55]]
    whole = yolo._one_outline(parts, np.array([W, H], float))
    assert whole is not None
    drawn = []
    for polygons in (parts, [whole.ravel().tolist()]):
        mask = Image.new("1", (W, H))
        for polygon in polygons:
            ImageDraw.Draw(mask).polygon(polygon, fill=1)
        drawn.append(np.asarray(mask))
    assert (drawn[0] <= drawn[1]).all()
    assert (drawn[0] != drawn[1]).mean() < 0.02  # the two lines between the parts
    assert yolo._one_outline([[1, 1, 5, 5, 9, 9]], np.array([W, H], float)) is None


def test_joining_outlines_of_many_points_or_parts_stays_small() -> None:
    turn = np.linspace(0, 2 * np.pi, 8000, endpoint=False)
    ring = 100 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    large = [(ring + centre).ravel().tolist() for centre in ((100, 100), (350, 100))]
    x, y = np.divmod(np.arange(1500), 40)
    corners = np.array([[0, 0], [0, 2], [2, 2], [2, 0]])
    many = [(corners + 5 * np.array(place)).ravel().tolist() for place in zip(x, y, strict=True)]
    for parts, area in ((large, 2 * np.pi * 100**2), (many, 1500 * 4)):
        tracemalloc.start()
        whole = yolo._one_outline(parts, np.array([500.0, 500]))
        assert tracemalloc.get_traced_memory()[1] < 100e6  # 1.5 GB of two of 8,000 points, once
        tracemalloc.stop()
        assert whole is not None
        assert {tuple(p) for p in whole} == {
            tuple(p) for part in parts for p in np.reshape(part, (-1, 2))
        }
        assert abs(yolo._area(whole)) == pytest.approx(area, rel=1e-6)
    # The two large ones are joined where they come nearest, nearly.
    joined = yolo._one_outline(large, np.array([500.0, 500]))
    assert joined is not None
    assert np.linalg.norm(np.diff(joined, axis=0), axis=1).max() < 51


def test_yolo_says_when_an_outline_is_not_its_box(tmp_path: Path) -> None:
    box = annotation(segmentation=[[12, 20, 40, 20, 40, 35]])
    done = convert_dataset(put_coco(tmp_path / "in", [box]), "yolo", tmp_path / "out")
    assert done.lost == ("1 box moves by over a pixel: YOLO takes it from the outlines",)


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=4), st.sampled_from(FORMATS))
def test_any_box_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]], to: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    corner = np.array([row[:2] for row in rows]).reshape(-1, 2) * [W - 0.25, H - 0.25]
    side = 0.25 + np.array([row[2:] for row in rows]).reshape(-1, 2) * ([W, H] - corner - 0.25)
    xyxy = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    xyxy = np.minimum(xyxy, [W, H, W, H]).astype(np.float32)
    image = put_image(folder / "a.jpg")
    sample = Sample(image, 1, SIZE_HW, xyxy, np.zeros(len(rows), np.int64))
    dataset = Dataset(folder, ("duck",), (sample,))
    write_splits({None: dataset}, to, folder / "out")
    again = dd.load_dataset(folder / "out").samples[0].xyxy
    # A box of less than a pixel must still have one: then the far side moves by up to one.
    np.testing.assert_allclose(again, xyxy, rtol=0, atol={"coco": 0, "yolo": 1e-4, "voc": 1}[to])
    if to == "voc":
        thick = (xyxy[:, 2:] - xyxy[:, :2] >= 1).all(axis=1)
        np.testing.assert_allclose(again[thick], xyxy[thick], rtol=0, atol=0.5001)


@pytest.mark.parametrize("to", FORMATS)
def test_layouts_and_single_splits(tmp_path: Path, to: str) -> None:
    """Labels without a split stay so but in YOLO, and a test split alone stays one."""
    convert_dataset(put_coco(tmp_path / "flat"), to, tmp_path / "a")
    assert list_parts(tmp_path / "a") == (["train"] if to == "yolo" else [None])
    put_coco(tmp_path / "one" / "test")
    convert_dataset(tmp_path / "one", to, tmp_path / "b")
    assert list_parts(tmp_path / "b") == ["test"]
    assert dd.data.check_dataset(tmp_path / "b") == []


def test_names_that_would_share_their_labels(tmp_path: Path) -> None:
    put_coco(tmp_path / "in", names=["a.jpg", "A.png", "b.jpg"])
    done = convert_dataset(tmp_path / "in", "yolo", tmp_path / "out")
    assert done.lost == (
        "1 picture is renamed: two had the same name, or signs in it that labels cannot hold",
    )
    again = dd.load_dataset(tmp_path / "out")
    assert [s.path.name for s in again] == ["a.jpg", "A_2.png", "b.jpg"]
    assert [len(s.class_id) for s in again] == [1, 0, 0]
    assert file_names(dd.load_dataset(tmp_path / "in"), by_stem=False)[1] == "A.png"
    # Else the labels would take the place of the picture's copy.
    named = Sample(tmp_path / "_annotations.coco.json", 1, SIZE_HW, np.zeros((0, 4)), np.zeros(0))
    (taken,) = file_names(Dataset(tmp_path, (), (named,)), by_stem=False)
    assert taken == "_annotations.coco_2.json"
    # Or a picture without a suffix the place of a split's folder.
    named = replace(named, path=tmp_path / "train")
    assert file_names(Dataset(tmp_path, (), (named,)), by_stem=False) == ["train_2"]
    # A number does not make a name too long.
    stem = "ü" * 125
    twins = (replace(named, path=tmp_path / folder / f"{stem}x.jpg") for folder in "ab")
    names = file_names(Dataset(tmp_path, (), tuple(twins)), by_stem=True)
    assert names == [f"{stem}x.jpg", f"{stem[:-1]}_2.jpg"]


def test_what_is_not_read_of_coco_is_said(tmp_path: Path) -> None:
    said = annotation(keypoints=[1, 2, 2], attributes={"occluded": True})
    put_coco(
        tmp_path / "in", [annotation(attributes={"occluded": False, "rotation": 0.0}, keypoints=[])]
    )
    assert convert_dataset(tmp_path / "in", "coco", tmp_path / "out").lost == ()
    put_coco(tmp_path / "in", [said])
    (lost,) = convert_dataset(tmp_path / "in", "coco", tmp_path / "out", overwrite=True).lost
    assert "its annotations have keypoints and attributes: they are not read, and nothing" in lost


def test_what_no_label_names_is_said_once(tmp_path: Path) -> None:
    put_coco(tmp_path / "in", names=["a.jpg", "b.jpg", "c.jpg"])
    for i, name in enumerate(("a.jpg", "b.jpg", "c.jpg", "unseen.jpg")):
        noise = np.random.default_rng(i).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "in" / name)
    told = r"1 picture is in no label \(unseen\.jpg\)"
    (lost,) = convert_dataset(tmp_path / "in", "yolo", tmp_path / "out").lost
    assert re.search(told, lost)
    notes = split_dataset(tmp_path / "in", file=tmp_path / "split.json").notes
    assert sum(bool(re.search(told, note)) for note in notes) == 1


def test_windows_names_and_other_encodings(tmp_path: Path) -> None:
    put_image(tmp_path / "in" / "Ente grün.jpg")
    xml = voc_xml("C:\\Bilder\\Ente grün.jpg", name="Gummientchen ü")
    (tmp_path / "in" / "Ente grün.xml").write_bytes(
        f'<?xml version="1.0" encoding="windows-1252"?>{xml}'.encode("windows-1252")
    )
    for to in FORMATS:
        convert_dataset(tmp_path / "in", to, tmp_path / to)
        dataset = dd.load_dataset(tmp_path / to)
        assert dataset.classes == ("Gummientchen ü",)
        assert dataset.samples[0].path.name == "Ente grün.jpg"


def test_broken_labels_stop_it_and_broken_outlines_are_said(tmp_path: Path) -> None:
    put_coco(tmp_path / "in", [annotation(segmentation=[[1, 2, 3, 4]])])
    done = convert_dataset(tmp_path / "in", "coco", tmp_path / "out")
    assert len(done.lost) == 1
    assert "a polygon of its outline has 2 points, not 3 or more" in done.lost[0]
    put_coco(tmp_path / "in", [annotation([1, 1, 0, 0])])
    before = (tmp_path / "out" / "_annotations.coco.json").read_bytes()
    with pytest.raises(UserError, match="is empty"):
        convert_dataset(tmp_path / "in", "coco", tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "_annotations.coco.json").read_bytes() == before


def test_a_folder_that_is_taken(tmp_path: Path) -> None:
    put_coco(tmp_path / "in")
    put_yolo(tmp_path / "old")
    with pytest.raises(UserError, match="old holds something already: choose another --out, or"):
        convert_dataset(tmp_path / "in", "coco", tmp_path / "old")
    with pytest.raises(UserError, match=r"old/data\.yaml was not written by an earlier"):
        convert_dataset(tmp_path / "in", "coco", tmp_path / "old", overwrite=True)
    convert_dataset(tmp_path / "in", "yolo", tmp_path / "new")
    convert_dataset(tmp_path / "in", "coco", tmp_path / "new", overwrite=True)
    assert not (tmp_path / "new" / "data.yaml").exists()
    (tmp_path / "diary" / "test").mkdir(parents=True)
    (tmp_path / "diary" / "test" / "a.txt").write_text("a folder of this name is no data set")
    (tmp_path / "diary" / "monday.txt").write_text("dear diary")
    with pytest.raises(UserError, match=r"diary/monday\.txt was not written by"):
        convert_dataset(tmp_path / "in", "coco", tmp_path / "diary", overwrite=True)
    for out in (tmp_path / "in", tmp_path):
        with pytest.raises(UserError, match="holds the pictures to be read"):
            convert_dataset(tmp_path / "in", "coco", out, overwrite=True)
    with pytest.raises(UserError, match="is a file, not a folder"):
        convert_dataset(tmp_path / "in", "coco", tmp_path / "in" / "a.jpg")
    assert dd.load_dataset(tmp_path / "in").n_boxes == 1


def test_an_interrupted_conversion_keeps_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_coco(tmp_path / "in", names=["a.jpg", "b.jpg"])
    convert_dataset(tmp_path / "in", "coco", tmp_path / "out")
    copy = shutil.copyfile

    def full(source: Path, target: Path) -> Any:
        if source.name == "b.jpg":
            raise OSError(28, "No space left on device")
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"b\.jpg cannot be copied \(No space left on device\)"):
        convert_dataset(tmp_path / "in", "yolo", tmp_path / "out", overwrite=True)
    assert len(dd.load_dataset(tmp_path / "out")) == 2
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out", MANIFEST}


def without_suffix(folder: Path) -> None:
    put_image(folder / "a.jpg").rename(folder / "a")
    image = {"id": 1, "file_name": "a"}
    content = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "duck"}]}
    (folder / "_annotations.coco.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("make", "to", "message"),
    [
        (put_coco, "createml", "there is no format 'createml': give one of coco, voc, yolo"),
        (without_suffix, "yolo", "would not be taken for a picture: name it"),
        (
            lambda p: put_coco(p, categories=[{"id": 1, "name": "du\u200bck"}]),
            "voc",
            r"class name 'du\\u200bck' cannot be written: rename",
        ),
        (lambda p: put_coco(p, [], categories=[]), "yolo", "no class, which YOLO needs"),
        (
            lambda p: put_coco(put_coco(p / "train").parent),
            "yolo",
            "labels of its own and a train split",
        ),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, make: Any, to: str, message: str) -> None:
    make(tmp_path / "in")
    with pytest.raises(UserError, match=message):
        convert_dataset(tmp_path / "in", to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_picture_that_changes_while_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_coco(tmp_path / "in", names=["a.jpg", "b.jpg"])
    copy = shutil.copyfile
    smaller = put_image(tmp_path / "small.jpg", (20, 20))

    def copied(source: Path, target: Path) -> Any:
        return copy(smaller if source.name == "b.jpg" else source, target)

    monkeypatch.setattr(shutil, "copyfile", copied)
    with pytest.raises(UserError, match=r"b\.jpg was changed while it was copied: start again"):
        convert_dataset(tmp_path / "in", "yolo", tmp_path / "out")
    assert not (tmp_path / "out").exists()
