"""Small labelled folders for tests, in each format, and pictures to put into them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE_HW = (60, 80)


def noise(size_hw: tuple[int, int] = SIZE_HW, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, channels), np.uint8)


def put_image(path: Path, size_hw: tuple[int, int] = SIZE_HW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Each looks different, as two that are the same in two splits are a leak.
    seed = zlib.crc32("/".join(path.parts[-3:]).encode())
    Image.fromarray(noise(size_hw, seed=seed)).save(path)
    return path


def annotation(bbox: Any = (10, 20, 30, 15), **changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": bbox, "iscrowd": 0, **changes}


def coco_of(names: Sequence[str], annotations: Sequence[Any]) -> dict[str, Any]:
    height, width = SIZE_HW
    return {
        "images": [
            {"id": i, "file_name": name, "height": height, "width": width}
            for i, name in enumerate(names, 1)
        ],
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "duck", "supercategory": "toys"}],
    }


def put_coco(
    folder: Path,
    annotations: Sequence[Any] | None = None,
    names: Sequence[str] = ("a.jpg",),
    file: str = "_annotations.coco.json",
    **changes: Any,
) -> Path:
    """One picture and one box by default; `changes` replace keys of the JSON's top level."""
    for name in names:
        put_image(folder / name)
    content = coco_of(names, [annotation()] if annotations is None else annotations) | changes
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(content), encoding="utf-8")
    return folder


def voc_xml(
    filename: str = "a.jpg",
    box: Sequence[Any] = (10, 20, 40, 35),
    name: str = "duck",
    size_hw: tuple[int, int] = SIZE_HW,
    difficult: int = 0,
) -> str:
    corners = "".join(
        f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<annotation><filename>{filename}</filename><size><width>{size_hw[1]}</width>"
        f"<height>{size_hw[0]}</height><depth>3</depth></size><object><name>{name}</name>"
        f"<difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object></annotation>"
    )


def put_yolo(
    folder: Path,
    lines: str = "0 0.3125 0.458333 0.375 0.25\n",
    yaml: str = "names: [duck]\ntrain: ../train/images\nval: ../valid/images\n",
    splits: Sequence[str] = ("train",),
) -> Path:
    """Roboflow's layout."""
    for split in splits:
        put_image(folder / split / "images" / f"{split}.jpg")
        (folder / split / "labels").mkdir(parents=True)
        (folder / split / "labels" / f"{split}.txt").write_text(lines, encoding="utf-8")
    (folder / "data.yaml").write_text(yaml, encoding="utf-8")
    return folder
