"""Corrections: read as they were written, refused by name, and added to what is known of a picture."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.labelled_folders import put_image
from PIL import Image

from duckdetect import UserError
from duckdetect.data import corrections
from duckdetect.data.augment import PlainViews, augmented_views, corners
from duckdetect.data.corrections import (
    FORMAT,
    is_corrections,
    read_corrections,
    with_corrections,
    write_corrections,
)
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import data_sha256, load_dataset

outlines_of = corrections._outlines
CLASSES = ("duck", "hen")
WRONG = [60, 20, 30, 20]  # x, y, width, height


@pytest.fixture
def folder(tmp_path):
    for name, color in (("a.png", "black"), ("b.png", "grey")):
        Image.new("RGB", (160, 100), color).save(tmp_path / name)
    return tmp_path


def write(folder, *pictures, **changes):
    path = folder / "corrections.json"
    path.write_text(json.dumps({"format": FORMAT, "pictures": pictures, **changes}))
    return path


def read(folder, *pictures, **changes):
    return read_corrections(write(folder, *pictures, **changes), CLASSES)


def test_a_file_says_what_somebody_saw_and_is_written_as_it_was_read(folder):
    found = read(
        folder,
        {"file": "a.png", "whole": True, "objects": [{"class": "hen", "bbox": [1, 2, 30, 40]}]},
        {"file": "b.png", "wrong": [{"bbox": WRONG}], "objects": []},
    )
    whole, part = found.samples
    assert (whole.whole, part.whole) == (True, False)
    np.testing.assert_allclose(whole.xyxy, [[1, 2, 31, 42]])
    assert whole.class_id.tolist() == [1]
    np.testing.assert_allclose(part.hard_negatives, [[60, 20, 90, 40]])
    assert not len(part.xyxy)

    elsewhere = folder / "runs" / "duck" / "corrections.json"
    elsewhere.parent.mkdir(parents=True)
    write_corrections(elsewhere, found)
    assert is_corrections(elsewhere)
    assert json.loads(elsewhere.read_text())["pictures"][1]["file"] == "../../b.png"
    again = read_corrections(elsewhere, CLASSES)
    assert data_sha256(again) == data_sha256(found)
    assert data_sha256(again) != data_sha256(
        replace(again, samples=tuple(replace(s, whole=True) for s in again.samples))
    )


def test_outlines_and_crowds_are_kept_and_added_to(folder):
    polygon = [[1.0, 2.0, 30.0, 2.0, 30.0, 40.0]]
    hen = {"class": "hen", "bbox": [1, 2, 30, 40], "segmentation": polygon}
    crowd = {"class": "duck", "bbox": [100, 5, 50, 50], "crowd": True}
    found = read(folder, {"file": "a.png", "whole": True, "objects": [hen, crowd]})
    assert found.samples[0].segmentation == (polygon, None)
    assert found.samples[0].crowd.tolist() == [False, True]
    write_corrections(folder / "again.json", found)
    (again,) = read_corrections(folder / "again.json", CLASSES).samples
    assert again.segmentation == (polygon, None)
    assert again.crowd.tolist() == [False, True]
    # Onto a picture without outlines comes one that has one.
    plain = replace(found.samples[0], segmentation=None)
    other = {"class": "hen", "bbox": [60, 50, 30, 40], "segmentation": polygon}
    more = read(folder, {"file": "a.png", "objects": [other]})
    (both,) = with_corrections(replace(found, samples=(plain,)), more).samples
    assert both.segmentation == (None, None, polygon)
    assert both.crowd.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("picture", "named"),
    [
        ({"file": "c.png", "whole": True}, r"c\.png"),
        ({"file": "a.png"}, "says nothing of its picture"),
        (
            {"file": "a.png", "objects": [{"class": "duck", "bbox": [0.1, 0.2, 0.3, 0.4]}]},
            "its boxes are normalised, and should be in pixels",
        ),
        ({"file": "a.png", "missed": []}, "'missed' is not known there"),
        ({"file": "a.png", "whole": 1}, "whole is 1, not true or false"),
        ({"file": "a.png", "objects": [{"class": "cow", "bbox": WRONG}]}, "no 'cow': give one of duck"),
        ({"file": "a.png", "objects": [{"bbox": WRONG}]}, "it has no class"),
        ({"file": "a.png", "wrong": [{"bbox": [1, 2, 3]}]}, "not 4 numbers"),
        ({"file": "a.png", "wrong": [{"bbox": [150, 2, 90, 3]}]}, "reaches beyond the picture"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(folder, picture, named):
    with pytest.raises(UserError, match=named):
        read(folder, picture)


def test_a_file_of_something_else_is_refused(folder):
    with pytest.raises(UserError, match="its format is not"):
        read(folder, {"file": "a.png", "whole": True}, format="duckdetect corrections 9")
    assert not is_corrections(folder / "a.png")
    labels = folder / "labels.json"
    labels.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert not is_corrections(labels)


@pytest.mark.parametrize("outline", [[[1, 2, 3]], "x", {"counts": "zz", "size": [3, 3]}])
def test_an_outline_that_cannot_be_read_is_told(folder, outline):
    hen = {"class": "hen", "bbox": [1, 2, 30, 40], "segmentation": outline}
    with pytest.raises(UserError, match="the outline of object 1 cannot be read"):
        read(folder, {"file": "a.png", "objects": [hen]})


def test_a_box_of_another_class_is_not_wrong_where_the_object_is(folder):
    """A detection of the wrong class: handed back, and labelled as what it is."""
    hen = {"class": "hen", "bbox": WRONG}
    (found,) = read(folder, {"file": "a.png", "objects": [hen], "wrong": [{"bbox": WRONG}]}).samples
    assert not len(found.hard_negatives)
    whole = {"file": "a.png", "whole": True, "objects": [hen]}
    with pytest.raises(UserError, match=r"a\.png is there twice as a whole picture"):
        read(folder, whole, {**whole, "objects": []})
    with pytest.raises(UserError, match="'picture' is not known there, only format, pictures"):
        read(folder, whole, picture=[])


def test_what_is_said_later_is_added_and_wins(folder):
    first = read(folder, {"file": "a.png", "wrong": [{"bbox": WRONG}]})
    second = read(
        folder,
        {"file": "a.png", "objects": [{"class": "duck", "bbox": WRONG}]},
        {"file": "b.png", "whole": True},
    )
    both = with_corrections(first, second)
    assert [s.path.name for s in both.samples] == ["a.png", "b.png"]
    assert not len(both.samples[0].hard_negatives)  # it was an object after all
    assert not both.samples[0].whole
    undone = with_corrections(both, first).samples[0]
    assert not len(undone.xyxy)
    np.testing.assert_allclose(undone.hard_negatives, [[60, 20, 90, 40]])
    # Of a labelled picture the labels stay, and it stays whole.
    labelled = replace(second, samples=(replace(second.samples[0], whole=True),))
    other = read(folder, {"file": "a.png", "wrong": [{"bbox": [0, 0, 9, 9]}]})
    merged = with_corrections(labelled, other).samples[0]
    assert merged.whole
    assert len(merged.xyxy) == len(merged.hard_negatives) == 1


def test_many_rows_of_one_picture_are_read_in_seconds(folder, monkeypatch):
    rows = [
        {
            "file": "a.png",
            "objects": [
                {"class": "hen", "bbox": [x, y, 1, 1], "segmentation": [[x, y, x + 1, y, x, y + 1]]}
            ],
        }
        for x in range(50)
        for y in range(40)
    ]
    asked = []
    monkeypatch.setattr(
        corrections, "_outlines", lambda sample: asked.append(sample) or outlines_of(sample)
    )
    (one,) = read(folder, *rows).samples  # 2,000 rows
    assert len(one.xyxy) == len(one.segmentation) == 2000
    assert len(asked) < 5 * len(rows)  # once, it was asked again for every box of every row


def test_a_copy_of_a_picture_is_that_picture(folder):
    shutil.copy(folder / "a.png", folder / "copy.png")
    duck, hen = ({"class": c, "bbox": b} for c, b in (("duck", WRONG), ("hen", [0, 0, 9, 9])))
    said = read(
        folder, {"file": "a.png", "objects": [duck]}, {"file": "copy.png", "objects": [duck, hen]}
    )
    assert [s.path.name for s in said.samples] == ["a.png", "copy.png"]  # as it was written
    (one,) = with_corrections(replace(said, samples=()), said).samples
    assert one.path.name == "a.png"
    assert one.class_id.tolist() == [0, 1]
    whole = {"whole": True, "objects": [duck]}
    pictures = read(folder, {"file": "a.png", **whole}, {"file": "b.png", **whole})
    both = with_corrections(pictures, read(folder, {"file": "copy.png", "objects": [hen]}))
    assert [s.class_id.tolist() for s in both.samples] == [[0, 1], [0]]


def test_hard_negatives_go_along_with_their_views(folder):
    image = np.zeros((100, 160, 3), np.uint8)
    image[20:40, 60:90] = 255
    Image.fromarray(image).save(folder / "b.png")
    plain = PlainViews(read(folder, {"file": "b.png", "wrong": [{"bbox": WRONG}]}).samples)
    turned = augmented_views(plain, 6, 1, rotate=True)
    views = [*augmented_views(plain, 6, 0), *turned, *corners(plain, 0.5)]
    assert len(views) == 12 + 4
    for view in views:
        assert not view.whole
        ((x1, y1, x2, y2),) = view.hard_negatives.round().astype(int)
        inside = view.image[y1:y2, x1:x2].mean()
        assert inside > view.image.mean() + 60


def test_labelled_pictures_are_whole(project_data):
    ducks = load_dataset(project_data / "ducks", "train")
    assert all(s.whole and not len(s.hard_negatives) for s in ducks.samples)
    assert isinstance(with_corrections(ducks, ducks), Dataset)
    assert len(with_corrections(ducks, ducks)) == len(ducks)


def test_copies_among_files_of_one_size_are_found_by_one_look_at_each(tmp_path, monkeypatch):
    """Files without compression are all of one size; each with each is too much of thousands."""
    read = []
    summed = corrections.file_sha256
    monkeypatch.setattr(
        corrections, "file_sha256", lambda path: (read.append(path), summed(path))[1]
    )
    for folder, shades in (("old", range(20)), ("new", range(19, 40))):
        (tmp_path / folder).mkdir()
        for shade in shades:
            Image.new("RGB", (16, 10), (shade, 0, 0)).save(tmp_path / folder / f"{shade}.bmp")

    def labelled(folder):
        rows = [
            {"file": path.name, "whole": True} for path in sorted((tmp_path / folder).iterdir())
        ]
        return read_corrections(write(tmp_path / folder, *rows), CLASSES)

    both = with_corrections(labelled("old"), labelled("new"))
    assert len(both) == 40
    assert sum(sample.path.name == "19.bmp" for sample in both) == 1
    assert len(read) == 41


def test_a_picture_that_took_anothers_place_is_told(tmp_path):
    picture = put_image(tmp_path / "a.jpg")
    path = tmp_path / "corrections.json"
    said = {"file": "a.jpg", "wrong": [{"bbox": [1, 2, 30, 20]}]}
    path.write_text(json.dumps({"format": FORMAT, "pictures": [said]}))
    write_corrections(path, read_corrections(path, ("duck",)))
    before = picture.read_bytes()
    picture.write_bytes(put_image(tmp_path / "b.jpg", size_hw=(60, 90)).read_bytes())
    with pytest.raises(
        UserError, match=r"\"a\.jpg\" is another one than was corrected: put it back"
    ):
        read_corrections(path, ("duck",))
    picture.write_bytes(before)
    assert len(read_corrections(path, ("duck",))) == 1
