"""The square that the figures of render_walk.py cross, its light, and the camera that sees it.

The world is in metres: x to the right, y up, z away from the camera; the ground is y = 0.
"""

from __future__ import annotations

import numpy as np

SIZE_WH = (640, 360)
SAMPLES = 2  # a side, for each pixel
SUN = np.array([-0.5, 0.72, -0.48], np.float32) / np.float32(np.sqrt(0.25 + 0.5184 + 0.2304))
SUNLIGHT, SKYLIGHT = np.array([1.5, 1.36, 1.15]), np.array([0.34, 0.4, 0.5])
EYE = np.array([0.0, 1.75, 0.0], np.float32)
PITCH, FOCAL = -0.085, 0.98  # radians; focal length in picture widths
WALL_Z, HEDGE_Z = 14.0, 12.6


def rays() -> np.ndarray:
    """Directions (h, w, 3) of all samples, of length 1."""
    width, height = SIZE_WH[0] * SAMPLES, SIZE_WH[1] * SAMPLES
    x = (np.arange(width) + 0.5 - width / 2) / (FOCAL * width)
    y = (height / 2 - np.arange(height) - 0.5) / (FOCAL * width)
    up = y[:, None] * np.cos(PITCH) + np.sin(PITCH) + 0 * x
    away = np.cos(PITCH) - y[:, None] * np.sin(PITCH) + 0 * x
    direction = np.stack([x + 0 * up, up, away], axis=-1).astype(np.float32)
    return direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def window(points: np.ndarray) -> tuple[slice, slice]:
    """The part of the picture that holds points (M, 3) of the world, with a margin."""
    x, y, z = (points - EYE).T
    ahead = z * np.cos(PITCH) + y * np.sin(PITCH)
    up = y * np.cos(PITCH) - z * np.sin(PITCH)
    width, height = SIZE_WH[0] * SAMPLES, SIZE_WH[1] * SAMPLES
    column = np.clip(width / 2 + FOCAL * width * x / ahead, 0, width)
    row = np.clip(height / 2 - FOCAL * width * up / ahead, 0, height)
    return (
        slice(max(0, int(row.min()) - 2), int(row.max()) + 2),
        slice(max(0, int(column.min()) - 2), int(column.max()) + 2),
    )


def noise(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, octaves: int = 4) -> np.ndarray:
    """Smooth noise around 0 over two coordinates, finer in each octave."""
    total = np.zeros(x.shape)
    for octave in range(octaves):
        grid = rng.normal(size=(64, 64))
        u, v = x * 2**octave + 17.3, y * 2**octave + 41.7
        i, j = np.floor(u).astype(int), np.floor(v).astype(int)
        s, t = u - i, v - j
        s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
        at = [[grid[(i + a) % 64, (j + b) % 64] for b in (0, 1)] for a in (0, 1)]
        low, high = (row[0] + (row[1] - row[0]) * t for row in at)
        total += (low + (high - low) * s) / 2**octave
    return total


def square(direction: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The empty square: light from the sky and from the sun (h, w, 3) each, and where the ground is.

    Ground points (h, w, 3) are NaN where there is none.
    """
    rng = np.random.default_rng(seed)
    x, y, z = np.moveaxis(direction.astype(np.float64), -1, 0)
    to_wall = WALL_Z / z
    wall_x, wall_y = to_wall * x, EYE[1] + to_wall * y
    albedo = np.array([0.56, 0.43, 0.3]) * (1 + 0.05 * noise(rng, wall_x, wall_y))[..., None]
    facing = np.full(x.shape, max(0.0, -float(SUN[2])))
    base = wall_y < 0.9
    albedo[base] = (
        np.array([0.3, 0.29, 0.28]) * (1 + 0.1 * noise(rng, wall_x * 3, wall_y * 3))[..., None]
    )[base]
    across, up = (wall_x + 60.0) % 2.5, wall_y - 1.5
    frame = (abs(across - 1.25) < 0.56) & (up > -0.08) & (up < 1.88)
    pane = (abs(across - 1.25) < 0.48) & (up > 0) & (up < 1.8)
    cross = (abs(across - 1.25) < 0.03) | (abs(up - 1.1) < 0.03)
    shutter = (abs(across - 1.25) >= 0.56) & (abs(across - 1.25) < 0.98) & (up > 0) & (up < 1.8)
    albedo[frame] = (0.7, 0.68, 0.62)
    glass = (
        np.array([0.05, 0.07, 0.1])
        + np.array([0.1, 0.13, 0.16]) * np.clip(up / 1.8, 0, 1)[..., None]
    )
    albedo[pane & ~cross] = glass[pane & ~cross]
    slats = 0.8 + 0.2 * (np.mod(up, 0.09) < 0.06)
    albedo[shutter] = (np.array([0.08, 0.2, 0.17]) * slats[..., None])[shutter]

    to_hedge = HEDGE_Z / z
    hedge_x, hedge_y = to_hedge * x, EYE[1] + to_hedge * y
    leaves = noise(rng, hedge_x * 5, hedge_y * 5, 5)
    hedge = hedge_y < 0.75 + 0.03 * noise(rng, hedge_x * 3, 0 * hedge_x)
    green = np.array([0.05, 0.13, 0.03]) * np.clip(0.8 + 0.35 * leaves, 0.15, 2)[..., None]
    albedo[hedge] = green[hedge]

    to_ground = np.where(y < -1e-4, -EYE[1] / np.minimum(y, -1e-4), np.inf)
    ground = to_ground * z < HEDGE_Z
    ground_x, ground_z = (np.where(ground, to_ground * side, 0) for side in (x, z))
    tile_x, tile_z = ground_x / 0.8, ground_z / 0.8
    shade = rng.normal(1, 0.07, (97, 97))[
        np.floor(tile_x).astype(int) % 97, np.floor(tile_z).astype(int) % 97
    ]
    # Joints are a constant width on the ground, and fade where they are finer than a sample.
    footprint = np.where(ground, to_ground, 0) / (FOCAL * SIZE_WH[0] * SAMPLES)
    joint = np.ones(x.shape)
    for tile, size in ((tile_x, footprint), (tile_z, footprint / np.maximum(-y, 0.02))):
        away = abs((tile + 0.5) % 1 - 0.5) * 0.8
        soft = 0.012 + size
        joint -= 0.45 * (0.012 / soft) * np.clip(1.5 - away / soft, 0, 1)
    stone = np.array([0.42, 0.4, 0.37]) * (shade * joint)[..., None]
    stone *= (1 + 0.06 * noise(rng, ground_x * 4, ground_z * 4))[..., None]
    albedo[ground] = stone[ground]
    facing[ground] = SUN[1]
    points = np.stack([ground_x, 0 * x, ground_z], axis=-1)
    points[~ground] = np.nan
    sun = albedo * (SUNLIGHT * facing[..., None])
    return albedo * SKYLIGHT, sun, points.astype(np.float32)
