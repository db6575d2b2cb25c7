"""The two interfaces of base models: one-stage (SSD family) and two-stage (Faster and Mask R-CNN).

Everything outside `models/tfod/` talks to a base through these classes alone. Boxes here are y1, x1, y2,
x2, normalised by the model's input; class ids count from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

NO_BOXES = np.zeros((0, 4), np.float32)

TrainPart = Literal["heads", "towers", "top", "deep", "second-stage", "all"]

"""What is trained. SSD family: "heads", the last layer of the box and class heads; "towers", the layers
that lead to them as well; "top", also the extra layers or the feature pyramid and, without a pyramid,
the upper blocks of the backbone; "deep", more of the backbone; "all". Faster and Mask R-CNN: "heads", the
box, class and mask heads; "second-stage", the extractor of proposals' features as well; or "all"."""


@dataclass(frozen=True)
class LayerGroup:
    """A part of a model, as the summary before training lists it.

    Attributes:
        name: What the part is.
        n_layers: How many layers hold its weights.
        n_trained: Weights that training changes.
        n_frozen: Weights that stay as they are.
    """

    name: str
    n_layers: int
    n_trained: int
    n_frozen: int

    @classmethod
    def count(cls, name: str, group: Sequence[tf.Variable], trained: set[int]) -> LayerGroup:
        """Count a group's weights; `trained` holds the `id` of each trained variable."""
        sizes = [(int(np.prod(v.shape)), id(v) in trained) for v in group]
        return cls(
            name,
            len({v.name.rpartition("/")[0] for v in group}),
            sum(size for size, is_trained in sizes if is_trained),
            sum(size for size, is_trained in sizes if not is_trained),
        )


@dataclass(frozen=True)
class Targets:
    """What each of an image's A anchors shall predict.

    Attributes:
        class_index: (A,) int32, the class from 0, or -1 where nothing is to be found.
        class_weight: (A,) float32, the anchor's weight in the classification loss.
        box_code: (A, 4) float32, the box as the engine encodes it against its anchor.
        box_weight: (A,) float32, above 0 where the anchor is matched with a box.
    """

    class_index: np.ndarray
    class_weight: np.ndarray
    box_code: np.ndarray
    box_weight: np.ndarray


@dataclass(frozen=True)
class Level:
    """One feature map: its grid of cells and the anchors in each cell.

    Anchors are numbered level by level, then by row, column and anchor within the cell.
    """

    height: int
    width: int
    anchors_per_cell: int

    @property
    def n_anchors(self) -> int:
        """How many anchors the level holds."""
        return self.height * self.width * self.anchors_per_cell


@dataclass(frozen=True)
class HeadInputs:
    """What the trained part reads for B views: for each level a tensor (B, h, w, c) float32.

    `box` and `classes` are the same list where both heads read the same features. `masks` are the maps
    that a mask head crops regions from, finest first, as far as they have been computed.
    """

    box: list[tf.Tensor]
    classes: list[tf.Tensor]
    masks: Sequence[tf.Tensor] = ()


@dataclass(frozen=True)
class ClassHead:
    """The base's own class head, trained on its own C classes.

    Attributes:
        kernels: For each level (k, k, c, q, C + 1) float32, background first.
        biases: For each level (q, C + 1) float32.
        groups: The kind of thing that each class is, C names; None where it is not known.
    """

    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    groups: tuple[str, ...] | None = None


class HeadOutputs(NamedTuple):
    """The heads' outputs for B inputs.

    Attributes:
        box_codes: (B, A, 4) float32.
        class_logits: (B, A, C + 1) float32, column 0 is the background.
        suppression_factor: (B, A, C) float32 from 0 to 1, what the classes' scores are
            multiplied by; None for 1.
    """

    box_codes: tf.Tensor
    class_logits: tf.Tensor
    suppression_factor: tf.Tensor | None = None


class BaseModel(Protocol):
    """A detector whose last layers can be trained on cached features.

    Attributes:
        name: Its name in `duckdetect bases`.
        num_classes: The new classes.
        input_hw: Its input's size, pixels.
        high_res_hw: The size of a larger input that shows small objects, or None where the base
            one does.
        levels: Its feature maps.
        box_kernel_size: The side of the box head's kernel, cells.
        own_class_head: The class head that it was published with, or None where it has another form
            than one convolution a level.
        mask_depths: The depths of the maps for masks (`HeadInputs.masks`).
        mask_pyramid: Whether these are a pyramid, each region's level chosen by its size; else a region
            is cropped from all of them.
    """

    name: str
    num_classes: int
    input_hw: tuple[int, int]
    mask_depths: tuple[int, ...]
    mask_pyramid: bool
    high_res_hw: tuple[int, int] | None
    levels: tuple[Level, ...]
    box_kernel_size: int
    own_class_head: ClassHead | None

    def prepare(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Turn an image (H, W, 3) uint8 into the model's input and its filled part.

        Returns:
            The input (h, w, 3) float32, and (2,) float32: the parts of the input's height and width
            that the image fills (below 1 where the model pads).
        """
        ...

    def prepare_fine(self, image: tf.Tensor) -> tf.Tensor:
        """An image (H, W, 3) uint8 as the high-resolution input (h, w, 3) float32, which it fills."""
        ...

    def lower(self, inputs: tf.Tensor, part: TrainPart) -> HeadInputs:
        """Run what stays frozen below the cut on inputs (B, h, w, 3) float32, base scale or high-res.

        Returns:
            The activations at the cut: at "heads" and "towers" a map for each level, further down
            what the upper part needs, in a fixed order.
        """
        ...

    def upper(self, activations: HeadInputs, part: TrainPart) -> HeadInputs:
        """Run what is trained above the cut, up to the inputs of the last layers."""
        ...

    def box_codes(self, features: Sequence[tf.Tensor]) -> tf.Tensor:
        """Run the box head's last layer; (B, A, 4) float32."""
        ...

    def class_logits(self, features: Sequence[tf.Tensor]) -> tf.Tensor:
        """Run the class head's last layer; (B, A, C + 1) float32, column 0 is the background."""
        ...

    def set_high_res(self, object_side: float) -> None:
        """Choose the high-resolution input for objects of this median side, of the image's side."""
        ...

    def patch_codes(self, patches: Sequence[tf.Tensor]) -> tf.Tensor:
        """Run the box head's last layer on single cells.

        Args:
            patches: For each level (B, P, k, k, c) float32: the box head's inputs around P cells.

        Returns:
            (B, M, 4) float32, M being the anchors of all these cells.
        """
        ...

    def assign(
        self,
        y1x1y2x2: np.ndarray,
        class_id: np.ndarray,
        hard_negatives: np.ndarray = NO_BOXES,
        whole: bool = True,
    ) -> Targets:
        """Match boxes with the anchors.

        Args:
            y1x1y2x2: (N, 4), normalised to the input.
            class_id: (N,).
            hard_negatives: (H, 4), where there is none of the objects, though a detector said so.
            whole: Whether the image is known beyond the boxes and hard negatives; if not, anchors
                that lie in none of them are neither object nor background: they have no weight.
        """
        ...

    def losses(
        self,
        box_codes: tf.Tensor,
        class_logits: tf.Tensor,
        box_target: tf.Tensor,
        box_weight: tf.Tensor,
        class_index: tf.Tensor,
        class_weight: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The box loss and the class loss of a batch, two scalars.

        Args:
            box_codes: (B, M, 4), any M anchors that hold all matched ones.
            class_logits: (B, A, C + 1).
            box_target: (B, M, 4).
            box_weight: (B, M).
            class_index: (B, A) int32.
            class_weight: (B, A).
        """
        ...

    def detections(
        self, box_codes: tf.Tensor, class_logits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Decode and suppress: y1x1y2x2 (B, D, 4), score (B, D), class_id (B, D), count (B,)."""
        ...

    def refined_detections(
        self, base_scale: HeadOutputs, high_res: HeadOutputs | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """As `detections`, with box voting, Soft-NMS rescoring and scale fusion (postprocess.py).

        Args:
            base_scale: Of the inputs.
            high_res: Of the high-resolution inputs; their small boxes are taken as well.
        """
        ...

    def set_class_weights(
        self, class_id: int, kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray]
    ) -> None:
        """Set one new class's part of the class head.

        Args:
            class_id: The new class.
            kernels: For each level (k, k, c, q).
            biases: For each level (q,).
        """
        ...

    def class_columns(self) -> list[tuple[tf.Variable, int]]:
        """The class head's variables with a column for each class, the background's first.

        Each with q, the anchors in a cell: its last axis counts anchor by anchor, (q, C + 1).
        """
        ...

    def trained_variables(self, part: TrainPart) -> list[tf.Variable]:
        """The variables that training changes, in a fixed order."""
        ...

    def variables(self) -> list[tf.Variable]:
        """All variables, in a fixed order."""
        ...


@dataclass(frozen=True)
class Sizes:
    """Changes of a two-stage model's sizes, for smaller machines; None leaves the model's own.

    Attributes:
        input_size: The longer side of its input, pixels.
        proposals: Boxes that its first stage hands on.
        proposal_batch: Of these, how many of an image are trained on.
    """

    input_size: int | None = None
    proposals: int | None = None
    proposal_batch: int | None = None


class LastLayer(NamedTuple):
    """A class-specific layer's weights: kernel (..., c) and bias (c,), c counting class by class."""

    kernel: np.ndarray
    bias: np.ndarray


class GroundTruth(NamedTuple):
    """What one image holds, in parts of the model's input, for a two-stage model.

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
    """What an image's P sampled proposals shall predict; the same with an axis B for B images.

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
    """A two-stage detector: a proposal network, then a head on each proposal.

    Attributes:
        name: Its name in `duckdetect bases`.
        num_classes: The new classes.
        input_hw: Its input's size, pixels.
        n_proposals: Boxes that the first stage hands on in detection.
        n_sampled: P, how many of an image's proposals are trained on.
        n_positive: M, how many of these may be matched with a box.
        has_masks: Whether it finds masks.
        mask_hw: Their size.
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
    deep_shape: tuple[int, ...]

    def prepare(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As `BaseModel.prepare`."""
        ...

    def detect(
        self,
        inputs: tf.Tensor,
        filled_hw: tf.Tensor,
        threshold: tf.Tensor,
        mask_threshold: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Find objects in one image.

        Args:
            inputs: (1, h, w, 3) float32.
            filled_hw: (2,) float32, the parts of the input that the image fills.
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
