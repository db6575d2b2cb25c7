"""Makes a `Detector` of a trained Faster or Mask R-CNN."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from duckdetect.bases.two_stage import TwoStageModel
from duckdetect.detector import DEFAULT_THRESHOLD, Detector
from duckdetect.features import prepare_function
from duckdetect.graphs import traced


def export_two_stage(
    base: TwoStageModel, classes: Sequence[str], threshold: float = DEFAULT_THRESHOLD
) -> Detector:
    """Make a detector of a trained Faster or Mask R-CNN; it shares the base's variables."""
    signature = [
        tf.TensorSpec([1, *base.input_hw, 3], tf.float32),
        tf.TensorSpec([2], tf.float32),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.float32),
    ]
    functions = tf.Module()
    functions.prepare = prepare_function(base)
    functions.detect = traced(base.detect, input_signature=signature)
    functions.weights = base.variables()
    return Detector(
        functions,
        classes,
        base.name,
        base.input_hw,
        threshold,
        two_stage=True,
        has_masks=base.has_masks,
    )
