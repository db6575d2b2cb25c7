"""Samples, data sets, splits: what is checked where they are made, and which folder is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import SIZE_HW, annotation, put_coco, put_image, put_yolo, voc_xml
from hypothesis import given
from hypothesis import strategies as st

from duckdetect.data.check import left_over
from duckdetect.data.dataset import (
    Dataset,
    Label,
    Problem,
    Sample,
    alike_classes,
    alike_warning,
    make_sample,
    strict,
)
from duckdetect.data.loading import (
    describe_dataset,
    find_splits,
    load_dataset,
    read_dataset,
    require_boxes,
)
from duckdetect.errors import DataWarning, UserError

H, W = SIZE_HW


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_image(tmp_path_factory.mktemp("pictures") / "a b.jpg")


def sample_of(xyxy: Any, **changes: Any) -> Sample:
    boxes = np.array(xyxy, np.float32).reshape(-1, 4)
    return Sample(Path("a.jpg"), 1, SIZE_HW, boxes, np.zeros(len(boxes), np.int64), **changes)


coordinate = st.one_of(st.floats(-200, 300), st.floats(), st.integers(-5, 90))


@given(st.lists(st.tuples(*[coordinate] * 4), max_size=4))
def test_clipping(image: Path, boxes: list[tuple[float, ...]]) -> None:
    """Each box is kept inside the picture or told of, and moved by no more than what sticks out."""
    told: list[Problem] = []
    labels = [Label(str(i), box, i) for i, box in enumerate(boxes)]
    sample = make_sample(image, 1, None, labels, told.append)
    assert sample is not None
    assert sorted([*map(int, sample.class_id), *(int(p.where) for p in told)]) == [
        *range(len(boxes))
    ]
    assert sample.xyxy.dtype == np.float32
    for xyxy, number in zip(sample.xyxy, sample.class_id, strict=True):
        assert (xyxy >= 0).all()
        assert (xyxy <= [W, H, W, H]).all()
        assert (xyxy[2:] > xyxy[:2]).all()
        np.testing.assert_allclose(xyxy, np.clip(boxes[number], 0, [W, H, W, H]), atol=1e-5)
        assert np.abs(xyxy - boxes[number]).max() <= 0.02 * W + 1e-5
    for problem in told:
        assert len(str(problem).splitlines()) == 1


def test_overhang(image: Path) -> None:
    """Two hundredths of the picture, at least a pixel, are rounding; more is a mistake."""
    good = [Label("", (-1.5, -1.1, 81.5, 61.1), 0)]
    sample = make_sample(image, 1, None, good, strict)
    assert sample is not None
    np.testing.assert_array_equal(sample.xyxy, [[0, 0, 80, 60]])
    for box in ((-1.7, 0, 9, 9), (0, -1.3, 9, 9), (0, 0, 81.7, 9), (0, 0, 9, 61.3)):
        with pytest.raises(UserError, match="reaches beyond the picture of 80x60: draw it again"):
            make_sample(image, 1, None, [Label("x", box, 0)], strict)


def test_a_box_that_single_precision_makes_empty(image: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        make_sample(image, 1, None, [Label("x", (50.0000001, 1, 50.0000002, 9), 0)], strict)


def test_problems_of_a_image_whose_path_has_spaces(tmp_path: Path) -> None:
    path = tmp_path / "My Drive" / "my duck.jpg"
    told: list[Problem] = []
    assert make_sample(path, 1, None, [], told.append) is None
    assert told == [Problem(str(path), "is not there", "check its name")]
    assert str(told[0]) == f"{path}: is not there: check its name"


def test_samples_are_checked_where_they_are_made() -> None:
    assert sample_of([[0, 0, 1, 1]]).crowd.tolist() == [False]
    for xyxy, changes in (
        ([[0, 0, np.nan, 1]], {}),
        ([[3, 0, 1, 1]], {}),
        ([[0, 0, 1, 1]], {"crowd": np.zeros(2, bool)}),
        ([[0, 0, 1, 1]], {"segmentation": (None, None)}),
    ):
        with pytest.raises(ValueError, match=r"a\.jpg"):
            sample_of(xyxy, **changes)


def test_a_image_that_changed_since(tmp_path: Path) -> None:
    dataset = load_dataset(put_coco(tmp_path))
    assert dataset.samples[0].load().shape == (H, W, 3)
    put_image(tmp_path / "a.jpg", (5, 6))
    with pytest.raises(UserError, match=r"a\.jpg is 6x5 now, was 80x60 when labelled: put"):
        dataset.samples[0].load()


def test_subset_and_length() -> None:
    samples = tuple(sample_of([[0, 0, i + 1, 1]] * i) for i in range(3))  # all of id 1
    dataset = Dataset(Path("x"), ("duck",), samples)
    assert (len(dataset), dataset.n_boxes) == (3, 3)
    assert [sample.image_id for sample in dataset] == [1, 2, 3]
    assert list(dataset.subset([2, 0])) == [dataset.samples[2], dataset.samples[0]]


def marked(folder: Path, x: float) -> Path:
    return put_coco(folder, [annotation([x, 1, 9, 9])])


def read_x(folder: Path, split: str | None = None) -> float:
    return float(load_dataset(folder, split).samples[0].xyxy[0, 0])


def test_which_split_is_read(tmp_path: Path) -> None:
    for split, x in (("train", 1), ("val", 2), ("test", 3)):
        marked(tmp_path / split, x)
    assert read_x(tmp_path) == read_x(tmp_path, "train") == 1
    assert read_x(tmp_path, "valid") == read_x(tmp_path / "val") == 2
    assert read_x(tmp_path, "test") == 3
    assert read_x(tmp_path / "val", "valid") == 2  # the split's own folder
    assert find_splits(tmp_path) == {
        "train": tmp_path / "train",
        "valid": tmp_path / "val",
        "test": tmp_path / "test",
    }
    with pytest.raises(UserError, match="no split 'dev': give one of train, valid, test"):
        load_dataset(tmp_path, "dev")
    with pytest.raises(UserError, match="train has no split 'test': leave the split out"):
        load_dataset(tmp_path / "train", "test")


def test_labels_of_its_own_do_not_hide_a_split(tmp_path: Path) -> None:
    """Asked for the test split, the pictures trained on must not come back."""
    marked(tmp_path, 1)
    with pytest.raises(UserError, match="no split 'test': leave the split out"):
        load_dataset(tmp_path, "test")
    (tmp_path / "test").mkdir()  # something else of that name
    with pytest.raises(UserError, match="no split 'test'"):
        load_dataset(tmp_path, "test")
    marked(tmp_path / "test", 2)
    assert (read_x(tmp_path), read_x(tmp_path, "test")) == (1, 2)


def test_a_relative_path_to_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_yolo(tmp_path)
    marked(tmp_path / "coco" / "test", 1)
    monkeypatch.chdir(tmp_path / "train")
    assert load_dataset(".").n_boxes == 1
    monkeypatch.chdir(tmp_path / "coco" / "test")
    assert read_x(Path(), "test") == 1


def test_coco_goes_before_the_others(tmp_path: Path) -> None:
    marked(tmp_path, 1)
    (tmp_path / "a.xml").write_text(voc_xml())
    assert read_x(tmp_path) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "is not there: give a folder of labelled pictures"),
        (lambda p: p.touch(), "is a file: give the folder of labelled pictures"),
        (lambda p: p.mkdir(), r"holds no labels \(_annotations\.coco\.json, data\.yaml or XML"),
        (lambda p: put_image(p / "a.jpg"), "holds no labels"),
        (lambda p: put_image(p / "train" / "a.jpg"), "train holds no labels"),
        (lambda p: marked(p / "test", 1), "no split 'train': give one of test"),
    ],
)
def test_folders_without_labels(tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "in")
    with pytest.raises(UserError, match=message):
        load_dataset(tmp_path / "in")


def test_two_images_of_one_name(tmp_path: Path) -> None:
    put_coco(tmp_path / "two", names=["x/a.jpg", "y/a.jpg"])
    assert len(load_dataset(tmp_path / "two")) == 2
    put_coco(tmp_path, names=["x/a.jpg", "x/a.jpg"])
    with pytest.raises(UserError, match=r"2 entries are named a\.jpg"):
        load_dataset(tmp_path)


def test_require_boxes(tmp_path: Path) -> None:
    require_boxes(Dataset(tmp_path, ("duck",), (sample_of([[0, 0, 1, 1]]),)))
    with pytest.raises(UserError, match="holds no labelled picture: draw"):
        require_boxes(Dataset(tmp_path, (), ()))
    crowd = sample_of([[0, 0, 1, 1]], crowd=np.array([True]))
    for samples in ((sample_of([]),), (crowd,)):
        with pytest.raises(UserError, match="no box in any of its 1 picture: draw boxes"):
            require_boxes(Dataset(tmp_path, ("duck",), samples))


def test_errors_stop_and_warnings_do_not() -> None:
    strict(Problem("a", "b", "c", "warning"))
    with pytest.raises(UserError, match=r"^a: b: c$"):
        strict(Problem("a", "b", "c"))


def test_read_dataset_returns_what_is_good(tmp_path: Path) -> None:
    boxes = [annotation(), annotation([1, 1, 0, 0], id=2), annotation(id=3, image_id=2)]
    put_coco(tmp_path, boxes, names=["a.jpg", "b.jpg"])
    (tmp_path / "b.jpg").write_bytes(b"")
    told: list[Problem] = []
    dataset = read_dataset(tmp_path, None, told.append)
    assert (len(dataset), dataset.n_boxes) == (1, 1)
    assert ["empty" in p.what for p in told] == [True, True]


def test_describe(tmp_path: Path) -> None:
    samples = (sample_of([[0, 0, W, H], [0, 0, W / 2, H / 2]]), sample_of([]))
    lines = describe_dataset(Dataset(tmp_path, ("duck", "cat"), samples))
    assert lines[0] == "2 pictures, 2 boxes, 1 picture without a box"
    assert [line.split() for line in lines[1:3]] == [["duck", "2"], ["cat", "0"]]
    assert "50% to 100%" in lines[3]
    assert lines[4].startswith(
        "box areas, as COCO counts: 0 small (under 32x32 pixels), 2 medium, 0"
    )
    assert len(describe_dataset(Dataset(tmp_path, (), ()))) == 1


def test_samples_that_are_made_by_hand(tmp_path: Path) -> None:
    """Lists and text will do; what cannot be is told."""
    picture = str(put_image(tmp_path / "a.png"))
    sample = Sample(picture, 1, (60, 80), [[1, 2, 30, 40]], [0], score=[0.5])  # type: ignore[arg-type]
    assert sample.xyxy.dtype == np.float32
    assert sample.class_id.dtype == np.int64
    dataset = Dataset(str(tmp_path), ["duck"], [sample])  # type: ignore[arg-type]
    assert dataset.to_coco()["images"][0]["file_name"] == "a.png"
    assert not left_over(dataset)
    assert len(Sample(picture, 1, (60, 80), [], []).xyxy) == 0  # type: ignore[arg-type]
    for boxes, numbers, told in (
        ([[1, 2, 3, 4], [1, 2]], [0, 0], "xyxy is .*: give an array"),
        ([[1, 2, 30, 40]], ["duck"], "class_id is .*: give an array"),
        ([[1, 2, 30, 40]], [-1], "class -1: classes count from 0"),
        ([[1, 2, 30, 40]], 0, "class_id is of shape"),
    ):
        with pytest.raises(ValueError, match=told):
            Sample(picture, 1, (60, 80), boxes, numbers)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"a\.png has a box of class 0, and there are 0, from 0"):
        Dataset(tmp_path, (), (sample,))
    with pytest.raises(UserError, match='classes of a data set are "duck": give names'):
        Dataset(tmp_path, "duck", ())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="there are 1 samples, from 0"):
        dataset.subset([99])
    with pytest.raises(UserError, match="give the splits"):
        left_over(None)  # type: ignore[arg-type]


def test_classes_that_only_a_computer_tells_apart_are_told() -> None:
    composed, apart, wide = "caf\u00e9", "cafe\u0301", "caf\u00e9\u200b"
    (group,) = alike_classes(["duck", composed, apart, wide])
    assert group == [composed, apart, wide]
    what, _ = alike_warning(group)
    assert what == (
        r"the classes 'caf\xe9', 'cafe\u0301', 'caf\xe9\u200b' differ in what nobody sees only"
    )
    assert "'duck', 'Duck' differ in case or blanks only" in alike_warning(["duck", "Duck"])[0]


@pytest.mark.parametrize("name", ["rubber\nduck", "duck\x1b[2J", "duck\u2028goose"])
def test_a_class_name_of_several_lines_is_refused(tmp_path: Path, name: str) -> None:
    """It would pass for lines of ours, and shift the names in files of a name a line."""
    put_coco(tmp_path, categories=[{"id": 1, "name": name}])
    with pytest.raises(UserError, match="has a control character or line break in it: rename"):
        load_dataset(tmp_path)


def test_a_comment_among_class_names_is_told(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("# our classes\nduck\n")
    with pytest.warns(DataWarning, match="its line '# our classes' is a class, too"):
        load_dataset(tmp_path)
