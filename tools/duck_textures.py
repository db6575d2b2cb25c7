"""Procedural materials for tables, floors and walls, as tileable bitmaps.

`texture(name, rng)` makes a `Texture`: colour, height (for bumps) and roughness.
Nothing is read from disk, so the pictures carry no one else's rights.
"""

from __future__ import annotations

import numpy as np
from duck_noise import SIDE, Texture, grid, noise, ramp, unit


def _wood(rng, stops, planks: int = 4, gap: float = 0.004) -> Texture:
    down, right = grid()
    plank = np.floor(down * planks).astype(int) % planks
    shift = rng.integers(0, SIDE, planks)
    long = noise(rng, 1.6, (1.0, 14.0), 2)
    fibre = noise(rng, 0.5, (1.0, 30.0), 40)
    warp = noise(rng, 2.2, (1.0, 6.0), 1)
    rows = np.arange(SIDE)[:, None]
    cols = (np.arange(SIDE)[None, :] + shift[plank]) % SIDE
    rings = np.sin(2 * np.pi * (down * 22 + 1.1 * warp[rows, cols]))
    tone = 0.5 + 0.13 * long[rows, cols] + 0.05 * fibre + 0.09 * rings
    tone += rng.uniform(-0.14, 0.14, planks)[plank]
    edge = np.minimum(down * planks % 1, 1 - down * planks % 1) / planks
    joint = np.abs((right + shift[plank] / SIDE) % 1 - 0.5)
    seam = np.clip(np.minimum(edge, joint) / gap, 0, 1) if gap else np.ones_like(edge)
    color = ramp(np.clip(tone, 0, 1), stops) * (0.3 + 0.7 * seam[..., None])
    height = 0.25 * np.clip(0.5 + 0.15 * fibre, 0, 1) + 0.75 * seam
    return Texture(color, height, np.clip(0.42 + 0.05 * long, 0.25, 0.7), 5.0, 0.012)


def _tiles(rng, base, other=None, count: int = 4, rough: float = 0.15, grout=(0.62, 0.6, 0.57)):
    down, right = grid()
    r, c = (down * count).astype(int), (right * count).astype(int)
    tint = rng.uniform(-0.03, 0.03, (count, count))[r, c]
    cloud = noise(rng, 1.9, low=2)
    color = np.asarray(base, float) + (tint + 0.018 * cloud)[..., None]
    if other is not None:
        color = np.where(
            ((r + c) % 2 == 1)[..., None], np.asarray(other) + 0.02 * cloud[..., None], color
        )
    u, v = down * count % 1, right * count % 1
    edge = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
    body = np.clip((edge - 0.014) / 0.012, 0, 1)
    dirt = np.asarray(grout) * (1 + 0.08 * noise(rng, 0.9))[..., None]
    color = dirt * (1 - body[..., None]) + color * body[..., None]
    height = np.clip((edge - 0.01) / 0.03, 0, 1) + 0.03 * cloud
    return Texture(color, height, 0.8 - (0.8 - rough) * body, 5.6, 0.02)


def _weave(rng, color, threads: int = 128, bump: float = 0.012) -> Texture:
    down, right = grid()
    a, b = np.sin(np.pi * threads * down) ** 2, np.sin(np.pi * threads * right) ** 2
    over = ((np.floor(down * threads) + np.floor(right * threads)) % 2).astype(bool)
    height = np.where(over, a * 0.8 + 0.2 * b, b * 0.8 + 0.2 * a)
    shade = 0.72 + 0.28 * height + 0.05 * noise(rng, 0.6) + 0.03 * noise(rng, 2.0)
    return Texture(color * shade[..., None], height, np.full_like(height, 0.95), 4.0, bump)


def _gingham(rng) -> Texture:
    down, right = grid()
    stripes = (np.floor(down * 10) % 2) + (np.floor(right * 10) % 2)
    color = ramp(stripes / 2, [(0.93, 0.92, 0.89), (0.85, 0.45, 0.44), (0.72, 0.10, 0.12)])
    return _weave(rng, color)


def _linen(rng) -> Texture:
    return _weave(rng, np.full((SIDE, SIDE, 3), (0.45, 0.55, 0.68)), 96, 0.02)


def _carpet(rng, base=(0.42, 0.30, 0.36)) -> Texture:
    tufts = noise(rng, 0.2, low=60, high=190)
    cloud = noise(rng, 1.6, low=2, high=60)
    height = unit(tufts)
    color = np.asarray(base) * (0.30 + 1.15 * height + 0.025 * cloud)[..., None]
    return Texture(color, height, np.full_like(height, 1.0), 4.0, 0.05)


def _towel(rng) -> Texture:
    return _carpet(rng, (0.72, 0.82, 0.80))


def _granite(rng) -> Texture:
    grains = noise(rng, 0.7, low=30, high=300)
    large = noise(rng, 1.0, low=12, high=90)
    tone = np.clip(0.48 + 0.16 * large + 0.1 * grains, 0, 1)
    color = ramp(
        tone, [(0.07, 0.07, 0.08), (0.38, 0.35, 0.34), (0.62, 0.55, 0.52), (0.86, 0.83, 0.8)]
    )
    return Texture(color, unit(grains), np.clip(0.22 + 0.05 * large, 0.1, 0.4), 4.0, 0.001)


def _marble(rng) -> Texture:
    warp = noise(rng, 2.0, low=1)
    vein = np.exp(-np.abs(noise(rng, 2.1, low=1) + 0.35 * warp) * 9)
    fine = np.exp(-np.abs(noise(rng, 1.9, low=3)) * 14)
    tone = np.clip(0.92 - 0.42 * vein - 0.18 * fine + 0.03 * warp, 0, 1)
    color = ramp(tone, [(0.28, 0.29, 0.32), (0.6, 0.6, 0.62), (0.93, 0.92, 0.90)])
    return Texture(color, unit(warp), np.full_like(tone, 0.12), 6.0, 0.0005)


def _concrete(rng, base=(0.56, 0.55, 0.53), bump: float = 0.03) -> Texture:
    cloud, grain = noise(rng, 1.7, low=1), noise(rng, 0.6, low=20)
    pits = np.clip(noise(rng, 0.9, low=25, high=160) - 2.1, 0, 1)
    color = np.asarray(base) * (1 + 0.07 * cloud + 0.05 * grain - 0.5 * pits)[..., None]
    height = unit(0.6 * grain + 0.5 * cloud) - 0.8 * pits
    return Texture(color, height, np.clip(0.75 + 0.05 * cloud, 0, 1), 6.0, bump)


def _sand(rng) -> Texture:
    down, right = grid()
    warp = noise(rng, 2.0, low=1)
    ripple = 0.5 + 0.5 * np.sin(2 * np.pi * (6 * down + 2 * right + 0.28 * warp))
    grain = noise(rng, 0.1, low=60)
    color = np.asarray((0.80, 0.68, 0.50)) * (0.93 + 0.08 * ripple + 0.08 * grain)[..., None]
    return Texture(color, ripple + 0.10 * grain, np.full_like(warp, 0.95), 5.0, 0.045)


def _cork(rng) -> Texture:
    cells = noise(rng, 0.5, low=25, high=110)
    dark = np.clip(noise(rng, 0.6, low=30, high=140) - 1.5, 0, 1)
    tone = np.clip(0.55 + 0.14 * cells - 0.5 * dark, 0, 1)
    color = ramp(tone, [(0.22, 0.12, 0.06), (0.62, 0.43, 0.26), (0.84, 0.66, 0.46)])
    return Texture(color, tone, np.full_like(tone, 0.85), 4.0, 0.012)


def _leather(rng) -> Texture:
    cells = np.abs(noise(rng, 0.4, low=25, high=75))
    height = np.clip(cells * 0.9, 0, 1) ** 0.5
    color = np.asarray((0.30, 0.13, 0.07)) * (0.7 + 0.35 * height)[..., None]
    return Texture(color, height, np.clip(0.5 - 0.12 * height, 0, 1), 4.0, 0.018)


def _paper(rng, base=(0.30, 0.62, 0.66), spot=(0.97, 0.93, 0.82)) -> Texture:
    """Wrapping paper with rows of dots and little crosses."""
    down, right = grid()
    row = np.floor(down * 10)
    u, v = down * 10 % 1 - 0.5, (right * 10 + 0.5 * (row % 2)) % 1 - 0.5
    dots = np.clip((0.24 - np.hypot(u, v)) * 30, 0, 1)
    crosses = np.clip((0.05 - np.minimum(np.abs(u), np.abs(v))) * 40, 0, 1) * (
        np.hypot(u, v) < 0.28
    )
    mark = np.where(row % 4 < 2, dots, crosses)[..., None]
    color = np.asarray(base) * (1 - mark) + np.asarray(spot) * mark
    crease = noise(rng, 2.1, low=1, high=60)
    return Texture(
        color * (1 + 0.015 * crease[..., None]),
        unit(crease),
        np.full((SIDE, SIDE), 0.45),
        4.0,
        0.03,
    )


def _news(rng) -> Texture:
    """A newspaper: columns of grey lines made of word-like dashes, some headlines."""
    page = np.full((SIDE, SIDE), 0.86)
    for column in range(4):
        x0, x1, y = column * 256 + 14, column * 256 + 242, 10
        while y < SIDE - 16:
            kind = rng.uniform()
            size, count = (22, 2) if kind < 0.12 else (7, int(rng.integers(6, 14)))
            for _ in range(count):
                x = x0
                while y + size < SIDE - 6 and x < x1:
                    end = min(x + int(rng.integers(2, 7) * size * 0.6), x1)
                    ink = rng.uniform(0.1, 0.75, (size, (end - x + 1) // 2)).repeat(2, 1)[
                        :, : end - x
                    ]
                    page[y : y + size, x:end] = ink if size < 10 else ink * 0.3
                    x = end + max(size // 2, 4)
                y += int(size * 1.6)
            y += 12
    crease = noise(rng, 2.2, low=1, high=40)
    color = page[..., None] * np.asarray((1.0, 0.98, 0.93)) * (1 + 0.02 * crease[..., None])
    return Texture(color, unit(crease), np.full((SIDE, SIDE), 0.8), 4.5, 0.05)


def _bricks(rng) -> Texture:
    down, right = grid()
    row = np.floor(down * 10).astype(int)
    across = (right * 5 + 0.5 * (row % 2)) % 5
    tone = rng.uniform(0, 1, (10, 5))[row % 10, across.astype(int) % 5]
    u, v = down * 10 % 1, across % 1
    edge = np.minimum(np.minimum(u, 1 - u), 2 * np.minimum(v, 1 - v))
    body = np.clip((edge - 0.06) / 0.06, 0, 1)
    grain = noise(rng, 0.9, low=6)
    brick = ramp(tone, [(0.42, 0.17, 0.12), (0.58, 0.27, 0.18), (0.66, 0.38, 0.28)])
    color = brick * body[..., None] + np.asarray((0.66, 0.63, 0.58)) * (1 - body[..., None])
    height = body + 0.12 * grain
    return Texture(
        color * (1 + 0.08 * grain[..., None]), height, np.full_like(body, 0.9), 9.0, 0.06
    )


def _plaster(base):
    return lambda rng: _concrete(rng, base, 0.012)


def _stripes(rng) -> Texture:
    _, right = grid()
    band = (np.floor(right * 12) % 2)[..., None]
    color = band * np.asarray((0.80, 0.76, 0.66)) + (1 - band) * np.asarray((0.55, 0.64, 0.60))
    grain = noise(rng, 1.2)
    return Texture(
        color * (1 + 0.02 * grain[..., None]), unit(grain), np.full((SIDE, SIDE), 0.8), 8.0, 0.01
    )


OAK = [(0.36, 0.22, 0.11), (0.60, 0.41, 0.23), (0.76, 0.58, 0.37)]
WALNUT = [(0.13, 0.07, 0.04), (0.30, 0.17, 0.10), (0.44, 0.28, 0.17)]
PINE = [(0.66, 0.44, 0.22), (0.83, 0.64, 0.38), (0.92, 0.78, 0.54)]
GREY_WOOD = [(0.25, 0.23, 0.21), (0.47, 0.44, 0.41), (0.64, 0.61, 0.57)]

TEXTURES = {
    "oak": lambda rng: _wood(rng, OAK),
    "walnut": lambda rng: _wood(rng, WALNUT, 3, 0.002),
    "pine": lambda rng: _wood(rng, PINE, 5, 0.003),
    "deck": lambda rng: _wood(rng, GREY_WOOD, 4, 0.012),
    "white_tiles": lambda rng: _tiles(rng, (0.86, 0.87, 0.86)),
    "blue_tiles": lambda rng: _tiles(rng, (0.32, 0.52, 0.64), count=5),
    "chess_tiles": lambda rng: _tiles(rng, (0.83, 0.81, 0.77), (0.16, 0.17, 0.19), rough=0.22),
    "terracotta": lambda rng: _tiles(rng, (0.66, 0.38, 0.26), rough=0.5),
    "gingham": _gingham, "linen": _linen, "carpet": _carpet, "towel": _towel,
    "granite": _granite, "marble": _marble, "concrete": _concrete, "sand": _sand,
    "cork": _cork, "leather": _leather, "paper": _paper, "news": _news, "bricks": _bricks,
    "pink_paper": lambda rng: _paper(rng, (0.88, 0.56, 0.62), (0.35, 0.25, 0.45)),
    "cream_wall": _plaster((0.82, 0.77, 0.67)), "white_wall": _plaster((0.86, 0.86, 0.85)),
    "blue_wall": _plaster((0.45, 0.55, 0.66)), "green_wall": _plaster((0.48, 0.57, 0.44)),
    "soil": lambda rng: _concrete(rng, (0.19, 0.31, 0.09), 0.08), "stripes": _stripes,
    "enamel": lambda rng: Texture(
        np.full((SIDE, SIDE, 3), 0.93), unit(noise(rng, 2)), np.full((SIDE, SIDE), 0.1), 4.0, 0.0
    ),
}  # fmt: skip


def texture(name: str, rng: np.random.Generator) -> Texture:
    """The named material; a KeyError lists what there is."""
    if name not in TEXTURES:
        raise KeyError(f"no texture {name!r}; there are {sorted(TEXTURES)}")
    made = TEXTURES[name](rng)
    return Texture(
        np.clip(made.color_srgb, 0, 1),
        made.height,
        np.clip(made.rough, 0.05, 1),
        made.tile,
        made.bump,
    )
