"""What the user said of labels is noted with a run's data, and holds when these are read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.labelled_folders import annotation, put_coco
from PIL import Image

from duckdetect.data.dataset import ReadOptions, current_options, read_options
from duckdetect.data.loading import (
    as_recorded,
    data_sha256,
    describe_data,
    find_again,
    load_dataset,
)
from duckdetect.evaluation.evaluate import _as_trained

_TABLE = [{"id": 1, "name": "duck"}, {"id": 2, "name": "Duck"}]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A picture that EXIF turns, labelled as it is stored, with a class spelt in two ways."""
    boxes = [annotation(), annotation([50, 20, 20, 15], id=2, category_id=2)]
    folder = put_coco(tmp_path / "data", boxes, categories=_TABLE)
    exif = Image.Exif()
    exif[274] = 6
    with Image.open(folder / "a.jpg") as image:
        image.save(folder / "a.jpg", exif=exif)
    return folder


def test_a_record_says_how_its_labels_are_read(data: Path, tmp_path: Path) -> None:
    said = ReadOptions(labels_as_stored=True, merge_classes=True, allow_outside=(tmp_path,))
    with read_options(said):
        trained = load_dataset(data)
        record = json.loads(json.dumps(describe_data(trained)))
    assert trained.classes == ("duck",)
    assert record["options"] == {"labels_as_stored": True, "merge_classes": True}
    again = find_again(record)
    assert again is not None
    assert data_sha256(again) == record["sha256"]
    assert current_options() == ReadOptions()
    # A run may come from a stranger: it allows no folder.
    with as_recorded({**record, "options": {**record["options"], "allow_outside": ["/"]}}):
        assert current_options().allow_outside == ()
        assert current_options().merge_classes
    for broken in (None, 5, [], {"merge_classes": "yes"}):
        with as_recorded({"options": broken}):
            assert current_options() == ReadOptions()


def test_options_of_python_are_noted(data: Path) -> None:
    """`load_dataset(options=)`, whose data set is described later, as training does it."""
    said = ReadOptions(labels_as_stored=True, merge_classes=True)
    record = describe_data(load_dataset(data, options=said).subset([0]))
    assert record["options"] == {"labels_as_stored": True, "merge_classes": True}
    assert find_again(record) is not None


def test_nothing_is_noted_where_nothing_was_said(tmp_path: Path) -> None:
    assert "options" not in describe_data(load_dataset(put_coco(tmp_path)))


def test_a_run_reads_its_own_data_alone_so(data: Path, tmp_path: Path) -> None:
    with read_options(ReadOptions(labels_as_stored=True, merge_classes=True)):
        record = describe_data(load_dataset(data))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"data": record, "validation": None}))
    with _as_trained(run, data):
        assert load_dataset(data).classes == ("duck",)
    put_coco(tmp_path / "far" / "other")
    with _as_trained(run, tmp_path / "far" / "other"):
        assert current_options() == ReadOptions()
    (run / "config.json").unlink()
    with _as_trained(run, data):
        assert current_options() == ReadOptions()
