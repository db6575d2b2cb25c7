"""Render a clip of people walking over a square, to try video on: data/people/walk.mp4.

    python tools/render_walk.py                                # needs numpy, Pillow and av
    python tools/render_walk.py --only 60 --out /tmp/look.png  # one frame

Four figures of soft capsules (walk_figure.py) cross a square (walk_square.py), and hide one another for
a moment. They are followed ray by ray along their distance functions: about a second of one core a
frame. Everything is seeded: the same versions give the same frames.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from walk_figure import HEIGHT_M, STRIDE_M, Clothes, colors, distance, pose
from walk_square import EYE, SAMPLES, SIZE_WH, SKYLIGHT, SUN, SUNLIGHT, rays, square, window

FPS, FRAMES = 25, 125
DEFAULT_OUT = Path(__file__).resolve().parents[1] / "data" / "people" / "walk.mp4"


@dataclass(frozen=True)
class Walker:
    """Someone who walks straight on: from where (x, z), where to, how fast, at which phase."""

    start: tuple[float, float]
    heading: float  # radians; 0 is to the right, pi / 2 away from the camera
    speed: float  # metres a second
    phase: float
    tall: float  # 1 is 1.75 m
    clothes: Clothes


WALKERS = [
    Walker((-3.2, 5.2), 0.02, 1.3, 0.1, 1.0, Clothes(
        (0.62, 0.36, 0.24), (0.05, 0.03, 0.02), (0.5, 0.045, 0.04), (0.03, 0.045, 0.1),
        (0.75, 0.75, 0.72), sleeves=False)),
    Walker((3.9, 6.9), 3.1, 1.25, 0.6, 0.95, Clothes(
        (0.75, 0.48, 0.36), (0.28, 0.14, 0.05), (0.55, 0.56, 0.6), (0.05, 0.12, 0.22),
        (0.04, 0.03, 0.03), stripes=(0.03, 0.07, 0.25), long_hair=True)),
    Walker((2.3, 11.2), -1.95, 1.15, 0.35, 1.04, Clothes(
        (0.2, 0.1, 0.06), (0.012, 0.01, 0.01), (0.62, 0.42, 0.05), (0.16, 0.15, 0.13),
        (0.1, 0.04, 0.02))),
    Walker((-3.6, 9.3), 0.05, 1.0, 0.8, 0.92, Clothes(
        (0.7, 0.43, 0.31), (0.03, 0.02, 0.015), (0.04, 0.24, 0.14), (0.3, 0.24, 0.17),
        (0.05, 0.05, 0.06), long_hair=True, sleeves=False)),
]  # fmt: skip


class Figure:
    """A walker at a moment, in the world's coordinates: x right, y up, z away from the camera."""

    def __init__(self, walker: Walker, seconds: float) -> None:
        forward = np.array([np.cos(walker.heading), 0, np.sin(walker.heading)])
        right = np.array([np.sin(walker.heading), 0, -np.cos(walker.heading)])
        walked = walker.speed * seconds
        self.place = np.array([walker.start[0], 0, walker.start[1]]) + walked * forward
        self.place = self.place.astype(np.float32)
        self.turn = np.stack([forward, [0, 1, 0], right]).astype(np.float32)  # world to own
        self.tall = np.float32(walker.tall)
        self.clothes = walker.clothes
        self.limbs = pose(walker.clothes, walker.phase + walked / (STRIDE_M * walker.tall))

    def own(self, points: np.ndarray) -> np.ndarray:
        """World points (M, 3) in the figure's frame."""
        return (points - self.place) @ self.turn.T / self.tall

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Metres from world points (M, 3) to the figure."""
        return distance(self.limbs, self.own(points)) * self.tall

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Outward directions (M, 3) at points on the figure, by differences on a tetrahedron."""
        corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32)
        sums = sum(c * self.distance(points + 2e-3 * c)[:, None] for c in corners)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def lit(self, points: np.ndarray, soft: float) -> np.ndarray:
        """How much of the sun points (M, 3) see past the figure, 0 to 1; `soft` sharpens edges."""
        seen, t = np.ones(len(points), np.float32), np.full(len(points), 0.03, np.float32)
        for _ in range(20):
            away = self.distance(points + t[:, None] * SUN)
            seen = np.minimum(seen, np.clip(0.5 + 0.5 * soft * away / t, 0, 1))
            t += np.clip(away * 0.9, 0.03, 0.3)
        return seen * seen * (3 - 2 * seen)


def frame(
    metrics: list[Figure], direction: np.ndarray, empty: tuple[np.ndarray, ...]
) -> np.ndarray:
    """One picture, (H, W, 3) uint8."""
    sky, sun, ground = empty
    pixels = ground[::SAMPLES, ::SAMPLES]  # shadows are soft: one sample a pixel is enough
    seen = np.ones(pixels.shape[:2], np.float32)
    depth = np.full(sun.shape[:2], np.inf, np.float32)
    body = np.zeros(sun.shape)
    for figure in metrics:
        corners = figure.place + np.array(
            [[x, y, z] for x in (-0.6, 0.6) for y in (0, HEIGHT_M * 1.08) for z in (-0.6, 0.6)]
        )
        shadow = corners - (corners[:, 1:2] / SUN[1]) * SUN
        wide = window(np.concatenate([corners[corners[:, 1] == 0], shadow]))
        part = tuple(slice(side.start // SAMPLES, side.stop // SAMPLES) for side in wide)
        on_ground = np.isfinite(pixels[part][..., 0])
        seen[part][on_ground] *= figure.lit(pixels[part][on_ground], 9.0)
        march(figure, direction, window(corners), depth, body)
    seen = seen.repeat(SAMPLES, axis=0).repeat(SAMPLES, axis=1)
    light = sky * (0.75 + 0.25 * seen[..., None]) + sun * seen[..., None]
    light = np.where(np.isfinite(depth)[..., None], body, light)
    height, width = SIZE_WH[1], SIZE_WH[0]
    light = light.reshape(height, SAMPLES, width, SAMPLES, 3).mean(axis=(1, 3))
    light = light * (1 + light / 2.5) / (1 + light)  # bright parts are drawn in, as film does
    srgb = np.where(
        light < 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055
    )
    return (np.clip(srgb * 1.12, 0, 1) * 255).round().astype(np.uint8)


def march(
    figure: Figure,
    direction: np.ndarray,
    part: tuple[slice, slice],
    depth: np.ndarray,
    body: np.ndarray,
) -> None:
    """Follow the rays of a part of the picture to the figure; `depth` and `body` change in place."""
    ways = direction[part].reshape(-1, 3)
    middle = figure.place + np.array([0, 0.9, 0], np.float32)
    nearest = np.float32(np.linalg.norm(middle - EYE))
    t = np.full(len(ways), max(0.1, nearest - 1.2), np.float32)
    going = np.arange(len(ways))
    hit = np.zeros(len(ways), bool)
    for _ in range(60):
        away = figure.distance(EYE + t[going, None] * ways[going])
        t[going] += 0.9 * away
        hit[going[away < 2e-3]] = True
        going = going[(away >= 2e-3) & (t[going] < nearest + 1.2)]
        if not len(going):
            break
    flat = depth[part].reshape(-1)
    first = hit & (t < flat)
    points = EYE + t[first, None] * ways[first]
    normals = figure.normals(points)
    facing = np.clip(normals @ SUN, 0, 1) * figure.lit(points + 0.02 * normals, 14.0)
    above = 0.5 + 0.5 * normals[:, 1:2]
    bounced = np.array([0.16, 0.14, 0.11]) * (1 - above)  # from the pavement
    albedo = colors(figure.clothes, figure.limbs, figure.own(points))
    flat[first] = t[first]
    depth[part] = flat.reshape(depth[part].shape)
    shaded = body[part].reshape(-1, 3)
    shaded[first] = albedo * (SUNLIGHT * facing[:, None] + SKYLIGHT * above + bounced)
    body[part] = shaded.reshape(body[part].shape)


def write(path: Path, frames: list[np.ndarray]) -> None:
    """H.264 that browsers play, its index in front."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "22", "preset": "slow"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    part.replace(path)


def main(argv: list[str] | None = None) -> None:
    """Render the clip, or one frame of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--only", type=int, help="a frame's number: write a picture of it")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args(argv)
    direction = rays()
    empty = square(direction, args.seed)
    frames = []
    for number in range(FRAMES) if args.only is None else [args.only]:
        metrics = [Figure(walker, number / FPS) for walker in WALKERS]
        frames.append(frame(metrics, direction, empty))
        print(f"frame {number}", flush=True)
    if args.only is None:
        write(args.out, frames)
    else:
        Image.fromarray(frames[0]).save(args.out)


if __name__ == "__main__":
    main()
