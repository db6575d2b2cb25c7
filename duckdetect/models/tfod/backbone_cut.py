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

A mask head needs finer maps than an SSD's: of MobileNet V2 the last of each stride, 4 to 32, come along,
from below and from above the cut. Of a pyramid it takes the levels, which every extractor returns.
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

# The last map of each stride from 4 on, and how many of them lie below a cut.
_MASK_BLOCKS = ("block_2_add", "block_5_add", "block_12_add", "block_16_project_BN")
_N_BELOW = {"top": 3, "deep": 2}

# Extractors are changed while their code above a cut is traced, which several threads may do.
_PUTTING = threading.RLock()


Maps = tuple[list[tf.Tensor], list[tf.Tensor]]


def mask_taps(extractor: Any) -> list[Any]:
    """The Keras tensors in a backbone that a mask head reads; none where there is a pyramid."""
    backbone: Any = getattr(extractor, "classification_backbone", None)
    names = {layer.name for layer in getattr(backbone, "layers", ())}
    if hasattr(extractor, "_fpn_features_generator") or not names.issuperset(_MASK_BLOCKS):
        return []
    return [backbone.get_layer(name).output for name in _MASK_BLOCKS]


def run_extractor(extractor: Any, inputs: tf.Tensor) -> Maps:
    """An extractor's feature maps of inputs (B, h, w, 3), and the maps in its backbone for masks."""
    taps = mask_taps(extractor)
    if not taps:
        return list(extractor(inputs)), []
    backbone = extractor.classification_backbone
    both = tf.keras.Model(backbone.input, [*backbone.outputs, *taps])
    found = both(ops.pad_to_multiple(inputs, extractor._pad_to_multiple))
    outputs, masks = _split(found, len(backbone.outputs))
    return _features(extractor, "classification_backbone", outputs), masks


def _split(found: Any, n: int) -> Maps:
    """A Keras model's first n outputs and the others; of one alone it makes no list."""
    flat = list(found) if isinstance(found, list | tuple) else [found]
    return flat[:n], flat[n:]


def _features(extractor: Any, attribute: str, outputs: list[tf.Tensor]) -> list[tf.Tensor]:
    """The extractor's feature maps of its backbone's outputs."""
    with _PUTTING:
        attributes = vars(extractor)
        backbone = attributes[attribute]
        # Past Keras, which would no longer know the backbone as a part of the extractor.
        attributes[attribute] = lambda _: outputs
        try:
            return list(extractor._extract_features(_PLACEHOLDER))
        finally:
            attributes[attribute] = backbone


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
            taps, n_below = mask_taps(extractor), _N_BELOW[level]
            self._lower = tf.keras.Model(backbone.input, [*at_cut, *taps[:n_below]])
            self._n_at_cut = len(at_cut)
            above = outputs[self._n_kept :]
            self._n_above = len(above)
            self._upper = tf.keras.Model(at_cut[-1], [*above, *taps[n_below:]]) if above else None
        except ValueError as error:  # no such layer, or a path around it
            raise UserError(
                f"{name} cannot be trained at level {level}, its backbone has other layers: "
                "give --train heads or all"
            ) from error

    def lower(self, inputs: tf.Tensor) -> Maps:
        """The activations at the cut of inputs (B, h, w, 3), and the maps for masks below it."""
        if self._whole:
            return [inputs], []
        found = self._lower(ops.pad_to_multiple(inputs, self._extractor._pad_to_multiple))
        return _split(found, self._n_at_cut)

    def upper(self, activations: list[tf.Tensor]) -> Maps:
        """The extractor's feature maps of the activations at the cut, and the maps for masks above it."""
        if self._whole:
            return run_extractor(self._extractor, activations[0])
        above = [] if self._upper is None else self._upper(activations[-1])
        found, taps = _split(above, self._n_above)
        outputs = [*activations[: self._n_kept], *found]
        return _features(self._extractor, self._attribute, outputs), taps

    def trained_variables(self) -> list[tf.Variable]:
        """The extractor's trainable variables above the cut, in a fixed order."""
        below = set() if self._whole else {id(v) for v in self._lower.variables}
        return [v for v in self._extractor.trainable_variables if id(v) not in below]


# Extractors check their input's size before they hand it to the backbone.
_PLACEHOLDER = tf.zeros([1, 256, 256, 3])
