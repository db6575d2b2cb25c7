"""Small folders of pictures, labelled files and a detector for the tests of drawing boxes."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from duckdetect.annotation.store import FILE_NAME

DUCK = ["duck"]


def make_images(folder: Path, **size_wh: tuple[int, int]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, wh in size_wh.items():
        Image.new("RGB", wh, (40, 90, 160)).save(folder / f"{name}.jpg")
    return folder


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FILE_NAME).read_text())


def roboflow(folder: Path) -> dict[str, Any]:
    """A file as Roboflow writes it, with keys this project knows nothing of."""
    coco = {
        "info": {"year": "2026", "version": "1"},
        "licenses": [{"id": 1, "name": "CC BY 4.0"}],
        "tool": {"unknown": [1, 2]},
        "categories": [
            {"id": 0, "name": "toys", "supercategory": "none"},
            {"id": 1, "name": "duck", "supercategory": "toys"},
            {"id": 2, "name": "car", "supercategory": "toys"},
        ],
        "images": [
            {"id": 0, "license": 1, "file_name": "a.jpg", "height": 60, "width": 80, "x": "kept"},
            {"id": 7, "license": 1, "file_name": "b.jpg", "height": 60, "width": 80},
        ],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 1, "bbox": [1.5, 2, 10, 20], "area": 200,
             "segmentation": [[1.5, 2, 11.5, 2, 11.5, 22]], "iscrowd": 0, "by": "ann"},
            {"id": 1, "image_id": 0, "category_id": 2, "bbox": [30, 30, 5, 5], "area": 25,
             "segmentation": [], "iscrowd": 0},
            {"id": 5, "image_id": 7, "category_id": 1, "bbox": [3, 3, 4, 4], "area": 16,
             "segmentation": [], "iscrowd": 0},
            {"id": 6, "image_id": 0, "category_id": 1, "bbox": [0, 0, 80, 9], "area": 16,
             "segmentation": {"counts": "x", "size": [60, 80]}, "iscrowd": 1},
        ],
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / FILE_NAME).write_text(json.dumps(coco))
    return coco


class FakeDetector:
    classes = ("other", "duck")

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, images: list[np.ndarray], threshold: float) -> list[Any]:
        self.calls += len(images)
        return [
            types.SimpleNamespace(
                xyxy=np.array([[-3, 2, 30, 40], [5, 5, 9, 9], [1, 1, 20, 20]], np.float32),
                class_id=np.array([1, 1, 0]),
                confidence=np.array([0.9, 0.1, 0.9]),
            )
            for _ in images
        ]
