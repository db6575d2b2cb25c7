"""Writing videos with PyAV: H.264 in MP4 that browsers play, with the times and sound of the source.

    with write_video("results/new/detections.mp4", video.fps, video.size_hw) as out:
        for image in video:
            out.write(image)

While it is written it lies beside its place as detections.partial.mp4, in fragments of a second: if
the run is interrupted or killed, that file plays up to there. Sound is copied where browsers play it,
else encoded as AAC.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.reformatter import Colorspace, VideoReformatter

from duckdetect.errors import UserError
from duckdetect.imaging.io import ImageArray
from duckdetect.utils.files import make_folder
from duckdetect.utils.outputs import own_output, unfinished_output
from duckdetect.video.reader import VideoReader, open_file, ratio, reason, seconds_of, url

# MP4 can hold more (AC-3, ALAC), but browsers do not play these.
COPIED = frozenset({"aac", "mp3", "opus", "flac"})

# What AAC knows (ISO/IEC 14496-3, table 1.18) and is usual.
_AAC_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)

_AAC_SAMPLES = 1024  # in a packet

_AAC_BITS_PER_S = 160_000


class Sound:
    """The first sound track of a file, muxed into another as the pictures proceed.

    Attributes:
        how: "copied", "encoded as AAC", or "" where there is no sound.
        broken_s: Where the sound could no longer be read, seconds of the new video; None if whole.
    """

    def __init__(
        self,
        path: str | Path,
        container: Any,
        offset_s: Fraction,
        duration_s: Fraction | None = None,
    ) -> None:
        """Open the sound and announce it to the container, before that has written anything.

        Args:
            path: The file whose sound it is.
            container: An `av` output container of format MP4.
            offset_s: The time in `path` that becomes 0; what lies before is left out.
            duration_s: How much to take from there; None for all.
        """
        self._container = container
        self._offset_s = offset_s
        self._end_s = duration_s
        self.how = ""
        self.broken_s: Fraction | None = None
        self._until_s = Fraction(0)
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._source: Any = open_file(path)
        streams = [s for s in self._source.streams.audio if s.codec_context is not None]
        if not streams:
            self.close()
            return
        stream = streams[0]
        try:
            if stream.codec_context.codec.canonical_name in COPIED:
                out = container.add_stream_from_template(stream)
                self._packets, self.how = self._copied(stream, out), "copied"
            else:
                self._packets, self.how = self._encoded(stream), "encoded as AAC"
            self._next = next(self._packets, None)
        except (av.FFmpegError, ValueError):
            self.broken_s, self._next = Fraction(0), None

    def mux_until(self, seconds: Fraction | None) -> None:
        """Mux all packets that begin before this time of the new video; all of them if None."""
        while self._next is not None:
            packet = self._next
            if seconds is not None and _seconds(packet) >= seconds:
                return
            self._until_s = _seconds(packet)
            self._container.mux(packet)
            self._advance()

    def _advance(self) -> None:
        try:
            self._next = next(self._packets, None)
        except av.FFmpegError:
            # The pictures are worth having without it; `broken_s` tells.
            self._next, self.broken_s = None, self._until_s

    def close(self) -> None:
        """Close the file that is read."""
        with contextlib.suppress(av.FFmpegError):
            self._source.close()

    def _copied(self, stream: Any, out: Any) -> Iterator[Any]:
        last_dts: int | None = None
        for packet in self._whole(stream):
            if packet.size == 0 or packet.pts is None:
                continue
            base = ratio(packet.time_base) or Fraction(1)
            begin = packet.pts * base - self._offset_s
            # Packets cannot be cut: one that reaches over the start or the end is kept whole.
            if begin + (packet.duration or 0) * base <= 0:
                continue
            if self._end_s is not None and begin >= self._end_s:
                return
            packet.pts -= round(self._offset_s / base)
            # A copy whose times run back would be refused.
            if last_dts is not None and packet.pts <= last_dts:
                packet.pts = last_dts + 1
            packet.dts = last_dts = packet.pts
            packet.stream = out
            yield packet

    def _whole(self, stream: Any) -> Iterator[Any]:
        context = stream.codec_context
        if context.codec.canonical_name != "aac" or context.extradata:
            yield from self._source.demux(stream)
            return
        # Broadcasts repeat the decoder's settings in each packet of AAC, MP4 wants them once.
        once = BitStreamFilterContext("aac_adtstoasc", stream)
        for packet in self._source.demux(stream):
            if packet.size:
                yield from once.filter(packet)

    def _encoded(self, stream: Any) -> Iterator[Any]:
        source = stream.codec_context
        rate = min(_AAC_RATES, key=lambda known: abs(known - (source.sample_rate or 44100)))
        layout = "mono" if source.channels == 1 else "stereo"
        out: Any = self._container.add_stream("aac", rate=rate, layout=layout)
        out.bit_rate = _AAC_BITS_PER_S
        resampler = av.AudioResampler("fltp", layout, rate, frame_size=_AAC_SAMPLES)
        return self._encode(stream, out, resampler)

    def _encode(self, stream: Any, out: Any, resampler: Any) -> Iterator[Any]:
        begin = Fraction(0)
        for frame in self._source.decode(stream):
            said = seconds_of(frame.pts, frame.time_base)
            begin = begin if said is None else said - self._offset_s
            duration = Fraction(frame.samples, frame.sample_rate)
            if begin + duration > 0:
                if self._end_s is not None and begin >= self._end_s:
                    break
                frame.time_base = Fraction(1, frame.sample_rate)
                frame.pts = round(begin * frame.sample_rate)
                for even in resampler.resample(frame):
                    yield from out.encode(even)
            begin += duration
        for even in resampler.resample(None):
            yield from out.encode(even)
        yield from out.encode(None)


def _seconds(packet: Any) -> Fraction:
    return seconds_of(packet.pts, packet.time_base) or Fraction(0)


# FFmpeg's numbers for BT.709, which browsers take for granted (AVCOL_*_BT709; limited range = 1).
_BT709 = 1

_LIMITED = 1

# A fragment a second, its index within; the head is written once the streams are known.
_IN_FRAGMENTS = {
    "movflags": "+delay_moov+default_base_moof",
    "frag_duration": "1000000",
    "flush_packets": "1",
}

_MAX_TICKS_PER_S = 1_000_000


class VideoWriter:
    """Takes frames for `write_video`.

    Attributes:
        n_frames: How many were written.
        sound: The sound that goes with them, None if none was asked for.
    """

    def __init__(
        self,
        container: Any,
        stream: Any,
        size_hw: tuple[int, int],
        fps: Fraction,
        base: Fraction,
        sound: Sound | None,
    ) -> None:
        self._container = container
        self._stream = stream
        self._size_hw = size_hw
        self._fps = fps
        self._base = base
        self._last_pts = -1
        self._reformatter = VideoReformatter()
        self._encoded: deque[Any] = deque()  # not in the file yet
        self.sound = sound
        self.n_frames = 0

    def write(self, image: ImageArray, seconds: Fraction | None = None) -> None:
        """Append one frame.

        Args:
            image: (H, W, 3) RGB uint8 of the size that was announced.
            seconds: When it is shown, later than the one before; if None, at the video's rate.

        Raises:
            ValueError: If it has another size.
        """
        if image.shape != (*self._size_hw, 3):
            raise ValueError(f"a frame of {image.shape} in a video of {self._size_hw}")
        # H.264 with 4:2:0 colour needs even sides: the last row or column is repeated.
        odd_h, odd_w = self._size_hw[0] % 2, self._size_hw[1] % 2
        if odd_h or odd_w:
            image = np.pad(image, ((0, odd_h), (0, odd_w), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24")
        frame = self._reformatter.reformat(
            frame, format="yuv420p", dst_colorspace=Colorspace.ITU709
        )
        if seconds is None:
            seconds = self.n_frames / self._fps
        # Times that fall on the same tick of a coarse clock still follow one another.
        frame.pts = self._last_pts = max(round(seconds / self._base), self._last_pts + 1)
        frame.time_base = self._base
        self._encode(frame)
        self.n_frames += 1

    def flush(self) -> None:
        """Write what the encoder still holds."""
        self._encode(None)

    def finish(self) -> None:
        """Write what the encoder still holds, and the rest of the sound."""
        self.flush()
        if self.sound is not None:
            self.sound.mux_until(None)

    def _encode(self, frame: Any) -> None:
        # One call from the encoder into the queue: Python heeds Ctrl-C between calls, and would drop
        # what the encoder had just returned, a frame amid the others.
        self._encoded.extend(chain.from_iterable(map(self._stream.encode, [frame])))
        while self._encoded:
            packet = self._encoded[0]
            # Counts for the last frame only: the others last until the next.
            packet.duration = max(1, round(1 / self._fps / self._base))
            if self.sound is not None:
                self.sound.mux_until(packet.pts * self._base)
            self._container.mux(packet)
            self._encoded.popleft()


def partial_path(path: str | Path) -> Path:
    """Where a video lies while it is written: clip.mp4's is clip.partial.mp4."""
    path = Path(path)
    return path.with_name(f"{path.stem}.partial{path.suffix}")


@contextlib.contextmanager
def write_video(
    path: str | Path,
    fps: Fraction | float,
    size_hw: tuple[int, int],
    source: VideoReader | None = None,
    verb: str | None = None,
) -> Iterator[VideoWriter]:
    """Write an MP4 that browsers play (H.264, yuv420p, BT.709, index in front).

    Args:
        path: The file; an older one is replaced once the block has succeeded. Should the block fail
            after a frame was written, `partial_path(path)` stays and plays up to there.
        fps: Frames a second, on average if `source` is given.
        size_hw: (height, width) of the frames; odd sides grow by one pixel in the file.
        source: The video they come from; its sound between its start and end, and its unit of time
            are kept.
        verb: As in `own_output`.

    Yields:
        A writer; call `write(image)` for each frame.

    Raises:
        ValueError: If no frame was written.
        UserError: If the file cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    partial = partial_path(path)
    partial.unlink(missing_ok=True)
    rate = Fraction(fps).limit_denominator(100_000)
    base = 1 / rate
    if source is not None and source.time_base.denominator <= _MAX_TICKS_PER_S:
        base = source.time_base
    writer = None
    with unfinished_output(partial, verb):
        try:
            with av.open(url(partial), "w", format="mp4", options=_IN_FRAGMENTS) as container:
                stream = _add_stream(container, rate, base, size_hw)
                with _sound(container, source) as sound:
                    writer = VideoWriter(container, stream, size_hw, rate, base, sound)
                    try:
                        yield writer
                    except BaseException:
                        # What the encoder still holds belongs to the video as far as it went.
                        with contextlib.suppress(av.FFmpegError):
                            writer.flush()
                        raise
                    if not writer.n_frames:
                        raise ValueError("a video needs at least one frame")
                    writer.finish()
            with own_output(path, verb) as part:
                _copy(partial, part)
        except av.FFmpegError as error:
            raise UserError(
                f"{path} cannot be written ({reason(error)}): make room there, or choose another --out"
            ) from error
        finally:
            if writer is None or not writer.n_frames:
                partial.unlink(missing_ok=True)
        partial.unlink()


def _add_stream(container: Any, rate: Fraction, base: Fraction, size_hw: tuple[int, int]) -> Any:
    stream: Any = container.add_stream("libx264", rate=rate)
    stream.height, stream.width = (side + side % 2 for side in size_hw)
    stream.pix_fmt = "yuv420p"
    # Constant quality, which looks clean at 22. The preset "medium" makes files a fifth smaller and
    # takes five times as long, which is nearly as much as a small detector takes.
    stream.options = {"crf": "22", "preset": "superfast", "bf": "0"}
    # Said and done in BT.709: players guess where nothing is said, and colours shift.
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    context.time_base = base
    return stream


@contextlib.contextmanager
def _sound(container: Any, source: VideoReader | None) -> Iterator[Sound | None]:
    if source is None:
        yield None
        return
    length = None if source.end_s is None else source.end_s - source.begin_s
    sound = Sound(source.path, container, source.first_s + source.begin_s, length)
    try:
        yield sound
    finally:
        sound.close()


def _copy(fragments: Path, target: Path) -> None:
    """Write the same packets with one index for all, in front."""
    with (
        open_file(fragments) as source,
        av.open(url(target), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        streams = {s.index: container.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
