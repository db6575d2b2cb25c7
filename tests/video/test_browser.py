"""What a browser makes of our videos: headless Chromium loads them, and the colours are right."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import clips
from helpers.browser import chrome as browser

from duckdetect.inference.detect import detect

pytestmark = pytest.mark.browser

# Within the page: Chromium reads back no pixels of a video that comes from another file.
PAGE = "<!doctype html><video id=v muted preload=auto src='data:video/mp4;base64,{}'></video>"

# Shows the frame at a time, draws it to a canvas and reads some of its pixels.
AT_TIME = """
    const [seconds, points, done] = arguments;
    const video = document.getElementById('v');
    const read = () => {
        const canvas = document.createElement('canvas');
        canvas.width = video.videoWidth; canvas.height = video.videoHeight;
        const context = canvas.getContext('2d');
        context.drawImage(video, 0, 0);
        done(points.map(([x, y]) => Array.from(context.getImageData(x, y, 1, 1).data.slice(0, 3))));
    };
    video.onseeked = () => setTimeout(read, 150);
    video.currentTime = seconds;
"""
PLAYED = """
    const video = document.getElementById('v');
    const done = arguments[0];
    video.onended = () => done([video.currentTime, video.webkitAudioDecodedByteCount]);
    video.playbackRate = 4;
    video.play();
"""
STATE = """
    const v = document.getElementById('v');
    if (v.error) return 'error ' + v.error.code + ' ' + v.error.message;
    return v.readyState < 3 ? null : [v.duration, v.videoWidth, v.videoHeight];
"""


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser.start(tmp_path_factory.mktemp("profile")) as driver:
        driver.set_script_timeout(30)
        yield driver


def shown(chrome: Any, video: Path) -> tuple[float, int, int]:
    """Load a video; its duration in seconds, width and height as the browser has them."""
    page = video.with_suffix(".html")
    page.write_text(PAGE.format(base64.b64encode(video.read_bytes()).decode()))
    chrome.get(page.as_uri())
    duration, width, height = browser.wait_for("the video", lambda: state(chrome))
    return duration, width, height


def state(chrome: Any) -> Any:
    now = chrome.execute_script(STATE)
    assert not isinstance(now, str), now
    return now


@pytest.mark.parametrize(
    ("name", "codec", "sound", "turned"),
    [
        ("plain.mp4", "libx264", "aac", False),
        ("phone.mp4", "libx265", "aac", True),
        ("flac.mkv", "libx264", "flac", False),
        ("web.webm", "libvpx-vp9", "libopus", False),
        ("old.avi", "mpeg4", "libmp3lame", False),
        ("mute.mp4", "libx264", None, False),
    ],
)
def test_chromium_plays_it(
    tmp_path: Path, chrome: Any, name: str, codec: str, sound: str | None, turned: bool
) -> None:
    source = clips.write(tmp_path / name, 50, codec=codec, sound=sound, beep=(9, 9))
    if turned:
        clips.turn(source, 0, 1, -1, 0)
    done = detect(clips.YellowDetector(), source, tmp_path / "out", progress=False)  # type: ignore[arg-type]
    duration, width, height = shown(chrome, done.animation)
    assert duration == pytest.approx(2.0, abs=0.08)
    assert (width, height) == ((96, 128) if turned else (128, 96))
    # Where the corners are, and at 1.5 s the square and its box.
    corners = [(8, 8), (width - 9, 8), (8, height - 9)]
    x, y = clips.square(37)[:2]
    middle = (width - 1 - (y + 10), x + 10) if turned else (x + 10, y + 10)
    colors = np.array(chrome.execute_async_script(AT_TIME, 1.5, [*corners, middle])).astype(int)
    wanted = [clips.BLUE, clips.RED, None] if turned else [clips.RED, clips.GREEN, clips.BLUE]
    for color, want in zip(colors, [*wanted, (240, 220, 20)], strict=True):
        if want is not None:
            assert np.abs(color - want).max() < 40, (color, want)
    end, n_sound_bytes = chrome.execute_async_script(PLAYED)
    assert end == pytest.approx(duration, abs=0.1)
    assert (n_sound_bytes > 0) == (sound is not None)


def test_chromium_keeps_uneven_times(tmp_path: Path, chrome: Any) -> None:
    times = [0, 0.1, 0.2, 1.2, 1.25, 1.3, 2.3, 2.4]
    source = clips.write(tmp_path / "a.mkv", len(times), times_s=times)
    done = detect(clips.YellowDetector(), source, tmp_path / "out", progress=False)  # type: ignore[arg-type]
    shown(chrome, done.animation)
    for at, k in ((0.7, 2), (1.8, 5)):  # long frames: still the one that began before
        x, y = clips.square(k)[:2]
        inside, outside = chrome.execute_async_script(
            AT_TIME, at, [(x + 10, y + 10), (x + 26, y + 10)]
        )
        assert inside[0] - inside[2] > 120, (at, inside)
        assert abs(outside[0] - outside[2]) < 60, (at, outside)
