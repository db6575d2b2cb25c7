"""YOLO: data.yaml as tools write it, boxes and polygons, and what is said of broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from helpers.labelled_folders import SIZE_HW, put_image, put_yolo
from hypothesis import given, settings
from hypothesis import strategies as st

from duckdetect.data.check import check_dataset
from duckdetect.data.loading import find_splits, load_dataset
from duckdetect.errors import UserError

H, W = SIZE_HW


def test_roboflows_layout(tmp_path: Path) -> None:
    put_yolo(tmp_path, splits=("train", "valid"))
    for split in (None, "train", "valid"):
        dataset = load_dataset(tmp_path, split)
        assert dataset.classes == ("duck",)
        assert dataset.samples[0].path.stem == (split or "train")
        np.testing.assert_allclose(dataset.samples[0].xyxy, [[10, 20, 40, 35]], atol=1e-4)
    assert load_dataset(tmp_path / "valid").samples[0].path.stem == "valid"
    assert list(find_splits(tmp_path)) == ["train", "valid"]
    with pytest.raises(UserError, match="no split 'test': give one of train, valid"):
        load_dataset(tmp_path, "test")


@pytest.mark.parametrize(
    "yaml",
    [
        "names: {0: duck}\ntrain: train/images",
        "names: ['duck']\ntrain: ./train/images",
        "names: [duck]\npath: elsewhere\ntrain: train",
        "names: [duck]\npath: .\ntrain: train\\images",
        "names: [duck]\ntrain: /content/ducks-1/train/images",
        "names: [duck]\ntrain: C:\\Users\\me\\ducks\\train\\images",
        "\ufeffnames: [duck]\ntrain: train/images",
    ],
)
def test_ways_to_name_the_folder(tmp_path: Path, yaml: str) -> None:
    put_yolo(tmp_path, yaml=yaml)
    assert load_dataset(tmp_path).n_boxes == 1


def test_a_split_that_the_export_does_not_have(tmp_path: Path) -> None:
    """Roboflow names it all the same."""
    put_yolo(tmp_path)
    assert list(find_splits(tmp_path)) == ["train"]
    assert check_dataset(tmp_path) == []
    with pytest.raises(UserError, match="no split 'valid': give one of train"):
        load_dataset(tmp_path, "valid")


def test_images_and_labels_by_split(tmp_path: Path) -> None:
    """Ultralytics' own layout: images/train beside labels/train."""
    put_image(tmp_path / "images" / "val" / "a.jpg")
    (tmp_path / "labels" / "val").mkdir(parents=True)
    (tmp_path / "labels" / "val" / "a.txt").write_text("0 .5 .5 .5 .5")
    (tmp_path / "data.yaml").write_text("names: [duck]\nval: images/val")
    assert load_dataset(tmp_path, "valid").n_boxes == 1


def test_beside_the_folder_goes_before_above_it(tmp_path: Path) -> None:
    """Roboflow's "../train/images" must not find the neighbour's pictures."""
    put_yolo(tmp_path / "mine")
    put_image(tmp_path / "train" / "images" / "neighbour.jpg")
    assert load_dataset(tmp_path / "mine").samples[0].path.stem == "train"


def test_parity_with_supervision(shared_data: Path, tmp_path: Path) -> None:
    people = load_dataset(shared_data / "people", "train")
    images = {str(s.path): s for s in people}
    rows = {}
    for name, s in images.items():
        height, width = s.size_hw
        centre = (s.xyxy[:, :2] + s.xyxy[:, 2:]) / 2 / [width, height]
        size = (s.xyxy[:, 2:] - s.xyxy[:, :2]) / [width, height]
        rows[name] = "".join(
            f"0 {' '.join(f'{v:.9f}' for v in row)}\n" for row in np.hstack([centre, size])
        )
    (tmp_path / "train" / "images").mkdir(parents=True)
    (tmp_path / "train" / "labels").mkdir()
    for name, text in rows.items():
        (tmp_path / "train" / "images" / Path(name).name).write_bytes(Path(name).read_bytes())
        (tmp_path / "train" / "labels" / f"{Path(name).stem}.txt").write_text(text)
    (tmp_path / "data.yaml").write_text("names: [person]\ntrain: ../train/images\n")
    ours = load_dataset(tmp_path)
    theirs = sv.DetectionDataset.from_yolo(
        str(tmp_path / "train" / "images"),
        str(tmp_path / "train" / "labels"),
        str(tmp_path / "data.yaml"),
    )
    boxes = {Path(path).name: detections.xyxy for path, _, detections in theirs}
    assert len(ours) == len(boxes) == len(people)
    for sample in ours:
        np.testing.assert_allclose(sample.xyxy, boxes[sample.path.name], atol=0.01)


def test_polygons(tmp_path: Path) -> None:
    put_yolo(tmp_path, "0 0.25 0.25 0.75 0.25 0.5 0.5\n")
    sample = load_dataset(tmp_path).samples[0]
    np.testing.assert_allclose(sample.xyxy, [[20, 15, 60, 30]])
    assert sample.segmentation == ([[20, 15, 60, 15, 40, 30]],)
    assert load_dataset(tmp_path).to_coco()["annotations"][0]["area"] == 300


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.floats(0.01, 0.99)] * 4), min_size=1, max_size=4))
def test_any_box_comes_out_inside_its_image(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[float, ...]]
) -> None:
    corners = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in boxes]
    corners = [c for c in corners if c[2] - c[0] > 0.001 and c[3] - c[1] > 0.001]
    lines = [f"0 {(a + c) / 2!r} {(b + d) / 2!r} {c - a!r} {d - b!r}" for a, b, c, d in corners]
    folder = put_yolo(tmp_path_factory.mktemp("yolo"), "\n".join(lines))
    xyxy = load_dataset(folder).samples[0].xyxy
    expected = np.array(corners).reshape(-1, 4) * [W, H, W, H]
    np.testing.assert_allclose(xyxy, expected, atol=1e-4)
    assert (xyxy >= 0).all()
    assert (xyxy <= [W, H, W, H]).all()


def test_images_without_a_file_or_with_an_empty_one_have_no_object(tmp_path: Path) -> None:
    put_yolo(tmp_path)
    put_image(tmp_path / "train" / "images" / "none.jpg")
    put_image(tmp_path / "train" / "images" / "empty.jpg")
    (tmp_path / "train" / "labels" / "empty.txt").write_text("\n")
    dataset = load_dataset(tmp_path)
    assert [len(s.class_id) for s in dataset] == [0, 0, 1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str) -> None:
    put_yolo(tmp_path, yaml="names: [größer]\ntrain: train/images\n")
    text = "0.0 0.5 0.5 0.25 0.25\r\n\r\n0 0.5 0.5 0.5 0.5\r\n"
    (tmp_path / "train" / "labels" / "train.txt").write_bytes(text.encode(encoding))
    dataset = load_dataset(tmp_path)
    assert (dataset.n_boxes, dataset.classes) == (2, ("größer",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 .5 .5 .1 .1", r"train\.txt, line 1: there is no class 1 \(there are 1, from 0\): fix"),
        ("-1 .5 .5 .1 .1", r"there is no class -1"),
        ("0.5 .5 .5 .1 .1", r"there is no class 0\.5"),
        ("inf .5 .5 .1 .1", r"there is no class inf"),
        ("nan .5 .5 .1 .1", r"there is no class nan"),
        ("duck .5 .5 .1 .1", r"'duck \.5 \.5 \.1 \.1' is not all numbers"),
        ("0,.5,.5,.1,.1", r"is not all numbers"),
        ("0 0_0.5 .5 .1 .1", r"is not all numbers"),
        ("0", r"has 0 numbers after the class: give 4 for a box"),
        ("0 .5 .5 .1 .1 7.9", r"has 5 numbers after the class: .*an angle"),
        ("0 .5 .5 .1", r"has 3 numbers"),
        ("0 .5 .5 nan .1", r"a coordinate is not from 0 to 1: export it normalised"),
        ("0 320 240 50 60", r"a coordinate is not from 0 to 1"),
        ("0 .5 .5 0 .1", r"box \(40, 27, 40, 33\) is empty"),
        ("0 .9 .5 .5 .1", r"reaches beyond the picture of 80x60"),
        ("0 .1 .5 .5 .5 .9 .5", r"is empty"),  # three points on a line
    ],
)
def test_broken_lines(tmp_path: Path, line: str, message: str) -> None:
    put_yolo(tmp_path, line + "\n0 .5 .5 .1 .1\n")
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value) in map(str, check_dataset(tmp_path))


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("", r"data\.yaml is no YOLO data file: give `names`"),
        ("- duck", r"is no YOLO data file"),
        ("names: duck\ntrain: train/images", r"is no YOLO data file"),
        ("names: {1: duck}\ntrain: train/images", r"has no number 0"),
        ("names: {0: duck, 0: cat}\ntrain: train/images", r'is not YAML \(line 1 names "0" again'),
        ("names: [duck]\ntrain: a\ntrain: b", r'is not YAML \(line 3 names "train" again\)'),
        ("names: [duck\ntrain: :", r"data\.yaml is not YAML \("),
        ("\x00\x01", r"is not YAML \("),
        ("names: [duck]", r"data\.yaml: has no split 'train': give the folder"),
        ("names: [duck]\ntrain: [train/images, b]", r"the folder 'b' of split 'train' is missing"),
        ("names: [duck]\ntrain: [[1]]", r"'train' is .*: give the folder"),
        ("names: [duck]\ntrain: gone.txt", r"the list 'gone\.txt' of split 'train' is missing"),
        ("names: [duck]\ntrain: nowhere", r"the folder 'nowhere' of split 'train' is missing"),
    ],
)
def test_broken_settings(tmp_path: Path, yaml: str, message: str) -> None:
    put_yolo(tmp_path, yaml=yaml)
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value) in map(str, check_dataset(tmp_path))


def test_labels_without_a_image_are_not_lost_silently(tmp_path: Path) -> None:
    put_yolo(tmp_path)
    (tmp_path / "train" / "labels" / "classes.txt").write_text("duck")
    assert check_dataset(tmp_path) == []
    (tmp_path / "train" / "labels" / "lost.txt").write_text("0 .5 .5 .1 .1")
    with pytest.raises(UserError, match=r"lost\.txt: has no picture in .*images: put the picture"):
        load_dataset(tmp_path)


def test_labels_of_several_folders_are_told_once(tmp_path: Path) -> None:
    """Of 400 folders of videos with one of labels there were 160,000 lines."""
    for i in range(5):
        put_image(tmp_path / "images" / f"video{i}" / f"{i}.jpg")
    (tmp_path / "labels").mkdir()
    for i in range(6):
        (tmp_path / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [duck]\n")
    told = [str(p) for p in check_dataset(tmp_path) if "has no picture in" in str(p)]
    assert len(told) == 1
    assert "5.txt" in told[0]
    (tmp_path / "labels" / "5.txt").unlink()
    assert load_dataset(tmp_path).n_boxes == 5


def test_no_labels_at_all(tmp_path: Path) -> None:
    put_yolo(tmp_path)
    (tmp_path / "train" / "labels" / "train.txt").unlink()
    with pytest.raises(UserError, match=r"none of its 1 picture has a text file of labels"):
        load_dataset(tmp_path)


def test_two_images_of_one_file_of_labels(tmp_path: Path) -> None:
    put_yolo(tmp_path)
    put_image(tmp_path / "train" / "images" / "train.png")
    with pytest.raises(UserError, match=r"shares its labels train\.txt with another picture"):
        load_dataset(tmp_path)
