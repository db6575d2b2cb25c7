"""Feature maps of many views: in memory as they are, or in a file in half precision where too many.

A file costs little speed, since the system keeps in memory what is read often; half precision moves the
losses by less than one part in a thousand (tests/test_features.py).
"""

from __future__ import annotations

import tempfile

import numpy as np
import tensorflow as tf

MOST_BYTES = 2_000_000_000  # a Colab runtime has 12 GB, and TensorFlow wants its share


class Maps:
    """One level's maps of V views, (V, h, w, c), added view by view.

    Args:
        n_views: V.
        on_disk: Whether they are kept in a nameless file, gone when they are, or in memory.
    """

    def __init__(self, n_views: int, on_disk: bool) -> None:
        self._n_views = n_views
        self.on_disk = on_disk
        self._rows: list[tf.Tensor] = []
        self._filled = 0
        self._all: tf.Tensor | np.ndarray | None = None

    def add(self, maps: tf.Tensor) -> None:
        """Append the maps of the next views, (b, h, w, c) float32."""
        if not self.on_disk:
            self._rows.append(maps)
            return
        if self._all is None:
            shape = (self._n_views, *maps.shape[1:])
            with tempfile.TemporaryFile() as file:  # the mapping holds it open
                self._all = np.memmap(file, np.float16, "w+", shape=shape)
        most = np.finfo(np.float16).max
        self._all[self._filled : self._filled + len(maps)] = np.clip(maps.numpy(), -most, most)
        self._filled += len(maps)

    def take(self, index: np.ndarray) -> tf.Tensor:
        """The maps of the views with these numbers, (B, h, w, c) float32."""
        if not self.on_disk and self._all is None:
            self._all = tf.concat(self._rows, axis=0)
            self._rows.clear()
        if isinstance(self._all, np.ndarray):
            return tf.constant(self._all[index].astype(np.float32))
        return tf.gather(self._all, index)

    @property
    def n_bytes(self) -> int:
        """What they take, in bytes."""
        if self._all is None:
            return sum(rows.dtype.size * int(np.prod(rows.shape)) for rows in self._rows)
        if isinstance(self._all, np.ndarray):
            return self._all.nbytes
        return self._all.dtype.size * int(np.prod(self._all.shape))
