"""One small trained run and one file of it for all tests of exports, two scales and voting."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import pytest

import duckdetect as dd
from duckdetect.export import parity
from duckdetect.utils.files import one_at_a_time

NEEDS = 'pip install "duckdetect[export]"'


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder that all workers of pytest-xdist have: what costs a minute is made once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "export"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def run(shared, project_data):
    """Trained on the five ducks; two of them are called something else, so that classes overlap."""
    out = shared / "run"
    with one_at_a_time(out):
        if not out.exists():
            _train(project_data / "ducks" / "train", shared / "data", out)
    return out


def _train(ducks, data, out):
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(ducks, data)
    labels = data / "_annotations.coco.json"
    coco = json.loads(labels.read_text())
    coco["categories"].append({"id": 2, "name": "bath toy", "supercategory": "ducks"})
    for annotation in coco["annotations"]:
        annotation["category_id"] = 1 if annotation["image_id"] < 3 else 2
    labels.write_text(json.dumps(coco))
    config = dd.TrainConfig(steps=20, views=0, distractors=False, masks="no")
    dd.train(data, out=out, config=config, progress=False)


@pytest.fixture(autouse=True)
def _one_timing(monkeypatch):
    """The time a picture takes is not what is tested."""
    monkeypatch.setattr(parity, "_ROUNDS", 1)


@pytest.fixture(scope="session")
def original(run):
    """The run's detector, as it is loaded."""
    return dd.load_detector(run)


@pytest.fixture(scope="session")
def tflite(original, shared):
    """Exported to TFLite in float32."""
    pytest.importorskip("ai_edge_litert", reason=f"ai-edge-litert is not installed: {NEEDS}")
    from duckdetect.export.exporting import export_detector

    out, kept = shared / "duck.tflite", shared / "exported.pickle"
    with one_at_a_time(out):
        if not kept.exists():
            kept.write_bytes(pickle.dumps(export_detector(original, out, weights="float32")))
    return pickle.loads(kept.read_bytes())


@pytest.fixture(scope="session")
def images(project_data):
    """Five pictures as arrays, the last one large."""
    import numpy as np

    from duckdetect.imaging.io import list_images, load_image

    found = [load_image(p) for p in list_images(project_data / "ducks" / "test")[:5]]
    found[4] = np.kron(found[4], np.ones((3, 2, 1), np.uint8))[:-1, :-1]  # averaged at first
    return found
