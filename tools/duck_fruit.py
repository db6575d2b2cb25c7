"""Fruit for the table, two of the three yellow; see `duck_toys`."""

from __future__ import annotations

import numpy as np
from duck_mesh import Part, blend, capsule, ellipsoid


def lemon() -> list[Part]:
    """A lemon on its side, with a pitted skin."""

    def flesh(p):
        body = ellipsoid(p, (0, 0, 0.28), (0.37, 0.28, 0.28))
        ends = np.minimum(
            ellipsoid(p, (0.37, 0, 0.28), (0.09, 0.06, 0.06)),
            ellipsoid(p, (-0.36, 0, 0.28), (0.06, 0.07, 0.07)),
        )
        skin = np.sin(61 * p[:, 0]) * np.sin(57 * p[:, 1] + 1) * np.sin(63 * p[:, 2] + 2)
        return blend(body, ends, 0.12) + 0.004 * skin

    return [Part("lemon", flesh, (-0.5, -0.35, -0.03), (0.5, 0.35, 0.6), "lemon", 0.012)]


def banana() -> list[Part]:
    """A banana: a bow of five-sided cross section with brown tips."""

    def along(p):
        angle = np.arctan2(p[:, 1] + 0.75, p[:, 0])  # round the centre of the bow
        return angle, np.hypot(np.hypot(p[:, 0], p[:, 1] + 0.75) - 0.85, p[:, 2] - 0.15)

    def flesh(p):
        angle, away = along(p)
        t = np.clip((angle - np.pi / 2) / 0.85, -1.25, 1.25)
        thick = 0.15 * np.sqrt(np.maximum(1.02 - (np.abs(t) / 1.05) ** 3, 0.03))
        corners = 0.008 * np.cos(
            5 * np.arctan2(p[:, 2] - 0.15, np.hypot(p[:, 0], p[:, 1] + 0.75) - 0.85)
        )
        return np.maximum(away - thick - corners, 0.8 * (np.abs(t) - 1.15))

    def tips(p):
        angle, away = along(p)
        t = (angle - np.pi / 2) / 0.85
        return np.maximum(away - 0.042, 0.8 * np.maximum(np.abs(t) - 1.19, 1.1 - np.abs(t)))

    box = (-0.95, -0.6, -0.03), (0.95, 0.35, 0.36)
    return [Part("banana", flesh, *box, "banana"), Part("banana_tip", tips, *box, "brown", 0.012)]


def apple() -> list[Part]:
    """An apple with its stalk."""

    def fruit(p):
        radius = np.hypot(p[:, 0], p[:, 1])
        return np.hypot(radius - 0.13, (p[:, 2] - 0.33) * 0.95) - 0.29 + 0.02 * p[:, 2]

    def stalk(p):
        return capsule(p, (0, 0, 0.5), (0.05, 0.02, 0.74), 0.018)

    return [
        Part("apple", fruit, (-0.46, -0.46, -0.02), (0.46, 0.46, 0.7), "tint"),
        Part("apple_stalk", stalk, (-0.1, -0.1, 0.45), (0.15, 0.1, 0.8), "brown", 0.01),
    ]
