"""Zips of labelled pictures: read like folders, unpacked once, and refused when they are not safe."""

from __future__ import annotations

import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled_folders import put_coco, put_image, put_yolo, voc_xml

import duckdetect as dd
from duckdetect.cli import main
from duckdetect.data import loading
from duckdetect.data.loading import find_splits, load_dataset
from duckdetect.errors import UserError
from duckdetect.utils import archives


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def zip_of(folder: Path, path: Path, top: str = "", windows: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = top + file.relative_to(folder).as_posix()
            info = zipfile.ZipInfo(name.replace("/", "\\") if windows else name)
            archive.writestr(info, file.read_bytes())
    return path


def put_voc(folder: Path) -> None:
    put_image(folder / "JPEGImages" / "a.jpg")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text(voc_xml())


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("top", ["", "ducks.v3i/", "one/two/"])
@pytest.mark.parametrize(
    "make",
    [put_coco, put_voc, put_yolo, lambda p: put_coco(p / "train")],
    ids=["coco", "voc", "yolo", "roboflow"],
)
def test_every_format(make: Callable, top: str, windows: bool, tmp_path: Path) -> None:
    make(tmp_path / "in")
    path = zip_of(tmp_path / "in", tmp_path / "export.zip", top, windows)
    found, wanted = dd.load_dataset(path), dd.load_dataset(tmp_path / "in")
    assert found.classes == wanted.classes
    for mine, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine.xyxy, other.xyxy)
        np.testing.assert_array_equal(mine.load(), other.load())
    assert dd.data.check_dataset(path) == []
    assert list(find_splits(path)) == list(find_splits(tmp_path / "in"))


def test_real_people(shared_data: Path, tmp_path: Path) -> None:
    path = zip_of(shared_data / "people", tmp_path / "people")  # the suffix does not matter
    assert [len(dd.load_dataset(path, s)) for s in ("train", "valid", "test")] == [35, 7, 8]
    assert len(dd.load_dataset(path / "test")) == len(dd.load_dataset(path / "test", "test")) == 8
    with pytest.raises(UserError, match="people/other is not there: give a folder"):
        dd.load_dataset(path / "other")
    done = dd.data.convert_dataset(path, "yolo", tmp_path / "yolo")
    assert done.boxes == 165


def test_unpacked_once_and_anew_when_it_changes(tmp_path: Path, cache: Path) -> None:
    path = zip_of(put_coco(tmp_path / "in"), tmp_path / "a b.zip")
    first = dd.load_dataset(path).root
    assert first.parent == cache / "data"
    assert first.name.startswith("a_b-")
    stamp = (first / "a.jpg").stat().st_mtime_ns
    assert dd.load_dataset(path).root == first
    assert (first / "a.jpg").stat().st_mtime_ns == stamp
    path.unlink()
    zip_of(put_coco(tmp_path / "in", []), path)
    assert dd.load_dataset(path).n_boxes == 0
    assert dd.load_dataset(path).root != first


def test_what_macs_and_windows_leave(tmp_path: Path) -> None:
    put_coco(tmp_path / "in" / "ducks")
    for name in ("__MACOSX/ducks/._a.jpg", "ducks/.DS_Store", "ducks/._a.jpg", "README.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"junk")
    path = zip_of(tmp_path / "in", tmp_path / "export.zip")
    assert dd.data.check_dataset(path) == []
    assert sorted(p.name for p in dd.load_dataset(path).root.iterdir()) == [
        "_annotations.coco.json",
        "a.jpg",
    ]


def test_names_as_a_mac_zips_them(tmp_path: Path) -> None:
    """In UTF-8 that is not marked as such, with letters and their accents apart."""
    put_coco(tmp_path / "in", names=["Ente grün.jpg"])
    apart = unicodedata.normalize("NFD", "Ente grün.jpg")
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as archive:
        for path in (tmp_path / "in").iterdir():
            marked = zipfile.ZipInfo(
                "x" * len(apart.encode()) if path.suffix == ".jpg" else path.name
            )
            archive.writestr(marked, path.read_bytes())
    content = (tmp_path / "mac.zip").read_bytes()
    content = content.replace(b"x" * len(apart.encode()), apart.encode())
    (tmp_path / "mac.zip").write_bytes(content)
    (sample,) = dd.load_dataset(tmp_path / "mac.zip")
    assert sample.path.name == apart
    assert len(sample.class_id) == 1


def entry(path: Path, name: str, mode: int = 0) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, b"/etc/passwd")


def locked(path: Path) -> None:
    """Set the flag of encryption in the directory of entries and at the first of them."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[content.index(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(content)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(content)


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for i in range(9):
            archive.writestr(f"{i}.jpg", bytes(32 << 20))


def unknown_method(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 77
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: entry(p, "../evil.jpg"), r"its entry '\.\./evil\.jpg' leads out of the folder"),
        (lambda p: entry(p, "a/../../evil.jpg"), "leads out of the folder: export it again"),
        (lambda p: entry(p, "..\\evil.jpg"), "leads out of the folder"),
        (lambda p: entry(p, "/etc/evil.jpg"), "leads out of the folder"),
        (lambda p: entry(p, "C:\\evil.jpg"), "leads out of the folder"),
        (lambda p: entry(p, "link.jpg", 0o120777), r"its entry 'link\.jpg' is a link"),
        (lambda p: entry(p, "A.JPG/b/a.jpg/../x"), "leads out of the folder"),
        (lambda p: entry(p, ".\\a.jpg"), "is there twice"),
        (lambda p: entry(p, "a.jpg/b"), r"its entry 'a\.jpg/b' lies in a file: export it again"),
        (lambda p: entry(p, "x" * 300), "cannot be unpacked into .*: unpack it by hand"),
        (locked, "is locked by a password: unpack it by hand and give the folder"),
        (flipped, "is damaged or no zip"),
        (unknown_method, "is packed in a way that is not read here"),
        (bomb, r"would grow from 0\.\d MB to 302\.\d MB, as a zip bomb does: if you trust it"),
        (lambda p: p.write_bytes(p.read_bytes()[:-30]), "is damaged or no zip"),
        (lambda p: p.write_bytes(b""), "is damaged or no zip"),
        (lambda p: p.write_bytes(b"PK\x05\x06" + bytes(18)), "holds no files"),
    ],
)
def test_zips_that_are_refused(
    change: Callable[[Path], None], message: str, tmp_path: Path, cache: Path
) -> None:
    path = zip_of(put_coco(tmp_path / "in"), tmp_path / "export.zip")
    change(path)
    with pytest.raises(UserError, match=message) as caught:
        dd.load_dataset(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    (problem,) = dd.data.check_dataset(path)
    assert str(path) in str(problem)
    # Nothing is left, neither in the cache nor outside.
    assert [p.name for p in (cache / "data").iterdir() if not p.name.endswith(".lock")] == []
    assert not list(tmp_path.rglob("evil*"))


def test_a_cache_that_cannot_be_used_is_no_fault_of_the_zip(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_coco(tmp_path / "in")
    path = zip_of(tmp_path / "in", tmp_path / "export.zip")
    cache.write_text("a file")
    assert main(["check", str(path)]) == 2
    told = capsys.readouterr()
    assert "is a file, not a folder: set DUCKDETECT_CACHE to another folder" in told.err
    assert "before training" not in told.err


def test_a_zip_that_is_larger_than_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zip_of(put_coco(tmp_path / "in"), tmp_path / "export.zip")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"needs 0\.\d MB in .*cache/data, 0\.0 MB are free: make"):
        dd.load_dataset(path)


def test_a_zip_of_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_of(put_coco(tmp_path / "in"), tmp_path / "export.zip")
    monkeypatch.setattr(archives, "_MAX_FILES", 1)
    with pytest.raises(UserError, match="holds 2 files: unpack it by hand"):
        dd.load_dataset(path)


def test_no_labels_inside_and_other_files(tmp_path: Path) -> None:
    put_image(tmp_path / "in" / "a.jpg")
    with pytest.raises(UserError, match="holds no labels"):
        dd.load_dataset(zip_of(tmp_path / "in", tmp_path / "export.zip"))
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(UserError, match="is a RAR archive: unpack it and give the folder"):
        dd.load_dataset(tmp_path / "a.rar")


def test_what_is_packed_otherwise_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")
    raw = path.read_bytes()
    # Deflate64, number 9, as Windows packs large folders.
    raw = raw.replace(b"PK\3\4\x14\0\0\0\0\0", b"PK\3\4\x14\0\0\0\x09\0")
    raw = raw.replace(b"PK\1\2\x14\x03\x14\0\0\0\0\0", b"PK\1\2\x14\x03\x14\0\0\0\x09\0")
    path.write_bytes(raw)
    with pytest.raises(
        UserError, match=r"packed in a way that is not read here .*: unpack it by hand"
    ):
        load_dataset(path)
    (tmp_path / "a.crdownload").write_bytes(raw[:50])
    with pytest.raises(UserError, match="is a zip that is not whole: export or download it again"):
        load_dataset(tmp_path / "a.crdownload")
    (tmp_path / "a.rar").write_bytes(b"Rar!\x1a\x07\0")
    with pytest.raises(UserError, match="is a RAR archive: unpack it and give the folder"):
        load_dataset(tmp_path / "a.rar")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("d/" * 2000 + "a.txt", "text")
    with pytest.raises(UserError, match="lies 2001 folders deep"):
        load_dataset(path)


@pytest.mark.parametrize("change", ["label", "picture", "added", "removed"])
def test_what_was_changed_in_the_cache_is_not_read_as_the_zip(
    change: str, cache: Path, tmp_path: Path
) -> None:
    put_coco(tmp_path / "in", names=("a.jpg", "b.jpg"))
    path = zip_of(tmp_path / "in", tmp_path / "export.zip")
    dd.load_dataset(path)
    (folder,) = (entry for entry in (cache / "data").iterdir() if entry.is_dir())
    (folder / ".DS_Store").touch()  # is nobody's edit
    loading._check_unpacked.cache_clear()  # as another process
    dd.load_dataset(path)
    labels = folder / "_annotations.coco.json"
    if change == "label":
        labels.write_text(labels.read_text().replace("duck", "mugs"))
    elif change == "removed":
        (folder / "a.jpg").unlink()
    else:
        put_image(folder / ("a.jpg" if change == "picture" else "c.jpg"), (30, 40))
    loading._check_unpacked.cache_clear()
    with pytest.raises(
        UserError, match=r"was changed since .*export\.zip was unpacked there: give"
    ):
        dd.load_dataset(path)
    shutil.rmtree(folder)
    assert dd.load_dataset(path).classes == ("duck",)
