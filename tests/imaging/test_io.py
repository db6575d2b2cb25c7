"""Reading pictures: every mode and orientation that people have, and every way a file can be bad."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled_folders import noise, put_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from duckdetect.errors import DataWarning, UserError
from duckdetect.imaging import io
from duckdetect.imaging.io import (
    image_head,
    image_size_hw,
    list_images,
    load_image,
    natural_key,
    save_jpeg,
    shrink,
)

# What a picture stored with this EXIF orientation looks like once upright.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("form", ["png", "webp", "tiff", "jpeg"])
def test_exif_orientations_come_out_upright(tmp_path: Path, form: str, orientation: int) -> None:
    stored = np.kron(noise((5, 7)), np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{form}"
    exact = {"lossless": True} if form == "webp" else {}
    Image.fromarray(stored).save(path, exif=exif, **exact)
    expected = UPRIGHT[orientation](stored)
    loaded = load_image(path)
    assert loaded.shape == expected.shape
    assert image_size_hw(path) == expected.shape[:2]
    tolerance = 60 if form == "jpeg" else 0
    assert np.abs(loaded.astype(int) - expected).mean() <= tolerance / 4
    assert tolerance or np.array_equal(loaded, expected)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_exif_orientations_that_mean_nothing_are_passed_over(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise((20, 30))).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg").shape == (20, 30, 3)
    assert image_size_hw(tmp_path / "a.jpg") == (20, 30)


MODES = {  # that Pillow writes in these formats
    "png": ("1", "L", "P", "RGB", "RGBA", "LA"),
    "jpg": ("1", "L", "RGB", "CMYK"),
    "tif": ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK"),
    "gif": ("1", "L", "P", "RGB", "RGBA", "LA"),
    "webp": ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
}


@pytest.mark.parametrize(("form", "mode"), [(f, m) for f, modes in MODES.items() for m in modes])
def test_all_modes_come_out_as_rgb(tmp_path: Path, form: str, mode: str) -> None:
    path = tmp_path / f"a.{form}"
    Image.new("RGB", (9, 7), (200, 200, 200)).convert(mode).save(path)
    loaded = load_image(path)
    assert loaded.shape == (7, 9, 3)
    assert loaded.dtype == np.uint8
    # Mode 1 dithers: right on average only.
    assert abs(loaded.astype(float).mean() - 200) < (60 if mode == "1" else 4)


@pytest.mark.parametrize("form", ["png", "tif"])
def test_16_bits_are_read_by_their_high_byte(tmp_path: Path, form: str) -> None:
    values = np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{form}")
    expected = np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(load_image(tmp_path / f"a.{form}"), expected)


def test_big_endian_16_bit_tiff(tmp_path: Path) -> None:
    values = np.array([[0x1234, 0xFFFF]], np.uint16)
    image = Image.frombytes("I;16B", (2, 1), values.astype(">u2").tobytes())
    image.save(tmp_path / "a.tif")
    assert load_image(tmp_path / "a.tif")[0, :, 0].tolist() == [0x12, 0xFF]


def test_16_bit_pgm_and_32_bit_tiff(tmp_path: Path) -> None:
    # Pillow reads both as mode I; a PGM's suffix is not on the list, its content is read all the same.
    (tmp_path / "a.bmp").write_bytes(b"P5 2 1 65535\n" + bytes([0x12, 0x34, 0xFF, 0xFF]))
    assert load_image(tmp_path / "a.bmp")[0, :, 0].tolist() == [0x12, 0xFF]
    Image.fromarray(np.array([[0x8000, -5, 70000]], np.int32)).save(tmp_path / "a.tif")
    assert load_image(tmp_path / "a.tif")[0, :, 0].tolist() == [0x80, 0, 255]


def png(size_wh: tuple[int, int], bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG by hand: Pillow writes no 16-bit colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", *size_wh, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("colour", "values", "expected"),
    [
        (2, (0x1234, 0x8000, 0xFFFF), (0x12, 0x80, 0xFF)),  # RGB
        (4, (0x4000, 0xFFFF), (0x40, 0x40, 0x40)),  # grey and alpha
        (6, (0x1234, 0x8000, 0xFFFF, 0), (255, 255, 255)),  # RGB and alpha, transparent
    ],
)
def test_16_bit_colour_png(
    tmp_path: Path, colour: int, values: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    row = b"\0" + struct.pack(f">{len(values)}H", *values)
    (tmp_path / "a.png").write_bytes(png((1, 1), 16, colour, row))
    assert tuple(load_image(tmp_path / "a.png")[0, 0]) == expected


def test_floats_from_0_to_1_or_to_255_without_nan(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.5, 1, np.nan]], np.float32)).save(tmp_path / "unit.tif")
    assert load_image(tmp_path / "unit.tif")[0, :, 0].tolist() == [0, 127, 255, 0]
    Image.fromarray(np.array([[-3, 128, 300, np.inf]], np.float32)).save(tmp_path / "byte.tif")
    assert load_image(tmp_path / "byte.tif")[0, :, 0].tolist() == [0, 128, 255, 0]


def test_transparency_shows_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    half.putpixel((1, 0), (0, 0, 255, 255))
    half.save(tmp_path / "rgba.png")
    assert load_image(tmp_path / "rgba.png").tolist() == [[[255, 255, 255], [0, 0, 255]]]

    Image.new("LA", (1, 1), (0, 128)).save(tmp_path / "la.png")
    assert load_image(tmp_path / "la.png")[0, 0, 0] == pytest.approx(127, abs=1)

    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    for form, transparent in (("png", 0), ("png", b"\x00\xff"), ("gif", 0)):
        palette.save(tmp_path / f"p.{form}", transparency=transparent)
        assert load_image(tmp_path / f"p.{form}").tolist() == [[[255] * 3, [40, 50, 60]]]

    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert load_image(tmp_path / "key.png").tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("form", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_frame_counts(tmp_path: Path, form: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    path = tmp_path / f"a.{form}"
    exact = {"lossless": True} if form == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **exact)
    assert load_image(path)[0, 0].tolist() == [255, 0, 0]


def test_the_array_may_be_drawn_on(tmp_path: Path) -> None:
    image = load_image(put_image(tmp_path / "a.png"))
    image[0, 0] = 1
    assert image.flags.owndata or image.flags.writeable


def test_1x1(tmp_path: Path) -> None:
    assert load_image(put_image(tmp_path / "a.png", (1, 1))).shape == (1, 1, 3)
    assert image_size_hw(tmp_path / "a.png") == (1, 1)


def test_50_megapixels_are_read(tmp_path: Path) -> None:
    Image.new("L", (10_000, 5_000), 77).save(tmp_path / "a.png")
    assert image_size_hw(tmp_path / "a.png") == (5_000, 10_000)
    image = load_image(tmp_path / "a.png")
    assert image.shape == (5_000, 10_000, 3)
    assert image[-1, -1].tolist() == [77] * 3


def test_between_pillows_warning_and_our_limit(tmp_path: Path) -> None:
    """Pillow warns from 89 million pixels on, which would be an error here."""
    Image.new("1", (10_000, 10_000)).save(tmp_path / "a.png")
    assert image_size_hw(tmp_path / "a.png") == (10_000, 10_000)


@pytest.mark.parametrize("side", [12_300, 40_000])  # over our limit; over Pillow's as well
def test_decompression_bombs_are_refused_by_their_heads(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png((side, side), 8, 2, b""))
    for read in (load_image, image_size_hw):
        with pytest.raises(UserError, match=r"bomb\.png has over 150 million pixels: save it"):
            read(path)


def bad(kind: str, path: Path) -> Path:
    if kind == "a folder":
        path.mkdir()
    elif kind == "is empty":
        path.touch()
    elif kind == "not a picture":
        path.write_text("<html>404</html>")
    elif kind == "is damaged":
        put_image(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize(
    "kind", ["not there", "a folder", "is empty", "not a picture", "is damaged"]
)
def test_bad_files_get_one_line_that_names_them(tmp_path: Path, kind: str) -> None:
    path = bad(kind, tmp_path / "my picture.jpg")
    with pytest.raises(UserError, match=kind) as caught:
        load_image(path)
    assert str(path) in str(caught.value)
    assert ": " in str(caught.value)
    assert "\n" not in str(caught.value)


SEEDS = [
    ("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGB"),
    ("BMP", "P"), ("TIFF", "RGB"), ("TIFF", "L"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "mode"), SEEDS)
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_whatever_is_broken_in_a_file_is_a_user_error(
    tmp_path: Path, form: str, mode: str, data: st.DataObject
) -> None:
    path = tmp_path / f"a.{form.lower()}"
    Image.fromarray(noise((12, 16))).convert(mode).save(path, format=form)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for read in (image_size_hw, load_image):
        told = ""
        try:
            read(path)
        except UserError as error:
            told = str(error)
        assert not told or (str(path) in told and "\n" not in told)


def test_pillows_warnings_are_kept_to_itself_and_others_left_alone(tmp_path: Path) -> None:
    put_image(tmp_path / "a.png")
    load_image(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="still shown"):
        warnings.warn("still shown", stacklevel=1)


def test_list_images_sorts_numbers_and_leaves_out_what_is_none(tmp_path: Path) -> None:
    for name in ("10.jpg", "2.JPG", "a10b.png", "a9b.png", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [p.name for p in list_images(tmp_path)] == ["2.JPG", "10.jpg", "a9b.png", "a10b.png"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "is not there"),
        (lambda p: p.touch(), "is a file"),
        (lambda p: p.mkdir(), "holds no pictures"),
    ],
)
def test_list_images_of_a_bad_folder(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "in")  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        list_images(tmp_path / "in")


@given(st.lists(st.text("ab1209²٣_", min_size=1).map(Path), max_size=8))
def test_natural_key_orders_any_names(paths: list[Path]) -> None:
    assert sorted(sorted(paths, key=natural_key, reverse=True), key=natural_key) == sorted(
        paths, key=natural_key
    )


def test_save_jpeg_round_trip_and_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "a.jpg"
    image = np.full((16, 24, 3), 90, np.uint8)
    save_jpeg(path, image)
    assert np.abs(load_image(path).astype(int) - image).max() <= 3
    before = path.read_bytes()

    def broken(self: Image.Image, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", broken)
    with pytest.raises(OSError, match="No space"):
        save_jpeg(path, image)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.jpg"]


def test_shrink_averages_and_leaves_small_images_alone() -> None:
    checks = np.indices((1200, 1200)).sum(0) % 2 * 255
    image = np.repeat(checks.astype(np.uint8)[..., None], 3, axis=2)
    small = shrink(image, (300, 300))
    assert small.shape == (600, 600, 3)
    assert np.abs(small.astype(int) - 127).max() <= 1
    assert shrink(small, (300, 300)) is small
    assert shrink(np.zeros((1, 1, 3), np.uint8), (300, 300)).shape == (1, 1, 3)
    assert shrink(np.zeros((5000, 700, 3), np.uint8), (300, 300)).shape == (5000, 700, 3)


def test_the_limit_is_by_area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_image(tmp_path / "a.png", (20, 30))
    monkeypatch.setattr(io, "MAX_PIXELS", 600)
    assert load_image(path).shape == (20, 30, 3)
    monkeypatch.setattr(io, "MAX_PIXELS", 599)
    with pytest.raises(UserError, match="pixels"):
        load_image(path)


def test_threads_that_overlap_leave_the_warnings_as_they_were() -> None:
    """`catch_warnings` in two threads would leave the filters of the one in the other's place."""
    before = list(warnings.filters)
    inside, leave = threading.Barrier(2), threading.Event()

    def stay() -> None:
        with io._QUIET:
            inside.wait(10)
            leave.wait(10)
            warnings.warn("not shown", stacklevel=1)

    thread = threading.Thread(target=stay)
    with io._QUIET:
        thread.start()
        inside.wait(10)
    assert warnings.filters[0][0] == "ignore"  # the other is still inside
    leave.set()
    thread.join()
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("kind", "count", "value", "turned"),
    [
        (3, 1, b"\x06\0\0\0", True),  # a number, as cameras write it
        (2, 2, b"6\0\0\0", False),  # a text
        (3, 1, b"\0\0\0\0", False),
        (3, 1, b"\x09\0\0\0", False),
    ],
)
def test_head_and_picture_agree_on_odd_orientations(
    tmp_path: Path, kind: int, count: int, value: bytes, turned: bool
) -> None:
    entry = struct.pack("<HHI", 0x0112, kind, count) + value
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
    path = tmp_path / "a.jpg"
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(path, exif=exif)
    size_hw = (80, 60) if turned else (60, 80)
    assert image_head(path).size_hw == load_image(path).shape[:2] == size_hw


def test_eight_bits_in_a_wider_file_are_not_black(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(load_image(tmp_path / name)[..., 0], values)


def test_a_head_without_end_is_not_read_byte_by_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five million bytes of JPEG's padding, or of a PPM's comment, took half a minute."""
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "a.jpg")
    good = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(good[:2] + b"\xff" * 3_000 + good[2:])
    comment = b"#" + b"x" * 3_000 + b"\n"
    (tmp_path / "b.ppm").write_bytes(b"P6\n" + comment + b"80 60\n255\n" + bytes(80 * 60 * 3))
    for name in ("b.jpg", "b.ppm"):
        assert load_image(tmp_path / name).shape == (60, 80, 3)
    monkeypatch.setattr("duckdetect.imaging.io._MOST_READS", 2_000)
    for name in ("b.jpg", "b.ppm"):
        for read in (load_image, image_head):
            with pytest.raises(UserError, match="is damaged, or not a picture that can be read"):
                read(tmp_path / name)
    assert load_image(tmp_path / "a.jpg").shape == (60, 80, 3)


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path: Path) -> None:
    """Each of a hundred bytes goes over all pixels: a megabyte took a minute."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (64, 64), (200, 100, 50)).save(path, progressive=True)
    content = path.read_bytes()
    assert load_image(path).shape == (64, 64, 3)
    scan = content[content.rindex(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + 600 * scan + content[-2:])
    with pytest.raises(UserError, match="over 500 scans"):
        load_image(path)


def test_pictures_of_more_bits_that_come_out_dark_are_told_once(tmp_path: Path) -> None:
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for name in ("a.png", "b.png"):
        Image.fromarray(values).save(tmp_path / name)
    with pytest.warns(DataWarning, match=r"a\.png and perhaps others have more than 8 bits"):
        load_image(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_image(tmp_path / "b.png")
        Image.fromarray(values * 16).save(tmp_path / "c.png")
        load_image(tmp_path / "c.png")


def test_floats_a_little_beyond_one_are_no_255ths(tmp_path: Path) -> None:
    values = np.linspace(0, 1.01, 64 * 64, dtype=np.float32).reshape(64, 64)
    for scale in (1, 252):
        Image.fromarray(values * scale).save(tmp_path / "a.tif")
        assert load_image(tmp_path / "a.tif").max() >= 254


def test_a_picture_too_large_for_the_memory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not told as damaged; `detect` goes on with the others."""
    put_image(tmp_path / "a.jpg")

    def exhausted(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("duckdetect.imaging.io.ImageOps.exif_transpose", exhausted)
    with pytest.raises(UserError, match=r"a\.jpg does not fit into the memory that is left"):
        load_image(tmp_path / "a.jpg")
