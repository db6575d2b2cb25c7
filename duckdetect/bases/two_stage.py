"""What Faster and Mask R-CNN offer to the rest of the house, and what they learn from.

Boxes are y1x1y2x2, as in base.py: parts of the model's input, or pixels of it where said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from duckdetect.bases.base import LayerGroup, TrainPart

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


@dataclass(frozen=True)
class Sizes:
    """Changes of a two-stage model's sizes, for smaller machines; None leaves the model's own.

    Attributes:
        input_size: The longer side of its input, pixels.
        proposals: Boxes that its first stage hands on.
        proposal_batch: Of these, how many of a picture are trained on.
    """

    input_size: int | None = None
    proposals: int | None = None
    proposal_batch: int | None = None


class LastLayer(NamedTuple):
    """A class-specific layer's weights: kernel (..., c) and bias (c,), c counting class by class."""

    kernel: np.ndarray
    bias: np.ndarray


class Truth(NamedTuple):
    """What one picture holds, in parts of the model's input, for a two-stage model.

    Attributes:
        y1x1y2x2: (N, 4) float32.
        class_id: (N,) int32.
        masks: (N, h, w) uint8, the size of the model's input; zeros where a box has none.
        has_mask: (N,) bool, whether the box's mask is known.
    """

    y1x1y2x2: tf.Tensor
    class_id: tf.Tensor
    masks: tf.Tensor
    has_mask: tf.Tensor


class ProposalTargets(NamedTuple):
    """What a picture's P sampled proposals shall predict; the same with an axis B for B pictures.

    Attributes:
        y1x1y2x2: (P, 4) float32, the proposals, parts of the input; zeros where there are fewer.
        valid: (P,) float32, 1 for a proposal, 0 for none.
        class_index: (P,) int32, the class from 1, or 0 where nothing is to be found.
        class_weight: (P,) float32.
        box_code: (P, 4) float32, the box as the engine encodes it against the proposal.
        box_weight: (P,) float32, above 0 where the proposal is matched with a box.
        mask_target: (M, mask height, mask width) float32, 0 to 1, of the first M proposals.
        mask_weight: (M,) float32, above 0 where the proposal is matched with a box of known mask.
    """

    y1x1y2x2: tf.Tensor
    valid: tf.Tensor
    class_index: tf.Tensor
    class_weight: tf.Tensor
    box_code: tf.Tensor
    box_weight: tf.Tensor
    mask_target: tf.Tensor
    mask_weight: tf.Tensor


class TwoStageModel(Protocol):
    """A detector that proposes boxes first and looks at each of them then.

    Attributes:
        name: Its name in `duckdetect bases`.
        num_classes: The new classes.
        input_hw: Its input's size, pixels.
        n_proposals: Boxes that the first stage hands on in detection.
        n_sampled: P, how many of a picture's proposals are trained on.
        n_positive: M, how many of these may be matched with a box.
        has_masks: Whether it finds masks.
        mask_hw: Their size.
        feature_depth: Channels of the first stage's map.
        deep_shape: (h, w, c), what the second stage's extractor makes of a proposal.
    """

    name: str
    num_classes: int
    input_hw: tuple[int, int]
    n_proposals: int
    n_sampled: int
    n_positive: int
    has_masks: bool
    mask_hw: tuple[int, int]
    feature_depth: int
    deep_shape: tuple[int, ...]

    def prepare(self, picture: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As `base.BaseModel.prepare`."""
        ...

    def detect(
        self,
        inputs: tf.Tensor,
        filled_hw: tf.Tensor,
        threshold: tf.Tensor,
        mask_threshold: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Find objects in one picture.

        Args:
            inputs: (1, h, w, 3) float32.
            filled_hw: (2,) float32, the parts of the input that the picture fills.
            threshold: Scalar, the least score.
            mask_threshold: Scalar, not below `threshold`: masks, the costly part, are made from this
                score on.

        Returns:
            y1x1y2x2 (D, 4), parts of the input; score (D,), falling; class_id (D,) int32; and, of a
            model with masks, the first detections' probabilities (at most D, mask height, mask width)
            within their boxes.
        """
        ...

    def variables(self) -> list[tf.Variable]:
        """All variables, in a fixed order."""
        ...

    def trained_variables(self, part: TrainPart, masks: bool = True) -> list[tf.Variable]:
        """The variables that training `part` changes; without `masks` the mask head stays."""
        ...

    def summary(self, part: TrainPart, masks: bool = True) -> list[LayerGroup]:
        """What is trained and what is frozen, group by group."""
        ...
