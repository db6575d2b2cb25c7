"""Arrays with a row for each view: in memory while they fit in, in an unnamed file beyond.

rows = empty_rows(65, (16, 9, 9, 1536), np.float16)   # 260 MB: memory
rows[3] = features
"""

from __future__ import annotations

import tempfile

import numpy as np
import numpy.typing as npt

MEMORY_LIMIT = 2_000_000_000
"""Bytes that one array may take in memory; a Colab machine has 12 GB, a laptop 8."""


def empty_rows(
    n: int, shape: tuple[int, ...], dtype: npt.DTypeLike, limit: int = MEMORY_LIMIT
) -> np.ndarray:
    """An array (n, *shape); an `np.memmap` of a file that goes with it if larger than `limit` bytes."""
    size = n * int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= limit:
        return np.empty((n, *shape), dtype)
    with tempfile.TemporaryFile(prefix="duckdetect-") as file:
        # The mapping outlives the file's name and handle, and leaves nothing behind.
        return np.memmap(file, dtype, mode="w+", shape=(n, *shape))
