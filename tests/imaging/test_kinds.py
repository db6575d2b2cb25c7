"""What a file is, by its bytes: images under any name, and what only looks like one."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled_folders import noise, put_image
from PIL import Image

from duckdetect.errors import UserError
from duckdetect.imaging import io
from duckdetect.imaging.io import image_head, list_folder, list_images, load_image
from duckdetect.imaging.kinds import file_kind, kind_of_bytes

WRITTEN = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "AVIF": "AVIF",
    "GIF": "GIF",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "JPEG2000": "JPEG 2000",
    "PPM": "PPM",
}


@pytest.mark.parametrize("suffix", ["", ".jpg", ".mpo", ".heic", ".mp4", ".dat", ".jfif"])
@pytest.mark.parametrize("form", WRITTEN)
def test_images_are_read_under_any_name(tmp_path: Path, form: str, suffix: str) -> None:
    flat = np.full((24, 32, 3), (200, 120, 40), np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(flat).save(path, format=form)
    assert file_kind(path) == ("image", WRITTEN[form])
    assert np.abs(load_image(path).astype(int) - flat).max() < 12
    assert image_head(path).size_hw == (24, 32)
    known = suffix in (".jpg", ".mpo", ".heic", ".jfif")
    assert list_folder(tmp_path).images == ([] if suffix == ".mp4" else [path]), known


def tiff(tags: dict[int, tuple[int, int]]) -> bytes:
    """A little-endian TIFF head: {tag: (type, value)}."""
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


OTHERS = {
    "a.jpg": (b"%PDF-1.7\n", "a PDF"),
    "b.png": (b"<?xml version='1.0'?>\n<svg xmlns='x'>", "an SVG drawing"),
    "c.jpg": (b"%!PS-Adobe-3.0\n{} loop", "PostScript"),
    "d.jpg": (b"<!DOCTYPE html><html>", "a web page"),
    "e.jpg": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "f.jpg": (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "a camera's raw file"),
    "g.tif": (tiff({50706: (1, 4)}), "a camera's raw file"),  # DNG
    "h.tif": (tiff({254: (4, 1), 330: (4, 99)}), "a camera's raw file"),  # NEF, ARW
    "i.nef": (tiff({254: (4, 0)}), "a camera's raw file"),
    "j.jpg": (b"FUJIFILMCCD-RAW 0201", "a camera's raw file"),
    "k.jpg": (b"\0\0\0\x18ftypcrx \0\0\0\0", "a camera's raw file"),
    "l.jpg": (b"PK\3\4", "a zip"),
    "m.jpg": (b"8BPS\0\1", "a Photoshop file"),
    "n.jpg": (b"\0\0\0\x20ftypisom\0\0\2\0", "a video (MP4)"),
    "o.jpg": (b"\x1aE\xdf\xa3", "a video (Matroska)"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_image_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content, what = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(subprocess, "check_call", None)  # Pillow's way to Ghostscript
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(UserError) as caught:
        load_image(tmp_path / name)
    assert f"is not a picture but {what}: " in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc", "HEIC"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "QuickTime"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "QuickTime"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"\x47" + bytes(187) + b"\x47", "MPEG-TS"),
        (b"", "empty"),
        (b"hello", "text"),
        (b"\1\2\3\xff", "of an unknown kind"),
    ],
)
def test_kinds_by_their_first_bytes(head: bytes, kind: str) -> None:
    assert kind_of_bytes(head).name == kind


def test_heic_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setattr(io, "_heif_is_there", lambda: False)
    with pytest.raises(UserError, match="pip install pi-heif, or save it as JPEG"):
        load_image(tmp_path / "a.heic")


def test_frames_that_would_be_missed(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise(seed=i)) for i in range(3)]
    for form in ("gif", "webp", "png", "tif", "mpo"):
        frames[0].save(tmp_path / f"a.{form}", save_all=True, append_images=frames[1:])
        assert image_head(tmp_path / f"a.{form}").n_frames == 3
        assert load_image(tmp_path / f"a.{form}").shape == (60, 80, 3)
    # A phone's JPEG with a gain map behind it is one picture.
    (tmp_path / "a.mpo").rename(tmp_path / "phone.jpg")
    assert image_head(tmp_path / "phone.jpg").n_frames == 1


def test_a_folder_says_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JPG", "._a.jpg", ".hidden.png", "sub/c.jpg", "@eaDir/d.jpg"):
        put_image(tmp_path / name)
    for name in ("1.txt", "2.txt", "clip.mp4", "Thumbs.db", ".DS_Store", "page.pdf", "IMG.CR2"):
        (tmp_path / name).write_bytes(b"x")
    listing = list_folder(tmp_path)
    assert [path.name for path in listing.images] == ["a.jpg", "b.JPG"]
    notes = listing.notes()
    assert "2 .txt files are not pictures: left out (1.txt, 2.txt)" in notes
    assert "1 video is left out (clip.mp4): give a video by itself" in notes
    assert any("IMG.CR2" in note and "develop it" in note for note in notes)
    assert "pictures in folders below are left out (sub)" in notes
    assert not any(".txt" in note for note in listing.notes(labelled=True))


def test_a_folder_says_what_links_of_it_lead_to(tmp_path: Path) -> None:
    for name in ("private.jpg", "in/a.jpg"):
        put_image(tmp_path / name)
    (tmp_path / "in" / "b.jpg").symlink_to("../private.jpg")
    (tmp_path / "in" / "c.jpg").symlink_to("a.jpg")
    assert list_folder(tmp_path / "in").notes() == [
        "1 file is read from elsewhere by links (b.jpg)"
    ]


def test_a_runs_own_output_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.jpg", "detections.gif", "frames/a.jpg"):
        put_image(tmp_path / name)
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "detections.gif"]
    (tmp_path / "detections.json").write_text("[]")
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg"]
    assert list_folder(tmp_path).folders == []


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\0\0", "JPEG XL"),
        (b"v/1\x01\2\0\0\0", "OpenEXR"),
        (b"\0" * 128 + b"DICM", "DICOM"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"icns\0\0\0\0", "an icon"),
    ],
)
def test_pictures_of_kinds_that_are_not_read_are_no_videos(
    tmp_path: Path, head: bytes, name: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(head)
    assert kind_of_bytes(head) == ("other", name)
    with pytest.raises(UserError, match=rf"is not a picture but {name}: (save|export) it as"):
        load_image(tmp_path / "a.jpg")
