"""`split_dataset`: by class, what shows the same stays together, the same seed gives the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.labelled_folders import annotation, put_coco, put_image, put_yolo

import duckdetect as dd
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import find_splits
from duckdetect.errors import UserError

SPLITS = ("train", "valid", "test")


def names(dataset: Dataset) -> list[str]:
    return [sample.path.name for sample in dataset]


def all_names(path: Path) -> dict[str, list[str]]:
    return {split: names(dd.load_dataset(path, split)) for split in SPLITS}


@pytest.mark.parametrize("name", ["raccoon", "people"])
def test_real_data_in_a_folder_and_in_a_file(name: str, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / name
    done = dd.data.split_dataset(source, tmp_path / "out")
    sizes = [len(done.parts[split]) for split in SPLITS]
    n = sum(sizes)
    assert n == (100 if name == "raccoon" else 50)
    for size, share in zip(sizes, (0.7, 0.15, 0.15), strict=True):
        assert abs(size - share * n) <= 1
    assert list(find_splits(tmp_path / "out")) == list(SPLITS)
    assert [p for p in dd.data.check_dataset(tmp_path / "out") if p.severity == "error"] == []
    again = dd.data.split_dataset(source, file=tmp_path / "split.json")
    assert all_names(tmp_path / "out") == all_names(tmp_path / "split.json")
    for split in SPLITS:
        copies, kept = (dd.load_dataset(tmp_path / f, split) for f in ("out", "split.json"))
        for mine, other in zip(copies, kept, strict=True):
            assert (mine.xyxy == other.xyxy).all()
            assert source.resolve() in other.path.resolve().parents
        assert names(dd.load_dataset(tmp_path / "split.json" / split)) == names(kept)
    assert again.n_groups == done.n_groups
    assert "split with seed 0" in done.text()


def test_near_duplicates_stay_together(shared_data: Path, tmp_path: Path) -> None:
    for seed in range(3):
        done = dd.data.split_dataset(shared_data / "raccoon", file=tmp_path / "s.json", seed=seed)
        where = {n: split for split, part in done.parts.items() for n in names(part)}
        for pair in ((21, 45), (50, 52), (50, 74), (51, 85), (65, 98)):
            assert len({where[f"raccoon-{k}.jpg"] for k in pair}) == 1
    assert (done.n_groups, done.n_near) == (95, 9)
    assert "9 are nearly the same as another and stay with it" in done.text()


def test_seeds(shared_data: Path, tmp_path: Path) -> None:
    def text(seed: int) -> str:
        dd.data.split_dataset(shared_data / "people", file=tmp_path / "s.json", seed=seed)
        return (tmp_path / "s.json").read_text()

    assert text(0) == text(0) != text(1)
    for seed in (-1, "x", 0.5, True, None):
        with pytest.raises(UserError, match="give a whole number of at least 0"):
            text(seed)  # type: ignore[arg-type]


def test_the_order_of_the_labels_does_not_matter(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_data / "people" / "train", tmp_path / "in")
    labels = tmp_path / "in" / "_annotations.coco.json"

    def text() -> str:
        dd.data.split_dataset(tmp_path / "in", file=tmp_path / "s.json")
        return (tmp_path / "s.json").read_text()

    before = text()
    content = json.loads(labels.read_text())
    content["images"].reverse()
    labels.write_text(json.dumps(content))
    assert text() == before


def put_many(folder: Path, n: int, name: str = "{}.jpg", **changes: Any) -> Path:
    boxes = [annotation(id=i, image_id=i) for i in range(1, n + 1)]
    return put_coco(folder, boxes, [name.format(i) for i in range(n)], **changes)


def test_classes_and_empty_images_are_shared_out(tmp_path: Path) -> None:
    """40 pictures of a duck, 10 of a cat, 10 of nothing; in fifths."""
    boxes = [annotation(id=i, image_id=i, category_id=1 + (i > 40)) for i in range(1, 51)]
    categories = [{"id": 1, "name": "duck"}, {"id": 2, "name": "cat"}]
    folder = put_coco(
        tmp_path / "in", boxes, [f"{i}.jpg" for i in range(60)], categories=categories
    )
    done = dd.data.split_dataset(folder, tmp_path / "out", 0.6, 0.2, 0.2)
    for split, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
        part = dd.load_dataset(tmp_path / "out", split)
        kinds = [s.class_id.tolist() for s in part]
        assert [kinds.count(k) for k in ([0], [1], [])] == [share * n for n in (40, 10, 10)]
    assert "  train  36 pictures (60%), boxes: duck 24, cat 6, without a box: 6" in done.text()


def test_frames_of_a_clip_stay_together(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    clips = [f"clip{k}_{i:03}.jpg" for k in range(4) for i in range(5)]
    boxes = [annotation(id=i, image_id=i) for i in range(1, 21)]
    put_coco(folder, boxes, clips)
    done = dd.data.split_dataset(folder, file=tmp_path / "s.json", train=0.5, valid=0.25, test=0.25)
    assert [len(done.parts[s]) for s in SPLITS] == [10, 5, 5]
    for part in done.parts.values():
        assert all(names(part).count(n) == 1 for n in names(part))
        assert len({n.partition("_")[0] for n in names(part)}) * 5 == len(part)
    assert done.clips == {f"clip{k}": 5 for k in range(4)}
    assert "frames of one clip stay together: clip0 5, clip1 5" in done.text()


def test_one_clip_alone_cannot_be_split(tmp_path: Path) -> None:
    folder = put_many(tmp_path / "in", 10, "frame_{}.jpg")
    with pytest.raises(UserError, match="10 pictures in 1 groups that show the same, fewer than 3"):
        dd.data.split_dataset(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = dd.data.split_dataset(folder, tmp_path / "out", clips=False)
    assert [len(done.parts[s]) for s in SPLITS] == [7, 2, 1] or done.n_groups == 10


def test_augmented_copies_stay_together(tmp_path: Path) -> None:
    folder = put_many(tmp_path / "in", 12)
    content = json.loads((folder / "_annotations.coco.json").read_text())
    for i, image in enumerate(content["images"]):
        new = f"duck{i // 3}_jpg.rf.{i:032x}.jpg"
        (folder / image["file_name"]).rename(folder / new)
        image["file_name"] = new
    (folder / "_annotations.coco.json").write_text(json.dumps(content))
    done = dd.data.split_dataset(folder, file=tmp_path / "s.json", train=0.5, valid=0.25, test=0.25)
    assert [len(done.parts[s]) for s in SPLITS] == [6, 3, 3]


def test_a_split_that_is_not_wanted(tmp_path: Path) -> None:
    put_many(tmp_path / "in", 10)
    done = dd.data.split_dataset(tmp_path / "in", tmp_path / "out", train=0.8, valid=0, test=0.2)
    assert list(done.parts) == ["train", "test"]
    assert list(find_splits(tmp_path / "out")) == ["train", "test"]


def test_splits_that_are_there_are_joined_and_same_names_told_apart(tmp_path: Path) -> None:
    for split in ("train", "test"):
        put_many(tmp_path / "in" / split, 5)
    done = dd.data.split_dataset(tmp_path / "in", tmp_path / "out", 0.6, 0.2, 0.2)
    assert sum(len(dd.load_dataset(tmp_path / "out", s)) for s in SPLITS) == 10
    assert any("the 2 parts it had (train, test) are joined" in note for note in done.notes)
    dd.data.split_dataset(tmp_path / "in", file=tmp_path / "s.json", train=1, valid=0, test=0)
    assert len(dd.load_dataset(tmp_path / "s.json")) == 10


def test_a_split_file_of_a_zip_and_one_that_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    put_many(tmp_path / "a" / "in", 10)
    shutil.make_archive(str(tmp_path / "a" / "in"), "zip", tmp_path / "a" / "in")
    for data in ("in", "in.zip"):
        dd.data.split_dataset(tmp_path / "a" / data, file=tmp_path / "a" / "splits" / "s.json")
        before = all_names(tmp_path / "a" / "splits" / "s.json")
        (tmp_path / "a").rename(tmp_path / "b")
        assert all_names(tmp_path / "b" / "splits" / "s.json") == before
        assert len(dd.load_dataset(tmp_path / "b" / "splits" / "s.json")) == len(before["train"])
        (tmp_path / "b").rename(tmp_path / "a")


def test_yolo_classes_in_a_split_file(tmp_path: Path) -> None:
    put_yolo(tmp_path / "in", splits=("train", "valid"))
    dd.data.split_dataset(tmp_path / "in", file=tmp_path / "s.json", train=0.5, valid=0, test=0.5)
    assert find_splits(tmp_path / "s.json").keys() == {"train", "test"}
    assert dd.load_dataset(tmp_path / "s.json", "test").classes == ("duck",)
    with pytest.raises(UserError, match="no split 'valid': give one of train, test"):
        dd.load_dataset(tmp_path / "s.json", "valid")


def test_images_that_come_and_go_after_the_split(tmp_path: Path) -> None:
    put_many(tmp_path / "in", 6)
    dd.data.split_dataset(tmp_path / "in", file=tmp_path / "s.json", train=0.5, valid=0, test=0.5)
    put_many(tmp_path / "in", 8)
    (problem,) = dd.data.check_dataset(tmp_path / "s.json")
    assert (problem.severity, problem.what) == (
        "warning",
        "2 pictures are in no split (6.jpg, 7.jpg)",
    )
    put_many(tmp_path / "in", 5)
    split = "train" if "5.jpg" in (tmp_path / "s.json").read_text().partition("test")[0] else "test"
    with pytest.raises(UserError, match=r"s\.json: the picture '5\.jpg' is not among those of"):
        dd.load_dataset(tmp_path / "s.json", split)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is broken"),
        ("[]", "is no split file"),
        ('{"images": []}', "is no split file .*: give the folder of labelled pictures"),
        ({"data": 3}, "lacks `data` or `splits`"),
        ({"splits": {}}, "lacks `data` or `splits`"),
        ({"splits": {"dev": []}}, "'dev' is no split: name it train, valid or test"),
        ({"splits": {"train": [1]}}, "'train' is no list of names"),
        ({"splits": {"train": ["a"], "test": ["a"]}}, "a is there twice: keep it in one split"),
        ({"data": "gone"}, "gone is not there: give a folder"),
        ({"splits": {"train": ["x.jpg"]}}, r"the picture 'x\.jpg' is not among those of"),
    ],
)
def test_broken_split_files(tmp_path: Path, content: Any, message: str) -> None:
    put_coco(tmp_path / "in")
    good = {"format": "duckdetect split 1", "data": "in", "splits": {"train": ["a.jpg"]}}
    text = content if isinstance(content, str) else json.dumps(good | content)
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        dd.load_dataset(tmp_path / "s.json")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 0.9}, "train 0.9, valid 0.15, test 0.15, together 1.2: make them add up to 1"),
        ({"train": 0, "test": 0.85}, "give each from 0 to 1, train above 0"),
        ({"train": 1.3, "test": -0.45}, "give each from 0 to 1"),
        ({"file": "x.json"}, "give either a folder to write"),
        ({"out": None}, "give either a folder to write"),
        ({"out": None, "file": "x.txt"}, "name the split file .json"),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    put_many(tmp_path / "in", 8)
    with pytest.raises(UserError, match=message):
        dd.data.split_dataset(tmp_path / "in", **{"out": tmp_path / "out"} | settings)


def test_a_split_file_is_not_split_again(tmp_path: Path) -> None:
    put_many(tmp_path / "in", 8)
    dd.data.split_dataset(tmp_path / "in", file=tmp_path / "s.json")
    with pytest.raises(UserError, match="is no folder: give the folder that it"):
        dd.data.split_dataset(tmp_path / "s.json", file=tmp_path / "t.json")
    put_image(tmp_path / "empty" / "a.jpg")
    with pytest.raises(UserError, match="holds no labels"):
        dd.data.split_dataset(tmp_path / "empty", file=tmp_path / "t.json")
