"""`detect` on videos: what is written, which frames are looked at, identities, ends before the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers import clips

from duckdetect.cli.app import main
from duckdetect.errors import UserError
from duckdetect.inference.detect import detect
from duckdetect.utils.outputs import MANIFEST, own_output
from duckdetect.utils.prefetch import prefetch

ROOT = Path(__file__).resolve().parents[2]


def rows(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "detections.json").read_text())


def run(source: Path, out: Path, **given: Any) -> Any:
    detector = given.pop("detector", None) or clips.YellowDetector()
    return detect(detector, source, out, progress=False, **given)


def test_every_frame_is_written_and_told(tmp_path: Path) -> None:
    source = clips.write(tmp_path / "a.mkv", 40, sound="aac")
    done = run(source, tmp_path / "out")
    assert (done.n_images, done.n_found, done.n_detections) == (40, 40, 40)
    assert done.notes == ()
    names = {p.name for p in done.folder.iterdir()}
    assert names == {MANIFEST, "detections.json", "detections.mp4"}
    assert clips.codecs(done.animation) == {"video": "h264", "audio": "aac"}
    table = rows(done.folder)
    assert [r["frame"] for r in table] == [r["image_id"] for r in table] == list(range(40))
    np.testing.assert_allclose([r["time"] for r in table], np.arange(40) / 25, atol=1e-3)
    for row in table[::5]:
        x, y = clips.square(row["frame"])[:2]
        np.testing.assert_allclose(row["bbox"], [x, y, 20, 20], atol=2)
        assert row["file_name"] == "a.mkv"
        assert "track_id" not in row
    drawn = clips.images(done.animation)[30]
    x, y = clips.square(30)[:2]
    assert drawn[y + 10, x - 2 : x + 3, 0].max() > 200  # the box's line, on grey
    assert drawn[y + 10, x - 2 : x + 3, 1].min() < 100


@pytest.mark.parametrize("track", [False, True])
def test_every_nth_frame_is_looked_at_and_boxes_are_drawn_between(
    tmp_path: Path, track: bool
) -> None:
    source = clips.write(tmp_path / "a.mp4", 43)
    detector = clips.YellowDetector()
    done = run(source, tmp_path / "out", every=5, track=track, detector=detector, start="0.2")
    assert detector.n_looked == done.n_images == 8
    assert [r["frame"] for r in rows(done.folder)] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert len(clips.times(done.animation)) == 38
    (note,) = done.notes
    assert note.startswith("looked at 8 of 38 frames; the boxes on those between are ")
    assert ("moved on with their objects" in note) == track
    # On the 4th frame after the 7th look (35), the square has moved on by 8 pixels.
    drawn = clips.images(done.animation)[39 - 5].astype(int)
    moved, still = (clips.square(k)[0] for k in (39, 35))
    # The ground is grey; what else has a colour, but for the yellow square, is the box's line.
    row = drawn[48 + 6]
    line = (np.ptp(row, axis=1) > 60) & ~((row[:, 0] > 170) & (row[:, 1] > 130))
    near = [bool(line[x - 2 : x + 3].any()) for x in (moved, still)]
    assert near == ([True, False] if track else [False, True])


def test_identities_bridge_weak_frames(tmp_path: Path) -> None:
    source = clips.write(tmp_path / "a.mp4", 40)
    detector = clips.YellowDetector()
    detector.weak = set(range(10, 20)) | {30}
    plain = run(source, tmp_path / "plain", detector=detector)
    assert plain.n_detections == 29
    detector.n_looked = 0
    done = run(source, tmp_path / "out", detector=detector, track=True)
    assert done.n_detections == 40
    assert {r["track_id"] for r in rows(done.folder)} == {1}
    assert [r["score"] for r in rows(done.folder)].count(0.3) == 11


def test_options_for_videos_are_not_ignored_on_images(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(clips.scene(0)).save(tmp_path / "a.png")
    for given in ({"every": 2}, {"start": "1"}, {"end": 3}, {"track": True}):
        with pytest.raises(UserError, match=f"--{next(iter(given))} is for videos"):
            run(tmp_path / "a.png", tmp_path / "out", **given)
    with pytest.raises(UserError, match="--every is 0: give 1"):
        run(tmp_path / "a.png", tmp_path / "out", every=0)


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Not setattr, which would first load the real one, and TensorFlow with it.
    monkeypatch.setattr(
        "duckdetect.inference.detect.as_detector", lambda run: clips.YellowDetector()
    )
    source = clips.write(tmp_path / "a.mp4", 60)
    out = tmp_path / "out"
    argv = ["detect", "RUN", str(source), "--out", str(out), "--every", "2", "--track"]
    assert main([*argv, "--start", "0:01", "--end", "2"]) == 0
    told = capsys.readouterr()
    assert "looked at 13 of 25 frames" in told.out
    assert "13 detections of score 0.50 or more in 13 of 13 frames" in told.out
    assert "25/25" in told.err
    assert "frame/s" in told.err
    assert [r["frame"] for r in rows(out)] == list(range(25, 50, 2))
    bare = [*argv, "--start", "1", "--end", "1.1", "--no-labels", "--line-width", "0"]
    assert main(bare) == 2
    assert "line width is 0: give 1 to 100 pixels" in capsys.readouterr().err
    assert main([*argv, "--start", "9"]) == 2
    assert "no frame between 9 s and its end at about 2.36 s" in capsys.readouterr().err


def test_an_input_that_is_cut_off_leaves_what_was_done(tmp_path: Path) -> None:
    clips.write(tmp_path / "whole.mp4", 100)
    # With the index in front, as cameras and downloads have it.
    with av.open(str(tmp_path / "whole.mp4")) as one:
        options = {"movflags": "faststart"}
        with av.open(str(tmp_path / "c.mp4"), "w", options=options) as two:
            stream = two.add_stream_from_template(one.streams.video[0])
            for packet in one.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    two.mux(packet)
    content = (tmp_path / "c.mp4").read_bytes()
    (tmp_path / "c.mp4").write_bytes(content[: len(content) * 7 // 10])
    done = run(tmp_path / "c.mp4", tmp_path / "out")
    (note,) = done.notes
    assert "c.mp4 is cut off after frame" in note
    assert done.n_images > 40
    assert len(clips.times(tmp_path / "out" / "detections.mp4")) == done.n_images


# A process that a shell started in the background ignores Ctrl-C, and so would its children.
SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from helpers import clips
from duckdetect.inference.detect import detect
from duckdetect.cli import main
import duckdetect

class Slow(clips.YellowDetector):
    def predict(self, frames, threshold):
        time.sleep(0.02 * len(frames))
        return super().predict(frames, threshold)

sys.modules["duckdetect.inference.detect"].as_detector = lambda what: Slow()
sys.exit(main(["detect", "RUN", {source!r}, "--out", {out!r}]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_ended_run_leaves_a_video_that_plays(tmp_path: Path, how: signal.Signals) -> None:
    source = clips.write(tmp_path / "a.mp4", 700, sound="aac", gop=50)
    out = tmp_path / "out"
    with own_output(out / "detections.mp4", "detect") as part:
        part.write_bytes(b"an older one")
    code = SLOW.format(root=str(ROOT), source=str(source), out=str(out))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    partial = out / "detections.partial.mp4"
    try:
        end = time.monotonic() + 60
        while not (partial.exists() and partial.stat().st_size > 50_000):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(how)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (1 if how == signal.SIGINT else -how)
    seen = clips.times(partial)
    assert 50 < len(seen) < 700
    np.testing.assert_allclose(seen, np.arange(len(seen)) / 25, atol=1e-3)
    assert clips.loud_from_to(partial)[1] > seen[-1] - 1.1
    assert (out / "detections.mp4").read_bytes() == b"an older one"
    assert not (out / "detections.json").exists()
    if how == signal.SIGINT:
        assert "detections.partial.mp4 plays up to here" in told
        assert "Traceback" not in told


MEMORY = """
import resource, sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from helpers import clips
from duckdetect.inference.detect import detect
done = detect(clips.YellowDetector(), {source!r}, {out!r}, progress=False, track=True)
print(done.n_images, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_stays_flat(tmp_path: Path) -> None:
    peaks = []
    for n in (100, 900):
        size_hw = (180, 320)
        source = clips.write(tmp_path / f"{n}.mp4", n, size_hw=size_hw, sound="aac")
        code = MEMORY.format(root=str(ROOT), source=str(source), out=str(tmp_path / "out"))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        looked, peak = done.stdout.split()
        assert int(looked) == n
        peaks.append(float(peak))
    # 800 frames more are 138 MB of pixels; the longer one needs but the index of the file.
    assert peaks[1] - peaks[0] < 25, peaks


def test_a_stage_hands_on_errors_and_stops_when_it_is_left() -> None:
    state = {"made": 0, "closed": 0}

    def numbers(stop_at: int) -> Iterator[int]:
        try:
            for k in range(stop_at):
                state["made"] += 1
                yield k
            raise OSError("the end of the world")
        finally:
            state["closed"] += 1

    got: list[int] = []
    with pytest.raises(OSError, match="the end of the world"):
        got.extend(prefetch(prefetch(numbers(20), 2), 3))
    assert got == list(range(20))
    before = threading.active_count()
    state.update(made=0, closed=0)
    stages = prefetch(prefetch(numbers(10**9), 2), 3)
    assert next(stages) == 0
    time.sleep(0.1)
    stages.close()
    assert threading.active_count() == before
    assert state["closed"] == 1
    assert state["made"] < 12
