"""duckdetect: teach an object detector a new object from five pictures.

    import duckdetect as dd
    run = dd.finetune("ssd_mobilenet_v2", dd.load_dataset("images"), out="results/duck")
    run.detector.predict(picture)  # supervision.Detections

Import it before TensorFlow's Keras is touched: the TF2 Object Detection API needs legacy Keras
(tf_keras), and TensorFlow decides which Keras it uses the first time `tf.keras` is read.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from duckdetect.errors import UserError

__version__ = "0.1.0"


def _use_legacy_keras() -> None:
    """Switch legacy Keras on, or say how to, if Keras 3 already answers for `tf.keras`."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    tensorflow = sys.modules.get("tensorflow")
    # Only a TensorFlow that is already loaded can have chosen; importing it here would cost seconds.
    # Its Keras 3 states a version, its legacy Keras none.
    if tensorflow is not None and getattr(tensorflow.keras, "__version__", "2").startswith("3"):
        raise UserError(
            "Keras 3 is already loaded and the Object Detection API needs legacy Keras: "
            "restart the runtime and run `import duckdetect` before anything that uses tf.keras"
        )


_use_legacy_keras()
# TensorFlow's C++ start-up notes (oneDNN, CUDA not found) drown the one line a user should read.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The public names and where they live; loaded on first use, because TensorFlow takes seconds.
_HOMES = {
    "annotate": "annotation.annotate",
    "annotated": "annotation.annotate",
    "require_annotations": "annotation.annotate",
    "is_colab": "utils.environment",
    "workspace": "notebook.environment",
    "Dataset": "data.dataset",
    "Sample": "data.dataset",
    "load_dataset": "data.loading",
    "load_training": "data.loading",
    "check_dataset": "data.check",
    "convert_dataset": "data.convert",
    "label_sheet": "data.contact_sheet",
    "split_dataset": "data.split",
    "download_roboflow": "data.sources",
    "describe_dataset": "data.loading",
    "load_picture": "imaging.io",
    "fetch": "models.weights",
    "list_bases": "models.weights",
    "TrainConfig": "training.config",
    "Run": "training.finetune",
    "finetune": "training.finetune",
    "Detector": "inference.detector",
    "load_detector": "inference.detector",
    "detect": "inference.detect",
    "evaluate": "evaluation.evaluate",
    "evaluate_run": "evaluation.evaluate",
    "write_report": "report.write",
}

if TYPE_CHECKING:
    from duckdetect.annotation.annotate import annotate, annotated, require_annotations
    from duckdetect.data.check import check_dataset
    from duckdetect.data.contact_sheet import label_sheet
    from duckdetect.data.convert import convert_dataset
    from duckdetect.data.dataset import Dataset, Sample
    from duckdetect.data.loading import describe_dataset, load_dataset, load_training
    from duckdetect.data.sources import download_roboflow
    from duckdetect.data.split import split_dataset
    from duckdetect.evaluation.evaluate import evaluate, evaluate_run
    from duckdetect.imaging.io import load_picture
    from duckdetect.inference.detect import detect
    from duckdetect.inference.detector import Detector, load_detector
    from duckdetect.models.weights import fetch, list_bases
    from duckdetect.notebook.environment import workspace
    from duckdetect.report.write import write_report
    from duckdetect.training.config import TrainConfig
    from duckdetect.training.finetune import Run, finetune
    from duckdetect.utils.environment import is_colab

__all__ = [
    "Dataset",
    "Detector",
    "Run",
    "Sample",
    "TrainConfig",
    "UserError",
    "annotate",
    "annotated",
    "check_dataset",
    "convert_dataset",
    "describe_dataset",
    "detect",
    "download_roboflow",
    "evaluate",
    "evaluate_run",
    "fetch",
    "finetune",
    "is_colab",
    "label_sheet",
    "list_bases",
    "load_dataset",
    "load_detector",
    "load_picture",
    "load_training",
    "require_annotations",
    "split_dataset",
    "workspace",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'duckdetect' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"duckdetect.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
