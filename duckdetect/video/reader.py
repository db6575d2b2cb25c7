"""Reading videos with PyAV: upright frames with their times, one at a time.

    video = read_video("clip.mov", start=10, end=20)
    for frame in video.frames():
        frame.image, frame.number, frame.seconds

Frames are turned, mirrored and scaled as the file's display matrix and pixel aspect ratio say.
"""

from __future__ import annotations

import contextlib
import errno
import re
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace, VideoReformatter

from duckdetect.errors import UserError
from duckdetect.imaging.io import MAX_PIXELS, ImageArray, letterbox
from duckdetect.imaging.kinds import CURES, cure, kind_of_bytes
from duckdetect.utils.reading import is_drive_error, read_head, reading_error
from duckdetect.utils.schema import short
from duckdetect.utils.words import plural


def parse_time(text: float | str) -> Fraction:
    """Read a time as seconds: 90, "90", "90.5", "1:30", "01:02:03.25".

    Raises:
        UserError: If it is none of these, or negative.
    """
    match = re.fullmatch(
        r"(?:(?:(\d{1,9}):)?(\d{1,9}):)?(\d{1,9}(?:\.\d{0,18})?|\.\d{1,18})", str(text).strip()
    )
    if match is None:
        raise UserError(f"{short(text)} is no time: give seconds (90.5) or hh:mm:ss (0:01:30.5)")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + Fraction(seconds)


def reason(error: Exception) -> str:
    """What FFmpeg says of an error, in one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())


def ratio(value: Any) -> Fraction | None:
    """A ratio of PyAV's: a Fraction or None up to version 18, from 19 on an AVRational, 0 for None."""
    return Fraction(value.numerator, value.denominator) if value else None


def seconds_of(ticks: int | None, time_base: Any) -> Fraction | None:
    """A time in units of `time_base`, as seconds; None if either is not known."""
    base = ratio(time_base)
    return None if ticks is None or base is None else ticks * base


# A pixel twenty times as wide as high is a slip in the file, no camera's.
_MAX_ASPECT = 20


@dataclass(frozen=True)
class Orientation:
    """What is done to a stored picture, in this order."""

    transposed: bool = False
    mirrored: bool = False  # left becomes right
    flipped: bool = False  # top becomes bottom


# By quarter turns to the left.
_ROTATIONS = {
    1: Orientation(transposed=True, flipped=True),
    2: Orientation(mirrored=True, flipped=True),
    3: Orientation(transposed=True, mirrored=True),
}


def orientation(frame: Any) -> Orientation:
    """The orientation that a decoded frame's display matrix asks for.

    Phones store what their sensor saw and note how they were held: 9 whole numbers (a, b, u, c, d, v,
    x, y, w) that carry a pixel at (p, q) to (a p + c q, b p + d q), in units of 1/65536 (ISO/IEC
    14496-12, 8.3.2; FFmpeg's libavutil/display.h). Turns by other than quarters are taken as the
    nearest of these.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV lists all side data, and fails on kinds that it does not know (EXIF)
        return _ROTATIONS.get(round(frame.rotation / 90) % 4, Orientation())
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, mirrored=c < 0, flipped=b < 0)
    return Orientation(mirrored=a < 0, flipped=d < 0)


def displayed_size_hw(size_hw: tuple[int, int], pixel_aspect: Fraction | None) -> tuple[int, int]:
    """The size that gives square pixels, enlarging the one side, so that no detail is lost.

    Args:
        size_hw: (height, width) as stored.
        pixel_aspect: A stored pixel's width by its height; None if the file does not say.
    """
    height, width = size_hw
    aspect = pixel_aspect or Fraction(1)
    if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        return size_hw
    if aspect > 1:
        return height, round(width * aspect)
    return round(height / aspect), width


def upright(image: npt.NDArray[np.uint8], turn: Orientation) -> npt.NDArray[np.uint8]:
    """Turn a stored picture (H, W, 3) as `turn` says; the same array if there is nothing to turn."""
    if turn == Orientation():
        return image
    if turn.transposed:
        image = image.transpose(1, 0, 2)
    if turn.mirrored:
        image = image[:, ::-1]
    if turn.flipped:
        image = image[::-1]
    return np.ascontiguousarray(image)


_MAX_FPS = 1000  # beyond it a file's word is a slip: variable rates are noted as 90000 now and then

_DEFAULT_FPS = Fraction(25)

_UNTOLD_COLORSPACE = 2  # FFmpeg's AVCOL_SPC_UNSPECIFIED

_HD_ROWS = 720

_REORDERED = 4  # frames; the last one decoded is shown up to so many before the last

_ATTACHED_IMAGE = 0x400  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC

# Containers that find a key frame exactly; others are decoded from their start.
_SEEKABLE = {"mp4", "matroska"}

# FFmpeg also reads playlists, which name other files and addresses (HLS, DASH, concat, SDP), and what
# looks like an address in place of a name. A video is one file, in one of the containers of videos.
_CONTAINERS = (
    "mov,mp4,matroska,avi,mpeg,mpegts,mpegvideo,m4v,asf,flv,h264,hevc,mjpeg,ogg,ivf,obu,"
    "yuv4mpegpipe,mxf,dv,nut,rm,wtv"
)


def url(path: str | Path) -> str:
    """A path as FFmpeg takes it for nothing but a file, whatever it is called."""
    return f"file:{path}"


def open_file(path: str | Path) -> Any:
    """A video file opened with PyAV, which reads nothing but that file."""
    reading = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    return av.open(url(path), container_options=reading)


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        image: (H, W, 3) RGB uint8, as a player shows it: upright, with square pixels.
        number: Its place in the file, counted from 0.
        seconds: When it is shown, from the file's first frame on.
    """

    image: ImageArray
    number: int
    seconds: Fraction


class VideoReader:
    """A video's frames in order, decoded as they are asked for; it can be run through repeatedly.

    Attributes:
        path: The file.
        fps: Frames a second, on average if they vary, as the file says.
        size_hw: (height, width) of every frame as it is shown: turned as the file's display matrix
            says (phones), stretched to square pixels where they are not (camcorders, DVDs).
        n_frames: What the file says of their number, None if it does not.
        time_base: The unit of its frames' times, seconds.
        start_s: Frames before this time are left out.
        end_s: Frames from this time on are left out, None for all to the end.
        begin_s: When the first frame from `start_s` on is shown.
        first_s: The file's own time of its first frame, which is 0 in `Frame.seconds`.
        notes: What is missing or was changed, each one line; known once `frames` came to its end.
    """

    def __init__(
        self, path: str | Path, start_s: float | Fraction = 0, end_s: float | Fraction | None = None
    ) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self._cut = False
        self._damaged_s: list[Fraction] = []
        self.start_s = Fraction(start_s)
        self.end_s = None if end_s is None else Fraction(end_s)
        if self.end_s is not None and self.end_s <= self.start_s:
            raise UserError(
                f"the end at {float(self.end_s):g} s is not after the start at "
                f"{float(self.start_s):g} s: give a later --end"
            )
        with self._opened() as stream:
            rate = ratio(stream.average_rate) or ratio(stream.guessed_rate) or _DEFAULT_FPS
            self.fps = rate if 0 < rate <= _MAX_FPS else _DEFAULT_FPS
            self.time_base = ratio(stream.time_base) or 1 / self.fps
            self.n_frames: int | None = stream.frames or None
            self.first_s = Fraction(0)
            # A file may open and yet hold nothing: better known now than after the output is begun.
            first = next((frame for _, frame in self._decoded(stream)), None)
            if first is None:
                raise self._bad("it holds no frames")
            self.first_s = seconds_of(first.pts, first.time_base) or Fraction(0)
            self._turn: Orientation = orientation(first)
            self._square_hw = displayed_size_hw(
                (first.height, first.width), ratio(stream.sample_aspect_ratio)
            )
            height, width = self._square_hw
            self._check_size(height, width)
            self.size_hw = (width, height) if self._turn.transposed else (height, width)
            self._pixel_aspect = ratio(stream.sample_aspect_ratio)
            self._stored_hw = (first.height, first.width)
            self._audio = bool(stream.container.streams.audio)
        self.begin_s = next(self.frames()).seconds if self.start_s > 0 else Fraction(0)

    @property
    def n_expected(self) -> int | None:
        """About how many frames lie between start and end; None if the file does not tell."""
        if self.n_frames is None:
            return None
        end = self.n_frames if self.end_s is None else round(self.end_s * self.fps)
        return max(1, min(self.n_frames, end) - round(self.start_s * self.fps))

    def __iter__(self) -> Iterator[ImageArray]:
        """Yield the pictures of `frames`."""
        return (frame.image for frame in self.frames())

    def frames(self) -> Iterator[Frame]:
        """Yield the frames from `start_s` to `end_s`.

        Raises:
            UserError: If no frame can be decoded, or the file ends before `start_s`. A file that breaks
                off later ends there, and `notes` tell of it.
        """
        found = False
        self.notes.clear()
        self._damaged_s.clear()
        number, seconds = -1, Fraction(0)
        # One for all frames: it keeps the tables of its conversion.
        reformatter = VideoReformatter()
        with self._opened() as stream:
            key = self._key_frame() if self.start_s > 0 else None
            if key is not None:
                stream.container.seek(key.dts, stream=stream, backward=True)
                number = key.number - 1
            for seconds, frame in self._decoded(stream, key):
                number += 1
                if self.end_s is not None and seconds >= self.end_s:
                    break
                if seconds >= self.start_s:
                    yield Frame(self._image(frame, reformatter), number, seconds)
                    found = True
            else:
                self._note_missing(stream, seconds, number + 1)
        self._note_damaged(seconds)
        if not found:
            raise UserError(
                f"{self.path} has no frame between {float(self.start_s):g} s and its end at about "
                f"{float(seconds):.2f} s: give another --start or --end"
            )

    def _image(self, frame: Any, reformatter: VideoReformatter) -> ImageArray:
        height, width = self._square_hw
        changed = (frame.height, frame.width) != self._stored_hw
        if changed:  # the promise is one size: what is of another is fitted into it with bars
            own = displayed_size_hw((frame.height, frame.width), self._pixel_aspect)
            scale = min(height / own[0], width / own[1])
            height, width = (max(1, round(side * scale)) for side in own)
            what = (
                f"{self.path} changes its size from {self._stored_hw[1]}x{self._stored_hw[0]} to "
                f"{frame.width}x{frame.height}: such frames are fitted in, with bars"
            )
            if what not in self.notes:
                self.notes.append(what)
        # FFmpeg takes BT.601 where a file says nothing; players take BT.709 for high definition.
        untold = frame.colorspace == _UNTOLD_COLORSPACE and frame.height >= _HD_ROWS
        rgb = reformatter.reformat(
            frame, width, height, "rgb24", src_colorspace=Colorspace.ITU709 if untold else None
        )
        image = np.asarray(rgb.to_ndarray(), np.uint8)
        image = letterbox(image, self._square_hw) if changed else image
        return upright(image, self._turn)

    def _note_missing(self, stream: Any, last_s: Fraction, n_frames: int) -> None:
        """Note how many seconds are missing of what the file's head says."""
        said = seconds_of(stream.duration, stream.time_base)
        end_s = shown_s = last_s + 1 / self.fps
        if said is None and stream.container.duration:
            said = Fraction(stream.container.duration, av.time_base)
            # Matroska's head counts from 0, also where the first frame comes later.
            if "matroska" in stream.container.format.name:
                said -= max(Fraction(stream.container.start_time or 0, av.time_base), Fraction(0))
            if self._audio:  # which may go on after the last frame
                end_s = max(end_s, self._last_packet_s())
        broken = any("cannot be read from" in note for note in self.notes)
        short = said is not None and said - end_s > max(Fraction(1, 2), 3 / self.fps)
        if (self._cut or short) and not broken:
            whole = f" of {float(said):.1f} s" if said is not None and said > shown_s else ""
            self.notes.append(
                f"{self.path} is cut off after frame {n_frames}"
                + (f" of {self.n_frames}" if self.n_frames else "")
                + f" (at {float(shown_s):.1f} s{whole}): copy it again, what is there is used"
            )

    def _note_damaged(self, last_s: Fraction) -> None:
        """Note the frames that the decoder could not complete and has filled up with others."""
        # The last ones of a file that is cut off are told of already.
        until = last_s - _REORDERED / self.fps if self._cut else last_s
        shown = [seconds for seconds in self._damaged_s if self.start_s <= seconds <= until]
        if shown:
            self.notes.append(
                f"{plural(len(shown), 'frame')} of {self.path} could not be decoded whole (the first "
                f"at {float(shown[0]):.1f} s), and what is found there is uncertain: copy it again"
            )

    def _last_packet_s(self) -> Fraction:
        """When the last packet of any stream is shown, without decoding."""
        last = Fraction(0)
        with contextlib.suppress(av.FFmpegError), open_file(self.path) as container:
            for packet in container.demux():
                seconds = seconds_of(packet.pts, packet.time_base) if packet.size else None
                last = max(last, seconds or Fraction(0))
        return last - self.first_s

    def _key_frame(self) -> _KeyFrame | None:
        """The last key frame before `start_s`, found without decoding; None to decode from the start."""
        times = array("d")
        key: tuple[int, Fraction] | None = None
        with self._opened() as stream:
            if not _SEEKABLE & set(stream.container.format.name.split(",")):
                return None
            for packet in stream.container.demux(stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                seconds = seconds_of(packet.pts, packet.time_base)
                if seconds is None or packet.dts is None:
                    return None
                seconds -= self.first_s
                times.append(float(seconds))
                if packet.is_keyframe and seconds <= self.start_s:
                    key = packet.dts, seconds
                # Packets stand in decoding order, which runs ahead of the times by a few frames.
                if times[-1] > self.start_s + 1:
                    break
        if key is None:
            return None
        dts, seconds = key
        return _KeyFrame(dts, seconds, sum(time < float(seconds) for time in times))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        if not self.path.is_file():
            raise UserError(f"{self.path} is not there: give the path of a video")
        try:
            container = open_file(self.path)
        except (av.FFmpegError, ValueError) as error:
            raise self._unopened(error) from error
        with container:
            # Pictures of albums are streams of a single frame, too.
            streams = [s for s in container.streams.video if not _is_cover(s)]
            if not streams and _is_mp4(self.path) and not _has_index(self.path):
                raise self._unopened(ValueError("its index is cut off"))
            if not streams:
                raise self._bad("it holds no pictures")
            stream = streams[0]
            if stream.codec_context is None or not stream.codec_context.width:
                if _is_mp4(self.path) and not _has_index(self.path):
                    raise self._unopened(ValueError("its index is cut off"))
                raise self._bad("its pictures are of a kind that is not known")
            self._check_size(stream.codec_context.height, stream.codec_context.width)
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # of later frames, too
            # Threads over frames lose, now and then, the mark of a frame that is not whole.
            whole = _SEEKABLE & set(container.format.name.split(","))
            stream.thread_type = "AUTO" if whole else "SLICE"
            yield stream

    def _check_size(self, height: int, width: int) -> None:
        if height * width > MAX_PIXELS:
            raise UserError(
                f"{self.path} has frames of over {MAX_PIXELS // 1_000_000} million pixels: "
                "save it smaller"
            )

    def _decoded(self, stream: Any, key: _KeyFrame | None = None) -> Iterator[tuple[Fraction, Any]]:
        """Yield (seconds, frame), the seconds growing; from `key` on if that is given."""
        first_number = key.number if key is not None else 0
        count = 0
        seconds: Fraction | None = None
        cut = False
        damaged: deque[bool] = deque(maxlen=_REORDERED)
        begun = False
        try:
            for packet in stream.container.demux(stream):
                # The demuxer marks a packet that the file does not hold whole. Only the last tells
                # of a cut: the first ones of a recorded broadcast are often marked too.
                cut = packet.is_corrupt if packet.size else cut
                for frame in packet.decode():
                    said = seconds_of(frame.pts, frame.time_base)
                    following = Fraction(0) if seconds is None else seconds + 1 / self.fps
                    # Raw streams tell no times: there, frames follow at the file's rate.
                    now = following if said is None else said - self.first_s
                    if key is not None and now < key.seconds:
                        continue
                    if seconds is not None and now <= seconds:
                        now = seconds + self.time_base  # times that stand still or run back
                    seconds = now
                    damaged.append(frame.is_corrupt)
                    # A recorded broadcast begins amid frames that lean on what is not there.
                    begun = begun or not frame.is_corrupt
                    if frame.is_corrupt and (begun or packet.is_keyframe):
                        self._damaged_s.append(seconds)
                    yield seconds, frame
                    count += 1
        except av.FFmpegError as error:
            if is_drive_error(error):
                raise reading_error(self.path, error) from error  # type: ignore[arg-type]
            if seconds is None:
                raise self._bad(f"frame {first_number + 1}: {reason(error)}") from error
            if cut:  # some decoders complain of the packet that is not whole, others do not
                self._cut = True
                return
            self.notes.append(
                f"{self.path} cannot be read from {float(seconds):.1f} s on (frame "
                f"{first_number + count + 1}: {reason(error)}): what lies before is used"
            )
            return
        # Streams without packets' lengths (MPEG-TS, MPG, WMV, raw H.264) end in a frame that the
        # decoder could not complete.
        self._cut = cut or any(damaged)

    def _unopened(self, error: Exception) -> UserError:
        """Why the file cannot be opened, and the cure."""
        if is_drive_error(error):
            return reading_error(self.path, error)  # type: ignore[arg-type]
        kind = kind_of_bytes(read_head(self.path, 4096))
        if kind.group == "empty":
            return UserError(f"{self.path} is empty: copy it again")
        if kind.group == "other" and kind.name in CURES:
            return UserError(f"{self.path} is {kind.name}, no video: {cure(kind)}")
        if kind.name in ("MP4", "QuickTime") and not _has_index(self.path):
            return UserError(
                f"{self.path} is cut off (its index is missing, which stands at the end): copy it again"
            )
        if kind.group == "video":
            return UserError(
                f"{self.path} is cut off or damaged ({kind.name}: {reason(error)}): copy it again"
            )
        if kind.group == "image":
            return UserError(f"{self.path} is a picture ({kind.name}), no video: give it by itself")
        if getattr(error, "errno", None) == errno.EINVAL:
            return self._bad("it is of a kind that is not read, such as a playlist")
        return self._bad(reason(error))

    def _bad(self, why: str) -> UserError:
        return UserError(
            f"{self.path} cannot be read as a video ({why}): save it again as MP4 (H.264)"
        )


def read_video(
    path: str | Path, start: float | str | None = None, end: float | str | None = None
) -> VideoReader:
    """Open a video; see VideoReader.

    Args:
        path: The file.
        start: Leave out what lies before: seconds, or "mm:ss", "hh:mm:ss".
        end: Leave out what lies from here on.

    Raises:
        UserError: If it is missing, broken, empty or no video, or a time is none or has no frame.
    """
    end_s = None if end is None else parse_time(end)
    return VideoReader(path, parse_time(start or 0), end_s)


@dataclass(frozen=True)
class _KeyFrame:
    dts: int
    seconds: Fraction
    number: int


def _is_mp4(path: Path) -> bool:
    return kind_of_bytes(read_head(path, 4096)).name in ("MP4", "QuickTime")


def _has_index(path: Path) -> bool:
    """Whether an MP4 file holds its `moov` box, which a broken upload lacks."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if head[4:8] == b"moov":
                return position + length <= size
            if length == 1:  # a long box: the next eight bytes say how long
                length = int.from_bytes(head[8:16], "big")
            if length < 8:  # to the file's end
                return False
            position += length
    return False


def _is_cover(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", 0)
    return bool(getattr(disposition, "value", disposition) & _ATTACHED_IMAGE)
