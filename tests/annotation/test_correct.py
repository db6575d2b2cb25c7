"""The strip of detections: a click is saved at once, and comes back marked."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv
from helpers.annotation_helpers import DUCK, make_images

from duckdetect.annotation import correct as correcting
from duckdetect.annotation import suggestions
from duckdetect.annotation.annotate import _worth_labelling
from duckdetect.annotation.correct import Handed, correct, strip
from duckdetect.annotation.store import AnnotationStore, Box
from duckdetect.annotation.suggestions import suggest
from duckdetect.data.corrections import FORMAT, read_corrections
from duckdetect.data.dataset import Dataset
from duckdetect.errors import UserError
from duckdetect.utils.files import file_sha256

pytest.importorskip("anywidget", reason="anywidget is not installed")

pytestmark = pytest.mark.filterwarnings("ignore:Deprecated in traitlets 4.1:DeprecationWarning")


class Detector:
    """Finds one duck in each picture."""

    classes = ("duck",)
    threshold = 0.5

    def predict(self, images: list[np.ndarray], threshold: float = 0.5) -> list[sv.Detections]:
        xyxy = np.array([[3, 2, 30, 40]], np.float32)
        return [sv.Detections(xyxy, None, np.array([0.9]), np.zeros(1, int)) for _ in images]


@pytest.fixture
def handed(tmp_path: Path) -> Handed:
    folder = make_images(tmp_path / "new", a=(80, 60), b=(80, 60))
    return Handed(suggest(Detector(), folder).labels(), tmp_path / "handed_back.json")


def test_each_click_is_saved_at_once_and_comes_back(handed: Handed, tmp_path: Path) -> None:
    widget = strip(handed)
    assert len(widget.crops) == len(handed.crops) == 2
    assert all(crop["src"].startswith("data:image/jpeg;base64,") for crop in widget.crops)
    assert not handed.path.exists()
    widget.wrong = [1]
    (picture,) = read_corrections(handed.path, DUCK).samples
    assert picture.path.name == handed.crops[1].sample.path.name
    assert not picture.whole
    np.testing.assert_allclose(picture.hard_negatives, handed.crops[1].xyxy, atol=0.01)

    # After the kernel was restarted.
    again = Handed(suggest(Detector(), tmp_path / "new").labels(), handed.path)
    assert strip(again).wrong == [1]
    again.hand_back([0])
    assert again.wrong == [0]
    assert repr(again) == f"1 wrong detection on {again.crops[0].sample.path.name}"
    again.hand_back([])
    assert not again.path.exists()


def test_what_was_handed_back_of_other_pictures_stays(handed: Handed, tmp_path: Path) -> None:
    handed.hand_back([0, 1])
    other = make_images(tmp_path / "other", c=(80, 60))
    later = Handed(suggest(Detector(), other).labels(), handed.path)
    later.hand_back([0])
    names = {Path(row["file"]).name for row in json.loads(handed.path.read_text())["pictures"]}
    assert names == {"a.jpg", "b.jpg", "c.jpg"}


def test_a_click_keeps_what_else_was_said_of_pictures(handed: Handed, tmp_path: Path) -> None:
    """The file is the user's as well: objects that were missed, and pictures seen as a whole."""
    crops = {crop.sample.path.name: i for i, crop in enumerate(handed.crops)}
    missed = {"class": DUCK[0], "bbox": [50.0, 5.0, 20.0, 20.0]}
    make_images(tmp_path / "new", c=(80, 60))
    rows = [
        {"file": f"new/{name}.jpg", "sha256": file_sha256(tmp_path / "new" / f"{name}.jpg"),
         "whole": whole, "objects": objects}
        for name, whole, objects in (("a", False, [missed]), ("b", True, []), ("c", True, []))
    ]  # fmt: skip
    handed.path.write_text(json.dumps({"format": FORMAT, "pictures": rows}))
    handed.hand_back([crops["a.jpg"]])
    written = json.loads(handed.path.read_text())["pictures"]
    wrong = [{"bbox": [3.0, 2.0, 27.0, 38.0]}]
    assert written == [{**rows[0], "wrong": wrong}, *rows[1:]]
    handed.hand_back([])
    assert json.loads(handed.path.read_text())["pictures"] == rows


def test_a_picture_that_is_gone_is_named_with_the_file(handed: Handed, tmp_path: Path) -> None:
    handed.hand_back([0])
    gone = handed.crops[0].sample.path
    gone.unlink()
    with pytest.raises(
        UserError, match=rf'handed_back\.json: the picture ".*{gone.name}" is not th'
    ):
        Handed(Dataset(tmp_path, tuple(DUCK), ()), handed.path)


def test_two_strips_of_a_run_leave_each_other_alone(handed: Handed, tmp_path: Path) -> None:
    other = Handed(
        suggest(Detector(), make_images(tmp_path / "other", c=(80, 60))).labels(), handed.path
    )
    handed.hand_back([0])
    other.hand_back([0])
    assert len(read_corrections(handed.path, DUCK)) == 2
    other.hand_back([])
    (left,) = read_corrections(handed.path, DUCK).samples
    assert left.path.name == handed.crops[0].sample.path.name


def test_two_strips_of_the_same_crops_keep_one_anothers_clicks(
    handed: Handed, tmp_path: Path
) -> None:
    other = Handed(suggest(Detector(), tmp_path / "new").labels(), handed.path)
    handed.hand_back([0])
    other.hand_back([1])
    assert other.wrong == [0, 1]
    handed.hand_back([])  # its own is taken back
    assert handed.wrong == [1]
    other.hand_back([])
    assert not handed.path.exists()


def test_a_click_that_cannot_be_saved_says_so_and_replaces_nothing(handed: Handed) -> None:
    widget = strip(handed)
    handed.path.write_text("{")
    widget.wrong = [0]
    assert "handed_back.json is broken" in widget.trouble
    assert handed.path.read_text() == "{"
    handed.path.unlink()
    widget.wrong = [0, 1]
    assert widget.trouble == ""
    assert handed.path.exists()


def test_a_click_that_the_disk_refuses_says_so(
    handed: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = strip(handed)
    widget.wrong = [0]
    before = handed.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(handed.path))

    monkeypatch.setattr("duckdetect.annotation.correct.write_corrections", full)
    widget.wrong = [0, 1]
    assert "no space is left" in widget.trouble
    assert handed.path.read_bytes() == before
    monkeypatch.setattr("duckdetect.annotation.store.write_json", full)
    with pytest.raises(UserError, match="no space is left"):
        AnnotationStore(handed.path.parent).put("a.jpg", (60, 80), [], DUCK)


def test_a_run_without_a_folder_has_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give `train` an out"):
        correct(SimpleNamespace(folder=None, detector=Detector()), tmp_path)
    with pytest.raises(UserError, match="the run is 5: give the path"):
        correct(5, tmp_path)
    with pytest.raises(UserError, match="the source is None: give the path"):
        correct(tmp_path / "run", None)  # type: ignore[arg-type]


def test_a_run_may_be_given_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_images(tmp_path / "new", a=(80, 60))
    monkeypatch.setattr("duckdetect.annotation.suggestions.as_detector", lambda _: Detector())
    handed = correct(tmp_path / "run", folder)
    assert len(handed.crops) == 1
    assert handed.path == tmp_path / "run" / "handed_back.json"


def test_pictures_that_are_labelled_already_are_not_ranked(tmp_path: Path) -> None:
    folder = make_images(tmp_path / "new", a=(80, 60), b=(80, 60))
    AnnotationStore(folder).put("a.jpg", (60, 80), [Box((1, 2, 30, 40), "duck")], DUCK)
    assert [p.name for p in _worth_labelling(folder, Detector(), 2)] == ["b.jpg"]
    with pytest.raises(UserError, match="give suggest"):
        _worth_labelling(folder, None, 2)


def test_detections_that_overlap_are_handed_back_one_by_one(tmp_path: Path) -> None:
    class Overlapping(Detector):
        def predict(self, images: list[np.ndarray], threshold: float = 0.5) -> list[sv.Detections]:
            xyxy = np.array([[10, 10, 50, 50], [21, 10, 61, 50]], np.float32)  # IoU 0.57
            return [
                sv.Detections(xyxy, None, np.array([0.9, 0.8]), np.zeros(2, int)) for _ in images
            ]

    found = suggest(Overlapping(), make_images(tmp_path / "new", a=(80, 60))).labels()
    path = tmp_path / "handed_back.json"
    for wrong in ([0], [1], [0, 1], [1]):
        handed = Handed(found, path)
        handed.hand_back(wrong)
        assert handed.wrong == wrong
        (picture,) = read_corrections(path, DUCK).samples
        expected = np.concatenate([handed.crops[i].xyxy for i in wrong])
        np.testing.assert_allclose(picture.hard_negatives, expected, atol=0.01)
    handed.hand_back([])
    assert handed.wrong == []
    assert not path.exists()


def test_what_the_strip_does_not_show_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Many(Detector):
        n = 70

        def predict(self, images: list[np.ndarray], threshold: float = 0.5) -> list[sv.Detections]:
            xyxy = np.array([[i, 2, i + 9, 40] for i in range(self.n)], np.float32).reshape(-1, 4)
            score = np.full(self.n, 0.9)
            return [sv.Detections(xyxy, None, score, np.zeros(self.n, int)) for _ in images]

    enabled: list[bool] = []
    detector = Many()
    monkeypatch.setattr(correcting, "allow_widgets_in_colab", lambda: enabled.append(True))
    monkeypatch.setattr(suggestions, "as_detector", lambda _: detector)
    folder = make_images(tmp_path / "new", a=(80, 60))
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with caplog.at_level("INFO"):
        handed = correct(tmp_path / "run", folder)
    assert (len(handed.crops), handed.n_found) == (60, 70)
    assert enabled == [True]
    assert "Left out: " in caplog.text
    assert "Of 70 detections the 60 least sure are shown." in caplog.text
    detector.n = 0
    with caplog.at_level("INFO"):
        correct(tmp_path / "run", folder)
    assert "Nothing was found in 1 picture." in caplog.text
