"""TensorBoard's files: losses, rate and accuracy over the steps, example pictures, the settings.

    board = Board(folder, settings)        # writes below folder/tensorboard
    board.write("train", {"step": 1, "loss": 2.5})
    board.close()

They are written by `tf.summary`, which does not load the tensorboard package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

FOLDER = "tensorboard"


class Board:
    """Writes a run's events; does nothing where there is no folder.

    Args:
        folder: The run's folder.
        settings: What to show as the run's settings; None for a run that is taken up again, whose
            settings are there already.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any] | None) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}
        if settings is not None:
            rows = [f"| {name} | {value} |" for name, value in settings.items()]
            table = "\n".join(["| setting | value |", "| --- | --- |", *rows])
            if writer := self._writer("train"):
                with writer.as_default(step=0):
                    tf.summary.text("settings", table)

    def write(self, part: str, row: Mapping[str, float]) -> None:
        """Write a row's figures at its step; `part` is the curve: train or validation."""
        if writer := self._writer(part):
            figures = [_scalar(name, value) for name, value in row.items() if name != "step"]
            with writer.as_default(step=int(row["step"])):
                # All at once: five calls of tf.summary.scalar would take a tenth of a step.
                raw = tf.compat.v1.Summary(value=figures).SerializeToString()
                tf.summary.experimental.write_raw_pb(raw)

    def draw(self, part: str, pictures: Iterable[tuple[str, np.ndarray]], step: int) -> None:
        """Write pictures (H, W, 3) uint8 by their names."""
        if writer := self._writer(part):
            with writer.as_default(step=step):
                for name, picture in pictures:
                    tf.summary.image(name, picture[np.newaxis])

    def close(self) -> None:
        """Write what is not yet on disk."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, part: str) -> Any:
        if self._folder is None:
            return None
        if part not in self._writers:
            path = self._folder / FOLDER / part
            self._writers[part] = tf.summary.create_file_writer(str(path))
        return self._writers[part]


def _scalar(name: str, value: float) -> Any:
    """What `tf.summary.scalar` writes."""
    summary = tf.compat.v1
    metadata = summary.SummaryMetadata(
        plugin_data=summary.SummaryMetadata.PluginData(plugin_name="scalars"),
        data_class="DATA_CLASS_SCALAR",
    )
    tensor = tf.make_tensor_proto(value, tf.float32, shape=[])
    return summary.Summary.Value(tag=name, metadata=metadata, tensor=tensor)
