"""What a detector suggests is written as labels, and the images to label next are the unsure ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from helpers.labelled_folders import put_image

from duckdetect.annotation.suggestions import (
    Suggestions,
    rank,
    suggest,
    suggestion_sheet,
    trained_images,
    write_suggestions,
)
from duckdetect.data.loading import describe_data, load_dataset
from duckdetect.errors import UserError

SCORES = {"sure": 0.95, "unsure": 0.52, "low": 0.2, "none": None, "twin": 0.52}
BOX = [10, 20, 40, 35]


class Scripted:
    """Finds one box in each image, of the score that is given for it in order."""

    classes = ("duck", "swan")
    threshold = 0.5

    def __init__(self, scores: list[float | None]) -> None:
        self._scores = iter(scores)

    def predict(self, images: list[Any], threshold: float) -> list[sv.Detections]:
        found = []
        for score in (next(self._scores) for _ in images):
            n = 0 if score is None else 1
            found.append(
                sv.Detections(
                    xyxy=np.array([BOX] * n, np.float32).reshape(n, 4),
                    confidence=np.array([score] * n, np.float32),
                    class_id=np.ones(n, int),
                )
            )
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in SCORES:
        put_image(tmp_path / "new" / f"{name}.jpg")
    (tmp_path / "new" / "twin.jpg").write_bytes((tmp_path / "new" / "unsure.jpg").read_bytes())
    return tmp_path / "new"


def suggested(folder: Path) -> Suggestions:
    names = sorted(SCORES)
    return suggest(Scripted([SCORES[name] for name in names]), folder)


@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
def test_only_boxes_above_the_threshold_become_labels(
    folder: Path, tmp_path: Path, to: str
) -> None:
    lost = write_suggestions(suggested(folder), tmp_path / "out", to)
    read = load_dataset(tmp_path / "out")
    boxes = {sample.path.stem: sample.xyxy.tolist() for sample in read}
    assert boxes.keys() == SCORES.keys()
    for name, score in SCORES.items():
        assert len(boxes[name]) == ((score or 0) >= 0.5)
    np.testing.assert_allclose(boxes["sure"], [BOX], atol=0.51)
    assert {read.classes[k] for sample in read for k in sample.class_id} == {"swan"}
    assert bool(lost) == (to != "coco")
    if to == "coco":
        (file,) = (tmp_path / "out").rglob("*.json")
        rows = json.loads(file.read_text())["annotations"]
        assert sorted(row["score"] for row in rows) == [0.52, 0.52, 0.95]
    else:
        assert f"3 scores are left out: {to} cannot hold them" in lost


def test_the_unsure_come_first_and_none_that_looks_like_one_before(folder: Path) -> None:
    ranked = rank(suggested(folder), 5)
    names = [one.sample.path.stem for one in ranked]
    assert names[0] in ("unsure", "twin")
    assert names[-1] in ("unsure", "twin")  # the other one shows the same
    assert names.index("sure") > names.index("low")
    reasons = {one.sample.path.stem: one.reason for one in ranked}
    assert reasons["unsure"] == "unsure of swan 0.52"
    assert reasons["low"] == "nothing surely found: best swan 0.20"
    assert reasons["none"] == "nothing found: is there an object?"
    assert len(rank(suggested(folder), 99)) == 5
    # One that shows what is labelled already teaches little.
    ranked = rank(suggested(folder), 5, [next(folder.glob("unsure.*"))])
    assert {one.sample.path.stem for one in ranked[-2:]} == {"unsure", "twin"}
    with pytest.raises(UserError, match="--rank is 0"):
        rank(suggested(folder), 0)


def test_of_very_many_the_first_are_chosen_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [one.sample.path.stem for one in rank(suggested(folder), 9)]
    assert sorted(whole) == sorted(SCORES)
    monkeypatch.setattr("duckdetect.annotation.suggestions._MOST_APART", 2)
    some = [one.sample.path.stem for one in rank(suggested(folder), 9)]
    assert some[:3] == whole[:3]  # the next best is as far from both
    assert sorted(some) == sorted(SCORES)
    assert [one.sample.path.stem for one in rank(suggested(folder), 3)] == some[:3]


def test_ranked_images_alone_are_written_and_drawn_with_the_reason(
    folder: Path, tmp_path: Path
) -> None:
    found = suggested(folder)
    ranked = rank(found, 2)
    write_suggestions(found, tmp_path / "out", "coco", ranked)
    read = load_dataset(tmp_path / "out")
    assert [s.path.name for s in read] == [one.sample.path.name for one in ranked]
    sheet = suggestion_sheet(found, ranked, tmp_path / "sheet.jpg")
    assert (tmp_path / "sheet.jpg").is_file()
    red = (sheet[..., 0] > 120) & (sheet[..., 1] < 90) & (sheet[..., 2] < 90)
    assert red[-20:].any()  # the line below each image


def test_a_damaged_image_is_told_of_and_the_others_go_on(folder: Path, tmp_path: Path) -> None:
    (folder / "low.jpg").write_bytes(b"")
    found = suggest(Scripted([0.9] * 4), folder)
    assert len(found.dataset) == 4
    assert "low.jpg is empty" in found.failed[0]
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="is empty"):
        suggest(Scripted([]), folder)
    with pytest.raises(UserError, match="the list of pictures is empty"):
        suggest(Scripted([]), [])


def test_what_of_a_folder_is_left_out_is_told(folder: Path) -> None:
    put_image(folder / "day 2" / "more.jpg")
    (folder / "labels.json").write_text("{}")
    assert suggested(folder).notes == ("pictures in folders below are left out (day 2)",)
    assert suggest(Scripted([0.9]), [folder / "sure.jpg"]).notes == ()


def test_the_images_that_a_run_was_trained_on_are_known(project_data: Path, tmp_path: Path) -> None:
    assert trained_images(tmp_path) == []
    dataset = load_dataset(project_data / "ducks" / "train")
    (tmp_path / "config.json").write_text(json.dumps({"data": describe_data(dataset)}))
    assert trained_images(tmp_path) == [sample.path for sample in dataset]
    assert trained_images(tmp_path, 2) == [dataset.samples[0].path, dataset.samples[-1].path]
