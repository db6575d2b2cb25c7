"""Light for the pictures: a painted room or garden all round, and some lamps.

The surroundings are an equirectangular bitmap made of soft rectangles (windows,
shelves, doors, books) or of sky and hedges. It lights the scene, is mirrored in
the glossy plastic, and is the far, out-of-focus background of pictures that
have no wall. Light from a bitmap converges fast, since mitsuba samples it by
brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import mitsuba as mi
import numpy as np

HIGH, WIDE = 512, 1024  # pixels of the surroundings


@dataclass(frozen=True)
class Light:
    """A lighting mood.

    Attributes:
        around: "room", "evening", "garden" or "studio".
        level: Factor on the surroundings' radiance.
        lamp: None, "warm", "strong", "sun" or "flash".
        balance_rgb: What the camera's white balance multiplies the colours with.
        stops: Exposure correction; negative is darker than the meter says.
        grain: Deviation of the sensor's noise, display values in 0..1.
        window_at: Direction of the window in degrees; 0 is behind the scene,
            90 is to the right of it, 180 behind the camera.
    """

    around: str = "room"
    level: float = 1.0
    lamp: str | None = None
    balance_rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)
    stops: float = 0.0
    grain: float = 0.008
    window_at: float = 250.0


LIGHTS = {
    "window_left": Light(window_at=265),
    "window_right": Light(window_at=95, balance_rgb=(0.98, 1.0, 1.05)),
    "window_front": Light(window_at=200, balance_rgb=(1.03, 1.0, 0.96)),
    "backlit": Light(window_at=35, stops=-0.1, balance_rgb=(1.0, 1.0, 1.04)),
    "lamp": Light(level=0.22, lamp="warm", balance_rgb=(1.0, 0.97, 0.92), grain=0.012),
    "evening": Light("evening", 0.5, "warm", (1.02, 0.95, 0.84), -1.25, 0.022),
    "dusk": Light("room", 0.3, None, (0.86, 0.96, 1.16), -1.5, 0.024),
    "strong": Light(level=0.35, lamp="strong", stops=0.55),
    "flash": Light("evening", 0.35, "flash", (1.0, 1.0, 1.03), 0.1, 0.014),
    "sun": Light("garden", 0.7, "sun", (1.02, 1.0, 0.95), 0.15, 0.006),
    "overcast": Light("garden", 1.0, None, (0.98, 1.0, 1.03), 0.0, 0.007),
    "studio": Light("studio", 1.0, None, stops=0.15, grain=0.005),
}


def _put(sky: np.ndarray, azimuth: float, width: float, low: float, high: float, rgb) -> None:
    """Fill a rectangle of the surroundings; all sizes in degrees, azimuth 0 at the left edge."""
    rows = slice(int((90 - high) / 180 * HIGH), int((90 - low) / 180 * HIGH))
    first = int((azimuth - width / 2) / 360 * WIDE)
    columns = np.arange(first, first + max(int(width / 360 * WIDE), 1)) % WIDE
    sky[rows, columns] = rgb


def _window(sky: np.ndarray, azimuth: float, rgb) -> None:
    for part in (-8.5, 8.5):  # two panes, so that highlights show a window bar
        _put(sky, azimuth + part, 15, 2, 28, rgb)
        _put(sky, azimuth + part, 15, 30, 52, rgb)


def _room(rng, window_at: float, evening: bool) -> np.ndarray:
    sky = np.zeros((HIGH, WIDE, 3))
    wall = np.asarray([(0.40, 0.36, 0.29), (0.33, 0.37, 0.38), (0.42, 0.40, 0.37)][rng.integers(3)])
    height = np.linspace(90, -90, HIGH)[:, None, None]
    sky[:] = np.where(height > 50, 0.62, np.where(height > -14, wall, [0.15, 0.10, 0.07]))
    for k in range(44):  # cupboards, sofas, pictures, curtains, doors, all round
        low = rng.uniform(-28, 12)
        rgb = rng.uniform(0.03, 0.6) * rng.uniform(0.45, 1.0, 3) * [1.0, 0.9, 0.8]
        _put(sky, 8.2 * k, rng.uniform(3, 17), low, low + rng.uniform(5, 26), rgb)
    for k in range(14):  # rugs and shadows on the floor
        low, rgb = rng.uniform(-60, -30), rng.uniform(0.04, 0.25) * rng.uniform(0.6, 1.0, 3)
        _put(sky, 26 * k, rng.uniform(10, 30), low, low + rng.uniform(4, 16), rgb)
    for k in range(9):  # shelves of books
        start, low = 40 * k + rng.uniform(0, 20), rng.uniform(-12, 12)
        for k in range(14):
            rgb = rng.uniform(0.03, 0.4) * rng.uniform(0.4, 1.0, 3) * [1.0, 0.85, 0.75]
            _put(sky, start + 1.7 * k, 1.6, low, low + rng.uniform(5, 8), rgb)
    pane = np.array([0.10, 0.14, 0.26]) if evening else np.array([11.0, 11.6, 12.5])
    _window(sky, window_at, pane)
    _window(sky, window_at + 50, 0.45 * pane)
    for k in range(3 if evening else 1):  # table lamps far away
        _put(sky, rng.uniform(0, 360), 4, 4, 9, np.array([9.0, 5.6, 2.4]) * (1.2 - 0.3 * k))
    return sky


def _garden(rng) -> np.ndarray:
    height = np.linspace(90, -90, HIGH)[:, None, None]
    zenith, horizon = np.array([0.45, 0.68, 1.15]), np.array([1.25, 1.3, 1.35])
    blue = np.clip(height / 70, 0, 1)
    sky = horizon * (1 - blue) + zenith * blue + np.zeros((HIGH, WIDE, 1))
    puff = cv2.GaussianBlur(rng.standard_normal((HIGH, WIDE)), (0, 0), 22)
    sky += np.clip(puff / puff.std(), 0, 2)[..., None] * 0.45 * (height > 6)
    hedge = cv2.GaussianBlur(rng.standard_normal((HIGH, WIDE)), (0, 0), 5)
    hedge = np.clip(0.5 + 0.25 * hedge / hedge.std(), 0.05, 1)[..., None]
    top = 9 + 7 * np.sin(np.linspace(0, 14 * np.pi, WIDE)) * np.sin(np.linspace(0, 6 * np.pi, WIDE))
    sky = np.where(height < top[None, :, None], hedge * [0.16, 0.30, 0.07], sky)
    return np.where(height < -3, np.array([0.17, 0.24, 0.08]) * (0.7 + 0.5 * hedge), sky)


def _studio() -> np.ndarray:
    sky = np.full((HIGH, WIDE, 3), 0.42)
    _put(sky, 250, 60, 15, 70, 4.5)
    _put(sky, 90, 40, 10, 60, 2.2)
    return sky


def surroundings(light: Light, rng: np.random.Generator) -> dict:
    """The mitsuba emitter of everything that is far away."""
    if light.around == "garden":
        sky = _garden(rng)
    elif light.around == "studio":
        sky = _studio()
    else:
        sky = _room(rng, light.window_at, light.around == "evening")
    wide = np.concatenate([sky[:, -32:], sky, sky[:, :32]], 1)  # so that the blur wraps round
    soft = cv2.GaussianBlur(wide, (0, 0), 3.0)[:, 32:-32] * light.level
    # Mitsuba's bitmap has its middle column at -z and +y up; this puts column 0
    # behind the scene (+y), with degrees growing towards +x, and z up.
    to_world = mi.ScalarTransform4f().rotate([1, 0, 0], 90)
    bitmap = mi.Bitmap(soft.astype(np.float32))
    return {"type": "envmap", "bitmap": bitmap, "to_world": to_world}


def lamps(light: Light, camera_xyz: np.ndarray) -> dict[str, dict]:
    """The near lights of a mood, as mitsuba shapes and emitters by name."""
    look = mi.ScalarTransform4f().look_at

    def panel(origin, half: float, rgb) -> dict:
        at = look(list(map(float, origin)), [0.0, 0.0, 0.3], [0, 0, 1]).scale(half)
        emitter = {"type": "area", "radiance": {"type": "rgb", "value": list(rgb)}}
        return {"type": "rectangle", "to_world": at, "emitter": emitter}

    if light.lamp == "warm":
        return {"lamp": panel((3.6, -1.2, 6.0), 0.9, (26, 16.5, 8.5))}
    if light.lamp == "strong":
        return {"lamp": panel((-4.5, -1.0, 4.0), 0.8, (52, 50, 46))}
    if light.lamp == "flash":
        return {"lamp": panel(camera_xyz + np.array([0.25, 0.0, 0.45]), 0.14, (420, 420, 430))}
    if light.lamp == "sun":
        # A wide disc far away: sharper shadows than a window, softer than a point.
        return {"lamp": panel((-21.0, -13.0, 27.0), 1.3, (520, 480, 420))}
    return {}
