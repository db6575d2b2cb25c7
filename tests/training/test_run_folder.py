"""A run's folder: what is another run, and what --overwrite leaves of the old one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from helpers.labelled_folders import put_image
from helpers.run_folders import identity, put_run

from duckdetect.cli import main
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError
from duckdetect.training.config import TrainConfig
from duckdetect.training.run_folder import (
    begin_run,
    check_apart_from,
    check_run,
    close_run,
    load_state,
    only_trainer,
    read_history,
    save_state,
)
from duckdetect.utils.outputs import MANIFEST, own_output


@pytest.fixture
def run(project_data: Path, tmp_path: Path) -> Path:
    return put_run(tmp_path / "run", load_dataset(project_data / "ducks" / "train"))


def test_what_differs_is_told(run: Path) -> None:
    before = (run / "config.json").read_bytes()
    assert check_run(run, identity(run), False) == "done"
    with pytest.raises(UserError, match=r"another run \(steps: 20 there, 400 here\): choose"):
        check_run(run, identity(run, steps=400), False)
    other = {**identity(run, train="towers"), "base": "b", "classes": ["mug", "cup"]}
    other["data"] = {**other["data"], "sha256": "0" * 64}
    with pytest.raises(UserError) as error:
        check_run(run, other, False)
    assert (
        "(base: ssd_mobilenet_v2 there, b here, classes: rubber duck there, mug and cup here, "
        "train: heads there, towers here, other images)"
    ) in str(error.value)
    assert (run / "config.json").read_bytes() == before


def test_settings_of_another_version_are_another_run(run: Path) -> None:
    found = json.loads((run / "config.json").read_text())
    found["train"]["colour"] = 3
    (run / "config.json").write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"\(other settings\)"):
        check_run(run, {**identity_of_default(found)}, False)


def identity_of_default(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "train": TrainConfig().to_dict()}


def test_no_second_training_writes_into_a_run(
    run: Path, project_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, before = project_data / "ducks" / "train", (run / "config.json").read_bytes()
    train = ["train", str(data), "--out", str(run), "--overwrite", "--steps", "1"]
    with only_trainer(run):
        assert main(train) == 2
    assert f"another duckdetect is writing {run}: wait" in capsys.readouterr().err
    assert (run / "config.json").read_bytes() == before
    with only_trainer(run):  # it is free again
        pass


def test_the_pictures_folder_is_made_no_run(
    project_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = project_data / "ducks" / "train"
    before = sorted(data.iterdir())
    assert main(["train", str(data), "--out", str(data), "--steps", "1"]) == 2
    assert f"{data} holds the labelled pictures: choose another --out" in capsys.readouterr().err
    assert sorted(data.iterdir()) == before


def test_a_detectors_folder_becomes_no_run(tmp_path: Path) -> None:
    detector = tmp_path / "run" / "detector"
    detector.mkdir(parents=True)
    for name in ("detector.json", "saved_model.pb"):
        (detector / name).touch()
    dataset = Dataset(tmp_path / "data", ("duck",), ())
    for out in (detector, detector / "new"):
        with pytest.raises(UserError, match="detector holds a detector, which stays as it is"):
            check_apart_from(out, dataset)
    check_apart_from(tmp_path / "run", dataset)
    check_apart_from(tmp_path / "run" / "evaluation", dataset)
    (tmp_path / "run" / "config.json").touch()
    check_apart_from(tmp_path / "run" / "second", dataset)
    with pytest.raises(UserError, match="evaluation is of the run"):
        check_apart_from(tmp_path / "run" / "evaluation" / "x", dataset)


def test_overwriting_leaves_nothing_of_the_old_run_but_what_is_not_its_own(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "evaluation").mkdir()
    for name in ("evaluation/about.json", "metrics.json", "report.html", "report.pdf", "notes.txt"):
        (run / name).write_text("{}")
    changed = identity(run, steps=7)
    assert check_run(run, changed, True) == "new"
    begin_run(run, changed)
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "notes.txt"]
    assert json.loads((run / "config.json").read_text())["done"] is False
    # A new run that is interrupted now does not use the old detector.
    image = put_image(run / "new.jpg")
    assert main(["detect", str(run), str(image), "--out", str(run / "new")]) == 2
    assert "holds no detector" in capsys.readouterr().err
    assert check_run(run, identity(run), False) == "resumable"


def test_overwriting_keeps_what_somebody_did_by_hand(run: Path) -> None:
    (run / "handed_back.json").write_text("{}")
    (run / "detector" / "assets").mkdir()
    before = everything(run)
    for name in ("detector/my.pb", "detector/assets/my_notes.txt", "evaluation/my.csv"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")
        with pytest.raises(UserError, match=f"{name} was not written by .*: move it away, or choo"):
            check_run(run, identity(run, steps=7), True)
        (run / name).unlink()
    with own_output(run / "report.html", "report") as part:
        part.write_text("as written")
    (run / "report.html").write_text("edited")
    with pytest.raises(UserError, match=r"report\.html was changed since `duckdetect report`"):
        check_run(run, identity(run, steps=7), True)
    (run / "report.html").unlink()
    assert everything(run) == sorted([*before, run / MANIFEST])
    assert check_run(run, identity(run, steps=7), True) == "new"
    assert (run / "handed_back.json").exists()
    assert not (run / "detector").exists()


def test_what_was_edited_stays_where_the_detector_is_gone(run: Path) -> None:
    close_run(run)
    (run / "history.csv").write_text("step,loss\n1,2\nmy,notes\n")
    assert check_run(run, identity(run), False) == "done"
    shutil.rmtree(run / "detector")
    with pytest.raises(UserError, match=r"history\.csv was changed since `duckdetect train`"):
        check_run(run, identity(run), False)
    (run / "history.csv").unlink()
    assert check_run(run, identity(run), False) == "resumable"


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_nothing_is_removed_through_a_link(run: Path, tmp_path: Path) -> None:
    state = tmp_path / "other" / "state.npz"
    state.parent.mkdir()
    state.touch()
    (run / "masks").symlink_to(state.parent)
    assert check_run(run, identity(run), False) == "done"
    assert state.exists()
    with pytest.raises(UserError, match="masks was not written by"):
        check_run(run, identity(run, steps=7), True)
    assert state.exists()


def test_a_state_that_is_none_or_of_another_step(tmp_path: Path) -> None:
    state = [
        tf.Variable([1.0, 2.0]),
        tf.Variable(2, dtype=tf.int64),
    ]  # a weight, the optimiser's step
    rows = [{"step": step, "loss": 0.5} for step in (1, 2)]
    save_state(tmp_path, state, rows, [], [])
    assert load_state(tmp_path, state).history == rows
    for steps in (rows[:1], []):
        save_state(tmp_path, state, steps, [], [])
        with pytest.raises(
            UserError, match=r"optimiser is at step 2, its history at .\): delete it"
        ):
            load_state(tmp_path, state)
    (tmp_path / "state.npz").unlink()
    os.mkfifo(tmp_path / "state.npz")
    with pytest.raises(UserError, match="is a pipe or a device"):  # and does not wait for ever
        load_state(tmp_path, state)
    (tmp_path / "history.csv").write_bytes(bytes(3))
    with pytest.raises(UserError, match=r"history\.csv is broken"):
        read_history(tmp_path)
