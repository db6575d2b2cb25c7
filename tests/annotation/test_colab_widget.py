"""Colab's widget, the Python side: what is saved of what the script sends.

tests/test_widgets_browser.py has the script in a browser.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.annotation_helpers import DUCK, FakeDetector, make_images, read, roboflow
from helpers.browser.colab_standin import Colab

from duckdetect import UserError
from duckdetect.annotation import annotate as annotate_module
from duckdetect.annotation.annotate import annotate
from duckdetect.annotation.canvas import CanvasTransform
from duckdetect.annotation.colab_widget import ColabWidget, place
from duckdetect.annotation.session import Session
from duckdetect.annotation.store import FILE_NAME


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> Colab:
    pytest.importorskip("object_detection", reason="the Object Detection API is not installed")
    pytest.importorskip("IPython", reason="IPython is not installed")
    return Colab(monkeypatch)


def rectangle(shown: CanvasTransform, *xyxy: float) -> dict[str, float]:
    """A box as the script sends it."""
    height, width = shown.canvas_hw
    x1, y1, x2, y2 = shown.to_canvas(xyxy)
    size = {"w": (x2 - x1) / width, "h": (y2 - y1) / height}
    return {"x": x1 / width, "y": y1 / height, **size}


def send(colab: Colab, images: list[Any], seen: Any, none: Any = (), submitted: Any = True) -> str:
    (name,) = colab.callbacks
    state = {"seen": list(seen), "none": list(none), "submitted": submitted}
    return colab.invoke(name, [images, state], {})["data"]["application/json"]["message"]


def test_colabs_callback_saves_pixels(colab: Colab, tmp_path: Path) -> None:
    session = Session(make_images(tmp_path, a=(80, 60), b=(60, 80), c=(9, 9)), DUCK)
    ColabWidget(session).show()
    assert len(colab.scripts) == 2
    box = rectangle(place((60, 80)), 10, 20, 40, 50)
    nothing = {"x": None, "y": None, "w": None, "h": None}
    message = send(colab, [[nothing, box, dict(box)], [], []], seen=[0, 1])
    assert message == "Saved. 1 of 3 pictures are done."
    (saved,) = session.boxes(0)
    assert saved.xyxy == pytest.approx((10, 20, 40, 50), abs=0.01)
    assert session.missing == ["b.jpg", "c.jpg"]
    send(colab, [[box], [], []], seen=[0, 1], none=[1])
    assert session.missing == ["c.jpg"]
    # A box that was taken away again is gone from the file.
    send(colab, [[], [], []], seen=[0, 1], none=[1])
    assert session.missing == ["a.jpg", "c.jpg"]


def test_colabs_widget_keeps_what_nobody_touched(colab: Colab, tmp_path: Path) -> None:
    make_images(tmp_path, a=(80, 60), b=(80, 60))
    before = roboflow(tmp_path)
    session = Session(tmp_path, DUCK)
    ColabWidget(session).show()
    back = [[rectangle(place((60, 80)), *session.boxes(i)[0].xyxy)] for i in (0, 1)]
    send(colab, back, seen=[0, 1])
    assert read(tmp_path) == before
    send(colab, [[*back[0], rectangle(place((60, 80)), 50, 10, 70, 30)], back[1]], seen=[0])
    after = {a["id"]: a for a in read(tmp_path)["annotations"]}
    assert all(after[a["id"]] == a for a in before["annotations"])
    assert after[7]["bbox"] == pytest.approx([50, 10, 20, 20], abs=0.02)
    # Back to the state it began with: that is a change of the file, too.
    send(colab, back, seen=[0])
    assert len(read(tmp_path)["annotations"]) == len(before["annotations"])


def test_colabs_widget_asks_one_class_after_the_other(colab: Colab, tmp_path: Path) -> None:
    session = Session(make_images(tmp_path, a=(80, 60), b=(80, 60)), ["duck", "car"])
    ColabWidget(session).show()
    shown = place((60, 80))
    duck, car = rectangle(shown, 1, 2, 30, 40), rectangle(shown, 40, 30, 70, 50)
    send(colab, [[duck], [], [], []], seen=[0, 1], none=[1])
    # Nobody has been asked yet whether there is a car in b.
    assert session.missing == ["b.jpg"]
    send(colab, [[duck], [], [car], []], seen=[0, 1, 2, 3], none=[1, 3])
    assert session.done
    assert [box.class_name for box in session.boxes(0)] == ["duck", "car"]
    assert session.boxes(1) == []


def test_colabs_widget_saves_suggestions_once_submitted(colab: Colab, tmp_path: Path) -> None:
    session = Session(make_images(tmp_path, a=(80, 60), b=(80, 60)), DUCK, FakeDetector())
    ColabWidget(session).show()
    suggested = rectangle(place((60, 80)), *session.boxes(0)[0].xyxy)
    send(colab, [[suggested], [suggested]], seen=[0, 1], submitted=False)
    assert session.missing == ["a.jpg", "b.jpg"]
    send(colab, [[suggested], [suggested]], seen=[0])
    assert session.missing == ["b.jpg"]


def test_colabs_page_is_told_of_a_broken_file(colab: Colab, tmp_path: Path) -> None:
    session = Session(make_images(tmp_path, a=(80, 60)), DUCK)
    ColabWidget(session).show()
    (tmp_path / FILE_NAME).write_text("{")
    message = send(colab, [[rectangle(place((60, 80)), 1, 2, 30, 40)]], seen=[0])
    assert message.startswith("NOT SAVED: ")
    assert "is not a COCO file" in message


def test_another_script_than_the_known_one_is_refused(colab: Colab) -> None:
    from duckdetect.annotation.colab_widget import patch_script

    with pytest.raises(UserError, match="widget='jupyter'"):
        patch_script("async function load_image(imgs, callbackId) {}", [])


# Colab's ipywidgets 7.7.1 still asks traitlets in the old way.
@pytest.mark.filterwarnings("ignore:Deprecated in traitlets 4.1:DeprecationWarning")
def test_annotate_chooses_the_widget(
    colab: Colab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    folder = make_images(tmp_path, a=(80, 60))
    monkeypatch.setattr(annotate_module, "_in_notebook", lambda: True)
    assert annotate(folder, DUCK).missing == ["a.jpg"]
    assert (len(colab.scripts), colab.custom_widgets) == (2, False)
    annotate(folder, DUCK, suggest=FakeDetector())
    assert (len(colab.scripts), colab.custom_widgets) == (2, True)
    annotate(folder, DUCK, widget="jupyter")
    assert len(colab.scripts) == 2
    annotate(folder, DUCK, widget="colab", suggest=FakeDetector())
    assert len(colab.scripts) == 4
    monkeypatch.delitem(sys.modules, "google.colab")
    annotate(folder, DUCK)
    assert len(colab.scripts) == 4
