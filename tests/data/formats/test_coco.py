"""COCO JSON: Roboflow's, CVAT's and COCO's own layout, broken entries, and writing it back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from helpers.labelled_folders import SIZE_HW, annotation, coco_of, put_coco, put_image
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_utils

from duckdetect.data.check import check_dataset
from duckdetect.data.dataset import Dataset, Sample
from duckdetect.data.formats import coco
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import check_segmentation, segmentation_area


def assert_same(ours: Dataset, theirs: Any) -> None:
    """supervision's reader, by file name: same boxes and class names."""
    boxes = {Path(path).name: detections for path, _, detections in theirs}
    assert sorted(boxes) == sorted(sample.path.name for sample in ours)
    for sample in ours:
        detections = boxes[sample.path.name]
        np.testing.assert_allclose(sample.xyxy, detections.xyxy, atol=1e-3)
        names = [theirs.classes[i] for i in detections.class_id]
        assert [ours.classes[i] for i in sample.class_id] == names


def test_the_five_ducks(shared_data: Path) -> None:
    ducks = load_dataset(shared_data / "ducky", "train")
    assert (len(ducks), ducks.n_boxes, ducks.classes) == (5, 5, ("rubber_ducky",))
    assert all(sample.load().dtype == np.uint8 for sample in ducks)


@pytest.mark.parametrize(
    ("folder", "split"),
    [("ducky", "train"), ("people", "train"), ("people", "valid"), ("people", "test")],
)
def test_parity_with_supervision(shared_data: Path, folder: str, split: str) -> None:
    path = shared_data / folder / split
    theirs = sv.DetectionDataset.from_coco(str(path), str(path / coco.ROBOFLOW), force_masks=False)
    assert_same(load_dataset(path), theirs)


def test_areas_are_cocos_own(shared_data: Path) -> None:
    for split in ("train", "valid", "test"):
        path = shared_data / "people" / split
        original = json.loads((path / coco.ROBOFLOW).read_text())
        areas = {tuple(a["bbox"]): a["area"] for a in original["annotations"]}
        written = load_dataset(path).to_coco()["annotations"]
        assert len(written) == len(areas)
        for entry in written:
            nearest = min(areas, key=lambda b: np.abs(np.subtract(b, entry["bbox"])).max())
            assert entry["area"] == pytest.approx(areas[nearest], rel=0.01, abs=1)


def test_empty_parent_of_roboflow_is_no_class(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "toys", "supercategory": "none"},
        {"id": 7, "name": "duck", "supercategory": "toys"},
    ]
    put_coco(tmp_path, [annotation(category_id=7)], categories=categories)
    dataset = load_dataset(tmp_path)
    assert dataset.classes == ("duck",)
    assert dataset.samples[0].class_id.tolist() == [0]


@pytest.mark.parametrize(
    "categories",
    [
        [{"id": 0, "name": "duck", "supercategory": "none"}, {"id": 1, "name": "cat"}],
        # Its own parent, as some tools write; a split without a duck must not lose the class.
        [{"id": 0, "name": "duck", "supercategory": "duck"}, {"id": 1, "name": "cat"}],
    ],
)
def test_a_category_0_that_is_no_parent_is_a_class(tmp_path: Path, categories: list[Any]) -> None:
    put_coco(tmp_path, categories=categories)
    assert load_dataset(tmp_path).classes == ("duck", "cat")


def test_a_category_0_that_has_boxes_is_a_class(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "duck", "supercategory": "none"},
        {"id": 1, "name": "drake", "supercategory": "duck"},
    ]
    put_coco(tmp_path, [annotation(category_id=0)], categories=categories)
    assert load_dataset(tmp_path).classes == ("duck", "drake")


def test_two_ids_of_one_name_are_one_class(tmp_path: Path) -> None:
    categories = [{"id": 3, "name": "duck"}, {"id": 1, "name": "cat"}, {"id": 9, "name": "duck"}]
    boxes = [annotation(category_id=i, id=i, bbox=[i, 1, 9, 9]) for i in (9, 1, 3)]
    put_coco(tmp_path, boxes, categories=categories)
    dataset = load_dataset(tmp_path)
    assert dataset.classes == ("duck", "cat")
    assert dataset.samples[0].class_id.tolist() == [0, 1, 0]


def test_images_without_objects_and_crowds_are_kept_in_order(tmp_path: Path) -> None:
    boxes = [annotation(image_id=3), annotation([1, 2, 3, 4], id=2, image_id=3, iscrowd=1)]
    dataset = load_dataset(put_coco(tmp_path, boxes, names=["z.jpg", "a.jpg", "m.jpg"]))
    assert [sample.path.name for sample in dataset] == ["z.jpg", "a.jpg", "m.jpg"]
    assert [len(sample.class_id) for sample in dataset] == [0, 0, 2]
    assert dataset.samples[2].crowd.tolist() == [False, True]
    np.testing.assert_array_equal(dataset.samples[2].xyxy, [[10, 20, 40, 35], [1, 2, 4, 6]])


@pytest.mark.parametrize("places", [["images"], ["images/default"], [""], ["Train"], ["data"]])
def test_cvat(tmp_path: Path, places: list[str]) -> None:
    put_coco(tmp_path / "annotations", file="instances_Train.json")
    (tmp_path / "annotations" / "a.jpg").unlink()
    if places == ["data"]:
        with pytest.raises(UserError, match=r'image 1: the picture "a\.jpg" is missing: put it'):
            load_dataset(tmp_path)
        return
    image = put_image(tmp_path / places[0] / "a.jpg")
    assert load_dataset(tmp_path).samples[0].path == image


def test_cocos_own_layout_tells_splits_and_same_names_apart(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for split, x in (("train2017", 1), ("val2017", 2)):
        put_image(tmp_path / "images" / split / "1.jpg")
        for kind in ("instances", "person_keypoints"):
            content = coco_of(["1.jpg"], [annotation([x, 1, 9, 9])])
            (tmp_path / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(content))
    for split, name, x in ((None, "train2017", 1), ("valid", "val2017", 2)):
        sample = load_dataset(tmp_path, split).samples[0]
        assert sample.path.parent.name == name
        assert sample.xyxy[0, 0] == x
    assert check_dataset(tmp_path) == []
    with pytest.raises(UserError, match="no split 'test': give one of train, valid"):
        load_dataset(tmp_path, "test")


def test_several_files_that_are_no_splits(tmp_path: Path) -> None:
    put_coco(tmp_path, file="mine.json")
    put_coco(tmp_path, file="yours.json")
    with pytest.raises(UserError, match=r"several COCO files \(mine\.json, yours\.json\): keep"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["C:\\Users\\me\\ducks\\a.jpg", "/home/me/a.jpg", "images\\a.jpg", "./a.jpg", "sub/../a.jpg"],
)
def test_paths_of_other_machines(tmp_path: Path, name: str) -> None:
    put_coco(tmp_path)
    (tmp_path / "sub").mkdir()
    content = coco_of([name], [annotation()])
    (tmp_path / coco.ROBOFLOW).write_text(json.dumps(content))
    assert load_dataset(tmp_path).samples[0].path.name == "a.jpg"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    content = coco_of(["ente_ü.jpg"], [annotation()])
    content["categories"][0]["name"] = "Gummiente, größer"
    put_image(tmp_path / "ente_ü.jpg")
    text = json.dumps(content, ensure_ascii=False)
    (tmp_path / coco.ROBOFLOW).write_bytes(text.encode(encoding))
    assert load_dataset(tmp_path).classes == ("Gummiente, größer",)


@pytest.mark.parametrize("size", [(None, None), (0, 0), ("60", "80"), ("?", [1]), (1e999, 80)])
def test_declared_sizes_may_be_missing_or_odd(tmp_path: Path, size: tuple[Any, Any]) -> None:
    put_coco(tmp_path)
    images = [{"id": 1, "file_name": "a.jpg", "height": size[0], "width": size[1]}]
    put_coco(tmp_path, images=images)
    assert load_dataset(tmp_path).samples[0].size_hw == SIZE_HW


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"is not JSON \(it is empty\): export"),
        (b'{"images": [', r"is not JSON \(Expecting value"),
        (b"\xff\xd8\xff\xe0 no text", r"is not JSON \("),
        (b"[]", r"is not COCO \(it has no list 'images'\)"),
        (b'{"images": [], "annotations": {}}', r"no list 'annotations'"),
        (b'{"images": [], "annotations": []}', r"no list 'categories'"),
        (b"[" * 100_000, r"is not JSON \("),
    ],
)
def test_json_that_is_not_coco(tmp_path: Path, text: bytes, message: str) -> None:
    for path in (tmp_path / coco.ROBOFLOW, tmp_path / "annotations" / "labels.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        with pytest.raises(UserError, match=message) as caught:
            load_dataset(tmp_path)
        assert str(caught.value).startswith(f"{path} ")
        path.unlink()


# What is wrong, and what the user is told of it.
ENTRIES: list[tuple[dict[str, Any], str]] = [
    ({"bbox": [10, 20, 0, 15]}, r"annotation 1: box \(10, 20, 10, 35\) is empty: draw it again"),
    ({"bbox": [10, 20, -5, 15]}, r"box \(10, 20, 5, 35\) is inverted"),
    ({"bbox": [10, float("nan"), 5, 5]}, r"holds a number that is not finite"),
    ({"bbox": [float("inf"), 2, 5, 5]}, r"holds a number that is not finite"),
    ({"bbox": [0, 0, 1e300, 5]}, r"holds a number that is not finite"),
    ({"bbox": [10, 20, 10**400, 5]}, r"bbox is \[10, 20, 10"),
    ({"bbox": [70, 20, 30, 15]}, r"box \(70, 20, 100, 35\) reaches beyond the picture of 80x60"),
    ({"bbox": [80.2, 20, 0.5, 15]}, r"lies outside the picture of 80x60"),
    ({"bbox": [10, 20, 30]}, r"bbox is \[10, 20, 30\]: give \[x, y, width, height\] in pixels"),
    ({"bbox": ["1", "2", "3", "4"]}, r"bbox is \["),
    ({"bbox": None}, r"bbox is null"),
    ({"bbox": {"x": 1}}, r'bbox is \{"x": 1\}'),
    ({"bbox": [True, 1, 2, 3]}, r"bbox is \[true"),
    ({"category_id": 9}, r"annotation 1: there is no category 9 \(there are 1\): export"),
    ({"category_id": [1]}, r"there is no category \[1\]"),
    ({"category_id": True}, r"there is no category true"),
    ({"image_id": 9}, r"annotation 1: there is no image 9"),
    ({"image_id": {"a": 1}}, r"there is no image \{"),
]


def test_unknown_categories_are_told_without_thousands_of_known_ones(tmp_path: Path) -> None:
    """20,000 such lines with 1,200 ids each were 125 million letters."""
    path = put_coco(tmp_path, [annotation(category_id=9999)]) / coco.ROBOFLOW
    content = json.loads(path.read_text())
    content["categories"] = [{"id": i, "name": f"class {i}"} for i in range(1, 1201)]
    path.write_text(json.dumps(content))
    (problem,) = (p for p in check_dataset(tmp_path) if p.severity == "error")
    assert "(there are 1, 2, 3" in str(problem)
    assert "20 and 1180 more)" in str(problem)


@pytest.mark.parametrize(("change", "message"), ENTRIES)
def test_broken_annotations(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    put_coco(tmp_path, [annotation([1, 2, 30, 40], id=5), annotation(**change)])
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(tmp_path)
    assert coco.ROBOFLOW in str(caught.value)
    assert "\n" not in str(caught.value)
    errors = [problem for problem in check_dataset(tmp_path) if problem.severity == "error"]
    assert [str(problem) for problem in errors] == [str(caught.value)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [3]}, r"image 3 has no whole-number id"),
        ({"images": [{"id": None, "file_name": "a.jpg"}]}, r"has no whole-number id"),
        ({"images": [{"id": 1}]}, r"image 1: has no file_name"),
        ({"images": [{"id": 1, "file_name": "b.jpg"}]}, r'image 1: the picture "b.jpg" is missing'),
        ({"images": [{"id": 1, "file_name": "x" * 999}]}, r"is missing"),
        ({"images": [{"id": 1, "file_name": "a\u0000\nb"}]}, r"is missing"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}] * 2}, r"two images have the id 1"),
        (
            {"images": [{"id": i, "file_name": "a.jpg"} for i in (1, 2)]},
            r"2 entries are named a\.jpg: give each picture a name of its own",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.jpg", "height": 61, "width": 80}]},
            r"a\.jpg: is 80x60, but its labels say 80x61: use the picture that was labelled",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.jpg", "height": 80, "width": 60}]},
            r"its labels say 60x80 \(width and height swapped\): use the picture that was",
        ),
        ({"annotations": ["box"]}, r'annotation number 1: is "box"'),
        ({"categories": []}, r"there is no category 1 \(there are none\)"),
        ({"categories": ["duck"]}, r'category "duck" has no whole-number id'),
        ({"categories": [{"id": 1}]}, r"category 1 has no name"),
        ({"categories": [{"id": 1, "name": n} for n in "ab"]}, r"2 categories have the id 1"),
    ],
)
def test_broken_tables(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    put_coco(tmp_path, **change)
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(tmp_path)
    assert "\n" not in str(caught.value)
    assert any(str(problem) == str(caught.value) for problem in check_dataset(tmp_path))


def test_annotations_need_no_id(tmp_path: Path) -> None:
    entry = annotation()
    del entry["id"], entry["iscrowd"]
    assert load_dataset(put_coco(tmp_path, [entry])).n_boxes == 1


def test_annotations_of_the_same_id_are_all_read_and_told(tmp_path: Path) -> None:
    boxes = [{**annotation([x, 1, 9, 9]), "id": 7} for x in (1, 20)]
    put_coco(tmp_path, boxes)
    assert load_dataset(tmp_path).n_boxes == 2
    (told,) = check_dataset(tmp_path)
    assert told.severity == "warning"
    assert "several annotations have the same id (7)" in str(told)


GOOD = [10, 20, 40, 20, 40, 35]
H, W = SIZE_HW


@pytest.mark.parametrize(
    ("value", "kept", "told"),
    [
        ([], None, None),
        ([GOOD], [GOOD], None),
        ([[10, 20, 40, 35]], None, "2 points, not 3 or more"),
        ([GOOD, [1, 2]], [GOOD], "1 points"),
        ([[*GOOD, 3]], None, "7 numbers, not pairs"),
        ([[10, 20, float("nan"), 20, 40, 35]], None, "no list of finite numbers"),
        (GOOD, [GOOD], None),  # one flat list, as some tools write
        ([[10, 20], [40, 20], [40, 35]], [GOOD], None),  # points in pairs
        ("mask", None, "no list of polygons"),
        ({"size": [H, W], "counts": [620, *([15, 45] * 29), 15, H * W - 2375]}, "same", None),
        ({"size": [W, H], "counts": [5, 7, H * W - 12]}, None, r"size is \[80, 60\]"),
        ({"size": [H, W], "counts": [5, 7, 1]}, None, "do not fill the picture"),
        ({"size": [H, W], "counts": [H * W + 5, -5]}, None, "do not fill the picture"),
        ({"size": [H, W], "counts": [1.5]}, None, "cannot be read"),
        ({"size": [H, W], "counts": "zzz é"}, None, "cannot be read"),
        ({"size": [H, W]}, None, "cannot be read"),
    ],
)
def test_broken_outlines_are_told_of_and_their_boxes_kept(
    tmp_path: Path, value: Any, kept: Any, told: str | None
) -> None:
    put_coco(tmp_path, [annotation(segmentation=value)])
    sample = load_dataset(tmp_path).samples[0]
    np.testing.assert_array_equal(sample.xyxy, [[10, 20, 40, 35]])
    assert sample.segmentation == (None if kept is None else (value if kept == "same" else kept,))
    problems = check_dataset(tmp_path)
    assert [p.severity for p in problems] == (["warning"] if told else [])
    assert not told or re.search(told, str(problems[0]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_compressed_run_lengths_as_pycocotools(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.asfortranarray(rng.random((height, width)) < rng.random(), np.uint8)
    encoded = mask_utils.encode(mask)
    value = {"size": [height, width], "counts": encoded["counts"].decode()}
    assert check_segmentation(value, (height, width)) == (value, None)
    assert segmentation_area(value) == mask.sum() == mask_utils.area(encoded)


@given(st.lists(st.floats(-50, 500), min_size=2, max_size=2), st.floats(0.1, 90))
def test_area_of_a_polygon_in_closed_form(corner: list[float], side: float) -> None:
    x, y = corner
    square = [x, y, x + side, y, x + side, y + side, x, y + side]
    assert segmentation_area([square, square]) == pytest.approx(2 * side**2, rel=1e-6)


def a_dataset(boxes: list[list[float]], folder: Path, **changes: Any) -> Dataset:
    image = put_image(folder / "a.jpg")
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    sample = Sample(image, 5, SIZE_HW, xyxy, np.zeros(len(xyxy), np.int64), **changes)
    return Dataset(folder, ("duck", "cat"), (sample,))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 79, width=32),
            st.floats(0, 59, width=32),
            st.floats(0.125, 1, width=32),
            st.floats(0.125, 1, width=32),
            st.booleans(),
        ),
        max_size=5,
    )
)
def test_writing_and_reading_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, float, float, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("written")
    boxes = [[x, y, x + w * (80 - x), y + h * (60 - y)] for x, y, w, h, _ in rows]
    dataset = a_dataset(boxes, folder, crowd=np.array([row[4] for row in rows], bool))
    coco.write_coco(folder / coco.ROBOFLOW, dataset)
    again = load_dataset(folder)
    assert again.classes == dataset.classes
    for mine, other in zip(dataset, again, strict=True):
        np.testing.assert_array_equal(mine.xyxy, other.xyxy)
        np.testing.assert_array_equal(mine.class_id, other.class_id)
        np.testing.assert_array_equal(mine.crowd, other.crowd)
        assert (mine.path, mine.image_id, mine.size_hw) == (
            other.path,
            other.image_id,
            other.size_hw,
        )


def test_written_areas_order_names_and_masks(tmp_path: Path) -> None:
    rle = {"size": [H, W], "counts": [5, 7, H * W - 12]}
    dataset = a_dataset(
        [[10, 20, 40, 35], [1, 2, 4, 6], [0, 0, 9, 9]],
        tmp_path,
        segmentation=([GOOD], rle, None),
        crowd=np.array([False, True, False]),
    )
    second = replace(dataset.samples[0], image_id=2, path=tmp_path / "b.jpg")
    dataset = replace(dataset, samples=(*dataset.samples, second))
    written = dataset.to_coco()
    assert [image["id"] for image in written["images"]] == [5, 2]
    assert [a["area"] for a in written["annotations"]][:3] == [225.0, 7.0, 81.0]
    assert [a["iscrowd"] for a in written["annotations"]][:3] == [0, 1, 0]
    assert [a["id"] for a in written["annotations"]] == [1, 2, 3, 4, 5, 6]

    coco.write_coco(tmp_path / coco.ROBOFLOW, dataset, ["a.jpg", "sub/b.jpg"])
    put_image(tmp_path / "sub" / "b.jpg")
    again = load_dataset(tmp_path)
    assert [sample.path for sample in again] == [tmp_path / "a.jpg", tmp_path / "sub" / "b.jpg"]
    assert again.samples[0].segmentation == ([GOOD], rle, None)
    with pytest.raises(ValueError, match="zip"):
        coco.write_coco(tmp_path / coco.ROBOFLOW, dataset, ["a.jpg"])


@pytest.mark.parametrize("classes", [(), ("objects",), ("none", "objects")])
def test_any_class_names_survive(tmp_path: Path, classes: tuple[str, ...]) -> None:
    dataset = replace(a_dataset([], tmp_path), classes=classes)
    coco.write_coco(tmp_path / coco.ROBOFLOW, dataset)
    assert load_dataset(tmp_path).classes == classes


def test_an_interrupted_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = a_dataset([[1, 2, 3, 4]], tmp_path)
    coco.write_coco(tmp_path / coco.ROBOFLOW, dataset)
    before = (tmp_path / coco.ROBOFLOW).read_bytes()

    def broken(self: Path, *_: object, **__: object) -> None:
        self.write_bytes(b"{")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", broken)
    with pytest.raises(KeyboardInterrupt):
        coco.write_coco(tmp_path / coco.ROBOFLOW, a_dataset([[5, 6, 7, 8]], tmp_path))
    assert (tmp_path / coco.ROBOFLOW).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [coco.ROBOFLOW, "a.jpg"]
