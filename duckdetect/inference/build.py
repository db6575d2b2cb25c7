"""Builds a detector from a trained base model: its SavedModel's functions."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from duckdetect.inference.detector import DEFAULT_THRESHOLD, Detector
from duckdetect.models.graphs import FrozenPart, prepare_function, traced
from duckdetect.models.interfaces import (
    BaseModel,
    HeadInputs,
    HeadOutputs,
    TrainPart,
    TwoStageModel,
)
from duckdetect.models.mask_head import MaskHead
from duckdetect.models.postprocess import ConfusableClasses


def export_detector(
    base: BaseModel,
    frozen: FrozenPart,
    part: TrainPart,
    classes: Sequence[str],
    threshold: float = DEFAULT_THRESHOLD,
    refine: bool = False,
    high_res: bool = False,
    confusables: ConfusableClasses | None = None,
    mask_head: MaskHead | None = None,
) -> Detector:
    """Make a detector of a base model whose heads are trained.

    Args:
        base: The base model; the detector shares its variables.
        frozen: The traced frozen part that trained it, so that it is not traced again.
        part: What `frozen` leaves to the heads.
        classes: Names by class id.
        threshold: The default score threshold.
        refine: Whether detections are refined by box voting and Soft-NMS rescoring.
        high_res: Whether refined detections come from multi-scale inference, where the base gains by it.
        confusables: The base classes that suppress refined detections.
        mask_head: Makes masks of the maps that detecting comes by, of the high-resolution input where
            there is one; `frozen` gives its maps as well then.
    """

    def detections(inputs: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], list[tf.Tensor]]:
        base_scale, maps = heads(frozen(inputs))
        refined = base.refined_detections if refine else lambda said: base.detections(*said[:2])
        return refined(base_scale), maps

    def heads(found: tuple[list[tf.Tensor], ...]) -> tuple[HeadOutputs, list[tf.Tensor]]:
        box, classes, *below = found
        inputs = base.upper(HeadInputs(box or classes, classes, *below), part)
        outputs = HeadOutputs(
            base.box_codes(inputs.box),
            base.class_logits(inputs.classes),
            confusables.suppression_factor(classes) if refine and confusables else None,
        )
        return outputs, list(inputs.masks)

    functions = tf.Module()
    functions.prepare = prepare_function(base)
    one = [tf.TensorSpec([None, *base.input_hw, 3], tf.float32)]
    functions.detect = traced(lambda inputs: detections(inputs)[0], input_signature=one)
    if mask_head is not None:
        functions.detect_masks = traced(detections, input_signature=one)
    high_res_hw = base.high_res_hw if refine and high_res else None
    if high_res_hw is not None:
        both = [tf.TensorSpec([None, *hw, 3], tf.float32) for hw in (base.input_hw, high_res_hw)]

        def fused(
            inputs: tf.Tensor, high_res: tf.Tensor
        ) -> tuple[tuple[tf.Tensor, ...], list[tf.Tensor]]:
            fine, maps = heads(frozen(high_res))
            return base.refined_detections(heads(frozen(inputs))[0], fine), maps

        functions.detect_fine = traced(lambda *both: fused(*both)[0], input_signature=both)
        if mask_head is not None:
            functions.detect_fine_masks = traced(fused, input_signature=both)
        functions.prepare_fine = traced(
            base.prepare_fine, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)]
        )
    # Named so that SavedModel finds them: Keras layers are left out, they need the API to load. What
    # `frozen` has as constants need not be written twice.
    last = [functions.detect if high_res_hw is None else functions.detect_fine]
    every = [*base.variables(), *(confusables.variables if confusables else ())]
    if mask_head is not None:
        last = [functions.detect_masks if high_res_hw is None else functions.detect_fine_masks]
        maps = last[0].get_concrete_function().structured_outputs[1]
        functions.masks = traced(
            mask_head.probability,
            input_signature=[
                [tf.TensorSpec([None, None, None, m.shape[-1]], tf.float32) for m in maps],
                tf.TensorSpec([None, 4], tf.float32),
                tf.TensorSpec([None], tf.int32),
            ],
        )
        last.append(functions.masks)
        every += mask_head.variables
    read = {v.ref() for f in last for v in f.get_concrete_function().graph.variables}
    functions.weights = [v for v in every if v.ref() in read]  # the graph keeps them in no order
    assert len(functions.weights) == len(read), "a variable that the base does not name"
    detector = Detector(
        functions,
        classes,
        base.name,
        base.input_hw,
        threshold,
        has_masks=mask_head is not None,
        high_res_hw=high_res_hw,
    )
    detector.warm_up()
    return detector


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
