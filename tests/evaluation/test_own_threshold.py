"""One threshold is the detector's: figures are shown there, a better one is a hint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.run_folders import Guesser, put_run

from duckdetect.cli import main
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import (
    change_threshold,
    evaluate,
    evaluate_run,
    read_about,
    read_evaluation,
)
from duckdetect.evaluation.matching import Curve, threshold_curves
from duckdetect.utils.locks import only_writer


@pytest.fixture(scope="module")
def ducks(project_data: Path) -> Dataset:
    return load_dataset(project_data / "ducks" / "test")


@pytest.fixture
def run(ducks: Dataset, project_data: Path, tmp_path: Path) -> Path:
    """A run that keeps detections from 0.9 on, which is too high."""
    run = put_run(tmp_path / "my run", load_dataset(project_data / "ducks" / "train"))
    (run / "detector" / "detector.json").write_text(json.dumps({"threshold": 0.9, "base": "b"}))
    return run


def guesser(dataset: Dataset, threshold: float = 0.9) -> Guesser:
    detector = Guesser(dataset)
    detector.threshold = threshold
    return detector


def test_figures_at_a_threshold_are_counted() -> None:
    counts = np.array([1, 2, 2]), np.array([0, 0, 2])
    curve = Curve(
        np.array([0.9, 0.6, 0.2]), np.array([1, 1, 0.5]), np.array([0.25, 0.5, 0.5]),
        np.array([0.4, 2 / 3, 0.5]), *counts, 4,
    )  # fmt: skip
    at = curve.at(0.6)
    assert (at.F1, at.precision, at.recall) == pytest.approx((2 / 3, 1, 0.5))
    assert (at.n_true, at.n_false) == (2, 0)
    assert curve.at(0.61).n_true == 1
    assert curve.at(0.0).n_false == 2
    above = curve.at(0.95)
    assert (above.F1, above.precision, above.recall, above.n_true) == (0, None, 0, 0)


def test_the_curve_at_a_score_is_what_is_kept_from_there(ducks: Dataset) -> None:
    found = evaluate(guesser(ducks), ducks).detections
    curve, _ = threshold_curves(ducks, found)
    for threshold in (0.0, 0.31, 0.62, 0.93, 1.0):
        kept = [one[np.asarray(one.confidence) >= threshold] for one in found]
        whole, _ = threshold_curves(ducks, kept)
        at = curve.at(threshold)
        assert (at.n_true, at.n_false) == (whole.at(0).n_true, whole.at(0).n_false)
        assert pytest.approx(2 * at.n_true / (at.n_true + at.n_false + curve.n_truth)) == at.F1


def test_the_detectors_threshold_is_shown_and_a_better_one_is_a_hint(
    run: Path, ducks: Dataset
) -> None:
    measured = evaluate_run(run, ducks, detector=guesser(ducks))
    there = measured.metrics.at(0.9)
    assert measured.threshold == 0.9
    table = measured.table()
    assert f"{there.n_false} false detections at score 0.90 and above" in table
    assert f"{there.F1:.3f}" in table
    best = measured.metrics.best_threshold
    assert best is not None
    hint = table.splitlines()[-1]
    assert f"`duckdetect threshold '{run}' {np.floor(best * 100) / 100:.2f}` keeps it" in hint
    in_a_notebook = measured.table(keep=("notebook.keep_threshold(run, ", ")"))
    assert (
        f"`notebook.keep_threshold(run, {np.floor(best * 100) / 100:.2f})` keeps" in in_a_notebook
    )
    written = json.loads((run / "metrics.json").read_text())
    assert written["at_threshold"]["threshold"] == 0.9
    assert written["at_threshold"]["F1"] == there.F1
    fine = evaluate_run(run, ducks, detector=guesser(ducks, float(best)))
    assert fine.better_threshold() == ""


def test_pictures_that_it_was_trained_on_flatter(run: Path, project_data: Path) -> None:
    trained_on = load_dataset(project_data / "ducks" / "train")
    measured = evaluate_run(run, trained_on, detector=guesser(trained_on))
    assert "These are the images it was trained on" in measured.table()
    others = load_dataset(project_data / "ducks" / "test")
    assert "trained on" not in evaluate_run(run, others, detector=guesser(others)).table()


def test_the_threshold_is_changed_and_what_was_measured_stays(
    run: Path, ducks: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    before = evaluate_run(run, ducks, detector=guesser(ducks))
    assert main(["threshold", str(run), "0.52"]) == 0
    assert capsys.readouterr().out == f"the threshold of {run} is 0.52, it was 0.9\n"
    assert json.loads((run / "detector" / "detector.json").read_text()) == {
        "threshold": 0.52,
        "base": "b",
    }
    kept = read_evaluation(run, ducks)
    assert kept is not None
    assert kept.threshold == 0.52
    assert kept.metrics.AP == before.metrics.AP
    assert main(["threshold", str(run)]) == 0
    assert capsys.readouterr().out == "0.52\n"
    assert main(["threshold", str(run), "52"]) == 2
    assert "the threshold is 52.0: give a number from 0 to 1" in capsys.readouterr().err
    assert main(["threshold", str(run.parent), "0.5"]) == 2
    with only_writer(run), pytest.raises(UserError, match="another duckdetect is writing"):
        change_threshold(run, 0.6)
    assert change_threshold(run, 0.6) == 0.52
    assert read_about(run) is not None


def test_half_a_letter_in_the_settings_stays(run: Path) -> None:
    path = run / "detector" / "detector.json"
    path.write_text(r'{"threshold": 0.9, "base": "b", "note": "\ud800"}')
    assert main(["threshold", str(run), "0.52"]) == 0
    assert json.loads(path.read_text()) == {"threshold": 0.52, "base": "b", "note": "\ud800"}
