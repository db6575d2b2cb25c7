"""Several data sets with one table of classes, or as one: splits are read one by one.

classes_alike({"train": train, "test": test})     # class 1 is the same object in both
whole, origin = join([train, valid, test])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from duckdetect.samples import Dataset

Key = TypeVar("Key")


def classes_alike(parts: Mapping[Key, Dataset]) -> dict[Key, Dataset]:
    """The same data sets, all with the classes of all, in the order in which they come first.

    Each split of an export has a table of its own; Pascal VOC's hold only what has a box there.
    """
    classes = tuple(dict.fromkeys(name for part in parts.values() for name in part.classes))
    return {key: _with_classes(part, classes) for key, part in parts.items()}


def join(parts: Sequence[Dataset]) -> Dataset:
    """All samples as one data set, with image ids from 1; `root` is the first one's."""
    alike = classes_alike(dict(enumerate(parts)))
    samples = [sample for part in alike.values() for sample in part.samples]
    return Dataset(
        parts[0].root,
        alike[0].classes,
        tuple(replace(sample, image_id=i) for i, sample in enumerate(samples, 1)),
    )


def _with_classes(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    if dataset.classes == classes:
        return dataset
    table = np.array([classes.index(name) for name in dataset.classes], np.int64)
    samples = tuple(
        replace(s, class_id=table[s.class_id] if len(s.class_id) else s.class_id)
        for s in dataset.samples
    )
    return Dataset(dataset.root, classes, samples)
