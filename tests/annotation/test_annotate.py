"""What a session offers to the widgets, and what the next cell is given to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.annotation_helpers import DUCK, FakeDetector, make_images, read

from duckdetect import UserError
from duckdetect.annotation.annotate import annotate, annotated, require_annotations
from duckdetect.annotation.session import Session
from duckdetect.annotation.store import Box


def test_a_session_goes_from_missing_to_done(tmp_path: Path) -> None:
    session = Session(make_images(tmp_path, a=(80, 60), b=(60, 80)), DUCK)
    assert (session.missing, session.done) == (["a.jpg", "b.jpg"], False)
    session.save(0, [Box((1, 2, 30, 40), "duck")])
    assert session.missing == ["b.jpg"]
    assert repr(session) == "1 of 2 pictures are done. Missing: b.jpg."
    session.mark_no_object(1)
    assert (session.done, repr(session)) == (True, "2 of 2 pictures are done.")
    assert [session.status(i) for i in (0, 1)] == ["1 box", "no object"]
    assert [(i["width"], i["height"]) for i in read(tmp_path)["images"]] == [(80, 60), (60, 80)]


def test_taking_the_last_box_away_does_not_mean_no_object(tmp_path: Path) -> None:
    session = Session(make_images(tmp_path, a=(80, 60), b=(60, 80)), DUCK)
    session.save(0, [Box((1, 2, 30, 40), "duck")])
    session.mark_no_object(1)
    session.save(0, [])
    session.save(1, [])
    assert session.missing == ["a.jpg"]


def test_suggestions_are_clipped_and_saved_only_when_saved(tmp_path: Path) -> None:
    detector = FakeDetector()
    session = Session(make_images(tmp_path, a=(80, 60), b=(60, 80)), DUCK, detector)
    session.mark_no_object(1)
    (box,) = session.boxes(0)
    assert box == Box((0, 2, 30, 40), "duck", score=pytest.approx(0.9))
    assert session.boxes(1) == []
    session.boxes(0)
    assert detector.calls == 1
    assert session.missing == ["a.jpg"]
    session.save(0, [box])
    assert session.boxes(0) == [Box((0, 2, 30, 40), "duck", annotation_id=1)]


@pytest.mark.parametrize("classes", ["duck", [], [""], ["a", "a"], [" a"], [3]])
def test_bad_classes_are_refused(tmp_path: Path, classes: Any) -> None:
    with pytest.raises(UserError, match="classes="):
        Session(make_images(tmp_path, a=(80, 60)), classes)


def test_without_images_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pictures"):
        Session(tmp_path, DUCK)
    with pytest.raises(UserError, match="is not there"):
        Session(tmp_path / "none", DUCK)


def test_annotate_outside_a_notebook_says_so(tmp_path: Path) -> None:
    folder = make_images(tmp_path, a=(80, 60))
    with pytest.raises(UserError, match="in a notebook"):
        annotate(folder, DUCK)
    with pytest.raises(UserError, match="'auto', 'colab' or 'jupyter'"):
        annotate(folder, DUCK, widget="vscode")  # type: ignore[arg-type]


# What the next cell trains on


def test_annotated_is_none_until_somebody_has_looked(tmp_path: Path) -> None:
    session = Session(make_images(tmp_path, a=(80, 60), b=(60, 80)), DUCK)
    assert annotated(tmp_path) is None
    session.save(1, [Box((1, 2, 30, 40), "duck")])
    dataset = annotated(tmp_path)
    assert dataset is not None
    assert len(dataset) == 1


def test_own_images_without_boxes_stop_with_one_line(tmp_path: Path) -> None:
    own = make_images(tmp_path / "own", a=(80, 60))
    sample = make_images(tmp_path / "sample", a=(81, 60))
    Session(sample, DUCK).save(0, [Box((1, 2, 30, 40), "duck")])
    with pytest.raises(UserError, match="draw them in the cell above") as error:
        require_annotations(own, sample=sample)
    assert "\n" not in str(error.value)


def test_the_samples_own_boxes_are_used_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copies = make_images(tmp_path / "copies", a=(80, 60), b=(60, 80))
    sample = make_images(tmp_path / "sample", a=(80, 60), b=(60, 80))
    session = Session(sample, DUCK)
    for index in (0, 1):
        session.save(index, [Box((1, 2, 30, 40), "duck")])
    with caplog.at_level("INFO"):
        assert len(require_annotations(copies, sample=sample)) == 2
    assert "the sample's own boxes are used" in caplog.text
    # As soon as one box is drawn, it is the user's boxes that count.
    Session(copies, DUCK).save(0, [Box((1, 2, 30, 40), "duck")])
    caplog.clear()
    with caplog.at_level("INFO"):
        assert len(require_annotations(copies, sample=sample)) == 1
    assert "Left out, since nobody has looked at them yet: b.jpg" in caplog.text


def test_images_that_hold_no_object_alone_are_nothing_to_train_on(tmp_path: Path) -> None:
    Session(make_images(tmp_path, a=(80, 60)), DUCK).mark_no_object(0)
    with pytest.raises(UserError, match="no box is drawn yet"):
        require_annotations(tmp_path)
