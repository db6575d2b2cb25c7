"""`check_dataset`: all problems at once, errors first, and nothing said of good data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import SIZE_HW, annotation, put_coco, put_image, put_yolo, voc_xml
from PIL import Image

from duckdetect.data.check import check_dataset
from duckdetect.data.dataset import Problem
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import encode_mask
from duckdetect.utils.progress import progress_bar

H, W = SIZE_HW


def lines(problems: list[Problem], severity: str) -> list[str]:
    return [str(problem) for problem in problems if problem.severity == severity]


def test_nothing_is_said_of_good_data(project_data: Path, tmp_path: Path) -> None:
    assert lines(check_dataset(project_data / "ducks"), "error") == []
    assert check_dataset(put_coco(tmp_path)) == []


def test_nothing_is_said_of_the_real_ducks(shared_data: Path) -> None:
    assert check_dataset(shared_data / "ducky") == []


def test_all_problems_at_once(tmp_path: Path) -> None:
    names = [f"{name}.jpg" for name in "abcdef"]
    boxes: list[Any] = [
        annotation(id=1),
        annotation([1, 1, 0, 9], id=2),
        annotation([9, 9, -2, 9], id=3, image_id=2),
        annotation([1, 1, float("nan"), 9], id=4),
        annotation([70, 1, 50, 9], id=5),
        annotation(id=6, category_id=3),
        annotation(id=7, image_id=99),
    ]
    put_coco(tmp_path, boxes, names=names)
    (tmp_path / "b.jpg").unlink()
    (tmp_path / "c.jpg").write_bytes(b"")
    (tmp_path / "d.jpg").write_text("text")
    put_image(tmp_path / "e.jpg", (H + 1, W))
    content = (tmp_path / "f.jpg").read_bytes()
    (tmp_path / "f.jpg").write_bytes(content[: len(content) // 2])  # a good head, and breaks off
    problems = check_dataset(tmp_path)
    errors = lines(problems, "error")
    wanted = [
        "annotation 2: box (1, 1, 1, 10) is empty",
        "annotation 4: box (1, 1, nan, 10) holds",
        "annotation 5: box (70, 1, 120, 10) reaches",
        "annotation 6: there is no category 3",
        "annotation 7: there is no image 99",
        'image 2: the picture "b.jpg" is missing',
        "c.jpg: is empty: remove it",
        "d.jpg: is not a picture",
        "e.jpg: is 80x61, but its labels say 80x60",
        "f.jpg: is damaged",
    ]
    for part in wanted:
        assert sum(part in line for line in errors) == 1, part
    assert len(errors) == len(wanted)  # annotation 3 lies in a picture that is missing
    assert all("\n" not in line for line in errors)
    assert problems[: len(errors)] == [p for p in problems if p.severity == "error"]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[10, 10, 5, 20]], r"a.jpg: box (10, 10, 15, 30) is tiny: check"),
        ([[0, 0, W, H]], r"a.jpg: box (0, 0, 80, 60) covers the whole picture: draw"),
        ([[10, 10, 20, 20], [10.5, 10, 20, 20]], r"box (10.5, 10, 30.5, 30) is there twice"),
        ([], "no picture has a box: draw boxes"),
        ([], "no box is labelled 'duck': label some, or drop the class"),
    ],
)
def test_what_is_suspicious(tmp_path: Path, boxes: list[Any], message: str) -> None:
    annotations = [annotation(box, id=i) for i, box in enumerate(boxes)]
    problems = check_dataset(put_coco(tmp_path, annotations))
    assert lines(problems, "error") == []
    assert any(message in line for line in lines(problems, "warning"))


def test_boxes_of_two_classes_may_lie_on_each_other(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "duck"}, {"id": 2, "name": "toy"}]
    boxes = [annotation(id=1), annotation(id=2, category_id=2)]
    assert check_dataset(put_coco(tmp_path, boxes, categories=categories)) == []


def test_images_that_no_label_names(tmp_path: Path) -> None:
    put_coco(tmp_path)
    for i in range(7):
        put_image(tmp_path / f"left{i}.png")
    (problem,) = check_dataset(tmp_path)
    assert problem.severity == "warning"
    named = "left0.png, left1.png, left2.png, left3.png, left4.png and 2 more"
    assert f"7 pictures are in no label ({named})" in str(problem)


def test_all_splits_are_checked_and_the_folders_own_labels(tmp_path: Path) -> None:
    bad = [annotation([1, 1, 0, 0])]
    for part in ("", "train", "valid"):
        put_coco(tmp_path / part, bad)
    put_coco(tmp_path / "test")
    errors = lines(check_dataset(tmp_path), "error")
    assert len(errors) == 3
    assert len({line.partition(", annotation")[0] for line in errors}) == 3
    assert len(check_dataset(tmp_path, "valid")) >= 1
    assert check_dataset(tmp_path, "test") == []


def test_a_split_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    put_coco(tmp_path / "train", [annotation([1, 1, 0, 0])])
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "_annotations.coco.json").write_text("{")
    errors = lines(check_dataset(tmp_path), "error")
    assert len(errors) == 2
    path = tmp_path / "test" / "_annotations.coco.json"
    assert any(line.startswith(f"{path} is not JSON") for line in errors)


def test_a_folder_without_labels_is_one_line_without_its_name_twice(tmp_path: Path) -> None:
    (problem,) = check_dataset(tmp_path)
    assert str(problem).startswith(f"{tmp_path}: holds no labels")
    assert str(problem).count(str(tmp_path)) == 1


def test_yolo_splits(tmp_path: Path) -> None:
    put_yolo(tmp_path, "3 .5 .5 .1 .1", splits=("train", "valid"))
    errors = lines(check_dataset(tmp_path), "error")
    assert [line.partition(", line")[0].rpartition("/")[2] for line in errors] == [
        "train.txt",
        "valid.txt",
    ]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there: give a folder"):
        check_dataset(tmp_path / "none")


def test_what_the_check_lets_pass_can_be_read(project_data: Path) -> None:
    """The sample data's JSON names all of its pictures."""
    for split in ("train", "test"):
        path = project_data / "ducks" / split
        content = json.loads((path / "_annotations.coco.json").read_text())
        assert {image["file_name"] for image in content["images"]} == {
            p.name for p in path.glob("*.jpg")
        }


def test_a_bar_counts_pictures_and_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    def noted(*args: Any, **more: Any) -> Any:
        bars.append(progress_bar(*args, **more))
        return bars[-1]

    monkeypatch.setattr("duckdetect.data.check.progress_bar", noted)
    boxes = [annotation((x, 5, 9, 9), id=x + 1) for x in range(60)]
    # One picture: of a bar that counts pictures alone, nothing would be seen while its boxes are.
    check_dataset(put_coco(tmp_path, [*boxes, annotation(id=99, iscrowd=1)]))
    assert [(bar.n, bar.total) for bar in bars] == [(62, 62)]


def test_of_very_many_classes_without_a_box_some_are_named(tmp_path: Path) -> None:
    put_yolo(tmp_path)
    names = [f"class {i}" for i in range(1000)]
    (tmp_path / "data.yaml").write_text(json.dumps({"names": names, "train": "train/images"}))
    found = [line for line in lines(check_dataset(tmp_path), "warning") if "box" in line]
    assert len(found) <= 21
    assert "classes more have no box: label some, or drop them" in found[-1]


def test_labels_of_two_kinds_are_told(tmp_path: Path) -> None:
    """Of one picture the label is Pascal VOC's, of the other YOLO's."""
    for name in "abc":
        put_image(tmp_path / f"{name}.jpg")
    (tmp_path / "a.xml").write_text(voc_xml())
    (tmp_path / "b.xml").write_text(voc_xml(filename="b.jpg", box=(9, 9, 9, 9)))  # and broken
    (tmp_path / "c.txt").write_text("0 0.5 0.5 0.2 0.2")
    found = lines(check_dataset(tmp_path), "warning")
    assert any("1 picture is in no label (c.jpg)" in line for line in found)
    (told,) = (line for line in found if "1 file of labels is not read (c.txt)" in line)
    assert "move them to where the others lie, in the format of these, or away" in told


@pytest.mark.parametrize(("top", "told"), [(0x3F00, 1), (0xFF00, 0)])
def test_pictures_of_fewer_bits_than_their_file_are_told(
    tmp_path: Path, top: int, told: int
) -> None:
    """14 bits in 16, and heat: a narrow range far from black."""
    put_coco(tmp_path, names=("a.png", "b.png"))
    noise = np.random.default_rng(0).integers(0, top, SIZE_HW).astype(np.uint16)
    Image.fromarray(noise).save(tmp_path / "a.png")
    Image.fromarray(noise // 64 + 20000).save(tmp_path / "b.png")
    found = [line for line in lines(check_dataset(tmp_path), "warning") if "dark or flat" in line]
    assert len(found) == told + 1
    assert any("b.png: is dark or flat: its values are from 78 to" in line for line in found)


def test_an_outline_that_is_not_around_its_box_is_told(tmp_path: Path) -> None:
    here, there = [10, 20, 40, 20, 40, 35], [60, 40, 78, 40, 70, 55]
    boxes = [annotation(id=1, segmentation=[here]), annotation((50, 1, 9, 9), id=2)]
    boxes.append(annotation((10, 40, 20, 15), id=3, segmentation=[there]))
    mask = np.zeros(SIZE_HW, bool)
    mask[5:15, 5:25] = True
    boxes += [annotation((5, 5, 20, 10), id=4, segmentation=encode_mask(mask))]
    boxes += [annotation((50, 40, 20, 10), id=5, segmentation=encode_mask(mask))]
    found = [line for line in lines(check_dataset(put_coco(tmp_path, boxes)), "warning")]
    told = [line for line in found if "has its outline elsewhere" in line]
    assert [line.partition("box ")[2].partition(")")[0] for line in told] == [
        "(10, 40, 30, 55", "(50, 40, 70, 50",
    ]  # fmt: skip
