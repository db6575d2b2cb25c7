"""A long video is detected on by LiteRT where that is faster and finds the same, else by TensorFlow."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import clips

import duckdetect as dd
from duckdetect.export import quick
from duckdetect.inference.light import LightDetector

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")


@pytest.fixture
def always(monkeypatch):
    """It pays for a handful of images, whatever the clock says."""
    monkeypatch.setattr(quick, "_LEAST", {1: 4, 2: 4})
    monkeypatch.setattr(quick, "_LEAST_GAIN", 0.0)


@pytest.fixture
def clip(images, tmp_path, monkeypatch):
    """Eight frames of the ducks."""
    monkeypatch.setattr(clips, "scene", lambda k, *_: images[k % 4][: 2 * 180, : 2 * 240])
    return clips.write(tmp_path / "ducks.mp4", 8, size_hw=(360, 480))


def _rows(done):
    return json.loads((done.folder / "detections.json").read_text())


def test_litert_finds_the_same_in_a_video(original, clip, tmp_path, always, monkeypatch):
    by_litert = dd.detect(original, clip, tmp_path / "a", threshold=0.2, fast=True, progress=False)
    assert any("LiteRT detected" in note for note in by_litert.notes)
    assert not any(p.is_dir() for p in by_litert.folder.iterdir())
    monkeypatch.setattr(quick, "_LEAST", {1: 9, 2: 9})  # of eight frames
    plain = dd.detect(original, clip, tmp_path / "b", threshold=0.2, fast=True, progress=False)
    assert plain.notes == ()
    ours, wanted = _rows(by_litert), _rows(plain)
    assert len(ours) == len(wanted) > 0
    for one, other in zip(ours, wanted, strict=True):
        assert (one["frame"], one["category_id"]) == (other["frame"], other["category_id"])
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.5)


def _chosen(original, images, folder):
    scratch = folder / "detector"
    with quick.quicker(original, 4, lambda: images[:2], scratch, False) as (detector, notes):
        pass
    assert not list(folder.iterdir())
    return detector, notes


def test_other_results_or_no_gain_leave_tensorflow(
    original, tflite, images, tmp_path, always, monkeypatch
):
    monkeypatch.setattr(quick, "_converted", lambda *_: tflite.path)  # which takes half a minute

    def chosen():
        return _chosen(original, images, tmp_path)

    detector, notes = chosen()
    assert isinstance(detector, LightDetector)
    assert "the same on the first frames" in notes[0]
    empty = [np.zeros_like(images[0])]
    assert "hold nothing" in _chosen(original, empty, tmp_path)[1][0]
    monkeypatch.setattr(quick, "_LEAST_GAIN", 1e9)
    assert chosen() == (original, [])
    monkeypatch.setattr(quick, "_SAME_PX", -1.0)  # nothing is as near as that
    detector, notes = chosen()
    assert detector is original
    assert "TensorFlow detected" in notes[0]


@pytest.mark.parametrize(
    "error", [dd.UserError("it has no such operator"), OSError(28, "No space left on device")]
)
def test_what_cannot_be_converted_stays(original, images, tmp_path, always, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(quick, "_converted", refuse)
    detector, notes = _chosen(original, images, tmp_path)
    assert detector is original
    assert notes == [f"LiteRT cannot be used ({error}): TensorFlow detected"]
