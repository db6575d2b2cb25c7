"""The rubber duck as triangle meshes, made from signed distance functions.

Every shape is a function from points (N, 3) to distances (N,), negative inside.
Smooth unions melt head, breast, wings and tail into one body, marching cubes
makes the triangles, and the gradient of the distance gives smooth normals.
Units: one duck height; z is up, the duck looks along +x and stands on z = 0.

Example:
    for part in duck_parts():
        write_ply(folder / f"{part.name}.ply", *mesh_from_sdf(part))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.measure import marching_cubes

Sdf = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Part:
    """One mesh of a toy: a distance function, the box to search, a material name.

    Attributes:
        name: File name of the mesh, without suffix.
        sdf: Points (N, 3) to distances (N,).
        low_xyz, high_xyz: The corners of a box that holds the whole surface.
        material: A key of `duck_materials.MATERIALS` or "tint" (the toy's own colour).
        step: Grid spacing of marching cubes, in duck heights.
    """

    name: str
    sdf: Sdf
    low_xyz: tuple[float, float, float]
    high_xyz: tuple[float, float, float]
    material: str
    step: float = 0.016


# --- distance functions -------------------------------------------------------


def ellipsoid(points: np.ndarray, center, radii, turn: np.ndarray | None = None) -> np.ndarray:
    """Approximate distance to an ellipsoid; `turn` (3, 3) rotates its own axes."""
    local = points - np.asarray(center, float)  # (N, 3)
    if turn is not None:
        local = local @ turn  # the inverse rotation, as turn is orthogonal
    radii = np.asarray(radii, float)
    k0 = np.linalg.norm(local / radii, axis=1)
    k1 = np.linalg.norm(local / radii**2, axis=1)
    return k0 * (k0 - 1.0) / np.maximum(k1, 1e-9)


def round_box(points: np.ndarray, center, half, radius: float) -> np.ndarray:
    """Distance to a box with half sizes `half` and edges rounded by `radius`."""
    q = np.abs(points - np.asarray(center, float)) - (np.asarray(half, float) - radius)
    outside = np.linalg.norm(np.maximum(q, 0.0), axis=1)
    return outside + np.minimum(q.max(axis=1), 0.0) - radius


def capsule(points: np.ndarray, start, end, radius: float) -> np.ndarray:
    """Distance to a rod with round ends."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = end - start
    along = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
    return np.linalg.norm(points - start - along[:, None] * axis, axis=1) - radius


def cylinder(points: np.ndarray, center, radius: float, half_height: float, edge: float):
    """Distance to an upright cylinder whose rims are rounded by `edge`."""
    local = points - np.asarray(center, float)
    q = np.stack(
        [
            np.linalg.norm(local[:, :2], axis=1) - (radius - edge),
            np.abs(local[:, 2]) - (half_height - edge),
        ],
        axis=1,
    )
    return np.linalg.norm(np.maximum(q, 0.0), axis=1) + np.minimum(q.max(axis=1), 0.0) - edge


def torus(points: np.ndarray, center, ring: float, tube: float, axis: int = 2) -> np.ndarray:
    """Distance to a ring of radius `ring` and thickness `tube` around an axis."""
    local = points - np.asarray(center, float)
    flat = np.delete(local, axis, axis=1)
    return np.hypot(np.linalg.norm(flat, axis=1) - ring, local[:, axis]) - tube


def blend(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Smooth union: the sharp minimum, rounded over a band of `width`."""
    h = np.maximum(width - np.abs(a - b), 0.0) / width
    return np.minimum(a, b) - h * h * width * 0.25


def carve(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Smooth intersection of two shapes."""
    return -blend(-a, -b, width)


def turn_y(degrees: float) -> np.ndarray:
    """Rotation (3, 3) about y; a positive angle lifts the +x end."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def turn_z(degrees: float) -> np.ndarray:
    """Rotation (3, 3) about z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


# --- the duck -----------------------------------------------------------------

HEAD_XYZ = np.array([0.17, 0.0, 0.735])
HEAD_RADII = (0.265, 0.255, 0.25)


def duck_body(points: np.ndarray) -> np.ndarray:
    """Head, breast, belly, tail and wings as one smooth shape with a flat foot."""
    belly = ellipsoid(points, (-0.09, 0, 0.27), (0.49, 0.37, 0.29))
    breast = ellipsoid(points, (0.17, 0, 0.31), (0.30, 0.31, 0.29))
    body = blend(belly, breast, 0.14)
    tail = ellipsoid(points, (-0.50, 0, 0.44), (0.23, 0.17, 0.075), turn_y(-42))
    body = blend(body, tail, 0.16)
    head = ellipsoid(points, HEAD_XYZ, HEAD_RADII)
    body = blend(body, head, 0.09)
    mirrored = points * [1, 0, 1] + np.abs(points[:, 1:2]) * [0, 1, 0]
    wing = ellipsoid(mirrored, (-0.13, 0.335, 0.35), (0.29, 0.075, 0.16), turn_z(7) @ turn_y(-20))
    tip = ellipsoid(mirrored, (-0.37, 0.30, 0.47), (0.12, 0.05, 0.07), turn_z(12) @ turn_y(-35))
    body = blend(body, blend(wing, tip, 0.07), 0.035)
    foot = 0.0 - points[:, 2]
    return carve(body, foot, 0.05)


def duck_bill(points: np.ndarray) -> np.ndarray:
    """Two flat lobes, a little open, the upper one curled up at its tip."""
    upper = ellipsoid(points, (0.475, 0, 0.715), (0.155, 0.135, 0.036), turn_y(14))
    lower = ellipsoid(points, (0.44, 0, 0.665), (0.125, 0.105, 0.030), turn_y(-10))
    root = ellipsoid(points, (0.40, 0, 0.69), (0.08, 0.12, 0.065))
    return blend(blend(upper, root, 0.03), lower, 0.015)


def _eye_frame(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Where an eye sits on the head (3,), and its axes (3, 3): out, across, up."""
    azimuth, height = np.radians(40.0 * side), np.radians(17.0)
    out = np.array(
        [np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)]
    )
    across = np.cross([0, 0, 1.0], out)
    across /= np.linalg.norm(across)
    return HEAD_XYZ + out * np.array(HEAD_RADII), np.stack([out, across, np.cross(out, across)], 1)


def _both_eyes(shift: float, radii, lift: float = 0.0) -> Sdf:
    def sdf(points: np.ndarray) -> np.ndarray:
        eyes = []
        for side in (1, -1):
            center, axes = _eye_frame(side)
            at = center + axes[:, 0] * shift + axes[:, 2] * lift + axes[:, 1] * 0.3 * lift
            eyes.append(ellipsoid(points, at, radii, axes))
        return np.minimum(*eyes)

    return sdf


def duck_parts() -> list[Part]:
    """The five meshes of the duck: body, bill, eye whites, pupils, painted glints."""
    face = ((0.2, -0.3, 0.6), (0.55, 0.3, 0.95))
    return [
        Part("duck_body", duck_body, (-0.8, -0.5, -0.03), (0.52, 0.5, 1.03), "duck_yellow"),
        Part("duck_bill", duck_bill, (0.2, -0.2, 0.55), (0.7, 0.2, 0.85), "duck_orange", 0.009),
        Part("duck_white", _both_eyes(-0.003, (0.02, 0.068, 0.08)), *face, "eye_white", 0.006),
        Part("duck_pupil", _both_eyes(0.008, (0.018, 0.045, 0.055), -0.006), *face, "black", 0.005),
        Part(
            "duck_glint", _both_eyes(0.023, (0.006, 0.013, 0.015), 0.018), *face, "eye_white", 0.003
        ),
    ]


# --- meshing ------------------------------------------------------------------


def mesh_from_sdf(part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles of a part's surface.

    Returns:
        Vertices (V, 3) float32, unit normals (V, 3) float32, triangles (T, 3) int32.

    Raises:
        ValueError: The surface is not inside the part's box.
    """
    axes = [
        np.arange(low - part.step, high + 2 * part.step, part.step)
        for low, high in zip(part.low_xyz, part.high_xyz, strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)  # (X, Y, Z, 3)
    distance = part.sdf(grid.reshape(-1, 3)).reshape(grid.shape[:3])
    if not distance.min() < 0 < distance.max():
        raise ValueError(f"{part.name}: no surface inside {part.low_xyz}..{part.high_xyz}")
    vertices, triangles, _, _ = marching_cubes(distance, 0.0, spacing=(part.step,) * 3)
    vertices = vertices + [axis[0] for axis in axes]
    eps = part.step * 0.25
    gradient = np.stack(
        [part.sdf(vertices + eps * e) - part.sdf(vertices - eps * e) for e in np.eye(3)], 1
    )
    normals = gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)
    # marching_cubes winds its triangles against the gradient; mitsuba wants them
    # to agree with the normals, so that lights made of meshes shine outwards.
    face = np.cross(
        vertices[triangles[:, 1]] - vertices[triangles[:, 0]],
        vertices[triangles[:, 2]] - vertices[triangles[:, 0]],
    )
    if (face * normals[triangles[:, 0]]).sum() < 0:
        triangles = triangles[:, ::-1]
    return vertices.astype("f4"), normals.astype("f4"), triangles.astype("i4")


def write_ply(path: Path, vertices: np.ndarray, normals: np.ndarray, triangles: np.ndarray):
    """Write a binary PLY file with normals."""
    header = "ply\nformat binary_little_endian 1.0\n"
    header += f"element vertex {len(vertices)}\n"
    header += "".join(f"property float {n}\n" for n in ("x", "y", "z", "nx", "ny", "nz"))
    header += f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
    faces = np.empty(len(triangles), dtype=[("n", "u1"), ("v", "<i4", 3)])
    faces["n"], faces["v"] = 3, triangles
    rows = np.hstack([vertices, normals]).astype("<f4")
    path.write_bytes(header.encode() + rows.tobytes() + faces.tobytes())
