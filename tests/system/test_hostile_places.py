"""Places to write to: looked at before what takes long, and nothing left beside them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.labelled_folders import put_coco

import duckdetect.data.check
import duckdetect.inference.bulk
import duckdetect.inference.detector
from duckdetect.cli import main
from duckdetect.errors import UserError
from duckdetect.utils.outputs import own_output
from duckdetect.utils.reading import as_path


def too_early(*_: object, **__: object) -> None:
    raise AssertionError("the place was not looked at before")


def test_places_are_looked_at_before_a_detector_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(duckdetect.inference.bulk, "load_detector", too_early)
    monkeypatch.setattr(duckdetect.inference.detector, "load_detector", too_early)
    data = put_coco(tmp_path / "data")
    for name in ("detector", "evaluation"):
        (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run" / "evaluation" / "mine.txt").write_text("mine")
    assert main(["bulk", str(tmp_path / "run"), str(data), "--out", str(tmp_path / "run")]) == 2
    assert "which is not of `bulk`" in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "run"), str(data), "--per-class"]) == 2
    assert "mine.txt was not written by an earlier `duckdetect eval`" in capsys.readouterr().err


def test_a_name_too_long_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = put_coco(tmp_path / "data")
    monkeypatch.setattr("duckdetect.data.check_dataset", too_early)
    assert main(["check", str(data), "--sheet", str(tmp_path / ("s" * 300 + ".jpg"))]) == 2
    assert "which no file can be called" in capsys.readouterr().err


def test_a_detour_leaves_no_empty_folder(tmp_path: Path) -> None:
    data = put_coco(tmp_path / "data")
    out = tmp_path / "w" / "x" / ".." / "y"
    assert main(["convert", str(data), "--to", "yolo", "--out", str(out)]) == 0
    assert [path.name for path in (tmp_path / "w").iterdir() if path.is_dir()] == ["y"]
    # From a link the way back leads elsewhere.
    (tmp_path / "link").symlink_to(tmp_path / "w" / "y")
    assert as_path(tmp_path / "link" / ".." / "z", "out") == tmp_path / "link" / ".." / "z"
    assert as_path("../a", "out") == Path("../a")
    assert as_path("a/..", "out") == Path()


SLOW = """
import shutil, sys, time
copy = shutil.copyfile
shutil.copyfile = lambda *names: (copy(*names), time.sleep(60))
from duckdetect.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_an_end_that_the_system_asks_for_leaves_nothing(
    tmp_path: Path, how: signal.Signals
) -> None:
    data = put_coco(tmp_path / "data")
    out = tmp_path / "out"
    # Where the tests run under nohup, the signal would be ignored from the start.
    slow = f"import signal; signal.signal({how.value}, signal.SIG_DFL)\n{SLOW}"
    argv = [sys.executable, "-c", slow, "convert", str(data), "--to", "yolo", "--out", str(out)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while not list(tmp_path.glob(".out.*/out/**/*.jpg")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(how)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert told == "duckdetect: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_streams_that_were_closed_before(tmp_path: Path) -> None:
    """The bars hung for ever without a stderr, and what is opened next would have its number."""
    data = put_coco(tmp_path / "data")
    code = (
        "import os, sys; from duckdetect.cli import main; code = main(); "
        "os.write(2, b'lost'); print('lost'); sys.exit(code)"
    )
    argv = [
        sys.executable,
        "-c",
        code,
        "convert",
        str(data),
        "--to",
        "yolo",
        "--out",
        str(tmp_path / "out"),
    ]
    closed = " ".join(["exec", '"$@"', "<&-", ">&-", "2>&-"])
    subprocess.run(["sh", "-c", closed, "sh", *argv], timeout=60, check=True)
    assert (tmp_path / "out" / "data.yaml").exists()


def test_what_is_put_there_while_a_command_works_stays(tmp_path: Path) -> None:
    """Outlines take minutes, in which somebody may edit what is about to be replaced."""
    data = put_coco(tmp_path / "data")
    out = tmp_path / "out"
    argv = ["convert", str(data), "--to", "coco", "--out", str(out)]
    assert main(argv) == 0
    labels = (out / "_annotations.coco.json").read_bytes()

    def convert_while(name: str) -> None:
        with own_output(out, "convert") as part:
            part.mkdir()
            (out / name).write_text("mine")

    with pytest.raises(UserError, match=r"mine\.txt was not written by"):
        convert_while("mine.txt")
    (out / "mine.txt").unlink()  # which is still there, as is the rest
    assert (out / "_annotations.coco.json").read_bytes() == labels
    with pytest.raises(UserError, match=r"_annotations\.coco\.json was changed since"):
        convert_while("_annotations.coco.json")
    assert (out / "_annotations.coco.json").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"data", "out"}
    (out / "_annotations.coco.json").write_bytes(labels)
    assert main([*argv, "--overwrite"]) == 0
