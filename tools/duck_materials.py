"""What things are made of: plain plastics, and textured grounds and walls."""

from __future__ import annotations

import zlib
from functools import lru_cache

import mitsuba as mi
import numpy as np
from duck_noise import Texture
from duck_textures import texture

# name: (linear RGB, roughness, clearcoat, flatness); flatness imitates light
# that enters soft plastic and comes out again.
MATERIALS = {
    "duck_yellow": ((0.93, 0.56, 0.010), 0.24, 0.5, 0.45),
    "duck_orange": ((0.90, 0.19, 0.008), 0.26, 0.5, 0.35),
    "eye_white": ((0.86, 0.86, 0.84), 0.15, 0.5, 0.0),
    "black": ((0.008, 0.008, 0.009), 0.12, 0.6, 0.0),
    "yellow": ((0.90, 0.60, 0.015), 0.30, 0.3, 0.3),
    "pale_yellow": ((0.88, 0.74, 0.16), 0.45, 0.0, 0.0),
    "lemon": ((0.88, 0.66, 0.03), 0.38, 0.2, 0.4),
    "banana": ((0.86, 0.58, 0.06), 0.48, 0.0, 0.4),
    "brown": ((0.10, 0.05, 0.025), 0.7, 0.0, 0.0),
    "fur": ((0.36, 0.19, 0.085), 1.0, 0.0, 0.8),
    "fur_light": ((0.66, 0.47, 0.29), 1.0, 0.0, 0.8),
    "glass_dark": ((0.02, 0.025, 0.03), 0.06, 0.8, 0.0),
    "rubber": ((0.02, 0.02, 0.02), 0.6, 0.0, 0.0),
    "cream": ((0.78, 0.72, 0.58), 0.4, 0.1, 0.0),
    "white": ((0.84, 0.84, 0.83), 0.15, 0.5, 0.0),
    "red": ((0.62, 0.025, 0.025), 0.28, 0.4, 0.2),
    "orange": ((0.85, 0.22, 0.015), 0.3, 0.4, 0.2),
    "green": ((0.05, 0.40, 0.09), 0.3, 0.4, 0.2),
    "lime": ((0.40, 0.62, 0.05), 0.4, 0.2, 0.3),
    "blue": ((0.025, 0.13, 0.52), 0.28, 0.4, 0.2),
    "sky": ((0.22, 0.52, 0.78), 0.3, 0.3, 0.2),
    "violet": ((0.26, 0.08, 0.40), 0.35, 0.3, 0.2),
    "pink": ((0.85, 0.27, 0.38), 0.35, 0.3, 0.2),
    "wood": ((0.56, 0.34, 0.16), 0.55, 0.0, 0.0),
    "grey": ((0.30, 0.30, 0.31), 0.5, 0.0, 0.0),
    "water": ((0.30, 0.48, 0.52), 0.05, 0.5, 0.0),
}


def material(name: str) -> dict:
    """A plain mitsuba BSDF of `MATERIALS`."""
    rgb, rough, coat, flat = MATERIALS[name]
    bsdf = {
        "type": "principled", "roughness": rough, "specular": 0.5, "flatness": flat,
        "base_color": {"type": "rgb", "value": list(rgb)},
    }  # fmt: skip
    if coat:
        bsdf |= {"clearcoat": coat, "clearcoat_gloss": 0.92}
    return {"type": "twosided", "bsdf": bsdf}


@lru_cache(maxsize=8)
def _material_texture(name: str) -> Texture:
    """A texture depends on its name alone; making one takes a second, hence the cache."""
    return texture(name, np.random.default_rng(zlib.crc32(name.encode())))


def textured(name: str, width: float, depth: float, turned: bool = False) -> dict:
    """A BSDF for a rectangle of width x depth duck heights."""
    made = _material_texture(name)

    def bitmap(array: np.ndarray, raw: bool) -> dict:
        array = np.ascontiguousarray(np.rot90(array) if turned else array)
        pixels = array.astype("f4") if raw else (array * 255 + 0.5).astype("u1")
        to_uv = mi.ScalarTransform4f().scale([width / made.tile, depth / made.tile, 1])
        return {"type": "bitmap", "bitmap": mi.Bitmap(pixels), "raw": raw, "to_uv": to_uv}

    # Cloth and sand have no mirror-like layer; with one, a carpet looks like leather.
    specular = 0.08 if made.rough.mean() > 0.9 else 0.45
    bsdf = {
        "type": "principled", "specular": specular, "base_color": bitmap(made.color_srgb, False),
        "roughness": bitmap(made.rough, True),
    }  # fmt: skip
    if made.bump:
        bump = bitmap(made.height, True)
        bsdf = {"type": "bumpmap", "scale": made.bump, "arbitrary": bump, "bsdf": bsdf}
    return {"type": "twosided", "bsdf": bsdf}
