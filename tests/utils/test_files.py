"""Leftovers of killed writers: removed by the next one, and nothing of value is lost with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from duckdetect.utils.files import FreeNames, atomic_path, folder_sha256, scratch_folder

HANG = """
import sys, time
from pathlib import Path
from duckdetect.utils.files import atomic_path, scratch_folder
write = {"atomic_path": atomic_path, "scratch_folder": scratch_folder}[sys.argv[2]]
with write(Path(sys.argv[1])) as part:
    part.mkdir(exist_ok=True)
    print(flush=True)
    time.sleep(60)
"""


def start_writer(target: Path, write: str = "atomic_path") -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", HANG, str(target), write]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def put(target: Path, text: str) -> None:
    with atomic_path(target) as part:
        part.mkdir()
        (part / "a").write_text(text)


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with start_writer(tmp_path / "frames") as process:
        assert len(names(tmp_path)) == 1
        put(tmp_path / "frames", "of another writer at the same time")
        assert len(names(tmp_path)) == 2  # the first one still writes
        process.send_signal(signal.SIGKILL)
    put(tmp_path / "frames", "new")
    assert names(tmp_path) == ["frames"]


MANY = """
import sys
from duckdetect.utils.files import write_json
for i in range(200):
    write_json(sys.argv[1], {"i": i})
"""


def test_two_writers_of_one_file_leave_each_others_parts(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", MANY, str(tmp_path / "a.json")]
    writers = [subprocess.Popen(argv, cwd=Path(__file__).parents[2]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert names(tmp_path) == ["a.json"]


def test_a_scratch_folder_is_gone_afterwards_and_what_a_killed_process_left_of_it(
    tmp_path: Path,
) -> None:
    with start_writer(tmp_path / "wheel", "scratch_folder") as process:
        process.send_signal(signal.SIGKILL)
    assert len(names(tmp_path)) == 1
    with scratch_folder(tmp_path / "wheel") as folder:
        (folder / "a").touch()
        assert folder.name == "wheel"
        assert len(names(tmp_path)) == 1
    assert names(tmp_path) == []


def test_killed_between_the_two_moves_of_a_swap(tmp_path: Path) -> None:
    put(tmp_path / "frames", "old")
    left = tmp_path / ".frames.duckdetect-abcd1234"
    left.mkdir()
    (tmp_path / "frames").replace(left / "replaced")
    (left / "frames").mkdir()
    with atomic_path(tmp_path / "frames") as part:
        assert (tmp_path / "frames" / "a").read_text() == "old"
        part.mkdir()
    assert names(tmp_path) == ["frames"]


def test_what_looks_like_a_leftover_and_is_none_stays(tmp_path: Path) -> None:
    (tmp_path / ".frames.20261128" / "frames").mkdir(parents=True)  # somebody's copy
    (tmp_path / ".frames.duckdetect-old_copy").mkdir()
    (tmp_path / ".frames.duckdetect-old_copy" / "mine.txt").touch()
    (tmp_path / ".frames.duckdetect-filefile").touch()
    (tmp_path / ".frames.duckdetect-linklink").symlink_to(tmp_path)
    before = set(names(tmp_path))
    put(tmp_path / "frames", "new")
    assert set(names(tmp_path)) == {*before, "frames"}
    assert (tmp_path / ".frames.20261128" / "frames").is_dir()


def test_a_name_as_long_as_a_file_system_takes_can_be_written(tmp_path: Path) -> None:
    put(tmp_path / ("é" * 127 + "x"), "whole")
    assert [len(name.encode()) for name in names(tmp_path)] == [255]


def test_the_older_folder_is_put_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "frames", "old")
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if self.name == "frames" and self.parent != tmp_path:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        put(tmp_path / "frames", "new")
    assert (tmp_path / "frames" / "a").read_text() == "old"


def test_the_sum_of_a_folder_passes_over_what_systems_put_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    before = folder_sha256(tmp_path)
    (tmp_path / ".DS_Store").write_text("x")
    assert folder_sha256(tmp_path) == before
    (tmp_path / ".b").write_text("x")
    assert folder_sha256(tmp_path) != before


def test_names_that_are_free() -> None:
    by_stem, whole = FreeNames(by_stem=True), FreeNames(by_stem=False)
    given = [("a", ".jpg"), ("A", ".JPG"), ("a", ".png"), ("a_2", ".jpg"), ("b.c", ".jpg")]
    assert [by_stem.take(*one) for one in given] == [
        "a.jpg", "A_2.JPG", "a_3.png", "a_2_2.jpg", "b.c.jpg",
    ]  # fmt: skip
    assert [whole.take(*one) for one in given] == [
        "a.jpg", "A_2.JPG", "a.png", "a_2_2.jpg", "b.c.jpg",
    ]  # fmt: skip
    many = [whole.take("frame", ".jpg") for _ in range(20_000)]  # one by one: a minute
    assert len(set(many)) == 20_000


def test_names_that_are_too_long_are_cut_and_stay_apart() -> None:
    free = FreeNames(by_stem=False)
    names = [free.take("é" * 130 + f"-{i}", ".jpg") for i in range(3)]
    assert len(set(names)) == 3
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    assert all(name.endswith(".jpg") for name in names)
