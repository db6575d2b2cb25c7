"""A command replaces only what an earlier run of it wrote."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from duckdetect.errors import UserError
from duckdetect.utils.outputs import MANIFEST, check_outputs, own_output, unfinished_output


def put_folder(target: Path, verb: str = "detect", **files: str) -> None:
    with own_output(target, verb) as part:
        part.mkdir()
        for name, text in files.items():
            (part / name).write_text(text)


def put_file(target: Path, text: str, verb: str = "detect") -> None:
    with own_output(target, verb) as part:
        part.write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def test_a_run_replaces_what_the_run_before_it_wrote(tmp_path: Path) -> None:
    for text in ("1", "2", "3"):
        put_folder(tmp_path / "frames", a=text, b=text)
        put_file(tmp_path / "detections.json", text)
    assert content(tmp_path) == {"frames/a": "3", "frames/b": "3", "detections.json": "3"}
    (tmp_path / "frames" / "a").unlink()  # what is gone is nobody's loss
    put_folder(tmp_path / "frames", c="4")
    assert content(tmp_path / "frames") == {"c": "4"}
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["c"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda p: (p / "frames" / "mine").write_text("x"), "frames/mine was not written by an"),
        (lambda p: (p / "frames" / "a").write_text("x"), "frames/a was changed since"),
        (lambda p: (p / "frames" / "sub").mkdir() or (p / "frames/sub/x").touch(), "sub/x was not"),
        (lambda p: (p / "frames" / "l").symlink_to(p), "frames/l is a link"),
        (lambda p: (p / MANIFEST).unlink(), "frames/a was not written"),
        (lambda p: (p / MANIFEST).write_text('{"format": 3}'), "frames/a was not"),
        (lambda p: (p / MANIFEST).write_text("[" * 99999), "frames/a was not"),
        (lambda p: (p / MANIFEST).write_bytes(b"\xff"), "frames/a was not written"),
    ],
)
def test_a_foreign_or_changed_file_is_kept(tmp_path: Path, harm: object, said: str) -> None:
    put_folder(tmp_path / "frames", a="1")
    harm(tmp_path)  # type: ignore[operator]
    before = content(tmp_path)
    with pytest.raises(UserError, match=said):
        put_folder(tmp_path / "frames", a="2")
    assert content(tmp_path) == before
    assert not list(tmp_path.glob(".frames*"))


def test_what_a_system_puts_there_goes_with_the_folder(tmp_path: Path) -> None:
    """A look at the frames on a Mac or in Windows would end the next run."""
    put_folder(tmp_path / "frames", a="1")
    for name in (".DS_Store", "desktop.ini", "._a", "Thumbs.db"):
        (tmp_path / "frames" / name).write_text("of the system")
    put_folder(tmp_path / "frames", a="2")
    assert content(tmp_path) == {"frames/a": "2"}


def test_files_of_another_command_or_of_nobody_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("a picture")
    with pytest.raises(UserError, match=r"a\.jpg was not written by an earlier `duckdetect check`"):
        put_file(tmp_path / "a.jpg", "sheet", "check")
    put_file(tmp_path / "b.json", "1", "split")
    with pytest.raises(UserError, match="written by `duckdetect split`, not by `eval`"):
        put_file(tmp_path / "b.json", "2", "eval")
    (tmp_path / "b.json").write_text("edited")
    with pytest.raises(UserError, match="changed since `duckdetect split` wrote it"):
        put_file(tmp_path / "b.json", "2", "split")
    (tmp_path / "c.json").symlink_to(tmp_path / "nothing")
    with pytest.raises(UserError, match="is a link"):
        put_file(tmp_path / "c.json", "2", "split")
    assert content(tmp_path) == {"a.jpg": "a picture", "b.json": "edited"}


@pytest.mark.parametrize(("name", "is_own"), [("clip.partial.mp4", True), ("labels.json", False)])
def test_only_a_video_under_work_is_own_without_a_sum(
    tmp_path: Path, name: str, is_own: bool
) -> None:
    target = tmp_path / name
    killed = unfinished_output(target, "detect")
    killed.__enter__()
    target.write_text("half")
    with contextlib.nullcontext() if is_own else pytest.raises(UserError, match="was changed"):
        check_outputs([target], "detect")


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    put_folder(tmp_path / "frames", a="1")
    (tmp_path / "x").mkdir()
    for source in (
        tmp_path / "frames",
        tmp_path / "frames" / "a",
        tmp_path / "x" / ".." / "frames",
    ):
        with pytest.raises(UserError, match="is read from there: choose another output"):
            check_outputs([tmp_path / "frames"], "detect", [source])
    os.link(tmp_path / "frames" / "a", tmp_path / "hard")
    with pytest.raises(UserError, match="is read from there"):
        check_outputs([tmp_path / "frames" / "a"], "detect", [tmp_path / "hard"])
    check_outputs([tmp_path / "frames"], "detect", [tmp_path, tmp_path / "hard"])


def test_a_run_that_was_killed_before_or_after_the_swap_finds_its_own(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    put_file(target, "1")
    with contextlib.suppress(KeyboardInterrupt), own_output(target, "detect") as part:
        part.write_text("2")
        raise KeyboardInterrupt
    put_file(target, "3")
    target.write_text("1")  # as if killed between the note and the swap
    put_file(target, "4")
    target.write_text("2")  # this one was never there
    with pytest.raises(UserError, match="was changed since"):
        check_outputs([target], "detect")


def test_what_was_written_later_into_an_own_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with own_output(out, "suggest") as part:
        part.mkdir()
        (part / "a.json").write_text("{}")
    with own_output(out / "sheet.jpg", "suggest") as part:
        part.write_text("sheet")
    check_outputs([out], "suggest")
    (out / "sheet.jpg").write_text("edited")
    with pytest.raises(UserError, match=r"sheet\.jpg was changed since"):
        check_outputs([out], "suggest")
    (out / "sheet.jpg").unlink()
    with own_output(out / "other.jpg", "check") as part:
        part.write_text("sheet")
    with pytest.raises(UserError, match=r"other\.jpg was written by `duckdetect check`"):
        check_outputs([out], "suggest")


@pytest.mark.parametrize("name", ["frames", "variables/frames"])
def test_nothing_is_written_into_a_detector(tmp_path: Path, name: str) -> None:
    (tmp_path / "detector" / "variables").mkdir(parents=True)
    (tmp_path / "detector" / "saved_model.pb").write_text("")
    with pytest.raises(UserError, match="would lie inside the detector"):
        check_outputs([tmp_path / "detector" / name], "detect")
    check_outputs([tmp_path / "frames"], "detect")


def test_what_another_process_wrote_meanwhile_is_not_replaced(tmp_path):
    def write(then=None):
        with own_output(tmp_path / "out", "convert", new=True) as part:
            part.mkdir()
            (part / "a.txt").write_text("second" if then else "first")
            if then:
                then()

    with pytest.raises(UserError, match="another process has written"):
        write(then=write)
    assert (tmp_path / "out" / "a.txt").read_text() == "first"
