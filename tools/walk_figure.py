"""A walking figure of soft capsules: its pose at a moment, and its distance function.

Lengths are metres. In the figure's own frame x points forward, y up, z to its right; it stands on
y = 0, and its hips are above the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

THIGH, SHIN, FOOT = 0.43, 0.42, 0.15
STRIDE_M = 1.62  # walked in a whole cycle: two steps of the legs' swing
SWING = 0.49  # radians that a thigh swings forward and backward
HEIGHT_M = 1.8  # a bound that holds raised hands and long hair, too
BLEND_M = 0.012  # how far limbs flow into each other

Color = tuple[float, float, float]  # linear RGB, 0..1


@dataclass(frozen=True)
class Clothes:
    """What a figure looks like; colours are linear RGB."""

    skin: Color
    hair: Color
    shirt: Color
    trousers: Color
    shoes: Color
    stripes: Color | None = None
    long_hair: bool = False
    sleeves: bool = True


@dataclass(frozen=True)
class Capsule:
    """A limb: a line with a radius at each end."""

    a: np.ndarray  # (3,)
    b: np.ndarray
    radius_a: float
    radius_b: float
    color: Color


def pose(clothes: Clothes, phase: float) -> list[Capsule]:
    """The limbs at a phase of the walk, 0 to 1 for a whole cycle of two steps."""
    turn = 2 * np.pi * phase
    legs = [_leg(turn, -1), _leg(turn + np.pi, 1)]
    lowest = min(float(joint[1]) for leg in legs for joint in leg[3:])
    hips = _vector(0.0, 0.05 - lowest, 0.0)  # the lower sole touches the ground
    sway = 0.12 * np.sin(turn)  # shoulders turn against the hips
    limbs = []
    for leg in legs:
        hip, knee, ankle, heel, toe = (hips + joint for joint in leg)
        limbs += [
            Capsule(hip, knee, 0.088, 0.062, clothes.trousers),
            Capsule(knee, ankle, 0.062, 0.046, clothes.trousers),
            Capsule(heel, toe, 0.048, 0.04, clothes.shoes),
        ]
    chest = hips + _vector(0.02, 0.47, 0.0)
    for side in (-1, 1):
        shoulder = chest + _vector(side * sway * 0.17, 0.0, side * 0.16)
        hip = hips + _vector(0, 0.03, side * 0.06)
        armpit = shoulder - _vector(0, 0.06, side * 0.06)
        limbs.append(Capsule(hip, armpit, 0.115, 0.115, clothes.shirt))
        swing = side * 0.55 * np.sin(turn)
        elbow = shoulder + _vector(0.28 * np.sin(swing), -0.28 * np.cos(swing), side * 0.04)
        bend = swing + 0.35 + 0.25 * max(0.0, np.sin(swing))
        hand = elbow + _vector(0.25 * np.sin(bend), -0.25 * np.cos(bend), -side * 0.02)
        sleeve = clothes.shirt if clothes.sleeves else clothes.skin
        limbs += [
            Capsule(shoulder, elbow, 0.062, 0.047, clothes.shirt),
            Capsule(elbow, hand, 0.046, 0.036, sleeve),
            Capsule(hand, hand + _vector(0.02, -0.05, 0.0), 0.042, 0.038, clothes.skin),
        ]
    head = chest + _vector(0.05, 0.24, 0.0)
    nape, crown = head + _vector(-0.022, 0.07, 0.0), head + _vector(-0.01, 0.115, 0.0)
    limbs += [
        Capsule(chest, head, 0.055, 0.05, clothes.skin),
        Capsule(head, head + _vector(0.005, 0.09, 0.0), 0.082, 0.095, clothes.skin),
        Capsule(nape, crown, 0.095, 0.095, clothes.hair),
    ]
    if clothes.long_hair:
        back = head + _vector(-0.06, 0.06, 0.0)
        limbs.append(Capsule(back, back + _vector(-0.03, -0.22, 0.0), 0.085, 0.06, clothes.hair))
    return limbs


def _vector(x: float, y: float, z: float) -> np.ndarray:
    return np.array([x, y, z])


def _leg(turn: float, side: int) -> list[np.ndarray]:
    """Hip, knee, ankle, heel and toe, seen from the middle of the hips."""
    thigh = SWING * np.sin(turn) + 0.06
    # The knee bends while the leg swings forward, and a little under the weight.
    bend = 0.1 + 0.95 * max(0.0, np.cos(turn - 0.15)) ** 1.7
    shin = thigh - bend
    pitch = float(np.clip(shin + 0.12, -0.75, 0.3))
    hip = _vector(0.0, 0.0, side * 0.09)
    knee = hip + THIGH * _vector(np.sin(thigh), -np.cos(thigh), 0.0)
    ankle = knee + SHIN * _vector(np.sin(shin), -np.cos(shin), 0.0)
    forward = _vector(np.cos(pitch), np.sin(pitch), 0.0)
    heel = ankle + _vector(0.0, -0.035, 0.0) - 0.04 * forward
    return [hip, knee, ankle, heel, heel + (FOOT + 0.04) * forward]


def distance(limbs: list[Capsule], points: np.ndarray) -> np.ndarray:
    """How far points (M, 3) float32 are from the figure's skin, (M,); limbs flow into each other."""
    each = _to_limbs(limbs, points)
    least = each.min(axis=0)
    return least - BLEND_M * np.log(np.exp((least - each) / BLEND_M).sum(axis=0))


def colors(clothes: Clothes, limbs: list[Capsule], points: np.ndarray) -> np.ndarray:
    """The colour of points (M, 3) on the skin, (M, 3): that of the nearest limb."""
    nearest = _to_limbs(limbs, points).argmin(axis=0)
    found = np.array([limb.color for limb in limbs], np.float32)[nearest]
    if clothes.stripes is not None:
        shirt = (found == np.array(clothes.shirt, np.float32)).all(axis=1)
        found[shirt & (points[:, 1] % 0.12 < 0.05)] = clothes.stripes
    return found


def _to_limbs(limbs: list[Capsule], points: np.ndarray) -> np.ndarray:
    """How far points (M, 3) float32 are from each of K limbs, (K, M)."""
    a, b = (np.array([getattr(limb, end) for limb in limbs], np.float32) for end in "ab")
    thin, thick = (
        np.array([[getattr(limb, f"radius_{end}")] for limb in limbs], np.float32) for end in "ab"
    )
    along = b - a
    length2 = np.maximum((along * along).sum(axis=1, keepdims=True), 1e-9)
    # Squares are multiplied out, so that one product of matrices serves all limbs and points.
    ahead = along @ points.T - (along * a).sum(axis=1, keepdims=True)
    part = np.clip(ahead / length2, 0, 1)
    away2 = (points * points).sum(axis=1) - 2 * (a @ points.T) + (a * a).sum(axis=1, keepdims=True)
    away2 += part * (part * length2 - 2 * ahead)
    return np.sqrt(np.maximum(away2, 0)) - (thin + (thick - thin) * part)
