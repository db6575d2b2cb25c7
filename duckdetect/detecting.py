"""What `duckdetect detect` does: pictures or a video in, annotated frames, GIF or MP4, and JSON out.

    detect(detector, "new_images", out="results/new")

Pictures are read, detected and drawn in batches, so that a folder of thousands needs no more memory
than one of ten. Videos are in detecting_video.py.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from duckdetect.ahead import ahead
from duckdetect.detected import Count, Detected
from duckdetect.detecting_video import detect_video
from duckdetect.errors import UserError
from duckdetect.files import make_folder
from duckdetect.gif import write_gif
from duckdetect.pictures import PICTURE_SUFFIXES, list_pictures, load_picture
from duckdetect.render import FramesWriter, draw_detections, fit, write_detections_json
from duckdetect.video import read_video

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.detector import Detector

_BATCH = 8  # pictures; two such batches are in memory at once
_GIF_SIDE_PX = 480
_GIF_FRAMES = 200  # a third of a megabyte each in memory, and nobody watches more


def detect(
    detector: Detector,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    threshold: float | None = None,
    *,
    seconds_per_frame: float | None = None,
    every: int = 1,
    start: float | str | None = None,
    end: float | str | None = None,
    track: bool = False,
    fast: bool = False,
    known: Sequence[Detections] | None = None,
    progress: bool = True,
) -> Detected:
    """Detect on pictures or a video and write what was found.

    Args:
        detector: The detector.
        source: A picture, a folder of pictures, a video, or a list of pictures.
        out: The folder for `frames/NAME.jpg` and `detections.gif` (pictures) or `detections.mp4`
            (video), and `detections.json`; older ones are replaced once the new ones are complete.
        threshold: Keep detections with at least this score, 0 to 1; the detector's own if None.
        seconds_per_frame: Of the GIF; if None, 1 for a few pictures and 0.1 for the frames of a clip
            (more than 40 pictures). At most 200 pictures, evenly chosen, go into the GIF.
        every: Of a video, look at every Nth frame; on those between the last boxes are drawn.
        start: Of a video, leave out what lies before: seconds, or "hh:mm:ss".
        end: Of a video, leave out what lies from here on.
        track: In a video, give objects identities, and keep them through frames in which they score
            below the threshold; see tracking.py.
        fast: Look once at each picture where the detector would look twice (`Detector.fine_hw`): small
            objects are missed more often, in a quarter of the time.
        known: What the detector found in these pictures at a threshold no higher, as an `Evaluation`
            keeps it (without masks): it is not asked again.
        progress: Show a bar on stderr.

    Raises:
        UserError: If there is no picture, one cannot be read, or `out` cannot be written.
    """
    kept = detector.threshold if threshold is None else threshold
    if not 0 <= kept <= 1:
        raise UserError(f"the threshold is {kept}: give a score from 0 to 1")
    if every < 1:
        raise UserError(f"--every is {every}: give 1 for all frames, 2 for every second, ...")
    if fast:
        detector = copy.copy(detector)
        detector.fine_hw = None
    out = make_folder(out)
    if isinstance(source, str | Path) and _is_video(Path(source)):
        video = read_video(source, start, end)
        return detect_video(detector, video, out, kept, every=every, track=track, progress=progress)
    for name, given in (("every", every > 1), ("start", start), ("end", end), ("track", track)):
        if given not in (None, False):
            raise UserError(f"--{name} is for videos, and {source} is none: leave it out")
    paths = _list(source)
    found = (
        _detected(detector, paths, kept, progress)
        if known is None
        else zip(
            map(load_picture, paths),
            (d[np.asarray(d.confidence) >= kept] for d in known),
            strict=True,
        )
    )
    return _draw_pictures(found, paths, detector.classes, out, kept, seconds_per_frame)


def _is_video(path: Path) -> bool:
    if not path.exists():
        raise UserError(f"{path} is not there: give a picture, a folder of pictures, or a video")
    return path.is_file() and path.suffix.lower() not in PICTURE_SUFFIXES


def _list(source: str | Path | Sequence[str | Path]) -> list[Path]:
    if isinstance(source, str | Path):
        path = Path(source)
        return list_pictures(path) if path.is_dir() else [path]
    if not source:
        raise UserError("the list of pictures is empty: give at least one")
    return [Path(path) for path in source]


def _draw_pictures(
    found: Iterable[tuple[np.ndarray, Any]],
    paths: list[Path],
    classes: Sequence[str],
    out: Path,
    kept: float,
    seconds_per_frame: float | None,
) -> Detected:
    count = Count()
    if seconds_per_frame is None:
        seconds_per_frame = 0.1 if len(paths) > 40 else 1.0
    every = -(-len(paths) // _GIF_FRAMES)
    small: list[np.ndarray] = []

    def records(frames: FramesWriter) -> Iterator[tuple[int, str, Detections]]:
        # While one batch is drawn, the next one is detected on.
        with contextlib.closing(ahead(found, _BATCH)) as coming:
            for picture, detections in coming:
                path = paths[count.pictures]
                drawn = draw_detections(picture, detections, classes)
                frames.write(path.name, drawn)
                if count.pictures % every == 0:
                    small.append(fit(drawn, _GIF_SIDE_PX))
                yield count.pictures, path.name, count.add(detections)

    with FramesWriter(out / "frames") as frames:
        write_detections_json(out / "detections.json", records(frames), classes)
    animation = out / "detections.gif"
    write_gif(animation, small, seconds_per_frame, _GIF_SIDE_PX)
    return Detected(out, animation, count.pictures, count.found, count.detections, kept)


def _detected(
    detector: Detector, paths: Sequence[Path], kept: float, progress: bool
) -> Iterator[tuple[np.ndarray, Any]]:
    with tqdm(
        total=len(paths), desc="detecting", unit="picture", disable=not progress, file=sys.stderr
    ) as bar:
        pictures = map(load_picture, paths)
        while batch := list(itertools.islice(pictures, _BATCH)):
            yield from zip(batch, detector.predict(batch, kept), strict=True)
            bar.update(len(batch))
