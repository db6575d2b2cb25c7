"""An attack on the command line: what destroys, leaks, hangs or ends in a traceback must not.

Inputs are made here, by kinds: outputs that lie in the way, names that a terminal obeys, files of our own
that are broken, inputs that would take for ever. Whatever happens, a command ends with exit code 0, or 2
and one line on stderr, soon, and what it did not write stays.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import annotation, put_coco, put_image, put_yolo
from PIL import Image

from duckdetect.cli.app import main
from duckdetect.utils.outputs import MANIFEST

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "v0_1_0" / "project"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and paths from the temporary folder."""
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
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
