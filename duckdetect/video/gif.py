"""Animated GIFs, written by imageio, with one palette for all frames, so that colours do not flicker.

write_gif("results/new/detections.gif", frames, seconds_per_frame=1.0)
for frame, seconds in read_animation("results/new/detections.gif"): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from duckdetect.errors import UserError
from duckdetect.imaging.io import ImageArray, fit, letterbox
from duckdetect.utils.outputs import own_output

if TYPE_CHECKING:
    from PIL import Image


def shared_palette(frames: Iterable[npt.NDArray[np.uint8]]) -> Image.Image:
    """A picture whose palette has the 254 colours that suit all frames, and two near blacks.

    Each colour counts by the square root of its pixels: counted in full, a wall takes the palette
    and a small yellow duck gets two shades (measured: the worst half percent of pixels is 30 levels
    off instead of 78, the mean the better one too).
    """
    from PIL import Image

    bits = 6
    count = np.zeros(1 << 3 * bits)
    total = np.zeros((3, 1 << 3 * bits))
    for frame in frames:
        pixels = frame.reshape(-1, 3)
        red, green, blue = (pixels >> (8 - bits)).astype(np.int64).T
        key = (red << 2 * bits) | (green << bits) | blue
        count += np.bincount(key, minlength=len(count))
        for channel in range(3):
            total[channel] += np.bincount(key, pixels[:, channel], minlength=len(count))
    seen = np.flatnonzero(count)
    mean = (total[:, seen] / count[seen]).round().astype(np.uint8).T  # (K, 3)
    weighted = np.repeat(mean, np.ceil(np.sqrt(count[seen])).astype(np.int64), axis=0)
    adaptive = Image.fromarray(weighted[None]).quantize(
        254, method=Image.Quantize.MEDIANCUT, kmeans=2
    )
    colors = (adaptive.getpalette() or [])[: 254 * 3]
    colors += [0] * (254 * 3 - len(colors)) + [0, 0, 0, 1, 1, 1]
    carrier = Image.new("P", (1, 1))
    carrier.putpalette(colors)
    return carrier


def write_gif(
    path: str | Path,
    frames: Iterable[ImageArray],
    seconds_per_frame: float = 1.0,
    max_side_px: int = 480,
    verb: str | None = None,
) -> None:
    """Write frames as an endlessly looping GIF; frames of different sizes are centred on black.

    All frames share one palette taken from all of them, so that colours do not flicker. The frames,
    once shrunk, are held in memory (a third of a megabyte each): for long clips use
    `video.writer.write_video`.

    Args:
        path: The file; an older one is replaced once all is written.
        frames: (H, W, 3) RGB uint8 each; as many as are given stand in the file.
        seconds_per_frame: How long each is shown; GIF counts in hundredths, at least two.
        max_side_px: Frames are shrunk, never enlarged, to this longer side.
        verb: As in `own_output`.

    Raises:
        ValueError: If there are no frames.
    """
    import imageio.v3 as iio
    from PIL import Image

    small = [np.asarray(fit(frame, max_side_px)) for frame in frames]
    if not small:
        raise ValueError("a GIF needs at least one frame")
    size_hw = (max(f.shape[0] for f in small), max(f.shape[1] for f in small))
    small = [letterbox(frame, size_hw) for frame in small]
    palette = shared_palette(small)
    colors = bytes(palette.getpalette() or [])
    pages: list[npt.NDArray[np.uint8]] = []  # (H, W), indices into the palette
    for frame in small:
        # Dithering keeps smooth shades smooth with 254 colours.
        page = Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        indices = np.array(page)
        if pages and np.array_equal(indices, pages[-1]):
            _nudge(indices, colors)
        pages.append(indices)
    # In memory first: on a full disk imageio prints a traceback of its own when it is done away with.
    content: Any = iio.imwrite(
        "<bytes>",
        np.stack(pages),
        plugin="pillow",
        extension=".gif",
        is_batch=True,
        palette=colors,
        duration=max(20, round(seconds_per_frame * 100) * 10),
        loop=0,
        # Optimising renumbers the palette of each frame, which costs more than it saves.
        optimize=False,
    )
    with own_output(path, verb) as part:
        part.write_bytes(content)


def read_animation(path: str | Path) -> Iterator[tuple[ImageArray, float]]:
    """Yield each frame of an animated GIF or WebP, by imageio, with the seconds it is shown.

    Args:
        path: The file; a still image is one frame of 0 seconds.

    Yields:
        (H, W, 3) RGB uint8, and seconds.

    Raises:
        UserError: If it cannot be read.
    """
    import imageio.v3 as iio

    try:
        with iio.imopen(path, "r", plugin="pillow") as opened:
            file: Any = opened  # the plugin's own arguments are not in imageio's types
            for index, frame in enumerate(file.iter(mode="RGB")):
                # Pillow tells the duration of the frame that it stands at.
                yield frame, file.metadata(index=index).get("duration", 0) / 1000
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(
            f"{path} cannot be read as an animation ({error}): save it again"
        ) from error


def _nudge(indices: npt.NDArray[np.uint8], colors: bytes) -> None:
    """Change one corner pixel: a frame that equals the one before it would be dropped.

    The corner becomes black (254) or, where it is black already, almost black (255).
    """
    at_corner = 3 * int(indices[0, 0])
    indices[0, 0] = 254 if any(colors[at_corner : at_corner + 3]) else 255
