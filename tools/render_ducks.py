"""Render the sample pictures of a rubber duck, with exact boxes and masks.

Usage, in an environment of its own (the project itself does not need it):

    pip install -r tools/requirements.txt
    python tools/render_ducks.py
    python tools/render_ducks.py --only test_03 --out /tmp/look --spp 8 --scale 0.5

The first makes everything: 83 pictures, 20 minutes on two slow cores (measured
while other work ran; 10 to 30 s a picture, half of that when the cores are
free). The second is a preview and takes a few seconds.

Pictures that exist are kept unless --force is given, so a stopped run goes on
where it was; the annotations are always made anew, for the whole set.

Determinism: layout, textures, surroundings and grain are drawn from generators
seeded by --seed and the picture's name, and mitsuba's sampler is seeded too, so
the same versions on the same machine give the same bytes. Annotations come from
their own pass, which does not depend on --spp. An --only or --scale run writes
no annotations, as they would not fit the folder's other pictures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import mitsuba as mi

mi.set_variant("scalar_rgb")  # before the modules below use mitsuba's types

import numpy as np  # noqa: E402
from duck_images import (  # noqa: E402
    CLIP_FRAMES,
    CLIP_PLACE,
    CLIP_THINGS,
    CLIP_WH,
    clip_camera,
    test_images,
    train_images,
)
from duck_layout import ImageArray, arrange, mask_coverage  # noqa: E402
from duck_light import LIGHTS  # noqa: E402
from duck_photo import denoise, develop  # noqa: E402
from duck_scene import Camera, Placed, Workshop, build_scene  # noqa: E402
from PIL import Image  # noqa: E402
from pycocotools import mask as coco_mask  # noqa: E402

SPP = {"train": 32, "test": 14, "clip": 8}  # samples per pixel, before denoising
GUIDE_SPP = 4
MASK_SPP = 9  # odd, so that no pixel is half covered
JPEG_QUALITY = 89
DATE = "2024-01-01T00:00:00+00:00"  # fixed, so that the files are reproducible


@dataclass(frozen=True)
class Shot:
    """A picture whose layout is settled; all the renderer needs."""

    file_name: str
    place: tuple[str, str, str]  # surface, backdrop, light
    placed: list[Placed]
    camera: Camera
    size_wh: tuple[int, int]
    stops: float = 0.0


def plan_set(shop: Workshop, which: str, seed: int, only: str | None) -> list[Shot]:
    """The shots of a set: all of them, or at most the one called `only`."""
    shots = []
    if which == "clip":
        for frame in range(CLIP_FRAMES):
            name = f"frame_{frame:03d}"
            if only in (None, name):
                shots.append(
                    Shot(f"{name}.jpg", CLIP_PLACE, CLIP_THINGS, clip_camera(frame), CLIP_WH)
                )
    else:
        images: list[ImageArray] = train_images() if which == "train" else test_images()
        for image in images:
            if only in (None, image.name):
                placed, camera = arrange(shop, image, seed)
                place = (image.surface, image.backdrop, image.light)
                shots.append(
                    Shot(f"{image.name}.jpg", place, placed, camera, image.size_wh, image.stops)
                )
    return shots


def take(shop: Workshop, shot: Shot, spp: int, scale: float, seed: int) -> np.ndarray:
    """Render and develop one shot; returns an 8-bit sRGB picture (H, W, 3)."""
    size_wh = tuple(round(side * scale) for side in shot.size_wh)
    own_seed = zlib.crc32(f"{seed} {shot.file_name}".encode())
    scene = build_scene(shop, *shot.place, shot.placed, shot.camera, size_wh, spp)
    color = np.array(mi.render(scene, seed=own_seed), dtype=np.float32)[..., :3]
    # Albedo and normals guide the denoiser. They cost more per sample than the
    # path itself but have little noise, so a pass of their own needs few samples.
    guides = mi.load_dict({"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"})
    features = mi.render(scene, integrator=guides, seed=own_seed + 1, spp=GUIDE_SPP)
    channels = np.concatenate([color, np.array(features, dtype=np.float32)[..., -6:]], axis=-1)
    return develop(denoise(channels), LIGHTS[shot.place[2]], shot.stops, own_seed)


def annotate(shop: Workshop, shots: list[Shot]) -> dict:
    """COCO annotations, in the layout of a Roboflow export, of a whole set."""
    images, annotations = [], []
    for image_id, shot in enumerate(shots):
        width, height = shot.size_wh
        images.append(
            {"id": image_id, "license": 1, "file_name": shot.file_name, "height": height,
             "width": width, "date_captured": DATE}
        )  # fmt: skip
        ducks = sum(thing.kind == "duck" for thing in shot.placed)
        if not ducks:
            continue
        covered = mask_coverage(
            shop, shot.place[0], shot.placed, shot.camera, shot.size_wh, MASK_SPP
        )
        for duck in range(ducks):
            mask = covered[:, :, duck] >= 0.5  # at least half of the pixel is duck
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            x, y = int(columns[0]), int(rows[0])
            rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotations.append(
                {"id": len(annotations), "image_id": image_id, "category_id": 1,
                 "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
                 "area": int(mask.sum()),
                 "segmentation": {"size": [height, width], "counts": rle["counts"].decode("ascii")},
                 "iscrowd": 0}
            )  # fmt: skip
    return {
        "info": {"description": "A rubber duck, rendered by tools/render_ducks.py",
                 "version": "1", "year": 2024, "contributor": "duckdetect", "date_created": DATE},
        "licenses": [{"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "categories": [{"id": 0, "name": "ducks", "supercategory": "none"},
                       {"id": 1, "name": "rubber duck", "supercategory": "ducks"}],
        "images": images,
        "annotations": annotations,
    }  # fmt: skip


DEFAULT_OUT = Path(__file__).resolve().parent.parent / "data" / "ducks"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the three sets")
    parser.add_argument("--set", choices=["train", "test", "clip", "all"], default="all")
    parser.add_argument("--only", help="one picture, by its file name without suffix")
    parser.add_argument("--spp", type=int, help=f"samples per pixel, default {SPP}")
    parser.add_argument("--scale", type=float, default=1.0, help="size factor, for previews")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--force", action="store_true", help="render pictures that exist, too")
    args = parser.parse_args(argv)
    if args.scale <= 0 or (args.spp is not None and args.spp < 1):
        parser.error("--scale must be above 0 and --spp at least 1")
    if args.scale != 1.0 and args.out == DEFAULT_OUT:
        # They would be taken for finished pictures by the next run.
        parser.error("--scale makes previews: give them a folder of their own with --out")
    return args


def main(argv: list[str] | None = None) -> None:
    """Render the sets that the command line asks for."""
    args = parse(argv)
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        for which in ["train", "test", "clip"] if args.set == "all" else [args.set]:
            shots = plan_set(shop, which, args.seed, args.only)
            found += len(shots)
            # Beside the data set: it is no split of it.
            out = (
                args.out.with_name(f"{args.out.name}_clip") if which == "clip" else args.out / which
            )
            out.mkdir(parents=True, exist_ok=True)
            for shot in shots:
                path = out / shot.file_name
                if path.exists() and not args.force:
                    continue
                start = time.perf_counter()
                pixels = take(shop, shot, args.spp or SPP[which], args.scale, args.seed)
                # Renamed when complete: a half-written file would pass for a picture.
                part = path.with_suffix(".part")
                Image.fromarray(pixels).save(part, "JPEG", quality=JPEG_QUALITY, subsampling=0)
                part.replace(path)
                print(f"{which}/{path.name}: {time.perf_counter() - start:.1f} s", flush=True)
            if args.only is None and args.scale == 1.0:
                text = json.dumps(annotate(shop, shots), indent=1) + "\n"
                (out / "_annotations.coco.json").write_text(text)
    if not found:
        raise SystemExit(f"--only {args.only}: no such picture in the set {args.set!r}")


if __name__ == "__main__":
    main()
