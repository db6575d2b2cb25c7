"""duckdetect: train an object detector on a new object from five images.

    import duckdetect as dd
    run = dd.train("images", out="results/duck")
    run.detector.predict("a.jpg")                            # supervision.Detections
    dd.detect(run.detector, "new_images", out="results/duck/new")
    dd.evaluate("results/duck", "test")

`dd.data`, `dd.models` and `dd.notebook` hold what is needed less often.

Import it before TensorFlow's Keras is touched: the TF2 Object Detection API needs legacy Keras
(tf_keras), and TensorFlow decides which Keras it uses the first time `tf.keras` is read.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from duckdetect._version import __version__
from duckdetect.errors import DataWarning, UserError
from duckdetect.utils.lazy import lazy_names


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

# The public names and where they live.
_HOMES = {
    "annotate": "duckdetect.annotation.annotate",
    "train": "duckdetect.training.finetune",
    "finetune": "duckdetect.training.finetune",
    "evaluate": "duckdetect.evaluation.evaluate",
    "detect": "duckdetect.inference.detect",
    "write_report": "duckdetect.report.write",
    "load_dataset": "duckdetect.data.loading",
    "load_detector": "duckdetect.inference.detector",
    "Dataset": "duckdetect.data.dataset",
    "Sample": "duckdetect.data.dataset",
    "Detector": "duckdetect.inference.detector",
    "TrainConfig": "duckdetect.training.config",
    "TrainRun": "duckdetect.training.finetune",
    "Metrics": "duckdetect.evaluation.metrics",
    "Evaluation": "duckdetect.evaluation.evaluate",
}
# Names of 0.1.0 that work for one more release: where they live, and what to use instead.
_DEPRECATED = {
    "Run": ("duckdetect.training.finetune:TrainRun", "duckdetect.TrainRun"),
    "annotated": ("duckdetect.annotation.annotate:annotated", "duckdetect.notebook.annotated"),
    "require_annotations": (
        "duckdetect.annotation.annotate:require_annotations",
        "duckdetect.notebook.require_annotations",
    ),
    "is_colab": ("duckdetect.utils.environment:is_colab", "duckdetect.notebook.is_colab"),
    "workspace": ("duckdetect.notebook.environment:workspace", "duckdetect.notebook.workspace"),
    "load_training": ("duckdetect.data.loading:load_training", "duckdetect.data.load_training"),
    "check_dataset": ("duckdetect.data.check:check_dataset", "duckdetect.data.check_dataset"),
    "convert_dataset": (
        "duckdetect.data.convert:convert_dataset",
        "duckdetect.data.convert_dataset",
    ),
    "label_sheet": ("duckdetect.data.contact_sheet:label_sheet", "duckdetect.data.label_sheet"),
    "split_dataset": ("duckdetect.data.split:split_dataset", "duckdetect.data.split_dataset"),
    "download_roboflow": (
        "duckdetect.data.sources:download_roboflow",
        "duckdetect.data.download_roboflow",
    ),
    "describe_dataset": (
        "duckdetect.data.loading:describe_dataset",
        "duckdetect.data.describe_dataset",
    ),
    "load_picture": ("duckdetect.imaging.io:load_image", "duckdetect.data.load_image"),
    "fetch": ("duckdetect.models.weights:fetch", "duckdetect.models.fetch"),
    "list_bases": ("duckdetect.models.weights:list_bases", "duckdetect.models.list_bases"),
    "evaluate_run": ("duckdetect.evaluation.evaluate:evaluate_run", "duckdetect.evaluate"),
}

if TYPE_CHECKING:
    from duckdetect import data, models, notebook
    from duckdetect.annotation.annotate import annotate
    from duckdetect.data.dataset import Dataset, Sample
    from duckdetect.data.loading import load_dataset
    from duckdetect.evaluation.evaluate import Evaluation, evaluate
    from duckdetect.evaluation.metrics import Metrics
    from duckdetect.inference.detect import detect
    from duckdetect.inference.detector import Detector, load_detector
    from duckdetect.report.write import write_report
    from duckdetect.training.config import TrainConfig
    from duckdetect.training.finetune import TrainRun, finetune, train

__all__ = [
    "DataWarning",
    "Dataset",
    "Detector",
    "Evaluation",
    "Metrics",
    "Sample",
    "TrainConfig",
    "TrainRun",
    "UserError",
    "__version__",
    "annotate",
    "data",
    "detect",
    "evaluate",
    "finetune",
    "load_dataset",
    "load_detector",
    "models",
    "notebook",
    "train",
    "write_report",
]

_get, _ = lazy_names(__name__, _HOMES, _DEPRECATED)


def __getattr__(name: str) -> object:
    if name in ("data", "models", "notebook"):
        return importlib.import_module(f"duckdetect.{name}")
    return _get(name)


def __dir__() -> list[str]:
    return __all__
