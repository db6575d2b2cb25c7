"""One small trained run and one file of it for all tests of exports, two scales and voting."""

from __future__ import annotations

import json
import shutil

import pytest

import duckdetect as dd
from duckdetect.export import parity

NEEDS = 'pip install "duckdetect[export]"'


@pytest.fixture(scope="session")
def run(tmp_path_factory, project_data):
    """Trained on the five ducks; two of them are called something else, so that classes overlap."""
    folder = tmp_path_factory.mktemp("export")
    shutil.copytree(project_data / "ducks" / "train", folder / "data")
    labels = folder / "data" / "_annotations.coco.json"
    coco = json.loads(labels.read_text())
    coco["categories"].append({"id": 2, "name": "bath toy", "supercategory": "ducks"})
    for annotation in coco["annotations"]:
        annotation["category_id"] = 1 if annotation["image_id"] < 3 else 2
    labels.write_text(json.dumps(coco))
    config = dd.TrainConfig(steps=20, views=0, distractors=False)
    dd.train(folder / "data", out=folder / "run", config=config, progress=False)
    return folder / "run"


@pytest.fixture(autouse=True)
def _one_timing(monkeypatch):
    """The time a picture takes is not what is tested."""
    monkeypatch.setattr(parity, "_ROUNDS", 1)


@pytest.fixture(scope="session")
def original(run):
    """The run's detector, as it is loaded."""
    return dd.load_detector(run)


@pytest.fixture(scope="session")
def tflite(original, tmp_path_factory):
    """Exported to TFLite in float32."""
    pytest.importorskip("ai_edge_litert", reason=f"ai-edge-litert is not installed: {NEEDS}")
    from duckdetect.export.exporting import export_detector

    out = tmp_path_factory.mktemp("tflite") / "duck.tflite"
    return export_detector(original, out, weights="float32")


@pytest.fixture(scope="session")
def images(project_data):
    """Five pictures as arrays, the last one large."""
    import numpy as np

    from duckdetect.imaging.io import list_images, load_image

    found = [load_image(p) for p in list_images(project_data / "ducks" / "test")[:5]]
    found[4] = np.kron(found[4], np.ones((3, 2, 1), np.uint8))[:-1, :-1]  # averaged at first
    return found
