"""Small videos for tests, made by PyAV: any codec, turn, rate and sound, and the reading of them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import supervision as sv

RATE = 44100
RED, GREEN, BLUE = (220, 30, 30), (30, 180, 40), (40, 60, 210)


def scene(k: int, size_hw: tuple[int, int] = (96, 128), flash: bool = False) -> np.ndarray:
    """Corners of different colours on grey, and a yellow square that moves by 2 pixels a frame."""
    height, width = size_hw
    frame = np.full((height, width, 3), 230 if flash else 110, np.uint8)
    side = min(height, width) // 4
    frame[:side, :side] = RED  # top left
    frame[:side, -side:] = GREEN  # top right
    frame[-side:, :side] = BLUE  # bottom left
    x1, y1 = square(k, size_hw)[:2]
    frame[y1 : y1 + 20, x1 : x1 + 20] = (240, 220, 20)
    return frame


def square(k: int, size_hw: tuple[int, int] = (96, 128)) -> tuple[int, int, int, int]:
    """Where the yellow square lies, xyxy."""
    x = (2 * k) % (size_hw[1] - 20)
    y = size_hw[0] // 2 - 10
    return x, y, x + 20, y + 20


def write(
    path: Path,
    n: int = 25,
    *,
    size_hw: tuple[int, int] = (96, 128),
    fps: Fraction | int = 25,
    codec: str = "libx264",
    times_s: list[float] | None = None,
    sound: str | None = None,
    sound_s: float | None = None,
    beep: tuple[float, float] = (0.0, 1e9),
    aspect: Fraction | None = None,
    sound_first: bool = False,
    gop: int = 12,
) -> Path:
    """Write a clip; frames are bright and the sound is heard during `beep`."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=fps)
        video.height, video.width = size_hw
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.codec_context.gop_size = gop
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        base = Fraction(1, 1000) if times_s else 1 / Fraction(fps)
        video.codec_context.time_base = base
        if codec == "libx265":
            video.options = {"x265-params": "log-level=none"}
        audio: Any = (
            out.add_stream(sound, rate=48000 if "opus" in sound else RATE) if sound else None
        )
        for k in range(n):
            seconds = times_s[k] if times_s else float(k / Fraction(fps))
            image = scene(k, size_hw, bool(sound) and beep[0] <= seconds < beep[1])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = round(seconds / base), base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            _add_tone(out, audio, sound_s or float(n / Fraction(fps)), beep)
    return path


def _add_tone(out: Any, audio: Any, seconds: float, beep: tuple[float, float]) -> None:
    rate = audio.codec_context.sample_rate
    t = np.arange(int(seconds * rate)) / rate
    loud = (t >= beep[0]) & (t < beep[1])
    tone = (0.5 * np.sin(2 * np.pi * 440 * t) * loud).astype(np.float32)
    resampler = av.AudioResampler(
        audio.codec_context.format, audio.codec_context.layout, rate, frame_size=1152
    )
    for start in range(0, len(tone), 1024):
        frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        for even in resampler.resample(frame):
            out.mux(audio.encode(even))
    for even in resampler.resample(None):
        out.mux(audio.encode(even))
    out.mux(audio.encode(None))


def turn(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix into an MP4's track header, as a phone that was held so would."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", content, at, *(v << 16 for v in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    path.write_bytes(content)
    return path


def times(path: Path) -> list[float]:
    """When each frame is shown, seconds."""
    with av.open(str(path)) as container:
        return [float(f.time) for f in container.decode(video=0)]


def images(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


def codecs(path: Path) -> dict[str, str]:
    """The codec of each kind of stream."""
    with av.open(str(path)) as container:
        return {s.type: s.codec_context.codec.canonical_name for s in container.streams}


def loud_from_to(path: Path) -> tuple[float, float]:
    """When the sound begins and ends to be heard, seconds."""
    loud: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float)
            samples /= 32768 if frame.format.name.startswith("s16") else 1
            step = len(frame.layout.channels) if not frame.format.is_planar else 1
            at = np.flatnonzero(np.abs(samples[0][::step]) > 0.1)
            loud += (float(frame.time) + at / frame.sample_rate).tolist()
    return min(loud), max(loud)


class YellowDetector:
    """Finds the yellow square by its colour, instead of a trained detector."""

    classes = ("square",)
    threshold = 0.5

    def __init__(self, score: float = 0.9) -> None:
        self.score = score
        self.n_looked = 0
        self.weak: set[int] = set()  # the calls' frames that score lower

    def predict(self, frames: list[np.ndarray], threshold: float) -> list[sv.Detections]:
        return [self._find(frame, threshold) for frame in frames]

    def _find(self, frame: np.ndarray, threshold: float) -> sv.Detections:
        score = 0.3 if self.n_looked in self.weak else self.score
        self.n_looked += 1
        red, green, blue = (frame[..., i].astype(int) for i in range(3))
        ys, xs = np.nonzero((red > 180) & (green > 160) & (blue < 120))
        if not len(xs) or score < threshold:
            return sv.Detections.empty()
        return sv.Detections(
            xyxy=np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32),
            confidence=np.array([score], np.float32),
            class_id=np.array([0]),
        )
