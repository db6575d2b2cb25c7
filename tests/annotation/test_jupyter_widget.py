"""Jupyter's widget, the Python side: what it saves when the page sends it boxes and buttons.

tests/test_widgets_browser.py has the page itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.annotation_helpers import DUCK, FakeDetector, make_images, read, roboflow

from duckdetect.annotation.session import Session
from duckdetect.annotation.store import FILE_NAME, Box

pytest.importorskip("anywidget", reason="anywidget is not installed")

from duckdetect.annotation.jupyter_widget import JupyterWidget

# Colab's ipywidgets 7.7.1 still asks traitlets in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:Deprecated in traitlets 4.1:DeprecationWarning")


def open_widget(folder: Path, classes: list[str] = DUCK, **more: Any) -> tuple[Session, Any]:
    session = Session(folder, classes, **more)
    widget = JupyterWidget(session)
    widget.turn_to(0)
    return session, widget


def draw(widget: Any, *xyxy: float, label: str = "duck") -> dict[str, Any]:
    """A new box as the page sends it, given in the picture's pixels."""
    x1, y1, x2, y2 = widget._shown.to_canvas(xyxy)
    box = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "label": label}
    widget.canvas.bboxes = [*widget.canvas.bboxes, box]
    return box


def press(widget: Any, button: str, *values: str) -> None:
    widget.canvas._handle_custom_msg({"type": button.lower(), "values": values}, [])


def test_each_change_is_saved(tmp_path: Path) -> None:
    session, widget = open_widget(make_images(tmp_path, a=(80, 60), b=(60, 80)), ["duck", "car"])
    draw(widget, 10, 20, 40, 50)
    assert session.boxes(0)[0].xyxy == pytest.approx((10, 20, 40, 50), abs=0.01)
    draw(widget, 50, 20, 60, 50, label="car")
    assert [box.class_name for box in session.boxes(0)] == ["duck", "car"]
    widget.canvas.bboxes = widget.canvas.bboxes[1:]
    assert [box.class_name for box in session.boxes(0)] == ["car"]
    widget.canvas.bboxes = []
    assert session.missing == ["a.jpg", "b.jpg"]
    assert "no box yet" in widget.canvas.head


def test_a_click_or_a_box_just_begun_is_nothing(tmp_path: Path) -> None:
    session, widget = open_widget(make_images(tmp_path, a=(80, 60), b=(60, 80)))
    session.mark_no_object(1)
    draw(widget, 10, 20, 10, 20)
    assert session.missing == ["a.jpg"]
    press(widget, "Next")
    assert widget.index == 1
    assert session.missing == ["a.jpg"]  # going on is no answer
    draw(widget, 10, 20, 10, 20)
    assert session.status(1) == "no object"


def test_changes_are_not_sent_back_to_the_page(tmp_path: Path) -> None:
    # Where they were, quick drags on a busy machine came out without a size.
    _, widget = open_widget(make_images(tmp_path, a=(80, 60)))
    assert widget.canvas.trait_metadata("bboxes", "echo_update") is False
    assert widget.canvas.trait_metadata("bboxes", "sync") is True


def test_the_way_through_the_images(tmp_path: Path) -> None:
    session, widget = open_widget(make_images(tmp_path, a=(80, 60), b=(60, 80), c=(9, 9)))
    draw(widget, 10, 20, 40, 50)
    press(widget, "Next")
    assert widget.index == 1
    assert "2 of 3: b.jpg (no box yet). 1 of 3 pictures are done." in widget.canvas.head
    press(widget, "Skip")
    assert (widget.index, session.missing) == (2, ["b.jpg", "c.jpg"])
    press(widget, "No object")
    assert (widget.index, session.missing) == (1, ["b.jpg"])
    press(widget, "Previous")
    assert widget.index == 0
    assert len(widget.canvas.bboxes) == 1
    press(widget, "Next")
    press(widget, "No object")
    press(widget, "Skip")
    assert session.done
    assert widget.canvas.tone == "done"
    assert "All pictures are done. Next: run the cells below" in widget.canvas.note


def test_turning_pages_changes_no_box_and_no_key(tmp_path: Path) -> None:
    make_images(tmp_path, a=(80, 60), b=(61, 83))
    before = roboflow(tmp_path)
    before["images"][1].update(width=61, height=83)
    (tmp_path / FILE_NAME).write_text(json.dumps(before))
    _, widget = open_widget(tmp_path)
    for button in ("Next", "Next", "Skip", "Previous", "Next"):
        # As the page sends them back: through JSON, untouched, and with a click's box.
        click = {"x": 5, "y": 5, "width": 0, "height": 0, "label": "duck"}
        widget.canvas.bboxes = [*json.loads(json.dumps(widget.canvas.bboxes)), click]
        press(widget, button)
    assert read(tmp_path) == before


def test_a_box_that_was_moved_keeps_its_id(tmp_path: Path) -> None:
    make_images(tmp_path, a=(80, 60))
    roboflow(tmp_path)
    session, widget = open_widget(tmp_path)
    (box,) = widget.canvas.bboxes
    scale = widget._shown.area_hw[1] / 80
    widget.canvas.bboxes = [{**box, "x": box["x"] + 8 * scale}]
    (moved,) = session.boxes(0)
    assert moved.annotation_id == 0
    assert moved.xyxy == pytest.approx((9.5, 2, 19.5, 22), abs=0.01)
    assert [a["by"] for a in read(tmp_path)["annotations"] if a["id"] == 0] == ["ann"]


def test_suggestions_are_saved_when_submitted_or_changed(tmp_path: Path) -> None:
    folder = make_images(tmp_path, a=(80, 60), b=(80, 60), c=(80, 60))
    session, widget = open_widget(folder, suggest=FakeDetector())
    # The page shows those from the slider's score up, dashed and with their scores.
    assert [round(box["score"], 1) for box in widget.canvas.bboxes] == [0.9, 0.1]
    assert widget.canvas.least == 0.3
    press(widget, "Skip")
    assert session.missing == ["a.jpg", "b.jpg", "c.jpg"]
    press(widget, "Next")
    assert session.missing == ["a.jpg", "c.jpg"]
    assert [a["score"] for a in read(tmp_path)["annotations"]] == [0.9]
    draw(widget, 50, 10, 70, 30)
    assert session.missing == ["a.jpg"]
    assert len(session.boxes(2)) == 1
    assert "1 more suggested box is not yet" in widget.canvas.note
    press(widget, "Next")
    assert len(session.boxes(2)) == 2
    assert session.boxes(1)[0].xyxy == pytest.approx((0, 2, 30, 40), abs=0.01)


def test_the_slider_says_which_suggestions_are_saved(tmp_path: Path) -> None:
    folder = make_images(tmp_path, a=(80, 60), b=(80, 60))
    session, widget = open_widget(folder, suggest=FakeDetector())
    widget.canvas.least = 0.95
    press(widget, "Next")
    assert session.missing == ["a.jpg", "b.jpg"]
    widget.canvas.least = 0.05
    press(widget, "Next")
    assert len(read(tmp_path)["annotations"]) == 2
    # A suggestion that was moved is a drawn box.
    widget.turn_to(0)
    first, second = widget.canvas.bboxes
    widget.canvas.bboxes = [{**first, "x": first["x"] + 9, "score": None}, second]
    assert [a.get("score") for a in read(tmp_path)["annotations"][2:]] == [None]
    press(widget, "Next")
    assert [a.get("score") for a in read(tmp_path)["annotations"][2:]] == [None, 0.1]
    # What was accepted is suggested no more, and keeps its score.
    widget.turn_to(0)
    assert [box["score"] for box in widget.canvas.bboxes] == [None, None]
    draw(widget, 50, 10, 70, 30)
    assert [a.get("score") for a in read(tmp_path)["annotations"][2:]] == [None, 0.1, None]


def test_taking_a_suggestion_away_is_no_answer_yet(tmp_path: Path) -> None:
    session, widget = open_widget(make_images(tmp_path, a=(80, 60)), suggest=FakeDetector())
    widget.canvas.bboxes = []
    press(widget, "Next")
    assert session.missing == ["a.jpg"]
    press(widget, "No object")
    assert session.done
    assert widget.canvas.bboxes == []


def test_a_broken_file_is_told_on_the_screen(tmp_path: Path) -> None:
    session, widget = open_widget(make_images(tmp_path, a=(80, 60)))
    session.save(0, [Box((1, 2, 30, 40), "duck")])
    (tmp_path / FILE_NAME).write_text("{")
    draw(widget, 10, 20, 40, 50)
    assert "NOT SAVED" in widget.canvas.note
    assert (tmp_path / FILE_NAME).read_text() == "{"


def test_a_damaged_image_can_be_skipped(tmp_path: Path) -> None:
    folder = make_images(tmp_path, a=(80, 60), c=(80, 60))
    (folder / "b.jpg").write_bytes(b"no picture")
    session, widget = open_widget(folder)
    press(widget, "Skip")
    assert "b.jpg is not a picture" in widget.canvas.note
    draw(widget, 10, 20, 40, 50)
    assert "NOT SAVED" in widget.canvas.note
    press(widget, "Skip")
    assert widget.index == 2
    draw(widget, 10, 20, 40, 50)
    assert session.missing == ["a.jpg", "b.jpg"]


def test_the_last_images_boxes_are_copied_to_their_places(tmp_path: Path) -> None:
    session, widget = open_widget(make_images(tmp_path, a=(80, 60), b=(160, 120)))
    assert not widget.canvas.can_copy
    draw(widget, 10, 20, 40, 50)
    press(widget, "Next")
    assert widget.canvas.can_copy
    press(widget, "Copy")
    (copied,) = session.boxes(1)
    assert copied.xyxy == pytest.approx((20, 40, 80, 100), abs=0.1)
    assert len(session.boxes(0)) == 1


def test_boxes_of_other_classes_are_seen_and_can_be_renamed(tmp_path: Path) -> None:
    folder = make_images(tmp_path, a=(80, 60), b=(80, 60))
    wrong, widget = open_widget(folder, ["kangoroo"])
    draw(widget, 10, 20, 40, 50, label="kangoroo")
    press(widget, "Next")
    draw(widget, 10, 20, 40, 50, label="kangoroo")
    session, widget = open_widget(folder, ["kangaroo"])
    assert session.missing == ["a.jpg", "b.jpg"]
    assert "no box yet; 1 box of other classes" in widget.canvas.head
    assert widget.canvas.renames == [["kangoroo", "kangaroo"]]
    with_grey = widget.canvas.image_bytes
    press(widget, "Rename", "kangoroo", "kangaroo")
    assert session.done
    assert wrong.boxes(0) == []
    assert [box.class_name for box in session.boxes(0)] == ["kangaroo"]
    assert widget.canvas.renames == []
    assert "kangoroo is renamed to kangaroo (2 boxes)." in widget.canvas.note
    assert widget.canvas.image_bytes != with_grey
