"""Moving pictures: GIF out; video in and out, one frame in memory at a time.

    write_gif("results/new/detections.gif", frames, seconds_per_frame=1.0)

video = read_video("clip.mp4")
with write_video("results/new/detections.mp4", video.fps, video.size_hw) as out:
    for frame in video:
        out.write(frame)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace

from duckdetect.errors import UserError
from duckdetect.files import atomic_path
from duckdetect.palette import shared_palette
from duckdetect.render import Picture, fit, letterbox

# FFmpeg's numbers for BT.709, which browsers take for granted (AVCOL_*_BT709; limited range = 1).
_BT709 = 1
_LIMITED = 1


def write_gif(
    path: str | Path,
    frames: Iterable[Picture],
    seconds_per_frame: float = 1.0,
    max_side_px: int = 480,
) -> None:
    """Write frames as an endlessly looping GIF; frames of different sizes are centred on black.

    All frames share one palette taken from all of them, so that colours do not flicker. The frames,
    once shrunk, are held in memory (a third of a megabyte each): for long clips use `write_video`.

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


class VideoReader:
    """A video's frames in order, decoded as they are asked for; it can be run through repeatedly.

    Attributes:
        path: The file.
        fps: Frames a second, exactly as the file says.
        size_hw: (height, width) of every frame.
        n_frames: What the file says of their number, None if it does not.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._opened() as stream:
            rate = stream.average_rate or stream.guessed_rate
            self.fps = Fraction(rate) if rate else Fraction(25)
            self.size_hw = (int(stream.codec_context.height), int(stream.codec_context.width))
            self.n_frames: int | None = stream.frames or None
        # A file may open and yet hold nothing: better known now than after the output is begun.
        next(iter(self))

    def __iter__(self) -> Iterator[Picture]:
        """Yield (H, W, 3) RGB uint8 frames.

        Raises:
            UserError: If a frame cannot be decoded.
        """
        count = 0
        height, width = self.size_hw
        with self._opened() as stream:
            for frame in self._decoded(stream):
                # A stream may change its size on the way; the promise is one size.
                yield frame.to_ndarray(format="rgb24", width=width, height=height)
                count += 1
        if not count:
            raise self._bad("it holds no frames")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        if not self.path.is_file():
            raise UserError(f"{self.path} is not there: give the path of a video")
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, ValueError) as error:
            raise self._bad(_reason(error)) from error
        with container:
            if not container.streams.video:
                raise self._bad("it holds no pictures")
            stream = container.streams.video[0]
            if stream.codec_context is None or not stream.codec_context.width:
                raise self._bad("its pictures are of a kind that is not known")
            stream.thread_type = "AUTO"
            yield stream

    def _decoded(self, stream: Any) -> Iterator[Any]:
        count = 0
        cut = False
        try:
            for packet in stream.container.demux(stream):
                # The demuxer marks a packet that the file does not hold whole. Only the last tells
                # of a cut: the first ones of a recorded broadcast are often marked too.
                cut = packet.is_corrupt if packet.size else cut
                for frame in packet.decode():
                    yield frame
                    count += 1
        except av.FFmpegError as error:
            raise self._bad(f"frame {count + 1}: {_reason(error)}") from error
        if cut:
            raise UserError(
                f"{self.path} is cut off after frame {count}"
                + (f" of {self.n_frames}" if self.n_frames else "")
                + ": copy it again, or save what is there as a new video"
            )

    def _bad(self, reason: str) -> UserError:
        return UserError(
            f"{self.path} cannot be read as a video ({reason}): save it again as MP4 (H.264)"
        )


def read_video(path: str | Path) -> VideoReader:
    """Open a video; see VideoReader.

    Raises:
        UserError: If it is missing, broken, empty or no video.
    """
    return VideoReader(path)


class VideoWriter:
    """Takes frames for `write_video`."""

    def __init__(self, container: Any, stream: Any, size_hw: tuple[int, int]) -> None:
        self._container = container
        self._stream = stream
        self._size_hw = size_hw
        self.n_frames = 0

    def write(self, picture: Picture) -> None:
        """Append one frame, (H, W, 3) RGB uint8, of the size that was announced.

        Raises:
            ValueError: If it has another size.
        """
        if picture.shape != (*self._size_hw, 3):
            raise ValueError(f"a frame of {picture.shape} in a video of {self._size_hw}")
        # H.264 with 4:2:0 colour needs even sides: the last row or column is repeated.
        odd_h, odd_w = self._size_hw[0] % 2, self._size_hw[1] % 2
        if odd_h or odd_w:
            picture = np.pad(picture, ((0, odd_h), (0, odd_w), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        frame.pts = self.n_frames
        self._container.mux(self._stream.encode(frame))
        self.n_frames += 1


@contextlib.contextmanager
def write_video(
    path: str | Path, fps: Fraction | float, size_hw: tuple[int, int]
) -> Iterator[VideoWriter]:
    """Write an MP4 that browsers play (H.264, yuv420p, BT.709, index in front).

    Args:
        path: The file; an older one is replaced once the block has succeeded.
        fps: Frames a second.
        size_hw: (height, width) of the frames; odd sides grow by one pixel in the file.

    Yields:
        A writer; call `write(picture)` for each frame.

    Raises:
        ValueError: If no frame was written.
    """
    rate = Fraction(fps).limit_denominator(100_000)
    front = {"movflags": "+faststart"}
    with (
        atomic_path(path) as part,
        av.open(str(part), "w", format="mp4", options=front) as container,
    ):
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = (side + side % 2 for side in size_hw)
        stream.pix_fmt = "yuv420p"
        # Constant quality: 20 looks clean, about a third of a megabyte a second at 640x480.
        stream.options = {"crf": "20", "preset": "medium"}
        # Said and done in BT.709: players guess where nothing is said, and colours shift.
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        context.time_base = 1 / rate
        writer = VideoWriter(container, stream, size_hw)
        yield writer
        if not writer.n_frames:
            raise ValueError("a video needs at least one frame")
        container.mux(stream.encode(None))


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())
