"""Exports of CVAT, Label Studio, LabelImg and Roboflow: each tool's layout, with real pictures in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import annotation, coco_of, put_coco, put_image, put_yolo, voc_xml

import duckdetect as dd
from duckdetect.data import names
from duckdetect.data.check import check_dataset
from duckdetect.data.dataset import Dataset, Problem, noting
from duckdetect.data.formats import coco, places, voc
from duckdetect.data.loading import list_parts, load_dataset, load_training, read_dataset
from duckdetect.errors import UserError

N = 4


@pytest.fixture(scope="module")
def raccoons(shared_data: Path) -> Dataset:
    return dd.load_dataset(shared_data / "raccoon").subset(range(N))


def copy(dataset: Dataset, folder: Path, prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for sample in dataset:
        shutil.copyfile(sample.path, folder / f"{prefix}{sample.path.name}")


def put_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def yolo_lines(dataset: Dataset, folder: Path, prefix: str = "") -> None:
    for sample in dataset:
        height, width = sample.size_hw
        rows = [
            f"0 {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
            f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}"
            for x1, y1, x2, y2 in sample.xyxy
        ]
        put_text(folder / f"{prefix}{sample.path.stem}.txt", "\n".join(rows) + "\n")


def coco_json(dataset: Dataset, name: Callable[[str], str], first_id: int = 1) -> dict[str, Any]:
    content = dataset.to_coco()
    for image in content["images"]:
        image["file_name"] = name(image["file_name"])
    for entry in content["categories"]:
        entry["id"] += first_id - 1
    for entry in content["annotations"]:
        entry["category_id"] += first_id - 1
    return content


def voc_files(dataset: Dataset, folder: Path) -> None:
    for sample in dataset:
        (box,) = sample.xyxy.astype(int).tolist()
        xml = voc_xml(sample.path.name, box, "raccoon", sample.size_hw)
        put_text(folder / f"{sample.path.stem}.xml", xml)


def cvat_coco(d: Dataset, f: Path) -> None:
    copy(d, f / "images" / "default")
    content = coco_json(d, str) | {"licenses": [{"name": "", "id": 0, "url": ""}]}
    put_text(f / "annotations" / "instances_default.json", json.dumps(content))


def cvat_coco_subsets(d: Dataset, f: Path) -> None:
    for name in ("Train", "Validation"):
        copy(d, f / "images" / name)
        content = json.dumps(coco_json(d, str))
        put_text(f / "annotations" / f"instances_{name}.json", content)


def cvat_voc(d: Dataset, f: Path) -> None:
    copy(d, f / "JPEGImages")
    voc_files(d, f / "Annotations")
    put_text(f / "ImageSets" / "Main" / "default.txt", "\n".join(s.path.stem for s in d))
    put_text(f / "labelmap.txt", "# label:color_rgb:parts:actions\nraccoon:1,2,3::\n")


def cvat_yolo(d: Dataset, f: Path) -> None:
    copy(d, f / "obj_train_data")
    yolo_lines(d, f / "obj_train_data")
    put_text(f / "obj.names", "raccoon\n")
    put_text(
        f / "obj.data",
        "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
    )
    put_text(f / "train.txt", "".join(f"data/obj_train_data/{s.path.name}\n" for s in d))


def cvat_ultralytics(d: Dataset, f: Path) -> None:
    copy(d, f / "images" / "train")
    yolo_lines(d, f / "labels" / "train")
    put_text(f / "data.yaml", "names:\n  0: raccoon\npath: .\ntrain: train.txt\n")
    put_text(f / "train.txt", "".join(f"data/images/train/{s.path.name}\n" for s in d))


def label_studio_coco(d: Dataset, f: Path) -> None:
    copy(d, f / "images", "8f2a1c-")
    content = coco_json(d, lambda name: f"images/8f2a1c-{name}", first_id=0)
    put_text(f / "result.json", json.dumps(content))


def label_studio_windows(d: Dataset, f: Path) -> None:
    copy(d, f / "images")
    content = coco_json(d, lambda n: f"..\\..\\label-studio\\data\\media\\upload\\1\\{n}", 0)
    put_text(f / "result.json", json.dumps(content))


def label_studio_voc(d: Dataset, f: Path) -> None:
    copy(d, f / "images")
    voc_files(d, f / "Annotations")


def label_studio_yolo(d: Dataset, f: Path) -> None:
    copy(d, f / "images")
    yolo_lines(d, f / "labels")
    put_text(f / "classes.txt", "raccoon\n")
    put_text(f / "notes.json", '{"categories": [{"id": 0, "name": "raccoon"}], "info": {}}')


def labelimg_voc(d: Dataset, f: Path) -> None:
    copy(d, f)
    voc_files(d, f)


def labelimg_voc_and_classes(d: Dataset, f: Path) -> None:
    labelimg_voc(d, f)
    put_text(f / "classes.txt", "dog\ncat\n")
    put_text(f / "predefined_classes.txt", "dog\ncat\n")


def labelimg_yolo(d: Dataset, f: Path) -> None:
    copy(d, f)
    yolo_lines(d, f)
    put_text(f / "classes.txt", "raccoon\n\n")


def roboflow_coco(d: Dataset, f: Path) -> None:
    copy(d, f / "train")
    content = coco_json(d, str)
    content["categories"].insert(0, {"id": 0, "name": "animals", "supercategory": "none"})
    content["categories"][1]["supercategory"] = "animals"
    put_text(f / "train" / "_annotations.coco.json", json.dumps(content))
    put_text(f / "README.roboflow.txt", "exported")


def roboflow_voc(d: Dataset, f: Path) -> None:
    labelimg_voc(d, f / "train")
    put_text(f / "README.dataset.txt", "exported")


def roboflow_yolo(d: Dataset, f: Path) -> None:
    copy(d, f / "train" / "images")
    yolo_lines(d, f / "train" / "labels")
    put_text(
        f / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\n"
        "names: ['raccoon']\n\nroboflow:\n  workspace: me\n  version: 1\n",
    )


LAYOUTS = [
    cvat_coco, cvat_coco_subsets, cvat_voc, cvat_yolo, cvat_ultralytics,
    label_studio_coco, label_studio_windows, label_studio_voc, label_studio_yolo,
    labelimg_voc, labelimg_voc_and_classes, labelimg_yolo,
    roboflow_coco, roboflow_voc, roboflow_yolo,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_a_layout_is_recognised(
    layout: Callable[[Dataset, Path], None], raccoons: Dataset, tmp_path: Path
) -> None:
    layout(raccoons, tmp_path)
    found = dd.load_dataset(tmp_path)
    assert found.classes == ("raccoon",)
    by_name = {sample.path.name.removeprefix("8f2a1c-"): sample for sample in found}
    assert len(found) == N
    for sample in raccoons:
        np.testing.assert_allclose(by_name[sample.path.name].xyxy, sample.xyxy, atol=0.01)
    assert [p for p in dd.data.check_dataset(tmp_path) if p.severity == "error"] == []
    splits = {cvat_coco_subsets: ["train", "valid"]}
    named = "roboflow" in layout.__name__ or layout in (cvat_yolo, cvat_ultralytics)
    assert list_parts(tmp_path) == splits.get(layout, ["train"] if named else [None])


def test_a_split_that_is_no_folder(raccoons: Dataset, tmp_path: Path) -> None:
    cvat_coco_subsets(raccoons, tmp_path)
    assert len(dd.load_dataset(tmp_path / "valid")) == N
    assert {p.severity for p in dd.data.check_dataset(tmp_path / "valid")} == {
        "warning"
    }  # raccoon-3
    with pytest.raises(UserError, match="test is not there: give a folder"):
        dd.data.check_dataset(tmp_path / "test")


@pytest.mark.parametrize("layout", [cvat_yolo, cvat_ultralytics])
def test_images_that_a_list_names_and_that_are_missing(
    layout: Callable[[Dataset, Path], None], raccoons: Dataset, tmp_path: Path
) -> None:
    """CVAT exports labels without pictures unless it is told to."""
    layout(raccoons, tmp_path)
    for path in [*tmp_path.rglob("raccoon-1.jpg"), *tmp_path.rglob("raccoon-2.jpg")]:
        path.unlink()
    errors = [str(p) for p in dd.data.check_dataset(tmp_path) if p.severity == "error"]
    assert sum("raccoon-1.jpg' is missing: export the labels with" in line for line in errors) == 1
    # Their labels are left over.
    assert sum("has no picture in" in line for line in errors) in (0, 2)
    with pytest.raises(UserError, match=r"train\.txt, line 1: the picture 'data/.*raccoon-1\.jpg'"):
        dd.load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "obj.names").unlink(), r"obj\.names is missing: export"),
        (lambda f: (f / "obj.names").write_text("\n"), r"obj\.names is empty: write a class"),
        (lambda f: (f / "train.txt").unlink(), r"the list 'data/train\.txt' is missing: export"),
        (lambda f: (f / "obj.data").write_text("x"), "names no list of pictures"),
        (lambda f: (f / "train.txt").write_text(""), "holds no labelled picture"),
    ],
)
def test_broken_cvat_yolo(
    change: Callable[[Path], None], message: str, raccoons: Dataset, tmp_path: Path
) -> None:
    cvat_yolo(raccoons, tmp_path)
    change(tmp_path)
    from duckdetect.data.loading import require_boxes

    with pytest.raises(UserError, match=message):
        require_boxes(dd.load_dataset(tmp_path))


def test_a_list_of_classes_alone_is_no_data_set(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    put_text(tmp_path / "classes.txt", "duck\n")
    with pytest.raises(UserError, match="holds no labels"):
        dd.load_dataset(tmp_path)


def test_several_folders_in_one_split(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put_image(tmp_path / name / "images" / f"{name}.jpg")
        put_text(tmp_path / name / "labels" / f"{name}.txt", "0 .5 .5 .5 .5")
    put_text(tmp_path / "data.yaml", "names: [duck]\ntrain: [a/images, b/images]\n")
    dataset = dd.load_dataset(tmp_path)
    assert [s.path.name for s in dataset] == ["a.jpg", "b.jpg"]
    assert dataset.n_boxes == 2


@pytest.mark.parametrize("suffix", [".xml", ".json", "Datumaro"])
def test_folders_are_not_listed_for_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """600 labelme files took 79 seconds."""
    shape = {"label": "duck", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    for i in range(30):
        put_image(tmp_path / f"{i}.jpg")
        labelme = json.dumps({"imagePath": f"{i}.jpg", "imageData": None, "shapes": [shape]})
        datumaro = json.dumps(
            {
                "images": [{"id": 1, "file_name": f"{i}.jpg"}],
                "categories": [{"id": 1, "name": "duck"}],
                "annotations": [annotation()],
            }
        )
        label = {".json": labelme, ".xml": voc_xml(filename=f"{i}.jpg"), "Datumaro": datumaro}
        end = ".xml" if suffix == ".xml" else ".json"
        (tmp_path / f"{i}{end}").write_text(label[suffix])
    listed = []
    for module, name in ((places, "children"), (voc, "children"), (coco, "_listed")):
        children = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda folder, list_=children: (listed.append(folder), list_(folder))[1]
        )
    assert load_dataset(tmp_path).n_boxes == 30
    assert 0 < len(listed) < 20


def test_folders_are_not_listed_for_each_folder_of_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder for each video: 2,400 files in 1,200 of them took 26 seconds."""
    for i in range(30):
        put_image(tmp_path / "JPEGImages" / f"video{i}" / f"{i}.jpg")
        (tmp_path / "Annotations" / f"video{i}").mkdir(parents=True)
        xml = voc_xml(filename=f"{i}.jpg")
        (tmp_path / "Annotations" / f"video{i}" / f"{i}.xml").write_text(xml)
    listed = []
    monkeypatch.setattr(
        voc, "children", lambda folder: (listed.append(folder), places.children(folder))[1]
    )
    assert load_dataset(tmp_path).n_boxes == 30
    assert 0 < len([folder for folder in listed if folder == tmp_path]) < 10


def _datumaro(folder: Path, *names: str) -> None:
    for name in names:
        put_image(folder / "images" / f"{name}.jpg")
        content = {
            "images": [{"id": 1, "file_name": f"{name}.jpg"}],
            "categories": [{"id": 1, "name": "duck"}],
            "annotations": [annotation()],
        }
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("content", ["", '{"images": [{"id"'])
def test_a_cut_file_among_files_of_pictures_is_told(tmp_path: Path, content: str) -> None:
    _datumaro(tmp_path, "a", "b", "c")
    assert load_dataset(tmp_path).n_boxes == 3
    (tmp_path / "annotations" / "b.json").write_text(content)
    with pytest.raises(UserError, match=r"b\.json: is not JSON, it may be cut off: export"):
        load_dataset(tmp_path)
    (tmp_path / "annotations" / "b.json").write_text('{"images": []}')
    (told,) = (p for p in check_dataset(tmp_path) if "not COCO" in str(p))
    assert "b.json: is not COCO" in str(told)


def test_a_cut_file_that_is_named_as_a_split_is_told(tmp_path: Path) -> None:
    _datumaro(tmp_path, "instances_train", "instances_val")
    assert list_parts(tmp_path) == ["train", "valid"]
    (tmp_path / "annotations" / "instances_val.json").write_text('{"images": [')
    assert list_parts(tmp_path) == ["train", "valid"]
    with pytest.raises(UserError, match=r"instances_val\.json is not JSON"):
        load_dataset(tmp_path, "valid")
    (tmp_path / "annotations" / "notes.json").write_text("mine")
    assert load_dataset(tmp_path).n_boxes == 1


def test_folders_with_labels_of_no_split_are_told(tmp_path: Path) -> None:
    """A split that was added by hand, or taken out of data.yaml, was left out without a word."""
    for split in ("train", "valid", "test", "train2"):
        put_image(tmp_path / split / "images" / f"{split}.jpg")
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / f"{split}.txt").write_text("0 .5 .5 .2 .2\n")
    text = "names: [duck]\ntrain: train/images\nval: valid/images\n"
    (tmp_path / "data.yaml").write_text(text)
    told = {str(problem) for problem in check_dataset(tmp_path)}
    for split in ("test", "train2"):
        assert any(f"{split}: has labels of its own, which are left out" in line for line in told)
    assert not any("train: has" in line or "valid: has" in line for line in told)
    put_coco(tmp_path / "coco" / "train", names=["a.jpg"])
    put_coco(tmp_path / "coco" / "train_new", names=["b.jpg"])
    more = put_coco(tmp_path / "coco" / "other", names=["c.jpg"]) / "_annotations.coco.json"
    more.rename(tmp_path / "coco" / "train" / "more.json")
    shutil.rmtree(more.parent)
    told = {str(problem) for problem in check_dataset(tmp_path / "coco")}
    assert any("train_new: has labels of its own, which are left out" in line for line in told)
    assert any("more.json: is not read beside _annotations.coco.json" in line for line in told)
    put_coco(
        tmp_path / "coco" / "Train", names=["d.jpg"]
    )  # of two folders of one split one is read
    told = {str(problem) for problem in check_dataset(tmp_path / "coco")}
    assert sum("rain: has labels of its own, which are left out" in line for line in told) == 1


def test_a_folder_that_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `lost+found` is at the top of many disks."""
    put_coco(tmp_path, names=["a.jpg"])
    (tmp_path / "lost+found").mkdir()
    readable = os.access
    monkeypatch.setattr(
        os, "access", lambda path, *mode: Path(path).name != "lost+found" and readable(path, *mode)
    )
    (told,) = [str(p) for p in check_dataset(tmp_path) if "lost+found" in str(p)]
    assert "lost+found: is not looked into for labels: it may not be read" in told


def test_more_folders_than_are_looked_into_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duckdetect.data.loading._MOST_FOLDERS", 2)
    for i in range(3):
        (tmp_path / f"s{i}").mkdir()
    put_coco(tmp_path / "s0", names=["a.jpg"])
    with pytest.raises(UserError, match="holds 3 folders that may have labels, more than are"):
        load_dataset(tmp_path)
    put_coco(tmp_path, names=["b.jpg"])
    assert any("1 folders here were not looked into" in str(p) for p in check_dataset(tmp_path))


def test_folders_of_one_picture_each_are_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,200 files of pictures took 1.5 GB, and 4,000 folders of YOLO's pictures 49 seconds."""
    holders, listed = [], []
    entries = names.Finder._entries

    def counted(finder: names.Finder, folder: Path) -> dict[str, Path]:
        holders.append(len(finder._holders))
        listed.append(folder)
        return entries(finder, folder)

    monkeypatch.setattr(names.Finder, "_entries", counted)
    for i in range(40):
        _datumaro(tmp_path / "datumaro", f"p{i}")
        (tmp_path / "datumaro" / "images" / f"s{i}").mkdir()
        picture = tmp_path / "datumaro" / "images" / f"p{i}.jpg"
        picture.rename(picture.with_name(f"s{i}") / picture.name)
    assert load_dataset(tmp_path / "datumaro").n_boxes == 40
    assert max(holders) < 5
    yolo = tmp_path / "yolo"
    (yolo / "labels").mkdir(parents=True)
    (yolo / "data.yaml").write_text("names: [duck]\ntrain: images\n")
    for i in range(40):
        put_image(yolo / "images" / f"s{i}" / f"p{i}.jpg")
        (yolo / "labels" / f"p{i}.txt").write_text("0 .5 .5 .2 .2\n")
    read_whole = []
    files = names.Finder.files
    monkeypatch.setattr(
        names.Finder, "files",
        lambda finder, folder: (read_whole.append(folder), files(finder, folder))[1],
    )  # fmt: skip
    assert load_dataset(yolo).n_boxes == 40
    assert read_whole.count(yolo / "labels") < 5


def _yolo(folder: Path, labels: dict[str, str]) -> list[str]:
    """YOLO of two pictures, whose labels lie where `labels` says; what `check` tells of them."""
    (folder / "data.yaml").parent.mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [duck]\ntrain: images\n")
    for name, place in labels.items():
        put_image(folder / "images" / f"{name}.jpg")
        path = folder / place / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 .5 .5 .2 .2\n")
    return [str(problem) for problem in check_dataset(folder) if "of labels" in str(problem)]


def test_labels_that_nobody_has_read_are_told(tmp_path: Path) -> None:
    """Of pictures whose labels lie elsewhere nothing was said: they counted as without an object."""
    assert _yolo(tmp_path / "good", {"a": "labels", "b": "labels"}) == []
    for i, place in enumerate(("Labels", "labels/batch2", "images/old")):
        (told,) = _yolo(tmp_path / str(i), {"a": "labels", "b": place})
        unread = "labels/a" if place == "Labels" else f"{place}/b"
        assert f"1 file of labels is not read ({unread}.txt): move" in told
    coco_ = put_coco(tmp_path / "coco", names=["a.jpg"])
    (coco_ / "annotations").mkdir()
    (coco_ / "_annotations.coco.json").rename(coco_ / "annotations" / "instances_default.json")
    for name in ("geese.json", "captions_default.json"):
        content = (coco_ / "annotations" / "instances_default.json").read_text()
        (coco_ / "annotations" / name).write_text(content)
    told = [str(problem) for problem in check_dataset(coco_) if "not read" in str(problem)]
    assert len(told) == 1
    assert "1 file of labels is not read (geese.json)" in told[0]
    for split in ("train", "val"):
        put_image(tmp_path / "voc" / "JPEGImages" / f"{split}.jpg")
        (tmp_path / "voc" / "Annotations" / split).mkdir(parents=True)
        xml = voc_xml(filename=f"{split}.jpg")
        (tmp_path / "voc" / "Annotations" / split / f"{split}.xml").write_text(xml)
    put_image(tmp_path / "voc" / "JPEGImages" / "new.jpg")
    (tmp_path / "voc" / "Annotations" / "new.xml").write_text(voc_xml(filename="new.jpg"))
    assert list_parts(tmp_path / "voc") == ["train", "valid"]
    told = [str(problem) for problem in check_dataset(tmp_path / "voc")]
    assert any("1 file of labels is not read (Annotations/new.xml)" in line for line in told)


def test_splits_of_the_same_pictures_are_told(tmp_path: Path) -> None:
    put_image(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .2 .2\n")
    text = "names: [duck]\ntrain: {}\nval: {}\n"
    (tmp_path / "data.yaml").write_text(text.format("../train/images", "../valid/images"))
    assert list_parts(tmp_path) == ["train"]  # of a path that leads nowhere no other is taken
    (tmp_path / "data.yaml").write_text(text.format("images", "images"))
    notes: list[Problem] = []
    load_training(tmp_path, report=noting(notes))
    assert any("1 picture is of both train and valid (a.jpg)" in str(note) for note in notes)


def test_splits_that_yaml_names_and_that_are_not_there(tmp_path: Path) -> None:
    """A letter too many in a folder's name took a whole split away without a word."""
    for place in ("train", "valid_c"):
        put_image(tmp_path / "images" / place / f"{place}.jpg")
        (tmp_path / "labels" / place).mkdir(parents=True)
        (tmp_path / "labels" / place / f"{place}.txt").write_text("0 .5 .5 .2 .2\n")
    text = "names: [duck]\ntrain: images/train\nval: {}\n"
    (tmp_path / "data.yaml").write_text(text.format("images/vall"))
    told = [str(problem) for problem in check_dataset(tmp_path)]
    assert any("its split 'valid' is not there (\"images/vall\"): it is" in t for t in told)
    (tmp_path / "data.yaml").write_text(text.format("[images/valid_c, images/gone]"))
    with pytest.raises(UserError, match="the folder 'images/gone' of split 'valid' is missing"):
        load_dataset(tmp_path, "valid")


def test_splits_of_lists_share_a_folder_of_labels(tmp_path: Path) -> None:
    """As Ultralytics' autosplit writes them."""
    for name in ("a", "b"):
        put_image(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "train.txt").write_text("./images/a.jpg\n")
    (tmp_path / "val.txt").write_text("./images/b.jpg\n")
    (tmp_path / "data.yaml").write_text("names: [duck]\ntrain: train.txt\nval: val.txt\n")
    assert [len(load_dataset(tmp_path, split)) for split in ("train", "valid")] == [1, 1]
    assert check_dataset(tmp_path) == []


def test_folders_of_splits_with_a_list_of_classes_are_splits(
    raccoons: Dataset, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        copy(raccoons, tmp_path / "images" / split, f"{split}-")
        yolo_lines(raccoons, tmp_path / "labels" / split, f"{split}-")
    put_text(tmp_path / "classes.txt", "raccoon\n")
    notes: list[Problem] = []
    train, valid = load_training(tmp_path, report=noting(notes))
    assert (len(train), len(valid or ())) == (N, N)
    (note,) = notes
    assert note.what.startswith(f"{N} pictures are of both train and valid (")  # copies
    assert {sample.path.parent.name for sample in train} == {"train"}
    # Pictures outside of them belong to no split.
    copy(raccoons.subset([0]), tmp_path / "images", "loose-")
    yolo_lines(raccoons.subset([0]), tmp_path / "labels", "loose-")
    assert list_parts(tmp_path) == [None]
    assert len(load_dataset(tmp_path)) == 2 * N + 1


def test_other_files_before_labelmes_are_told_of(tmp_path: Path) -> None:
    shape = {"label": "duck", "points": [[10, 10], [50, 50]], "shape_type": "rectangle"}
    for i in range(6):
        put_text(tmp_path / f"a{i}.json", '{"version": 1}')
    put_image(tmp_path / "b.png")
    content = {"shapes": [shape], "imagePath": "b.png", "imageWidth": 80, "imageHeight": 60}
    put_text(tmp_path / "b.json", json.dumps(content))
    notes: list[Problem] = []
    dataset = read_dataset(tmp_path, None, noting(notes))
    assert dataset.n_boxes == 1
    assert [note.what for note in notes] == ["is not labelme's JSON"] * 6


def test_a_table_that_tells_excel_its_separator(tmp_path: Path) -> None:
    put_image(tmp_path / "b.png")
    table = "sep=;\r\nfilename;class;xmin;ymin;xmax;ymax\r\nb.png;duck;1;2;30;40\r\n"
    put_text(tmp_path / "labels.csv", table)
    assert load_dataset(tmp_path).samples[0].xyxy.tolist() == [[1, 2, 30, 40]]
    put_text(tmp_path / "labels.csv", table + "b.png;duck;5;6;1x;9\r\n")
    with pytest.raises(UserError, match="line 4: its corners are 5, 6, 1x, 9"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    "names",
    [("train_list.txt", "val_list.txt"), ("ImageSets/train.txt", "ImageSets/val.txt")],
)
def test_lists_of_splits_that_are_not_read_are_told(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in "abc":
        put_image(tmp_path / "JPEGImages" / f"{name}.jpg")
        put_text(tmp_path / "Annotations" / f"{name}.xml", voc_xml(f"{name}.jpg"))
    put_text(tmp_path / names[0], "JPEGImages/a.jpg Annotations/a.xml\nb\n")
    assert not check_dataset(tmp_path)
    put_text(tmp_path / names[1], "./JPEGImages/c.jpg Annotations/c.xml\n")
    (told,) = check_dataset(tmp_path)
    assert f"lists of splits are not read ({names[0]}, {names[1]}), and all pictures" in told.what


def test_pictures_of_training_and_validation_are_told(raccoons: Dataset, tmp_path: Path) -> None:
    put_coco(tmp_path / "data")
    notes: list[Problem] = []
    load_training(tmp_path / "data", tmp_path / "data", report=noting(notes))
    assert [note.what for note in notes] == ["1 picture is of both train and valid (a.jpg)"]
    put_coco(tmp_path / "copy")
    notes.clear()
    load_training(tmp_path / "data", tmp_path / "copy", report=noting(notes))
    assert notes == []
    shutil.copy(tmp_path / "data" / "a.jpg", tmp_path / "copy" / "a.jpg")
    load_training(tmp_path / "data", tmp_path / "copy", report=noting(notes))
    assert [note.what for note in notes] == ["1 picture is of both train and valid (a.jpg)"]


@pytest.mark.parametrize("name", ["{}_annotations.json", "{}.coco.json", "coco-{}.json"])
def test_coco_files_of_splits_by_any_word_of_their_names(tmp_path: Path, name: str) -> None:
    for split, pictures in (("train", ["a.jpg", "b.jpg"]), ("val", ["a.jpg"])):
        for picture in pictures:  # of the same names
            put_image(tmp_path / "images" / split / picture)
        boxes = [annotation(id=i, image_id=i) for i in range(1, len(pictures) + 1)]
        content = coco_of(pictures, boxes)
        put_text(tmp_path / "annotations" / name.format(split), json.dumps(content))
    assert list_parts(tmp_path) == ["train", "valid"]
    train, valid = load_dataset(tmp_path), load_dataset(tmp_path, "valid")
    assert [s.path.parent.name for s in (*train, *valid)] == ["train", "train", "val"]


def test_pictures_of_several_splits_that_are_read_as_one_are_told(tmp_path: Path) -> None:
    for name in ("train/a.jpg", "val/b.jpg"):
        put_image(tmp_path / name)
    boxes = [annotation(id=i, image_id=i) for i in (1, 2)]
    put_text(tmp_path / "all.json", json.dumps(coco_of(["train/a.jpg", "val/b.jpg"], boxes)))
    (told,) = check_dataset(tmp_path)
    assert "in folders of several splits (train, val), and are one set" in told.what


def test_a_second_yaml_file_is_told(tmp_path: Path) -> None:
    put_yolo(tmp_path)
    assert not check_dataset(tmp_path)
    shutil.copyfile(tmp_path / "data.yaml", tmp_path / "dataset.yaml")
    (told,) = check_dataset(tmp_path)
    assert f"{tmp_path / 'dataset.yaml'}: is not read beside data.yaml" in str(told)
