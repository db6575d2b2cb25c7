"""The picture that a label names: what is found, what is refused, what is one too many."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.labelled_folders import put_coco, put_image

from duckdetect.data.check import check_dataset
from duckdetect.data.dataset import ReadOptions
from duckdetect.data.loading import load_dataset
from duckdetect.data.names import Finder, MissingError, NamingError, fold, name_forms
from duckdetect.errors import UserError


def test_names_of_nothing_are_looked_for_once_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each missing name looked at each file: 4,000 of them took 43 seconds."""
    n = 200
    for i in range(n):
        (tmp_path / f"renamed_{i}.jpg").touch()
    folded = []
    monkeypatch.setattr(
        "duckdetect.data.names.fold", lambda name: (folded.append(name), fold(name))[1]
    )
    matched = []
    monkeypatch.setattr(
        "duckdetect.data.names._UPLOAD", SimpleNamespace(
            match=lambda name: matched.append(name), sub=lambda *_, **__: ""
        )
    )  # fmt: skip
    finder = Finder(tmp_path)
    for i in range(n):
        with pytest.raises(MissingError, match="is missing"):
            finder.find(f"img_{i}.jpg", [tmp_path])
    assert len(folded) < 20 * n
    assert len(matched) < 3 * n


# What a label says, and what the file is called.
NAMES = [
    ("a.jpg", "a.jpg"),
    ("IMG_1.jpg", "IMG_1.JPG"),
    ("IMG_1.JPG", "img_1.jpg"),
    ("Photo.jpeg", "photo.jpg"),
    (r"C:\ducks\images\a.jpg", "a.jpg"),
    (r"images\a.jpg", "a.jpg"),
    ("/content/drive/MyDrive/ducks/a.jpg", "a.jpg"),
    ("./a.jpg", "a.jpg"),
    ("a.jpg ", "a.jpg"),
    ("a.jpg\r", "a.jpg"),
    ("'a.jpg'", "a.jpg"),
    ("my%20duck%20%281%29.jpg", "my duck (1).jpg"),
    ("my%2520duck.jpg", "my duck.jpg"),
    ("100%.jpg", "100%.jpg"),
    ("a%20b.jpg", "a%20b.jpg"),
    ("https://host/data/upload/1/a%20b.jpg", "a b.jpg"),
    ("https://host/a.jpg?X-Amz-Signature=abc&x=1", "a.jpg"),
    ("https://host/v0/b/x/o/images%2Fa.jpg?alt=media&token=1", "a.jpg"),
    ("s3://bucket/folder/a.jpg", "a.jpg"),
    ("gs://bucket/a.jpg", "a.jpg"),
    ("file:///home/me/a.jpg", "a.jpg"),
    ("data/local-files/?d=ducks/a.jpg", "a.jpg"),
    ("/data/local-files/?d=ducks%2Fa%20b.jpg", "a b.jpg"),
    (unicodedata.normalize("NFC", "ente_ä.jpg"), unicodedata.normalize("NFD", "ente_ä.jpg")),
    (unicodedata.normalize("NFD", "ente_ä.jpg"), unicodedata.normalize("NFC", "ente_ä.jpg")),
    ("ente_%C3%A4.jpg", unicodedata.normalize("NFD", "ente_ä.jpg")),
    ("1a2b3c4d-a.jpg", "a.jpg"),
    ("a.jpg", "1a2b3c4d-a.jpg"),
    ("a", "a.jpg"),
    ("frame.001", "frame.001.jpg"),
    ("cam1/a.jpg", "cam1/a.jpg"),
    ("Cam1/A.jpg", "cam1/a.JPG"),
]


@pytest.mark.parametrize(("named", "called"), NAMES)
def test_the_picture_is_found(tmp_path: Path, named: str, called: str) -> None:
    put_image(tmp_path / "images" / called)
    put_image(tmp_path / "images" / "other.jpg")
    found = Finder(tmp_path).find(named, [tmp_path, tmp_path / "images"])
    assert found == tmp_path / "images" / called


def test_the_longer_path_and_the_exact_name_go_first(tmp_path: Path) -> None:
    for name in ("cam1/a.jpg", "cam2/a.jpg", "a.jpg", "A.jpg"):
        put_image(tmp_path / name)
    finder = Finder(tmp_path)
    assert finder.find("x/cam2/a.jpg", [tmp_path]) == tmp_path / "cam2" / "a.jpg"
    assert finder.find("a.jpg", [tmp_path]) == tmp_path / "a.jpg"


@pytest.mark.parametrize("named", ["a.JPG", "a.Jpg"])
def test_two_candidates_are_an_error_that_names_both(tmp_path: Path, named: str) -> None:
    put_image(tmp_path / "a.jpg")
    put_image(tmp_path / "A.jpg")
    with pytest.raises(NamingError, match=r"may be .*A\.jpg and .*a\.jpg"):
        Finder(tmp_path).find(named, [tmp_path])


def test_equal_folders_are_two_candidates(tmp_path: Path) -> None:
    put_image(tmp_path / "cam1" / "a.jpg")
    put_image(tmp_path / "cam2" / "a.jpg")
    group = [tmp_path / "cam1", tmp_path / "cam2"]
    with pytest.raises(NamingError, match=r"cam1/a\.jpg and .*cam2/a\.jpg"):
        Finder(tmp_path).find("a.jpg", [group])
    assert Finder(tmp_path).find("a.jpg", group) == group[0] / "a.jpg"


@pytest.mark.parametrize("name", ["b.jpg", "x" * 999, "a\0b.jpg", "", "..", "///", "?d=", "%"])
def test_what_is_missing(tmp_path: Path, name: str) -> None:
    put_image(tmp_path / "a.jpg")
    with pytest.raises(MissingError):
        Finder(tmp_path).find(name, [tmp_path])


def test_a_missing_picture_of_another_format_is_named(tmp_path: Path) -> None:
    put_image(tmp_path / "a.png")
    with pytest.raises(MissingError, match=r'"a.jpg" is missing \(a\.png lies there\)'):
        Finder(tmp_path).find("a.jpg", [tmp_path])


def outside(tmp_path: Path, name: str) -> Path:
    put_image(tmp_path / "secret" / "s.jpg")
    put_coco(tmp_path / "data", names=["a.jpg"])
    put_coco(
        tmp_path / "data",
        images=[{"id": 1, "file_name": name.replace("TOP", str(tmp_path))}],
    )
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["../secret/s.jpg", "TOP/secret/s.jpg", "x/../../secret/s.jpg"])
def test_a_path_that_leaves_the_data_set_is_refused(tmp_path: Path, name: str) -> None:
    data = outside(tmp_path, name)
    (data / "x").mkdir()
    with pytest.raises(UserError, match=r"outside the data set: .*--allow-outside .*secret"):
        load_dataset(data)
    assert any("outside the data set" in str(p) for p in check_dataset(data))
    options = ReadOptions(allow_outside=(tmp_path / "secret",))
    assert load_dataset(data, options=options).samples[0].path.name == "s.jpg"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_that_leaves_the_data_set_is_refused(tmp_path: Path, what: str) -> None:
    data = outside(tmp_path, "link/s.jpg" if what == "folder" else "s.jpg")
    if what == "folder":
        (data / "link").symlink_to(tmp_path / "secret")
    else:
        (data / "s.jpg").symlink_to(tmp_path / "secret" / "s.jpg")
    with pytest.raises(UserError, match="lies outside the data set"):
        load_dataset(data)
    options = ReadOptions(allow_outside=(tmp_path / "secret",))
    assert len(load_dataset(data, options=options)) == 1


def test_links_inside_and_a_linked_root_are_good(tmp_path: Path) -> None:
    put_coco(tmp_path / "data", names=["real.jpg"])
    (tmp_path / "data" / "a.jpg").symlink_to(tmp_path / "data" / "real.jpg")
    put_coco(tmp_path / "data", images=[{"id": 1, "file_name": "a.jpg"}], names=[])
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert len(load_dataset(tmp_path / "link")) == 1


def test_names_are_not_looked_for_in_each_of_many_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder for each video: 1,200 pictures in 600 of them took 24 seconds."""
    n = 100
    for i in range(n):
        folder = tmp_path / "images" / f"video_{i}"
        folder.mkdir(parents=True)
        for name in (f"a{i}.jpg", f"b{i}.png"):
            (folder / name).touch()
    asked = []
    listings = {
        name: getattr(Finder, name) for name in ("_folds", "_stems", "_uploads", "_entries")
    }
    for name, listing in listings.items():
        monkeypatch.setattr(
            Finder, name,
            lambda self, folder, listing=listing: (asked.append(folder), listing(self, folder))[1],
        )  # fmt: skip
        getattr(Finder, name).__name__ = name
    finder = Finder(tmp_path)
    places = [tmp_path, sorted((tmp_path / "images").iterdir())]
    for i in range(n):
        video = tmp_path / "images" / f"video_{i}"
        assert finder.find(f"D:\\old\\place\\A{i}.jpg", places) == video / f"a{i}.jpg"
        assert finder.of_stem(f"b{i}", places) == video / f"b{i}.png"
        with pytest.raises(MissingError):
            finder.find(f"gone_{i}.jpg", places)
    assert len(asked) < 60 * n


def test_forms_begin_with_the_name_as_it_is() -> None:
    assert name_forms("a%20b.jpg")[0] == "a%20b.jpg"
    assert fold("Ä.JPG ") == fold("a\u0308.jpg")
