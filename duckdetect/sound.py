"""A video's sound on its way into an MP4: copied where browsers play it, else encoded as AAC.

sound = Sound("clip.mov", container, offset_s=first_frame_s)
sound.mux_until(1.5)    # what is heard before that time of the new video
sound.mux_until(None)   # the rest
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

from duckdetect.video_words import ratio, seconds_of

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
        self._source: Any = av.open(str(path))
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
