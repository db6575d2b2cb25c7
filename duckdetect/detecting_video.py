"""Detection on a video: decoded, looked at, drawn and encoded at the same time, frame after frame.

    detect_video(detector, read_video("clip.mp4", end="0:30"), Path("results/new"), threshold=0.5)

Three threads work hand in hand: one decodes, one detects, one draws and encodes. Between them wait a few
batches of bounded size, so that an hour needs no more memory than a minute.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from duckdetect.ahead import ahead
from duckdetect.detected import Count, Detected
from duckdetect.errors import UserError
from duckdetect.render import Picture, Record, draw_detections, write_detections_json
from duckdetect.tracking import Tracker
from duckdetect.video import Frame, VideoReader
from duckdetect.video_out import partial_path, write_video

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.detector import Detector

_BATCH = 8  # frames that the detector sees at once
_BATCH_BYTES = 64_000_000  # of frames in a batch; about six batches are under way
# Neighbouring identities get different colours; after so many the colours begin again.
_COLORS = 48


@dataclasses.dataclass(frozen=True)
class _Looked:
    """A frame and what was found; None if it was not looked at."""

    frame: Frame
    found: Detections | None


def detect_video(
    detector: Detector,
    video: VideoReader,
    out: Path,
    threshold: float,
    *,
    every: int = 1,
    track: bool = False,
    progress: bool = True,
) -> Detected:
    """Detect on a video; write `detections.mp4` and `detections.json` into a folder.

    Args:
        detector: The detector.
        video: The frames.
        out: The folder, which is there.
        threshold: Keep detections with at least this score, 0 to 1.
        every: Look at every Nth frame; on those between, the last boxes are drawn again, or with
            `track` moved on as their objects moved.
        track: Give objects identities, and keep them through frames in which they score lower.
        progress: Show a bar on stderr.

    Raises:
        UserError: If a frame cannot be read or the output not be written; what was written of the
            video before that stays as `detections.partial.mp4`, which plays.
    """
    count, n_frames = Count(), video.n_expected
    animation = out / "detections.mp4"
    tracker = Tracker(threshold) if track else None
    lowest = threshold if tracker is None else tracker.low
    notes: list[str] = []
    with (
        _telling_of(partial_path(animation), progress),
        write_video(animation, video.fps, video.size_hw, video) as writer,
        tqdm(
            total=n_frames, desc="detecting", unit="frame", disable=not progress, file=sys.stderr
        ) as bar,
        contextlib.closing(ahead(_batches(video, every), 1)) as batches,
        contextlib.closing(ahead(_looked(detector, batches, every, lowest), 1)) as looked,
    ):

        def records() -> Iterator[Record]:
            shown: Detections | None = None
            for one in looked:
                frame = one.frame
                seconds = float(frame.seconds)
                if one.found is not None:
                    shown = one.found if tracker is None else tracker.update(one.found, seconds)
                    more = {"frame": frame.number, "time": round(seconds, 6)}
                    yield frame.number, video.path.name, count.add(shown), more
                elif tracker is not None:
                    shown = tracker.between(seconds)
                assert shown is not None  # the first frame is looked at
                drawn = _drawn(frame.picture, shown, detector.classes)
                writer.write(drawn, frame.seconds - video.begin_s)
                bar.update()

        write_detections_json(out / "detections.json", records(), detector.classes)
    if writer.sound is not None and writer.sound.broken_s is not None:
        notes.append(
            f"the sound of {video.path} cannot be read from "
            f"{float(writer.sound.broken_s):.1f} s on: it is left out there"
        )
    if every > 1:
        between = "moved on with their objects" if track else "the last ones found"
        notes.append(
            f"looked at {count.pictures} of {writer.n_frames} frames; "
            f"the boxes on those between are {between}, and not in detections.json"
        )
    return Detected(
        out, animation, count.pictures, count.found, count.detections, threshold, tuple(notes)
    )


def _batches(video: VideoReader, every: int) -> Iterator[list[Frame]]:
    height, width = video.size_hw
    size = max(1, min(_BATCH * every, _BATCH_BYTES // (height * width * 3)))
    batch: list[Frame] = []
    for frame in video.frames():
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _looked(
    detector: Detector, batches: Iterator[list[Frame]], every: int, lowest: float
) -> Iterator[_Looked]:
    index = 0
    for batch in batches:
        looked_at = [(index + i) % every == 0 for i in range(len(batch))]
        index += len(batch)
        pictures = [f.picture for f, yes in zip(batch, looked_at, strict=True) if yes]
        found = iter(detector.predict(pictures, lowest))
        for frame, yes in zip(batch, looked_at, strict=True):
            yield _Looked(frame, next(found) if yes else None)


def _drawn(picture: Picture, found: Detections, classes: tuple[str, ...]) -> Picture:
    if found.tracker_id is None or not len(found):
        return draw_detections(picture, found, classes)
    assert found.class_id is not None
    assert found.confidence is not None
    labels = [
        f"#{number} {classes[k]} {score:.2f}"
        for number, k, score in zip(found.tracker_id, found.class_id, found.confidence, strict=True)
    ]
    # Drawing colours by class; here each identity is given a colour that it keeps.
    colored = dataclasses.replace(found, class_id=found.tracker_id % _COLORS)
    return draw_detections(picture, colored, classes, labels)


@contextlib.contextmanager
def _telling_of(partial: Path, progress: bool) -> Iterator[Any]:
    """Say where the unfinished video lies when a run ends early."""
    try:
        yield
    except KeyboardInterrupt:
        if progress and partial.exists():
            tqdm.write(f"{partial} plays up to here", file=sys.stderr)
        raise
    except UserError as error:
        if partial.exists():
            raise UserError(f"{error} ({partial} holds what was done before)") from error
        raise
