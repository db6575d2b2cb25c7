"""A mounted Drive that does not answer: tried again, then told as what it is, nothing of the file."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import pytest
from helpers import clips
from helpers.labelled_folders import put_coco, put_image, put_yolo, voc_xml

from duckdetect.data.check import check_dataset
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError
from duckdetect.imaging.io import image_size_hw, load_image
from duckdetect.utils import reading
from duckdetect.utils.reading import read_bytes, reading_error, retried

BUSY = OSError(errno.EIO, "Input/output error")
LOST = OSError(errno.ENOTCONN, "Transport endpoint is not connected")


class Broken(io.BytesIO):
    """A file whose reading fails, for good or a few times."""

    def __init__(self, content: bytes, error: OSError, after: int = 0) -> None:
        super().__init__(content)
        self.error, self.after = error, after

    def read(self, *args: Any) -> bytes:
        if self.tell() >= self.after:
            raise self.error
        return super().read(*args)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_WAITS_S", (0, 0))


def fail(monkeypatch: pytest.MonkeyPatch, name: str, error: OSError, times: int = 99) -> list[Path]:
    """Let the opening of a file of that name fail."""
    opened: list[Path] = []
    real = Path.open

    def open_(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == name and (not args or "w" not in args[0]):
            opened.append(self)
            if len(opened) <= times:
                return Broken(b"", error)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_)
    return opened


@pytest.mark.parametrize(
    ("error", "told"),
    [(BUSY, "Google Drive may be busy, give the same"), (LOST, "mount it again and give the same")],
)
def test_what_is_told(error: OSError, told: str) -> None:
    text = str(reading_error("a.jpg", error))
    assert told in text
    assert "remove" not in text
    assert "export" not in text


def test_what_passes_by_itself_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_image(tmp_path / "a.png")
    opened = fail(monkeypatch, "a.png", BUSY, times=2)
    assert load_image(path).shape == (60, 80, 3)
    assert len(opened) == 3
    assert read_bytes(path)[:4] == b"\x89PNG"


def test_other_errors_are_not_tried_again(tmp_path: Path) -> None:
    calls = []

    def read() -> None:
        calls.append(1)
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(UserError, match="may not be read: change its permissions"):
        retried(tmp_path, read)
    assert len(calls) == 1


@pytest.mark.parametrize("error", [BUSY, LOST])
@pytest.mark.parametrize(
    ("format_", "name"),
    [
        ("coco", "_annotations.coco.json"),
        ("coco", "a.jpg"),
        ("voc", "a.xml"),
        ("yolo", "data.yaml"),
        ("yolo", "train.txt"),
        ("yolo", "train.jpg"),
        ("plain", "classes.txt"),
    ],
)
def test_no_good_file_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, format_: str, name: str
) -> None:
    if format_ == "coco":
        put_coco(tmp_path)
    elif format_ == "voc":
        put_image(tmp_path / "a.jpg")
        (tmp_path / "a.xml").write_text(voc_xml())
    elif format_ == "yolo":
        put_yolo(tmp_path)
    else:
        put_image(tmp_path / "a.jpg")
        (tmp_path / "a.txt").write_text("0 .5 .5 .2 .2\n")
        (tmp_path / "classes.txt").write_text("duck\n")
    load_dataset(tmp_path)
    fail(monkeypatch, name, error)
    with pytest.raises(UserError, match="could not be read") as caught:
        load_dataset(tmp_path)
    told = [str(caught.value), *(str(p) for p in check_dataset(tmp_path) if p.severity == "error")]
    assert len(told) > 1
    for text in told:
        assert "again" in text
        assert "export" not in text
        assert "remove" not in text


@pytest.mark.parametrize("after", [0, 4096, 9000])
def test_a_picture_that_fails_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    path = put_image(tmp_path / "a.png", (200, 300))
    content = path.read_bytes()
    monkeypatch.setattr(Path, "open", lambda self, *args, **kwargs: Broken(content, BUSY, after))
    with pytest.raises(UserError, match=r"could not be read \(Input/output error\)"):
        load_image(path)
    if not after:
        with pytest.raises(UserError, match="could not be read"):
            image_size_hw(path)


def test_the_command_line_says_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from duckdetect.cli.app import main

    def lost(*args: Any, **kwargs: Any) -> None:
        raise OSError(LOST.errno, LOST.strerror, str(tmp_path / "run"))

    monkeypatch.setattr("duckdetect.inference.detect.as_detector", lost)
    clips.write(tmp_path / "a.mp4", 3)
    assert main(["detect", "RUN", str(tmp_path / "a.mp4"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "mount it again" in error


@pytest.mark.parametrize("given", ["", None, 3])
def test_a_path_that_says_nothing(given: Any) -> None:
    with pytest.raises(UserError, match="give the path of a file or a folder"):
        reading.as_path(given, "out")
    with pytest.raises(UserError, match="the data is "):
        load_dataset(given)


@pytest.mark.parametrize("given", ["a\0b", "x" * 300, "half a letter \ud800"])
def test_a_path_that_no_file_can_have(given: str) -> None:
    with pytest.raises(UserError, match="which no file can be called"):
        reading.as_path(given, "out")
