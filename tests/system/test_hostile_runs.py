"""What training leaves alone in a run's folder: what somebody changed there, and what links lead to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.labelled_folders import put_coco
from helpers.run_folders import identity, put_run

from duckdetect.cli import main
from duckdetect.data.corrections import copies_text
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError
from duckdetect.training.run_folder import begin_run, check_run, close_run, read_history


@pytest.fixture
def run(project_data: Path, tmp_path: Path) -> Path:
    return put_run(tmp_path / "run", load_dataset(project_data / "ducks" / "train"))


def test_overwriting_keeps_what_was_changed_since(run: Path) -> None:
    (run / "masks").mkdir()
    for name in ("curves.png", "corrections.json", "masks/history.csv"):
        (run / name).write_text("as trained")
    (run / "detector" / "detector.json").write_text('{"threshold": 0.5}')
    close_run(run)
    for name in ("curves.png", "corrections.json", "history.csv", "masks/history.csv"):
        before = (run / name).read_bytes()
        (run / name).write_bytes(before + b"mine")
        with pytest.raises(
            UserError, match=f"{name} was changed since `duckdetect train` wrote it"
        ):
            check_run(run, identity(run, steps=7), True)
        assert (run / name).read_bytes() == before + b"mine"
        (run / name).write_bytes(before)
    assert main(["threshold", str(run), "0.4"]) == 0  # is a command's change, and nobody's edit
    assert check_run(run, identity(run, steps=7), True) == "new"
    # What the next run writes is its own, also where that run is interrupted.
    begin_run(run, identity(run, steps=7))
    (run / "history.csv").write_text("of the next run")
    assert check_run(run, identity(run, steps=9), True) == "new"


@pytest.mark.parametrize("name", ["masks", "tensorboard/train", "detector"])
def test_training_goes_on_through_no_link(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    if name == "detector":
        shutil.rmtree(run / "detector")
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(tmp_path / "other")
    begun = {**identity(run), "done": False}
    (run / "config.json").write_text(json.dumps(begun))
    with pytest.raises(UserError, match=f"{name} is a link, and training would write through it"):
        check_run(run, identity(run), False)


def test_a_column_twice_in_a_history_is_refused(run: Path) -> None:
    (run / "history.csv").write_text("step,loss,loss\n1,0.5,0.7\n")
    with pytest.raises(UserError, match=r"history\.csv is broken \(it has several columns loss\)"):
        read_history(run)


def test_copies_among_corrections_are_named(tmp_path: Path) -> None:
    known = load_dataset(put_coco(tmp_path / "known"))
    new = load_dataset(put_coco(tmp_path / "new", names=("b.jpg", "c.jpg")))
    assert copies_text(known.samples, new) == ""
    shutil.copy(tmp_path / "known" / "a.jpg", tmp_path / "new" / "b.jpg")
    wanted = "copies among the corrections are merged with their originals: b.jpg with a.jpg"
    assert copies_text(known.samples, new) == wanted
