"""Nothing outside the data set is read: label files that are links, and what lies beside the labels."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.labelled_folders import annotation, coco_of, put_image, put_yolo, voc_xml

from duckdetect.data.check import check_dataset
from duckdetect.data.dataset import ReadOptions
from duckdetect.data.loading import list_parts, load_dataset
from duckdetect.errors import UserError

_CSV = "filename,class,xmin,ymin,xmax,ymax\n{},SECRET,10,20,40,35\n"
_COORDINATES = {"x": 40, "y": 30, "width": 20, "height": 20}


def _labelme(name: str = "a.jpg") -> str:
    shape = {"label": "SECRET", "shape_type": "rectangle", "points": [[10, 20], [40, 35]]}
    return json.dumps({"shapes": [shape], "imagePath": name})


def _createml(name: str = "a.jpg") -> str:
    labels = [{"label": "SECRET", "coordinates": _COORDINATES}]
    return json.dumps([{"image": name, "annotations": labels}])


def _coco(name: str = "a.jpg") -> str:
    table = [{"id": 1, "name": "SECRET"}]
    return json.dumps(coco_of([name], [annotation()]) | {"categories": table})


LABELS: dict[str, tuple[str, str]] = {
    "CSV": ("l.csv", _CSV.format("a.jpg")),
    "VOC": ("a.xml", voc_xml(name="SECRET")),
    "labelme": ("a.json", _labelme()),
    "Create ML": ("l.json", _createml()),
    "COCO": ("_annotations.coco.json", _coco()),
    "COCO, a file": ("l.json", _coco()),
    "YOLO": ("data.yaml", "names: [SECRET]\ntrain: images\n"),
    "classes": ("classes.txt", "SECRET\n"),
    "Darknet": ("_annotations.txt", "a.jpg 10,20,40,35,0\n"),
    "Darknet's classes": ("_classes.txt", "SECRET\n"),
    "split list": ("ImageSets/Main/train.txt", "SECRET\n"),
}


def put_beside(data: Path, kind: str) -> None:
    """What a label file of that kind needs, but for itself."""
    if kind == "YOLO":
        put_image(data / "images" / "a.jpg")
        (data / "labels").mkdir()
        (data / "labels" / "a.txt").write_text("0 .5 .5 .4 .4")
        return
    put_image(data / "a.jpg")
    if kind == "classes":
        (data / "a.txt").write_text("0 .5 .5 .4 .4")
    elif kind == "Darknet":
        (data / "_classes.txt").write_text("SECRET")
    elif kind == "Darknet's classes":
        (data / "_annotations.txt").write_text("a.jpg 10,20,40,35,0\n")
    elif kind == "split list":
        (data / "a.xml").write_text(voc_xml())


@pytest.mark.parametrize("kind", LABELS)
def test_a_label_file_that_is_a_link_out_of_the_data_set(tmp_path: Path, kind: str) -> None:
    name, text = LABELS[kind]
    away, data = tmp_path / "away", tmp_path / "data"
    away.mkdir()
    (away / "file").write_text(text)
    put_beside(data, kind)
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    (data / name).symlink_to(away / "file")
    problems = check_dataset(data)
    assert any("lies outside the data set: copy it there" in str(p) for p in problems), problems
    assert not any("SECRET" in str(p) for p in problems)
    # Allowed, or inside, it is read.
    allowed = check_dataset(data, options=ReadOptions(allow_outside=(away,)))
    assert not any("lies outside" in str(p) for p in allowed)


def test_a_folder_of_labels_that_is_a_link_out_of_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "a.xml").write_text(voc_xml(name="SECRET"))
    put_image(tmp_path / "data" / "images" / "a.jpg")
    (tmp_path / "data" / "annotations").symlink_to(tmp_path / "away")
    with pytest.raises(UserError, match="lies outside the data set"):
        load_dataset(tmp_path / "data")


NAMING: dict[str, tuple[str, Callable[[str], str]]] = {
    "CSV": ("l.csv", _CSV.format),
    "VOC": ("a.xml", voc_xml),
    "labelme": ("a.json", _labelme),
    "Create ML": ("l.json", _createml),
    "COCO": ("l.json", _coco),
}


@pytest.mark.parametrize("folder", ["csv", "annotations", "Labels", "json", "any"])
@pytest.mark.parametrize("kind", NAMING)
def test_beside_a_folder_of_labels_only_pictures_folders_are_read(
    tmp_path: Path, kind: str, folder: str
) -> None:
    put_image(tmp_path / "secret.jpg")
    put_image(tmp_path / "private" / "b.jpg")
    name, write = NAMING[kind]
    data = tmp_path / folder
    data.mkdir()
    for named in ("../secret.jpg", "../private/b.jpg", str(tmp_path / "secret.jpg")):
        (data / name).write_text(write(named))
        with pytest.raises(UserError, match=r"lies outside the data set|is missing"):
            load_dataset(data)


def test_pictures_beside_a_folder_of_labels_are_its_own(tmp_path: Path) -> None:
    put_image(tmp_path / "images" / "a.jpg")
    labels = tmp_path / "annotations"
    labels.mkdir()
    (labels / "instances.json").write_text(_coco())
    assert len(load_dataset(labels)) == 1
    assert len(load_dataset(labels / "instances.json")) == 1


def test_yolo_whose_pictures_lie_beside_its_settings(tmp_path: Path) -> None:
    put_image(tmp_path / "data" / "a.jpg")
    (tmp_path / "data" / "a.txt").write_text("0 .5 .5 .4 .4")
    (tmp_path / "data" / "data.yaml").write_text("names: [duck]\ntrain: .\n")
    assert load_dataset(tmp_path / "data").n_boxes == 1


@pytest.mark.parametrize("name", ["x.tfrecord", "x.record-00000-of-00001", "l.csv", "l.json"])
def test_a_pipe_among_the_labels(tmp_path: Path, name: str) -> None:
    put_yolo(tmp_path)
    os.mkfifo(tmp_path / name)
    assert len(load_dataset(tmp_path)) == 1
    (tmp_path / "data.yaml").unlink()
    check_dataset(tmp_path)


def test_pictures_of_one_name_in_two_folders(tmp_path: Path) -> None:
    for camera in ("cam1", "cam2"):
        put_image(tmp_path / "csv set" / camera / "0.jpg")
        put_image(tmp_path / "yolo" / "images" / "train" / camera / "0.jpg")
        (tmp_path / "yolo" / "labels" / "train" / camera).mkdir(parents=True)
        (tmp_path / "yolo" / "labels" / "train" / camera / "0.txt").write_text("0 .5 .5 .4 .4")
    rows = [f"{camera}/0.jpg,duck,10,20,40,{y}\n" for camera, y in (("cam1", 35), ("cam2", 36))]
    (tmp_path / "csv set" / "l.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax\n" + "".join(rows)
    )
    (tmp_path / "yolo" / "data.yaml").write_text("names: [duck]\ntrain: images/train\n")
    found = load_dataset(tmp_path / "csv set")
    assert {s.path.parent.name: s.xyxy[0, 3] for s in found} == {"cam1": 35, "cam2": 36}
    assert len(load_dataset(tmp_path / "yolo")) == 2
    # One picture under two spellings is labelled twice.
    (tmp_path / "csv set" / "l.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax\ncam1/0.jpg,duck,1,2,30,40\ncam1\\0.JPG,duck,1,2,3,4\n"
    )
    with pytest.raises(UserError, match=r"2 entries are named 0\.jpg"):
        load_dataset(tmp_path / "csv set")


def test_what_json_says_twice_is_told(tmp_path: Path) -> None:
    """The first `annotations` would be lost without a word."""
    put_image(tmp_path / "a.jpg")
    text = _coco()
    (tmp_path / "l.json").write_text(text[:-1] + ', "annotations": []}')
    with pytest.raises(UserError, match=r'is not JSON \(an object has "annotations" twice\)'):
        load_dataset(tmp_path)
    (tmp_path / "l.json").write_text(text[:-1] + ', "info": {}, "info": {}}')  # loses nothing
    assert load_dataset(tmp_path).n_boxes == 1


def test_messages_name_the_zip_and_not_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "l.json").write_text(_coco("lost.jpg"))
    packed = Path(shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "in"))
    with pytest.raises(UserError, match=r"export\.zip/l\.json, image 1: the picture .* is missing"):
        load_dataset(packed)
    (tmp_path / "none").mkdir()
    put_image(tmp_path / "none" / "a.jpg")
    none = Path(shutil.make_archive(str(tmp_path / "none"), "zip", tmp_path / "none"))
    with pytest.raises(UserError, match=rf"^{none} holds no labels"):
        list_parts(none)
    text = '{"format": "duckdetect split 1", "data": "export.zip", "splits": {"train": ["a.jpg"]}}'
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(UserError, match=r"export\.zip/l\.json, image 1: the picture .* is missing"):
        load_dataset(tmp_path / "split.json", "train")


def test_a_name_of_very_many_blanks_takes_no_longer(tmp_path: Path) -> None:
    """Forty thousand took 45 s, a million would have taken hours."""
    put_image(tmp_path / "a.jpg")
    name = "a" + " " * 1_000_000 + "duck \r\n\t pond"
    (tmp_path / "a.xml").write_text(voc_xml("a.jpg", name=name))
    (found,) = load_dataset(tmp_path).classes
    assert found == "a" + " " * 1_000_000 + "duck pond"


def test_a_conflict_of_git_is_no_list_of_classes(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> other\n")
    with pytest.raises(UserError, match=r"classes\.txt holds a conflict of Git's: resolve it"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["_annotations.coco.json", "data.yaml", "classes.txt", "a.xml"])
def test_what_git_lfs_has_not_fetched_is_told(tmp_path: Path, name: str) -> None:
    """The lines of such a classes.txt would be classes."""
    put_image(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5\n" % ("0" * 64)
    (tmp_path / name).write_text(pointer)
    with pytest.raises(UserError, match=rf"{name}:? is a Git LFS pointer: fetch .* `git lfs pull`"):
        load_dataset(tmp_path)


def test_a_table_of_another_order_without_a_head_is_named(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    (tmp_path / "boxes.csv").write_text("a.jpg,duck,10,5,22,25\n")
    with pytest.raises(UserError, match=r"but the table boxes\.csv: its first line must name the"):
        load_dataset(tmp_path)
