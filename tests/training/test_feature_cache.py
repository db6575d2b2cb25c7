"""Features of many views lie on disk, and are the same there."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import mobilenet, views

from duckdetect.errors import UserError
from duckdetect.models.graphs import frozen_part
from duckdetect.training import feature_cache
from duckdetect.training.feature_cache import FeatureMaps, SparseRows, cache_features
from duckdetect.training.validation import head_losses


def test_maps_on_disk_are_those_in_memory_in_half_precision() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 10, (7, 3, 3, 5)).astype(np.float32)
    rows[6, 0, 0, 0] = 1e6  # beyond half precision: its largest number
    memory, disk = FeatureMaps(on_disk=False), FeatureMaps(on_disk=True)
    for maps in (memory, disk):
        maps.add(tf.constant(rows[:4]))
        maps.add(tf.constant(rows[4:]))
    for index in ([2, 0, 5], [6], [3, 3]):
        exact = rows[index].clip(None, 65504)
        np.testing.assert_array_equal(memory.take(np.array(index)), rows[index])
        found = disk.take(np.array(index)).numpy()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-5)
    assert memory.n_bytes == 2 * disk.n_bytes == rows.nbytes
    disk.add(tf.constant(rows[:1]))  # after it was read
    np.testing.assert_allclose(disk.take(np.array([7]))[0], rows[0], rtol=1e-3, atol=1e-5)


def test_the_file_goes_with_the_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = FeatureMaps(on_disk=True)
    file = maps._file
    del maps
    assert file.closed


def test_sparse_rows_are_the_rows() -> None:
    rng = np.random.default_rng(0)
    weight = np.ones((6, 500), np.float32)
    weight[rng.random(weight.shape) < 0.05] = 0
    weight[2] = 0  # known in part: most count for nothing
    weight[2, :7] = 4
    code = np.zeros((6, 500, 4), np.float32)
    code[:, 3:9] = rng.normal(size=(6, 6, 4))
    for rows in (weight, code, np.arange(12).reshape(6, 2)):
        kept = SparseRows()
        for row in rows:
            kept.add(row)
        index = np.array([4, 2, 2, 0])
        np.testing.assert_array_equal(kept.take(index), rows[index])
        assert kept.take(index).dtype == rows.dtype
        assert len(kept) == 6


def test_of_very_many_views_whole_maps_on_disk_give_the_same_losses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, images = mobilenet(2), views(6, 2)
    frozen = frozen_part(base, "heads")
    losses = []
    for limit in (feature_cache.MEMORY_LIMIT, 0):
        monkeypatch.setattr(feature_cache, "MEMORY_LIMIT", limit)
        cache = cache_features(base, frozen, images, len(images), patches=True)
        assert cache.on_disk == (limit == 0)
        assert cache.patches == (limit > 0)
        found = head_losses(base, cache.batch(np.array([1, 3, 2])), cache.patches, "heads")[0]
        losses.append({name: float(value) for name, value in found.items()})
    assert losses[0]["box_loss"] > 0
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    # What does not fit at all is refused at the first batch.
    for limit, where in ((0, r"in .*, .* are free: make"), (10**18, r"of memory, .* free: close")):
        monkeypatch.setattr(feature_cache, "MEMORY_LIMIT", limit)
        with pytest.raises(UserError, match=rf"of 1000000000 views need about .* GB {where}"):
            cache_features(base, frozen, images, 10**9, patches=False)
