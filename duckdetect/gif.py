"""Pictures as an endlessly looping GIF, with one palette for all its frames.

write_gif("results/new/detections.gif", frames, seconds_per_frame=1.0)
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from duckdetect.files import atomic_path
from duckdetect.palette import shared_palette
from duckdetect.render import Picture, fit, letterbox


def write_gif(
    path: str | Path,
    frames: Iterable[Picture],
    seconds_per_frame: float = 1.0,
    max_side_px: int = 480,
) -> None:
    """Write frames as an endlessly looping GIF; frames of different sizes are centred on black.

    All frames share one palette taken from all of them, so that colours do not flicker. The frames,
    once shrunk, are held in memory (a third of a megabyte each): for long clips use
    `duckdetect.video_out.write_video`.

    Args:
        path: The file; an older one is replaced once all is written.
        frames: (H, W, 3) RGB uint8 each; as many as are given stand in the file.
        seconds_per_frame: How long each is shown; GIF counts in hundredths, at least two.
        max_side_px: Frames are shrunk, never enlarged, to this longer side.

    Raises:
        ValueError: If there are no frames.
    """
    from PIL import Image

    small = [np.asarray(fit(frame, max_side_px)) for frame in frames]
    if not small:
        raise ValueError("a GIF needs at least one frame")
    size_hw = (max(f.shape[0] for f in small), max(f.shape[1] for f in small))
    small = [letterbox(frame, size_hw) for frame in small]
    palette = shared_palette(small)
    pages: list[Image.Image] = []
    for frame in small:
        # Dithering keeps smooth shades smooth with 254 colours.
        page = Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        if pages and page.tobytes() == pages[-1].tobytes():
            _nudge(page)
        pages.append(page)
    with atomic_path(path) as part:
        pages[0].save(
            part,
            format="GIF",
            save_all=True,
            append_images=pages[1:],
            duration=max(20, round(seconds_per_frame * 100) * 10),
            loop=0,
            # Optimising renumbers the palette of each frame, which costs more than it saves.
            optimize=False,
        )


def _nudge(page: Any) -> None:
    """Change one corner pixel: Pillow drops a frame that equals the one before it.

    The corner becomes black (254) or, where it is black already, almost black (255).
    """
    at_corner = page.getpixel((0, 0))
    is_black = not any(page.getpalette()[3 * at_corner : 3 * at_corner + 3])
    page.putpixel((0, 0), 255 if is_black else 254)
