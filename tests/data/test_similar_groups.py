"""Groups of pictures that are nearly the same: those that all pairs make, in memory for none of them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckdetect.data import similar
from duckdetect.data.similar import near_across, near_groups


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """As the definition has it, answer by answer."""
    both, one = (a != 0) & (b != 0), (a != 0) ^ (b != 0)
    differ = (both & (a != b)).sum() + 0.5 * one.sum()
    alike = (both & (a == b)).sum()
    return bool(differ <= 0.25 * (differ + alike))


def mirrored(one: np.ndarray) -> np.ndarray:
    side = int((len(one) // 2) ** 0.5)
    right, down = one.reshape(2, side, side)[..., ::-1]
    return np.concatenate([-right.ravel(), down.ravel()])


def all_pairs(hashes: np.ndarray) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if near(hashes[i], hashes[j]) or near(mirrored(hashes[i]), hashes[j])
    ]


def components(n: int, pairs: list[tuple[int, int]]) -> list[int]:
    label = list(range(n))
    for _ in range(n):
        for i, j in pairs:
            label[i] = label[j] = min(label[i], label[j])
    return np.unique(label, return_inverse=True)[1].tolist()


def clusters(rng: np.random.Generator, n: int, n_seeds: int, side: int = 3) -> np.ndarray:
    """Hashes in chains: each is an earlier one with a few answers changed, or mirrored."""
    made = [*rng.integers(-1, 2, (n_seeds, 2 * side * side))]
    while len(made) < n:
        one = made[rng.integers(len(made))].copy()
        one = mirrored(one) if rng.random() < 0.3 else one
        at = rng.integers(0, len(one), 2)
        one[at] = rng.integers(-1, 2, 2)
        made.append(one)
    return np.array(made, np.int8)[rng.permutation(n)]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([1, 2, 5, 512]))
def test_groups_are_those_of_all_pairs(seed: int, n_seeds: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = clusters(rng, 30, n_seeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar, "_ROWS", rows)
        assert near_groups(hashes).tolist() == components(30, all_pairs(hashes))


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 512]))
def test_pairs_across_parts(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = clusters(rng, 25, 4)
    part, clip = np.sort(rng.integers(0, 3, 25)), rng.integers(-1, 3, 25)
    wanted, told = [], set()
    for i, j in all_pairs(hashes):
        if part[i] != part[j] and j not in told and (clip[i] != clip[j] or clip[j] < 0):
            wanted.append((i, j))
            told.add(j)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similar, "_ROWS", rows)
        assert list(near_across(hashes, part, clip)) == wanted


def test_none_and_one() -> None:
    assert near_groups(np.zeros((0, 288), np.int8)).tolist() == []
    assert near_groups(np.zeros((1, 288), np.int8)).tolist() == [0]
    assert list(near_across(np.zeros((0, 288), np.int8), np.zeros(0), np.zeros(0))) == []


def test_pictures_of_a_fixed_camera_take_less_time_than_different_ones() -> None:
    rng = np.random.default_rng(0)
    different = rng.integers(-1, 2, (6000, 288)).astype(np.int8)
    alike = np.repeat(different[:1], 6000, axis=0)
    alike[:, :9] = different[:, :9]
    seconds = []
    for hashes, n_groups in ((different, 6000), (alike, 1)):
        start = time.process_time()
        assert len(set(near_groups(hashes).tolist())) == n_groups
        seconds.append(time.process_time() - start)
    assert seconds[1] < seconds[0]


def test_a_slow_pan_is_compared_in_as_few_blocks_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture is near its neighbours alone: one at a time would take the square of their number."""
    rng = np.random.default_rng(0)
    pan = [rng.integers(-1, 2, 288).astype(np.int8)]
    for _ in range(1999):
        moved = pan[-1].copy()
        moved[rng.choice(288, 30, replace=False)] = rng.integers(-1, 2, 30)
        pan.append(moved)
    calls: list[int] = []
    near = similar._Compare.near

    def counted(self: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return near(self, rows, columns)

    monkeypatch.setattr(similar._Compare, "near", counted)
    assert len(np.unique(near_groups(np.array(pan)))) == 1
    assert len(calls) <= 2 * (2000 // similar._ROWS + 1)
