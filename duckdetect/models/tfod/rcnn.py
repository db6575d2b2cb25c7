"""Faster and Mask R-CNN of the Object Detection API as a `TwoStageModel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from duckdetect.errors import UserError
from duckdetect.models.interfaces import LastLayer, LayerGroup, TrainPart
from duckdetect.models.tfod.api import box_list_ops, input_hw, model_builder

MASK = "mask_predictions"

# Fast R-CNN, section 3.1 (arXiv 1504.08083): new last layers start with normal weights of these
# deviations; the mask layer's is that of the zoo's own initialiser.
_CLASS_STDDEV, _BOX_STDDEV, _MASK_STDDEV = 0.01, 0.001, 0.01


class RcnnModel:
    """A `TwoStageModel` around the API's `FasterRCNNMetaArch`.

    Args:
        name: Its name in `duckdetect bases`.
        config: A `DetectionModel` message with the user's number of classes.
        depth_classes: The number of classes that the weights were trained on: where the
            configuration says so, the mask head's width follows from it.
    """

    def __init__(self, name: str, config: Any, depth_classes: int) -> None:
        self.name = name
        self.config = config
        rcnn = config.faster_rcnn
        self.num_classes: int = rcnn.num_classes
        self.input_hw = input_hw(name, rcnn.image_resizer)
        self.model = model_builder.build(config, is_training=True)
        self.predictor = self.model._mask_rcnn_box_predictor
        self.n_proposals: int = rcnn.first_stage_max_proposals
        self.n_sampled: int = rcnn.second_stage_batch_size
        self.n_positive = max(1, int(rcnn.second_stage_balance_fraction * self.n_sampled))
        self.has_masks = MASK in self.predictor.get_third_stage_prediction_heads()
        head = rcnn.second_stage_box_predictor.mask_rcnn_box_predictor
        self.mask_hw = (head.mask_height, head.mask_width)
        self.own_last_layers: dict[str, LastLayer] | None = None
        self._create_variables(depth_classes)

    def _create_variables(self, depth_classes: int) -> None:
        """Let each layer see an input, the smallest that will do: Keras makes its variables then."""
        features = self.model._extract_proposal_features(tf.zeros([1, 64, 64, 3]))[0]
        if isinstance(features, list | tuple):
            raise UserError(
                f"{self.name} crops from several levels (FPN): choose a Faster or Mask R-CNN of the "
                "TF2 zoo, none of which does"
            )
        self.model._predict_rpn_proposals(
            [self.model._first_stage_box_predictor_first_conv(features)]
        )
        deep = self.box_features(features, tf.constant([[[0.0, 0.0, 1.0, 1.0]]]))
        self.deep_shape: tuple[int, ...] = tuple(int(n) for n in deep.shape[1:])
        if self.has_masks:
            head = self.predictor._third_stage_heads[MASK]
            if head._mask_prediction_conv_depth == 0:
                # The API derives the width from the number of classes; restored layers keep theirs.
                head._mask_prediction_conv_depth = head._get_mask_predictor_conv_depth(
                    self.deep_shape[-1], depth_classes
                )
            self.mask_head(deep)
        self.box_heads(deep)

    # -- the stages ------------------------------------------------------------------------------

    def prepare(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `BaseModel.prepare`."""
        resized, shape = self.model._image_resizer_fn(tf.cast(image, tf.float32))[:2]
        resized = tf.ensure_shape(resized, [*self.input_hw, 3])
        inputs = self.model._feature_extractor.preprocess(resized[tf.newaxis])[0]
        return inputs, tf.cast(shape[:2], tf.float32) / tf.constant(self.input_hw, tf.float32)

    def input_masks(self, masks: np.ndarray) -> np.ndarray:
        """Bring masks (N, H, W) to the input as the API does, nearest pixels; (N, h, w) uint8."""
        if not len(masks):
            return np.zeros((0, *self.input_hw), np.uint8)
        image = tf.zeros([*masks.shape[1:], 1])
        resized = self.model._image_resizer_fn(image, tf.constant(masks, tf.float32))[1]
        return tf.cast(resized, tf.uint8).numpy()

    def features(self, inputs: tf.Tensor) -> tf.Tensor:
        """The first stage's map of inputs (B, h, w, 3): (B, fh, fw, c) float32."""
        return self.model._extract_proposal_features(inputs)[0]

    def objectness(
        self, features: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Run the proposal network: box codes (B, A, 4), logits (B, A, 2), anchors (A, 4) in pixels.

        Anchors that leave the input are left out in training, and clipped otherwise, as by the API.
        """
        codes, logits = self.model._predict_rpn_proposals(
            [self.model._first_stage_box_predictor_first_conv(features)]
        )
        grid_hw = tf.unstack(tf.shape(features)[1:3])
        anchors = box_list_ops.concatenate(
            self.model._first_stage_anchor_generator.generate([tuple(grid_hw)])
        )
        window = tf.constant([0, 0, *self.input_hw], tf.float32)
        if training and not self.model.clip_anchors_to_image:
            codes, logits, anchors = self.model._remove_invalid_anchors_and_predictions(
                codes, logits, anchors, window
            )
        else:
            anchors = box_list_ops.clip_to_window(anchors, window, filter_nonoverlapping=False)
        return codes, logits, anchors.get()

    def propose(
        self, codes: tf.Tensor, logits: tf.Tensor, anchors: tf.Tensor, filled_hw: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Decode and suppress: y1x1y2x2 (B, K, 4), pixels of the input, zero-padded; count (B,)."""
        batch = tf.shape(codes)[0]
        tiled = tf.tile(anchors[tf.newaxis], [batch, 1, 1])
        boxes = self.model._batch_decode_boxes(codes[:, :, tf.newaxis], tiled)
        score = tf.nn.softmax(logits)[..., 1:]
        found = self.model._first_stage_nms_fn(boxes, score, clip_window=self._windows(filled_hw))
        return tf.stop_gradient(found[0]), found[5]

    def _windows(self, filled_hw: tf.Tensor) -> tf.Tensor:
        """The part of the input that each image fills, (B, 4) y1x1y2x2 in pixels."""
        ends = filled_hw * tf.constant(self.input_hw, tf.float32)
        return tf.concat([tf.zeros_like(ends), ends], axis=1)

    def to_parts(self, y1x1y2x2: tf.Tensor) -> tf.Tensor:
        """Pixels of the input as parts of it."""
        return y1x1y2x2 / tf.constant([*self.input_hw, *self.input_hw], tf.float32)

    def box_features(self, features: tf.Tensor, parts: tf.Tensor) -> tf.Tensor:
        """Crop proposals (B, P, 4) and run the second stage's extractor; (B * P, h, w, c) float32."""
        shape = tf.concat([tf.shape(features)[:1], [*self.input_hw, 3]], axis=0)
        crops = self.model._compute_second_stage_input_feature_maps([features], parts, shape)
        return self.model._extract_box_classifier_features(crops)

    def box_heads(self, deep: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Box codes (N, C or 1, 4) and class logits (N, C + 1), the background first.

        Args:
            deep: (N, h, w, c); the heads read its mean over h and w alone.
        """
        found = self.predictor([deep], prediction_stage=2)
        return (
            tf.squeeze(found["box_encodings"], axis=1),
            tf.squeeze(found["class_predictions_with_background"], axis=1),
        )

    def mask_head(self, deep: tf.Tensor) -> tf.Tensor:
        """Mask logits (N, C or 1, mask height, mask width) of proposals' features (N, h, w, c)."""
        return tf.squeeze(self.predictor([deep], prediction_stage=3)[MASK], axis=1)

    # -- detection -------------------------------------------------------------------------------

    def detect(
        self,
        inputs: tf.Tensor,
        filled_hw: tf.Tensor,
        threshold: tf.Tensor,
        mask_threshold: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """See `TwoStageModel.detect`."""
        features = self.features(inputs)
        filled = filled_hw[tf.newaxis]
        boxes, count = self.propose(*self.objectness(features, training=False), filled)
        codes, logits = self.box_heads(self.box_features(features, self.to_parts(boxes)))
        found = self.model._second_stage_nms_fn(
            self.model._batch_decode_boxes(codes[tf.newaxis], boxes),
            self.model._second_stage_score_conversion_fn(logits)[tf.newaxis, :, 1:],
            clip_window=self._windows(filled),
            change_coordinate_frame=False,
            num_valid_boxes=count,
        )
        kept = found[1][0] >= threshold
        kept &= tf.range(tf.shape(kept)[0]) < tf.cast(found[5][0], tf.int32)
        parts = tf.boolean_mask(self.to_parts(found[0][0]), kept)  # (D, 4)
        score = tf.boolean_mask(found[1][0], kept)
        class_id = tf.cast(tf.boolean_mask(found[2][0], kept), tf.int32)
        if not self.has_masks:
            return parts, score, class_id
        # One box more, and away with it: Keras' layers fail on none.
        n_masks = tf.reduce_sum(tf.cast(score >= mask_threshold, tf.int32))
        boxed = tf.concat([parts[:n_masks], [[0.0, 0.0, 1.0, 1.0]]], axis=0)
        logits = self.mask_head(self.box_features(features, boxed[tf.newaxis]))[:-1]
        index = class_id[:n_masks] if logits.shape[1] != 1 else tf.zeros([n_masks], tf.int32)
        masks = tf.gather(logits, index, batch_dims=1)
        return parts, score, class_id, tf.sigmoid(masks)

    # -- variables -------------------------------------------------------------------------------

    def groups(self) -> dict[str, list[tf.Variable]]:
        """All variables by what they belong to, in the order in which an image meets them."""
        model = self.model
        found = {
            "features": model._feature_extractor_for_proposal_features.variables,
            "proposals": [
                *model._first_stage_box_predictor_first_conv.variables,
                *model._first_stage_box_predictor.variables,
            ],
            "second-stage features": model._feature_extractor_for_box_classifier_features.variables,
            "box head": self.predictor._box_prediction_head.variables,
            "class head": self.predictor._class_prediction_head.variables,
        }
        if self.has_masks:
            layers = self.predictor._third_stage_heads[MASK]._mask_predictor_layers
            found["mask head"] = [v for layer in layers for v in layer.variables]
        return {name: list({id(v): v for v in group}.values()) for name, group in found.items()}

    def variables(self) -> list[tf.Variable]:
        """See `BaseModel.variables`."""
        return [v for group in self.groups().values() for v in group]

    def trained_variables(self, part: TrainPart, masks: bool = True) -> list[tf.Variable]:
        """The variables that training `part` changes; without `masks` the mask head stays.

        Batch norm keeps its statistics always; its scale and offset belong to the part they are in.
        """
        trained = {
            "heads": ["box head", "class head", "mask head"],
            "second-stage": ["second-stage features", "box head", "class head", "mask head"],
            "all": list(self.groups()),
        }
        if part not in trained:
            raise UserError(
                f"{self.name} has no {part} to train: give one of {', '.join(trained)} (--train)"
            )
        return [
            variable
            for name, group in self.groups().items()
            if name in trained[part] and (masks or name != "mask head")
            for variable in group
            if variable.trainable
        ]

    def summary(self, part: TrainPart, masks: bool = True) -> list[LayerGroup]:
        """What is trained and what is frozen, group by group."""
        trained = {id(v) for v in self.trained_variables(part, masks)}
        return [LayerGroup.count(name, group, trained) for name, group in self.groups().items()]

    def last_layers(self) -> dict[str, tuple[Any, float]]:
        """The layers whose shape depends on the classes, each with its new weights' deviation."""
        box, classes = self.predictor._box_prediction_head, self.predictor._class_prediction_head
        found = {"class": (_dense(classes._class_predictor_layers), _CLASS_STDDEV)}
        if not box._share_box_across_classes:
            found["box"] = (_dense(box._box_encoder_layers), _BOX_STDDEV)
        if self.has_masks:
            head = self.predictor._third_stage_heads[MASK]
            if not head._masks_are_class_agnostic:
                found["mask"] = (head._mask_predictor_layers[-1], _MASK_STDDEV)
        return found

    def reset_last_layers(self, seed: int) -> None:
        """Give the class-specific layers new weights, the same for the same seed."""
        rng = np.random.default_rng(seed)
        for layer, deviation in self.last_layers().values():
            layer.kernel.assign(rng.normal(0, deviation, layer.kernel.shape).astype(np.float32))
            layer.bias.assign(tf.zeros_like(layer.bias))


def _dense(layers: Sequence[Any]) -> Any:
    return next(layer for layer in layers if isinstance(layer, tf.keras.layers.Dense))
