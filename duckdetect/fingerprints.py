"""Check sums of data and detectors: whether what was measured or trained is still what lies there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from duckdetect.datasets import Dataset, list_parts, load_dataset
from duckdetect.errors import UserError


def data_sha256(dataset: Dataset) -> str:
    """The SHA-256 of the pictures' bytes, boxes, classes and outlines, as config.json holds it.

    Raises:
        UserError: If a picture cannot be read.
    """
    digest = hashlib.sha256()
    for sample in dataset.samples:
        try:
            digest.update(sample.path.read_bytes())
        except OSError as error:
            raise UserError(
                f"{sample.path} cannot be read ({error.strerror}): put the picture back"
            ) from error
        for array in (sample.xyxy, sample.class_id, sample.crowd):
            digest.update(np.ascontiguousarray(array).tobytes())
        if sample.segmentation is not None:
            digest.update(json.dumps(sample.segmentation, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def folder_sha256(folder: Path) -> str:
    """The SHA-256 of all files below a folder, their names included; "" if it is not there."""
    if not folder.is_dir():
        return ""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def find_again(record: Mapping[str, Any]) -> Dataset | None:
    """The data set of a record `{"folder", "sha256"}`, None if it is gone, broken or changed.

    A record may name a split's folder, or what holds the splits: each is tried.
    """
    folder = Path(str(record.get("folder", "")))
    try:
        parts = list_parts(folder)
    except UserError:
        return None
    for split in parts:
        try:
            dataset = load_dataset(folder, split)
            if data_sha256(dataset) == record.get("sha256"):
                return dataset
        except UserError:
            continue
    return None
