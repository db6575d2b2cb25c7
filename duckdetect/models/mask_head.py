"""A mask head on the feature maps of a one-stage base, as RetinaMask has it (Fu et al. 2019).

    head = MaskHead(depths=[24, 32, 96, 320], pyramid=False, seed=0)
    probability = head.probability(maps, y1x1y2x2, image)      # (R, 28, 28), within each box

Each region is cropped from the maps to 14 x 14 cells, passes a few convolutions and becomes one mask of
28 x 28 cells, whatever its class. Plain variables and operations: a saved detector needs no layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

CELLS, MASK = 14, 28
"""The sides of a region's features and of its mask, cells."""

_WIDTH = 64

# Of the finest map twice as many cells are cropped; four become the depths of one.
_FOLDED = MASK // CELLS


class MaskHead:
    """Masks of regions of B images.

    Args:
        depths: The maps' depths, finest first.
        pyramid: Whether a region is cropped from the level that suits its size; else from all maps.
        seed: Decides the first weights (He et al. 2015).

    Attributes:
        variables: Its weights, in a fixed order.
    """

    def __init__(self, depths: Sequence[int], pyramid: bool, seed: int) -> None:
        self.pyramid = pyramid
        self.depth = depths[0] if pyramid else depths[0] * _FOLDED**2 + sum(depths[1:])
        rng = np.random.default_rng([seed, self.depth])
        self.variables: list[tf.Variable] = []
        # Convolutions (side, side, in, out); of the last but one each cell becomes four.
        for side, n_in, n_out in (
            (1, self.depth, _WIDTH),
            *[(3, _WIDTH, _WIDTH)] * 3,
            (1, _WIDTH, _WIDTH * _FOLDED**2),
            (1, _WIDTH, 1),
        ):
            kernel = rng.normal(0, np.sqrt(2 / (side**2 * n_in)), (side, side, n_in, n_out))
            name = f"mask_head/{len(self.variables) // 2}"
            self.variables += [
                tf.Variable(kernel.astype(np.float32), name=f"{name}/kernel"),
                tf.Variable(tf.zeros([n_out]), name=f"{name}/bias"),
            ]

    def regions(
        self, maps: Sequence[tf.Tensor], y1x1y2x2: tf.Tensor, image: tf.Tensor
    ) -> tf.Tensor:
        """What the convolutions read, (R, 14, 14, c).

        Args:
            maps: For each level (B, h, w, c) float32.
            y1x1y2x2: (R, 4), parts of the model's input.
            image: (R,) int32, which of the B each region is of.
        """

        def crop(of: tf.Tensor, cells: int) -> tf.Tensor:
            return _crop(of, y1x1y2x2, image, cells)

        if self.pyramid:
            size = tf.cast(tf.shape(maps[0])[1:3], tf.float32)
            area = tf.reduce_prod((y1x1y2x2[:, 2:] - y1x1y2x2[:, :2]) * size, axis=1)
            doublings = tf.math.log(tf.maximum(area, 1e-6) ** 0.5 / CELLS) / np.log(2)
            level = tf.clip_by_value(tf.round(doublings), 0, len(maps) - 1)
            chosen = tf.one_hot(tf.cast(level, tf.int32), len(maps))  # (R, levels)
            crops = tf.stack([crop(of, CELLS) for of in maps], axis=-1)
            return tf.reduce_sum(crops * chosen[:, tf.newaxis, tf.newaxis, tf.newaxis], axis=-1)
        fine = tf.nn.space_to_depth(crop(maps[0], MASK), _FOLDED)
        return tf.concat([fine, *(crop(of, CELLS) for of in maps[1:])], axis=-1)

    def logits(self, regions: tf.Tensor) -> tf.Tensor:
        """(R, 28, 28) of `regions`; above 0 is the object."""
        out = regions
        layers = list(zip(self.variables[::2], self.variables[1::2], strict=True))
        for kernel, bias in layers[:-1]:
            out = tf.nn.relu(tf.nn.conv2d(out, kernel, 1, "SAME") + bias)
        kernel, bias = layers[-1]
        out = tf.nn.conv2d(tf.nn.depth_to_space(out, _FOLDED), kernel, 1, "SAME") + bias
        return out[..., 0]

    def probability(
        self, maps: Sequence[tf.Tensor], y1x1y2x2: tf.Tensor, image: tf.Tensor
    ) -> tf.Tensor:
        """(R, 28, 28) from 0 to 1, from each box's upper left corner to its lower right."""
        return tf.sigmoid(self.logits(self.regions(maps, y1x1y2x2, image)))


def _crop(of: tf.Tensor, y1x1y2x2: tf.Tensor, image: tf.Tensor, cells: int) -> tf.Tensor:
    """Regions of maps (B, h, w, c), bilinear: (R, cells, cells, c). A cell's value is its centre's.

    TensorFlow's own `crop_and_resize` logs a page of warnings where R is open.
    """
    n_rows, n_columns = tf.unstack(tf.shape(of)[1:3])

    def along(start: tf.Tensor, end: tf.Tensor, n: tf.Tensor) -> tuple[tf.Tensor, ...]:
        steps = tf.linspace(0.0, 1.0, cells)
        most = tf.cast(n - 1, tf.float32)
        at = (start + (end - start) * steps) * (most + 1) - 0.5  # (R, cells)
        at = tf.clip_by_value(at, 0.0, most)
        low = tf.cast(at, tf.int32)
        return low, tf.minimum(low + 1, n - 1), at - tf.cast(low, tf.float32)

    y1, x1, y2, x2 = tf.split(y1x1y2x2, 4, axis=1)
    top, bottom, down = along(y1, y2, n_rows)
    left, right, across = along(x1, x2, n_columns)
    flat = tf.reshape(of, [-1, of.shape[-1]])
    first = (image * n_rows * n_columns)[:, tf.newaxis, tf.newaxis]
    across, down = across[:, tf.newaxis, :, tf.newaxis], down[:, :, tf.newaxis, tf.newaxis]

    def row(y: tf.Tensor) -> tf.Tensor:
        begin = first + (y * n_columns)[:, :, tf.newaxis]
        at_left, at_right = (tf.gather(flat, begin + x[:, tf.newaxis]) for x in (left, right))
        return at_left + across * (at_right - at_left)

    above, below = row(top), row(bottom)
    return above + down * (below - above)


def iou(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The IoU of each of R masks (R, h, w) bool with its other; 1 where both are empty."""
    both = tf.reduce_sum(tf.cast(one & other, tf.float32), axis=[1, 2])
    either = tf.reduce_sum(tf.cast(one | other, tf.float32), axis=[1, 2])
    return tf.where(either > 0, both / tf.maximum(either, 1), 1.0)
