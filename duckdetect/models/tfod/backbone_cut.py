"""Cuts a feature extractor in two: what lies below the cut is frozen, what lies above is trained.

    cut = BackboneCut("ssd_mobilenet_v2", model._feature_extractor, "top")
    features = cut.upper(cut.lower(inputs))  # the same as model._feature_extractor(inputs)

| level | SSD MobileNet V2 | bases with a feature pyramid |
| --- | --- | --- |
| top | after block 12 of 16, where the map is smallest for its depth | at the pyramid's inputs |
| deep | after block 5 | before the backbone's last stage |
| all | at the input | at the input |

The API's extractors all run a functional Keras model, the backbone, and build their feature maps from
its outputs. Above the cut their own code runs, with the backbone's outputs put in its place.
"""

from __future__ import annotations

import threading
from typing import Any

import tensorflow as tf

from duckdetect.errors import UserError
from duckdetect.models.interfaces import TrainPart
from duckdetect.models.tfod.api import ops

CUT_LEVELS = ("top", "deep", "all")

_BLOCKS = {"top": "block_12_add", "deep": "block_5_add"}  # of MobileNet V2

# Extractors are changed while their code above a cut is traced, which several threads may do.
_PUTTING = threading.RLock()


class BackboneCut:
    """A feature extractor in two parts.

    Args:
        name: The base's name, for messages.
        extractor: The API's feature extractor, built.
        level: Where to cut it.

    Raises:
        UserError: If the extractor's backbone has no such place.
    """

    def __init__(self, name: str, extractor: Any, level: TrainPart) -> None:
        self._extractor = extractor
        self._whole = level == "all"
        if self._whole:
            return
        self._attribute = (
            "_efficientnet" if hasattr(extractor, "_efficientnet") else "classification_backbone"
        )
        backbone = getattr(extractor, self._attribute)
        outputs = list(backbone.outputs)
        pyramid = any(
            hasattr(extractor, part) for part in ("_fpn_features_generator", "_bifpn_stage")
        )
        try:
            if not pyramid:
                at_cut, self._n_kept = [backbone.get_layer(_BLOCKS[level]).output], 0
            else:
                self._n_kept = len(outputs) - (level == "deep")
                at_cut = outputs[: self._n_kept]
            self._lower = tf.keras.Model(backbone.input, at_cut)
            above = outputs[self._n_kept :]
            self._upper = tf.keras.Model(at_cut[-1], above) if above else None
        except ValueError as error:  # no such layer, or a path around it
            raise UserError(
                f"{name} cannot be trained at level {level}, its backbone has other layers: "
                "give --train heads or all"
            ) from error

    def lower(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        """The activations at the cut of inputs (B, h, w, 3)."""
        if self._whole:
            return [inputs]
        found = self._lower(ops.pad_to_multiple(inputs, self._extractor._pad_to_multiple))
        return list(found) if isinstance(found, list | tuple) else [found]

    def upper(self, activations: list[tf.Tensor]) -> list[tf.Tensor]:
        """The extractor's feature maps of the activations at the cut."""
        if self._whole:
            return list(self._extractor(activations[0]))
        outputs = list(activations[: self._n_kept])
        if self._upper is not None:
            found = self._upper(activations[-1])
            outputs += found if isinstance(found, list | tuple) else [found]
        with _PUTTING:
            attributes = vars(self._extractor)
            backbone = attributes[self._attribute]
            # Past Keras, which would no longer know the backbone as a part of the extractor.
            attributes[self._attribute] = lambda _: outputs
            try:
                return list(self._extractor._extract_features(_PLACEHOLDER))
            finally:
                attributes[self._attribute] = backbone

    def trained_variables(self) -> list[tf.Variable]:
        """The extractor's trainable variables above the cut, in a fixed order."""
        below = set() if self._whole else {id(v) for v in self._lower.variables}
        return [v for v in self._extractor.trainable_variables if id(v) not in below]


# Extractors check their input's size before they hand it to the backbone.
_PLACEHOLDER = tf.zeros([1, 256, 256, 3])
