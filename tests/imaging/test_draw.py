"""Drawn pictures, frames, GIF, MP4 and JSON, read back from the files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import supervision as sv
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from duckdetect.errors import UserError
from duckdetect.imaging import draw
from duckdetect.imaging.draw import (
    FramesWriter,
    class_color,
    draw_detections,
    draw_grid,
)
from duckdetect.imaging.io import fit
from duckdetect.inference.detections_json import write_detections_json
from duckdetect.video import reader
from duckdetect.video.gif import write_gif
from duckdetect.video.reader import read_video
from duckdetect.video.writer import write_video

CLASSES = ("rubber duck", "Entenküken", "鸭")


def image(height: int = 120, width: int = 160, value: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def noise(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def read(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def detections(
    *rows: tuple[float, ...], class_ids: list[int] | None = None, mask: np.ndarray | None = None
) -> sv.Detections:
    table = np.array(rows, np.float32)
    return sv.Detections(
        xyxy=table[:, :4],
        confidence=table[:, 4],
        class_id=np.array(class_ids or [0] * len(rows)),
        mask=mask,
    )


def share(drawn: np.ndarray, color: tuple[int, int, int]) -> float:
    return float((drawn == color).all(axis=2).mean())


def test_class_colors_are_distinct_and_fixed() -> None:
    colors = np.array([class_color(k) for k in range(12)], int)
    apart = np.abs(colors[:, None] - colors[None]).sum(axis=2) + 999 * np.eye(12, dtype=int)
    assert apart.min() > 50
    assert class_color(0) == (255, 38, 142)


def test_box_is_drawn_where_it_is_in_rgb_in_the_colour_of_its_class() -> None:
    before = image(300, 400)
    kept = before.copy()
    drawn = draw_detections(before, detections((100, 80, 200, 160, 0.9), class_ids=[1]), CLASSES)
    np.testing.assert_array_equal(before, kept)
    assert drawn.shape == before.shape
    assert drawn.dtype == np.uint8
    for y, x in ((120, 100), (120, 200), (160, 150), (80, 150)):
        near = drawn[y - 2 : y + 3, x - 2 : x + 3]
        assert (near == class_color(1)).all(axis=2).any(), (y, x)
    np.testing.assert_array_equal(drawn[100:140, 120:180], before[100:140, 120:180])
    np.testing.assert_array_equal(drawn[200:], before[200:])


def test_no_detections_leave_a_copy() -> None:
    before = image()
    drawn = draw_detections(before, sv.Detections.empty(), CLASSES)
    np.testing.assert_array_equal(drawn, before)
    assert drawn is not before
    drawn[:] = 0  # and one that can be written


@pytest.mark.parametrize(
    ("size_hw", "line_px"), [((100, 100), 1), ((600, 800), 2), ((4000, 6000), 15)]
)
def test_lines_and_letters_grow_with_the_image(size_hw: tuple[int, int], line_px: int) -> None:
    h, w = size_hw
    box = (0.2 * w, 0.3 * h, 0.8 * w, 0.9 * h, 0.87)
    drawn = draw_detections(image(h, w), detections(box), CLASSES)
    row = (drawn[int(0.8 * h), : w // 2] == class_color(0)).all(axis=1)
    assert abs(int(row.sum()) - line_px) <= max(1, line_px // 5)
    label = (drawn == class_color(0)).all(axis=2)[: int(0.3 * h) - line_px]
    label_px = np.flatnonzero(label.any(axis=1)).size
    assert max(10, 0.02 * w) <= label_px <= max(16, 0.04 * w)


@settings(max_examples=60)
@given(st.data())
def test_labels_lie_inside_the_image(data: st.DataObject) -> None:
    h, w = data.draw(st.integers(40, 300)), data.draw(st.integers(80, 300))
    n = data.draw(st.integers(1, 8))
    corners = st.floats(-50, 350)
    boxes = np.array([[data.draw(corners) for _ in range(4)] for _ in range(n)])
    sizes = [(data.draw(st.integers(1, 80)), data.draw(st.integers(1, 40))) for _ in range(n)]
    for (x, y), (label_w, label_h) in zip(draw._places(boxes, sizes, (h, w)), sizes, strict=True):
        assert 0 <= x <= w - label_w
        assert 0 <= y <= h - label_h


def test_labels_avoid_one_another() -> None:
    boxes = np.array([[20, 50, 120, 90], [22, 52, 121, 91], [24, 54, 122, 92]], float)
    places = draw._places(boxes, [(60, 12)] * 3, (200, 300))
    for i in range(3):
        for j in range(i):
            (xi, yi), (xj, yj) = places[i], places[j]
            assert abs(xi - xj) >= 60 or abs(yi - yj) >= 12
    assert places[2] == (24, 42)  # the last, which is the best, has the first choice


@pytest.mark.parametrize("corner", [(0, 0), (340, 0), (0, 240), (340, 240)])
def test_label_and_lines_are_whole_at_every_border(corner: tuple[int, int]) -> None:
    x, y = corner
    ground = image(300, 400)
    whole = draw_detections(ground, detections((150, 150, 190, 180, 0.5)), CLASSES)
    box = (x - 20 * (x == 0), y - 20 * (y == 0), x + 60, y + 60, 0.5)
    drawn = draw_detections(ground, detections(box), CLASSES)

    def letters(drawn: np.ndarray) -> int:
        # The letters are white with soft edges; neither the ground nor the colour has this green.
        return int(drawn[..., 1].astype(int)[drawn[..., 1] > 95].sum())

    assert letters(whole) > 10_000
    assert letters(drawn) == letters(whole)
    for line in (drawn[y + 15, :3] if x == 0 else drawn[y + 15, -3:],):
        assert (line == class_color(0)).all(axis=1).any()


def test_masks_tint_their_inside_only() -> None:
    mask = np.zeros((1, 300, 400), bool)
    mask[0, 100:140, 110:150] = True
    found = detections((100, 90, 200, 160, 0.9), mask=mask)
    drawn = draw_detections(image(300, 400), found, CLASSES)
    assert (drawn[110:130, 120:140] != 90).any(axis=2).all()
    # Red is the strongest channel of class 0 in RGB: the colours are not mirrored.
    assert drawn[120, 130, 0] > drawn[120, 130, 2] > drawn[120, 130, 1]
    assert (drawn[110:130, 160:190] == 90).all()


def test_names_in_any_script_and_of_any_length() -> None:
    names = ("Ääß", "鸭", "утка", "a\nb\tc", "", "x" * 500, "🦆", "word " * 100)
    for width in (4, 64, 640):
        for name in names:
            drawn = draw_detections(image(50, width), detections((1, 20, 3, 40, 0.5)), (name,))
            assert drawn.shape == (50, width, 3)
    # Two names whose signs the font has look different; so they are drawn, not replaced.
    one, two = (
        draw_detections(image(200, 300), detections((50, 80, 99, 99, 0.5)), (name,))
        for name in ("Ente ä", "Ente ö")
    )
    assert (one != two).any()


def test_truth_without_scores_and_labels_of_ones_own() -> None:
    ground_truth = sv.Detections(xyxy=np.array([[50, 80, 99, 99]]), class_id=np.array([0]))
    named = draw_detections(image(200, 300), ground_truth, ("duck 0.50",))
    scored = draw_detections(image(200, 300), detections((50, 80, 99, 99, 0.5)), ("duck",))
    np.testing.assert_array_equal(named, scored)
    found = detections((50, 80, 99, 99, 0.5), (150, 80, 199, 99, 0.2))
    told = draw_detections(image(200, 300), found, CLASSES, labels=["right", "left"])
    swapped = draw_detections(image(200, 300), found[[1, 0]], CLASSES, labels=["left", "right"])
    np.testing.assert_array_equal(told, swapped)


def test_thousands_of_detections_take_seconds() -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(-20, 600, (3000, 2))
    rows = np.concatenate([corner, corner + 30, random.random((3000, 1))], axis=1)
    start = time.perf_counter()
    drawn = draw_detections(image(480, 640), detections(*rows.tolist()), CLASSES)
    assert time.perf_counter() - start < 20  # about 1 s alone; quadratic label search took minutes
    assert share(drawn, class_color(0)) > 0.2


def board(n: int, n_classes: int) -> sv.Detections:
    """A chess board's first `n` squares, 40 pixels each, in a picture of 640 x 480."""
    corner = np.array([(125 + k % 8 * 50, 45 + k // 8 * 50) for k in range(n)], np.float32)
    return sv.Detections(
        xyxy=np.concatenate([corner, corner + 40], axis=1),
        confidence=np.linspace(0.5, 0.99, n),
        class_id=np.arange(n) % n_classes,
    )


def seen(drawn: np.ndarray, found: sv.Detections, ground: int = 90) -> np.ndarray:
    """The share of each box that is left as it was."""
    return np.array(
        [
            (drawn[int(y1) : int(y2), int(x1) : int(x2)] == ground).all(axis=2).mean()
            for x1, y1, x2, y2 in found.xyxy
        ]
    )


@pytest.mark.parametrize(("n", "n_classes"), [(14, 12), (14, 1), (32, 12), (32, 1)])
def test_crowded_small_objects_stay_to_be_seen(n: int, n_classes: int) -> None:
    names = [f"white knight {k}" for k in range(n_classes)]
    found = board(n, n_classes)
    drawn = draw_detections(image(480, 640), found, names)
    left = seen(drawn, found)
    assert left.min() > 0.45  # 0 for five of 14 with labels of one size
    assert left.mean() > 0.6
    assert drawn.shape == (480, 640, 3)


def test_a_crowded_picture_gets_numbers_and_a_legend_in_an_empty_corner() -> None:
    names = ["king", "queen", "rook"]
    few, many = board(2, 2), board(40, 3)
    assert draw._class_legend(many, names) == [
        *(("1  king (14)", class_color(0)), ("2  queen (13)", class_color(1))),
        ("3  rook (13)", class_color(2)),
    ]
    assert draw._short_texts(many, draw.DrawStyle()) == [str(k % 3 + 1) for k in range(40)]
    one = board(2, 1)
    assert draw._short_texts(one, draw.DrawStyle()) == [".50", ".99"]
    assert draw._short_texts(one, draw.DrawStyle(scores=False)) == ["", ""]
    plain = image(480, 640)
    corners = np.s_[:30, :30], np.s_[:30, -30:], np.s_[-30:, :30], np.s_[-30:, -30:]
    changed = [
        [bool((draw_detections(plain, found, names)[corner] != 90).any()) for corner in corners]
        for found in (few, many)
    ]
    assert changed[0] == [False] * 4
    assert sum(changed[1]) == 1
    # An object in that corner drives the legend to another one.
    at = changed[1].index(True)
    beside = sv.Detections.merge([many, detections((0, 0, 110, 40, 0.4))])
    moved = draw_detections(plain, beside, names)
    assert at == 0
    assert (moved[3:30, 20:90] == 90).all()


def test_identities_keep_their_colours_and_numbers() -> None:
    found = board(3, 1)
    found.tracker_id = np.array([7, 8, 130])
    drawn = draw_detections(image(480, 640), found, ["pawn"])
    for number in (7, 8, 130):
        assert (drawn == class_color(number % 96)).all(axis=2).any()
    assert draw._texts(found, ["pawn"], draw.DrawStyle())[2] == "#130 pawn 0.99"
    assert draw._short_texts(found, draw.DrawStyle()) == ["#7", "#8", "#130"]


def test_style_leaves_out_labels_and_scores_and_sets_the_line() -> None:
    found = detections((100, 80, 300, 260, 0.9))
    ground = image(400, 600)
    bare = draw_detections(ground, found, CLASSES, style=draw.DrawStyle(labels=False))
    assert (bare[:76] == 90).all()
    named = draw_detections(ground, found, CLASSES, style=draw.DrawStyle(scores=False))
    told = draw_detections(ground, found, CLASSES, labels=[CLASSES[0]])
    np.testing.assert_array_equal(named, told)
    thick = draw_detections(ground, found, CLASSES, style=draw.DrawStyle(labels=False, line_px=9))
    assert int((thick[170, :200] == class_color(0)).all(axis=1).sum()) == 9
    with pytest.raises(UserError, match="line width is 0: give 1 to 100"):
        draw.DrawStyle(line_px=0)


def test_small_boxes_get_thin_lines() -> None:
    found = detections((100, 100, 112, 112, 0.9), (300, 300, 700, 700, 0.8))
    style = draw.DrawStyle(labels=False)
    drawn = draw_detections(image(1200, 1600), found, CLASSES, style=style)
    small = (drawn[106, 90:106] == class_color(0)).all(axis=1).sum()
    large = (drawn[500, 200:400] == class_color(0)).all(axis=1).sum()
    assert (small, large) == (1, 4)


def test_labels_of_a_video_do_not_jump() -> None:
    memory = draw.LabelMemory(stay=3)
    assert [memory.settle(level) for level in (0, 3, 0, 0, 0, 0, 1)] == [0, 3, 3, 3, 3, 0, 1]


# How eyes without one kind of cones see linear RGB: Machado, Oliveira and Fernandes (2009).
_DICHROMACIES = (
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
)  # fmt: skip


def oklab(linear: np.ndarray) -> np.ndarray:
    """Björn Ottosson's OKLab, in which distances are differences as seen."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(np.clip(linear @ cones.T, 0, None)) @ lab.T


def test_the_colour_blind_can_tell_twenty_classes_and_more() -> None:
    rgb = np.array([class_color(k) for k in range(32)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for sight in (np.eye(3), *map(np.array, _DICHROMACIES)):
        lab = oklab(np.clip(linear @ sight.T, 0, 1))
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 9 * np.eye(32)
        # A just noticeable difference is about 0.02; hues by the golden ratio came to 0.005.
        assert apart[:20, :20].min() > 0.05
        assert apart.min() > 0.04
    assert len({class_color(k) for k in range(96)}) == 96


def test_grid_puts_images_row_by_row() -> None:
    sheet = draw_grid([image(50, 100, v) for v in (10, 20, 30)], columns=2, cell_px=40, gap_px=4)
    assert sheet.shape == (92, 92, 3)
    centres = [sheet[24, 24, 0], sheet[24, 68, 0], sheet[68, 24, 0], sheet[68, 68, 0]]
    assert centres == [10, 20, 30, 255]
    with pytest.raises(ValueError, match="at least one"):
        draw_grid([])


def write_frames(folder: Path, named: Iterable[tuple[str, np.ndarray]]) -> list[Path]:
    with FramesWriter(folder) as frames:
        return [frames.write(name, frame) for name, frame in named]


def test_frames_of_one_stem_do_not_overwrite_one_another(tmp_path: Path) -> None:
    names = ["a.png", "a.jpg", "a_2.png", "sub/A.png", "Küken 1.jpeg", "archive.tar.gz"]
    paths = write_frames(tmp_path / "frames", [(n, noise(i)) for i, n in enumerate(names)])
    assert [p.name for p in paths] == [
        *("a.jpg", "a_2.jpg", "a_2_2.jpg", "A_3.jpg", "Küken 1.jpg", "archive.tar.jpg")
    ]
    assert sorted(paths) == sorted((tmp_path / "frames").iterdir())
    for index, path in enumerate(paths):
        assert np.abs(read(path) - noise(index)).mean() < 4


def test_frames_replace_the_older_folder_only_once_all_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    write_frames(folder, [("old.png", image())])

    def broken() -> Iterator[tuple[str, np.ndarray]]:
        yield "new.png", image()
        raise RuntimeError("the disk caught fire")

    with pytest.raises(RuntimeError):
        write_frames(folder, broken())
    assert [p.name for p in tmp_path.rglob("*")] == ["frames", "old.jpg"]
    with FramesWriter(folder) as frames:
        frames.write("new.png", image())
    assert [p.name for p in tmp_path.rglob("*")] == ["frames", "new.jpg"]


def test_gif_holds_every_frame_for_its_time_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "new" / "d.gif"
    same, black = noise(1), image(60, 80, 0)
    frames = [noise(0), same, same, same, black, black, black, image(30, 40, 200), noise(2, 40)]
    write_gif(path, iter(frames), seconds_per_frame=0.25, max_side_px=60)
    with Image.open(path) as gif:
        assert gif.n_frames == len(frames)
        assert gif.size == (60, 45)
        assert gif.info["loop"] == 0
        for index, frame in enumerate(frames):
            gif.seek(index)
            assert gif.info["duration"] == 250
            shown = np.asarray(gif.convert("RGB")).astype(int)
            height, width = fit(frame, 60).shape[:2]
            top, left = (45 - height) // 2, (60 - width) // 2
            error = np.abs(shown[top : top + height, left : left + width] - fit(frame, 60))
            assert error.mean() < 12
            assert shown[: max(top - 1, 0), 2:].max(initial=0) <= 8
    first = path.read_bytes()
    write_gif(path, frames, seconds_per_frame=0.25, max_side_px=60)
    assert path.read_bytes() == first


def test_gif_gives_small_bright_things_their_shades(tmp_path: Path) -> None:
    frame = noise(3, 360, 480) // 2 + 40  # a dull ground of many shades
    # A yellow thing, lit from above.
    shades = np.linspace((255, 230, 60), (200, 90, 0), 24)[:, None]
    frame[100:124, 100:124] = shades.round().astype(np.uint8)
    write_gif(tmp_path / "d.gif", [frame, frame[::-1].copy()])
    error = np.abs(read(tmp_path / "d.gif")[100:124, 100:124] - frame[100:124, 100:124])
    assert error.mean() < 10  # 8.3; 13.4 when each colour counts by its pixels


def test_gif_of_one_frame_and_of_none(tmp_path: Path) -> None:
    write_gif(tmp_path / "one.gif", [image(1, 1)], seconds_per_frame=0)
    assert read(tmp_path / "one.gif").shape == (1, 1, 3)
    with pytest.raises(ValueError, match="at least one frame"):
        write_gif(tmp_path / "none.gif", [])
    assert not (tmp_path / "none.gif").exists()


def write_clip(path: Path, frames: list[np.ndarray], fps: Fraction | float) -> None:
    with write_video(path, fps, frames[0].shape[:2]) as out:
        for frame in frames:
            out.write(frame)


@pytest.mark.parametrize("fps", [25, 29.97, Fraction(30000, 1001), 7.5, 1])
@pytest.mark.parametrize("size_hw", [(120, 160), (121, 159)])
def test_video_keeps_frames_rate_and_colours(
    tmp_path: Path, fps: float, size_hw: tuple[int, int]
) -> None:
    path = tmp_path / "clip.mp4"
    frames = [noise(k // 4, *size_hw) for k in range(12)]
    write_clip(path, frames, fps)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)
        assert stream.average_rate == pytest.approx(Fraction(fps), rel=1e-6)
        assert float(stream.duration * stream.time_base) == pytest.approx(12 / fps, rel=1e-3)
    # The index stands in front, so that a browser plays before all is loaded.
    written = path.read_bytes()
    assert written.index(b"moov") < written.index(b"mdat")
    clip = read_video(path)
    assert clip.fps == pytest.approx(Fraction(fps), rel=1e-6)
    assert clip.n_frames == 12
    assert clip.size_hw == (size_hw[0] + size_hw[0] % 2, size_hw[1] + size_hw[1] % 2)
    for _ in range(2):  # it can be read again
        decoded = list(clip)
        assert len(decoded) == 12
        for mine, theirs in zip(frames, decoded, strict=True):
            assert theirs.dtype == np.uint8
            error = theirs[: size_hw[0], : size_hw[1]].astype(int) - mine
            assert np.abs(error).mean() < 5


def test_video_colours_are_true_in_each_channel(tmp_path: Path) -> None:
    frame = image(64, 96)
    colors = [(255, 38, 142), (10, 200, 30), (20, 40, 220)]
    for k, color in enumerate(colors):
        frame[:, 32 * k : 32 * k + 32] = color
    write_clip(tmp_path / "c.mp4", [frame] * 3, 10)
    decoded = next(iter(read_video(tmp_path / "c.mp4")))
    for k, color in enumerate(colors):
        assert np.abs(decoded[32, 32 * k + 16].astype(int) - color).max() <= 6


def test_unusable_videos_get_one_line(tmp_path: Path) -> None:
    good = tmp_path / "good.mp4"
    write_clip(good, [noise(k) for k in range(30)], 10)
    cases = {
        "empty.mp4": (b"", "is empty: copy it again"),
        "text.mp4": (b"this is no video" * 50, "save it again as MP4"),
        "cut.mp4": (good.read_bytes()[:400], "is cut off (its index is missing"),
        "picture.gif.mp4": (b"GIF89a", "is a picture (GIF), no video"),
    }
    for name, (content, told) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            list(read_video(tmp_path / name))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert told in str(caught.value)
    with pytest.raises(UserError, match="is not there"):
        read_video(tmp_path / "missing.mp4")


def test_a_video_that_was_cut_off_says_after_which_frame(tmp_path: Path) -> None:
    path = tmp_path / "half.mp4"
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (120, 160, 3)).astype(np.uint8) for _ in range(40)]
    write_clip(path, frames, 10)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    clip = read_video(path)
    found = len(list(clip))
    assert 10 <= found < 40
    (note,) = clip.notes
    seconds = rf"{found / 10:.1f} s of 4\.0 s"
    assert re.search(rf"half.mp4 is cut off after frame {found} of 40 \(at {seconds}\): copy", note)
    path.write_bytes(whole)
    assert len(list(clip)) == 40
    assert clip.notes == []


def test_sound_without_images_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        tone.sample_rate = 44100
        container.mux(stream.encode(tone))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="holds no pictures"):
        read_video(path)


def test_a_failing_video_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, [noise(0)], 10)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="a frame of"):
        write_clip(path, [noise(0), image(10, 10)], 10)
    with pytest.raises(ValueError, match="at least one frame"), write_video(path, 10, (60, 80)):
        pass
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_is_decoded_as_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, [noise(k) for k in range(5)], 10)
    frames = iter(reader.VideoReader(path))
    assert isinstance(frames, Iterator)
    next(frames)
    frames.close()  # type: ignore[attr-defined]


# pycocotools 2.0.11 decodes in a way that NumPy 2 finds old.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_detections_json_is_cocos_results_format(tmp_path: Path) -> None:
    mask = np.zeros((1, 50, 60), bool)
    mask[0, 10:20, 5:30] = True
    found = detections((5.25, 10, 30, 20.5, 0.87), class_ids=[2], mask=mask)
    plain = detections((0, 0, 1.5, 2, 0.1), (3, 3, 4, 5, 1), class_ids=[0, 1])
    path = tmp_path / "new" / "detections.json"
    records = ((0, "ä.jpg", plain), (7, "none.jpg", sv.Detections.empty()), (9, "c.jpg", found))
    write_detections_json(path, iter(records), CLASSES)
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") == 5  # one detection a line
    first, second, third = json.loads(text)
    assert first == {
        "image_id": 0,
        "file_name": "ä.jpg",
        "category_id": 1,
        "category_name": "rubber duck",
        "bbox": [0.0, 0.0, 1.5, 2.0],
        "score": 0.1,
    }
    assert (second["category_id"], second["score"], second["bbox"]) == (2, 1.0, [3, 3, 1, 2])
    assert (third["image_id"], third["category_name"]) == (9, "鸭")
    assert third["bbox"] == [5.25, 10, 24.75, 10.5]
    assert np.float32(third["score"]) == found.confidence[0]  # type: ignore[index]
    rle = third["segmentation"] | {"counts": third["segmentation"]["counts"].encode()}
    np.testing.assert_array_equal(coco_mask.decode(rle), mask[0])


def test_detections_json_of_nothing_and_of_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "detections.json"
    write_detections_json(path, [(1, "a.jpg", sv.Detections.empty())], CLASSES)
    assert json.loads(path.read_text()) == []
    bad = detections((0, 0, 1, 1, float("nan")))
    with pytest.raises(ValueError, match="JSON"):
        write_detections_json(path, [(1, "a.jpg", bad)], CLASSES)
    assert json.loads(path.read_text()) == []
