"""A detector's weights made part of its graph, so that TensorFlow can simplify the two together.

With weights that cannot change any more, normalisation is folded into the convolutions before it, and
there are no variables to restore: a saved SSD MobileNet V2 finds the same in a tenth less time and loads
in a third of it (benchmarks/detect.py).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

# A SavedModel's graph must stay below 2 GB, and is in memory twice while it is written. What larger
# models gain is small beside their convolutions.
_MAX_BYTES = 100_000_000


def with_constants(functions: Any) -> Any:
    """A detector's functions with constants for variables; the same ones if it is large.

    Args:
        functions: A `tf.Module` with `prepare` and `detect`, and `prepare_fine` and `detect_fine`
            where it looks twice, each of one signature.
    """
    variables = getattr(functions, "weights", ())
    n_bytes = sum(v.dtype.size * v.shape.num_elements() for v in variables)
    if not 0 < n_bytes <= _MAX_BYTES:
        return functions
    copy = tf.Module()
    copy.prepare = functions.prepare
    copy.detect = _constant(functions.detect)
    if hasattr(functions, "detect_fine"):
        copy.prepare_fine = functions.prepare_fine
        copy.detect_fine = _constant(functions.detect_fine)
    return copy


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No stderr: TensorFlow's optimiser tells of its sessions there, whatever log level is set."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _constant(function: Any) -> Any:
    concrete = function.get_concrete_function()
    with _silence():
        constant = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    signature = concrete.structured_input_signature[0]

    @tf.function(input_signature=signature)
    def run(*inputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(constant(*inputs))

    return run
