"""More of the attack: pipes as arguments, outputs that are refused late, files that name themselves."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled_folders import put_coco, put_image

import duckdetect as dd
from duckdetect.cli.app import main
from duckdetect.errors import UserError
from duckdetect.imaging.io import image_head, load_image
from duckdetect.utils.locks import only_writer
from duckdetect.utils.outputs import check_outputs, own_output
from duckdetect.utils.progress import progress_bar
from duckdetect.video.reader import read_video
from duckdetect.video.writer import write_video


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(argument) for argument in argv]) == 2
    return capsys.readouterr().err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with labelled pictures in `data`."""
    monkeypatch.chdir(tmp_path)
    put_coco(tmp_path / "data")
    return tmp_path


@pytest.mark.parametrize(
    "argv",
    [
        ("train", "data", "--config", "pipe", "--out", "run"),
        ("train", "data", "--weights", "pipe", "--out", "run"),
        ("train", "pipe", "--out", "run"),
        ("detect", "run", "data/a.jpg", "pipe", "--out", "o"),
        ("suggest", "run", "pipe", "--out", "o"),
        ("check", "data", "--sheet", "pipe"),
    ],
)
def test_a_pipe_as_an_argument(
    here: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]
) -> None:
    os.mkfifo(here / "pipe")
    assert "pipe is a pipe or a device, not a file" in refused(capsys, *argv)


def test_suggest_refuses_its_folder_before_it_detects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_image(tmp_path / "in" / "a.jpg")
    for out, more in ((tmp_path / "in", ["--overwrite"]), (tmp_path, ["--overwrite"])):
        line = refused(capsys, "suggest", tmp_path / "no run", tmp_path / "in", "-o", out, *more)
        assert "holds the pictures to be read" in line or "was not written by an earlier" in line
    line = refused(capsys, "suggest", tmp_path / "no run", tmp_path / "in", "-o", tmp_path / "in")
    assert "holds something already" in line


def test_what_a_killed_run_left_goes_although_the_folder_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert = ("convert", put_coco(tmp_path / "data"), "--to", "voc", "--out", tmp_path / "o")
    assert main([str(argument) for argument in convert]) == 0
    (tmp_path / ".o.duckdetect-abcdefgh").mkdir()
    os.utime(tmp_path / ".o.duckdetect-abcdefgh", (0, 0))  # a new one may be another writer's
    assert "holds something already" in refused(capsys, *convert)
    assert not (tmp_path / ".o.duckdetect-abcdefgh").exists()


def test_what_needs_a_run_refuses_an_exported_file_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(b"not looked into")
    data = put_coco(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    for verb, *more in (
        ("eval", data),
        ("eval", data, "--iou", "0.5"),
        ("report",),
        ("threshold",),
        ("threshold", "0.3"),
        ("train", "--correct", data),
    ):
        line = refused(capsys, verb, tmp_path / "m.tflite", *more)
        assert "m.tflite is a file, and this needs the run that it was exported from: give" in line
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_begins_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        bar = progress_bar(total=2, desc="half")
        bar.update()
        raise UserError("no space is left")

    monkeypatch.setattr("duckdetect.data.contact_sheet.save_jpeg", fail)
    line = refused(capsys, "check", put_coco(tmp_path / "data"), "--sheet", tmp_path / "s.jpg")
    assert "\nduckdetect: no space is left\n" in line


@pytest.mark.parametrize("out", [".", "/"])
def test_an_output_without_a_name(capsys: pytest.CaptureFixture[str], out: str) -> None:
    line = refused(capsys, "export", "run", "--out", out, "--to", "saved-model")
    assert "is no name of a file or folder" in line


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (("detect", "run", ""), "an argument"),
        (("check", ""), "an argument"),
        (("detect", "run", "data", "--out", ""), "--out"),
        (("detect", "run", "data", "--out="), "--out"),
        (("export", "run", "-o", ""), "-o"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_variable_of_the_shell_that_is_not_set(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], what: str
) -> None:
    assert f"{what} is empty" in refused(capsys, *argv)


_HUGE, _DIGITS = "1" + "0" * 400, "1" * 5000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.json",
            '[{"image": "a.jpg", "annotations": [{"label": "d", "coordinates": '
            '{"x": HUGE, "y": 1, "width": 1, "height": 1}}]}]',
        ),
        (
            "a.json",
            '{"imagePath": "a.jpg", "shapes": [{"label": "d", '
            '"points": [[HUGE, 1], [2, 2], [3, 1]]}]}',
        ),
        (
            "_annotations.coco.json",
            '{"images": [{"id": DIGITS, "file_name": "a.jpg"}], "annotations": [{"id": 1, '
            '"image_id": DIGITS, "category_id": 1, "bbox": [1, 1, 9, 9]}], '
            '"categories": [{"id": 1, "name": "d"}]}',
        ),
        (
            "_annotations.coco.json",
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, '
            '"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], '
            '"attributes": {"rotation": HUGE}}], "categories": [{"id": 1, "name": "d"}]}',
        ),
        ("_annotations.txt", "a.jpg 1,1,9,9,HUGE\n"),
        ("data.yaml", "train: .\nnames:\n  DIGITS: d\n"),
        ("data.yaml", "train: .\nnc: DIGITS\nnames: [d]\n"),
    ],
)
def test_numbers_without_end_in_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    put_image(tmp_path / "a.jpg")
    (tmp_path / name).write_text(text.replace("HUGE", _HUGE).replace("DIGITS", _DIGITS))
    line = refused(capsys, "train", tmp_path, "--out", tmp_path / "run")
    assert line.count("\n") == 1
    assert main(["check", str(tmp_path)]) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["", "  ", "\ud800"])
def test_a_class_without_a_name_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A detector with it could not be saved, or not be loaded."""
    data = put_coco(tmp_path / "data")
    labels = data / "_annotations.coco.json"
    coco = json.loads(labels.read_text())
    coco["categories"][0]["name"] = name
    labels.write_text(json.dumps(coco))
    line = refused(capsys, "train", data, "--out", tmp_path / "run")
    assert "is no name" in line or "has no name" in line
    assert main(["check", str(data)]) == 2


def test_a_record_that_is_no_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(b"no example at all")
    assert "a.tfrecord is damaged" in refused(capsys, "train", tmp_path, "--out", tmp_path / "run")


def test_unlabelled_pictures_beside_labels_of_a_folder_below(tmp_path: Path) -> None:
    data = put_coco(tmp_path / "data")
    labels = data / "_annotations.coco.json"
    coco = json.loads(labels.read_text())
    (data / "cam1").mkdir()
    for image in coco["images"]:
        (data / image["file_name"]).rename(data / "cam1" / image["file_name"])
        image["file_name"] = f"cam1/{image['file_name']}"
    labels.write_text(json.dumps(coco))
    put_image(data / "z.jpg")
    assert any("z.jpg" in problem.what for problem in dd.data.check_dataset(data))


@pytest.mark.parametrize("verb", ["check", "outline", "suggest"])
@pytest.mark.parametrize("sheet", ["sheet.html", "sheet.png", "sheet"])
def test_a_sheet_by_the_name_of_another_kind_of_file(
    here: Path, capsys: pytest.CaptureFixture[str], verb: str, sheet: str
) -> None:
    source = [*(["no run"] if verb == "suggest" else []), "data"]
    out = [] if verb == "check" else ["--out", "o"]
    assert "end it in .jpg" in refused(capsys, verb, *source, *out, "--sheet", sheet)
    assert not (here / sheet).exists()


def test_suggest_asks_for_its_pictures_before_it_loads_a_detector(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing" in refused(capsys, "suggest", "no run", "nothing", "-o", "o")
    assert "no run" in refused(capsys, "suggest", "no run", "data", "-o", "o")
    assert "no format 'pdf'" in refused(
        capsys, "suggest", "no run", "data", "-o", "o", "--to", "pdf"
    )
    put_image(here / "a.png").rename(here / "a")  # which is read, but no label would be found by it
    line = refused(capsys, "suggest", "no run", "a", "data/a.png", "-o", "o", "--to", "yolo")
    assert "a would not be taken for a picture" in line


def test_a_sheet_among_the_pictures_that_suggest_reads(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "suggest", "no run", "data", "-o", "o", "--sheet", "data/sheet.jpg")
    assert "data/sheet.jpg would be one of the pictures" in line
    assert "no run" in refused(capsys, "suggest", "no run", "data", "-o", "o", "--sheet", "s.jpg")


@pytest.mark.parametrize(
    "argv",
    [
        ("export", "no run", "--out", "d.tflite"),
        ("export", "no run", "--out", "data", "--to", "saved-model"),
        ("detect", "no run", "data", "--out", "o"),
    ],
)
def test_the_place_is_looked_at_before_a_detector_is_loaded(
    here: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]
) -> None:
    (here / "d.tflite").write_text("somebody's")
    put_image(here / "o" / "frames" / "a.jpg")
    assert "was not written by an earlier `duckdetect" in refused(capsys, *argv)


def test_a_split_file_of_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = {"format": "duckdetect split 1", "data": "s.json", "splits": {"train": ["a.jpg"]}}
    (tmp_path / "s.json").write_text(json.dumps(split))
    main(["check", str(tmp_path / "s.json")])
    assert "are no folder: split the data set again" in capsys.readouterr().out


@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
def test_what_convert_writes_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    names = ["a\nb.jpg", "\x1b[31m.jpg", "-x.jpg", "%s{}.jpg", '"><svg>.jpg', "\u202egpj.jpg"]
    put_coco(tmp_path / "data", names=names)
    assert main(["convert", str(tmp_path / "data"), "--to", to, "--out", str(tmp_path / "o")]) == 0
    assert "2 pictures are renamed" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "o")]) == 0
    assert f"{len(names)} pictures" in capsys.readouterr().out


# Videos and pictures that are more than they seem


def put_video(path: Path) -> Path:
    with write_video(path, 10, (48, 64)) as video:
        for level in (0, 100, 200):
            video.write(np.full((48, 64, 3), level, np.uint8))
    return path


def test_a_video_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    path, partial = tmp_path / "detections.mp4", tmp_path / "detections.partial.mp4"

    def write() -> Iterator[None]:
        check_outputs([path, partial], "detect")
        with write_video(path, 10, (48, 64), verb="detect") as video:
            for _ in range(3):
                video.write(np.zeros((48, 64, 3), np.uint8))
                yield

    killed = write()
    next(killed)
    killed.close()
    assert partial.is_file()
    assert len(list(write())) == 3
    assert path.is_file()
    assert not partial.exists()
    partial.write_text("mine")
    with pytest.raises(UserError, match="was not written by"):
        next(write())


@pytest.mark.parametrize(
    "name", ["http:/127.0.0.1:9/a.mp4", "concat:a.mp4", "pipe:0.mp4", "-x.mp4", "%03d.mp4"]
)
def test_a_video_whose_name_is_an_address_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    put_video(Path(name))
    assert len(list(read_video(name).frames())) == 3


def test_a_playlist_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "set" / "in").mkdir(parents=True)
    (tmp_path / "set" / "in" / "b.mp4").symlink_to(put_video(tmp_path / "secret.mp4"))
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nin/b.mp4\n#EXT-X-ENDLIST\n"
    for text in ("ffconcat version 1.0\nfile in/b.mp4\n", hls, "v=0\nm=video 9 RTP/AVP 96\n"):
        (tmp_path / "set" / "a.mp4").write_text(text)
        with pytest.raises(UserError, match="cannot be read as a video"):
            read_video(tmp_path / "set" / "a.mp4")


@pytest.mark.parametrize("head", ["W16000 H16000", "W8000 H8000 A19:1"])
def test_frames_without_end(tmp_path: Path, head: str) -> None:
    with (tmp_path / "a.y4m").open("wb") as file:
        file.write(f"YUV4MPEG2 {head} F10:1 Cmono\nFRAME\n".encode())
        file.truncate(300_000_000)  # a hole: it takes no room
    with pytest.raises(UserError, match="has frames of over 150 million pixels"):
        read_video(tmp_path / "a.y4m")


def put_tiff(path: Path, more: dict[int, tuple[int, int]], n_pages: int = 1) -> Path:
    """A grey TIFF, its directory `n_pages` times, the last of which names the first as the next."""
    tags = {256: (4, 64), 257: (4, 48), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8)}
    tags |= {277: (3, 1), 278: (4, 48), 279: (4, 64 * 48)} | more
    entries = b"".join(struct.pack("<HHII", t, kind, 1, v) for t, (kind, v) in sorted(tags.items()))
    start, size = 8 + 64 * 48, 6 + len(entries)
    places = [start + page * size for page in range(n_pages)] + [start]
    pages = [
        struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
        for following in places[1:]
    ]
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + bytes(64 * 48) + b"".join(pages))
    return path


def test_a_tiff_of_pages_without_end(tmp_path: Path) -> None:
    path = put_tiff(tmp_path / "a.tif", {}, 40_000)
    assert image_head(path).n_frames == 1000
    assert load_image(path).shape == (48, 64, 3)
    assert image_head(put_tiff(path, {}, 3)).n_frames == 3
    assert image_head(put_tiff(path, {})).n_frames == 1


def test_a_tiff_with_a_tile_larger_than_any_picture(tmp_path: Path) -> None:
    tile = {322: (4, 40_000), 323: (4, 40_000), 324: (4, 8), 325: (4, 3000), 259: (3, 8)}
    with pytest.raises(UserError, match="over 150 million pixels"):
        load_image(put_tiff(tmp_path / "a.tif", tile))


# Outputs in each other's place, two at a time, numbers out of range


@pytest.mark.parametrize("verb", ["outline", "suggest"])
@pytest.mark.parametrize("sheet", ["o", "o/a.jpg", "."])
def test_a_sheet_in_the_place_of_what_it_is_drawn_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, sheet: str
) -> None:
    data, out = put_coco(tmp_path / "data"), tmp_path / "x" / "o"
    source = [data] if verb == "outline" else [tmp_path / "no run", data]
    line = refused(capsys, verb, *source, "--out", out, "--sheet", out.parent / sheet)
    assert "are both written, one in the other's place" in line
    assert not out.exists()


def test_metrics_in_the_place_of_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run" / "evaluation" / "about.json"
    line = refused(capsys, "eval", tmp_path / "run", tmp_path, "--out", out)
    assert "are both written" in line


def test_a_folder_in_the_place_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.jpg").mkdir()
    line = refused(capsys, "check", put_coco(tmp_path / "data"), "--sheet", tmp_path / "s.jpg")
    assert "s.jpg is a folder: give the name of a file" in line


@pytest.mark.parametrize(
    "argv",
    [
        *[("check", "data", "--sheet", "s.jpg", "--images", n) for n in ("0", "-3")],
        ("split", "data", "--file", "s.json", "--seed", "-1"),
        ("roboflow", f"a/b/{'9' * 5000}", "--out", "o", "--api-key", "x"),
    ],
)
@pytest.mark.usefixtures("here")
def test_numbers_out_of_range(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]) -> None:
    assert refused(capsys, *argv).count("duckdetect: ") == 1


def test_a_text_in_the_place_of_a_list(tmp_path: Path) -> None:
    import duckdetect as dd

    data = put_coco(tmp_path / "data")
    with pytest.raises(UserError, match=r"give a list, such as \['a.jpg'\]"):
        dd.data.outline_dataset(data, tmp_path / "o", leave_out="a.jpg")
    with pytest.raises(UserError, match=r"give a list, such as \['duck'\]"):
        dd.detect("no run", data, tmp_path / "o", classes="duck")


def test_links_and_pipes_among_pictures_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = put_coco(tmp_path / "data")
    (data / "itself").symlink_to("itself")
    (data / "nothing").symlink_to("gone")
    os.mkfifo(data / "pipe")
    assert main(["check", str(data)]) == 0
    assert "3 files without a suffix are not pictures" in capsys.readouterr().out


def test_hidden_pictures_that_labels_name_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = put_coco(tmp_path / "data", names=[".a.jpg", "b.jpg"])
    (data / "b.jpg").rename(data / "..jpg")
    labels = data / "_annotations.coco.json"
    labels.write_text(labels.read_text().replace("b.jpg", "..jpg"))
    assert main(["check", str(data)]) == 0
    assert "2 pictures" in capsys.readouterr().out


def test_one_writer_of_a_folder_at_a_time(tmp_path: Path) -> None:
    """The second is told; the first may write its manifest, which takes the same lock."""
    with only_writer(tmp_path), own_output(tmp_path / "a.txt", "detect") as part:
        part.write_text("a")
        with pytest.raises(UserError, match="another duckdetect is writing"), only_writer(tmp_path):
            pass
    check_outputs([tmp_path / "a.txt"], "detect")
    with only_writer(tmp_path):  # it is free again
        pass
