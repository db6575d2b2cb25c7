"""The SSD family (SSD, RetinaNet, EfficientDet) of the Object Detection API as a `BaseModel`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from duckdetect.errors import UserError
from duckdetect.models.graphs import traced
from duckdetect.models.interfaces import (
    NO_BOXES,
    ClassHead,
    HeadInputs,
    HeadOutputs,
    Level,
    Targets,
    TrainPart,
)
from duckdetect.models.postprocess import (
    BASE_LEAST_SIDE,
    HIGH_RES_MOST_SIDE,
    Found,
    box_voting,
    fuse_scales,
    high_res_anchors,
    high_res_side,
    small_only,
    soft_nms,
    suppress,
)
from duckdetect.models.tfod.api import box_list, input_hw, model_builder, target_assigner
from duckdetect.models.tfod.backbone_cut import CUT_LEVELS, BackboneCut, mask_taps, run_extractor
from duckdetect.models.tfod.checkpoints import BOX, CLASS, reset_class_layer

Assign = Callable[[np.ndarray, np.ndarray], Targets]


def assigner(model: Any, anchors: Any, num_classes: int) -> Assign:
    """A function that matches boxes with anchors: (N, 4) y1x1y2x2, parts of the input; (N,) from 0.

    Args:
        model: The API's `SSDMetaArch`.
        anchors: (A, 4) y1x1y2x2, parts of the input.
        num_classes: The classes told apart, without the background.
    """

    # Operation by operation, it would take ten times as long.
    @traced(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float32),
            tf.TensorSpec([None, num_classes + 1], tf.float32),
        ]
    )
    def match(y1x1y2x2: tf.Tensor, with_background: tf.Tensor) -> tuple[tf.Tensor, ...]:
        found = target_assigner.batch_assign_targets(
            model._target_assigner,
            box_list.BoxList(anchors),
            [box_list.BoxList(y1x1y2x2)],
            [with_background],
            model._unmatched_class_label,
            [tf.ones(tf.shape(y1x1y2x2)[:1])],
        )
        return tuple(of_views[0] for of_views in found)

    def assign(y1x1y2x2: np.ndarray, class_id: np.ndarray) -> Targets:
        with_background = np.zeros((len(class_id), num_classes + 1), np.float32)
        with_background[np.arange(len(class_id)), class_id + 1] = 1
        boxes = y1x1y2x2.astype(np.float32).reshape(-1, 4)
        found = [t.numpy() for t in match(boxes, with_background)]
        class_target, class_weight, box_code, box_weight, matched = found
        index = np.where(matched >= 0, class_target[:, 1:].argmax(axis=1), -1)
        return Targets(index.astype(np.int32), class_weight[:, 0], box_code, box_weight)

    return assign


# Larger inputs show small objects as they are.
_MOST_SIDE_FOR_HIGH_RES = 320

# Of a pyramid; a mask of a region that is coarser yet has the picture's size.
_MASK_LEVELS = 3

# Of an anchor's area, in a box: what it would call an object is then mostly what somebody looked at.
_KNOWN_PART = 0.5

# Of an anchor on a hard negative in the classification loss: there are few of them beside thousands
# that never were in doubt, and what was handed back once shall not come again (docs/accuracy.md).
_HARD_WEIGHT = 4.0

# Output channels up to which a convolution is faster as a product and shifts.
_NARROW = 64


class SsdModel:
    """A `BaseModel` around the API's `SSDMetaArch`."""

    def __init__(self, name: str, config: Any) -> None:
        self.name = name
        self.config = config
        self.num_classes: int = config.ssd.num_classes
        self.own_class_head: ClassHead | None = None
        self.input_hw = input_hw(name, config.ssd.image_resizer)
        self.model = model_builder.build(config, is_training=True)
        for miner in ("_hard_example_miner", "_random_example_sampler"):
            if getattr(self.model, miner) is not None:
                raise UserError(
                    f"{name} trains with {miner.strip('_').replace('_', ' ')}, which depends on "
                    "the whole loss: choose a model with focal loss, as all SSDs of the TF2 zoo are"
                )
        self.predictor = self.model._box_predictor
        self._shared = hasattr(self.predictor, "_base_tower_layers_for_heads")
        # Keras makes the variables when the layers first see an input.
        shapes = self.model.predict(tf.zeros([1, *self.input_hw, 3]), None)
        self._anchors = shapes["anchors"]  # (A, 4) y1x1y2x2
        self._assign = assigner(self.model, self._anchors, self.num_classes)
        per_cell = self.model._anchor_generator.num_anchors_per_location()
        self.levels = tuple(
            Level(int(f.shape[1]), int(f.shape[2]), int(q))
            for f, q in zip(shapes["feature_maps"], per_cell, strict=True)
        )
        taps = mask_taps(self.model._feature_extractor)
        self.mask_pyramid = not taps
        maps = taps or shapes["feature_maps"][:_MASK_LEVELS]
        self.mask_depths = tuple(int(m.shape[-1]) for m in maps)
        self.high_res_hw: tuple[int, int] | None = None
        self._cuts: dict[TrainPart, BackboneCut] = {}
        self.set_high_res(1.0)
        self.box_kernel_size = max(
            int(k)
            for layer in self._box_head(0)._box_encoder_layers
            for k in getattr(layer, "kernel_size", ())
        )

    def set_high_res(self, object_side: float) -> None:
        """See `interfaces.BaseModel.set_high_res`."""
        if self._shared or max(self.input_hw) > _MOST_SIDE_FOR_HIGH_RES:
            return
        height, width = (high_res_side(side, object_side) for side in self.input_hw)
        self._fine_anchors = high_res_anchors(
            np.asarray(self._anchors), self.levels, self.input_hw, (height, width)
        )
        self.high_res_hw = (height, width) if self._fine_anchors is not None else None

    # -- the frozen part -------------------------------------------------------------------------

    def prepare(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `BaseModel.prepare`; resizes as the API does, then normalises."""
        resizer = self.config.ssd.image_resizer.WhichOneof("image_resizer_oneof")
        if resizer != "fixed_shape_resizer":
            image = tf.cast(image, tf.float32)
        resized, shape = self.model._image_resizer_fn(image)[:2]
        resized = tf.ensure_shape(tf.cast(resized, tf.float32), [*self.input_hw, 3])
        normalised = self.model._feature_extractor.preprocess(resized[tf.newaxis])[0]
        filled_hw = tf.cast(shape[:2], tf.float32) / tf.constant(self.input_hw, tf.float32)
        if resizer != "fixed_shape_resizer":
            # The API normalises first and pads with 0 then; here the padding is normalised too.
            rows = tf.range(self.input_hw[0])[:, tf.newaxis, tf.newaxis] < shape[0]
            columns = tf.range(self.input_hw[1])[tf.newaxis, :, tf.newaxis] < shape[1]
            normalised = tf.where(rows & columns, normalised, 0.0)
        return normalised, filled_hw

    def prepare_fine(self, image: tf.Tensor) -> tf.Tensor:
        """See `BaseModel.prepare_fine`."""
        resized = tf.image.resize(tf.cast(image, tf.float32), self.high_res_hw)
        return self.model._feature_extractor.preprocess(resized[tf.newaxis])[0]

    def lower(self, inputs: tf.Tensor, part: TrainPart) -> HeadInputs:
        """See `BaseModel.lower`."""
        if part in CUT_LEVELS:
            activations, taps = self._cut(part).lower(inputs)
            return HeadInputs(activations, activations, taps)
        features, taps = run_extractor(self.model._feature_extractor, inputs)
        masks = features[:_MASK_LEVELS] if self.mask_pyramid else taps
        features = self._projected(features)
        if part == "towers":
            return HeadInputs(features, features, masks)
        return HeadInputs(*self._towers(features, features), masks)

    def upper(self, activations: HeadInputs, part: TrainPart) -> HeadInputs:
        """See `BaseModel.upper`."""
        if part == "heads":
            return activations
        features, masks = activations.classes, list(activations.masks)
        if part in CUT_LEVELS:
            features, taps = self._cut(part).upper(features)
            masks = features[:_MASK_LEVELS] if self.mask_pyramid else [*masks, *taps]
            features = self._projected(features)
        return HeadInputs(*self._towers(features, features), masks)

    def _cut(self, part: TrainPart) -> BackboneCut:
        if part not in self._cuts:
            self._cuts[part] = BackboneCut(self.name, self.model._feature_extractor, part)
        return self._cuts[part]

    def _projected(self, features: list[tf.Tensor]) -> list[tf.Tensor]:
        if self._shared:
            features = [
                _apply(layers, f)
                for layers, f in zip(
                    self.predictor._additional_projection_layers, features, strict=True
                )
            ]
        return features

    def _towers(
        self, box: Sequence[tf.Tensor], classes: Sequence[tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        def run(towers: Any, features: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            return [_apply(layers, f) for layers, f in zip(towers, features, strict=True)]

        if not self._shared:
            out = run(self.predictor._shared_nets, box)
            return out, out
        towers = self.predictor._base_tower_layers_for_heads
        out = run(towers[BOX], box)
        if self.predictor._share_prediction_tower:
            return out, out
        return out, run(towers[CLASS], classes)

    # -- the trained part ------------------------------------------------------------------------

    def _box_head(self, level: int) -> Any:
        if self._shared:
            return self.predictor._box_prediction_head
        return self.predictor._prediction_heads[BOX][level]

    def _class_head(self, level: int) -> Any:
        head = self.predictor._prediction_heads[CLASS]
        return head if self._shared else head[level]

    def box_codes(self, features: Sequence[tf.Tensor]) -> tf.Tensor:
        """See `BaseModel.box_codes`."""
        codes = []
        for i, f in enumerate(features):
            head = self._box_head(i)
            out = _narrow_convolution(head._box_encoder_layers, f)
            if out is None or head._box_encodings_clip_range is not None:
                out = head(f)
            codes.append(tf.reshape(out, [tf.shape(f)[0], -1, 4]))
        return tf.concat(codes, axis=1)

    def class_logits(self, features: Sequence[tf.Tensor]) -> tf.Tensor:
        """See `BaseModel.class_logits`."""
        logits = []
        for i, f in enumerate(features):
            head = self._class_head(i)
            out = None if self._shared else _narrow_convolution(head._class_predictor_layers, f)
            if out is None:
                out = head(f)
            logits.append(tf.reshape(out, [tf.shape(f)[0], -1, self.num_classes + 1]))
        return tf.concat(logits, axis=1)

    def patch_codes(self, patches: Sequence[tf.Tensor]) -> tf.Tensor:
        """See `BaseModel.patch_codes`.

        A head of one convolution is a product of the flattened patch with its kernel. Otherwise its
        layers run on the patch, which is exact at the centre of one as large as the kernel.
        """
        centre = self.box_kernel_size // 2
        codes = []
        for i, patch in enumerate(patches):
            batch, cells = tf.shape(patch)[0], tf.shape(patch)[1]
            flat = tf.reshape(patch, [-1, *patch.shape[2:]])  # (B * P, k, k, c)
            layers = self._box_head(i)._box_encoder_layers
            if len(layers) == 1 and type(layers[0]) is tf.keras.layers.Conv2D:
                kernel, bias = layers[0].kernel, layers[0].bias
                weights = tf.reshape(kernel, [-1, kernel.shape[-1]])  # (k * k * c, q * 4)
                out = tf.matmul(tf.reshape(flat, [-1, weights.shape[0]]), weights) + bias
            else:
                out = _apply(layers, flat)[:, centre, centre]
            clip = self._box_head(i)._box_encodings_clip_range
            if clip is not None:
                out = tf.clip_by_value(out, clip.min, clip.max)
            codes.append(tf.reshape(out, [batch, cells * self.levels[i].anchors_per_cell, 4]))
        return tf.concat(codes, axis=1)

    def trained_variables(self, part: TrainPart) -> list[tf.Variable]:
        """See `BaseModel.trained_variables`."""
        heads = [self._box_head(i) for i in range(len(self.levels))]
        heads += [self._class_head(i) for i in range(len(self.levels))]
        found = [v for head in heads for v in head.trainable_variables]
        if part in CUT_LEVELS:
            found += [*self.predictor.trainable_variables, *self._cut(part).trained_variables()]
        if part == "towers":
            towers: Any = (
                [t for ts in self.predictor._base_tower_layers_for_heads.values() for t in ts]
                if self._shared
                else self.predictor._shared_nets
            )
            tower = [v for layers in towers for layer in layers for v in layer.trainable_variables]
            if not tower:
                raise UserError(
                    f"{self.name} has no towers before its heads: train its heads (--train heads)"
                )
            found += tower
        return list({id(v): v for v in found}.values())

    def class_columns(self) -> list[tuple[tf.Variable, int]]:
        """See `BaseModel.class_columns`."""
        found = {}
        for i, level in enumerate(self.levels):
            columns = level.anchors_per_cell * (self.num_classes + 1)
            for variable in self._class_head(i)._class_predictor_layers[-1].trainable_variables:
                # A separable layer's depthwise part is of no class.
                if variable.shape[-1] == columns:
                    found[variable.ref()] = (variable, level.anchors_per_cell)
        return list(found.values())

    def variables(self) -> list[tf.Variable]:
        """See `BaseModel.variables`."""
        found = [*self.model._feature_extractor.variables, *self.predictor.variables]
        return list({id(v): v for v in found}.values())

    def reset_class_head(self, seed: int) -> None:
        """Give the class head's last layers new weights, the same for the same seed."""
        rng = np.random.default_rng(seed)
        heads = {id(h): h for h in map(self._class_head, range(len(self.levels)))}
        for head in heads.values():
            reset_class_layer(head._class_predictor_layers[-1], rng)

    def set_class_weights(
        self, class_id: int, kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray]
    ) -> None:
        """See `BaseModel.set_class_weights`."""
        for i, (new_kernel, new_bias) in enumerate(zip(kernels, biases, strict=True)):
            layer = self._class_head(i)._class_predictor_layers[-1]
            by_class = [*new_bias.shape, self.num_classes + 1]  # (q, C + 1)
            kernel = layer.kernel.numpy().reshape(*layer.kernel.shape[:3], *by_class)
            bias = layer.bias.numpy().reshape(by_class)
            kernel[..., class_id + 1], bias[..., class_id + 1] = new_kernel, new_bias
            layer.kernel.assign(kernel.reshape(layer.kernel.shape))
            layer.bias.assign(bias.reshape(-1))

    # -- targets, losses, detections -------------------------------------------------------------

    def assign(
        self,
        y1x1y2x2: np.ndarray,
        class_id: np.ndarray,
        hard_negatives: np.ndarray = NO_BOXES,
        whole: bool = True,
    ) -> Targets:
        """See `BaseModel.assign`."""
        targets = self._assign(y1x1y2x2, class_id)
        if whole and not len(hard_negatives):
            return targets
        matched, weight = targets.class_index >= 0, targets.class_weight
        in_negative = self._lie_in(hard_negatives)
        if not whole:
            weight = np.where(matched | in_negative | self._lie_in(y1x1y2x2), weight, 0)
        weight = np.where(in_negative & ~matched, _HARD_WEIGHT * weight, weight)
        return replace(targets, class_weight=weight.astype(np.float32))

    def _lie_in(self, y1x1y2x2: np.ndarray) -> np.ndarray:
        """(A,) bool, which anchors lie by half of their area or more in one of the boxes."""
        anchors = np.asarray(self._anchors)[:, np.newaxis]  # (A, 1, 4)
        sides = np.minimum(anchors[..., 2:], y1x1y2x2[:, 2:])
        sides = sides - np.maximum(anchors[..., :2], y1x1y2x2[:, :2])
        area = np.prod(anchors[..., 2:] - anchors[..., :2], axis=-1)
        part = np.prod(np.maximum(sides, 0), axis=-1) / area  # (A, N)
        return np.asarray((part >= _KNOWN_PART).any(axis=1))

    def losses(
        self,
        box_codes: tf.Tensor,
        class_logits: tf.Tensor,
        box_target: tf.Tensor,
        box_weight: tf.Tensor,
        class_index: tf.Tensor,
        class_weight: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `BaseModel.losses`; the sums and weights of `SSDMetaArch.loss`."""
        model = self.model
        class_target = tf.where(
            class_index[..., tf.newaxis] >= 0,
            tf.one_hot(class_index + 1, self.num_classes + 1),
            model._unmatched_class_label,
        )  # (B, A, C + 1)
        box_loss = tf.reduce_sum(
            model._localization_loss(
                box_codes, box_target, ignore_nan_targets=True, weights=box_weight
            )
        )
        class_loss = tf.reduce_sum(
            model._classification_loss(
                class_logits, class_target, weights=class_weight[..., tf.newaxis]
            )
        )
        normaliser = 1.0
        if model._normalize_loss_by_num_matches:
            normaliser = tf.maximum(tf.reduce_sum(box_weight), 1.0)
        box_normaliser = normaliser
        if model._normalize_loc_loss_by_codesize:
            box_normaliser *= model._box_coder.code_size
        return (
            box_loss * model._localization_loss_weight / box_normaliser,
            class_loss * model._classification_loss_weight / normaliser,
        )

    def detections(self, box_codes: tf.Tensor, class_logits: tf.Tensor) -> Found:
        """See `BaseModel.detections`."""
        nms = self.config.ssd.post_processing.batch_non_max_suppression
        return suppress(nms, *self._scored(HeadOutputs(box_codes, class_logits), self._anchors))

    def refined_detections(
        self, base_scale: HeadOutputs, high_res: HeadOutputs | None = None
    ) -> Found:
        """See `BaseModel.refined_detections`."""
        boxes, score = self._scored(base_scale, self._anchors)
        if high_res is not None:
            fine_boxes, fine_score = self._scored(high_res, self._fine_anchors)
            assert self.high_res_hw is not None
            scale = max(self.high_res_hw) / max(self.input_hw)
            fine_score = small_only(fine_boxes, fine_score, HIGH_RES_MOST_SIDE / scale)
            fine_boxes, fine_score = fuse_scales(fine_boxes, fine_score, boxes, score)
            score -= small_only(boxes, score, BASE_LEAST_SIDE)
            boxes = tf.concat([boxes, fine_boxes], axis=1)
            score = tf.concat([score, fine_score], axis=1)
        nms = self.config.ssd.post_processing.batch_non_max_suppression
        return soft_nms(box_voting(suppress(nms, boxes, score), boxes, score))

    def _scored(self, said: HeadOutputs, anchors: Any) -> tuple[tf.Tensor, tf.Tensor]:
        y1x1y2x2, _ = self.model._batch_decode(said.box_codes, anchors)
        score = self.model._score_conversion_fn(said.class_logits)[..., 1:]  # (B, A, C)
        return (
            y1x1y2x2,
            score if said.suppression_factor is None else score * said.suppression_factor,
        )


def _narrow_convolution(layers: Sequence[Any], features: tf.Tensor) -> tf.Tensor | None:
    """A 3x3 convolution to few channels as one matrix product and nine shifts, None for other layers.

    The same sums; on a CPU TensorFlow's own takes four times as long forward, and ten times for the
    kernel's gradient, where the output has a handful of channels.
    """
    if len(layers) != 1 or type(layers[0]) is not tf.keras.layers.Conv2D:
        return None
    layer = layers[0]
    n_out = int(layer.kernel.shape[-1])
    plain = layer.strides == (1, 1) and layer.dilation_rate == (1, 1) and layer.padding == "same"
    if layer.kernel_size != (3, 3) or not plain or not layer.use_bias or n_out > _NARROW:
        return None
    height, width = (features.shape[i] or tf.shape(features)[i] for i in (1, 2))
    n_in = int(layer.kernel.shape[2])
    taps = tf.reshape(tf.transpose(layer.kernel, [2, 0, 1, 3]), [n_in, 9 * n_out])
    product = tf.matmul(tf.reshape(features, [-1, n_in]), taps)
    product = tf.reshape(product, [tf.shape(features)[0], height, width, 9 * n_out])
    product = tf.pad(product, [[0, 0], [1, 1], [1, 1], [0, 0]])
    shifted = [
        product[:, i : i + height, j : j + width, k * n_out : (k + 1) * n_out]
        for k, (i, j) in enumerate(itertools.product(range(3), range(3)))
    ]
    out = tf.add_n(shifted) + layer.bias
    return out if layer.activation is tf.keras.activations.linear else layer.activation(out)


def _apply(layers: Sequence[Any], features: tf.Tensor) -> tf.Tensor:
    for layer in layers:
        features = layer(features)
    return features
