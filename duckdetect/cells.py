"""The cells of a feature map that hold a matched anchor, with what the box head reads there.

Only matched anchors count in the box loss. With the box head's last layer alone to be trained, these
few cells are all it has to run on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from duckdetect.bases.base import BaseModel, Targets


class Cells(NamedTuple):
    """One level's matched cells of V views, view after view; q anchors a cell.

    Attributes:
        patches: (P, k, k, c) float32, the box head's input around each cell.
        code: (P, q, 4) float32, its anchors' boxes as the engine encodes them.
        weight: (P, q) float32, above 0 where an anchor is matched.
        start: (V + 1,) int, where each view's cells begin.
    """

    patches: np.ndarray
    code: np.ndarray
    weight: np.ndarray
    start: np.ndarray

    def of(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patches, codes and weights of the views with these numbers.

        At least one cell, of weight 0 if need be: TensorFlow's gradients want a batch.
        """
        rows = np.concatenate([np.arange(self.start[v], self.start[v + 1]) for v in views])
        if len(rows):
            return self.patches[rows], self.code[rows], self.weight[rows]
        return tuple(np.zeros((1, *a.shape[1:]), a.dtype) for a in self[:3])  # type: ignore[return-value]


def find_cells(base: BaseModel, targets: Targets) -> list[np.ndarray]:
    """For each level the sorted numbers (row * width + column) of cells with a matched anchor."""
    found, start = [], 0
    for level in base.levels:
        weight = targets.box_weight[start : start + level.n_anchors]
        found.append(np.unique(np.flatnonzero(weight > 0) // level.anchors_per_cell))
        start += level.n_anchors
    return found


def cut_patches(features: np.ndarray, cells: np.ndarray, k: int) -> np.ndarray:
    """Cut (P, k, k, c) around these cells out of a map (h, w, c).

    Beyond the map's edge lie zeros, which is what a 'same' convolution reads there.
    """
    padded = np.pad(features, ((k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    rows, columns = np.divmod(cells, features.shape[1])
    out = np.zeros((len(cells), k, k, features.shape[2]), features.dtype)
    for i, (y, x) in enumerate(zip(rows, columns, strict=True)):
        out[i] = padded[y : y + k, x : x + k]
    return out


def join_cells(
    base: BaseModel, patches: list[list[np.ndarray]], targets: list[Targets]
) -> list[Cells]:
    """Bring the views' patches, `patches[view][level]`, and their targets together by level."""
    cells = [find_cells(base, t) for t in targets]
    joined, first = [], 0
    for i, level in enumerate(base.levels):
        anchors, q = slice(first, first + level.n_anchors), level.anchors_per_cell
        first += level.n_anchors
        pairs = list(zip(targets, cells, strict=True))
        joined.append(
            Cells(
                np.concatenate([row[i] for row in patches]),
                np.concatenate([t.box_code[anchors].reshape(-1, q, 4)[c[i]] for t, c in pairs]),
                np.concatenate([t.box_weight[anchors].reshape(-1, q)[c[i]] for t, c in pairs]),
                np.cumsum([0, *(len(c[i]) for c in cells)]),
            )
        )
    return joined
