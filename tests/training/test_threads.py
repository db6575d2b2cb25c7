"""A detector that is traced beside training is the one that is traced after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import duckdetect as dd

PROJECT = Path(__file__).resolve().parents[1] / "fixtures" / "v0_1_0" / "project"
BASE = "ssd_mobilenet_v2_320x320_coco17_tpu-8"


def saved_weights(folder: Path) -> list[np.ndarray]:
    """In the order in which the SavedModel lists them."""
    saved = tf.saved_model.load(str(folder / "detector"))
    return [variable.numpy() for variable in saved.weights]


def test_one_thread_and_two_give_equal_weights_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    data = dd.load_dataset(PROJECT / "data", "train")
    config = dd.TrainConfig(steps=4, masks="no", views=2, batch_size=2)
    found = []
    for threads in ("two", "one"):
        monkeypatch.setenv("DUCKDETECT_ONE_THREAD", "" if threads == "two" else "1")
        out = tmp_path / threads
        dd.train(data, BASE, out, config, weights=PROJECT / "bases" / BASE, progress=False)
        found.append(saved_weights(out))
    one, other = found
    assert len(one) == len(other) > 10
    for value, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(value, same)
