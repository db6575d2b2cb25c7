"""Both widgets in real Chromium: boxes dragged with the mouse, what was saved compared in pixels.

They need Debian's packages chromium and chromium-driver, and from PyPI selenium, jupyterlab,
ipykernel and anywidget. `DUCKDETECT_SCREENSHOTS=FOLDER` keeps a picture of each.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import chrome as browser
from helpers.browser import jupyter
from helpers.browser.colab_standin import Colab
from PIL import Image, ImageDraw

from duckdetect.annotation.canvas import CanvasTransform
from duckdetect.annotation.session import Session
from duckdetect.annotation.store import FILE_NAME, AnnotationStore, Box

pytestmark = pytest.mark.browser

DUCKS = Path(__file__).parents[2] / "data" / "ducks" / "train"
Xyxy = tuple[float, float, float, float]


@pytest.fixture
def chrome(tmp_path: Path) -> Iterator[Any]:
    with browser.start(tmp_path / "profile") as driver:
        yield driver


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A landscape picture, a big one that EXIF turns to portrait, and a small one."""
    folder = tmp_path / "images"
    folder.mkdir()
    shipped = sorted(DUCKS.glob("*.jpg"))
    if shipped:
        shutil.copy(shipped[0], folder / "1_landscape.jpg")
    else:
        drawn_image((640, 480)).save(folder / "1_landscape.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees clockwise
    drawn_image((3000, 2000)).save(folder / "2_turned.jpg", exif=exif)
    drawn_image((90, 60)).save(folder / "3_small.png")
    return folder


def drawn_image(size_wh: tuple[int, int]) -> Image.Image:
    width, height = size_wh
    image = Image.new("RGB", size_wh, (120, 160, 120))
    spot = (width * 0.6, height * 0.2, width * 0.9, height * 0.5)
    ImageDraw.Draw(image).ellipse(spot, fill=(240, 200, 40))
    return image


def size_hw(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        width, height = image.size
        return (width, height) if image.getexif().get(0x0112) == 6 else (height, width)


def keep_screenshot(chrome: Any, name: str, ltrb: tuple[int, int, int, int] | None = None) -> None:
    """Write what the window shows to the folder in DUCKDETECT_SCREENSHOTS, if that is set."""
    if "DUCKDETECT_SCREENSHOTS" in os.environ:
        image = Image.open(io.BytesIO(chrome.get_screenshot_as_png())).convert("RGB")
        path = Path(os.environ["DUCKDETECT_SCREENSHOTS"]) / name
        image.crop(ltrb).save(path, optimize=True)


def shipped_box(size_hw: tuple[int, int]) -> Xyxy:
    """The duck's true box in the first picture of data/ducks, or any box where that is missing."""
    shipped = sorted(DUCKS.glob("*.jpg"))
    boxes = AnnotationStore(DUCKS).boxes(shipped[0].name) if shipped else []
    return boxes[0].xyxy if boxes else four_boxes(size_hw)[0]


def four_ways(xyxy: Xyxy) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The four drags that draw one box: from each of its corners to the opposite one."""
    x1, y1, x2, y2 = xyxy
    return [
        ((x1, y1), (x2, y2)),
        ((x2, y2), (x1, y1)),
        ((x1, y2), (x2, y1)),
        ((x2, y1), (x1, y2)),
    ]


def four_boxes(size_hw: tuple[int, int]) -> list[Xyxy]:
    """One box in each quarter of a picture."""
    height, width = size_hw
    return [
        (width * (x + 0.1), height * (y + 0.08), width * (x + 0.38), height * (y + 0.4))
        for x in (0, 0.5)
        for y in (0, 0.5)
    ]


class Page:
    """The picture on the screen: where its pixels are in the window, and what was saved of it."""

    def __init__(
        self, chrome: Any, selector: str, folder: Path, name: str, shown: CanvasTransform
    ) -> None:
        self.chrome, self.name, self.shown = chrome, name, shown
        self.store = AnnotationStore(folder)
        left, top, right, _ = browser.rectangle(chrome, selector)
        self._left, self._top = left, top
        self._zoom = (right - left) / shown.canvas_hw[1]
        # The mouse moves by whole pixels of the window, and the widgets round to whole ones.
        self.tolerance = 2.0 * shown.size_hw[1] / (shown.area_hw[1] * self._zoom)

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """A point of the picture in the window."""
        x, y, _, _ = self.shown.to_canvas((*point, *point))
        return self._left + x * self._zoom, self._top + y * self._zoom

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        browser.drag(self.chrome, self.at(start), self.at(end))

    def saved(self) -> list[Xyxy]:
        return [box.xyxy for box in self.store.boxes(self.name)]

    def expect(self, *boxes: Xyxy) -> None:
        """Wait until these boxes, in any order, are what the file holds."""

        def matches() -> bool:
            saved = sorted(self.saved())
            return len(saved) == len(boxes) and all(
                xyxy == pytest.approx(expected, abs=self.tolerance)
                for xyxy, expected in zip(saved, sorted(boxes), strict=True)
            )

        try:
            browser.wait_for("boxes in the file", matches)
        except BaseException:
            keep_screenshot(self.chrome, "failed.png")
            print(f"{self.name}: saved {self.saved()}, expected {boxes} +- {self.tolerance}")
            raise


# Colab's widget: the Object Detection API's script in a page like Colab's


def button(chrome: Any, text: str) -> None:
    from selenium.webdriver.common.by import By

    chrome.find_element(By.XPATH, f"//button[normalize-space()='{text}']").click()


def colab_page(chrome: Any, session: Session, index: int) -> Page:
    from duckdetect.annotation.colab_widget import place

    path = session.images[index]
    shown = place(size_hw(path))
    width = shown.canvas_hw[1]
    size = f"const c = document.querySelector('canvas'); return c.width == {width} && c.height"
    browser.wait_for("the picture", lambda: chrome.execute_script(size) == 600)
    browser.wait_for_rest(chrome, "canvas")
    return Page(chrome, "canvas", session.folder, path.name, shown)


def colab_calls(chrome: Any, at_least: int) -> None:
    browser.wait_for("a save", lambda: chrome.execute_script("return calls") >= at_least)


def test_colabs_widget(chrome: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from duckdetect.annotation.colab_widget import ColabWidget

    colab = Colab(monkeypatch)
    session = Session(folder, ["duck"])
    ColabWidget(session).show()
    with colab.serve() as address:
        chrome.get(address)
        page = colab_page(chrome, session, 0)
        the_duck = shipped_box(page.shown.size_hw)
        page.drag(*four_ways(the_duck)[0])
        button(chrome, "submit")
        page.expect(the_duck)
        keep_screenshot(chrome, "annotate_colab.png", (0, 14, 764, 734))
        button(chrome, "delete all")
        boxes = four_boxes(page.shown.size_hw)
        for way, box in enumerate(boxes):
            page.drag(*four_ways(box)[way])
        browser.click(chrome, page.at((5, 5)))
        button(chrome, "submit")
        page.expect(*boxes)
        # A click made no box: "undo" takes the last one that was dragged.
        button(chrome, "undo bbox")
        button(chrome, "submit")
        page.expect(*boxes[:3])
        button(chrome, "delete all")
        page.drag(*four_ways(boxes[1])[0])
        # Turning the page saves as well.
        button(chrome, "next image")
        page.expect(boxes[1])

        page = colab_page(chrome, session, 1)
        height, width = page.shown.size_hw
        assert height > width
        inside = (width * 0.2, height * 0.1, width * 0.5, height * 0.3)
        page.drag(*four_ways(inside)[2])
        # From inside to beyond the lower right corner.
        page.drag((width * 0.7, height * 0.8), (width * 1.01, height * 1.01))
        button(chrome, "next image")
        page.expect(inside, (width * 0.7, height * 0.8, width, height))

        page = colab_page(chrome, session, 2)
        button(chrome, "no object here")
        browser.wait_for("no object", lambda: session.done)
        small = (10, 10, 60, 40)
        page.drag(*four_ways(small)[3])
        button(chrome, "submit")
        page.expect(small)
        button(chrome, "prev image")
        assert chrome.execute_script("return errors") == []
    assert [len(session.boxes(index)) for index in range(3)] == [1, 2, 1]


def test_colabs_widget_shows_boxes_drawn_earlier(
    chrome: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from duckdetect.annotation.colab_widget import ColabWidget

    colab = Colab(monkeypatch)
    session = Session(folder, ["duck", "other"])
    earlier = [(100.0, 100.0, 250.0, 220.0), (300.0, 60.0, 420.0, 200.0)]
    session.save(0, [Box(xyxy, "duck") for xyxy in earlier])
    before = session.boxes(0)
    ColabWidget(session).show()
    with colab.serve() as address:
        chrome.get(address)
        page = colab_page(chrome, session, 0)
        # Red on the canvas at the middle of each box's upper edge.
        for x1, y1, x2, _ in earlier:
            x, y, _, _ = page.shown.to_canvas(((x1 + x2) / 2, y1, 0, 0))
            pixel = f"""const c = document.querySelector('canvas').getContext('2d');
                const [r, g, b] = c.getImageData({round(x)}, {round(y)}, 1, 1).data;
                return r > 200 && g < 80 && b < 80;"""
            browser.wait_for("a red edge", lambda script=pixel: chrome.execute_script(script))
        new = (40.0, 250.0, 200.0, 400.0)
        page.drag(*four_ways(new)[0])
        button(chrome, "submit")
        page.expect(*earlier, new)
        assert session.boxes(0)[:2] == before
        # A disconnected runtime: it must be seen that nothing is saved any more.
        colab.callbacks.clear()
        button(chrome, "submit")
        text = "return document.querySelector('#errorlog').textContent"
        browser.wait_for("a warning", lambda: "NOT SAVED" in chrome.execute_script(text))


# Jupyter's widget: a notebook in JupyterLab


def jupyter_page(chrome: Any, folder: Path, index: int, suggested: int = 0) -> Page:
    from duckdetect.annotation.jupyter_widget import place

    path = sorted(folder.glob("*.*g"))[index]
    shown = place(size_hw(path))
    script = f"""
        const image = document.querySelector('{jupyter.IMAGE}');
        return image && image.naturalWidth == {shown.canvas_hw[1]}
            && image.naturalHeight == {shown.canvas_hw[0]} && image.complete"""
    browser.wait_for(f"picture {path.name}", lambda: chrome.execute_script(script), 60)
    boxes = suggested or len(AnnotationStore(folder).boxes(path.name))
    browser.wait_for("its own boxes only", lambda: jupyter.count_boxes(chrome) == boxes)
    browser.wait_for_rest(chrome, jupyter.IMAGE)
    return Page(chrome, jupyter.IMAGE, folder, path.name, shown)


def delete_selected(chrome: Any) -> None:
    """Press Delete, and wait until the box is gone."""
    from selenium.webdriver.common.keys import Keys

    before = jupyter.count_boxes(chrome)
    browser.keys(chrome, Keys.DELETE)
    browser.wait_for("a box to go", lambda: jupyter.count_boxes(chrome) == before - 1)


def test_jupyters_widget(chrome: Any, folder: Path, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    pytest.importorskip("jupyterlab", reason="JupyterLab is missing: pip install jupyterlab")
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    code = (
        "from duckdetect.annotation.annotate import annotate\n"
        "session = annotate('images', ['duck', 'other'], widget='jupyter')"
    )
    store = AnnotationStore(folder)
    with jupyter.serve(tmp_path, code) as address:
        chrome.get(address)
        jupyter.run_all(chrome)

        page = jupyter_page(chrome, folder, 0)
        the_duck = shipped_box(page.shown.size_hw)
        page.drag(*four_ways(the_duck)[0])
        page.expect(the_duck)
        keep_screenshot(chrome, "annotate_jupyter.png", (118, 154, 809, 810))
        delete_selected(chrome)
        page.expect()
        boxes = four_boxes(page.shown.size_hw)
        for way, box in enumerate(boxes):
            page.drag(*four_ways(box)[way])
        page.expect(*boxes)
        browser.click(chrome, page.at((5, 5)))
        # Changed: the first box's lower right corner, and the second box moved as a whole.
        x1, y1, x2, y2 = boxes[0]
        boxes[0] = (x1, y1, x2 - 20, y2 - 15)
        page.drag((x2, y2), (x2 - 20, y2 - 15))
        page.expect(*boxes)
        x1, y1, x2, y2 = boxes[1]
        boxes[1] = (x1 + 12, y1 + 9, x2 + 12, y2 + 9)
        middle = (x1 + x2) / 2, (y1 + y2) / 2
        browser.click(chrome, page.at(middle))
        page.drag(middle, (middle[0] + 12, middle[1] + 9))
        page.expect(*boxes)
        # Inside a box that was not clicked another one begins.
        browser.keys(chrome, Keys.ESCAPE)
        x1, y1, x2, y2 = boxes[2]
        within = (x1 + 0.3 * (x2 - x1), y1 + 0.3 * (y2 - y1), (x1 + x2) / 2, (y1 + y2) / 2)
        page.drag(*four_ways(within)[0])
        page.expect(*boxes, within)
        delete_selected(chrome)
        browser.click(chrome, page.at(((boxes[1][0] + boxes[1][2]) / 2, boxes[1][3] - 30)))
        page.expect(*boxes)
        # Deleted by the keyboard: the box last touched. Then one of the other class.
        delete_selected(chrome)
        browser.keys(chrome, "2")
        page.expect(boxes[0], *boxes[2:])
        page.drag(*four_ways(boxes[1])[0])
        page.expect(*boxes)
        assert sorted(b.class_name for b in store.boxes(page.name)) == ["duck"] * 3 + ["other"]
        # The selected box changes its class by a key; Undo takes that back.
        classes = lambda: sorted(b.class_name for b in store.boxes(page.name))  # noqa: E731
        browser.keys(chrome, "1")
        browser.wait_for("another class", lambda: classes() == ["duck"] * 4)
        jupyter.button(chrome, "Undo")
        browser.wait_for("the class again", lambda: classes() == ["duck"] * 3 + ["other"])
        keep_screenshot(chrome, "annotate_jupyter_classes.png")
        jupyter.button(chrome, "Next")

        page = jupyter_page(chrome, folder, 1)
        assert "2 of 3" in jupyter.text(chrome)
        height, width = page.shown.size_hw
        assert height > width
        inside = (width * 0.2, height * 0.1, width * 0.5, height * 0.3)
        page.drag(*four_ways(inside)[3])
        # The mouse button is let go far outside of the canvas.
        page.drag((width * 0.7, height * 0.8), (width * 1.3, height * 0.9))
        page.expect(inside, (width * 0.7, height * 0.8, width, height * 0.9))
        page.drag((width * 0.3, height * 0.9), (width * -0.02, height * 1.02))
        right, corner = (
            (width * 0.7, height * 0.8, width, height * 0.9),
            (0, height * 0.9, width * 0.3, height),
        )
        page.expect(inside, right, corner)
        browser.keys(chrome, Keys.ENTER)

        page = jupyter_page(chrome, folder, 2)
        jupyter.button(chrome, "Next")
        hint = "1 picture without a box left"
        browser.wait_for("a hint", lambda: hint in jupyter.text(chrome))
        jupyter.button(chrome, "No object")
        browser.wait_for("the end", lambda: "All pictures are done" in jupyter.text(chrome))
        assert "3 of 3 pictures are done" in jupyter.text(chrome)
        # Drawn earlier, shown again.
        jupyter.button(chrome, "Previous")
        page = jupyter_page(chrome, folder, 1)
        browser.wait_for("its boxes", lambda: jupyter.count_boxes(chrome) == 3)
    assert store.looked_at() == {path.name for path in folder.glob("*.*g")}


SUGGESTING = """
import os
from pathlib import Path
import numpy as np
import supervision as sv
from duckdetect.annotation.annotate import annotate

class Detector:
    classes = ("duck", "other")

    def predict(self, images, threshold):
        sides = np.tile(images[0].shape[1::-1], 2)
        xyxy = np.array([[0.37, 0.35, 0.65, 0.74], [0.7, 0.1, 0.95, 0.3], [0.05, 0.6, 0.3, 0.9]]) * sides
        return [sv.Detections(xyxy, None, np.array([0.9, 0.6, 0.2]), np.array([0, 1, 0]))]

Path("kernel").write_text(str(os.getpid()))
session = annotate("images", ["duck", "other"], suggest=Detector(), widget="jupyter")
"""


def test_suggestions_in_jupyter_and_a_kernel_that_is_killed(
    chrome: Any, folder: Path, tmp_path: Path
) -> None:
    """Dashed until they are accepted or changed; nothing else is saved, and what is saved stays."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    pytest.importorskip("jupyterlab", reason="JupyterLab is missing: pip install jupyterlab")
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    dashed = "return document.querySelectorAll('.jp-OutputArea rect[stroke-dasharray]').length"
    store = AnnotationStore(folder)
    with jupyter.serve(tmp_path, SUGGESTING) as address:
        chrome.get(address)
        jupyter.run_all(chrome)
        page = jupyter_page(chrome, folder, 0, suggested=2)
        assert chrome.execute_script(dashed) == 2
        labels = "return [...document.querySelectorAll('.dd-stage text')].map(e => e.textContent)"
        assert chrome.execute_script(labels) == ["duck 0.90?", "other 0.60?"]
        if "DUCKDETECT_SCREENSHOTS" in os.environ:
            path = Path(os.environ["DUCKDETECT_SCREENSHOTS"]) / "suggestions.png"
            chrome.find_element(By.CSS_SELECTOR, ".dd-draw").screenshot(str(path))
        slider = chrome.find_element(By.CSS_SELECTOR, ".dd-draw input[type=range]")
        for _ in range(3):  # 0.3 to 0.15
            slider.send_keys(Keys.ARROW_LEFT)
        browser.wait_for("the third", lambda: chrome.execute_script(dashed) == 3)
        assert store.looked_at() == set()
        page = jupyter_page(chrome, folder, 0, suggested=3)  # the slider has scrolled it
        # The first is moved by a tenth: it is a label now, the two others still are none.
        height, width = page.shown.size_hw
        page.drag((width * 0.5, height * 0.5), (width * 0.6, height * 0.5))
        moved = (width * 0.47, height * 0.35, width * 0.75, height * 0.74)
        page.expect(moved)
        assert chrome.execute_script(dashed) == 2
        jupyter.button(chrome, "Next")
        jupyter_page(chrome, folder, 1, suggested=3)
        boxes = store.boxes(page.name)
        assert [box.class_name for box in boxes] == ["duck", "other", "duck"]
        saved = json.loads((folder / FILE_NAME).read_text())["annotations"]
        assert [box.get("score") for box in saved] == [None, 0.6, 0.2]

        os.kill(int((tmp_path / "kernel").read_text()), 9)
        jupyter.wait_for_another_kernel(chrome)
        jupyter.run_all(chrome)
        again = jupyter_page(chrome, folder, 1, suggested=2)  # the first without boxes
        assert store.boxes(page.name) == boxes
        jupyter.button(chrome, "Skip")
        jupyter_page(chrome, folder, 2, suggested=2)
        assert store.looked_at() == {page.name}, f"{again.name} was skipped"
        jupyter.button(chrome, "No object")
        browser.wait_for("the end", lambda: len(store.looked_at()) == 2)
        jupyter.button(chrome, "Previous")  # from the second, which is still to do
        jupyter_page(chrome, folder, 0)
        assert chrome.execute_script(dashed) == 0


HANDING_BACK = (
    SUGGESTING.rsplit("session =", 1)[0]
    + """
from types import SimpleNamespace
from duckdetect.annotation.correct import correct

class OfEach(Detector):
    def predict(self, images, threshold):
        return [Detector.predict(self, [image], threshold)[0][:2] for image in images]

handed = correct(SimpleNamespace(folder=Path("."), detector=OfEach()), "images", 0.5)
"""
)


def test_the_strip_in_jupyter_and_a_kernel_that_is_killed(
    chrome: Any, folder: Path, tmp_path: Path
) -> None:
    """What is clicked is in the file at once, and marked again when the kernel is gone."""
    from selenium.webdriver.common.by import By

    pytest.importorskip("jupyterlab", reason="JupyterLab is missing: pip install jupyterlab")
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    file = tmp_path / "handed_back.json"

    def n_saved() -> int:
        pictures = json.loads(file.read_text())["pictures"] if file.exists() else []
        return sum(len(picture["wrong"]) for picture in pictures)

    def crops(pressed: str) -> list[Any]:
        return list(chrome.find_elements(By.CSS_SELECTOR, f".dd-strip [aria-pressed={pressed}]"))

    with jupyter.serve(tmp_path, HANDING_BACK) as address:
        chrome.get(address)
        jupyter.run_all(chrome)
        browser.wait_for("the strip", lambda: len(crops("false")) == 6, 60)
        browser.wait_for_rest(chrome, ".dd-strip")
        crops("false")[0].click()
        browser.wait_for("a save", lambda: n_saved() == 1)
        crops("false")[4].click()
        browser.wait_for("another", lambda: n_saved() == 2)
        assert "2 of 6 handed back" in jupyter.text(chrome)
        if "DUCKDETECT_SCREENSHOTS" in os.environ:
            path = Path(os.environ["DUCKDETECT_SCREENSHOTS"]) / "strip.png"
            chrome.find_element(By.CSS_SELECTOR, ".dd-strip").screenshot(str(path))

        os.kill(int((tmp_path / "kernel").read_text()), 9)
        jupyter.wait_for_another_kernel(chrome)
        chrome.execute_script("document.querySelector('.dd-strip').id = 'of-before'")
        jupyter.run_all(chrome)
        browser.wait_for("its end", lambda: not chrome.find_elements(By.ID, "of-before"), 60)
        browser.wait_for("the marks", lambda: len(crops("true")) == 2, 60)
        browser.wait_for_rest(chrome, ".dd-strip")
        assert len(crops("false")) == 4
        crops("true")[0].click()
        browser.wait_for("what is taken back", lambda: n_saved() == 1)
