"""The cache shows what it holds, and clears that alone."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from helpers.labelled_folders import put_coco

import duckdetect as dd
from duckdetect.cli import main
from duckdetect.errors import UserError
from duckdetect.utils.cache import clear_cache, list_cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights, an unpacked zip of 12 and more bytes, an unfinished download, and a user's own file."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DUCKDETECT_CACHE", str(folder))
    (folder / "ssd").mkdir(parents=True)
    (folder / "ssd" / "origin.json").write_text("{}")
    (folder / "ssd" / "weights.pb").write_bytes(b"x" * 5_000_000)
    (folder / "ssd.tar.gz.part").write_bytes(b"x" * 1000)
    (folder / "notes.txt").write_text("mine")
    source = put_coco(tmp_path / "ducks")
    with zipfile.ZipFile(tmp_path / "ducks.zip", "w") as archive:
        for path in source.rglob("*"):
            archive.write(path, path.relative_to(source.parent))
    dd.load_dataset(tmp_path / "ducks.zip")
    return folder


def test_it_shows_what_there_is(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = list_cache()
    assert [entry.kind for entry in entries] == ["weights", "data", "downloads"]
    assert entries[0].size_bytes == 5_000_002
    assert entries[1].path.parent == cache / "data"
    assert main(["cache"]) == 0
    assert f"5.0 MB in {cache}" in capsys.readouterr().out


def test_data_goes_and_comes_back(cache: Path, tmp_path: Path) -> None:
    assert main(["cache", "--clear", "data"]) == 0
    assert [entry.kind for entry in list_cache()] == ["weights", "downloads"]
    assert list((cache / "data").iterdir()) == []
    assert len(dd.load_dataset(tmp_path / "ducks.zip")) > 0


def test_all_leaves_what_is_not_the_caches(cache: Path) -> None:
    assert len(clear_cache("all")) == 3
    assert sorted(path.name for path in cache.iterdir()) == ["data", "notes.txt"]


def test_an_unknown_kind_is_one_line(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no part of the cache: give one of data, weights"):
        clear_cache("picture")
    assert main(["cache", "--clear", "picture"]) == 2
    assert len(list_cache()) == 3


def test_no_cache_is_empty(tmp_path: Path) -> None:
    assert list_cache(tmp_path / "none") == []
    assert clear_cache("all", tmp_path / "none") == []
