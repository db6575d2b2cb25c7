"""Labels as tools and tables really hold them: encodings, capitals, parts of a side, oddities."""

from __future__ import annotations

import base64
import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import (
    annotation,
    coco_of,
    noise,
    put_coco,
    put_image,
    put_yolo,
    voc_xml,
)
from PIL import Image

from duckdetect.data.check import check_dataset
from duckdetect.data.dataset import Dataset, ReadOptions
from duckdetect.data.loading import load_dataset
from duckdetect.errors import DataWarning, UserError
from duckdetect.imaging.geometry import area, encode_mask, rasterise

BOX = [10, 20, 40, 35]
_HEAD = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def put_csv(folder: Path, content: str | bytes, *names: str) -> Path:
    for name in names or ("a.jpg",):
        put_image(folder / name)
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / "_annotations.csv").write_bytes(raw)
    return folder


def boxes(dataset: Dataset) -> dict[str, list[list[float]]]:
    return {sample.path.name: sample.xyxy.tolist() for sample in dataset}


def warnings(path: Path) -> str:
    problems = check_dataset(path)
    assert not [p for p in problems if p.severity == "error"], problems
    return "\n".join(map(str, problems))


# CSV


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (f"\ufeff{_HEAD}".replace(",", ";") + "a.jpg;80;60;Ente;10,0;20;40;35\r\n", "a.jpg"),
        (_HEAD.replace(",", "|") + '"a.jpg"|80|60|"Ente"|10|20|40|35\n', "a.jpg"),
        ((_HEAD + "äpfel.jpg,80,60,Ente,10,20,40,35\n").encode("cp1252"), "äpfel.jpg"),
        ((_HEAD + "äpfel.jpg,80,60,Ente,10,20,40,35\n").encode("utf-16"), "äpfel.jpg"),
        (_HEAD + f"a.jpg,80,60,Ente,10,20,40,35\n{_HEAD}", "a.jpg"),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, content: str | bytes, name: str) -> None:
    found = load_dataset(put_csv(tmp_path / "data", content, name))
    assert boxes(found) == {name: [BOX]}
    assert found.classes == ("Ente",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "image_name,x,y,w,h,label\na.jpg,10,20,30,15,duck\n",
            "but without xmin, ymin, xmax, ymax",
        ),
        (
            'image_id,width,height,bbox,source\na,80,60,"[1, 2, 3, 4]",x\n',
            "but without class, xmin",
        ),
        (_HEAD + f"a.jpg,80,60,{'x' * 200_000},10,20,40,35\n", "cannot be read after line 1"),
    ],
)
def test_a_table_that_is_not_read_says_why(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        load_dataset(put_csv(tmp_path / "data", content))


def test_a_stray_quotation_mark_swallows_no_rows(tmp_path: Path) -> None:
    rows = [f"a.jpg,80,60,{{}},{x},20,{x + 9},35\n" for x in range(1, 60, 10)]

    def put(*classes: str) -> Path:
        lines = [row.format(name) for row, name in zip(rows, classes, strict=True)]
        return put_csv(tmp_path / "data", _HEAD + "".join(lines))

    assert load_dataset(put(*["duck"] * 6)).n_boxes == 6
    swallowing = put("duck", 'duck"', '"duck', "duck", '"duck"', "duck")
    with pytest.raises(UserError, match=r"cannot be read after line 3 .*quotation mark"):
        load_dataset(swallowing)
    swallowing.joinpath("_annotations.csv").write_text(
        _HEAD
        + rows[0].format("duck")
        + 'a.jpg,80,60,"du\nck",1,20,9,35\n'
        + rows[2].format('"d\n"')
    )
    said = [str(problem) for problem in check_dataset(swallowing)]
    assert [line.partition("csv, ")[2].partition(":")[0] for line in said] == ["line 3", "line 5"]
    assert "has a cell of several lines: look for a quotation mark that is not closed" in said[0]


def test_rows_that_contradict_each_other_on_their_pictures_size(tmp_path: Path) -> None:
    content = (
        _HEAD + "a.jpg,80,60,duck,10,20,40,35\na.jpg,,,duck,1,2,9,9\na.jpg,90,60,duck,1,2,9,9\n"
    )
    with pytest.raises(UserError, match="line 4: says that its picture is 90x60, line 2 80x60"):
        load_dataset(put_csv(tmp_path / "data", content))


# Parts of the sides where pixels are meant


def put_normalised(folder: Path, kind: str) -> Path:
    put_image(folder / "a.jpg")
    labels: Any
    if kind == "Create ML":
        place = {"x": 0.5, "y": 0.5, "width": 0.25, "height": 0.25}
        labels = [{"image": "a.jpg", "annotations": [{"label": "duck", "coordinates": place}]}]
    else:
        shape = {"label": "duck", "shape_type": "rectangle", "points": [[0.1, 0.2], [0.4, 0.5]]}
        labels = {"shapes": [shape], "imagePath": "a.jpg"}
    if kind == "VOC":
        (folder / "a.xml").write_text(voc_xml(box=(0.1, 0.2, 0.4, 0.5)))
    elif kind == "Darknet":
        (folder / "_annotations.txt").write_text("a.jpg 0.1,0.2,0.4,0.5,0\n")
        (folder / "_classes.txt").write_text("duck")
    else:
        (folder / "a.json").write_text(json.dumps(labels))
    return folder


@pytest.mark.parametrize("kind", ["VOC", "Darknet", "Create ML", "labelme"])
def test_normalised_boxes_are_refused_in_all_formats_of_pixels(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UserError, match="its boxes are normalised"):
        load_dataset(put_normalised(tmp_path / "data", kind))


# labelme


def test_pictures_inside_labelmes_files_are_named(tmp_path: Path) -> None:
    shape = {"label": "duck", "points": [[10, 20], [40, 35]], "shape_type": "rectangle"}
    content = {"shapes": [shape], "imagePath": "a.jpg", "imageData": "/9j/4AAQ"}
    (tmp_path / "a.json").write_text(json.dumps(content))
    said = "\n".join(map(str, check_dataset(tmp_path)))
    assert "1 of the pictures that are missing are inside the JSON files" in said


def test_labelmes_turned_boxes_and_its_words_for_no_class(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    turned = [[10, 30], [30, 10], [50, 30], [30, 50]]
    shapes = [
        {"label": "duck", "shape_type": "rotation", "points": turned, "direction": 0.785},
        {"label": "__ignore__", "shape_type": "rectangle", "points": [[10, 20], [40, 35]]},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.jpg"}))
    found = load_dataset(tmp_path)
    assert found.classes == ("duck",)
    assert boxes(found) == {"a.jpg": [[10, 10, 50, 50]]}
    assert "labelme's word for no class" in warnings(tmp_path)


def test_a_rectangle_of_labelme_has_two_points_or_four_corners(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")

    def put(*points: list[int]) -> None:
        shape = {"label": "duck", "shape_type": "rectangle", "points": points}
        (tmp_path / "a.json").write_text(json.dumps({"shapes": [shape], "imagePath": "a.jpg"}))

    for right in ([[40, 35], [10, 20]], [[10, 20], [40, 20], [40, 35], [10, 35]]):
        put(*right)
        assert boxes(load_dataset(tmp_path)) == {"a.jpg": [BOX]}
    for n, wrong in (
        (1, [[10, 20]]),
        (3, [[10, 20], [40, 35], [70, 50]]),
        (4, [[10, 20], [40, 22], [40, 35], [10, 35]]),
        (4, [[10, 20], [40, 35], [40, 35], [10, 20]]),
    ):
        put(*wrong)
        with pytest.raises(UserError, match=f"shape 1: is a rectangle of {n} point.*: draw it ag"):
            load_dataset(tmp_path)


# COCO


def test_a_split_without_annotations_is_a_warning(tmp_path: Path) -> None:
    put_coco(tmp_path / "train")
    put_image(tmp_path / "test" / "t.jpg")
    content = coco_of(["t.jpg"], [])
    del content["annotations"]
    (tmp_path / "test" / "_annotations.coco.json").write_text(json.dumps(content))
    assert "has no annotations: its 1 pictures are left out" in warnings(tmp_path)
    assert len(load_dataset(tmp_path)) == 1


def test_numbers_as_names_and_boxes_left_out_beside_outlines(tmp_path: Path) -> None:
    outline = [[10, 20, 40, 20, 40, 35, 10, 35]]
    for i, bbox in enumerate((None, [])):
        folder = put_coco(
            tmp_path / str(i),
            [annotation(bbox, segmentation=outline)],
            categories=[{"id": 1, "name": 7}],
        )
        found = load_dataset(folder)
        assert found.classes == ("7",)
        assert boxes(found) == {"a.jpg": [BOX]}
    folder = put_coco(tmp_path / "neither", [annotation(None)])
    with pytest.raises(UserError, match="bbox is null"):
        load_dataset(folder)


# YOLO


@pytest.mark.parametrize("name", ["DATA.YAML", "Data.yaml", "DuckS.YML"])
def test_yolos_settings_in_capitals(tmp_path: Path, name: str) -> None:
    put_yolo(tmp_path, yaml="names: [duck]\ntrain: train/images\nnc: 3\n")
    (tmp_path / "data.yaml").rename(tmp_path / name)
    assert load_dataset(tmp_path).n_boxes == 1
    assert "nc is 3, but names has 1" in warnings(tmp_path)


@pytest.mark.parametrize("name", ["Classes.txt", "CLASSES.TXT", "Obj.names"])
def test_lists_of_classes_in_capitals(tmp_path: Path, name: str) -> None:
    put_image(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("0 .5 .5 .4 .4")
    (tmp_path / name).write_bytes("Küken".encode("cp1252"))
    assert load_dataset(tmp_path).classes == ("Küken",)
    assert "Küken" not in warnings(tmp_path)


# Pascal VOC


def test_lists_that_name_no_split_are_told_of(tmp_path: Path) -> None:
    for name in "abc":
        put_image(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{name}.xml").write_text(voc_xml(f"{name}.jpg"))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "default.txt").write_text("a\nb\n")
    assert "(default.txt) are named after no split" in warnings(tmp_path)
    assert len(load_dataset(tmp_path)) == 3


# TFRecord


def _record(name: bytes, seed: int, left: float) -> bytes:
    import tensorflow as tf

    picture = io.BytesIO()
    Image.fromarray(noise(seed=seed)).save(picture, "PNG")

    def texts(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    corners = {"xmin": left, "xmax": 0.9, "ymin": 0.1, "ymax": 0.9}
    features = {
        "image/filename": texts(name),
        "image/encoded": texts(picture.getvalue()),
        "image/object/class/text": texts(b"duck"),
    } | {
        f"image/object/bbox/{key}": tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        for key, value in corners.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString())


@pytest.mark.parametrize("packed", ["", "GZIP"])
def test_records_of_one_name_keep_their_own_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str
) -> None:
    import tensorflow as tf

    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "data" / "x.tfrecord"), packed) as file:
        file.write(_record(b"cam1/0.png", 1, 0.1))
        file.write(_record(b"cam2/0.png", 2, 0.2))
    found = load_dataset(tmp_path / "data")
    assert [s.xyxy[0, 0] for s in found] == pytest.approx([8, 16])
    for seed, sample in enumerate(found, 1):
        np.testing.assert_array_equal(sample.load(), noise(seed=seed))


def test_a_picture_in_two_shards_is_told(tmp_path: Path) -> None:
    import tensorflow as tf

    for number, box in (("00000", 0.1), ("00001", 0.2)):
        with tf.io.TFRecordWriter(str(tmp_path / f"x.tfrecord-{number}-of-00002")) as file:
            file.write(_record(b"a.png", 1, box))
    with pytest.raises(UserError, match=r"2 entries are named a\.png"):
        load_dataset(tmp_path)


def test_a_record_whose_boxes_are_gone_is_told(tmp_path: Path) -> None:
    import tensorflow as tf

    example = tf.train.Example.FromString(_record(b"a.png", 1, 0.1))
    for key in ("xmin", "ymin", "xmax", "ymax"):
        del example.features.feature[f"image/object/bbox/{key}"]
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrecord")) as file:
        file.write(example.SerializeToString())
    with pytest.raises(UserError, match="its boxes and classes differ in number"):
        load_dataset(tmp_path)


def test_packed_records_that_are_a_bomb_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("duckdetect.utils.archives.FREE_BYTES", 1 << 20)
    (tmp_path / "data").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "data" / "x.tfrecord"), "GZIP") as file:
        file.write(_record(b"\xf0\x9f\xa6\x86" * 80 + b".png", 1, 0.1))
    assert len(load_dataset(tmp_path / "data")) == 1
    with tf.io.TFRecordWriter(str(tmp_path / "data" / "x.tfrecord"), "GZIP") as file:
        file.write(bytes(2 << 20))
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(
        UserError, match=r"x\.tfrecord grows from .* as a bomb does: if you trust it"
    ):
        load_dataset(tmp_path / "data")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("label_map", "number", "told"),
    [
        ("item { id: 1 name: 'duck' }", 1, None),
        (
            "item { id: 1 name: 'duck' } item { id: 2 name: 'go",
            1,
            "x_label_map.pbtxt: is cut off: an",
        ),
        (
            "item { id: 1 name: 'duck' } item { id: 2",
            1,
            "is cut off: an item or a text in it has no",
        ),
        (
            "item { id: 1 name: 'duck' }",
            -5,
            "object 1 has the class number -5, which the label map",
        ),
        ("item { id: 1 name: 'duck' }", 2, "object 1 has the class number 2, which the label map"),
        (None, 1, "the records number their classes, and no label map beside them names these"),
    ],
)
def test_classes_of_records_are_named_by_the_label_map(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    label_map: str | None,
    number: int,
    told: str | None,
) -> None:
    import tensorflow as tf

    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    if label_map is not None:
        (data / "x_label_map.pbtxt").write_text(label_map)
    with tf.io.TFRecordWriter(str(data / "x.tfrecord")) as file:
        example = tf.train.Example.FromString(_record(b"0.png", 1, 0.1))
        feature = example.features.feature
        del feature["image/object/class/text"]
        feature["image/object/class/label"].int64_list.value[:] = [number]
        file.write(example.SerializeToString())
    problems = list(map(str, check_dataset(data)))
    if told is None:
        assert problems == []
    else:
        assert any(told in line for line in problems)


def test_records_that_are_empty(tmp_path: Path) -> None:
    (tmp_path / "x.tfrecord").touch()
    with pytest.raises(UserError, match=r"x\.tfrecord: is empty: copy it again"):
        load_dataset(tmp_path)


def test_a_damaged_record_is_said_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "x.tfrecord").write_bytes(b"nothing of the kind" * 9)
    with pytest.raises(UserError, match=r"is damaged \(corrupted record at 0"):
        load_dataset(tmp_path)


def test_a_table_that_says_more_than_is_read(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    head = "filename,class,xmin,ymin,xmax,ymax"
    table = tmp_path / "boxes.csv"
    table.write_text(f"{head}\na.jpg,duck,1,2,30,40,99\n")
    with pytest.raises(UserError, match=r"line 2: has 7 cells and not 6: put what holds a comma"):
        load_dataset(tmp_path)
    table.write_text(f'{head}\na.jpg,duck,"1,000",2,30,40\n')
    with pytest.raises(UserError, match="holds the number '1,000': write it without a comma"):
        load_dataset(tmp_path)
    table.write_text(f"{head},xmin\na.jpg,duck,1,2,30,40,9\n")
    assert load_dataset(tmp_path).samples[0].xyxy[0, 0] == 1
    assert "it has several columns xmin" in str(check_dataset(tmp_path)[0])
    table.write_text(f"{head},class_name\na.jpg,0,1,2,30,40,duck\n")
    assert load_dataset(tmp_path).classes == ("duck",)
    told = "the columns class, class_name say the same: 'class_name' is read"
    assert told in str(check_dataset(tmp_path)[0])
    more = ",".join(f"column_{i}" for i in range(900))
    table.write_text(f"{more},{head}\n" + "," * 900 + "a.jpg,duck,1,2,30,40\n")
    assert load_dataset(tmp_path).n_boxes == 1


def test_an_object_with_two_boxes(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    xml = voc_xml("a.jpg")
    box = xml[xml.index("<bndbox>") : xml.index("</bndbox>") + len("</bndbox>")]
    (tmp_path / "a.xml").write_text(xml.replace(box, box * 2, 1))
    with pytest.raises(UserError, match="has several boxes: give each box an object of its own"):
        load_dataset(tmp_path)
    for tag, twice in (("xmin", "<xmin>9</xmin>"), ("name", "<name>egg</name>")):
        (tmp_path / "a.xml").write_text(xml.replace(f"<{tag}>", f"{twice}<{tag}>"))
        with pytest.raises(UserError, match=f"object 1: has {tag} twice: keep the right one"):
            load_dataset(tmp_path)


def test_classes_that_are_numbered_from_1(tmp_path: Path) -> None:
    put_yolo(tmp_path, "1 .5 .5 .4 .4", "names: {1: duck}\ntrain: train/images\n")
    with pytest.raises(UserError, match="`names` has no number 0: number the classes from 0 on"):
        load_dataset(tmp_path)


def test_label_files_that_would_be_passed_over(tmp_path: Path) -> None:
    for names in (("train_a.csv", "train_b.csv"), ("train.csv", "more.csv")):
        folder = tmp_path / names[1]
        for name in names:
            put_csv(folder, _HEAD + "a.jpg,80,60,duck,1,2,30,40\n")
            (folder / "_annotations.csv").rename(folder / name)
        with pytest.raises(UserError, match=f"and {names[1]} besides|and {names[0]} besides"):
            load_dataset(folder)
    for name in ("instances_train2014", "instances_train2017"):
        put_coco(tmp_path / "coco", file=f"{name}.json")
    with pytest.raises(UserError, match=r"instances_train2017\.json besides: join those"):
        load_dataset(tmp_path / "coco")


@pytest.mark.parametrize("stem", ["img1_jpg.rf.8f3a1c", "a.v1", "duck 0", "duck -1", "plain"])
def test_stems_in_lists_that_look_like_something_else(tmp_path: Path, stem: str) -> None:
    put_image(tmp_path / "JPEGImages" / f"{stem}.jpg")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / f"{stem}.xml").write_text(voc_xml(f"{stem}.jpg"))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for line in (stem, f"{stem}  1", f"{stem}.jpg"):
        (lists / "train.txt").write_text(line + "\n")
        assert load_dataset(tmp_path, "train").n_boxes == 1


def test_shapes_of_labelme_that_are_none(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")

    def put(*shapes: Any) -> None:
        content = {"imagePath": "a.jpg", "shapes": shapes, "imageData": None, "version": "5"}
        (tmp_path / "a.json").write_text(json.dumps(content))

    good = {"label": "duck", "shape_type": "rectangle", "points": [[1, 2], [30, 40]]}
    put(good)
    assert load_dataset(tmp_path).n_boxes == 1
    put(good, {**good, "points": [[10, 10, 0], [60, 60, 0]]})
    with pytest.raises(UserError, match="shape 2: has no points of two numbers"):
        load_dataset(tmp_path)
    put(good, "junk")
    with pytest.raises(UserError, match="shape 2: is no shape"):
        load_dataset(tmp_path)


def test_numbers_that_nobody_means(tmp_path: Path) -> None:
    boxes_file = tmp_path / "darknet" / "_annotations.txt"
    put_image(tmp_path / "darknet" / "a.jpg")
    (tmp_path / "darknet" / "_classes.txt").write_text("duck\n")
    boxes_file.write_text("a.jpg 10,20,40,35,0.0\n")
    assert load_dataset(tmp_path / "darknet").n_boxes == 1
    boxes_file.write_text(f"a.jpg 10,20,40,35,{'9' * 400}\n")
    with pytest.raises(UserError, match="line 1: there is no class of 400 digits"):
        load_dataset(tmp_path / "darknet")
    for number, shape in enumerate(("[-3, 3]", "[3, 7]", "[99999999999, 3]", "[x, 3]")):
        settings = f"names: [duck]\nkpt_shape: {shape}\ntrain: train/images\n"
        put_yolo(tmp_path / f"yolo-{number}", "0 .5 .5 .4 .4", settings)
        with pytest.raises(UserError, match=r"kpt_shape is \[.*: give how many key points"):
            load_dataset(tmp_path / f"yolo-{number}")
    table = put_coco(tmp_path / "coco") / "_annotations.coco.json"
    text = table.read_text()
    table.write_text(text.replace('"image_id": 1', f'"image_id": {"1" * 5000}'))
    with pytest.raises(UserError, match="it holds a number of thousands of digits"):
        load_dataset(table.parent)
    table.write_text(text.replace('"image_id": 1', f'"image_id": "{"1" * 5000}"'))
    with pytest.raises(UserError) as caught:
        load_dataset(table.parent)
    assert "set_int_max_str_digits" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_link_that_leads_back_is_read_once(tmp_path: Path) -> None:
    put_yolo(tmp_path, "0 .5 .5 .4 .4", "names: [duck]\ntrain: train/images\n")
    for name in "abcdefgh":
        (tmp_path / "train" / "images" / name).symlink_to(".")
    assert len(load_dataset(tmp_path)) == 1


def test_what_once_took_for_ever(tmp_path: Path) -> None:
    """A list with a gap, an encoding, a polygon, deep names, classes twice: each below a megabyte."""
    from duckdetect.data.dataset import class_table

    start = time.process_time()
    folder = tmp_path / "voc"
    put_image(folder / "JPEGImages" / "a.jpg")
    (folder / "Annotations").mkdir(parents=True)
    xml = folder / "Annotations" / "a.xml"
    xml.write_text(voc_xml("a.jpg"))
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("b" + " " * 300_000 + "c\na\n")
    assert load_dataset(folder, "train").n_boxes == 1
    corners = "".join(f"<x{i}>{i % 50}</x{i}><y{i}>{i % 40}</y{i}>" for i in range(1, 30_000))
    xml.write_text(voc_xml("a.jpg").replace("</object>", f"<polygon>{corners}</polygon></object>"))
    load_dataset(folder, "train")
    xml.write_text('<?xml version="1.0" encoding="punycode"?>' + "b" * 600_000)
    with pytest.raises(UserError, match="is no XML"):
        load_dataset(folder, "train")
    put_coco(tmp_path / "coco", names=("a.jpg",))
    labels = tmp_path / "coco" / "_annotations.coco.json"
    labels.write_text(labels.read_text().replace('"a.jpg"', json.dumps("a/" * 100_000 + "b.jpg")))
    with pytest.raises(UserError, match="has a name of 200005 letters"):
        load_dataset(tmp_path / "coco")
    put_yolo(tmp_path / "yolo", "0 .5 .5 .4 .4", "names: [duck]\ntrain: train/images\n")
    for train in ("a/" * 50_000 + "b.txt", "x" * 300, "x" * 300 + ".txt"):
        (tmp_path / "yolo" / "data.yaml").write_text(f"names: [duck]\ntrain: {train}\n")
        with pytest.raises(UserError, match=r"is missing|is no path"):
            load_dataset(tmp_path / "yolo")
    names = [f"class {i}" for i in range(30_000)]
    twice = ", ".join(names[:8000] * 2)
    put_yolo(tmp_path / "many", "0 .5 .5 .4 .4", f"names: [{twice}]\ntrain: train/images\n")
    assert len(load_dataset(tmp_path / "many").classes) == 8000
    assert class_table(names, names)[-1] == 29_999
    assert time.process_time() - start < 30


def test_run_lengths_that_are_an_object(tmp_path: Path) -> None:
    odd = {"size": [60, 80], "counts": {"a": 1}}
    put_coco(tmp_path, [annotation(segmentation=odd)])
    assert any("cannot be read" in str(p) or "size" in str(p) for p in check_dataset(tmp_path))


@pytest.mark.parametrize("given", ["", None, 5, "x" * 300])
def test_functions_of_data_sets_say_what_is_no_path(tmp_path: Path, given: Any) -> None:
    from duckdetect.data.contact_sheet import label_sheet
    from duckdetect.data.convert import convert_dataset
    from duckdetect.data.outline import outline_dataset
    from duckdetect.data.split import split_dataset

    out = tmp_path / "out"
    for call in (
        lambda: check_dataset(given),
        lambda: label_sheet(given),
        lambda: convert_dataset(given, "coco", out),
        lambda: outline_dataset(given, out),
        lambda: split_dataset(given, out),
    ):
        with pytest.raises(UserError, match=r"give (the|its) path"):
            call()


@pytest.mark.parametrize("kind", ["coco", "csv"])
def test_a_box_that_overshoots_makes_no_pixels_of_the_others(tmp_path: Path, kind: str) -> None:
    if kind == "csv":
        rows = "a.jpg,80,60,duck,0.1,0.25,0.5,0.75\na.jpg,80,60,duck,0.2,0.2,1.002,0.9\n"
        (sample,) = load_dataset(put_csv(tmp_path, _HEAD + rows))
        np.testing.assert_allclose(sample.xyxy[0], [8, 15, 40, 45])
        return
    parts = ([0.1, 0.25, 0.4, 0.5], [0.2, 0.2, 1.002, 0.7])
    put_coco(tmp_path, [annotation(box, id=i) for i, box in enumerate(parts)])
    with pytest.raises(UserError, match="its boxes are normalised"):
        load_dataset(tmp_path)


def test_a_picture_of_the_same_name_elsewhere_is_another(tmp_path: Path) -> None:
    for name in ("images/cam1/b.jpg", "images/cam2/a.jpg", "images/cam2/c.jpg"):
        put_image(tmp_path / name)
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(coco_of(["images/c.jpg"], [annotation()])))
    assert [sample.path.parent.name for sample in load_dataset(tmp_path)] == ["cam2"]
    labels.write_text(json.dumps(coco_of(["cam1/a.jpg"], [annotation()])))
    with pytest.raises(UserError, match=r'"cam1/a.jpg" is missing in \S*cam1: put it there, name'):
        load_dataset(tmp_path)
    labels.write_text(json.dumps(coco_of(["D:\\other\\cam2\\a.jpg"], [annotation()])))
    assert len(load_dataset(tmp_path)) == 1  # of another machine


@pytest.mark.parametrize("splits", [("train", "val"), ("train2017", "val2017")])
def test_a_split_takes_no_picture_of_another(tmp_path: Path, splits: tuple[str, str]) -> None:
    one, other = splits
    for name in (f"{one}/1.jpg", f"{one}/2.jpg", f"{other}/1.jpg"):
        put_image(tmp_path / "images" / name)
    (tmp_path / "annotations").mkdir()
    boxes_of = [annotation(), annotation(id=2, image_id=2)]
    for split in splits:
        content = coco_of(["1.jpg", "2.jpg"], boxes_of)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    assert len(load_dataset(tmp_path, "train")) == 2
    with pytest.raises(UserError, match=r'"2.jpg" is missing'):
        load_dataset(tmp_path, "valid")


def test_parts_of_an_object_and_boxes_around_many(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    one, two = [[10, 20], [20, 20], [20, 30]], [[40, 20], [50, 20], [50, 45]]
    shapes = [
        {"label": "duck", "points": points, "shape_type": "polygon", "group_id": group}
        for points, group in ((one, 1), (two, 1), (one, 2), (one, None), (two, None))
    ]
    content = {"imagePath": "a.jpg", "imageData": None, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (sample,) = load_dataset(tmp_path)
    assert sample.xyxy.tolist()[0] == [10, 20, 50, 45]
    assert len(sample.xyxy) == 4  # without an id each shape is an object
    head = "ImageID,XMin,XMax,YMin,YMax,IsGroupOf,LabelName\n"
    rows = "a,0.1,0.5,0.2,0.6,1,Duck\na,0.5,0.9,0.2,0.6,0,Duck\n"
    (sample,) = load_dataset(put_csv(tmp_path / "open", head + rows))
    assert sample.crowd.tolist() == [True, False]


def test_lists_of_voc_that_name_folders(tmp_path: Path) -> None:
    for folder in ("cam1", "cam2"):
        put_image(tmp_path / "JPEGImages" / folder / "f.jpg")
        path = tmp_path / "Annotations" / folder / "f.xml"
        path.parent.mkdir(parents=True)
        path.write_text(voc_xml("f.jpg"))
    listed = tmp_path / "ImageSets" / "Main" / "train.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("cam1/f\ncam2/f.jpg 1\n")
    places = [sample.path.parent.name for sample in load_dataset(tmp_path, "train")]
    assert places == ["cam1", "cam2"]
    listed.write_text("f\n")
    with pytest.raises(
        UserError, match=r"f may be \S*cam1/f.xml and \S*cam2/f.xml: name the folder"
    ):
        load_dataset(tmp_path, "train")


@pytest.mark.parametrize(
    ("folders", "labels"),
    [(("train/cam1", "train/cam2"), "train/a.txt"), (("train", "val"), "a.txt")],
)
def test_labels_that_pictures_of_two_folders_share(
    tmp_path: Path, folders: tuple[str, str], labels: str
) -> None:
    for folder in folders:
        put_image(tmp_path / "images" / folder / "a.jpg")
    path = tmp_path / "labels" / labels
    path.parent.mkdir(parents=True)
    path.write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [duck]\n")
    with pytest.raises(UserError, match=r"shares its labels a.txt with another picture"):
        load_dataset(tmp_path, "train")


def test_labels_beside_the_pictures_and_in_labels(tmp_path: Path) -> None:
    put_yolo(tmp_path)
    put_image(tmp_path / "train" / "images" / "b.jpg")
    (tmp_path / "train" / "images" / "b.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(UserError, match=r"b.txt: is not read: the labels of these pictures lie in"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("first", ["data.yaml", "classes.txt"])
def test_lists_of_classes_that_contradict_each_other(tmp_path: Path, first: str) -> None:
    put_image(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .5 .5\n1 .3 .3 .2 .2\n")
    content = {"data.yaml": "names: [duck, goose]\ntrain: images", "classes.txt": "duck\ngoose\n"}
    (tmp_path / first).write_text(content[first])
    other = tmp_path / "labels" / "classes.txt"
    other.write_text("duck\ngoose\n")
    assert warnings(tmp_path) == ""
    other.write_text("goose\nduck\n")
    assert f'{first}: class 0 is "duck" here and "goose" in {other}' in warnings(tmp_path)


def test_tables_of_several_encodings_that_were_put_together(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        put_image(tmp_path / name)
    head, row = "filename,class,xmin,ymin,xmax,ymax\n", "{},Küken,1,2,30,40\n"
    text = (head + row.format("a.jpg")).encode() + row.format("b.jpg").encode("cp1252")
    (tmp_path / "boxes.csv").write_bytes(text)
    assert load_dataset(tmp_path).classes == ("Küken",)


def test_marks_of_crowds_as_other_tools_write_them(tmp_path: Path) -> None:
    import tensorflow as tf

    put_image(tmp_path / "csv" / "a.jpg")
    head = "filename,class,xmin,ymin,xmax,ymax,IsGroupOf\n"
    rows = "a.jpg,duck,1,2,30,40,1.0\na.jpg,duck,1,2,30,41,0.0\na.jpg,duck,1,2,30,42,true\n"
    (tmp_path / "csv" / "boxes.csv").write_text(head + rows)
    assert load_dataset(tmp_path / "csv").samples[0].crowd.tolist() == [True, False, True]
    put_image(tmp_path / "labelme" / "a.jpg")
    shape = {"label": "duck", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    shapes = [shape, {**shape, "difficult": True}]
    content = {"imagePath": "a.jpg", "imageData": None, "shapes": shapes}
    (tmp_path / "labelme" / "a.json").write_text(json.dumps(content))
    assert load_dataset(tmp_path / "labelme").samples[0].crowd.tolist() == [False, True]
    (tmp_path / "tf").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "tf" / "x.tfrecord")) as file:
        for i, key in enumerate(("is_crowd", "difficult", "group_of", "other")):
            example = tf.train.Example.FromString(_record(f"{i}.png".encode(), 1, 0.1))
            example.features.feature[f"image/object/{key}"].int64_list.value.append(1)
            file.write(example.SerializeToString())
    crowds = [sample.crowd.tolist() for sample in load_dataset(tmp_path / "tf")]
    assert crowds == [[True], [True], [True], [False]]


def test_shards_that_are_not_there_and_pictures_changed_in_the_cache(tmp_path: Path) -> None:
    import tensorflow as tf

    for number in ("00000", "00002"):
        with tf.io.TFRecordWriter(str(tmp_path / f"x.record-{number}-of-00003")) as file:
            file.write(_record(f"{number}.png".encode(), 1, 0.1))
    dataset = load_dataset(tmp_path)
    assert len(dataset) == 2
    told = "of its 3 shards 00001 are not there"
    assert any(told in str(problem) for problem in check_dataset(tmp_path))
    before = dataset.samples[0].path.read_bytes()
    dataset.samples[0].path.write_bytes(put_image(tmp_path / "other.png").read_bytes())
    assert load_dataset(tmp_path).samples[0].path.read_bytes() == before


# Pictures that EXIF turns, in formats whose boxes are parts of the sides or tell no size

_STORED_XYXY = [20, 6, 60, 30]  # of 80x60 stored pixels
_TURNED_XYXY = [30, 20, 54, 60]  # where EXIF's 6 shows it, of 60x80


def _turned(path: Path) -> bytes:
    """A picture whose 80x60 stored pixels are shown a quarter turned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise()).save(path, exif=exif)
    return path.read_bytes()


def _parts(xyxy: list[int]) -> list[float]:
    return [value / side for value, side in zip(xyxy, (80, 60, 80, 60), strict=True)]


def _as_table(folder: Path) -> None:
    _turned(folder / "a.jpg")
    corners = ",".join(map(str, _parts(_STORED_XYXY)))
    (folder / "boxes.csv").write_text(f"ImageID,LabelName,XMin,YMin,XMax,YMax\na,duck,{corners}\n")


def _as_list(folder: Path) -> None:
    _turned(folder / "a.jpg")
    (folder / "_classes.txt").write_text("duck\n")
    (folder / "_annotations.txt").write_text(f"a.jpg {','.join(map(str, _STORED_XYXY))},0\n")


def _as_coco(folder: Path) -> None:
    _turned(folder / "a.jpg")
    content = coco_of(["a.jpg"], [annotation([20, 6, 40, 24])])
    del content["images"][0]["width"], content["images"][0]["height"]
    (folder / "_annotations.coco.json").write_text(json.dumps(content))


def _as_records(folder: Path, sized: bool = False) -> None:
    import tensorflow as tf

    picture = _turned(folder.parent / "a.jpg")

    def feature(value: Any) -> Any:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    corners = zip(("xmin", "ymin", "xmax", "ymax"), _parts(_STORED_XYXY), strict=True)
    features = {f"image/object/bbox/{key}": value for key, value in corners}
    features |= {"image/filename": b"a.jpg", "image/encoded": picture}
    features |= {"image/object/class/text": b"duck"}
    if sized:
        features |= {"image/height": 60, "image/width": 80}
    of_all = {key: feature(value) for key, value in features.items()}
    example = tf.train.Example(features=tf.train.Features(feature=of_all))
    with tf.io.TFRecordWriter(str(folder / "x.tfrecord")) as file:
        file.write(example.SerializeToString())


@pytest.mark.parametrize("put", [_as_table, _as_list, _as_coco, _as_records])
def test_a_turned_picture_is_told_and_read_as_stored(
    put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    put(tmp_path / "data")
    with pytest.warns(DataWarning, match=r"EXIF turns 1 picture \(a\.jpg\).*--labels-as-stored"):
        load_dataset(tmp_path / "data")
    found = load_dataset(tmp_path / "data", options=ReadOptions(labels_as_stored=True))
    assert found.samples[0].size_hw == (80, 60)
    assert found.samples[0].xyxy[0] == pytest.approx(_TURNED_XYXY)


def test_records_tell_the_size_of_the_stored_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    _as_records(tmp_path / "data", sized=True)
    with pytest.raises(UserError, match=r"stored pixels.*--labels-as-stored reads them so"):
        load_dataset(tmp_path / "data")


# labelme's masks


def _labelme(folder: Path, *shapes: dict[str, Any]) -> Path:
    put_image(folder / "a.png")
    content = {"imagePath": "a.png", "imageHeight": 60, "imageWidth": 80, "shapes": list(shapes)}
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def _mask_shape(mask: np.ndarray, corner: tuple[int, int], **more: Any) -> dict[str, Any]:
    png = io.BytesIO()
    Image.fromarray(mask).save(png, "PNG")
    (x, y), (height, width) = corner, mask.shape
    points = [[x, y], [x + width - 1, y + height - 1]]
    text = base64.b64encode(png.getvalue()).decode()
    return {"label": "duck", "shape_type": "mask", "points": points, "mask": text, **more}


def test_masks_of_labelme_are_outlines(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:, 5:25] = True
    shape = _mask_shape(mask, (10, 15))
    (sample,) = load_dataset(_labelme(tmp_path / "one", shape))
    whole = np.zeros((60, 80), bool)
    whole[15:35, 10:40] = mask
    np.testing.assert_array_equal(rasterise(sample.segmentation[0], (60, 80)), whole)

    rng = np.random.default_rng(0)
    for i in range(20):
        part = rng.random((rng.integers(1, 20), rng.integers(1, 30))) < rng.random()
        part[0, 0] = True
        shape = _mask_shape(part, (rng.integers(0, 50), rng.integers(0, 40)))
        (x, y), _ = shape["points"] = np.array(shape["points"]).tolist()
        (sample,) = load_dataset(_labelme(tmp_path / f"random {i}", shape))
        other = np.zeros((60, 80), bool)
        other[y : y + part.shape[0], x : x + part.shape[1]] = part
        assert sample.segmentation[0] == encode_mask(other)
        assert sample.xyxy[0].tolist() == [x, y, x + part.shape[1], y + part.shape[0]]
    shape = _mask_shape(mask, (10, 15))
    # With a polygon they may be parts of one object.
    polygon = {"label": "duck", "shape_type": "polygon", "points": [[50, 40], [70, 40], [60, 55]]}
    shape["group_id"] = polygon["group_id"] = 1
    (sample,) = load_dataset(_labelme(tmp_path / "two", shape, polygon))
    (outline,) = sample.segmentation
    assert area(outline) > whole.sum()
    assert rasterise(outline, (60, 80))[whole].all()


@pytest.mark.parametrize("mask", [None, "", "no base64!", "AAAA", 5, "larger"])
def test_a_mask_of_labelme_that_is_none_is_told(tmp_path: Path, mask: Any) -> None:
    shape = _mask_shape(np.ones((20, 30), bool), (10, 15))
    if mask == "larger":
        shape["points"][1][0] += 1
    else:
        shape["mask"] = mask
    with pytest.warns(
        DataWarning, match="has a mask that is no picture of its box: its box is kept"
    ):
        (sample,) = load_dataset(_labelme(tmp_path, shape))
    assert len(sample.xyxy) == 1
    assert sample.segmentation is None


def test_parts_of_an_object_that_are_boxes_are_parts_of_its_outline(tmp_path: Path) -> None:
    box = {"label": "duck", "points": [[10, 10], [30, 30]], "shape_type": "rectangle"}
    line = {"label": "duck", "points": [[40, 10], [60, 10], [50, 30]], "shape_type": "linestrip"}
    shapes = [{**shape, "group_id": 7} for shape in (box, line)]
    with pytest.warns(DataWarning, match="is an open line: its ends are joined to an outline"):
        (sample,) = load_dataset(_labelme(tmp_path, *shapes))
    assert sample.segmentation == ([[10, 10, 30, 10, 30, 30, 10, 30], [40, 10, 60, 10, 50, 30]],)


def test_labels_of_crowds_alone_are_told(tmp_path: Path) -> None:
    put_coco(tmp_path, [annotation(iscrowd=1)])
    assert [problem.what for problem in check_dataset(tmp_path)] == [
        "all boxes are crowds (iscrowd, difficult), of which nothing is learned"
    ]
    with pytest.raises(UserError, match="in, is no folder: give one"):
        ReadOptions(allow_outside=(tmp_path / "gone",))
