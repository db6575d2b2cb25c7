"""Outlines that the computer makes from boxes, against exact ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled_folders import put_yolo

import duckdetect as dd
from duckdetect.data.convert import write_splits
from duckdetect.data.outline import outline_box, outline_dataset, outline_sample
from duckdetect.errors import DataWarning, UserError
from duckdetect.imaging.geometry import rasterise


def test_outlines_of_ducks_are_those_that_were_drawn(project_data: Path) -> None:
    """The set was rendered: its outlines are exact."""
    ducks = dd.load_dataset(project_data / "ducks", "train")
    overlaps = []
    for sample in ducks:
        bare = outline_sample(replace(sample, segmentation=None))
        assert bare.outlined is not None
        assert bare.outlined.all()
        for mine, true in zip(bare.segmentation, sample.segmentation, strict=True):
            found, exact = (rasterise(o, sample.size_hw) for o in (mine, true))
            overlaps.append((found & exact).sum() / (found | exact).sum())
    assert np.mean(overlaps) > 0.93


def test_what_does_not_stand_out_has_no_outline() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    assert outline_box(noise, np.array([20.0, 20, 140, 100])) is None
    assert outline_box(noise, np.array([0.0, 0, 160, 120])) is None
    assert outline_box(noise, np.array([5.0, 5, 7, 7])) is None
    wide = np.zeros((50, 2000, 3), np.uint8)
    for box in ([0.0, 20, 2000, 21], [0.0, 0, 2000, 0.5]):  # too thin to be made smaller
        assert outline_box(wide, np.array(box)) is None


def test_the_outlines_are_marked_and_trained_on(project_data: Path, tmp_path: Path) -> None:
    ducks = dd.load_dataset(project_data / "ducks", "train")
    first, *others = ducks.samples
    bare = (first, *(replace(sample, segmentation=None) for sample in others))
    write_splits({None: replace(ducks, samples=bare)}, "coco", tmp_path / "boxes")
    done = outline_dataset(
        tmp_path / "boxes",
        tmp_path / "out",
        tmp_path / "sheet.jpg",
        leave_out=[others[0].path.name],
        progress=False,
    )
    assert (done.n_boxes, done.n_made) == (3, 3)
    annotations = json.loads((tmp_path / "out" / "_annotations.coco.json").read_text())[
        "annotations"
    ]
    assert [a.get("outline_by") for a in annotations] == [None, None, *["computer"] * 3]
    assert [bool(a["segmentation"]) for a in annotations] == [True, False, True, True, True]
    again = dd.load_dataset(tmp_path / "out")
    for sample, before in zip(again, ducks, strict=True):
        np.testing.assert_allclose(sample.xyxy, before.xyxy, atol=0.01)
    assert again.samples[0].segmentation == first.segmentation
    assert (tmp_path / "sheet.jpg").stat().st_size > 5000
    with pytest.raises(UserError, match=r"has no picture x\.jpg"):
        outline_dataset(tmp_path / "boxes", tmp_path / "other", leave_out=["x.jpg"])


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    put_yolo(tmp_path / "data")
    extra = tmp_path / "data" / "train" / "labels" / "sub" / "b.txt"
    extra.parent.mkdir(parents=True)
    extra.write_text("0 0.5 0.5 0.2 0.2\n")
    done = outline_dataset(tmp_path / "data", tmp_path / "out", progress=False)
    assert "note: " in done.text()
    assert "1 file of labels is not read (train/labels/sub/b.txt)" in done.text()
    with pytest.warns(DataWarning, match="1 file of labels is not read"):
        dd.load_dataset(tmp_path / "data")
