"""Imports the TF2 Object Detection API on today's TensorFlow.

Its builders import `tensorflow_io` for one colour conversion of DeepMAC, which no model here uses,
and whose wheels do not load beside today's TensorFlow: an empty module stands in where none is
installed.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import types
import warnings

import duckdetect  # noqa: F401  (switches legacy Keras on before Keras is touched)
from duckdetect.errors import UserError

if "tensorflow_io" not in sys.modules and importlib.util.find_spec("tensorflow_io") is None:
    sys.modules["tensorflow_io"] = types.ModuleType("tensorflow_io")

try:
    with warnings.catch_warnings():
        # The API is no longer maintained: its deprecations are known and not the user's to mend.
        warnings.simplefilter("ignore")
        from google.protobuf import text_format
        from object_detection.builders import model_builder
        from object_detection.core import box_list, box_list_ops, target_assigner
        from object_detection.protos import model_pb2, pipeline_pb2
except ModuleNotFoundError as error:
    raise UserError(
        f"the TF2 Object Detection API cannot be imported ({error}): run "
        "`pip install --no-deps --require-hashes -r requirements-odapi.txt`"
    ) from error

# The API logs each layer that it builds at INFO, through absl; errors still come through.
logging.getLogger("absl").setLevel(logging.ERROR)

__all__ = [
    "box_list",
    "box_list_ops",
    "model_builder",
    "model_pb2",
    "pipeline_pb2",
    "target_assigner",
    "text_format",
]
