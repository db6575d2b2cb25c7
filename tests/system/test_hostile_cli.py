"""More of the attack: pipes as arguments, outputs that are refused late, files that name themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.labelled_folders import put_coco, put_image

from duckdetect.cli.app import main


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(argument) for argument in argv]) == 2
    return capsys.readouterr().err


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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    put_coco(tmp_path / "data")
    os.mkfifo(tmp_path / "pipe")
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


def test_a_split_file_of_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = {"format": "duckdetect split 1", "data": "s.json", "splits": {"train": ["a.jpg"]}}
    (tmp_path / "s.json").write_text(json.dumps(split))
    main(["check", str(tmp_path / "s.json")])
    assert "are no folder: split the data set again" in capsys.readouterr().out
