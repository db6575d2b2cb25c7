"""What all procedural textures are made of: the tile, seamless noise, colour ramps.

Noise is shaped white noise in the Fourier domain, which repeats without a seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 1024  # pixels of a tile; about 4 duck heights (36 cm) wide


@dataclass(frozen=True)
class Texture:
    """One tile of a material.

    Attributes:
        color_srgb: (SIDE, SIDE, 3) float, sRGB in 0..1.
        height: (SIDE, SIDE) float in 0..1.
        rough: (SIDE, SIDE) float, roughness in 0..1.
        tile: Width of the tile in duck heights.
        bump: Height in duck heights that `height` = 1 stands for.
    """

    color_srgb: np.ndarray
    height: np.ndarray
    rough: np.ndarray
    tile: float = 4.0
    bump: float = 0.01


def noise(rng, power: float = 1.8, stretch=(1.0, 1.0), low: float = 1.0, high: float = 400.0):
    """Tileable noise (SIDE, SIDE), zero mean, unit deviation.

    Args:
        rng: A numpy generator.
        power: Spectrum falls as frequency ** -power.
        stretch: (down, right); a value above 1 makes features longer that way.
        low: Lowest frequency kept, in waves per tile.
        high: Highest frequency kept.
    """
    f = np.fft.fftfreq(SIDE) * SIDE
    radius = np.hypot(f[:, None] * stretch[0], f[None, :] * stretch[1])
    weight = np.where((radius >= low) & (radius <= high), np.maximum(radius, 1e-9) ** -power, 0.0)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) * weight).real
    return (field - field.mean()) / field.std()


def ramp(value, stops) -> np.ndarray:
    """Colours (..., 3) from values in 0..1 through evenly spaced colour stops."""
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(value, at, [s[c] for s in stops]) for c in range(3)], -1)


def unit(value) -> np.ndarray:
    """Noise brought to 0..1; what is beyond 2.5 deviations is cut."""
    return np.clip(0.5 + 0.2 * value, 0, 1)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """How far down and right each pixel is, (SIDE, SIDE) each, in 0..1."""
    return np.meshgrid(np.arange(SIDE) / SIDE, np.arange(SIDE) / SIDE, indexing="ij")
