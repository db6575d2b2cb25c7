"""From the renderer's light values to a photograph: denoise, expose, grain."""

from __future__ import annotations

import cv2
import numpy as np
import pyoidn
from duck_light import Light


def denoise(channels: np.ndarray) -> np.ndarray:
    """Take the sampling noise out of a render.

    Args:
        channels: (H, W, 9) float32: linear RGB, albedo, normal.

    Returns:
        Linear RGB (H, W, 3) float32.

    Raises:
        ValueError: The renderer gave values that are not finite.
    """
    if not np.isfinite(channels).all():
        raise ValueError("the render holds values that are not finite")
    color, albedo, normal = (np.ascontiguousarray(channels[..., k : k + 3]) for k in (0, 3, 6))
    # One very bright sample (a lamp mirrored twice) would be spread by the filter.
    color = np.clip(color, 0, 60)
    return pyoidn.denoise(color, np.clip(albedo, 0, 1), np.clip(normal, -1, 1), hdr=True)


def _shoulder(light: np.ndarray, start: float = 0.62) -> np.ndarray:
    """Linear up to `start`, then bent so that bright parts fade to white slowly."""
    over = np.maximum(light - start, 0)
    room = 1 - start
    return np.minimum(light, start) + room * (1 - np.exp(-over / room))


def develop(linear_rgb: np.ndarray, light: Light, stops: float, seed: int) -> np.ndarray:
    """What a phone would make of it: an 8-bit sRGB picture (H, W, 3).

    Metering, white balance, a little bloom and vignetting, a tone curve, and
    sensor grain drawn from `seed`.
    """
    height, width = linear_rgb.shape[:2]
    down, right = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    gray = linear_rgb @ np.array([0.2126, 0.7152, 0.0722])
    # Centre-weighted metering in the log domain, like a camera's; bright windows
    # count no more than white paper.
    weight = np.exp(-1.2 * (down**2 + right**2))
    level = np.exp((np.log(np.clip(gray, 1e-4, 4.0)) * weight).sum() / weight.sum())
    image = linear_rgb * (0.22 / level) * 2.0 ** (light.stops + stops) * light.balance_rgb
    glow = cv2.GaussianBlur(np.clip(image - 0.9, 0, 6).astype("f4"), (0, 0), width / 90)
    image = image + 0.09 * glow
    image *= (1 - 0.13 * (down**2 + right**2))[..., None]
    image = np.clip(_shoulder(image), 0, 1)
    display = np.where(image <= 0.0031308, 12.92 * image, 1.055 * image ** (1 / 2.4) - 0.055)
    display += 0.10 * (display - 0.5) * 4 * display * (1 - display)  # a soft contrast curve
    rng = np.random.default_rng(seed)
    fine = rng.standard_normal((height, width, 1)) + 0.5 * rng.standard_normal((height, width, 3))
    grain = cv2.GaussianBlur(fine, (0, 0), 0.6) * 1.6
    display += light.grain * grain * (1.15 - 0.7 * display)  # dark parts are noisier
    return (np.clip(display, 0, 1) * 255 + 0.5).astype("u1")
