"""The cache shows what it holds, and clears that alone."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from helpers.labelled_folders import put_coco

import duckdetect as dd
from duckdetect.cli import main
from duckdetect.errors import UserError
from duckdetect.utils import cache as cache_module
from duckdetect.utils.cache import clear_cache, list_cache
from duckdetect.utils.files import file_sha256, one_at_a_time


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights, an unpacked zip of 12 and more bytes, an unfinished download, and a user's own file."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DUCKDETECT_CACHE", str(folder))
    (folder / "ssd").mkdir(parents=True)
    origin = {"origin": "x", "files": {"weights.pb": {}}}
    (folder / "ssd" / "origin.json").write_text(json.dumps(origin))
    (folder / "ssd" / "weights.pb").write_bytes(b"x" * 5_000_000)
    (folder / "ssd.tar.gz.part").write_bytes(b"x" * 1000)
    note = {"url": "http://host/ssd.tar.gz", "validator": "", "size": 2000}
    (folder / "ssd.tar.gz.part.json").write_text(json.dumps(note))
    (folder / "notes.txt").write_text("mine")
    source = put_coco(tmp_path / "ducks")
    with zipfile.ZipFile(tmp_path / "ducks.zip", "w") as archive:
        for path in source.rglob("*"):
            archive.write(path, path.relative_to(source.parent))
    dd.load_dataset(tmp_path / "ducks.zip")
    return folder


def test_it_shows_what_there_is(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = list_cache()
    assert [entry.kind for entry in entries] == ["weights", "data", "downloads", "downloads"]
    assert entries[0].size_bytes == 5_000_044
    assert entries[1].path.parent == cache / "data"
    assert main(["cache"]) == 0
    assert f"5.0 MB in {cache}" in capsys.readouterr().out


def test_data_goes_and_comes_back(cache: Path, tmp_path: Path) -> None:
    assert main(["cache", "--clear", "data"]) == 0
    assert [entry.kind for entry in list_cache()] == ["weights", "downloads", "downloads"]
    assert list((cache / "data").iterdir()) == []
    assert len(dd.load_dataset(tmp_path / "ducks.zip")) > 0


def test_all_leaves_what_is_not_the_caches(cache: Path) -> None:
    assert len(clear_cache("all")) == 4
    assert sorted(path.name for path in cache.iterdir()) == ["data", "notes.txt"]


def test_a_folder_of_other_things_that_was_named_as_the_cache_loses_nothing(cache: Path) -> None:
    """Downloads of a browser, a project with an origin.json, folders that are named as ours are."""
    theirs = [
        *("thesis.tar.gz", "film.mp4.part", "npm/theirs.tgz", "data/photos-0123456789ab/a.jpg"),
        *("project/origin.json", "project/work.txt"),
    ]
    for name in theirs:
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text("{}")
    (cache / "ssd" / "mine.txt").write_text("in a folder of weights")
    assert {entry.kind for entry in clear_cache("all")} == {"data", "downloads"}
    assert all((cache / name).is_file() for name in [*theirs, "notes.txt", "ssd/mine.txt"])


def test_no_link_is_followed(cache: Path, tmp_path: Path) -> None:
    (cache / "data").rename(tmp_path / "elsewhere")
    (cache / "data").symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    assert "data" not in {entry.kind for entry in clear_cache("all")}
    assert sorted((tmp_path / "elsewhere").rglob("*")) == before


def test_an_unknown_kind_is_one_line(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no part of the cache: give one of data, weights"):
        clear_cache("picture")
    assert main(["cache", "--clear", "picture"]) == 2
    assert len(list_cache()) == 4


def test_no_cache_is_empty(tmp_path: Path) -> None:
    assert list_cache(tmp_path / "none") == []
    assert clear_cache("all", tmp_path / "none") == []


def test_a_file_in_place_of_the_cache_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "cache"
    file.write_text("not a folder")
    for call in (list_cache, clear_cache):
        with pytest.raises(UserError, match=r"cache is a file, not a folder: set DUCKDETECT_CACHE"):
            call(cache_dir=file)


def test_a_pipe_in_the_cache_hangs_nothing(cache: Path) -> None:
    (cache / "base").mkdir()
    os.mkfifo(cache / "base" / "origin.json")
    (cache / "z.part").write_bytes(b"x")
    os.mkfifo(cache / "z.part.json")
    assert len(list_cache()) == 4
    assert len(clear_cache("all")) == 4
    assert (cache / "z.part").exists()
    with pytest.raises(UserError, match="is a pipe or a device"):
        file_sha256(cache / "z.part.json")


def test_what_another_process_removes_meanwhile_has_no_size(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = cache_module._size

    def removed(path: Path) -> int:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return size(path)

    monkeypatch.setattr(cache_module, "_size", removed)
    assert {entry.size_bytes for entry in list_cache()} == {0}


def test_what_a_killed_process_left_is_listed_and_cleared(cache: Path) -> None:
    (unpacked,) = (cache / "data").glob("ducks-*")
    for target in (unpacked, cache / "ssd"):
        left = target.with_name(f".{target.name}.duckdetect-abcd1234") / target.name
        left.mkdir(parents=True)
        (left / "a.jpg").write_bytes(bytes(7_000_000))
    assert [entry.kind for entry in list_cache()][:2] == ["data", "weights"]  # it has no lock
    with one_at_a_time(cache / "ssd"):
        pass
    assert sorted(entry.kind for entry in list_cache()[:3]) == ["data", "weights", "weights"]
    assert len(clear_cache("data")) == 2
    assert len(clear_cache("all")) == 4
    assert not [path for path in cache.rglob("*") if "duckdetect-" in path.name]
