"""What the notebook's cells call, without a notebook: choices, clear words, nothing overwritten."""

from __future__ import annotations

import json
import os
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.file_server import FileServer, closed_address
from helpers.labelled_folders import annotation, put_coco
from PIL import Image

import duckdetect as dd
from duckdetect import UserError, errors, notebook
from duckdetect.annotation.store import AnnotationStore, Box
from duckdetect.data import sources
from duckdetect.data.convert import write_splits
from duckdetect.data.dataset import Dataset
from duckdetect.data.outline import lacks_outline
from duckdetect.inference.detect import Detected
from duckdetect.notebook import display, environment, inputs

QUICK = "ssd_mobilenet_v2"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said below the cells."""
    lines: list[str] = []
    for module in (environment, inputs, display):
        monkeypatch.setattr(module, "say", lines.append)
    return lines


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("images", "results", "cache"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def ducks(project_data: Path) -> Dataset:
    return dd.load_dataset(project_data / "ducks" / "train")


def test_the_sample_is_copied_and_never_over_what_is_there(project: Path, said: list[str]) -> None:
    folder = project / "images" / "sample_ducks"
    folder.mkdir()
    (folder / "duck_01.jpg").write_bytes(b"mine")
    chosen = notebook.choose_pictures(project, "sample ducks")
    assert chosen.folder == folder
    assert len(list(folder.iterdir())) == 5
    assert (folder / "duck_01.jpg").read_bytes() == b"mine"
    assert not (folder / "_annotations.coco.json").exists()
    assert chosen.sample is not None
    assert said == [f"5 pictures in {folder}."]


def test_own_images_left_aside_are_named(project: Path, ducks: Dataset, said: list[str]) -> None:
    (project / "images" / "a.jpg").write_bytes(ducks.samples[0].path.read_bytes())
    notebook.choose_pictures(project, "sample ducks")
    assert "choose 'my own'" in said[-1]
    own = notebook.choose_pictures(project, "my own")
    assert own.folder == own.test == project / "images"
    (project / "test_images" / "b.jpg").write_bytes(ducks.samples[1].path.read_bytes())
    assert notebook.choose_pictures(project, "my own").test == project / "test_images"


@pytest.mark.parametrize(
    ("choice", "words"), [("my own", "holds no pictures yet"), ("cats", "choose one of")]
)
def test_no_images_is_said(project: Path, choice: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        notebook.choose_pictures(project, choice)
    assert "\n" not in str(caught.value)


def test_ducky_photos_are_downloaded_once(
    project: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    photos = shared_data / "ducky" / "train"
    files = {path.name: path.read_bytes() for path in photos.glob("*.jpg")}
    with FileServer({f"/ducky/{name}": contents for name, contents in files.items()}) as server:
        monkeypatch.setattr(sources, "_DUCKY_ADDRESS", f"{server.address}/ducky")
        chosen = notebook.choose_pictures(project, "TensorFlow's duck photos")
    assert {path.name: path.read_bytes() for path in chosen.folder.iterdir()} == files
    # The server is gone, and nothing is asked of it.
    notebook.choose_pictures(project, "TensorFlow's duck photos")


def test_ducky_photos_offline(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_DUCKY_ADDRESS", closed_address())
    with pytest.raises(UserError, match=r"cannot be had now .*choose 'sample ducks'") as caught:
        notebook.choose_pictures(project, "TensorFlow's duck photos")
    assert "\n" not in str(caught.value)


def test_class_names() -> None:
    assert notebook.class_names(" rubber duck, frog ,,") == ["rubber duck", "frog"]
    assert notebook.class_names("") == []


@pytest.fixture
def zoo_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the quick base's weights are here."""
    quick = dd.models.fetch(QUICK, progress=False).folder
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / QUICK).symlink_to(quick)
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "weights"))
    monkeypatch.setenv("DUCKDETECT_ZOO", closed_address())


@pytest.mark.usefixtures("zoo_is_down")
def test_the_zoo_is_down_and_the_cure_is_said(said: list[str]) -> None:
    with pytest.raises(UserError, match="could not obtain the weights") as caught:
        notebook.choose_base("retinanet50")
    assert f"choose {QUICK}" in str(caught.value)
    assert "set FALL_BACK = True" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert said == []


@pytest.mark.usefixtures("zoo_is_down")
def test_falling_back_is_allowed_and_said_aloud(said: list[str]) -> None:
    assert notebook.choose_base("retinanet50", fall_back=True) == QUICK
    assert "could not obtain the weights" in said[0]
    assert f"FALLING BACK to {QUICK}" in said[1]
    assert "set FALL_BACK = False" in said[1]
    display.say_result("AP50 0.9")
    assert said[-1].startswith("NOT retinanet50, whose weights could not be had: this is ")
    assert said.pop().endswith("\nAP50 0.9")
    # Half a gigabyte is not fetched for what would take hours.
    assert notebook.choose_base("mask_rcnn", fall_back=True) == QUICK
    assert "No GPU here" in said[-3]
    display.say_result("AP50 0.9")
    assert said.pop().startswith("NOT mask_rcnn, which needs a GPU: this is ")


@pytest.mark.usefixtures("zoo_is_down")
def test_no_falling_back_from_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="retinanet51"):
        notebook.choose_base("retinanet51", fall_back=True)
    with pytest.raises(UserError, match=r"mine\.tar\.gz"):
        notebook.choose_base("retinanet50", str(tmp_path / "mine.tar.gz"), fall_back=True)


def test_a_run_has_one_folder_and_any_change_another(tmp_path: Path, ducks: Dataset) -> None:
    config = dd.TrainConfig()
    folder = notebook.run_folder(tmp_path, "retinanet50", ducks, config)
    assert folder.name.startswith("rubber_duck-retinanet50-")
    assert notebook.run_folder(tmp_path, "retinanet50", ducks, dd.TrainConfig()) == folder
    moved = ducks.samples[0].xyxy + np.float32(1)
    other_boxes = type(ducks)(
        ducks.root,
        ducks.classes,
        (dd.Sample(ducks.samples[0].path, 0, ducks.samples[0].size_hw, moved, np.array([0])),),
    )
    without_masks = replace(ducks, samples=tuple(replace(s, segmentation=None) for s in ducks))
    others = [
        notebook.run_folder(tmp_path, QUICK, ducks, config),
        notebook.run_folder(tmp_path, "retinanet50", ducks, dd.TrainConfig(steps=7)),
        notebook.run_folder(tmp_path, "retinanet50", ducks.subset([0]), config),
        notebook.run_folder(tmp_path, "retinanet50", other_boxes, config),
        notebook.run_folder(tmp_path, "retinanet50", without_masks, config),
        notebook.run_folder(tmp_path, "retinanet50", ducks, config, ducks.subset([0])),
        notebook.run_folder(tmp_path, "retinanet50", ducks, config, ducks.subset([1])),
    ]
    assert len({folder, *others}) == 8


def test_the_latest_run_is_the_last_that_is_done(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(UserError, match="holds no trained detector yet"):
        notebook.latest_run(tmp_path)
    for i, (name, text) in enumerate(
        {"b": '{"done": true}', "a": '{"done": true}', "c": '{"done": false}', "d": "{"}.items()
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
        os.utime(tmp_path / name / "config.json", (1000 + i, 1000 + i))
    assert notebook.latest_run(tmp_path) == tmp_path / "a"
    assert "a, the one trained last" in said[0]
    assert notebook.latest_run(tmp_path, "b") == tmp_path / "b"


def test_new_images(project: Path, ducks: Dataset, said: list[str]) -> None:
    assert notebook.new_pictures(project) == inputs.CLIP
    assert "new_images is empty" in said[0]
    own = project / "images" / "a.jpg"
    own.write_bytes(ducks.samples[0].path.read_bytes())
    assert notebook.new_pictures(project) == own.parent  # not ducks, after mugs
    (project / "new_images" / "a.jpg").write_bytes(ducks.samples[0].path.read_bytes())
    assert notebook.new_pictures(project) == project / "new_images"
    assert notebook.new_pictures(project, "holiday") == project / "holiday"
    assert notebook.new_pictures(project, "/elsewhere/a.mp4") == Path("/elsewhere/a.mp4")
    with pytest.raises(UserError, match="works on Colab only"):
        notebook.new_pictures(project, upload=True)


def test_an_upload_of_nothing_leaves_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(uploaded: dict[str, bytes]) -> None:
        def upload() -> dict[str, bytes]:
            for name, contents in uploaded.items():
                Path(name).write_bytes(contents)
            return uploaded

        colab: Any = types.ModuleType("google.colab")
        colab.files = types.SimpleNamespace(upload=upload)
        monkeypatch.setitem(sys.modules, "google.colab", colab)

    here = Path.cwd()
    pretend({})
    with pytest.raises(UserError, match="no file was uploaded"):
        notebook.new_pictures(project, upload=True)
    assert list((project / "new_images").iterdir()) == []
    pretend({"clip.mp4": b"video"})
    assert notebook.new_pictures(project, upload=True).read_bytes() == b"video"
    assert Path.cwd() == here


def test_dated_folders_are_never_the_same(tmp_path: Path) -> None:
    folders = [notebook.dated_folder(tmp_path / "results") for _ in range(4)]
    assert len(set(folders)) == 4
    assert all(folder.is_dir() for folder in folders)


def test_labels_are_checked(
    project: Path, ducks: Dataset, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[tuple[int, int]] = []
    monkeypatch.setattr(display, "show_sheet", lambda sheet, n, of: sheets.append((n, of)))
    assert notebook.check_labels(ducks) == []
    assert said == ["Nothing wrong was found in the boxes of 5 pictures."]
    tiny = annotation((10, 20, 3, 3), id=2, image_id=2)
    odd = dd.load_dataset(put_coco(project / "odd", [annotation(), tiny], ["a.jpg", "b.jpg"]))
    (problem,) = notebook.check_labels(odd)
    assert said[1:] == [str(problem)]
    assert "is tiny" in said[1]
    assert sheets == [(1, 1)]  # of the picture that it is about


def test_nothing_is_measured_without_boxes(project: Path, ducks: Dataset, said: list[str]) -> None:
    (project / "images" / "a.jpg").write_bytes(ducks.samples[0].path.read_bytes())
    run: Any = types.SimpleNamespace(folder=project / "results" / "run", detector=None)
    assert notebook.measure(run, project / "images") is None
    assert len(said) == 1
    assert said[0].startswith(f"No boxes are drawn on {project / 'images'}, so nothing is measured")
    assert "set LABEL_TEST = True" in said[0]
    with pytest.raises(ValueError, match="not written"):
        notebook.measure(types.SimpleNamespace(folder=None), project / "images")  # type: ignore[arg-type]


def test_classes_are_changed_by_the_fields(project: Path, ducks: Dataset, said: list[str]) -> None:
    folder = project / "images"
    store = AnnotationStore(folder)
    store.put("a.jpg", (60, 80), [Box((1, 2, 30, 40), "kangoroo")], ["kangoroo"])
    pictures = notebook.Pictures(folder, folder)
    notebook.change_classes(pictures)
    assert said == []
    notebook.change_classes(pictures, "kangoroo", "kangaroo")
    assert said[-1].startswith("kangoroo is renamed to kangaroo (1 box).")
    with pytest.raises(UserError, match="RENAME and TO belong together"):
        notebook.change_classes(pictures, "kangaroo")
    with pytest.raises(UserError, match="no class 'koala'"):
        notebook.change_classes(pictures, "kangaroo", "wallaby", "koala")
    with pytest.raises(UserError, match="both renamed and deleted"):
        notebook.change_classes(pictures, "kangaroo", "wallaby", "kangaroo")
    assert store.counts() == {"kangaroo": 1}  # nothing was done by halves
    notebook.change_classes(pictures, drop="kangaroo")
    assert store.counts() == {}
    with pytest.raises(UserError, match="missing is no folder: check its name"):
        notebook.change_classes(notebook.Pictures(project / "missing", folder), "a", "b")
    assert not (project / "missing").exists()


def test_pictures_with_mistakes_come_first(
    tmp_path: Path, project: Path, ducks: Dataset, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    rows = []
    for number, sample in enumerate(ducks):
        Image.new("RGB", (40, 30)).save(frames / f"{sample.path.stem}.jpg")
        for x1, y1, x2, y2 in sample.xyxy.tolist() if number != 3 else ():  # missed on the fourth
            box = [x1, y1, x2 - x1, y2 - y1]
            row = {"image_id": number, "category_id": 1, "category_name": ducks.classes[0]}
            row["file_name"] = sample.path.name
            rows.append({**row, "bbox": box, "score": 0.9})
    (tmp_path / "detections.json").write_text(json.dumps(rows))
    sheets: list[tuple[int, int, int]] = []
    monkeypatch.setattr(
        display, "show_sheet", lambda s, n, of, where: sheets.append((s.shape[1], n, of))
    )
    seen: list[str] = []
    monkeypatch.setattr(
        display,
        "load_image",
        lambda path: (seen.append(path.stem), np.zeros((30, 40, 3), np.uint8))[1],
    )
    found = Detected(tmp_path, tmp_path / "detections.gif", 5, 4, 4, 0.5)
    display.show_found(found, ducks)
    assert seen[0] == ducks.samples[3].path.stem
    assert sorted(seen) == sorted(sample.path.stem for sample in ducks)
    assert "1 picture with missed objects or false detections first." in said
    assert sheets[0][0] > 1200  # three a row, each large enough to read
    found.animation.write_bytes(b"GIF")
    notebook.keep_animation(project, found, "rubber duck")
    assert (project / "results" / "rubber_duck_detection.gif").read_bytes() == b"GIF"


def test_errors_of_a_notebook_name_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_FIELDS", {})
    error = UserError("memory is used up: lower --batch-size; --batch-sizes is not known")
    assert "lower --batch-size;" in error._render_traceback_()[0]
    errors.name_fields("BATCH_SIZE")
    assert "lower BATCH_SIZE; --batch-sizes is not" in error._render_traceback_()[0]
    unknown = UserError(
        "there is no base 'x': `duckdetect bases` lists them all; `duckdetect check`"
    )
    shown = unknown._render_traceback_()[0]
    assert "`dd.models.list_bases()` lists them all; `duckdetect check`" in shown


def test_outlines_are_made_of_boxes_and_can_be_left_out(
    project: Path, said: list[str], ducks: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[tuple[int, ...]] = []
    monkeypatch.setattr(display, "show_sheet", lambda sheet, *_: sheets.append(sheet.shape))
    bare = replace(ducks, samples=tuple(replace(s, segmentation=None) for s in ducks))
    write_splits({None: bare}, "coco", project / "boxes")
    inputs.check_data(project / "boxes")
    assert "5 boxes have no outline: set OUTLINE = True above" in "\n".join(said)
    data = notebook.choose_data(project, "my own", "boxes")
    first = ducks.samples[0].path.name
    for leave_out, made in (("", 5), (f" {first} ,", 4)):  # again, as the cell is run again
        outlined = notebook.outline_data(project, data, leave_out)
        assert outlined.name == data.name  # the run and the split are called after it
        assert f"{made} of {made} boxes have an outline now" in said[-1]
        samples = dd.load_dataset(outlined.path)
        assert sum(int(lacks_outline(sample).sum()) for sample in samples) == 5 - made
    assert len(sheets) == 2
    said.clear()
    inputs.check_data(project / "data" / "boxes-outlined")
    assert "1 box has no outline" in "\n".join(said)


def test_two_folders_of_one_name_have_files_of_their_own(
    project: Path, said: list[str], ducks: Dataset
) -> None:
    for place in ("one", "two", "three"):
        write_splits({None: ducks}, "coco", project / place / "ducks")
    write_splits({None: ducks}, "coco", project / "penn_fudan")

    def name(path: str) -> str:
        return notebook.choose_data(project, "my own", path).name

    assert name("one/ducks") == "ducks"  # as of an earlier version, whose split is found
    names = [name("two/ducks"), name("three/ducks"), name("penn_fudan")]
    assert len({*names, "ducks", "penn_fudan"}) == 5
    assert [name("two/ducks"), name("three/ducks"), name("penn_fudan")] == names
    assert name("one/ducks") == "ducks"
    known = project / "data" / "names.json"
    before = known.read_text()
    for broken in ("3", f'"{"x" * 300}"'):
        known.write_text(f'{{"ducks": {broken}}}')
        with pytest.raises(UserError, match=r"names\.json.* is broken .*: remove it"):
            name("two/ducks")
    known.write_text(before)
    splits = [
        notebook.split_data(project, notebook.choose_data(project, "my own", f"{place}/ducks"))
        for place in ("one", "two")
    ]
    assert splits[0] == project / "data" / "ducks-split-0.json"
    for place, split in zip(("one", "two"), splits, strict=True):
        (first, *_) = dd.load_dataset(split, "train").samples
        assert first.path.resolve().is_relative_to((project / place).resolve())
    (project / "one").rename(project / "moved")  # what is gone needs its name no more
    assert name("moved/ducks") == "ducks"
