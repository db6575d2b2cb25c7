"""The tables of `detect --csv`: every detection, every picture's counts, nothing that runs."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import supervision as sv

from duckdetect.inference.detections_csv import CsvWriter


def found(*class_id: int, track: int | None = None) -> sv.Detections:
    n = len(class_id)
    return sv.Detections(
        xyxy=np.tile(np.array([[1, 2, 30.5, 40]], np.float32), (n, 1)),
        confidence=np.full(n, 0.87, np.float32),
        class_id=np.array(class_id, int),
        tracker_id=None if track is None else np.full(n, track),
    )


def rows(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_both_tables(tmp_path):
    classes = ["duck", "=HYPERLINK()"]
    records = [
        (0, "a.jpg", found(0, 0, 1)),
        (1, "b.jpg", found()),
        (7, "clip.mp4", found(1, track=5), {"frame": 7, "time": 0.25}),
    ]
    with CsvWriter(tmp_path, classes) as tables:
        assert list(tables.passing(records)) == records
        assert not list(tmp_path.glob("*.csv")), "whole or not at all"
    detections, counts = rows(tmp_path / "detections.csv"), rows(tmp_path / "counts.csv")
    assert detections[0] == {
        "file": "a.jpg", "frame": "", "time_s": "", "class": "duck", "score": "0.87", "x1": "1.0",
        "y1": "2.0", "x2": "30.5", "y2": "40.0", "track": "",
    }  # fmt: skip
    assert [row["class"] for row in detections] == [
        "duck",
        "duck",
        "'=HYPERLINK()",
        "'=HYPERLINK()",
    ]
    assert (detections[3]["frame"], detections[3]["time_s"], detections[3]["track"]) == (
        "7", "0.25", "5",
    )  # fmt: skip
    assert [[row["duck"], row["'=HYPERLINK()"], row["all"]] for row in counts] == [
        ["2", "1", "3"], ["0", "0", "0"], ["0", "1", "1"],
    ]  # fmt: skip


def test_an_interrupted_run_leaves_no_tables(tmp_path):
    def records():
        yield 0, "a.jpg", found(0)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"), CsvWriter(tmp_path, ["duck"]) as tables:
        list(tables.passing(records()))
    assert not list(tmp_path.iterdir())


class Stub:
    """Finds one object in each picture."""

    classes = ("duck",)
    threshold = 0.5

    def predict(self, images, threshold):
        return [found(0) for _ in images]


def test_detect_writes_them_beside_the_json(tmp_path, project_data):
    from duckdetect.inference.detect import detect

    source = project_data / "ducks" / "train"
    detect(Stub(), source, tmp_path / "new", csv=True, progress=False)
    detections = json.loads((tmp_path / "new" / "detections.json").read_text())
    table = rows(tmp_path / "new" / "detections.csv")
    assert [row["file"] for row in table] == [one["file_name"] for one in detections]
    assert [row["all"] for row in rows(tmp_path / "new" / "counts.csv")] == ["1"] * 5


def test_what_a_killed_run_left_goes_with_the_next_one_that_writes_less(tmp_path, project_data):
    from duckdetect.inference.detect import detect

    source = project_data / "ducks" / "train"
    detect(Stub(), source, tmp_path / "new", csv=True, save_crops=True, progress=False)
    for name in ("detections.csv", "counts.csv", "crops", "detections.mp4"):
        part = tmp_path / "new" / f".{name}.duckdetect-abcdefgh"
        part.mkdir()
        (part / name).write_text("half")
    done = detect(Stub(), source, tmp_path / "new", progress=False)
    assert not list((tmp_path / "new").glob(".*.duckdetect-*"))
    assert [
        f"{tmp_path / 'new' / 'crops'} and {tmp_path / 'new' / 'detections.csv'} and "
        f"{tmp_path / 'new' / 'counts.csv'} may be of an earlier call: not changed by this one"
    ] == list(done.notes)


def test_pictures_of_one_name_are_told_apart_by_their_folders(tmp_path, project_data):
    from duckdetect.inference.detect import detect

    picture = next((project_data / "ducks" / "train").glob("*.jpg"))
    for folder, name in (("a", "1.jpg"), ("b", "1.jpg"), ("b", "2.jpg")):
        (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / folder / name)
    detect(Stub(), [tmp_path / "a", tmp_path / "b"], tmp_path / "new", csv=True, progress=False)
    for table in ("detections.csv", "counts.csv"):
        named = [row["file"] for row in rows(tmp_path / "new" / table)]
        assert named == ["a/1.jpg", "b/1.jpg", "2.jpg"]
    detections = json.loads((tmp_path / "new" / "detections.json").read_text())
    assert [one["file_name"] for one in detections] == named


@pytest.mark.parametrize("source", ["0", "rtsp://camera/stream", "http://host/clip.mp4"])
def test_cameras_are_the_pages_business(source, tmp_path):
    from duckdetect import UserError
    from duckdetect.inference.detect import detect

    with pytest.raises(UserError, match=r"--to web|docs/export.md"):
        detect(Stub(), source, tmp_path / "new")


def test_a_name_that_is_no_utf8_is_an_escape(tmp_path):
    name = b"\xff.jpg".decode("utf-8", errors="surrogateescape")
    with CsvWriter(tmp_path, ["duck"]) as tables:
        list(tables.passing([(0, name, found(0))]))
    for table in ("detections.csv", "counts.csv"):
        assert rows(tmp_path / table)[0]["file"] == r"\udcff.jpg"
