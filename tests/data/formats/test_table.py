"""docs/data.md's table of formats and layouts, line by line, and the formats that are only named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import annotation, coco_of, put_coco, put_image, put_yolo, voc_xml

from duckdetect.data.check import check_dataset
from duckdetect.data.convert import convert_dataset
from duckdetect.data.loading import list_parts, load_dataset
from duckdetect.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
BOX = [10, 20, 40, 35]
LINE = "0 0.3125 0.458333 0.375 0.25\n"  # the same box of 80x60
POLYGON = "<polygon><x1>10</x1><y1>20</y1><x2>40</x2><y2>20</y2><x3>40</x3><y3>35</y3></polygon>"
TRIANGLE = [10, 20, 40, 20, 40, 35]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def voc(folder: Path, image: str, xml: str) -> None:
    put_image(folder / image)
    name = Path(image).name
    write(folder / xml, voc_xml(name).replace("</bndbox>", f"</bndbox>{POLYGON}"))


def coco(folder: Path, image: str, file: str) -> None:
    put_image(folder / image)
    write(
        folder / file,
        json.dumps(coco_of([Path(image).name], [annotation(segmentation=[TRIANGLE])])),
    )


def yolo(folder: Path, image: str, labels: str, line: str = LINE) -> None:
    put_image(folder / image)
    write(folder / labels, line)


def image_sets(folder: Path) -> None:
    for name, split in (("1", "train"), ("2", "val")):
        voc(folder, f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml")
        write(folder / f"ImageSets/Main/{split}.txt", f"{name}\n")


def split_folders(folder: Path) -> None:
    for split in ("train", "val"):
        voc(folder, f"JPEGImages/{split}/{split}.jpg", f"Annotations/{split}/{split}.xml")


def cvat_1_1(folder: Path) -> None:
    write(folder / "obj.data", "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n")
    write(folder / "obj.names", "duck\n")
    write(folder / "train.txt", "data/obj_train_data/a.jpg\n")
    yolo(folder, "obj_train_data/a.jpg", "obj_train_data/a.txt")


def cvat_lists(folder: Path) -> None:
    write(folder / "data.yaml", "names: {0: duck}\ntrain: train.txt\n")
    write(folder / "train.txt", "data/images/train/a.jpg\n")
    yolo(folder, "images/train/a.jpg", "labels/train/a.txt")


def splits_below(folder: Path) -> None:
    write(folder / "ducks.yaml", "names: [duck]\ntrain: images/train\nval: images/val\n")
    yolo(folder, "images/train/cam1/a.jpg", "labels/train/cam1/a.txt")
    yolo(folder, "images/val/b.jpg", "labels/val/b.txt")


def with_classes(folder: Path, name: str, image: str, labels: str) -> None:
    write(folder / name, "duck\n")
    yolo(folder, image, labels)


def oriented(folder: Path) -> None:
    # A rectangle whose outer box is BOX: the middles of its sides for a square, turned by atan(1/2).
    put_yolo(folder, "0 .375 .333333 .5 .5 .25 .583333 .125 .416667\n")


def create_ml(folder: Path) -> None:
    put_image(folder / "train" / "a.jpg")
    box = {"x": 25, "y": 27.5, "width": 30, "height": 15}
    entry = {"image": "a.jpg", "annotations": [{"label": "duck", "coordinates": box}]}
    write(folder / "train" / "_annotations.createml.json", json.dumps([entry]))


def labelme(folder: Path) -> None:
    put_image(folder / "a.jpg")
    points = [[10, 20], [40, 20], [40, 35]]
    shape = {"label": "duck", "points": points, "shape_type": "polygon"}
    content = {"shapes": [shape], "imagePath": "a.jpg", "imageHeight": 60, "imageWidth": 80}
    write(folder / "a.json", json.dumps({**content, "imageData": None, "flags": {}}))


def table(folder: Path, name: str, text: str) -> None:
    put_image(folder / "a.jpg")
    write(folder / name, text)


HEAD = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
OPEN_IMAGES = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n"


def darknet(folder: Path) -> None:
    put_image(folder / "my duck.jpg")
    put_image(folder / "none.jpg")
    write(folder / "_annotations.txt", "my duck.jpg 10,20,40,35,0\nnone.jpg\n")
    write(folder / "_classes.txt", "duck\n")


def tfrecord(folder: Path) -> None:
    import tensorflow as tf

    path = put_image(folder / "source" / "a.jpg")

    def floats(*values: float) -> Any:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def texts(*values: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    features = {
        "image/encoded": texts(path.read_bytes()),
        "image/filename": texts(b"../../a.jpg"),
        "image/object/bbox/xmin": floats(10 / 80),
        "image/object/bbox/xmax": floats(40 / 80),
        "image/object/bbox/ymin": floats(20 / 60),
        "image/object/bbox/ymax": floats(35 / 60),
        "image/object/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    with tf.io.TFRecordWriter(str(folder / "ducks.tfrecord")) as writer:
        writer.write(example.SerializeToString())
    write(folder / "ducks_label_map.pbtxt", "item {\n  id: 1\n  name: 'duck'\n}\n")
    path.unlink()
    path.parent.rmdir()


KEY_POINTS = f"{LINE.strip()} .3 .4 2 .35 .5 1 0 0 0\n"

# The box of each is BOX; where it has outlines, that is their outer box.
FORMATS: dict[str, Callable[[Path], Any]] = {
    "COCO, a folder a split": lambda f: coco(f, "train/a.jpg", "train/_annotations.coco.json"),
    "COCO, a file a split": lambda f: coco(f, "images/a.jpg", "annotations/instances_train.json"),
    "COCO, one file": lambda f: coco(f, "images/a.jpg", "result.json"),
    "COCO, FiftyOne": lambda f: coco(f, "data/a.jpg", "labels.json"),
    "COCO, a file a picture": lambda f: [
        coco(f, f"Images/{n}.jpg", f"Annotations/{n}.json") for n in "ab"
    ],
    "Pascal VOC, beside": lambda f: voc(f, "a.jpg", "a.xml"),
    "Pascal VOC, folders": lambda f: voc(f, "JPEGImages/a.jpg", "Annotations/a.xml"),
    "Pascal VOC, labels": lambda f: voc(f, "images/a.jpg", "labels/a.xml"),
    "Pascal VOC, xmls": lambda f: voc(f, "images/a.jpg", "annotations/xmls/a.xml"),
    "Pascal VOC, split lists": image_sets,
    "Pascal VOC, split folders": split_folders,
    "Pascal VOC, a development kit": lambda f: voc(
        f / "VOCdevkit" / "VOC2007", "JPEGImages/a.jpg", "Annotations/a.xml"
    ),
    "YOLO": lambda f: put_yolo(f, LINE),
    "YOLO, splits below": splits_below,
    "YOLO, lists": cvat_lists,
    "YOLO 1.1": cvat_1_1,
    "YOLO, Label Studio": lambda f: with_classes(f, "classes.txt", "images/a.jpg", "labels/a.txt"),
    "YOLO, Label Studio, splits": lambda f: with_classes(
        f, "classes.txt", "images/train/a.jpg", "labels/train/a.txt"
    ),
    "YOLO, LabelImg": lambda f: with_classes(f, "classes.txt", "a.jpg", "a.txt"),
    "YOLO, Darknet": lambda f: with_classes(f / "train", "_darknet.labels", "a.jpg", "a.txt"),
    "YOLO key points": lambda f: put_yolo(
        f, KEY_POINTS, "names: [duck]\nkpt_shape: [3, 3]\ntrain: ../train/images\n"
    ),
    "YOLO oriented boxes": oriented,
    "Create ML": create_ml,
    "labelme": labelme,
    "CSV": lambda f: table(f, "_annotations.csv", HEAD + "a.jpg,80,60,duck,10,20,40,35\n"),
    "CSV without a head": lambda f: table(f, "annotations.csv", "x/a.jpg,10,20,40,35,duck\n"),
    "CSV, Open Images": lambda f: table(
        f, "boxes.csv", OPEN_IMAGES + f"a,x,duck,1,.125,.5,{20 / 60},{35 / 60}\n"
    ),
    "Darknet list": darknet,
    "TFRecord": tfrecord,
}


def rows() -> dict[str, list[str]]:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    block = re.search(r"\| format \|.*?\n\n", text, re.DOTALL)
    assert block is not None
    lines = block[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_the_table_and_the_fixtures_name_the_same() -> None:
    assert list(rows()) == list(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_each_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    FORMATS[name](data)
    # The files that the table names are those of the fixture.
    for file in re.findall(r"`([\w./]*\w\.\w+|\w+/)`", rows()[name][0]):
        assert list(data.rglob(file.strip("/"))), file
    samples = [s for split in list_parts(data) for s in load_dataset(data, split)]
    labelled = [sample for sample in samples if len(sample.class_id)]
    assert labelled
    tolerance = 1.0 if "oriented" in name else 0.01
    for sample in labelled:
        np.testing.assert_allclose(sample.xyxy, [BOX], atol=tolerance)
    assert all(load_dataset(data, split).classes == ("duck",) for split in list_parts(data))
    assert not [p for p in check_dataset(data) if p.severity == "error"]
    with_outlines = rows()[name][2] != "no"
    if with_outlines and not name.startswith("YOLO"):  # those have both, here a box
        assert all(sample.segmentation == ([TRIANGLE],) for sample in labelled)
    convert_dataset(data, "coco", tmp_path / "out")
    assert sum(
        load_dataset(tmp_path / "out", s).n_boxes for s in list_parts(tmp_path / "out")
    ) == len(labelled)


NAMED: dict[str, tuple[str, str]] = {
    "KITTI": ("label_2/000.txt", "Car 0.00 0 -1.5 10 20 40 35 1.6 1.8 4.2 1.0 1.5 9.8 -1.6\n"),
    "DOTA": ("labels/a.txt", "10.0 20.0 40.0 20.0 40.0 35.0 10.0 35.0 duck 0\n"),
    "CVAT's own XML": (
        "annotations.xml",
        "<annotations><version>1.1</version><image id='0' name='a.jpg'/></annotations>",
    ),
    "VGG VIA": ("via.json", json.dumps({"a.jpg1": {"filename": "a.jpg", "regions": []}})),
    "a project of VGG VIA": ("via_project.json", json.dumps({"_via_img_metadata": {}})),
    "Supervisely": ("ann/a.jpg.json", json.dumps({"size": {"height": 60}, "objects": []})),
    "VoTT": ("a-asset.json", json.dumps({"asset": {"name": "a.jpg"}, "regions": []})),
    "Labelbox": ("export.json", json.dumps([{"data_row": {}, "projects": {}}])),
    "Label Studio's own JSON": (
        "a.json",
        json.dumps([{"data": {"image": "a"}, "annotations": []}]),
    ),
    "Datumaro": ("annotations/default.json", json.dumps({"items": [], "categories": {}})),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_read_is_called_by_its_name(tmp_path: Path, name: str) -> None:
    put_image(tmp_path / "a.jpg")
    file, text = NAMED[name]
    write(tmp_path / file, text)
    with pytest.raises(UserError, match=name) as caught:
        load_dataset(tmp_path)
    assert "export" in str(caught.value)
    assert "COCO" in str(caught.value)


def test_layouts_in_other_letters_and_words(tmp_path: Path) -> None:
    coco(tmp_path / "a", "Train/a.jpg", "Train/_annotations.coco.json")
    coco(tmp_path / "a", "Validation/b.jpg", "Validation/_annotations.coco.json")
    assert list_parts(tmp_path / "a") == ["train", "valid"]
    voc(tmp_path / "b", "training/Images/a.jpg", "training/Annotations/a.xml")
    assert list_parts(tmp_path / "b") == ["train"]
    np.testing.assert_allclose(load_dataset(tmp_path / "b").samples[0].xyxy, [BOX])


def test_several_folders_of_labels_are_named(tmp_path: Path) -> None:
    put_coco(tmp_path / "one")
    put_coco(tmp_path / "two")
    with pytest.raises(UserError, match=r"several folders of labels \(one, two\): give one"):
        load_dataset(tmp_path)


def test_a_head_that_is_badly_quoted_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        'filename,class,xmin,"ymin" ,xmax,ymax\na.jpg,duck,1,2,30,40\n'
    )
    put_image(tmp_path / "a.jpg")
    with pytest.raises(
        UserError, match=r"cannot be read after line 1 .*: look for a quotation mark"
    ):
        load_dataset(tmp_path)
