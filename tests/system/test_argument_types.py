"""Python functions that are given something of another kind: one line that says what to give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import put_coco

import duckdetect as dd
from duckdetect.annotation.store import AnnotationStore
from duckdetect.data.convert import convert_dataset
from duckdetect.data.loading import load_dataset
from duckdetect.data.outline import outline_dataset
from duckdetect.data.split import split_dataset
from duckdetect.errors import UserError
from duckdetect.notebook import display, inputs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return put_coco(tmp_path / "data", names=("a.jpg", "b.jpg", "c.jpg"))


def refused(call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def test_of_data_sets(data: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "split.json", tmp_path / "out"
    assert refused(split_dataset, data, file=file, train="0.7") == "train is '0.7': give a number"
    assert refused(split_dataset, data, file=file, valid=None) == "valid is None: give a number"
    assert "--seed is True: give a whole number" in refused(
        split_dataset, data, file=file, seed=True
    )
    assert "there is no format ['coco']" in refused(convert_dataset, data, ["coco"], out)
    assert "the split is ['train']: give one name" in refused(load_dataset, data, ["train"])
    said = "leave_out={!r}: give a list of names"
    for wrong in (5, None, [5]):
        assert refused(outline_dataset, data, out, leave_out=wrong) == said.format(wrong)
    assert "sheet is 5: give the path of a file" in refused(outline_dataset, data, out, sheet=5)
    assert not out.exists()
    assert not file.exists()
    assert split_dataset(data, file=file, seed=np.int64(3)).seed == 3  # type: ignore[arg-type]


def test_of_sheets_and_stores(data: Path) -> None:
    for wrong in ("x", 0, 1001, True):
        assert f"--images is {wrong!r}: give 1 to 1000" in refused(
            dd.data.label_sheet, data, None, wrong
        )
    store = AnnotationStore(data)
    assert "size_hw is (80, inf)" in refused(store.put, "a.jpg", (80, 1e400), [], ["duck"])
    for name in ("\udcff", " "):
        assert "give a list of names" in refused(store.put, "a.jpg", (60, 80), [], [name])


def test_of_notebooks(tmp_path: Path) -> None:
    functions = display.show_history, display.show_report, display.export_run
    for function in functions:
        assert "the run is '': give what `train` has returned" in refused(function, "")
        nowhere = SimpleNamespace(folder=None)
        assert "was not written to a folder: give `train` an out" in refused(function, nowhere)
    assert "the run is 5" in refused(display.measure, 5, tmp_path)
    assert "the run is 5" in refused(display.measure_split, 5, tmp_path)
    assert "the run is 5" in refused(display.keep_threshold, 5, 0.5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"every": "2"}, "--every is '2': give 1 for all frames, 2 for every second, ..."),
        ({"every": 1.5}, "--every is 1.5: give 1 for all frames, 2 for every second, ..."),
        ({"seconds_per_frame": "1"}, "seconds_per_frame is '1': give a number"),
        ({"seconds_per_frame": 10**400}, "seconds_per_frame is a huge number: give a number"),
        ({"classes": 5}, "classes=5: give a list of names"),
        ({"classes": [5]}, "classes=[5]: give a list of names"),
        ({"line_width": "2"}, "the line width is '2': give 1 to 100 pixels"),
    ],
)
def test_of_detect(data: Path, tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    assert refused(dd.detect, tmp_path / "run", data, tmp_path / "out", **wrong) == said


def test_of_training_and_inputs(data: Path, tmp_path: Path) -> None:
    assert "val is 5: give labelled pictures" in refused(dd.train, data, val=5)
    told = refused(dd.train, data, start=tmp_path, add_to=tmp_path)
    assert "start and add_to are both given" in told
    for function in (inputs.choose_pictures, inputs.choose_data):
        assert "the project is 5: give the path" in refused(function, 5, "my own")
    assert "the folder is 5: give the path" in refused(inputs.new_pictures, tmp_path, 5)
    assert "no Dataset: give what `load_dataset` returns" in refused(
        dd.data.describe_dataset, str(data)
    )
    assert "the options are 3: give a ReadOptions" in refused(load_dataset, data, options=3)
    options = dd.data.ReadOptions(allow_outside=str(tmp_path))  # type: ignore[arg-type]
    assert options.allow_outside == (tmp_path,)


def test_of_notebook_helpers(data: Path, tmp_path: Path) -> None:
    """A folder's name will do for its path; what is no data set is told."""
    n = dd.notebook
    assert "latest_run" in dir(n)
    assert n.latest_run(str(tmp_path), "duck") == tmp_path / "duck"
    assert not n.check_data(str(data))
    for call, given in (
        (n.latest_run, 5),
        (n.check_data, None),
        (n.show_labels, str(data)),
        (n.check_labels, str(data)),
        (n.change_classes, str(data)),
        (n.class_names, ["duck"]),
        (n.workspace, 5),
        (n.dated_folder, None),
    ):
        assert ": give " in refused(call, given)
    for call in (n.split_data, n.outline_data, n.choose_video):
        assert "not what `choose_data` returned" in refused(call, tmp_path, str(data))
