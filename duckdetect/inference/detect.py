"""Detecting on images, folders and videos: frames, GIF or MP4, and JSON in a folder.

found = detect(detector, "new_images", out="results/duck/new")
found.animation, found.n_detections
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import itertools
import os
import pkgutil
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from duckdetect.errors import UserError
from duckdetect.imaging.draw import DrawStyle, FramesWriter, LabelMemory, draw_detections
from duckdetect.imaging.fonts import missing_letters
from duckdetect.imaging.io import (
    ImageArray,
    fit,
    image_head,
    list_folder,
    list_images,
    load_image,
    natural_key,
)
from duckdetect.imaging.kinds import VIDEO_SUFFIXES, cure, file_kind
from duckdetect.inference.detections_csv import COUNTS, DETECTIONS, CsvWriter
from duckdetect.inference.detections_json import Record, file_names, write_detections_json
from duckdetect.inference.detector import Detector, as_detector
from duckdetect.inference.suppression import check_score
from duckdetect.utils.files import make_folder, remove_leftovers
from duckdetect.utils.locks import only_writer
from duckdetect.utils.outputs import check_outputs
from duckdetect.utils.prefetch import prefetch
from duckdetect.utils.progress import progress_bar, stream, waiting
from duckdetect.utils.reading import as_number, as_path, as_whole
from duckdetect.utils.words import counted, did_you_mean, plural, refuse_text, some_names
from duckdetect.video.gif import write_gif
from duckdetect.video.reader import Frame, VideoReader, read_video
from duckdetect.video.tracking import Tracker
from duckdetect.video.writer import partial_path, write_video

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True)
class Detected:
    """What a call of `detect` wrote.

    Attributes:
        folder: Where it lies.
        animation: detections.gif, or detections.mp4 for a video.
        n_images: Pictures, or frames of the video, that were looked at.
        n_found: Pictures with at least one detection.
        n_detections: Detections in all of them.
        threshold: The score at or above which they were kept.
        notes: What else a user should know, each one line.
        failed: Why pictures could not be read, each one line; the others were detected on.
    """

    folder: Path
    animation: Path
    n_images: int
    n_found: int
    n_detections: int
    threshold: float
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def text(self) -> str:
        """What was found and where it lies, in a few lines."""
        failed = [f"not read: {reason}" for reason in self.failed[:_MOST_FAILED]]
        if len(self.failed) > _MOST_FAILED:
            failed.append(f"not read: {len(self.failed) - _MOST_FAILED} more")
        noun = "frame" if self.animation.name in _OF_VIDEO else "picture"
        return "\n".join(
            [
                *self.notes,
                *failed,
                f"{plural(self.n_detections, 'detection')} of score {self.threshold:.2f} or more "
                f"in {self.n_found} of {plural(self.n_images, noun)}: see {self.animation}",
            ]
        )


_MOST_FAILED = 20


@dataclass
class Count:
    """Adds up what `Detected` tells."""

    images: int = 0
    found: int = 0
    detections: int = 0

    def add(self, detections: Detections) -> Detections:
        """Count one picture's detections and hand them on."""
        self.images += 1
        self.found += len(detections) > 0
        self.detections += len(detections)
        return detections


_VERB = "detect"

_OF_IMAGES = ("frames", "crops", "detections.gif")
_OF_VIDEO = ("detections.mp4",)

_MOST_SECONDS = 600  # of a frame of a GIF, which counts hundredths in 16 bits

_VIDEO_BATCH = 8  # frames that the detector sees at once

_BATCH_BYTES = 64_000_000  # of frames in a batch; about six batches are under way


@dataclasses.dataclass(frozen=True)
class _DetectedBatch:
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
    class_ids: Sequence[int] | None = None,
    style: DrawStyle | None = None,
    csv: bool = False,
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
        class_ids: Keep these classes alone; all if None.
        style: What is written at the boxes, and how wide their lines are.
        csv: As `detect`.
        progress: Show a bar on stderr.

    Raises:
        UserError: If a frame cannot be read or the output not be written; what was written of the
            video before that stays as `detections.partial.mp4`, which plays.
    """
    count, n_frames, memory = Count(), video.n_expected, LabelMemory()
    animation = out / "detections.mp4"
    tracker = Tracker(threshold) if track else None
    lowest = threshold if tracker is None else tracker.low
    notes: list[str] = []
    with (
        _telling_of(partial_path(animation), progress),
        write_video(animation, video.fps, video.size_hw, video, verb=_VERB) as writer,
        progress_bar(total=n_frames, desc="detecting", unit="frame", disable=not progress) as bar,
        contextlib.closing(prefetch(_batches(video, every), 1)) as batches,
        contextlib.closing(
            prefetch(_detect_batches(detector, batches, every, lowest, class_ids), 1)
        ) as looked,
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
                drawn = draw_detections(
                    frame.image, shown, detector.classes, style=style, memory=memory
                )
                writer.write(drawn, frame.seconds - video.begin_s)
                bar.update()

        _write_found(out, records(), detector.classes, csv)
    if writer.sound is not None and writer.sound.broken_s is not None:
        notes.append(
            f"the sound of {video.path} cannot be read from "
            f"{float(writer.sound.broken_s):.1f} s on: it is left out there"
        )
    notes += video.notes
    if every > 1:
        between = "moved on with their objects" if track else "the last ones found"
        notes.append(
            f"looked at {count.images} of {plural(writer.n_frames, 'frame')}; "
            f"the boxes on those between are {between}, and not in detections.json"
        )
    return Detected(
        out, animation, count.images, count.found, count.detections, threshold, tuple(notes)
    )


def _batches(video: VideoReader, every: int) -> Iterator[list[Frame]]:
    height, width = video.size_hw
    size = max(1, min(_VIDEO_BATCH * every, _BATCH_BYTES // (height * width * 3)))
    batch: list[Frame] = []
    for frame in video.frames():
        batch.append(frame)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _detect_batches(
    detector: Detector,
    batches: Iterator[list[Frame]],
    every: int,
    lowest: float,
    class_ids: Sequence[int] | None,
) -> Iterator[_DetectedBatch]:
    index = 0
    for batch in batches:
        looked_at = [(index + i) % every == 0 for i in range(len(batch))]
        index += len(batch)
        images = [f.image for f, yes in zip(batch, looked_at, strict=True) if yes]
        found = iter(detector.predict(images, lowest))
        for frame, yes in zip(batch, looked_at, strict=True):
            yield _DetectedBatch(frame, _only(next(found), class_ids) if yes else None)


def _only(found: Detections, class_ids: Sequence[int] | None) -> Detections:
    if class_ids is None or found.class_id is None:
        return found
    kept: Any = found[np.isin(found.class_id, class_ids)]
    return kept


@contextlib.contextmanager
def _telling_of(partial: Path, progress: bool) -> Iterator[Any]:
    """Say where the unfinished video lies when a run ends early."""
    try:
        yield
    except KeyboardInterrupt:
        if progress and partial.exists():
            tqdm.write(f"{partial} plays up to here", file=stream())
        raise
    except UserError as error:
        if partial.exists():
            raise UserError(f"{error} ({partial} holds what was done before)") from error
        raise


_BATCH = 8  # pictures; two such batches are in memory at once

_GIF_SIDE_PX = 480

_GIF_FRAMES = 200  # a third of a megabyte each in memory, and nobody watches more


def detect(
    detector: Any,
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
    per_class: bool | None = None,
    iou: float | None = None,
    masks: bool = True,
    classes: Sequence[str] | None = None,
    save_crops: bool = False,
    strict: bool = False,
    csv: bool = False,
    known: Sequence[Detections] | None = None,
    labels: bool = True,
    scores: bool = True,
    line_width: int | None = None,
    progress: bool = True,
) -> Detected:
    """Detect on pictures or a video and write what was found.

    Args:
        detector: The detector, a `TrainRun`, or a run's folder.
        source: A picture, a folder of pictures, a pattern such as `new/*.jpg`, a list of these, or a
            video.
        out: The folder for `frames/NAME.jpg` and `detections.gif` (pictures) or `detections.mp4`
            (video), and `detections.json`; those of an earlier call are replaced once the new ones
            are complete, anything else there is never touched.
        threshold: Keep detections with at least this score, 0 to 1; the detector's own if None.
        seconds_per_frame: Of the GIF; if None, 1 for a few pictures and 0.1 for the frames of a clip
            (more than 40 pictures). At most 200 pictures, evenly chosen, go into the GIF.
        every: Of a video, look at every Nth frame; on those between the last boxes are drawn.
        start: Of a video, leave out what lies before: seconds, or "hh:mm:ss".
        end: Of a video, leave out what lies from here on.
        track: In a video, give objects identities, and keep them through frames in which they score
            below the threshold; see tracking.py.
        fast: Look once at each picture where the detector would look twice
            (`Detector.high_res_hw`): small
            objects are missed more often, in a quarter of the time.
        per_class: Whether detections of different classes leave each other alone; else of two that
            overlap the one with the lower score gives way. As the detector is set if None.
        iou: The overlap above which one gives way, 0 to 1; see `Suppression`.
        masks: Whether the masks of a detector that has them are made.
        classes: Keep detections of these classes alone, by name; all if None.
        save_crops: Of pictures, also write what lies in each box to `crops/FRAME-1.jpg`
            and so on, best first.
        strict: Stop at the first picture that cannot be read; else it is left out and told of in
            `Detected.failed`.
        csv: Write detections.csv and counts.csv too, a row a detection and a row a picture or frame
            (detections_csv.py).
        known: What the detector found in these pictures at a threshold no higher, as an `Evaluation`
            keeps it (without masks): it is not asked again.
        labels: Whether names and scores are written at the boxes.
        scores: Whether scores are.
        line_width: Of the boxes' lines, in pixels; by the picture and the box if None.
        progress: Show a bar on stderr.

    Raises:
        UserError: If there is no picture, none can be read (with `strict`, one), a class is unknown, or
            `out` cannot be written.
    """
    # All that needs no detector comes before one is loaded, which takes seconds.
    style = DrawStyle(labels, scores, line_width)
    if classes is not None:
        refuse_text("classes", classes)
    every = as_whole(every, "--every", 1, cure="give 1 for all frames, 2 for every second, ...")
    threshold = None if threshold is None else check_score(threshold)
    if seconds_per_frame is not None and not (
        0 < as_number(seconds_per_frame, "seconds_per_frame") <= _MOST_SECONDS
    ):
        raise UserError(
            f"seconds_per_frame is {seconds_per_frame}: give more than 0, at most {_MOST_SECONDS}"
        )
    out = as_path(out, "out")
    sources = _sources(source)
    is_video = len(sources) == 1 and _is_video(sources[0])
    if is_video and save_crops:
        raise UserError(f"--save-crops is for pictures, and {sources[0]} is a video: leave it out")
    targets = [out / "detections.json", *([out / DETECTIONS, out / COUNTS] if csv else [])]
    if is_video:
        animation, paths = out / "detections.mp4", sources
        targets += [animation, partial_path(animation)]
    else:
        for name, given in (("every", every > 1), ("start", start), ("end", end), ("track", track)):
            if given not in (None, False):
                raise UserError(f"--{name} is for videos, and {sources[0]} is none: leave it out")
        paths = _list(sources)
        targets += [out / name for name in ("frames", "detections.gif")]
        targets += [out / "crops"] if save_crops else []
    check_outputs(targets, _VERB, paths)
    detector = as_detector(detector)  # which takes seconds
    if fast or per_class is not None or iou is not None or not masks:
        detector = detector.changed(fast=fast, per_class=per_class, iou=iou, masks=masks)
    kept = detector.threshold if threshold is None else threshold
    class_ids = None if classes is None else _class_ids(classes, detector)
    if is_video:
        with _only_detection(out):
            video = read_video(sources[0], start, end)
            with _for_video(detector, video, every, out, progress) as (detector, how):
                done = detect_video(
                    detector, video, out, kept,
                    every=every, track=track, class_ids=class_ids, style=style, csv=csv,
                    progress=progress,
                )  # fmt: skip
        more = (*how, *_letters(detector.classes, style), *_stale(out, _OF_IMAGES, csv))
        return dataclasses.replace(done, notes=(*done.notes, *more))
    again = []
    if known is None:  # a folder and a picture of it give one twice
        unlike = list(dict.fromkeys(paths))
        if twice := len(paths) - len(unlike):
            again = [counted(twice, "pictures are given twice: each is looked at once")]
        paths = unlike
    elif len(known) != len(paths):
        raise UserError(
            f"known has {len(known)} entries for {plural(len(paths), 'picture')}: give one for each"
        )
    notes = [*again, *_notes(sources, paths), *_letters(detector.classes, style)]
    failed: list[str] = []
    images = loaded_images(paths, None if strict or known is not None else failed)
    if known is None:
        found = predicted_images(detector, images, len(paths), kept, progress)
    else:
        at_least = (d[np.asarray(d.confidence) >= kept] for d in known)
        found = ((*pair, d) for pair, d in zip(images, at_least, strict=True))
    chosen = ((path, image, _only(d, class_ids)) for path, image, d in found)
    with _only_detection(out):
        done = _draw_images(
            chosen, out,
            paths=paths, failed=failed, classes=detector.classes, kept=kept, style=style,
            seconds_per_frame=seconds_per_frame, save_crops=save_crops, csv=csv, progress=progress,
        )  # fmt: skip
    notes += _stale(out, [*_OF_VIDEO, *([] if save_crops else ["crops"])], csv)
    return dataclasses.replace(done, notes=(*done.notes, *notes))


def _for_video(
    detector: Detector, video: VideoReader, every: int, out: Path, progress: bool
) -> contextlib.AbstractContextManager[tuple[Detector, list[str]]]:
    """The detector on LiteRT for a video that is long enough, see export/quick.py."""
    # By name: exporting stands on this room.
    quicker: Any = pkgutil.resolve_name("duckdetect.export.quick:quicker")
    n_images = (video.n_expected or 0) // every
    found: contextlib.AbstractContextManager[tuple[Detector, list[str]]] = quicker(
        detector, n_images, lambda: [frame.image for frame in next(_batches(video, 1))],
        out / "detector", progress,
    )  # fmt: skip
    return found


@contextlib.contextmanager
def _only_detection(out: Path) -> Iterator[None]:
    """Of two at a time, frames, GIF and JSON would be of one and of the other."""
    is_new = not out.exists()
    try:
        with only_writer(make_folder(out)):
            # Of a run that was killed, also of what this one will not write.
            for name in (*_OF_IMAGES, *_OF_VIDEO, "detections.json", DETECTIONS, COUNTS):
                remove_leftovers(out / name)
            yield
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                out.rmdir()  # nothing came of it
        raise


def _stale(out: Path, names: Sequence[str], csv: bool) -> list[str]:
    """What lies beside the new results and is not of them: an earlier call's crops, tables or video."""
    names = [*names, *([] if csv else [DETECTIONS, COUNTS])]
    left = [str(out / name) for name in names if os.path.lexists(out / name)]
    return (
        [f"{' and '.join(left)} may be of an earlier call: not changed by this one"] if left else []
    )


def _class_ids(classes: Sequence[str], detector: Detector) -> list[int]:
    unknown = [name for name in classes if name not in detector.classes]
    if unknown:
        near = did_you_mean(unknown[0], detector.classes)
        hint = f"{near} It" if near else "it"
        raise UserError(
            f"the detector has no class {unknown[0]!r}: {hint} has {some_names(list(detector.classes))}"
        )
    return [detector.classes.index(name) for name in classes]


def _sources(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """What is given, one or several, with patterns replaced by what matches them."""
    given: list[Any] = [source]
    if isinstance(source, Iterable) and not isinstance(source, str | Path):
        given = list(source)
    if not given:
        raise UserError("the list of pictures is empty: give at least one")
    found = []
    for one in given:
        path = as_path(one, "a source")
        if not path.exists() and re.search(r"[*?]|\[.+\]", str(one)):
            pattern = _with_folders(path)
            files = glob.glob(pattern, recursive=True)  # noqa: PTH207  (it may begin at the root)
            matching = sorted(map(Path, files), key=natural_key)
            if not matching:
                raise UserError(f"nothing matches the pattern {one}: give a folder of pictures")
            found += matching
        else:
            _refuse_address(str(one))
            found.append(path)
    return found


def _with_folders(path: Path) -> str:
    """A pattern in which folders that are there are themselves, as `photos[1]` in `photos[1]/*.jpg`."""
    there = next((folder for folder in path.parents if folder.is_dir()), Path())
    return str(Path(glob.escape(str(there)), path.relative_to(there)))


def _letters(classes: Sequence[str], style: DrawStyle) -> list[str]:
    """What to install for the classes' letters, if they are written and the machine lacks them."""
    told = missing_letters(classes) if style.labels else ""
    return [told] if told else []


def _refuse_address(source: str) -> None:
    """Say what addresses, cameras and patterns are; a path has lost one of two slashes."""
    if Path(source).exists():
        return
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/+(?!$)", source):
        raise UserError(
            f"{source} is an address, which is not read: download or record it, and give the file, "
            "or read it with the script in docs/export.md"
        )
    if source.isdecimal():
        raise UserError(
            f"{source} is a camera's number, cameras are not read: record a video, and give the file, "
            "or look through the camera with a page: `duckdetect export --to web`"
        )


def _write_found(out: Path, records: Iterator[Record], classes: Sequence[str], csv: bool) -> None:
    with contextlib.ExitStack() as stack:
        if csv:
            records = stack.enter_context(CsvWriter(out, classes, _VERB)).passing(records)
        write_detections_json(out / "detections.json", records, classes, verb=_VERB)


def _is_video(path: Path) -> bool:
    if not path.exists():
        raise UserError(f"{path} is not there: give a picture, a folder of pictures, or a video")
    if path.is_dir():
        return False
    kind = file_kind(path)
    if kind.group == "empty":
        raise UserError(f"{path} is empty: copy it again")
    known = kind.name != "of an unknown kind" and path.suffix.lower() not in VIDEO_SUFFIXES
    if kind.group == "other" and known:
        raise UserError(f"{path} is {kind.name}, no picture and no video: {cure(kind)}")
    return kind.group != "image"


def _notes(sources: Sequence[Path], paths: Sequence[Path]) -> list[str]:
    """What of folders is left out, and of which pictures only the first frame is used."""
    notes = [
        note for path in sources if path.is_dir() for note in list_folder(path).notes(labelled=True)
    ]
    moving = []
    for path in paths:
        if path.suffix.lower() in _MAY_MOVE:
            with contextlib.suppress(UserError):  # reading it tells of it
                if image_head(path).n_frames > 1:
                    moving.append(path)
    if moving:
        notes.append(
            f"of {len(moving)} {'file' if len(moving) == 1 else 'files'} with several frames "
            f"({some_names(moving)}) the first one is used: save them as MP4 for all"
        )
    return notes


_MAY_MOVE = (".gif", ".webp", ".png", ".avif", ".mpo", ".tif", ".tiff", "")


def _list(sources: Sequence[Path]) -> list[Path]:
    """The pictures of files and folders."""
    paths: list[Path] = []
    for path in sources:
        if path.is_dir():
            paths += list_images(path)
            continue
        with contextlib.suppress(OSError):  # loading it tells of that
            if len(sources) > 1 and file_kind(path).group == "video":
                raise UserError(f"{path} is a video: give it alone, one command for each")
        paths.append(path)
    return paths


def _draw_images(
    found: Iterable[tuple[Path, ImageArray, Any]],
    out: Path,
    *,
    paths: Sequence[Path],
    failed: Sequence[str],
    classes: Sequence[str],
    kept: float,
    style: DrawStyle,
    seconds_per_frame: float | None,
    save_crops: bool,
    csv: bool,
    progress: bool,
) -> Detected:
    count = Count()
    n_images, names = len(paths), file_names(paths)
    if seconds_per_frame is None:
        seconds_per_frame = 0.1 if n_images > 40 else 1.0
    every = -(-n_images // _GIF_FRAMES)
    small: list[np.ndarray] = []

    def records(
        frames: FramesWriter, crops: FramesWriter | None
    ) -> Iterator[tuple[int, str, Detections]]:
        # While one batch is drawn, the next one is detected on.
        with contextlib.closing(prefetch(found, _BATCH)) as coming:
            for path, image, detections in coming:
                drawn = draw_detections(image, detections, classes, style=style)
                frame = frames.write(path.name, drawn)
                if crops is not None:
                    for number, crop in enumerate(_crops(image, detections), 1):
                        crops.write(f"{frame.stem}-{number}.jpg", crop)
                if count.images % every == 0:
                    small.append(fit(drawn, _GIF_SIDE_PX))
                yield count.images, names[path], count.add(detections)
        if not count.images:  # nothing of an earlier call is replaced
            several = f"none of {n_images} pictures can be read: " if n_images > 1 else ""
            raise UserError(several + failed[0])

    with contextlib.ExitStack() as stack:
        frames = stack.enter_context(FramesWriter(out / "frames", verb=_VERB))
        crops = None
        if save_crops:
            crops = stack.enter_context(FramesWriter(out / "crops", verb=_VERB))
        _write_found(out, records(frames, crops), classes, csv)
    animation = out / "detections.gif"
    with waiting("writing detections.gif", progress):
        write_gif(animation, small, seconds_per_frame, _GIF_SIDE_PX, verb=_VERB)
    return Detected(
        out, animation, count.images, count.found, count.detections, kept, failed=tuple(failed)
    )


def _crops(image: ImageArray, found: Detections) -> Iterator[ImageArray]:
    """What lies in each box, whole pixels and at least one."""
    height, width = image.shape[:2]
    for x1, y1, x2, y2 in found.xyxy:
        left, top = min(int(max(x1, 0)), width - 1), min(int(max(y1, 0)), height - 1)
        yield image[top : max(top + 1, round(float(y2))), left : max(left + 1, round(float(x2)))]


def loaded_images(
    paths: Iterable[Path], failed: list[str] | None
) -> Iterator[tuple[Path, ImageArray]]:
    """The pictures with their paths; without those that cannot be read, unless `failed` is None."""
    for path in paths:
        try:
            image = load_image(path)
        except UserError as error:
            if failed is None:
                raise
            failed.append(str(error))
            continue
        yield path, image


def predicted_images(
    detector: Detector,
    images: Iterator[tuple[Path, ImageArray]],
    n_images: int,
    kept: float,
    progress: bool,
    desc: str = "detecting",
) -> Iterator[tuple[Path, ImageArray, Any]]:
    """Pictures with their paths and the detections of score `kept` or more, a batch at a time."""
    with progress_bar(total=n_images, desc=desc, unit="picture", disable=not progress) as bar:
        how: Any = {"masks": "rle"} if getattr(detector, "has_masks", False) else {}
        while batch := list(itertools.islice(images, _BATCH)):
            found = detector.predict([image for _, image in batch], kept, **how)
            for (path, image), detections in zip(batch, found, strict=True):
                yield path, image, detections
            bar.update(len(batch))
