"""Videos of many kinds, read and written again: frames, times, turn, shape, sound."""

from __future__ import annotations

import itertools
import re
import signal
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import clips

from duckdetect.errors import UserError
from duckdetect.video.reader import parse_time, read_video
from duckdetect.video.writer import partial_path, write_video


def rewrite(path: Path, target: Path, start: str | None = None, end: str | None = None) -> Path:
    """What detection does to a video, without detecting."""
    video = read_video(path, start, end)
    with write_video(target, video.fps, video.size_hw, video) as out:
        for frame in video.frames():
            out.write(frame.image, frame.seconds - video.begin_s)
    return target


@pytest.mark.parametrize(
    ("name", "codec", "sound", "kept"),
    [
        ("h264_aac.mp4", "libx264", "aac", "aac"),
        ("h264_mp3.mp4", "libx264", "libmp3lame", "mp3"),
        ("h265_aac.mov", "libx265", "aac", "aac"),
        ("mjpeg_pcm.mov", "mjpeg", "pcm_s16le", "aac"),
        ("mpeg4_mp3.avi", "mpeg4", "libmp3lame", "mp3"),
        ("mpeg4_pcm.avi", "mpeg4", "pcm_s16le", "aac"),
        ("vp9_opus.webm", "libvpx-vp9", "libopus", "opus"),
        ("h264_flac.mkv", "libx264", "flac", "flac"),
        ("mpeg2_ac3.ts", "mpeg2video", "ac3", "aac"),
        ("h264_aac.ts", "libx264", "aac", "aac"),
        ("h264.mp4", "libx264", None, None),
    ],
)
def test_any_file_becomes_h264_with_its_sound_in_step(
    tmp_path: Path, name: str, codec: str, sound: str | None, kept: str | None
) -> None:
    source = clips.write(tmp_path / name, 50, codec=codec, sound=sound, beep=(0.8, 1.4))
    out = rewrite(source, tmp_path / "out.mp4")
    wanted = {"video": "h264"} | ({"audio": kept} if kept else {})
    assert clips.codecs(out) == wanted
    assert len(clips.times(out)) == 50
    times = np.array(clips.times(source))  # not all containers begin at 0 and count evenly
    np.testing.assert_allclose(clips.times(out), times - times[0], atol=2e-3)
    for before, after in zip(clips.images(source)[::7], clips.images(out)[::7], strict=True):
        assert np.abs(before.astype(int) - after).mean() < 6
    if kept:
        bright = [t for t, p in zip(clips.times(out), clips.images(out), strict=True)
                  if p[5, 64].mean() > 180]  # fmt: skip
        first, last = clips.loud_from_to(out)
        # An encoder's smear is a packet, 26 ms at most; a frame lasts 40.
        assert first == pytest.approx(bright[0], abs=0.04)
        assert last == pytest.approx(bright[-1] + 0.04, abs=0.04)
        with av.open(str(out)) as container:
            assert container.streams.audio[0].duration * container.streams.audio[
                0
            ].time_base == pytest.approx(2, abs=0.06)


def test_a_part_begins_at_zero_with_its_sound_in_step(tmp_path: Path) -> None:
    for sound in ("aac", "pcm_s16le"):
        source = clips.write(tmp_path / "a.mov", 100, sound=sound, beep=(1.6, 2.2))
        video = read_video(source, "0:01.3", 3)
        frames = list(video.frames())
        # 1.3 s lies between frames 32 and 33; the end, frame 75, is left out.
        assert [f.number for f in frames] == list(range(33, 75))
        assert video.begin_s == frames[0].seconds == Fraction(33, 25)
        assert video.n_expected == pytest.approx(len(frames), abs=1)
        for frame in frames[::9]:
            x = np.flatnonzero((frame.image[48, :, 0] > 180) & (frame.image[48, :, 2] < 120))
            assert x.min() == pytest.approx(clips.square(frame.number)[0], abs=2)
        out = rewrite(source, tmp_path / "out.mp4", "0:01.3", "3")
        np.testing.assert_allclose(clips.times(out), np.arange(42) / 25, atol=1e-3)
        first, last = clips.loud_from_to(out)
        assert first == pytest.approx(1.6 - 1.32, abs=0.03)
        assert last == pytest.approx(2.2 - 1.32, abs=0.03)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_frames_are_numbered_alike_from_any_start(tmp_path: Path, name: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    source = clips.write(tmp_path / name, 60, codec=codec, gop=10)
    every = {f.number: f for f in read_video(source).frames()}
    assert len(every) == 60
    for start in (0.1, 0.79, 1.0, 1.61, 2.36):
        frames = list(read_video(source, start).frames())
        assert frames[0].seconds >= start > every[frames[0].number - 1].seconds
        assert frames[-1].number == 59
        for frame in (frames[0], frames[len(frames) // 2]):
            assert frame.seconds == every[frame.number].seconds
            np.testing.assert_array_equal(frame.image, every[frame.number].image)


def test_uneven_times_are_carried_over(tmp_path: Path) -> None:
    gaps = np.random.default_rng(0).choice([0.02, 0.033, 0.1, 0.5], 40)
    times = np.cumsum(gaps).round(3) - round(float(gaps[0]), 3)
    for name in ("uneven.mkv", "uneven.mp4"):
        source = clips.write(tmp_path / name, 40, times_s=times.tolist())
        out = rewrite(source, tmp_path / "out.mp4")
        np.testing.assert_allclose(clips.times(out), times, atol=1.1e-3)


# Matrices (a, b, c, d) and where the red, green and blue corners are then seen (by ffmpeg as well).
TURNS = {
    (1, 0, 0, 1): "RG/B.",
    (0, 1, -1, 0): "BR/.G",  # a quarter turn clockwise
    (-1, 0, 0, -1): ".B/GR",
    (0, -1, 1, 0): "G./RB",
    (-1, 0, 0, 1): "GR/.B",  # mirrored
    (1, 0, 0, -1): "B./RG",
    (0, 1, 1, 0): "RB/G.",
    (0, -1, -1, 0): ".G/BR",
}


def corners(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    signs = []
    for y in (8, height - 8):
        for x in (8, width - 8):
            channel = image[y, x].astype(int)
            spread = channel.max() - channel.min()
            signs.append("RGB"[int(channel.argmax())] if spread > 60 else ".")
    return f"{signs[0]}{signs[1]}/{signs[2]}{signs[3]}"


@pytest.mark.parametrize("matrix", TURNS)
def test_phone_videos_stand_upright(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    source = clips.turn(clips.write(tmp_path / "phone.mp4", 5), *matrix)
    video = read_video(source)
    assert video.size_hw == ((128, 96) if matrix[0] == 0 else (96, 128))
    image = next(iter(video))
    assert image.shape[:2] == video.size_hw
    assert corners(image) == TURNS[matrix]
    out = rewrite(source, tmp_path / "out.mp4")
    assert corners(clips.images(out)[-1]) == TURNS[matrix]
    assert corners(next(iter(read_video(out)))) == TURNS[matrix]  # it is not turned again


@pytest.mark.parametrize(
    ("aspect", "size_hw"), [(Fraction(4, 3), (96, 171)), (Fraction(8, 9), (108, 128))]
)
def test_pixels_become_square(tmp_path: Path, aspect: Fraction, size_hw: tuple[int, int]) -> None:
    source = clips.write(tmp_path / "dv.mp4", 5, aspect=aspect)
    video = read_video(source)
    assert video.size_hw == size_hw
    assert next(iter(video)).shape == (*size_hw, 3)
    out = rewrite(source, tmp_path / "out.mp4")
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio in (None, 0, 1)
        assert abs(stream.width / stream.height / (128 / 96 * float(aspect)) - 1) < 0.02


def test_high_definition_without_a_word_is_bt709(tmp_path: Path) -> None:
    frame = np.zeros((720, 64, 3), np.uint8)
    frame[:] = (20, 200, 40)
    path = tmp_path / "hd.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 720, 64, "yuv420p"
        image = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709"
        )
        for k in range(3):
            image.pts = k
            out.mux(stream.encode(image))
        out.mux(stream.encode(None))
    seen = next(iter(read_video(path)))
    assert np.abs(seen[300, 30].astype(int) - frame[300, 30]).max() <= 5


def test_sound_longer_and_shorter_than_the_images(tmp_path: Path) -> None:
    for length in (0.6, 3.0):
        source = clips.write(tmp_path / "a.mp4", 25, sound="aac", sound_s=length)
        out = rewrite(source, tmp_path / "out.mp4")
        assert clips.loud_from_to(out)[1] == pytest.approx(length, abs=0.05)
        assert len(clips.times(out)) == 25


def test_a_cover_image_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuvj420p"
        stream.disposition = 0x400
        image = av.VideoFrame.from_ndarray(clips.scene(0), "rgb24").reformat(format="yuvj420p")
        out.mux(stream.encode(image))
        out.mux(stream.encode(None))
    with pytest.raises(UserError, match="holds no pictures"):
        read_video(path)


def test_times_of_a_start_and_an_end(tmp_path: Path) -> None:
    assert parse_time("90.5") == parse_time(90.5) == parse_time("1:30.5") == Fraction(181, 2)
    assert parse_time("01:02:03") == 3723
    for text in ("", "-1", "1:2:3:4", "soon", "1:", "nan", "1e3", "1" * 5000, "1." + "1" * 5000):
        with pytest.raises(UserError, match="is no time: give seconds"):
            parse_time(text)
    path = clips.write(tmp_path / "a.mp4", 25)
    with pytest.raises(UserError, match=r"no frame between 5 s and its end at about 0.96 s: give"):
        read_video(path, 5)
    with pytest.raises(UserError, match="the end at 1 s is not after the start at 2 s"):
        read_video(path, 2, 1)


def test_what_is_there_after_a_failure_plays(tmp_path: Path) -> None:
    path = tmp_path / "detections.mp4"
    clips.write(path, 3)
    before = path.read_bytes()
    source = read_video(clips.write(tmp_path / "a.mp4", 100, sound="aac"))

    def unlucky() -> None:
        with write_video(path, 25, source.size_hw, source) as out:
            for frame in source.frames():
                out.write(frame.image, frame.seconds)
                if frame.number == 59:
                    raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        unlucky()
    assert path.read_bytes() == before
    partial = partial_path(path)
    assert partial.name == "detections.partial.mp4"
    np.testing.assert_allclose(clips.times(partial), np.arange(60) / 25, atol=1e-3)
    rewrite(tmp_path / "a.mp4", path)
    assert not partial.exists()
    assert len(clips.times(path)) == 100


def test_sound_that_breaks_ends_there_and_is_told(tmp_path: Path) -> None:
    source = read_video(clips.write(tmp_path / "a.mp4", 75, sound="aac"))
    out = tmp_path / "out.mp4"
    with write_video(out, 25, source.size_hw, source) as writer:
        assert writer.sound is not None
        whole = writer.sound._packets

        def breaking() -> Iterator[Any]:
            yield from itertools.islice(whole, 50)
            raise av.InvalidDataError(1, "damaged")

        writer.sound._packets = breaking()
        for frame in source.frames():
            writer.write(frame.image, frame.seconds)
    assert float(writer.sound.broken_s or 0) == pytest.approx(50 * 1024 / 44100, abs=0.05)
    assert len(clips.times(out)) == 75
    assert clips.loud_from_to(out)[1] == pytest.approx(float(writer.sound.broken_s or 0), abs=0.05)


@pytest.mark.parametrize("part", [0.5, 0.66, 0.9])
def test_an_mp4_that_is_cut_is_never_said_to_hold_no_pictures(tmp_path: Path, part: float) -> None:
    path = clips.write(tmp_path / "a.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UserError, match=r"is cut off .*: copy it again"):
        read_video(path)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.ts", "libx264"), ("a.mpg", "mpeg2video"), ("a.wmv", "wmv2"), ("a.h264", "libx264")],
)
def test_a_stream_that_is_cut_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    """Of kinds that do not say how long they should be; a whole one is not blamed."""
    random = np.random.default_rng(0)  # noise: no frame is so small that the cut falls beside it
    monkeypatch.setattr(
        clips, "scene", lambda *_: random.integers(0, 255, (96, 128, 3)).astype(np.uint8)
    )
    path = clips.write(tmp_path / name, codec=codec, gop=4)
    content = path.read_bytes()
    whole = read_video(path)
    n = sum(1 for _ in whole)
    assert whole.notes == []
    path.write_bytes(content[: int(len(content) * 0.62)])
    cut = read_video(path)
    n_left = sum(1 for _ in cut)
    assert 2 < n_left < n
    (note,) = cut.notes
    assert "is cut off after frame" in note
    assert "what is there is used" in note


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mpeg4"), ("a.mp4", "libx264"), ("a.mkv", "mpeg4")]
)
def test_frames_that_are_damaged_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    random = np.random.default_rng(0)
    monkeypatch.setattr(
        clips, "scene", lambda *_: random.integers(0, 255, (96, 128, 3)).astype(np.uint8)
    )
    path = clips.write(tmp_path / name, 40, codec=codec, gop=8)
    whole = read_video(path)
    assert sum(1 for _ in whole) == 40
    assert whole.notes == []
    content = bytearray(path.read_bytes())
    for at in random.integers(int(len(content) * 0.2), int(len(content) * 0.6), 40):
        content[at] ^= 255
    path.write_bytes(content)
    hurt = read_video(path)
    n = sum(1 for _ in hurt)
    assert n > 20
    told = (
        r"\d+ frames of .* could not be decoded whole \(the first at 0\.\d s\), .*: copy it again"
    )
    assert re.fullmatch(told, hurt.notes[0])


def test_an_interruption_loses_no_frame_amid_the_others(tmp_path: Path) -> None:
    # Ctrl-C as it comes: mostly while the encoder is at work, which is most of the time.
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def write(after_s: float) -> None:
        with write_video(tmp_path / "a.mp4", 25, (240, 320)) as out:
            for n in range(1000):
                out.write(image)
                if n == 10:
                    signal.setitimer(signal.ITIMER_REAL, after_s)

    before = signal.signal(signal.SIGALRM, interrupt)
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    try:
        for k in range(40):
            with pytest.raises(KeyboardInterrupt):
                write(0.005 + 0.0007 * k)
            seen = clips.times(tmp_path / "a.partial.mp4")
            assert len(seen) > 10
            np.testing.assert_allclose(seen, np.arange(len(seen)) / 25, atol=1e-3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_video_that_begins_late_is_not_taken_for_a_cut_one(tmp_path: Path) -> None:
    """Matroska's head counts from 0."""
    times = [7 + i / 10 for i in range(12)]
    video = read_video(clips.write(tmp_path / "late.mkv", 12, times_s=times))
    assert [float(frame.seconds) for frame in video.frames()] == pytest.approx(
        [time - 7 for time in times]
    )
    assert video.notes == []
