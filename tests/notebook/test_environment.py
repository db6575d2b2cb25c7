"""Where things lie: Drive on Colab, a local folder elsewhere, and clear words where it fails."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from duckdetect import UserError
from duckdetect.notebook import environment


def pretend_colab(monkeypatch: pytest.MonkeyPatch, mount_point: Path, mount: Any) -> None:
    drive = types.ModuleType("google.colab.drive")
    drive.mount = mount
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setitem(sys.modules, "google.colab.drive", drive)
    monkeypatch.setattr(environment, "MOUNT_POINT", mount_point)


def assert_is_workspace(folder: Path) -> None:
    assert folder.is_absolute()
    assert sorted(path.name for path in folder.iterdir()) == ["cache", "images", "results"]


def test_elsewhere_it_is_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not environment.is_colab()
    folder = environment.workspace()
    assert folder == tmp_path / "transfer_learning_project"
    assert_is_workspace(folder)
    (folder / "images" / "mine.jpg").write_bytes(b"kept")
    assert environment.workspace() == folder
    assert (folder / "images" / "mine.jpg").read_bytes() == b"kept"


def test_on_colab_drive_is_mounted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = []

    def mount(path: str) -> None:
        mounts.append(path)
        (Path(path) / "MyDrive").mkdir(parents=True)

    pretend_colab(monkeypatch, tmp_path / "gdrive", mount)
    assert environment.is_colab()
    folder = environment.workspace("mine")
    assert folder == tmp_path / "gdrive" / "MyDrive" / "mine"
    assert_is_workspace(folder)
    environment.workspace("mine")
    assert mounts == [str(tmp_path / "gdrive")]


@pytest.mark.parametrize("error", [ValueError("mount\nfailed"), KeyError(), None])
def test_a_refused_mount_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    def mount(_: str) -> None:
        if error is not None:
            raise error

    pretend_colab(monkeypatch, tmp_path / "gdrive", mount)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="allow access to Drive") as caught:
        environment.workspace()
    assert "workspace(drive=False)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert_is_workspace(environment.workspace(drive=False))


@pytest.mark.parametrize("name", ["", "/tmp/x", "../x", "x\0y", "x" * 256])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is no folder name"):
        environment.workspace(name)
