"""What an evaluation keeps is what was measured, and is not taken for something else later."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import supervision as sv
from helpers.labelled_folders import put_coco, put_image
from helpers.run_folders import Guesser, put_run

import duckdetect as dd
from duckdetect.data.loading import data_sha256, find_again
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import choose_split, evaluate_run, read_about, read_evaluation
from duckdetect.evaluation.metrics import score_detections
from duckdetect.imaging.geometry import detection_masks
from duckdetect.report.write import build_report
from duckdetect.training.run_folder import finished_config
from duckdetect.utils.outputs import MANIFEST


@pytest.fixture
def ducks(project_data: Path) -> dd.Dataset:
    return dd.load_dataset(project_data / "ducks", "test")


def test_what_is_kept_gives_the_same_figures(ducks: dd.Dataset, tmp_path: Path) -> None:
    run = put_run(tmp_path / "run", ducks)
    made = evaluate_run(run, ducks, detector=Guesser(ducks))
    kept = read_evaluation(run, ducks)
    assert kept is not None
    assert kept.metrics == made.metrics
    assert 0.2 < (kept.metrics.AP or 0) < 0.9  # a case that could tell figures apart
    assert json.loads((run / "metrics.json").read_text()) == made.to_json()
    for one, other in zip(made.detections, kept.detections, strict=True):
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        np.testing.assert_array_equal(one.confidence, other.confidence)
        np.testing.assert_array_equal(one.class_id, other.class_id)
    assert kept.about["data"]["sha256"] == data_sha256(ducks)


def test_masks_are_kept(ducks: dd.Dataset, tmp_path: Path) -> None:
    first = ducks.samples[0]
    height, width = first.size_hw
    mask = np.zeros((1, height, width), bool)
    mask[0, 5:30, 7:90] = True
    outline = [[7.0, 5.0, 90.0, 5.0, 90.0, 29.0, 7.0, 29.0]]
    xyxy = np.array([[7, 5, 90, 30]], np.float32)
    labelled = replace(
        first, xyxy=xyxy, class_id=np.array([0]), crowd=np.array([False]), segmentation=(outline,)
    )
    data = replace(ducks, samples=(labelled,))

    class Masked(Guesser):
        def predict(self, images: object, threshold: float) -> list[sv.Detections]:
            return [sv.Detections(xyxy, mask, np.array([0.5], np.float32), np.array([0]))]

    run = put_run(tmp_path / "run", data)
    made = evaluate_run(run, data, detector=Masked(data))
    kept = read_evaluation(run, data)
    assert kept is not None
    (one,) = detection_masks(kept.detections[0]) or []
    np.testing.assert_array_equal(one, mask[0])
    assert kept.metrics.masks is not None
    assert kept.metrics == made.metrics
    assert (kept.metrics.masks.AP50 or 0) > 0.9
    text = " ".join(build_report(run, finished_config(run), kept).texts())
    assert f"AP of masks {kept.metrics.masks.AP:.3f}" in text


def test_nothing_found_is_kept(ducks: dd.Dataset, tmp_path: Path) -> None:
    class Blind(Guesser):
        def predict(self, images: object, threshold: float) -> list[sv.Detections]:
            return [sv.Detections.empty() for _ in images]  # type: ignore[attr-defined]

    run = put_run(tmp_path / "run", ducks)
    evaluate_run(run, ducks, detector=Blind(ducks))
    kept = read_evaluation(run, ducks)
    assert kept is not None
    assert (kept.metrics.AP, kept.metrics.n_false) == (0, 0)


def test_other_data_or_another_detector_is_not_what_was_measured(
    ducks: dd.Dataset, tmp_path: Path
) -> None:
    run = put_run(tmp_path / "run", ducks)
    assert read_evaluation(run, ducks) is None
    evaluate_run(run, ducks, detector=Guesser(ducks))
    moved = replace(ducks.samples[0], xyxy=ducks.samples[0].xyxy + 1)
    assert read_evaluation(run, replace(ducks, samples=(moved, *ducks.samples[1:]))) is None
    assert read_evaluation(run, ducks) is not None
    (run / "detector" / "detector.json").write_text('{"trained": "anew"}')
    assert read_about(run) is None
    assert read_evaluation(run, ducks) is None


_ROW = '[{"image_id": %d, "category_id": %d, "bbox": [0, 0, 4, 4], "score": 0.5}]'
OTHER_IMAGE, OTHER_CLASS = _ROW % (99999999, 1), _ROW % (1, 99)


@pytest.mark.parametrize("text", ["[{", '[{"image_id": 1}]', "{}", OTHER_IMAGE, OTHER_CLASS])
def test_broken_detections_are_named(ducks: dd.Dataset, tmp_path: Path, text: str) -> None:
    run = put_run(tmp_path / "run", ducks)
    evaluate_run(run, ducks, detector=Guesser(ducks))
    (run / MANIFEST).unlink()  # an earlier version wrote none
    path = run / "evaluation" / "detections.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"detections\.json.*: run `duckdetect eval` on .* again$"):
        read_evaluation(run, ducks)
    evaluate_run(run, ducks, detector=Guesser(ducks))  # the cure
    assert read_evaluation(run, ducks) is not None


_WHOLE = r"detections\.json was changed.*: move .*evaluation away, then run `duckdetect eval`"


@pytest.mark.parametrize("text", ["[]", "[{", None])
def test_changed_detections_are_not_scored(
    ducks: dd.Dataset, tmp_path: Path, text: str | None
) -> None:
    """Neither as if nothing was found, nor with one name for another, nor with a broken mask."""
    run = put_run(tmp_path / "run", ducks)
    before = evaluate_run(run, ducks, detector=Guesser(ducks))
    folder = run / "evaluation"
    path = folder / "detections.json"
    path.write_text(path.read_text().replace(".jpg", ".JPG", 1) if text is None else text)
    with pytest.raises(UserError, match=_WHOLE):
        read_evaluation(run, ducks)
    folder.rename(tmp_path / "away")  # the cure
    assert read_evaluation(run, ducks) is None
    evaluate_run(run, ducks, detector=Guesser(ducks))
    again = read_evaluation(run, ducks)
    assert again is not None
    assert again.AP == before.AP


def test_a_threshold_that_is_none_is_no_evaluation(ducks: dd.Dataset, tmp_path: Path) -> None:
    run = put_run(tmp_path / "run", ducks)
    evaluate_run(run, ducks, detector=Guesser(ducks))
    path = run / "evaluation" / "about.json"
    about = json.loads(path.read_text())
    for threshold in ([1], "0.4", 7, -1, True):
        about["detector"]["threshold"] = threshold
        path.write_text(json.dumps(about))
        assert read_about(run) is None


def test_a_broken_about_is_as_none(ducks: dd.Dataset, tmp_path: Path) -> None:
    run = put_run(tmp_path / "run", ducks)
    evaluate_run(run, ducks, detector=Guesser(ducks))
    for text in ("", "[]", '{"detector": {}}', "null"):
        (run / "evaluation" / "about.json").write_text(text)
        assert read_about(run) is None


def test_a_failing_evaluation_leaves_the_one_before(ducks: dd.Dataset, tmp_path: Path) -> None:
    class Scoreless(Guesser):
        def predict(self, images: object, threshold: float) -> list[sv.Detections]:
            good = super().predict(images, threshold)
            good[0].confidence = None
            return good

    run = put_run(tmp_path / "run", ducks)
    evaluate_run(run, ducks, detector=Guesser(ducks))
    before = (run / "evaluation" / "detections.json").read_bytes()
    with pytest.raises(ValueError, match="scores"):
        evaluate_run(run, ducks, detector=Scoreless(ducks))
    assert (run / "evaluation" / "detections.json").read_bytes() == before
    assert read_evaluation(run, ducks) is not None


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [
        (("train", "valid", "test"), "test"),
        (("train", "valid"), "valid"),
        (("train",), "train"),
        ((), None),
    ],
)
def test_the_test_split_is_measured_on_where_there_is_one(
    tmp_path: Path, splits: tuple[str, ...], chosen: str | None
) -> None:
    for split in splits:
        put_coco(tmp_path / split)
    if not splits:
        put_coco(tmp_path)
    assert choose_split(tmp_path) == chosen


@pytest.fixture
def recorded() -> Callable[[dd.Dataset], dict[str, str]]:
    return lambda data: {"folder": str(data.root), "sha256": data_sha256(data)}


def test_other_outlines_are_other_data(project_data: Path) -> None:
    ducks = dd.load_dataset(project_data / "ducks", "train")
    first = ducks.samples[0]
    assert first.segmentation is not None
    outline = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]
    other = replace(first, segmentation=(outline,) * len(first.class_id))
    assert data_sha256(ducks.subset([0])) == data_sha256(replace(ducks, samples=(first,)))
    assert data_sha256(replace(ducks, samples=(other,))) != data_sha256(ducks.subset([0]))


def test_data_is_found_again_unless_it_changed(
    tmp_path: Path, recorded: Callable[[dd.Dataset], dict[str, str]]
) -> None:
    for split in ("train", "test"):
        put_coco(tmp_path / split)
    data = dd.load_dataset(tmp_path / "test")
    record = recorded(data)
    again = find_again(record)
    assert again is not None
    assert again.root == data.root
    above = find_again({**record, "folder": str(tmp_path)})
    assert above is not None
    assert above.root == data.root
    image = data.samples[0].path
    put_image(image)
    assert find_again(record) is not None  # the same picture
    image.write_bytes(image.read_bytes() + b"more")
    assert find_again(record) is None
    assert find_again({"folder": str(tmp_path / "gone"), "sha256": ""}) is None


@pytest.mark.parametrize("version", ["this", "0.1.0"])
def test_data_is_found_from_another_folder(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run names its data as the user did, from where he stood."""
    for split in ("train", "test"):
        put_coco(tmp_path / "project" / "data" / split)
    monkeypatch.chdir(tmp_path / "project")
    run = put_run(Path("results", "duck").resolve(), dd.load_dataset("data", "train"))
    config = json.loads((run / "config.json").read_text())
    assert config["data"]["folder"] == str(Path("data", "train"))
    if version == "0.1.0":  # which wrote no absolute path: tried from the folders above the run
        del config["data"]["path"]
        (run / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    found = find_again(config["data"], run)
    assert found is not None
    assert len(found) == config["data"]["pictures"]
    test = dd.load_dataset(tmp_path / "project" / "data", "test")
    measured = evaluate_run(run, test, detector=Guesser(test))
    assert measured.about["data"]["path"] == str(test.root)
    done = Mock(folder=run, detector=Guesser(test))
    assert dd.evaluate(done, "test").dataset.root == test.root


def test_what_is_no_detector_is_said(ducks: dd.Dataset) -> None:
    for wrong in (lambda: dd.evaluate(3, ducks), lambda: dd.load_detector(3)):
        with pytest.raises(UserError, match="3 is no detector: give one, a run, or a run's folder"):
            wrong()
    guesser = Guesser(ducks)
    assert dd.load_detector(guesser) is guesser
    with pytest.raises(UserError, match="list is no data set: give a Dataset, or a folder of one"):
        dd.evaluate(guesser, [])
    assert repr(ducks).endswith("ducks/test', 30 pictures, 31 boxes, classes=['rubber duck'])")
    assert repr(ducks) in repr(dd.evaluate(guesser, ducks))


def test_the_data_of_a_run_without_data_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="does not say what it was trained on: give labelled"):
        dd.evaluate(tmp_path, "test")


def test_what_the_labels_are_warned_of_is_told(tmp_path: Path) -> None:
    folder = put_coco(tmp_path / "new")
    (folder / "clip.mp4").write_bytes(b"x")
    dataset = dd.load_dataset(folder)
    measured = dd.evaluate(Guesser(dataset), folder)
    (note,) = measured.notes
    assert "1 video is left out (clip.mp4)" in note
    assert dd.evaluate(Guesser(dataset), dataset).notes == ()


def test_classes_that_the_data_do_not_name_are_told(ducks: dd.Dataset) -> None:
    guesser = Guesser(ducks)
    guesser.classes = ("rubber duck", "swan")
    (note,) = dd.evaluate(guesser, ducks).notes
    assert note.startswith("1 class of the detector is not labelled in ")
    assert note.endswith("ducks/test (swan): such detections are not counted")


def test_samples_of_two_data_sets_put_together_keep_their_boxes(ducks: dd.Dataset) -> None:
    """Both number their pictures from 1; a picture that is there twice is two."""
    both = replace(ducks, samples=ducks.samples[:9] + ducks.samples[:9])
    guesser = Guesser(ducks)
    found = guesser.predict([s.load() for s in ducks.samples[:9]], 0.0)
    ap = score_detections(ducks.subset(range(9)), found).AP
    assert pytest.approx(ap, abs=0.02) == score_detections(both, [*found, *found]).AP


def test_a_detector_without_its_run_is_not_measured(ducks: dd.Dataset, tmp_path: Path) -> None:
    """Such as an exported SavedModel, or a run's `detector`."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").touch()
    with pytest.raises(dd.UserError, match="give the folder that `duckdetect train` wrote"):
        evaluate_run(tmp_path / "served", ducks)
