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
    "annotate": "annotating",
    "annotated": "annotating",
    "require_annotations": "annotating",
    "is_colab": "colab",
    "workspace": "colab",
    "Dataset": "datasets",
    "Sample": "datasets",
    "load_dataset": "datasets",
    "load_training": "datasets",
    "check_dataset": "checking",
    "convert_dataset": "converting",
    "label_sheet": "label_sheets",
    "split_dataset": "splitting",
    "download_roboflow": "roboflow_export",
    "describe_dataset": "datasets",
    "load_picture": "pictures",
    "fetch": "zoo",
    "list_bases": "zoo",
    "TrainConfig": "config",
    "Run": "finetuning",
    "finetune": "finetuning",
    "Detector": "detector",
    "load_detector": "detector",
    "detect": "detecting",
    "evaluate": "evaluation",
    "evaluate_run": "evaluation_runs",
    "write_report": "report",
}

if TYPE_CHECKING:
    from duckdetect.annotating import annotate, annotated, require_annotations
    from duckdetect.checking import check_dataset
    from duckdetect.colab import is_colab, workspace
    from duckdetect.config import TrainConfig
    from duckdetect.converting import convert_dataset
    from duckdetect.datasets import (
        Dataset,
        Sample,
        describe_dataset,
        load_dataset,
        load_training,
    )
    from duckdetect.detecting import detect
    from duckdetect.detector import Detector, load_detector
    from duckdetect.evaluation import evaluate
    from duckdetect.evaluation_runs import evaluate_run
    from duckdetect.finetuning import Run, finetune
    from duckdetect.label_sheets import label_sheet
    from duckdetect.pictures import load_picture
    from duckdetect.report import write_report
    from duckdetect.roboflow_export import download_roboflow
    from duckdetect.splitting import split_dataset
    from duckdetect.zoo import fetch, list_bases

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
