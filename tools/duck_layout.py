"""Where things stand: camera from the wish, toys by seeded trial, checked by masks.

A `Picture` says what is wanted (surface, light, how large the duck is, what else
is there). `arrange` throws the toys on the table until every duck is as visible
as asked, so a layout depends on the seed and on nothing else.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import mitsuba as mi
import numpy as np
from duck_scene import Camera, Placed, build_mask_scene
from duck_toys import FOOTPRINT


@dataclass(frozen=True)
class Picture:
    """One photograph to take.

    Attributes:
        name: File name without suffix.
        surface, backdrop, light: See `duck_scene.Workshop.place` and `LIGHTS`.
        share: Height of the first duck as a share of the picture's height.
        heading: Which way the first duck looks: 0 at the camera, 90 to the
            picture's right, 180 away.
        raised: Camera's angle above the ground in degrees.
        at_uv: Where the first duck is, from the middle, in shares of the frame;
            v grows downwards.
        toys: Other things, "kind" or "kind:colour".
        ducks: How many ducks.
        hidden: A thing that stands partly in front of the first duck.
        size_wh: Pixels.
        blur, fov_y: See `Camera`.
        stops: Added to the light's exposure.
    """

    name: str
    surface: str
    backdrop: str
    light: str
    share: float = 0.3
    heading: float = 40.0
    raised: float = 24.0
    at_uv: tuple[float, float] = (0.0, 0.05)
    toys: tuple[str, ...] = ()
    ducks: int = 1
    hidden: str | None = None
    size_wh: tuple[int, int] = (640, 480)
    blur: float = 0.012
    fov_y: float = 38.0
    stops: float = 0.0


def aim(share, raised, around, at_uv, size_wh, fov_y=38.0, blur=0.012) -> Camera:
    """A camera that sees a duck at the origin with the wanted size, side and place."""
    up_angle, turn = np.radians(raised), np.radians(around)
    # How tall a duck looks, measured on masks: its height, and from above its length.
    tall = np.cos(up_angle) + 0.6 * np.sin(up_angle)
    distance = tall / (2 * share * np.tan(np.radians(fov_y) / 2))
    back = np.array(
        [np.sin(turn) * np.cos(up_angle), -np.cos(turn) * np.cos(up_angle), np.sin(up_angle)]
    )
    right = np.array([np.cos(turn), np.sin(turn), 0.0])
    up = np.cross(right, -back)
    middle = np.array([0.0, 0.0, 0.45])
    frame_high = 2 * distance * np.tan(np.radians(fov_y) / 2)
    offset = -right * at_uv[0] * frame_high * size_wh[0] / size_wh[1] + up * at_uv[1] * frame_high
    eye, target = middle + back * distance + offset, middle + offset
    return Camera(tuple(map(float, eye)), tuple(map(float, target)), float(distance), fov_y, blur)


def mask_coverage(shop, surface, placed, camera, size_wh, spp: int) -> np.ndarray:
    """Share of every pixel that each duck covers, (H, W, 3); channel k is duck k."""
    scene = build_mask_scene(shop, surface, placed, camera, size_wh, spp)
    return np.array(mi.render(scene, seed=0), dtype=np.float32)[:, :, :3]


def _ground_point(camera: Camera, u: float, v: float, aspect: float) -> np.ndarray | None:
    """Where the ray through frame position (u, v) meets the ground (x, y)."""
    eye, target = np.array(camera.eye_xyz), np.array(camera.target_xyz)
    look = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(look, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    half = np.tan(np.radians(camera.fov_y) / 2)
    ray = look + 2 * half * (u * aspect * right - v * np.cross(right, look))
    return None if ray[2] > -0.02 else (eye - ray * eye[2] / ray[2])[:2]


def _try_layout(picture: Picture, camera: Camera, rng) -> list[Placed] | None:
    eye = np.array(camera.eye_xyz)
    aspect = picture.size_wh[0] / picture.size_wh[1]
    toward = eye[:2] / np.linalg.norm(eye[:2])
    facing = np.degrees(np.arctan2(toward[1], toward[0]))
    near_y, far_y = {"tub": (-0.35, 0.35), "grass": (-4.5, 7)}.get(picture.surface, (-8.0, 3.4))
    placed = [Placed("duck", "", 0.0, 0.0, facing + picture.heading)] if picture.ducks else []
    if picture.hidden:
        kind, _, tint = picture.hidden.partition(":")
        sideways = np.array([-toward[1], toward[0]]) * rng.choice([-1, 1]) * rng.uniform(0.25, 0.6)
        x, y = toward * (0.62 + FOOTPRINT[kind]) + sideways
        placed.append(Placed(kind, tint or "blue", x, y, rng.uniform(0, 360)))
    wanted = ["duck"] * (picture.ducks - 1) + list(picture.toys)
    for number, wish in enumerate(wanted):
        kind, _, tint = wish.partition(":")
        for _ in range(80):
            first = not placed and number == 0  # without a duck, the first toy takes its place
            reach = 0.12 if first else 0.36 if kind == "duck" else 0.46
            u, v = rng.uniform(-reach, reach), rng.uniform(-reach, reach * 0.8)
            at = _ground_point(camera, u, v, aspect)
            radius = FOOTPRINT[kind]
            if (
                at is None
                or np.abs(at[0]) > 8
                or not near_y <= at[1] <= far_y - radius * (far_y < 5)
            ):
                continue
            if np.hypot(*at) > 7 or any(
                np.hypot(at[0] - p.x, at[1] - p.y) < radius + FOOTPRINT[p.kind] * p.scale
                for p in placed
            ):
                continue
            scale = rng.uniform(0.85, 1.1) if kind != "duck" else rng.choice([1.0, 1.0, 0.82])
            placed.append(Placed(kind, tint or "red", *at, rng.uniform(0, 360), float(scale)))
            break
        else:
            return None
    return placed


def visible_enough(shop, picture: Picture, placed, camera) -> bool:
    """Whether every duck is inside the frame and as visible as the picture asks."""
    width, height = picture.size_wh
    small_wh = (width // 4, height // 4)
    seen = mask_coverage(shop, picture.surface, placed, camera, small_wh, 4)
    border = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    if border.max(initial=0) > 0:
        return False
    ducks = [p for p in placed if p.kind == "duck"]
    for k, duck in enumerate(ducks):
        alone = mask_coverage(shop, "bare", [duck], camera, small_wh, 4)[:, :, 0].sum()
        share = seen[:, :, k].sum() / alone
        low = 0.7 if picture.surface == "grass" else 0.93
        low, high = (0.45, 0.8) if picture.hidden and k == 0 else (low, 1.01)
        if k and not picture.hidden:
            low = min(low, 0.6)  # a second duck may stand behind something
        if not low <= share <= high:
            return False
    return True


def arrange(shop, picture: Picture, seed: int) -> tuple[list[Placed], Camera]:
    """The layout of a picture.

    Raises:
        RuntimeError: No layout among 60 shows the ducks as asked.
    """
    for attempt in range(60):
        rng = np.random.default_rng([seed, zlib.crc32(picture.name.encode()), attempt])
        around = rng.uniform(-14, 14)
        camera = aim(
            picture.share, picture.raised, around, picture.at_uv, picture.size_wh,
            picture.fov_y, picture.blur,
        )  # fmt: skip
        placed = _try_layout(picture, camera, rng)
        if placed and visible_enough(shop, picture, placed, camera):
            return placed, camera
    raise RuntimeError(f"{picture.name}: no layout found; ask for fewer toys or a smaller duck")
