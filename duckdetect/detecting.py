"""What `duckdetect detect` does: pictures or a video in, annotated frames, GIF or MP4, and JSON out.

    detect(detector, "new_images", out="results/new")

Pictures are read, detected and drawn in batches, so that a folder of thousands needs no more memory
than one of ten.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from duckdetect.errors import UserError
from duckdetect.files import make_folder
from duckdetect.pictures import PICTURE_SUFFIXES, list_pictures, load_picture
from duckdetect.render import FramesWriter, draw_detections, fit, write_detections_json
from duckdetect.video import read_video, write_gif, write_video

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.detector import Detector

_BATCH = 8  # pictures in memory at once
_GIF_SIDE_PX = 480
_GIF_FRAMES = 200  # a third of a megabyte each in memory, and nobody watches more


@dataclass(frozen=True)
class Detected:
    """What a call of `detect` wrote.

    Attributes:
        folder: Where it lies.
        animation: detections.gif, or detections.mp4 for a video.
        n_pictures: Pictures, or frames of the video.
        n_found: Pictures with at least one detection.
        n_detections: Detections in all of them.
        threshold: The score at or above which they were kept.
    """

    folder: Path
    animation: Path
    n_pictures: int
    n_found: int
    n_detections: int
    threshold: float


@dataclass
class _Count:
    pictures: int = 0
    found: int = 0
    detections: int = 0


def detect(
    detector: Detector,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    threshold: float | None = None,
    *,
    seconds_per_frame: float | None = None,
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
        progress: Show a bar on stderr.

    Raises:
        UserError: If there is no picture, one cannot be read, or `out` cannot be written.
    """
    kept = detector.threshold if threshold is None else threshold
    if not 0 <= kept <= 1:
        raise UserError(f"the threshold is {kept}: give a score from 0 to 1")
    out = make_folder(out)
    if isinstance(source, str | Path) and _is_video(Path(source)):
        return _detect_video(detector, Path(source), out, kept, progress)
    return _detect_pictures(detector, _list(source), out, kept, seconds_per_frame, progress)


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


def _detect_pictures(
    detector: Detector,
    paths: list[Path],
    out: Path,
    kept: float,
    seconds_per_frame: float | None,
    progress: bool,
) -> Detected:
    count = _Count()
    if seconds_per_frame is None:
        seconds_per_frame = 0.1 if len(paths) > 40 else 1.0
    every = -(-len(paths) // _GIF_FRAMES)
    small: list[np.ndarray] = []

    def records(frames: FramesWriter) -> Iterator[tuple[int, str, Detections]]:
        pictures = (load_picture(path) for path in paths)
        for picture, detections in _detected(detector, pictures, kept, len(paths), progress):
            path = paths[count.pictures]
            drawn = draw_detections(picture, detections, detector.classes)
            frames.write(path.name, drawn)
            if count.pictures % every == 0:
                small.append(fit(drawn, _GIF_SIDE_PX))
            yield count.pictures, path.name, _counted(detections, count)

    with FramesWriter(out / "frames") as frames:
        write_detections_json(out / "detections.json", records(frames), detector.classes)
    animation = out / "detections.gif"
    write_gif(animation, small, seconds_per_frame, _GIF_SIDE_PX)
    return Detected(out, animation, count.pictures, count.found, count.detections, kept)


def _detect_video(
    detector: Detector, path: Path, out: Path, kept: float, progress: bool
) -> Detected:
    video = read_video(path)
    count = _Count()
    animation = out / "detections.mp4"
    with write_video(animation, video.fps, video.size_hw) as writer:

        def records() -> Iterator[tuple[int, str, Detections]]:
            for picture, detections in _detected(detector, video, kept, video.n_frames, progress):
                writer.write(draw_detections(picture, detections, detector.classes))
                yield count.pictures, path.name, _counted(detections, count)

        write_detections_json(out / "detections.json", records(), detector.classes)
    return Detected(out, animation, count.pictures, count.found, count.detections, kept)


def _detected(
    detector: Detector,
    pictures: Iterable[np.ndarray],
    kept: float,
    total: int | None,
    progress: bool,
) -> Iterator[tuple[np.ndarray, Any]]:
    with tqdm(
        total=total, desc="detecting", unit="picture", disable=not progress, file=sys.stderr
    ) as bar:
        pictures = iter(pictures)
        while batch := list(itertools.islice(pictures, _BATCH)):
            yield from zip(batch, detector.predict(batch, kept), strict=True)
            bar.update(len(batch))


def _counted(detections: Detections, count: _Count) -> Detections:
    count.pictures += 1
    count.found += len(detections) > 0
    count.detections += len(detections)
    return detections
