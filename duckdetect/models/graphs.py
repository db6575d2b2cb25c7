"""Traced functions: without AutoGraph, with the weights as constants where that pays."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from duckdetect.models.interfaces import BaseModel, HeadInputs, TrainPart, TwoStageModel
from duckdetect.utils.terminal import silenced

# A SavedModel's graph must stay below 2 GB, and is in memory twice while it is written. What larger
# models gain is small beside their convolutions.
_MAX_BYTES = 100_000_000

traced: Callable[..., Any] = functools.partial(tf.function, autograph=False)

"""`tf.function` for code without Python's control flow on tensors."""


@contextlib.contextmanager
def same_sums() -> Iterator[None]:
    """While the block runs, TensorFlow adds in the same order each time, so that seeds decide all.

    On processors the gradient of cropped regions is else added up as its threads come. On a GPU that
    gradient has no such order, and asking for it would be an error: nothing is changed there.
    """
    from tensorflow.python.framework import config  # the way back is not public

    if tf.config.list_physical_devices("GPU") or config.is_op_determinism_enabled():
        yield
        return
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        config.disable_op_determinism()


def with_constants(function: Any, variables: Sequence[tf.Variable]) -> Any:
    """A traced function with constants for the variables it reads; the same one if the model is large.

    Args:
        function: Of one signature, and of positional arguments only.
        variables: The model's, which decide whether it is large.
    """
    n_bytes = sum(v.dtype.size * v.shape.num_elements() for v in variables)
    return function if n_bytes > _MAX_BYTES else frozen_copy(function)


def freeze(concrete: Any) -> Any:
    """A concrete function with constants for its variables."""
    with silenced():
        return convert_variables_to_constants_v2(concrete, lower_control_flow=False)


def frozen_copy(function: Any) -> Any:
    """A traced function with the present values of its variables, whatever becomes of these."""
    concrete = function.get_concrete_function()
    constant = freeze(concrete)

    @traced(input_signature=concrete.structured_input_signature[0])
    def run(*inputs: tf.Tensor) -> Any:
        return tf.nest.pack_sequence_as(concrete.structured_outputs, constant(*inputs))

    return run


FrozenPart = Any  # a traced function: inputs -> box activations (or none), class activations
FrozenUpper = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]


def frozen_part(base: BaseModel, part: TrainPart, masks: bool = False) -> FrozenPart:
    """The base's frozen part as one traced function of inputs (B, h, w, 3) float32.

    It returns the inputs of the box head and of the class head, a map for each level; the first list
    is empty where both heads read the same. With `masks` come the maps below the cut that a mask head
    reads. Of a small model it holds the weights as they are now.
    """
    # Where there is a fine input too, one graph serves both.
    height, width = base.input_hw if base.high_res_hw is None else (None, None)

    @traced(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32)])
    def run(inputs: tf.Tensor) -> tuple[list[tf.Tensor], ...]:
        features = base.lower(inputs, part)
        box = [] if features.box is features.classes else features.box
        return (box, features.classes, *([list(features.masks)] if masks else []))

    return with_constants(run, base.variables())


def frozen_class_inputs(base: BaseModel, frozen: FrozenPart, part: TrainPart) -> FrozenUpper:
    """The upper part as it is now: from the activations at the cut to the class head's inputs.

    Args:
        base: The base model.
        frozen: `frozen_part(base, part)`.
        part: The level that is trained.
    """
    if part == "heads":
        return lambda activations: list(activations)
    classes = frozen.get_concrete_function().structured_outputs[1]
    fixed = base.high_res_hw is None
    signature = [
        tf.TensorSpec(spec.shape if fixed else [None, None, None, spec.shape[-1]], tf.float32)
        for spec in classes
    ]

    @traced(input_signature=signature)
    def run(*activations: tf.Tensor) -> list[tf.Tensor]:
        maps = list(activations)
        return base.upper(HeadInputs(maps, maps), part).classes

    copy = frozen_copy(run)
    return lambda activations: list(copy(*activations))


def prepare_function(
    base: BaseModel | TwoStageModel,
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """The base's `prepare` as one traced function for all image sizes."""
    signature = [tf.TensorSpec([None, None, 3], tf.uint8)]
    prepare: Callable[..., Any] = traced(base.prepare, input_signature=signature)
    return prepare
