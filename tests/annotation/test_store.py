"""The file of boxes: one picture changes, all else is kept, a broken one is left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.annotation_helpers import DUCK, read, roboflow
from helpers.labelled_folders import put_image

from duckdetect import UserError
from duckdetect.annotation.store import FILE_NAME, AnnotationStore, Box
from duckdetect.data.loading import load_dataset


def test_a_new_file_is_roboflows_layout(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    store.put("a.jpg", (60, 80), [Box((1, 2, 11, 22), "duck")], ["duck", "car"])
    coco = read(tmp_path)
    assert coco["images"] == [{"id": 1, "file_name": "a.jpg", "height": 60, "width": 80}]
    assert coco["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 200,
         "segmentation": [], "iscrowd": 0}
    ]  # fmt: skip
    assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "duck"), (2, "car")]


def test_what_the_file_could_not_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    box = Box((1, 2, 11, 22), "duck")
    for boxes, classes, named in (
        ([Box((1, 2, 11, 22), 5)], [5], r"the classes are \[5\]: give a list of names"),  # type: ignore[arg-type, list-item]
        ([box], "duck", "the classes are 'duck': give a list of names"),
        ([box], ["hen"], "a box is of class 'duck': give it among the classes"),
    ):
        with pytest.raises(UserError, match=named):
            store.put("a.jpg", (60, 80), boxes, classes)
    assert not (tmp_path / FILE_NAME).exists()
    xyxy: Any = tuple(np.array([1, 2, 11, 22], np.float32))
    size: Any = tuple(np.array([60, 80]))
    store.put("a.jpg", size, [Box(xyxy, "duck", score=np.float32(0.5))], DUCK)  # type: ignore[arg-type]
    (found,) = read(tmp_path)["annotations"]
    assert (found["bbox"], found["score"]) == ([1, 2, 10, 20], 0.5)


def test_putting_back_what_was_read_changes_nothing(tmp_path: Path) -> None:
    before = roboflow(tmp_path)
    store = AnnotationStore(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        store.put(name, (60, 80), store.boxes(name, DUCK), DUCK)
    after = read(tmp_path)
    for coco in (before, after):
        coco["annotations"].sort(key=lambda annotation: annotation["id"])
    assert after == before


def test_only_the_drawn_classes_of_one_image_change(tmp_path: Path) -> None:
    before = roboflow(tmp_path)
    AnnotationStore(tmp_path).put("a.jpg", (60, 80), [Box((5, 6, 9, 9), "duck")], DUCK)
    after = read(tmp_path)
    assert {key: after[key] for key in ("info", "licenses", "tool", "categories", "images")} == {
        key: before[key] for key in ("info", "licenses", "tool", "categories", "images")
    }
    kept = [a for a in before["annotations"] if a["id"] in (1, 5, 6)]
    assert [a for a in after["annotations"] if a["id"] in (1, 5, 6)] == kept
    new = [a for a in after["annotations"] if a["id"] not in (1, 5, 6)]
    assert [(a["image_id"], a["category_id"], a["bbox"]) for a in new] == [(0, 1, [5, 6, 4, 3])]
    assert len({a["id"] for a in after["annotations"]}) == len(after["annotations"])


def test_a_moved_box_keeps_unknown_keys_and_loses_its_outline(tmp_path: Path) -> None:
    roboflow(tmp_path)
    AnnotationStore(tmp_path).put("a.jpg", (60, 80), [Box((2, 2, 12, 22), "duck", 0)], DUCK)
    (moved,) = [a for a in read(tmp_path)["annotations"] if a["id"] == 0]
    assert moved["by"] == "ann"
    assert moved["bbox"] == [2, 2, 10, 20]
    assert moved["segmentation"] == []


def test_a_box_changes_its_class(tmp_path: Path) -> None:
    roboflow(tmp_path)
    both = ["duck", "car"]
    store = AnnotationStore(tmp_path)
    first, second = store.boxes("a.jpg", both)
    store.put("a.jpg", (60, 80), [Box(first.xyxy, "car", first.annotation_id), second], both)
    assert [box.class_name for box in store.boxes("a.jpg")] == ["car", "car"]
    assert {a["id"]: a["category_id"] for a in read(tmp_path)["annotations"]} == {
        0: 2, 1: 2, 5: 1, 6: 1
    }  # fmt: skip


def test_no_object_is_not_the_same_as_not_looked_at(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    assert store.looked_at() == set()
    store.put("empty.jpg", (60, 80), [], DUCK)
    assert store.looked_at() == {"empty.jpg"}
    assert read(tmp_path)["annotations"] == []
    store.forget("empty.jpg", DUCK)
    assert store.looked_at() == set()


def test_forgetting_keeps_a_image_that_has_other_boxes(tmp_path: Path) -> None:
    roboflow(tmp_path)
    store = AnnotationStore(tmp_path)
    store.forget("a.jpg", DUCK)
    store.forget("b.jpg", DUCK)
    assert store.looked_at() == {"a.jpg"}
    assert sorted(a["id"] for a in read(tmp_path)["annotations"]) == [1, 6]


def test_roboflows_parent_of_the_same_name_gets_no_box(tmp_path: Path) -> None:
    parent = {"id": 0, "name": "duck", "supercategory": "none"}
    child = {"id": 1, "name": "duck", "supercategory": "duck"}
    (tmp_path / FILE_NAME).write_text(json.dumps({"categories": [parent, child]}))
    AnnotationStore(tmp_path).put("a.jpg", (60, 80), [Box((1, 2, 3, 4), "duck")], DUCK)
    assert [a["category_id"] for a in read(tmp_path)["annotations"]] == [1]
    assert read(tmp_path)["categories"] == [parent, child]


def test_paths_and_marks_of_other_programs_are_read(tmp_path: Path) -> None:
    coco = roboflow(tmp_path)
    coco["images"][0]["file_name"] = "C:\\me\\a.jpg"
    coco["images"][1]["file_name"] = "images/b.jpg"
    (tmp_path / FILE_NAME).write_text(json.dumps(coco), encoding="utf-8-sig")
    store = AnnotationStore(tmp_path)
    assert store.looked_at() == {"a.jpg", "b.jpg"}
    store.put("b.jpg", (60, 80), [], DUCK)
    assert store.boxes("b.jpg") == []
    assert [image["file_name"] for image in read(tmp_path)["images"]] == [
        "C:\\me\\a.jpg",
        "images/b.jpg",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "",
        "[]",
        '{"images": {}}',
        '{"images": [{"id": 1}]}',
        '{"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2]}]}',
        '{"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": ["1", "1", "5", "5"]}]}',
        '{"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": "1234"}]}',
        '{"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": {"a": 1}}]}',
        '{"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 1, 1%s]}]}'
        % ("0" * 400),
        '{"info": {"a": 1e400}}',
        '{"images": [{"id": 1, "file_name": "a.jpg", "no_object_of": [{}]}]}',
        '{"annotations": [{"id": "a", "image_id": 1, "category_id": 1}]}',
        '{"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [NaN, 1, 2, 3]}]}',
        '{"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1e308, 1, 1e308, 3]}]}',
        '{"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": "maybe"}]}',
        '{"categories": [3]}',
        '{"images": [{"id": 1, "file_name": null}]}',
        '{"categories": [{"id": 1, "name": 5}]}',
        '{"images": [{"id": 1, "file_name": "a.jpg"}], '
        '"annotations": [{"id": 1, "image_id": "1", "category_id": 1, "bbox": [1, 1, 2, 3]}]}',
        '{"categories": [{"id": 1, "name": "duck"}], '
        '"annotations": [{"id": 1, "image_id": 1, "category_id": "1", "bbox": [1, 1, 2, 3]}]}',
    ],
)
def test_a_broken_file_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(text)
    store = AnnotationStore(tmp_path)
    for action in (
        store.looked_at,
        lambda: store.boxes("a.jpg"),
        lambda: store.put("a.jpg", (6, 8), [], DUCK),
        lambda: store.forget("a.jpg", DUCK),
    ):
        with pytest.raises(UserError, match="is not a COCO file") as error:
            action()
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    assert path.read_text() == text


def test_a_crowd_is_told_as_the_reader_of_labels_tells_it(tmp_path: Path) -> None:
    """A box with "iscrowd": "0" was hidden, and drawn a second time."""
    content = roboflow(tmp_path)
    for given, shown in (("0", 2), (False, 2), (None, 2), ("1", 1), (1, 1)):
        content["annotations"][0]["iscrowd"] = given
        (tmp_path / FILE_NAME).write_text(json.dumps(content))
        assert len(AnnotationStore(tmp_path).boxes("a.jpg")) == shown, given


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"file_name": None}, "None is no picture's name"),
        ({"size_hw": None}, "size_hw is None: give height and width"),
        ({"size_hw": (6,)}, "give height and width"),
        ({"boxes": None}, "the boxes are None: give a list of Box"),
    ],
)
def test_what_is_no_picture_or_box_is_not_put(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    given = {"file_name": "a.jpg", "size_hw": (6, 8), "boxes": [], "classes": DUCK, **change}
    with pytest.raises(UserError, match=told):
        AnnotationStore(tmp_path).put(**given)
    assert not (tmp_path / FILE_NAME).exists()


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roboflow(tmp_path)
    before = (tmp_path / FILE_NAME).read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match=r"coco\.json cannot be written \(disk full\)"):
        AnnotationStore(tmp_path).put("c.jpg", (60, 80), [], DUCK)
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "xyxy", [(5, 1, 5, 2), (5, 1, 4, 2), (1, 1, 2, float("nan")), (1, 1, 2, float("inf"))]
)
def test_a_box_without_a_size_cannot_be_made(xyxy: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="x2 > x1"):
        Box(xyxy, "duck")


def test_a_class_is_renamed_merged_and_dropped(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    store.put(
        "a.jpg", (60, 80), [Box((1, 2, 3, 4), "duk"), Box((5, 6, 7, 8), "duck")], ["duk", "duck"]
    )
    store.put("b.jpg", (60, 80), [Box((1, 2, 3, 4), "frog")], ["frog"])
    assert store.counts() == {"duk": 1, "duck": 1, "frog": 1}
    assert store.rename("frog", "toad") == 1
    assert store.counts() == {"duk": 1, "duck": 1, "toad": 1}
    assert store.rename("duk", "duck") == 1
    assert store.counts() == {"duck": 2, "toad": 1}
    assert store.drop("toad") == 1
    assert store.counts() == {"duck": 2}
    assert store.looked_at() == {"a.jpg"}  # nobody said that b.jpg holds no object
    with pytest.raises(UserError, match="has no class 'frog'; its classes: duck"):
        store.rename("frog", "toad")
    with pytest.raises(UserError, match="'' is no name for a class"):
        store.rename("duck", "")


def test_an_image_with_boxes_of_other_classes_alone_is_not_done(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    store.put("a.jpg", (60, 80), [Box((1, 2, 3, 4), "frog")], ["frog"])
    assert store.looked_at_for(["frog"]) == {"a.jpg"}
    assert store.looked_at_for(["duck"]) == set()
    store.put("a.jpg", (60, 80), [], ["duck"])  # no duck in it
    assert store.looked_at_for(["duck"]) == {"a.jpg"}
    assert store.looked_at_for(["duck", "cat"]) == set()
    store.forget("a.jpg", ["duck"])
    assert store.looked_at_for(["duck"]) == set()


def _put(folder: Path, names: list[str], bboxes: list[list[float]]) -> None:
    """One box an image, all of id 1, as a careless merge leaves them."""
    coco = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": 1, "image_id": i, "category_id": 1, "bbox": bbox}
            for i, bbox in enumerate(bboxes)
        ],
        "categories": [{"id": 1, "name": "duck"}],
    }
    (folder / FILE_NAME).write_text(json.dumps(coco))


def test_boxes_of_other_images_with_the_same_id_stay(tmp_path: Path) -> None:
    _put(tmp_path, ["a.jpg", "b.jpg"], [[1, 1, 50, 50], [20, 20, 50, 50]])
    store = AnnotationStore(tmp_path)
    store.put("a.jpg", (480, 640), [Box((1, 1, 60, 60), "duck", 1)], DUCK)
    assert [box.xyxy for box in store.boxes("a.jpg")] == [(1, 1, 60, 60)]
    assert [box.xyxy for box in store.boxes("b.jpg")] == [(20, 20, 70, 70)]
    store.forget("a.jpg", DUCK)
    assert [box.xyxy for box in store.boxes("b.jpg")] == [(20, 20, 70, 70)]


def test_a_box_too_far_away_to_have_a_size_is_not_shown(tmp_path: Path) -> None:
    _put(tmp_path, ["a.jpg"], [[1e17, 1, 1, 5]])
    assert AnnotationStore(tmp_path).boxes("a.jpg") == []


@pytest.mark.parametrize("name", ["./a.jpg", ".\\a.jpg", "A.JPG", "C:\\photos\\A.jpg"])
def test_a_name_is_spelt_as_the_folder_does(tmp_path: Path, name: str) -> None:
    """As the labels are read: else a second entry of one picture would be written beside it."""
    put_image(tmp_path / "a.jpg")
    store = AnnotationStore(tmp_path)
    store.put("a.jpg", (60, 80), [Box((1, 2, 11, 22), "duck")], DUCK)
    (tmp_path / FILE_NAME).write_text(
        (tmp_path / FILE_NAME).read_text().replace('"a.jpg"', json.dumps(name))
    )
    store = AnnotationStore(tmp_path)
    assert store.looked_at() == {"a.jpg"}
    assert len(store.boxes("a.jpg", DUCK)) == 1
    store.put("a.jpg", (60, 80), [Box((3, 2, 11, 22), "duck")], DUCK)
    assert [image["file_name"] for image in read(tmp_path)["images"]] == [name]
    assert load_dataset(tmp_path).n_boxes == 1


def test_two_files_that_differ_in_case_alone_have_their_own_entries(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    for name in ("a.jpg", "A.jpg"):
        put_image(tmp_path / name)
    for name in ("a.jpg", "A.jpg"):
        store.put(name, (60, 80), [], DUCK)
    assert store.looked_at() == {"a.jpg", "A.jpg"}


@pytest.mark.parametrize("names", [["cam1/a.jpg", "cam2/a.jpg"], ["cam1/a.jpg"]])
def test_an_image_below_is_not_the_one_of_the_same_name_here(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    _put(tmp_path, names, [[1, 1, 50, 50], [20, 20, 50, 50]][: len(names)])
    store = AnnotationStore(tmp_path)
    assert (store.looked_at(), store.boxes("a.jpg")) == (set(), [])
    store.put("a.jpg", (480, 640), [], DUCK)
    assert store.looked_at() == store.looked_at_for(DUCK) == {"a.jpg"}
    coco = json.loads((tmp_path / FILE_NAME).read_text())
    assert len(coco["annotations"]) == len(names)
    assert len(coco["images"]) == len(names) + 1


def test_a_picture_of_a_folder_below_is_refused(tmp_path: Path) -> None:
    """It would be written again each time, and never found."""
    store = AnnotationStore(tmp_path)
    with pytest.raises(UserError, match=r"below/a\.jpg is no picture of .* itself"):
        store.put("below/a.jpg", (60, 80), [], DUCK)
    assert store.looked_at() == set()


def test_boxes_go_into_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "boxes.json"
    kept.parent.mkdir()
    (tmp_path / "images").mkdir()
    store = AnnotationStore(tmp_path / "images")
    store.path.symlink_to(kept)
    for name in ("a.jpg", "b.jpg"):
        store.put(name, (60, 80), [Box((1, 2, 11, 22), "duck")], ["duck"])
    assert store.path.is_symlink()
    assert [image["file_name"] for image in json.loads(kept.read_text())["images"]] == [
        "a.jpg",
        "b.jpg",
    ]
    assert [path.name for path in kept.parent.iterdir()] == ["boxes.json"]
