"""TensorFlow functions as this house traces them: read as they stand, and with constants for weights.

    @traced(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    def double(points): ...

    frozen = with_constants(run, base.variables())

AutoGraph would read the source of everything that is called, layer by layer, to find Python's `if` and
`for` on tensors. There are none here nor in the Object Detection API, and looking for them takes seconds.

Weights that cannot change any more are constants: there are no hundreds of variables to write and to
restore one by one, which takes a saved SSD MobileNet V2 2 s less to write and 0.5 s less to load.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

# A SavedModel's graph must stay below 2 GB, and is in memory twice while it is written. What larger
# models gain is small beside their convolutions.
_MAX_BYTES = 100_000_000

traced: Callable[..., Any] = functools.partial(tf.function, autograph=False)
"""`tf.function` for code without Python's control flow on tensors."""


def with_constants(function: Any, variables: Sequence[tf.Variable]) -> Any:
    """A traced function with constants for the variables it reads; the same one if the model is large.

    Args:
        function: Of one signature, and of positional arguments only.
        variables: The model's, which decide whether it is large.
    """
    n_bytes = sum(v.dtype.size * v.shape.num_elements() for v in variables)
    if n_bytes > _MAX_BYTES:
        return function
    concrete = function.get_concrete_function()
    with _silence():
        constant = convert_variables_to_constants_v2(concrete, lower_control_flow=False)

    @traced(input_signature=concrete.structured_input_signature[0])
    def run(*inputs: tf.Tensor) -> Any:
        return tf.nest.pack_sequence_as(concrete.structured_outputs, constant(*inputs))

    return run


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
