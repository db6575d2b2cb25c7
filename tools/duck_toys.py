"""The other things on the table: toys, fruit and tins, many of them yellow.

`TOYS` maps a name to a function that lists the parts of the toy; the material
"tint" stands for the colour that a picture asks for ("block:red"). Same units
as `duck_mesh`: one duck height (about 9 cm), z up, standing on z = 0.
"""

from __future__ import annotations

import numpy as np
from duck_fruit import apple, banana, lemon
from duck_mesh import (
    Part,
    Sdf,
    blend,
    capsule,
    carve,
    cylinder,
    ellipsoid,
    round_box,
    torus,
    turn_y,
)

Box = tuple[tuple[float, float, float], tuple[float, float, float]]


def _cube(reach: float, top: float) -> Box:
    return (-reach, -reach, -0.02), (reach, reach, top)


def _ball() -> list[Part]:
    def ball(p):
        return ellipsoid(p, (0, 0, 0.42), (0.42,) * 3)

    def band(p):  # a broad belt, a hair wider than the ball so that it covers it
        tilted = (p - [0, 0, 0.42]) @ turn_y(35)
        return carve(ellipsoid(p, (0, 0, 0.42), (0.423,) * 3), np.abs(tilted[:, 2]) - 0.1, 0.006)

    return [
        Part("ball", ball, *_cube(0.45, 0.87), "tint"),
        Part("ball_band", band, *_cube(0.45, 0.87), "cream"),
    ]


def _plain_ball() -> list[Part]:
    return [
        Part(
            "plain_ball",
            lambda p: ellipsoid(p, (0, 0, 0.4), (0.4,) * 3),
            *_cube(0.43, 0.83),
            "tint",
        )
    ]


def _cup() -> list[Part]:
    def cup(p):
        outer = cylinder(p, (0, 0, 0.45), 0.38, 0.45, 0.04)
        inner = cylinder(p, (0, 0, 0.56), 0.335, 0.5, 0.05)
        handle = torus(p, (0.40, 0, 0.46), 0.21, 0.05, axis=1)
        handle = np.maximum(handle, 0.36 - np.hypot(p[:, 0], p[:, 1]))
        return carve(blend(outer, handle, 0.04), -inner, 0.025)

    return [Part("cup", cup, (-0.42, -0.42, -0.02), (0.7, 0.42, 0.95), "tint")]


def _block() -> list[Part]:
    def block(p):
        return round_box(p, (0, 0, 0.3), (0.3, 0.3, 0.3), 0.035)

    return [Part("block", block, *_cube(0.34, 0.64), "tint")]


def _brick() -> list[Part]:
    def brick(p):
        body = round_box(p, (0, 0, 0.17), (0.44, 0.22, 0.17), 0.015)
        for x in (-0.33, -0.11, 0.11, 0.33):
            for y in (-0.11, 0.11):
                body = np.minimum(body, cylinder(p, (x, y, 0.36), 0.068, 0.04, 0.01))
        return body

    return [Part("brick", brick, (-0.5, -0.3, -0.02), (0.5, 0.3, 0.43), "tint", 0.012)]


def _car() -> list[Part]:
    def shell(p):
        hull = round_box(p, (0, 0, 0.23), (0.6, 0.27, 0.13), 0.09)
        cabin = round_box(p, (-0.07, 0, 0.42), (0.33, 0.225, 0.14), 0.10)
        body = blend(hull, cabin, 0.06)
        for x in (-0.36, 0.36):
            arch = np.hypot(p[:, 0] - x, p[:, 2] - 0.13) - 0.165
            body = carve(body, -np.maximum(arch, 0.17 - np.abs(p[:, 1])), 0.015)
        return body

    def windows(p):
        side = round_box(p, (-0.07, 0, 0.43), (0.22, 0.233, 0.075), 0.05)
        front = round_box(p, (-0.07, 0, 0.43), (0.335, 0.16, 0.07), 0.05)
        return np.minimum(side, front)

    def wheels(p):
        local = np.stack([np.abs(p[:, 0]) - 0.36, p[:, 2] - 0.13, np.abs(p[:, 1]) - 0.235], 1)
        return cylinder(local, (0, 0, 0), 0.13, 0.06, 0.025)

    def hubs(p):
        local = np.stack([np.abs(p[:, 0]) - 0.36, p[:, 2] - 0.13, np.abs(p[:, 1]) - 0.25], 1)
        return cylinder(local, (0, 0, 0), 0.065, 0.055, 0.015)

    box = (-0.65, -0.35, -0.02), (0.65, 0.35, 0.62)
    return [
        Part("car_shell", shell, *box, "tint"),
        Part("car_window", windows, *box, "glass_dark"),
        Part("car_wheel", wheels, *box, "rubber"),
        Part("car_hub", hubs, *box, "cream", 0.012),
    ]


def _star() -> list[Part]:
    def star(p):
        # Stands on two of its points; round each of five arms by folding the angle.
        x, z = p[:, 0], p[:, 2] - 0.43
        angle = np.arctan2(x, z)
        fold = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
        r = np.hypot(x, z)
        edge = r * np.cos(fold - 0.0) * np.sin(0.53) + r * np.sin(fold) * np.cos(0.53) - 0.26
        return carve(edge, np.abs(p[:, 1]) - 0.13, 0.09)

    return [Part("star", star, (-0.6, -0.2, -0.03), (0.6, 0.2, 1.0), "tint")]


def _tin() -> list[Part]:
    def tin(p):
        return cylinder(p, (0, 0, 0.42), 0.30, 0.42, 0.025)

    def label(p):
        return cylinder(p, (0, 0, 0.40), 0.303, 0.20, 0.005)

    return [
        Part("tin", tin, *_cube(0.34, 0.87), "tint"),
        Part("tin_label", label, *_cube(0.34, 0.87), "cream"),
    ]


def _teddy() -> list[Part]:
    def fur(p):
        q = np.stack([p[:, 0], np.abs(p[:, 1]), p[:, 2]], 1)
        body = ellipsoid(q, (0, 0, 0.38), (0.29, 0.32, 0.37))
        body = blend(body, ellipsoid(q, (0.03, 0, 0.93), (0.27, 0.30, 0.27)), 0.06)
        body = blend(body, ellipsoid(q, (0.0, 0.24, 1.15), (0.07, 0.11, 0.11)), 0.03)
        body = blend(body, capsule(q, (0.08, 0.28, 0.55), (0.25, 0.42, 0.30), 0.105), 0.04)
        body = blend(body, capsule(q, (0.12, 0.18, 0.13), (0.45, 0.27, 0.14), 0.135), 0.04)
        tufts = np.sin(47 * p[:, 0]) * np.sin(53 * p[:, 1] + 1) * np.sin(49 * p[:, 2] + 2)
        return body + 0.006 * tufts

    def muzzle(p):
        return ellipsoid(p, (0.26, 0, 0.87), (0.11, 0.12, 0.095))

    def face(p):
        q = np.stack([p[:, 0], np.abs(p[:, 1]), p[:, 2]], 1)
        nose = ellipsoid(q, (0.365, 0, 0.905), (0.03, 0.045, 0.03))
        return np.minimum(nose, ellipsoid(q, (0.265, 0.105, 0.99), (0.03, 0.032, 0.034)))

    return [
        Part("teddy_fur", fur, (-0.4, -0.65, -0.02), (0.7, 0.65, 1.35), "fur"),
        Part("teddy_muzzle", muzzle, (0.1, -0.2, 0.7), (0.45, 0.2, 1.0), "fur_light"),
        Part("teddy_face", face, (0.1, -0.2, 0.7), (0.45, 0.2, 1.1), "black", 0.008),
    ]


def _ring_at(level: int) -> Sdf:
    ring = 0.30 - 0.05 * level
    return lambda p: torus(p, (0, 0, 0.11 + 0.2 * level), ring, 0.11)


def _rings() -> list[Part]:
    names = ("red", "orange", "green", "blue")
    parts = [Part(f"ring_{k}", _ring_at(k), *_cube(0.45, 0.95), names[k]) for k in range(4)]
    pole = Part(
        "ring_pole", lambda p: capsule(p, (0, 0, 0.1), (0, 0, 0.9), 0.07), *_cube(0.2, 1.0), "cream"
    )
    return [*parts, pole]


def _bottle() -> list[Part]:
    def flask(p):
        squeezed = p * [1, 1.35, 1]
        body = cylinder(squeezed, (0, 0, 0.6), 0.36, 0.6, 0.13)
        return blend(body, cylinder(p, (0, 0, 1.22), 0.12, 0.1, 0.02), 0.08)

    def cap(p):
        return cylinder(p, (0, 0, 1.38), 0.15, 0.13, 0.03)

    return [
        Part("bottle", flask, *_cube(0.4, 1.4), "tint"),
        Part("bottle_cap", cap, (-0.2, -0.2, 1.2), (0.2, 0.2, 1.55), "cream"),
    ]


def _book() -> list[Part]:
    def cover(p):
        slab = round_box(p, (0, 0, 0.14), (0.95, 0.68, 0.14), 0.02)
        pages = round_box(p, (0.06, 0, 0.14), (0.95, 0.80, 0.105), 0.005)
        return np.maximum(slab, -pages)

    def pages(p):
        return round_box(p, (0.0, 0, 0.14), (0.90, 0.64, 0.11), 0.005)

    box = (-1.0, -0.75, -0.02), (1.0, 0.75, 0.3)
    return [Part("book", cover, *box, "tint"), Part("book_pages", pages, *box, "cream")]


TOYS = {
    "ball": _ball, "plain_ball": _plain_ball, "lemon": lemon, "banana": banana, "cup": _cup,
    "block": _block, "brick": _brick, "car": _car, "star": _star, "tin": _tin, "teddy": _teddy,
    "rings": _rings, "bottle": _bottle, "apple": apple, "book": _book,
}  # fmt: skip

# Radius of the ground each thing needs, in duck heights, for the layout.
FOOTPRINT = {
    "duck": 0.66, "ball": 0.45, "plain_ball": 0.43, "lemon": 0.48, "banana": 0.9, "cup": 0.6,
    "block": 0.42, "brick": 0.5, "car": 0.65, "star": 0.55, "tin": 0.34, "teddy": 0.6,
    "rings": 0.45, "bottle": 0.4, "apple": 0.45, "book": 1.1,
}  # fmt: skip
