"""What every base model offers to the rest of the house, whatever engine it comes from.

A base model is cut in two: a frozen part that turns pictures into features, run once for each view
of a picture, and the heads that are trained on those features. Boxes are normalised to the model's
input as (y1, x1, y2, x2) in here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

TrainPart = Literal["heads", "towers", "second-stage", "all"]
"""What is trained. SSD family: "heads", the last layer of the box and class heads, or "towers", the
layers that lead to them as well. Faster and Mask R-CNN: "heads", the box, class and mask heads;
"second-stage", the extractor of proposals' features as well; or "all"."""

PARTS: dict[str, tuple[TrainPart, ...]] = {
    "ssd": ("heads", "towers"),
    "rcnn": ("heads", "second-stage", "all"),
}
"""What of each family can be trained."""


@dataclass(frozen=True)
class LayerGroup:
    """A part of a model, as the summary before training tells it.

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
    """What each of a picture's A anchors shall predict.

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

    `box` and `classes` are the same list where both heads read the same features.
    """

    box: list[tf.Tensor]
    classes: list[tf.Tensor]


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
    """What the heads say of B inputs.

    Attributes:
        box_codes: (B, A, 4) float32.
        class_logits: (B, A, C + 1) float32, column 0 is the background.
        trust: (B, A, C) float32 from 0 to 1, what the classes' scores are multiplied by; None for 1.
    """

    box_codes: tf.Tensor
    class_logits: tf.Tensor
    trust: tf.Tensor | None = None


class BaseModel(Protocol):
    """A detector whose last layers can be trained on cached features.

    Attributes:
        name: Its name in `duckdetect bases`.
        num_classes: The new classes.
        input_hw: Its input's size, pixels.
        fine_hw: The size of a larger input that shows small objects, or None where the usual one does.
        levels: Its feature maps.
        box_kernel_size: The side of the box head's kernel, cells.
        own_class_head: The class head that it was published with, or None where it has another form
            than one convolution a level.
    """

    name: str
    num_classes: int
    input_hw: tuple[int, int]
    fine_hw: tuple[int, int] | None
    levels: tuple[Level, ...]
    box_kernel_size: int
    own_class_head: ClassHead | None

    def prepare(self, picture: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Turn a picture (H, W, 3) uint8 into the model's input and its filled part.

        Returns:
            The input (h, w, 3) float32, and (2,) float32: the parts of the input's height and width
            that the picture fills (below 1 where the model pads).
        """
        ...

    def prepare_fine(self, picture: tf.Tensor) -> tf.Tensor:
        """Turn a picture (H, W, 3) uint8 into the fine input (h, w, 3) float32, which it fills."""
        ...

    def head_inputs(self, inputs: tf.Tensor, part: TrainPart) -> HeadInputs:
        """Run the frozen part on inputs (B, h, w, 3) float32, usual or fine."""
        ...

    def box_codes(self, features: Sequence[tf.Tensor], part: TrainPart) -> tf.Tensor:
        """Run the box head; (B, A, 4) float32."""
        ...

    def class_logits(self, features: Sequence[tf.Tensor], part: TrainPart) -> tf.Tensor:
        """Run the class head; (B, A, C + 1) float32, column 0 is the background."""
        ...

    def class_features(self, features: Sequence[tf.Tensor], part: TrainPart) -> list[tf.Tensor]:
        """What the class head's last layer reads: for each level (B, h, w, c) float32."""
        ...

    def patch_codes(self, patches: Sequence[tf.Tensor]) -> tf.Tensor:
        """Run the box head's last layer on single cells.

        Args:
            patches: For each level (B, P, k, k, c) float32: the box head's inputs around P cells.

        Returns:
            (B, M, 4) float32, M being the anchors of all these cells.
        """
        ...

    def assign(self, y1x1y2x2: np.ndarray, class_id: np.ndarray) -> Targets:
        """Match boxes (N, 4), normalised to the input, with the anchors."""
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

    def careful_detections(
        self, usual: HeadOutputs, fine: HeadOutputs | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """As `detections`, with boxes that are the mean of those suppressed.

        What overlaps a surer detection of its class scores less.

        Args:
            usual: Of the inputs.
            fine: Of the fine inputs; their small boxes are taken as well.
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

    def trained_variables(self, part: TrainPart) -> list[tf.Variable]:
        """The variables that training changes, in a fixed order."""
        ...

    def variables(self) -> list[tf.Variable]:
        """All variables, in a fixed order."""
        ...
