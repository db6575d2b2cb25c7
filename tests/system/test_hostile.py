"""An attack on the command line: what destroys, leaks, hangs or ends in a traceback must not.

Inputs are made here, by kinds: outputs that lie in the way, names that a terminal obeys, files of our own
that are broken, inputs that would take for ever. Whatever happens, a command ends with exit code 0, or 2
and one line on stderr, soon, and what it did not write stays.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import annotation, put_coco, put_image, put_yolo
from PIL import Image

from duckdetect.cli.app import main
from duckdetect.inference.trust import _OPERATIONS, remember
from duckdetect.utils.outputs import MANIFEST, check_outputs

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "v0_1_0" / "project"


@pytest.fixture(autouse=True)
def elsewhere(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache of its own, and paths from the temporary folder."""
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path_factory.getbasetemp() / "hostile cache"))
    monkeypatch.chdir(tmp_path)


def run(*argv: object, seconds: float = 20) -> tuple[int, str, str]:
    """Exit code and outputs of a command that must not take longer."""
    out, err = io.StringIO(), io.StringIO()
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in argv])
    assert time.process_time() - start < seconds
    assert "Traceback" not in err.getvalue()
    return code, out.getvalue(), err.getvalue()


def refused(*argv: object, seconds: float = 20) -> str:
    """The one line of a command that must fail."""
    code, _, err = run(*argv, seconds=seconds)
    lines = [line for line in err.splitlines() if line.startswith("duckdetect: ")]
    assert code == 2, err
    assert len(lines) == 1, err
    assert lines[0].isprintable()
    return lines[0]


def accepted(*argv: object, seconds: float = 20) -> str:
    code, out, err = run(*argv, seconds=seconds)
    assert code == 0, err
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


@contextlib.contextmanager
def untouched(folder: Path) -> Iterator[None]:
    before = content(folder)
    yield
    assert content(folder) == before


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that 0.1.0 wrote."""
    folder = tmp_path_factory.mktemp("runs") / "ssd"
    shutil.copytree(FIXTURE / "runs" / "ssd", folder)
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.getbasetemp() / "hostile cache"
        patch.setenv("DUCKDETECT_CACHE", str(cache))
        remember(folder / "detector")
    return folder


# What destroys


def test_detect_keeps_its_input_and_what_others_wrote(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("a.png", "b.png"):
        put_image(out / "frames" / name)
    with untouched(out):
        assert "is read from there" in refused("detect", trained, out / "frames", "--out", out)
        shutil.copytree(out / "frames", tmp_path / "in")
        assert "frames/a.png was not written by" in refused(
            "detect", trained, tmp_path / "in", "--out", out
        )
    accepted("detect", trained, tmp_path / "in", "--out", tmp_path / "new")
    accepted("detect", trained, tmp_path / "in", "--out", tmp_path / "new")
    (tmp_path / "new" / "frames" / "diary.txt").write_text("dear diary")
    with untouched(tmp_path / "new"):
        line = refused("detect", trained, tmp_path / "in", "--out", tmp_path / "new")
        assert "frames/diary.txt was not written by" in line
    (tmp_path / "new" / "frames" / "diary.txt").unlink()
    (tmp_path / "new" / "detections.json").write_text("[]")  # edited
    with untouched(tmp_path / "new"):
        line = refused("detect", trained, tmp_path / "in", "--out", tmp_path / "new")
        assert "detections.json was changed since" in line
    for name in ("detections.gif", "detections.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("mine")
        with untouched(tmp_path / name):
            refused("detect", trained, tmp_path / "in", "--out", tmp_path / name)


def test_split_check_and_eval_keep_labels_and_pictures(trained: Path, tmp_path: Path) -> None:
    data = put_coco(tmp_path / "data", names=["a.jpg", "b.jpg", "c.jpg"])
    labels = data / "_annotations.coco.json"
    with untouched(data):
        assert "_annotations.coco.json was not written by an earlier `duckdetect split`" in refused(
            "split", data, "--file", labels, "--valid", 0, "--test", 0.3
        )
        line = refused("check", data, "--sheet", data / "a.jpg")
        assert "a.jpg was not written by an earlier `duckdetect check`" in line
        line = refused("check", data, "--sheet", data / "sheet.jpg")
        assert "data/sheet.jpg would be one of the pictures" in line
        line = refused("eval", trained, data, "--out", labels)
        assert "was not written by an earlier `duckdetect eval`" in line
        line = refused("convert", data, "--to", "yolo", "--out", data, "--overwrite")
        assert "holds the pictures to be read" in line
    accepted("check", data, "--sheet", tmp_path / "sheet.jpg")
    accepted("check", data, "--sheet", tmp_path / "sheet.jpg")


def test_overwrite_keeps_foreign_files(tmp_path: Path) -> None:
    data, out = put_coco(tmp_path / "data"), tmp_path / "out"
    accepted("convert", data, "--to", "yolo", "--out", out)
    (out / "notes.txt").write_text("mine")
    with untouched(out):
        line = refused("convert", data, "--to", "yolo", "--out", out, "--overwrite")
        assert "out/notes.txt was not written by an earlier `duckdetect convert`" in line
    (out / "notes.txt").unlink()
    label = next(out.glob("train/labels/*.txt"))
    label.write_text(label.read_text().replace("0 ", "1 ", 1))  # the same length
    with untouched(out):
        line = refused("convert", data, "--to", "yolo", "--out", out, "--overwrite")
        assert f"{label.name} was changed since" in line
    put_coco(tmp_path / "theirs")
    with untouched(tmp_path / "theirs"):
        refused("convert", data, "--to", "yolo", "--out", tmp_path / "theirs", "--overwrite")


@pytest.mark.parametrize("name", ["frames", "detections.json", "detections.gif"])
def test_a_link_is_not_followed(trained: Path, tmp_path: Path, name: str) -> None:
    put_image(tmp_path / "in" / "a.png")
    precious = tmp_path / "precious"
    put_image(precious / "b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(precious if name == "frames" else precious / "b.png")
    with untouched(precious):
        line = refused("detect", trained, tmp_path / "in", "--out", tmp_path / "out")
        assert f"{name} is a link" in line


# What grows


def put_boxes(folder: Path, n: int, **more: Any) -> Path:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 400, (n, 2)).round(2).tolist()
    boxes = [annotation([x, y, 20, 20], id=i, **more) for i, (x, y) in enumerate(corners, 1)]
    put_coco(folder, boxes)
    Image.fromarray(rng.integers(0, 256, (480, 480, 3), np.uint8)).save(folder / "a.jpg")
    labels = folder / "_annotations.coco.json"
    file = json.loads(labels.read_text())
    file["images"][0] |= {"height": 480, "width": 480}
    labels.write_text(json.dumps(file))
    return folder


def test_many_boxes_in_a_picture(tmp_path: Path) -> None:
    data = put_boxes(tmp_path / "data", 20_000)
    out = accepted("check", data, "--sheet", tmp_path / "sheet.jpg", seconds=10)
    assert "more boxes: each is there twice: remove one" in out
    assert len(out.splitlines()) < 60
    accepted("convert", data, "--to", "voc", "--out", tmp_path / "voc", seconds=10)


def test_a_box_that_is_there_twice_is_found_across_pixels(tmp_path: Path) -> None:
    boxes = [[10.9, 10, 20, 20], [11.1, 10.4, 20.2, 20], [12.2, 10, 20, 20], [40, 40, 20, 20]]
    put_coco(tmp_path / "data", [annotation(box, id=i) for i, box in enumerate(boxes, 1)])
    out = accepted("check", tmp_path / "data")
    assert [line for line in out.splitlines() if "twice" in line] == [
        f"{tmp_path}/data/a.jpg: box (11.1, 10.4, 31.3, 30.4) is there twice: remove one"
    ]


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [480, 480], "counts": "o" * 400_000},  # one run that never ends
        {"size": [480, 480], "counts": "0" * 400_000},
        {"size": [480, 480], "counts": [0] * 400_000},
        {"size": [480, 480], "counts": [10**400]},
        {"size": [2**40, 2**40], "counts": [2**80]},
        [[1e308] * 6],
        [[0.0, 0.0, 1.0] * 200_000],
    ],
)
def test_outlines_without_end(tmp_path: Path, segmentation: Any) -> None:
    data = put_boxes(tmp_path / "data", 1, segmentation=segmentation)
    run("check", data, "--sheet", tmp_path / "sheet.jpg", seconds=5)


@pytest.mark.parametrize(
    "line",
    ["a.jpg" + " " * 50_000 + "x", "a.jpg" + " 1,2,3,4,0" * 5000 + " x"],
    ids=["gap", "boxes"],
)
def test_a_list_of_boxes_with_a_line_that_is_none(tmp_path: Path, line: str) -> None:
    put_image(tmp_path / "a.jpg")
    (tmp_path / "_classes.txt").write_text("duck\n")
    (tmp_path / "_annotations.txt").write_text(f"a.jpg 1,2,30,40,0\n{line}\n")
    run("check", tmp_path, seconds=5)


def test_a_label_map_without_end(tmp_path: Path) -> None:
    from duckdetect.data.formats.tfrecord import _items

    for text in (
        "item {" * 40_000,
        "item { name: '" * 40_000,
        'item { id: 1 name: "' + "\\" * 90_001,
        'item { id: 1 name: "' + '\\"' * 50_000,
    ):
        start = time.process_time()
        list(_items(text))
        assert time.process_time() - start < 5
    shown = """# item { id: 9 name: 'no' }
        item { id: 1 # its number
        name: 'it\\'s {odd}' keypoints { id: 5 label: "x" } }
        item:{ name: "two" id: 2 }"""
    wanted = [{"id": "1", "name": "it's {odd}"}, {"name": "two", "id": "2"}]
    assert list(_items(shown)) == wanted


def test_zips_within_zips(tmp_path: Path) -> None:
    import zipfile

    content = put_coco(tmp_path / "data") / "_annotations.coco.json"
    inner = tmp_path / "z0.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        for path in content.parent.iterdir():
            archive.write(path, path.name)
    for i in range(1, 5):
        with zipfile.ZipFile(tmp_path / f"z{i}.zip", "w") as archive:
            archive.write(tmp_path / f"z{i - 1}.zip", "a.zip")
    accepted("check", tmp_path / "z1.zip")
    accepted("check", tmp_path / "z2.zip")
    refused("check", tmp_path / "z4.zip")
    line = refused("convert", tmp_path / "z4.zip", "--to", "coco", "--out", tmp_path / "out")
    assert "zips within zips within zips: give the innermost one" in line


def test_names_of_thousands_of_letters(tmp_path: Path) -> None:
    data = put_yolo(
        tmp_path / "data", "0 .5 .5 .4 .4", f"names: ['{'duck' * 5000}']\ntrain: train/images\n"
    )
    accepted("check", data, "--sheet", tmp_path / "sheet.jpg", seconds=5)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{n}: &{n} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n"
    for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        (f"{BOMB}names: *i\n", "uses YAML's aliases"),
        (f"{BOMB}names: [duck]\ntrain: *i\n", "uses YAML's aliases"),
        ("names: " + "[" * 20_000, "is n"),
        ("names: !!python/object/apply:os.system [echo]", "is not YAML"),
        ("names: [" + "duck," * 300_000 + "]", "more than a list of classes needs"),
    ],
)
def test_yaml_that_is_a_trap(tmp_path: Path, yaml: str, said: str) -> None:
    put_yolo(tmp_path / "data", "0 .5 .5 .4 .4", yaml)
    code, out, err = run("check", tmp_path / "data", seconds=5)
    assert code == 2
    assert said in out + err
    assert said in refused("train", tmp_path / "data", "--out", tmp_path / "run", seconds=5)


def test_pictures_that_are_all_alike_split_in_one_group(tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(300)]
    put_coco(tmp_path / "data", [], names=names)
    for name in names[1:]:
        shutil.copyfile(tmp_path / "data" / names[0], tmp_path / "data" / name)
    line = refused("split", tmp_path / "data", "--file", tmp_path / "s.json", seconds=30)
    assert "300 pictures in 1 groups that show the same" in line


# Names that a terminal obeys

EVIL = "a\x1b]0;owned\x07\x1b[2J\u202egpj.jpg"


def test_names_are_printed_as_escapes(tmp_path: Path) -> None:
    data = put_coco(tmp_path / "data", names=[EVIL])
    (data / EVIL).write_bytes(b"")
    file = json.loads((data / "_annotations.coco.json").read_text())
    file["categories"][0]["name"] = "du\x1b[31mck\u2066\n"
    (data / "_annotations.coco.json").write_text(json.dumps(file))
    shutil.copytree(data, tmp_path / "good")
    put_image(tmp_path / "good" / EVIL)
    for argv in (
        ("check", data),
        ("check", tmp_path / "good"),
        ("check", tmp_path / "good", "--sheet", tmp_path / "sheet.jpg"),
        ("convert", tmp_path / "good", "--to", "coco", "--out", tmp_path / "out"),
        ("convert", tmp_path / "good", "--to", "yolo", "--out", tmp_path / "yolo"),
        ("train", data, "--out", tmp_path / "run"),
        ("check", tmp_path / EVIL),
        ("detect", tmp_path / EVIL, data, "--out", tmp_path / "found"),
    ):
        _, out, err = run(*argv)
        for text in (out, err):
            lines = text.replace("\r", "\n").splitlines()
            assert all(line.isprintable() for line in lines), text
        assert out + err


# Files of our own, broken


def broken(value: Any, rng: np.random.Generator) -> Any:
    """A JSON value with one thing in it that is something else."""
    others = [None, True, -1, 2**70, 1e308, "", "x" * 5000, "\ud800", [], {}, [[]], [1] * 300, "\0"]
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        if rng.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: broken(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = int(rng.integers(len(value)))
        return [*value[:at], broken(value[at], rng), *value[at + 1 :]]
    return others[rng.integers(len(others))]


def damages(path: Path, n: int) -> Iterator[bytes]:
    """Contents of a file as they should not be: emptied, cut off, other bytes, other values."""
    whole = path.read_bytes()
    rng = np.random.default_rng(sum(path.name.encode()))
    yield from (b"", whole[: len(whole) // 2], whole[:-3], b"\x00" * 50, b"[" * 50_000, b"null")
    if path.suffix == ".json":
        for _ in range(n):
            yield json.dumps(broken(json.loads(whole), rng)).encode()
    else:
        for _ in range(n):
            changed = bytearray(whole)
            at = rng.integers(0, len(whole), 3)
            changed[at[0]] ^= 1 << int(rng.integers(8))
            changed[at[1] : at[1] + 5] = rng.bytes(int(rng.integers(0, 9)))
            yield bytes(changed)


@pytest.fixture
def measured(trained: Path, tmp_path: Path) -> Path:
    """A run with all files that a run can have."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["config.json", "history.csv", "validation.csv"])
def test_broken_files_of_a_run_that_is_reported(measured: Path, name: str) -> None:
    from duckdetect.errors import UserError
    from duckdetect.evaluation.evaluate import trained_on
    from duckdetect.report.training import curves_section
    from duckdetect.training.run_folder import finished_config, read_histories

    for content_ in damages(measured / name, 12 if name.endswith("csv") else 200):
        (measured / name).write_bytes(content_)
        of_csv = name.endswith("csv")
        readers = (read_histories, curves_section) if of_csv else (finished_config, trained_on)
        for read in readers:
            with contextlib.suppress(UserError):
                read(measured)


def test_a_detector_without_its_history_is_usable(measured: Path, tmp_path: Path) -> None:
    put_image(tmp_path / "in" / "a.png")
    for name in ("history.csv", "validation.csv", "config.json"):
        (measured / name).unlink(missing_ok=True)
    accepted("detect", measured, tmp_path / "in", "--out", tmp_path / "out")


@pytest.mark.parametrize("name", ["detector.json", "saved_model.pb", "variables/variables.index"])
def test_broken_detectors(measured: Path, tmp_path: Path, name: str) -> None:
    from duckdetect.errors import UserError
    from duckdetect.inference.detector import load_detector

    path = measured / "detector" / name
    for content_ in damages(path, 12 if name == "detector.json" else 1):
        path.write_bytes(content_)
        with contextlib.suppress(UserError):
            load_detector(measured)


def test_broken_detections_labels_and_split_files(tmp_path: Path) -> None:
    from duckdetect.annotation.store import AnnotationStore, Box
    from duckdetect.data.check import check_dataset
    from duckdetect.data.loading import load_dataset
    from duckdetect.errors import UserError
    from duckdetect.inference.detections_json import read_detections

    found = FIXTURE / "detected" / "mask_rcnn" / "detections.json"
    shutil.copy(found, tmp_path / "detections.json")
    for content_ in damages(tmp_path / "detections.json", 150):
        (tmp_path / "d.json").write_bytes(content_)
        with contextlib.suppress(UserError):
            read_detections(tmp_path / "d.json")
    data = put_coco(tmp_path / "data", names=["a.jpg", "b.jpg", "c.jpg"])
    accepted(
        "split", data, "--file", tmp_path / "s.json", "--no-clips", "--valid", 0, "--test", 0.3
    )
    for content_ in damages(tmp_path / "s.json", 60):
        (tmp_path / "t.json").write_bytes(content_)
        with contextlib.suppress(UserError):
            load_dataset(tmp_path / "t.json")
    labels = data / "_annotations.coco.json"
    whole = labels.read_bytes()
    for content_ in damages(labels, 150):
        labels.write_bytes(content_)
        with contextlib.suppress(UserError):
            check_dataset(data)
        with contextlib.suppress(UserError):
            AnnotationStore(data).put("a.jpg", (60, 80), [Box((1, 2, 30, 40), "duck")], ["duck"])
        labels.write_bytes(whole)


# Two writers, full disks, leftovers


def test_two_writers_of_one_annotation_file_lose_nothing(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = """
import sys
from duckdetect.annotation.store import AnnotationStore, Box
for i in range(40):
    AnnotationStore(".").put(f"{sys.argv[1]}{i}.jpg", (60, 80), [Box((1, 2, 30, 40), "duck")], ["duck"])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    writers = [
        subprocess.Popen([sys.executable, "-c", code, name], cwd=tmp_path, env=environment)
        for name in "abc"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    file = json.loads((tmp_path / "_annotations.coco.json").read_text())
    assert len(file["images"]) == len(file["annotations"]) == 120
    assert len({entry["id"] for entry in file["annotations"]}) == 120


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (28, "no space is left"),
        (errno.EDQUOT, "your quota there is used up"),
        (errno.EFBIG, "the file would be too large"),
        (30, "read-only file system"),
        (24, "too many files are open"),
        (13, "permission denied"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    data = put_coco(tmp_path / "data")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr("duckdetect.data.contact_sheet.save_jpeg", refuse)
    line = refused("check", data, "--sheet", tmp_path / "sheet.jpg")
    assert line.startswith("duckdetect: somewhere: ")
    assert said in line

    import tensorflow as tf

    def refuse_tensorflow(*_: Any, **__: Any) -> None:
        kind = (
            tf.errors.OutOfRangeError if number == errno.EFBIG else tf.errors.ResourceExhaustedError
        )
        node = "{{function_node __wrapped__SaveV2_dtypes_2_device_/job:localhost}} "
        raise kind(None, None, f"{node}/x/variables; {os.strerror(number)} [Op:SaveV2]")

    monkeypatch.setattr("duckdetect.data.contact_sheet.save_jpeg", refuse_tensorflow)
    line = refused("check", data, "--sheet", tmp_path / "sheet.jpg")
    assert line.startswith("duckdetect: /x/variables: ")
    assert said in line

    def fill_file(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28))  # as `write` says it, of no file

    monkeypatch.undo()
    monkeypatch.setattr("PIL.Image.Image.save", fill_file)
    sheet = tmp_path / "sheet.jpg"
    assert f"duckdetect: {sheet}: no space is left" in refused("check", data, "--sheet", sheet)

    def fill(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("duckdetect.data.contact_sheet.save_jpeg", fill)
    assert "memory is used up" in refused("check", data, "--sheet", tmp_path / "sheet.jpg")

    def abort(*_: Any, **__: Any) -> None:
        raise tf.errors.AbortedError(None, None, "Graph execution error:")  # oneDNN, out of memory

    monkeypatch.setattr("duckdetect.data.contact_sheet.save_jpeg", abort)
    assert "memory is used up" in refused("check", data, "--sheet", tmp_path / "sheet.jpg")


def test_eval_keeps_foreign_files(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "evaluation").mkdir(exist_ok=True)
    (tmp_path / "run" / "evaluation" / "notes.txt").write_text("mine")
    with untouched(tmp_path / "run"):
        line = refused("eval", tmp_path / "run", put_coco(tmp_path / "data"), "--trust")
        assert "evaluation/notes.txt was not written by an earlier `duckdetect eval`" in line


def test_eval_and_report_keep_what_somebody_edited(measured: Path, tmp_path: Path) -> None:
    """What an earlier version wrote is known by its name; what this one wrote by its sum."""
    data = put_coco(tmp_path / "data", categories=[{"id": 1, "name": "frog"}])
    eval_ = ("eval", measured, data, "--trust")
    accepted(*eval_, seconds=60)
    accepted("threshold", measured, "0.4")  # changes about.json, which stays eval's own
    check_outputs([measured / "evaluation"], "eval")
    for name in ("metrics.json", "evaluation/about.json"):
        before = (measured / name).read_text()
        (measured / name).write_text(before.replace(":", ": "))
        with untouched(measured):
            assert f"{name} was changed since" in refused(*eval_)
        (measured / name).write_text(before)


def test_train_overwrites_runs_alone(trained: Path, tmp_path: Path) -> None:
    data = put_coco(tmp_path / "data")
    shutil.copytree(trained, tmp_path / "run")
    argv = ("train", data, "--base", "ssd_mobilenet_v2", "--out")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setenv("DUCKDETECT_CACHE", str(Path.home() / ".cache" / "duckdetect"))
        (tmp_path / "run" / "detector" / "notes.txt").write_text("mine")
        with untouched(tmp_path / "run"):
            line = refused(*argv, tmp_path / "run", "--overwrite")
            assert "detector/notes.txt was not written by `duckdetect train`" in line
        for name in ("config.json", "history.csv", "detector"):
            folder = tmp_path / f"with {name}"
            folder.mkdir()
            (folder / name).write_text('{"mine": true}')
            with untouched(folder):
                assert name in refused(*argv, folder, "--overwrite")


# A stranger's detector is a program


def test_a_detector_of_a_stranger_is_asked_for_once(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    put_image(tmp_path / "in" / "a.png")
    argv = ("detect", trained, tmp_path / "in", "--out", tmp_path / "out")
    line = refused(*argv)
    assert "was not trained on this machine, and a detector is a program: give --trust once" in line
    assert not (tmp_path / "out").exists()
    (tmp_path / "cache").write_text("no folder")
    code, _, told = run(*argv, "--trust")
    assert code == 0
    assert f"{tmp_path / 'cache'} cannot be written: --trust is needed again" in told
    assert "--trust" in refused(*argv)
    (tmp_path / "cache").unlink()
    accepted(*argv, "--trust")
    accepted(*argv)
    # A list that cannot be read is not begun again.
    (listed,) = (tmp_path / "cache").glob("trusted*")
    known = listed.read_text()
    listed.unlink()
    listed.mkdir()
    assert "--trust is needed again" in run(*argv, "--trust")[2]
    listed.rmdir()
    listed.write_text(known)
    shutil.copytree(trained, tmp_path / "copy")
    accepted("detect", tmp_path / "copy", tmp_path / "in", "--out", tmp_path / "out")
    (tmp_path / "copy" / "detector" / "detector.json").write_text(
        (trained / "detector" / "detector.json").read_text() + " "
    )
    assert "--trust" in refused("detect", tmp_path / "copy", tmp_path / "in", "--out", "x")


def of_tensorflow_1(folder: Path, owned: Path) -> None:
    """A SavedModel that writes a file as it is loaded."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        number = v1.placeholder(tf.float32, [1])
        signature = v1.saved_model.predict_signature_def({"x": number}, {"y": number + 1})
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature},
            main_op=tf.io.write_file(str(owned), "owned"),
        )  # fmt: skip
        builder.save()


def that_calls(operation: Callable[[Path], Any]) -> Callable[[Path, Path], None]:
    """What makes a SavedModel that calls an operation in a branch of a function."""

    def make(folder: Path, owned: Path) -> None:
        import tensorflow as tf

        class Evil(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
            def prepare(self, image: tf.Tensor) -> tf.Tensor:
                return tf.cond(tf.shape(image)[0] > 0, lambda: self._call(), lambda: 0)

            @tf.function
            def _call(self) -> tf.Tensor:
                operation(owned)
                return 0

        tf.saved_model.save(Evil(), str(folder))

    return make


def add_function(folder: Path, function: Any) -> None:
    """Put a function into a SavedModel, where nothing calls it."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    library = model.meta_graphs[0].graph_def.library
    library.function.append(function.get_concrete_function().function_def)
    path.write_bytes(model.SerializeToString())


def that_nothing_calls(folder: Path, owned: Path) -> None:
    """A function whose result TensorFlow works out as it loads, though nothing calls it."""
    import tensorflow as tf

    that_calls(lambda _: tf.constant(0))(folder, owned)

    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32)])
    def unused(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, [tf.size(tf.io.read_file(str(owned))), 4])

    add_function(folder, unused)


def that_is_not_listed(folder: Path, owned: Path) -> None:
    """An initialiser that a node names, and that the list of functions lacks, saves a file on loading."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.trackable.resource import TrackableResource

    class Saves(TrackableResource):
        def _create_resource(self) -> tf.Tensor:
            return tf.constant(1)

        @tf.function(input_signature=[])
        def _initialize(self) -> tf.Tensor:
            save = tf.raw_ops.SaveV2(
                prefix=str(owned),
                tensor_names=["x"],
                shape_and_slices=[""],
                tensors=[tf.constant("x")],
            )
            with tf.control_dependencies([save]):
                return tf.constant(1)

    module = tf.Module()
    module.saves = Saves()
    tf.saved_model.save(module, str(folder))
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    objects = model.meta_graphs[0].object_graph_def
    names = [n for node in objects.nodes for n in node.function.concrete_functions]
    names += [node.bare_concrete_function.concrete_function_name for node in objects.nodes]
    assert [n for n in names if "_initialize" in n]
    for name in list(objects.concrete_functions):
        del objects.concrete_functions[name]
    path.write_bytes(model.SerializeToString())


def that_stands_for_another(folder: Path, owned: Path) -> None:
    """A function that nothing calls, and that TensorFlow puts in place of one that is called."""
    import tensorflow as tf

    that_calls(lambda _: tf.constant(0))(folder, owned)

    @tf.function(
        input_signature=[],
        experimental_attributes={"api_implements": "x", "api_preferred_device": "CPU"},
    )
    def unused() -> tf.Tensor:
        tf.raw_ops.SaveV2(
            prefix=str(owned), tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant("x")]
        )
        return tf.constant(1)

    add_function(folder, unused)


def that_has_a_name_twice(folder: Path, owned: Path) -> None:
    """Two functions of one name, of which the first does what it should not."""
    from tensorflow.core.protobuf import saved_model_pb2

    that_calls(write_file)(folder, owned)
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    library = model.meta_graphs[0].graph_def.library
    for function in list(library.function):
        if any(node.op == "WriteFile" for node in function.node_def):
            tame = library.function.add()
            tame.CopyFrom(function)
            for node in tame.node_def:
                node.op = node.op.replace("WriteFile", "NoOp")
    path.write_bytes(model.SerializeToString())


def that_is_named_as_an_operation(folder: Path, owned: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    that_calls(write_file)(folder, owned)
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    model.meta_graphs[0].graph_def.library.function.add().signature.name = "WriteFile"
    path.write_bytes(model.SerializeToString())


def write_file(path: Path) -> Any:
    import tensorflow as tf

    return tf.io.write_file(str(path), "owned")


def map_file(path: Path) -> Any:
    import tensorflow as tf

    path.write_text("secret")
    return tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[5], memory_region_name=str(path))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (that_calls(write_file), "the operation WriteFile, which no detector needs"),
        (that_calls(map_file), "the operation ImmutableConst, which no detector needs"),
        (of_tensorflow_1, "a SavedModel of TensorFlow 1, which no detector is"),
        (that_nothing_calls, "the operation ReadFile, which no detector needs"),
        (that_is_not_listed, "the operation SaveV2, which no detector needs"),
        (that_stands_for_another, "the operation SaveV2, which no detector needs"),
        (that_has_a_name_twice, "which no detector needs"),
        (that_is_named_as_an_operation, "the operation WriteFile, which no detector needs"),
    ],
)
def test_a_detector_that_reaches_files_is_not_loaded(
    tmp_path: Path, make: Callable[[Path, Path], None], named: str
) -> None:
    make(tmp_path / "run" / "detector", tmp_path / "owned")
    (tmp_path / "owned").unlink(missing_ok=True)
    settings = json.loads((FIXTURE / "runs" / "ssd" / "detector" / "detector.json").read_text())
    (tmp_path / "run" / "detector" / "detector.json").write_text(json.dumps(settings))
    put_image(tmp_path / "in" / "a.png")
    argv = "detect", tmp_path / "run", tmp_path / "in", "--out", tmp_path / "out"
    assert named in refused(*argv, "--trust")
    assert not (tmp_path / "owned").exists()
    assert "was not trained on this machine" in refused(*argv)  # and is not trusted since


def test_trust_in_one_detector_is_none_in_another_around_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that lie in each other, the one that is loaded is the one that is looked at."""
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    outer = tmp_path / "run"
    that_calls(write_file)(outer, tmp_path / "owned")
    settings = trained / "detector" / "detector.json"
    shutil.copyfile(settings, outer / settings.name)
    shutil.copytree(trained / "detector", outer / "detector")
    (outer / "detector" / settings.name).unlink()
    put_image(tmp_path / "in" / "a.png")
    argv = "detect", outer, tmp_path / "in", "--out", tmp_path / "out"
    for _ in range(2):
        assert "the operation WriteFile, which no detector needs" in refused(*argv, "--trust")
    assert "was not trained on this machine" in refused(*argv)


def test_weights_behind_a_link_are_part_of_what_is_trusted(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    shutil.copytree(trained, tmp_path / "run")
    inner = tmp_path / "run" / "detector" / "variables"
    inner.rename(tmp_path / "weights")
    inner.symlink_to(tmp_path / "weights")
    put_image(tmp_path / "in" / "a.png")
    argv = "detect", tmp_path / "run", tmp_path / "in", "--out", tmp_path / "out"
    accepted(*argv, "--trust")
    accepted(*argv)
    with next((tmp_path / "weights").glob("*.data-*")).open("r+b") as weights:
        weights.write(b"12345678")
    assert "was not trained on this machine" in refused(*argv)


def test_operations_of_detectors_know_no_files() -> None:
    """Where TensorFlow names a file, it does so by a string."""
    from tensorflow.core.framework import op_def_pb2, types_pb2
    from tensorflow.python.client import pywrap_tf_session as tensorflow

    registered = op_def_pb2.OpList()
    registered.ParseFromString(tensorflow.TF_GetBuffer(tensorflow.TF_GetAllOpList()))
    ours = [op for op in registered.op if op.name in _OPERATIONS]
    assert len(ours) == len(_OPERATIONS)
    for op in ours:
        arguments = [*op.input_arg, *op.output_arg]
        assert all(arg.type != types_pb2.DT_STRING for arg in arguments), op.name
        assert not [a.name for a in op.attr if "file" in a.name or "path" in a.name], op.name
    assert any(arg.type == types_pb2.DT_STRING for op in registered.op for arg in op.input_arg)


# Pictures and paths of strangers


def test_a_picture_that_is_postscript_runs_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess

    started: list[str] = []
    popen = subprocess.Popen

    def start(arguments: Any, *more: Any, **named: Any) -> Any:
        started.append(str(arguments))
        return popen(arguments, *more, **named)

    monkeypatch.setattr(subprocess, "Popen", start)
    data = put_coco(tmp_path / "data")
    head = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 80 60\n"
    (data / "a.jpg").write_text(head + "{} loop\n%%EOF\n")
    run("check", data, seconds=5)
    refused("train", data, "--out", tmp_path / "run")
    run("detect", trained, data / "a.jpg", "--out", tmp_path / "out")
    assert not [command for command in started if "gs" in command]


@pytest.mark.parametrize("how", ["../secret.jpg", "absolute", "link", "folder link"])
def test_labels_that_name_pictures_elsewhere(tmp_path: Path, how: str) -> None:
    put_image(tmp_path / "secret.jpg")
    put_image(tmp_path / "away" / "b.jpg")
    name = {"absolute": str(tmp_path / "secret.jpg"), "folder link": "inside/b.jpg"}.get(how, how)
    name = "a.jpg" if how == "link" else name
    data = put_coco(tmp_path / "data", names=["other.jpg"])
    (data / "other.jpg").unlink()
    labels = data / "_annotations.coco.json"
    labels.write_text(labels.read_text().replace('"other.jpg"', json.dumps(name)))
    if how == "link":
        (data / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    if how == "folder link":
        (data / "inside").symlink_to(tmp_path / "away")
    for argv in (
        ("convert", data, "--to", "coco", "--out", tmp_path / "out"),
        ("split", data, "--out", tmp_path / "out", "--valid", 0, "--test", 0.3),
    ):
        refused(*argv)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("train", ["../away", "ABSOLUTE", "../data/../away"])
def test_yolo_that_names_a_folder_elsewhere(tmp_path: Path, train: str) -> None:
    put_image(tmp_path / "away" / "b.jpg")
    (tmp_path / "away" / "b.txt").write_text("0 .5 .5 .4 .4")
    data = tmp_path / "data"
    data.mkdir()
    place = str(tmp_path / "away") if train == "ABSOLUTE" else train
    (data / "data.yaml").write_text(f"names: [duck]\ntrain: {place}\n")
    refused("convert", data, "--to", "coco", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_yolo_below_a_folder_that_is_named_images(tmp_path: Path) -> None:
    """Another data set's `labels` lie above; ours stand beside the pictures."""
    data = tmp_path / "images" / "mine"
    (tmp_path / "labels" / "mine" / "train").mkdir(parents=True)
    put_image(data / "train" / "a.jpg")
    (data / "data.yaml").write_text("names: [duck]\ntrain: train\n")
    assert "lies outside" in refused("convert", data, "--to", "coco", "--out", tmp_path / "out")
    (data / "train" / "a.txt").write_text("0 .5 .5 .4 .4")
    accepted("convert", data, "--to", "coco", "--out", tmp_path / "out")
    (labels,) = (tmp_path / "out").rglob("_annotations.coco.json")
    assert json.loads(labels.read_text())["annotations"]


# Pipes and devices, which are read for ever


@pytest.mark.parametrize(
    "name",
    ["coco/a.jpg", "coco/b.jpg", "coco/_annotations.coco.json", "yolo/data.yaml", "yolo/label"],
)
def test_a_pipe_in_the_place_of_a_file(tmp_path: Path, name: str) -> None:
    put_coco(tmp_path / "coco")
    put_yolo(tmp_path / "yolo", "0 .5 .5 .4 .4", "names: [duck]\ntrain: train/images\n")
    path = tmp_path / name.replace("label", "train/labels/train.txt")
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    data = tmp_path / name.partition("/")[0]
    run("check", data, seconds=5)
    run("convert", data, "--to", "voc", "--out", tmp_path / "out", seconds=5)
    os.mkfifo(tmp_path / "pipe.json")
    refused("check", tmp_path / "pipe.json", seconds=5)


@pytest.mark.parametrize(
    "name", ["config.json", "history.csv", "validation.csv", "evaluation/about.json"]
)
def test_a_pipe_or_a_depth_in_a_run(measured: Path, tmp_path: Path, name: str) -> None:
    """The readers of each, without a detector that takes seconds to load."""
    from duckdetect.errors import UserError
    from duckdetect.evaluation.evaluate import _read_json, read_about, trained_on
    from duckdetect.report.training import curves_section
    from duckdetect.training.config import read_settings
    from duckdetect.training.run_folder import finished_config, read_histories

    path = measured / name
    path.parent.mkdir(exist_ok=True)

    def read_all() -> None:
        for read in (
            read_about, trained_on, curves_section, finished_config, read_settings, read_histories,
        ):  # fmt: skip
            with contextlib.suppress(UserError):
                read(measured)
        assert isinstance(_read_json(path), dict)

    path.write_text("[" * 200_000)
    read_all()
    path.unlink()
    os.mkfifo(path)
    read_all()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda p: p.symlink_to("nothing")])
def test_a_manifest_that_is_no_file(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    data = put_coco(tmp_path / "data")
    (tmp_path / "out").mkdir()
    make(tmp_path / "out" / MANIFEST)
    for argv in (
        ("convert", data, "--to", "yolo", "--out", tmp_path / "out" / "x"),
        ("check", data, "--sheet", tmp_path / "out" / "s.jpg"),
    ):
        assert "is no file of ours: move it away" in refused(*argv)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file["images"][0].update(file_name="x" * 9999),
        lambda file: file["images"][0].update(file_name="\ud800\0.jpg"),
        lambda file: file["images"][0].update(file_name={"a": [1]}),
        lambda file: file["images"][0].update(width=10**400, height=5),
        lambda file: file.update(categories=[{"id": i, "name": f"{i}"} for i in range(9000)]),
    ],
)
def test_labels_that_are_odd(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    labels = put_coco(tmp_path / "data") / "_annotations.coco.json"
    file = json.loads(labels.read_text())
    change(file)
    labels.write_text(json.dumps(file))
    run("check", tmp_path / "data", seconds=5)


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = put_coco(tmp_path / "data")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "the folder that this is run in is gone" in refused("check", data)
