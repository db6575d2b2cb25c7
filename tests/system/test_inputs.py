"""Inputs as people really have them: the public reports of ../shared/data/cases, and their siblings.

Each case either reads as what the tool that wrote it meant, or a line says what is wrong and the cure.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import clips
from helpers.labelled_folders import put_image

from duckdetect.cli.app import main
from duckdetect.data.check import check_dataset
from duckdetect.data.convert import convert_dataset
from duckdetect.data.dataset import ReadOptions
from duckdetect.data.loading import list_parts, load_dataset
from duckdetect.errors import UserError
from duckdetect.imaging.io import load_image
from duckdetect.inference.detect import detect

BOX = [20, 30, 100, 90]

# The boxes of each picture, and what `check` has to say.
READ: dict[str, tuple[dict[str, list[list[float]]], str | None]] = {
    "03-coco-float-ids": ({"a.jpg": [BOX]}, None),
    "08-cvat-rotated-coco": ({"a.jpg": [[90, 10, 110, 110]]}, "turned by 90 degrees"),
    "11-ls-local-files": ({"0.jpg": [BOX], "1.jpg": [BOX]}, None),
    "114-zip-in-zip/drive-download-20240101.zip": ({"a.jpg": [BOX]}, None),
    "12-ls-url-encoded": ({"my duck (1).jpg": [BOX], "ente_ä.jpg": [BOX]}, None),
    "123-one-folder-down": ({"a.jpg": [BOX]}, "its labels lie in ducks-1"),
    "124-voc-labels-folder": ({"a.jpg": [BOX]}, None),
    "130-exif-90-raw-yolo": ({"b.jpg": [[12, 50, 60, 150]]}, "give --labels-as-stored"),
    "145-voc-nested-splits": ({"train.jpg": [BOX], "val.jpg": [BOX]}, None),
    "15-coco-per-picture-capital": ({"DJI_1.png": [BOX], "DJI_2.png": [BOX]}, None),
    "170b-yolo-picture-nfd-label-nfc": ({"b.jpg": [BOX], "ente_a\u0308.jpg": [BOX]}, None),
    "171-labelimg-stem-case": ({"b.jpg": [BOX], "IMG_1.jpg": [BOX]}, None),
    "176b-coco-only-avif": ({"a.avif": [BOX]}, None),
    "176c-coco-only-jfif": ({"a.jfif": [BOX]}, None),
    "181-yolo-recursive-only": ({"b.jpg": [BOX], "c.jpg": [BOX]}, None),
    "23-coco-class-case": (
        {"a.jpg": [BOX, [120, 10, 160, 50], [120, 60, 160, 100]]},
        "'duck', 'Duck' differ in case or blanks only",
    ),
    "25b-coco-xyxy-fits": ({"a.jpg": [BOX]}, "its boxes are corners"),
    "28-fiftyone-coco": ({"a.jpg": [BOX], "b.jpg": [BOX]}, None),
    "30-coco-extension-case": ({"IMG_1.JPG": [BOX]}, None),
    "46-voc-imagesets": ({f"{i}.jpg": [BOX] for i in range(1, 7)}, None),
    "47-voc-devkit": ({"1.jpg": [BOX], "2.jpg": [BOX]}, "its labels lie in VOCdevkit/VOC2007"),
    "49-voc-appledouble": ({"a.jpg": [BOX]}, None),
    "57-odapi-workspace": (
        {f"{split}{i}.jpg": [BOX] for split in ("train", "test") for i in (1, 2)},
        "its labels lie in images",
    ),
    "70-yolo-pose": (
        {f"{split}{i}.jpg": [BOX] for split in ("train", "valid") for i in (0, 1)},
        None,
    ),
    "73-yolo-track-id": (
        {f"{split}{i}.jpg": [BOX] for split in ("train", "valid") for i in (0, 1)},
        "scores or track numbers",
    ),
    "85-yolo-subfolders": ({f"{name}.jpg": [BOX] for name in "abcd"}, None),
    "91-yolo-avif-jfif": (
        {f"{split}{i}.jpg": [BOX] for split in ("train", "valid") for i in (0, 1)}
        | {"x.avif": [BOX], "z.jfif": [BOX]},
        None,
    ),
    "92-yolo-upper-txt": (
        {f"{split}{i}.jpg": [BOX] for split in ("train", "valid") for i in (0, 1)},
        None,
    ),
    "82g-yolo-names-twice": (
        {f"{split}{i}.jpg": [BOX] for split in ("train", "valid") for i in (0, 1)},
        "two classes are named 'duck'",
    ),
}

REFUSED = {
    "116-images-labels-no-classes": r"write them into .*classes\.txt, one a line",
    "119-labelimg-id-beyond": r"add the name to classes\.txt",
    "144-voc-float-size-mismatch": r"is 200x120, but its labels say 400x240",
    "26-coco-normalised": r"its boxes are normalised",
    "59-voc-size-swapped": r"labels say 120x200 \(width and height swapped\): use the picture that",
}


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> Path:
    folder = shared_data / "cases"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/cases: inputs after public reports")
    return folder


def boxes_of(path: Path) -> dict[str, list[list[float]]]:
    return {
        sample.path.name: sample.xyxy.tolist()
        for split in list_parts(path)
        for sample in load_dataset(path, split)
    }


@pytest.mark.parametrize("case", READ)
def test_labels_mean_what_their_tool_meant(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    wanted, told = READ[case]
    found = boxes_of(cases / case)
    assert found.keys() == wanted.keys()
    for name, boxes in wanted.items():
        np.testing.assert_allclose(found[name], boxes, atol=0.01)
    problems = [str(p) for p in check_dataset(cases / case)]
    assert not [p for p in check_dataset(cases / case) if p.severity == "error"]
    assert told is None or any(told in problem for problem in problems), problems
    convert_dataset(cases / case, "coco", tmp_path / "out")
    again = boxes_of(tmp_path / "out")
    assert sorted(map(str, again.values())) == sorted(map(str, found.values()))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_right_is_refused_by_name(cases: Path, case: str) -> None:
    with pytest.raises(UserError, match=REFUSED[case]):
        boxes_of(cases / case)
    problems = check_dataset(cases / case)
    assert any(p.severity == "error" for p in problems)
    assert not any("EXIF" in str(p) for p in problems)


def test_labels_of_the_stored_picture(cases: Path) -> None:
    options = ReadOptions(labels_as_stored=True)
    (sample,) = load_dataset(cases / "130-exif-90-raw-yolo", options=options)
    np.testing.assert_allclose(sample.xyxy, [[30, 20, 90, 100]], atol=0.01)
    assert not check_dataset(cases / "130-exif-90-raw-yolo", options=options)


def test_crowds_as_text(cases: Path) -> None:
    dataset = load_dataset(cases / "234-eval-iscrowd-text")
    assert dataset.n_boxes == 6
    assert not any(sample.crowd.any() for sample in dataset)


def test_names_are_kept_as_written_or_merged(cases: Path) -> None:
    assert load_dataset(cases / "82c-yolo-names-yes-no").classes == ("yes", "no")
    assert load_dataset(cases / "82h-yolo-names-case").classes == ("duck", "Duck")
    merged = load_dataset(cases / "82h-yolo-names-case", options=ReadOptions(merge_classes=True))
    assert merged.classes == ("duck",)
    splits = {
        n: len(load_dataset(cases / "46-voc-imagesets", n)) for n in ("train", "valid", "test")
    }
    assert splits == {"train": 3, "valid": 1, "test": 2}


def run(source: Any, out: Path, **more: Any) -> Any:
    return detect(clips.YellowDetector(), source, out, progress=False, **more)


PICTURES = [
    *(f"210-pictures/{name}" for name in ("noext", "pic.avif", "pic.jfif", "pic.mpo")),
    *(f"221-exif-media/camera{end}" for end in (".avif", ".jfif", ".mpo", "-without-suffix")),
    "154-jfif-exif/up.jfif",
    "220-heic/IMG_0001.HEIC",
]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_go_the_way_of_pictures(cases: Path, tmp_path: Path, name: str) -> None:
    done = run(cases / name, tmp_path / "out")
    assert (done.n_images, done.animation.name) == (1, "detections.gif")
    assert len(list((tmp_path / "out" / "frames").glob("*.jpg"))) == 1


def test_a_tiled_heic_is_read_whole(cases: Path) -> None:
    heic, jpeg = (load_image(cases / "220-heic" / n) for n in ("IMG_0001.HEIC", "as.jpg"))
    assert heic.shape == (480, 640, 3)
    assert np.abs(heic.astype(int) - jpeg).mean() < 10


VIDEOS = {
    "240-cut-videos/mp4-cut-at-a-frame.mp4": (12, r"frame 12 of 24 \(at 1\.2 s of 2\.4 s\): copy"),
    "240-cut-videos/mkv-cut.mkv": (13, r"is cut off .*1\.3 s of 2\.4 s"),
    "240-cut-videos/webm-cut.webm": (12, r"is cut off .*1\.2 s of 2\.4 s"),
    "240-cut-videos/flv-cut.flv": (13, r"is cut off"),
    "200-video/cut-tail.mp4": (7, r"is cut off after frame 7 of 12"),
    "200-video/size-change.h264": (12, r"changes its size from 320x240 to 240x320"),
    "221-exif-media/timelapse-exif.avi": (6, None),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_what_is_readable_of_a_video_is_used(cases: Path, tmp_path: Path, name: str) -> None:
    n_frames, told = VIDEOS[name]
    done = run(cases / name, tmp_path / "out")
    assert done.n_images == n_frames
    assert bool(done.notes) == bool(told)
    if told:
        assert re.search(told, done.notes[0])


SAID = {
    "200-video/no-moov.mp4": r"is cut off \(its index is missing.*copy it again",
    "210-pictures/pic.pdf": r"is a PDF.*save its pages as JPEG",
    "213-only-videos": r"holds no pictures, but 1 video \(clip\.mp4\): give a video by itself",
    "215-only-subfolders": r"they lie in .*x: give that",
    "212-only-heic": r"IMG_1\.HEIC is damaged.*copy it again, or save it as JPEG",
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_no_picture_is_said(cases: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=SAID[name]):
        run(cases / name, tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("rtsp://127.0.0.1:9/stream", "is an address"),
        (Path("rtsp://127.0.0.1:9/stream"), "is an address"),
        ("https://example.org/clip.mp4", "is an address"),
        ("0", "is a camera's number"),
        ("pictures/*.jpg", "nothing matches the pattern"),
        ("C:/nowhere/clip.mp4", "is not there"),
    ],
)
def test_addresses_cameras_and_patterns(tmp_path: Path, source: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        run(source, tmp_path / "out")


def test_a_pattern_below_a_folder_whose_name_looks_like_one(tmp_path: Path) -> None:
    for name in ("photos[1]/a.jpg", "photos1/b.jpg"):
        put_image(tmp_path / name)
    run(str(tmp_path / "photos[1]" / "*.jpg"), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "frames").iterdir()] == ["a.jpg"]
    run(str(tmp_path / "photos[12]" / "*.jpg"), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "frames").iterdir()] == ["b.jpg"]


def test_one_damaged_image_does_not_stop_the_others(cases: Path, tmp_path: Path) -> None:
    source = tmp_path / "new"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        put_image(source / name)
    cut = (source / "b.jpg").read_bytes()
    (source / "b.jpg").write_bytes(cut[: len(cut) // 2])
    done = run(source, tmp_path / "out")
    assert done.n_images == 2
    (reason,) = done.failed
    assert "b.jpg is damaged" in reason
    assert f"not read: {reason}" in done.text()
    frames = tmp_path / "out" / "frames"
    assert sorted(path.name for path in frames.iterdir()) == ["a.jpg", "c.jpg"]
    with pytest.raises(UserError, match=r"b\.jpg is damaged"):
        run(source, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict" / "frames").exists()
    for name in ("a.jpg", "c.jpg"):
        (source / name).write_bytes(b"")
    before = (frames / "a.jpg").read_bytes()
    with pytest.raises(UserError, match=r"none of 3 pictures can be read: .*a\.jpg is empty"):
        run(source, tmp_path / "out")
    assert (frames / "a.jpg").read_bytes() == before


def test_several_inputs_and_patterns(tmp_path: Path) -> None:
    for name in ("one/10.jpg", "one/9.jpg", "one/9.png", "two/9.jpg"):
        put_image(tmp_path / name)
    two = tmp_path / "two"
    # Hidden, and to Pillow without a suffix.
    (two / "..jpg").write_bytes((two / "9.jpg").read_bytes())
    given = [tmp_path / "one" / "*.jpg", two, two / "9.jpg", two / "..jpg"]
    found = run(given, tmp_path / "out")
    assert found.n_images == 4  # each once
    names = sorted(path.name for path in (tmp_path / "out" / "frames").iterdir())
    assert names == ["..jpg", "10.jpg", "9.jpg", "9_2.jpg"]


def test_several_inputs_hold_no_video(cases: Path, tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    video = next(iter(VIDEOS))
    with pytest.raises(UserError, match="is a video: give it alone"):
        run([tmp_path / "a.jpg", cases / video], tmp_path / "out")


def test_a_mixed_folder_says_what_it_leaves_out(cases: Path, tmp_path: Path) -> None:
    done = run(cases / "211-mixed-folder", tmp_path / "out")
    assert done.n_images == 3
    assert "1 video is left out (clip.mp4)" in done.notes[0]
    assert "folders below are left out (sub)" in done.notes[1]


def test_a_runs_own_output_is_passed_over(cases: Path, tmp_path: Path) -> None:
    shutil.copytree(cases / "157-out-is-in", tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out").n_images == 1


def test_training_says_what_it_takes_and_leaves(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import duckdetect

    def stop(*args: Any, **kwargs: Any) -> None:
        raise UserError("far enough: stop")

    monkeypatch.setitem(vars(duckdetect), "train", stop)
    data = shutil.copytree(cases / "25b-coco-xyxy-fits", tmp_path / "data")
    (data / "clip.mp4").write_bytes(b"x")
    assert main(["train", str(data), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr()
    assert "its boxes are corners" in told.out
    assert "1 video is left out (clip.mp4)" in told.out
    assert "far enough" in told.err


def test_the_options_of_all_verbs_that_read_labels(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = str(cases / "130-exif-90-raw-yolo")
    out = tmp_path / "out"
    assert main(["check", case, "--labels-as-stored"]) == 0
    assert "EXIF" not in capsys.readouterr().out
    assert main(["convert", case, "--to", "coco", "--out", str(out), "--labels-as-stored"]) == 0
    np.testing.assert_allclose(load_dataset(out).samples[0].xyxy, [[30, 20, 90, 100]], atol=0.01)
    case = str(cases / "82h-yolo-names-case")
    out = tmp_path / "merged"
    assert main(["convert", case, "--to", "coco", "--out", str(out), "--merge-classes"]) == 0
    assert load_dataset(out).classes == ("duck",)


def test_one_file_of_labels_may_be_given(cases: Path) -> None:
    found = boxes_of(cases / "03-coco-float-ids" / "_annotations.coco.json")
    assert found == {"a.jpg": [BOX]}
    file = cases / "08-cvat-rotated-coco" / "annotations" / "instances_default.json"
    assert list(boxes_of(file)) == ["a.jpg"]
