"""Leaks between splits, and the contact sheet of `duckdetect check`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled_folders import annotation, put_coco
from PIL import Image

import duckdetect as dd
from duckdetect.cli.app import main
from duckdetect.data import contact_sheet
from duckdetect.data.convert import write_splits
from duckdetect.data.dataset import Problem
from duckdetect.errors import UserError


def warnings(path: Path) -> list[str]:
    problems = dd.data.check_dataset(path)
    assert all(problem.severity == "warning" for problem in problems)
    return [str(problem) for problem in problems]


def test_raccoons_in_two_splits(shared_data: Path, tmp_path: Path) -> None:
    raccoons = dd.load_dataset(shared_data / "raccoon")
    by_name = {s.path.name: i for i, s in enumerate(raccoons)}
    wanted = [[by_name[f"raccoon-{k}.jpg"] for k in ks] for ks in ((21, 50, 1), (45, 52, 74, 2))]
    parts = {
        split: raccoons.subset(at) for split, at in zip(("train", "test"), wanted, strict=True)
    }
    write_splits(parts, "coco", tmp_path / "out")
    told = warnings(tmp_path / "out")
    for k, other in ((45, 21), (52, 50), (74, 50)):
        line = (
            f"{tmp_path}/out/test/raccoon-{k}.jpg: is nearly the same as {tmp_path}/out/train/"
            f"raccoon-{other}.jpg of train: keep them in one split, `duckdetect split` does"
        )
        assert line in told
    assert len(told) == 3


def test_splits_that_are_made_have_no_leak(shared_data: Path, tmp_path: Path) -> None:
    dd.data.split_dataset(shared_data / "raccoon", file=tmp_path / "s.json")
    (line,) = warnings(tmp_path / "s.json")
    assert "raccoon-3.jpg: box (1, 1, 720, 476) covers the whole picture" in line


def test_clips_in_two_splits(tmp_path: Path) -> None:
    put_coco(
        tmp_path / "train", names=["clip_1.jpg", "clip_2.jpg", "a_jpg.rf.0123456789abcdef.jpg"]
    )
    put_coco(tmp_path / "test", names=["clip_3.jpg", "b.jpg", "a_jpg.rf.fedcba9876543210.jpg"])
    told = warnings(tmp_path)
    assert told == [
        f"{tmp_path}: the clip or source 'clip' has pictures in train (2), test (1): keep them in "
        "one split, `duckdetect split` does",
        f"{tmp_path}: the clip or source 'a' has pictures in train (1), test (1): keep them in "
        "one split, `duckdetect split` does",
    ]
    assert dd.data.check_dataset(tmp_path, "train") == []


def test_the_same_images_in_two_splits_are_told_of_shortly(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(14)]
    put_coco(tmp_path / "train", names=names)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    told = warnings(tmp_path)
    assert len(told) == 11
    assert told[-1] == (
        "test: 4 more are nearly the same as a picture of train: keep them in one split, "
        "`duckdetect split` does"
    )
    shutil.copytree(tmp_path / "train", tmp_path / "valid")
    assert len(warnings(tmp_path)) == 22


def test_within_a_split_images_may_be_alike(tmp_path: Path) -> None:
    put_coco(tmp_path, names=["a.jpg", "b.jpg"])
    shutil.copyfile(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert dd.data.check_dataset(tmp_path) == []


def test_problems_of_a_split_files_images_are_told_once(tmp_path: Path) -> None:
    boxes = [annotation(id=1), annotation([1, 1, 5, 5], id=2), annotation([9, 9, 0, 0], id=3)]
    put_coco(tmp_path / "in", boxes[:1], [f"{i}.jpg" for i in range(6)])
    dd.data.split_dataset(tmp_path / "in", file=tmp_path / "s.json", train=0.5, valid=0, test=0.5)
    put_coco(tmp_path / "in", boxes, [f"{i}.jpg" for i in range(6)])
    lines = [str(problem) for problem in dd.data.check_dataset(tmp_path / "s.json")]
    assert sum("is empty" in line for line in lines) == 1
    assert sum("is tiny" in line for line in lines) == 1


@pytest.mark.parametrize("name", ["raccoon", "people"])
def test_the_sheet_of_real_images(name: str, shared_data: Path, tmp_path: Path) -> None:
    sheet = dd.data.label_sheet(shared_data / name, tmp_path / "sheet.jpg", images=8)
    assert sheet.shape == (2 * 306 + 6, 4 * 306 + 6, 3)
    with Image.open(tmp_path / "sheet.jpg") as written:
        assert written.size == sheet.shape[1::-1]
    # Boxes are drawn: the first class's colour is on each of the eight.
    pink = (np.abs(sheet.astype(int) - [235, 35, 140]) < 40).all(axis=2)
    for row in range(2):
        for column in range(4):
            assert pink[row * 306 : (row + 1) * 306, column * 306 : (column + 1) * 306].sum() > 50


def test_suspicious_images_come_first_with_the_reason(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(9)]
    put_coco(tmp_path, [annotation([0, 0, 80, 60], id=1, image_id=9)], names)
    problems = dd.data.check_dataset(tmp_path)
    plain = dd.data.label_sheet(tmp_path, images=3)
    first = dd.data.label_sheet(tmp_path, images=3, problems=problems)
    assert plain.shape == first.shape
    red = (first[:, :, 0] > 150) & (first[:, :, 1] < 60) & (first[:, :, 2] < 60)
    assert red[270:300, :306].sum() > 100  # the reason
    assert not red[270:300, 306:].any()
    dataset = dd.load_dataset(tmp_path)
    np.testing.assert_array_equal(dd.data.label_sheet(dataset, images=3), plain)


def test_a_sheet_shows_what_is_left_of_broken_data(tmp_path: Path) -> None:
    put_coco(tmp_path, [annotation([9, 9, 0, 0])], ["a.jpg", "b.jpg"])
    content = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(content[: len(content) // 2])
    problems = dd.data.check_dataset(tmp_path)
    assert dd.data.label_sheet(tmp_path, problems=problems).shape == (312, 312, 3)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="holds no labelled picture that can be read: check it"):
        dd.data.label_sheet(tmp_path, problems=[Problem("x", "y", "z")])


def test_problems_are_listed_also_where_there_is_no_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = put_coco(tmp_path / "data")
    (data / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    assert main(["check", str(data), "--sheet", str(tmp_path / "s.jpg")]) == 2
    out = capsys.readouterr()
    assert "a.jpg is damaged" in out.out or "a.jpg: is damaged" in out.out
    assert "no labelled picture that can be read" in out.err


def test_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shared_data: Path
) -> None:
    people = str(shared_data / "people")
    assert main(["check", people, "--sheet", str(tmp_path / "s.jpg"), "--pictures", "4"]) == 0
    out = capsys.readouterr().out
    assert f"look at {tmp_path / 's.jpg'}" in out
    assert "train:\n35 pictures, 138 boxes" in out
    assert "28 small (under 32x32 pixels), 54 medium, 56 large" in out
    assert main(["convert", people, "--to", "yolo", "--out", str(tmp_path / "yolo")]) == 0
    assert "50 pictures (train 35, valid 7, test 8)" in capsys.readouterr().out
    file = str(tmp_path / "s.json")
    assert main(["split", people, "--file", file, "--train", "0.8", "--test", "0.05"]) == 0
    assert "  train  40 pictures (80%)" in capsys.readouterr().out
    assert main(["check", file]) == 0
    assert main(["split", people, "--out", str(tmp_path / "yolo")]) == 2
    assert "holds something already" in capsys.readouterr().err
    put_coco(tmp_path / "bad", [annotation(), annotation([9, 9, 0, 0], id=2)])
    assert main(["check", str(tmp_path / "bad")]) == 2
    told = capsys.readouterr()
    assert "annotation 2: box (9, 9, 9, 9) is empty" in told.out
    assert "1 picture, 1 box, 0 pictures without a box" in told.out  # what is good counts
    assert told.err.endswith("1 error(s), listed above: fix them before training\n")
    assert main(["check", str(tmp_path / "none.zip")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_sheet_is_no_taller_than_a_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand images it was, and Pillow raised what nobody understood."""
    put_coco(tmp_path, names=[f"{i}.jpg" for i in range(7)])
    monkeypatch.setattr(contact_sheet, "_MOST_ROWS", 1)
    sheet = dd.data.label_sheet(tmp_path, images=6)
    assert sheet.shape[0] < sheet.shape[1]
    monkeypatch.undo()
    tallest = contact_sheet._MOST_ROWS * (sheet.shape[0] + 1)
    assert tallest < 65_535
    with pytest.raises(UserError, match="--images is 1001: give 1 to 1000"):
        dd.data.label_sheet(tmp_path, images=1001)
