"""From a layout to mitsuba scene descriptions: materials, ground, walls, camera.

`build_scene` makes the scene that is photographed; `build_mask_scene` makes the
same shapes and the same camera, but everything is black except that every duck
glows in one pure colour, so that a pixel's value is the share of it that the
duck covers.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import mitsuba as mi
import numpy as np
from duck_light import LIGHTS, lamps, surroundings
from duck_materials import material, textured
from duck_mesh import Part, duck_parts, mesh_from_sdf, round_box, write_ply
from duck_toys import TOYS


@dataclass(frozen=True)
class Placed:
    """A thing on the ground: where it stands (x, y), its heading in degrees, its size."""

    kind: str
    tint: str
    x: float
    y: float
    heading: float
    scale: float = 1.0


@dataclass(frozen=True)
class Camera:
    """A camera in duck heights and degrees; `blur` is the lens radius per focus distance."""

    eye_xyz: tuple[float, float, float]
    target_xyz: tuple[float, float, float]
    focus: float
    fov_y: float = 38.0
    blur: float = 0.012


BLACK = {"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.0}}
GLOW = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])  # so at most three ducks


class Workshop:
    """Makes mitsuba shapes and keeps their meshes as PLY files in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def mesh(self, part: Part, to_world, bsdf: dict) -> dict:
        """A mitsuba shape of a part; its mesh is made on first use."""
        path = self.folder / f"{part.name}.ply"
        if not path.exists():
            write_ply(path, *mesh_from_sdf(part))
        return {"type": "ply", "filename": str(path), "to_world": to_world, "bsdf": bsdf}

    def things(self, placed: list[Placed], glowing: bool) -> dict[str, dict]:
        """All toys and ducks; if `glowing`, as black shapes and coloured lights."""
        shapes, ducks = {}, 0
        for index, thing in enumerate(placed):
            to_world = mi.ScalarTransform4f().translate([thing.x, thing.y, 0])
            to_world = to_world.rotate([0, 0, 1], thing.heading).scale(thing.scale)
            is_duck = thing.kind == "duck"
            for part in duck_parts() if is_duck else TOYS[thing.kind]():
                name = thing.tint if part.material == "tint" else part.material
                shape = self.mesh(part, to_world, BLACK if glowing else material(name))
                if glowing and is_duck:
                    glow = {"type": "rgb", "value": GLOW[ducks]}
                    shape["emitter"] = {"type": "area", "radiance": glow}
                shapes[f"thing_{index}_{part.name}"] = shape
            ducks += is_duck
        return shapes

    def grass(self) -> dict[str, dict]:
        """A lawn of some 45,000 bent blades in three greens, on mossy soil."""
        rng = np.random.default_rng(7)
        shapes = {}
        greens = ((0.10, 0.24, 0.03), (0.17, 0.33, 0.05), (0.30, 0.37, 0.10))
        for k, (rgb, count) in enumerate(zip(greens, (20000, 18000, 7000), strict=True)):
            root = np.stack(
                [rng.uniform(-6, 6, count), rng.uniform(-5, 8, count), np.zeros(count)], 1
            )
            angle, tall = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.12, 0.34, count)
            lean = rng.uniform(0.02, 0.20, count)
            bend = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], 1) * lean[:, None]
            side = np.stack([-np.sin(angle), np.cos(angle), np.zeros(count)], 1) * 0.016
            up = np.stack([np.zeros(count), np.zeros(count), tall], 1)
            knee = root + 0.6 * up + 0.35 * bend
            corners = np.stack(
                [root - side, root + side, knee - 0.8 * side, knee + 0.8 * side, root + up + bend],
                1,
            )  # (count, 5, 3)
            faces = (
                np.array([[0, 1, 3], [0, 3, 2], [2, 3, 4]])[None]
                + 5 * np.arange(count)[:, None, None]
            )
            path = self.folder / f"grass_{k}.ply"
            normal = np.cross(side, up + bend)
            normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            if not path.exists():
                flat = normal.repeat(5, 0).astype("f4")
                write_ply(path, corners.reshape(-1, 3).astype("f4"), flat, faces.reshape(-1, 3))
            color = {"type": "rgb", "value": list(rgb)}
            bsdf = {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": color}}
            shapes[f"grass_{k}"] = {"type": "ply", "filename": str(path), "bsdf": bsdf}
        return shapes

    def place(self, surface: str, backdrop: str) -> dict[str, dict]:
        """The ground, and what stands behind it."""
        at = mi.ScalarTransform4f
        kind, _, look = backdrop.partition(":")
        shapes = {}

        def flat(name: str, look: str, x0, x1, y0, y1, z=0.0, turned=False):
            to_world = at().translate([(x0 + x1) / 2, (y0 + y1) / 2, z])
            to_world = to_world.scale([(x1 - x0) / 2, (y1 - y0) / 2, 1])
            bsdf = textured(look, x1 - x0, y1 - y0, turned)
            shapes[name] = {"type": "rectangle", "to_world": to_world, "bsdf": bsdf}

        def wall(look: str, y: float, low: float = -6.0):
            to_world = at().translate([0, y, low + 10]).rotate([1, 0, 0], 90).scale([16, 10, 1])
            shapes["wall"] = {
                "type": "rectangle",
                "to_world": to_world,
                "bsdf": textured(look, 32, 20),
            }

        def box(name: str, center, half, look: str):
            to_world = at().translate(list(center)).scale(list(half))
            shapes[name] = {"type": "cube", "to_world": to_world, "bsdf": material(look)}

        if surface == "tub":
            rim = Part("tub_rim", lambda p: round_box(p, (0, 0, -0.6), (9, 0.95, 0.6), 0.3),
                       (-9.1, -1.1, -1.3), (9.1, 1.1, 0.1), "white", 0.05)  # fmt: skip
            shapes["tub_rim"] = self.mesh(rim, at(), material("white"))
            flat("ground", "enamel", -9, 9, -0.95, 7, -2.6)
            to_world = at().translate([0, 3.5, -1.4]).scale([9, 3.5, 1])
            shapes["water"] = {"type": "rectangle", "to_world": to_world, "bsdf": material("water")}
            flat("floor", "chess_tiles", -14, 14, -14, -0.9, -6)
        elif surface == "grass":
            shapes |= self.grass()
            flat("ground", "soil", -14, 14, -12, 12, 0.0)
        else:
            far = {"wall": 4.2, "shelf": 7.0}.get(kind, 9.0 if kind == "garden" else 4.0)
            flat("ground", surface, -9, 9, -9, far, turned=surface in ("deck", "leather"))
        if kind == "wall":
            wall(look, 7.0 if surface == "tub" else 4.2)
        elif kind == "shelf":
            wall(look, 7.0)
            rng = np.random.default_rng(11)
            for row, z in enumerate((1.7, 4.3)):
                box(f"board_{row}", (0, 6.3, z), (7, 0.7, 0.07), "wood")
                x = -6.5
                while x < 6.3:
                    wide, tall = rng.uniform(0.1, 0.28), rng.uniform(0.7, 1.05)
                    look = ("red", "blue", "cream", "green", "cream", "grey", "brown", "wood")
                    name = look[rng.integers(len(look))]
                    box(
                        f"book_{len(shapes)}",
                        (x + wide, 6.2, z + 0.07 + tall),
                        (wide, 0.5, tall),
                        name,
                    )
                    x += 2 * wide + (rng.uniform(0.5, 1.6) if rng.uniform() < 0.2 else 0.02)
        return shapes


def _sensor(camera: Camera, size_wh: tuple[int, int], spp: int, lens: bool) -> dict:
    sensor = {
        "type": "thinlens" if lens else "perspective",
        "fov": camera.fov_y, "fov_axis": "y", "near_clip": 0.05, "far_clip": 200.0,
        "to_world": mi.ScalarTransform4f().look_at(
            list(camera.eye_xyz), list(camera.target_xyz), [0, 0, 1]
        ),
        "film": {
            "type": "hdrfilm", "width": size_wh[0], "height": size_wh[1],
            "rfilter": {"type": "box"}, "component_format": "float32",
        },
        "sampler": {"type": "independent", "sample_count": spp},
    }  # fmt: skip
    if lens:
        sensor |= {"aperture_radius": camera.blur * camera.focus, "focus_distance": camera.focus}
    return sensor


def build_scene(shop, surface, backdrop, light, placed, camera, size_wh, spp):
    """The scene to photograph."""
    mood = LIGHTS[light]
    rng = np.random.default_rng(zlib.crc32(f"{surface} {backdrop} {light}".encode()))
    scene = {
        "type": "scene", "integrator": {"type": "path", "max_depth": 6},
        "sensor": _sensor(camera, size_wh, spp, lens=True), "around": surroundings(mood, rng),
    }  # fmt: skip
    scene |= lamps(mood, np.asarray(camera.eye_xyz))
    scene |= shop.place(surface, backdrop) | shop.things(placed, glowing=False)
    return mi.load_dict(scene)


def build_mask_scene(shop, surface, placed, camera, size_wh, spp):
    """Black shapes and glowing ducks; a path of depth 1 sees only the glow."""
    scene = {
        "type": "scene", "integrator": {"type": "path", "max_depth": 1},
        "sensor": _sensor(camera, size_wh, spp, lens=False),
    }  # fmt: skip
    for name, shape in shop.grass().items() if surface == "grass" else ():
        scene[name] = shape | {"bsdf": BLACK}
    return mi.load_dict(scene | shop.things(placed, glowing=True))
