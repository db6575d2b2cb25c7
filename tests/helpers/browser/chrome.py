"""Debian's Chromium, headless, and a mouse that drags from one point of the page to another."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Point = tuple[float, float]
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1250,1100",
    # A pixel of the page shall be a pixel of the screenshot, whatever the machine's screen.
    "--force-device-scale-factor=1",
)


@contextlib.contextmanager
def start(profile: Path, *flags: str) -> Iterator[Any]:
    """Start Chromium with a fresh profile; yields selenium's driver, or skips the test."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: pip install selenium"
    )
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("Chromium is missing: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver, log_output=os.devnull)
    chrome = webdriver.Chrome(options=options, service=service)
    try:
        yield chrome
    finally:
        chrome.quit()


def requests(chrome: Any) -> list[str]:
    """The addresses that pages have asked for since the last call, but for the browser's own pages."""
    messages = (json.loads(entry["message"])["message"] for entry in chrome.get_log("performance"))
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
        and not message["params"]["request"]["url"].startswith("chrome:")
    ]


def drag(chrome: Any, start: Point, end: Point) -> None:
    """Press the mouse button at `start`, move in steps to `end`, let go; pixels of the window."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    actions = ActionBuilder(chrome, mouse=PointerInput("mouse", "mouse"), duration=20)
    pointer = actions.pointer_action
    # Up to the point in two moves: Colab's crosshair, which takes the click, follows the mouse.
    pointer.move_to_location(round(start[0]) + 2, round(start[1]) + 2)
    pointer.move_to_location(round(start[0]), round(start[1])).pointer_down()
    for part in (0.3, 0.7, 1.0):
        x, y = (a + (b - a) * part for a, b in zip(start, end, strict=True))
        pointer.move_to_location(round(x), round(y))
    pointer.pointer_up()
    actions.perform()


def click(chrome: Any, point: Point) -> None:
    """Press and let go without moving."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    actions = ActionBuilder(chrome, mouse=PointerInput("mouse", "mouse"), duration=20)
    actions.pointer_action.move_to_location(round(point[0]) + 1, round(point[1]))
    actions.pointer_action.move_to_location(round(point[0]), round(point[1]))
    actions.pointer_action.pointer_down().pointer_up()
    actions.perform()


def keys(chrome: Any, *names: str) -> None:
    """Press keys one after the other, where the page's focus is."""
    from selenium.webdriver import ActionChains

    ActionChains(chrome).send_keys(*names).perform()


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until `condition()` is true and return it; fail with `what` otherwise."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    pytest.fail(f"waited {seconds} s in vain for: {what}")


def wait_for_rest(chrome: Any, selector: str) -> None:
    """Wait until the first element that matches has stayed where it is for half a second."""
    at, since = None, time.monotonic()

    def rests() -> bool:
        nonlocal at, since
        now = rectangle(chrome, selector)
        if now != at:
            at, since = now, time.monotonic()
        return time.monotonic() - since > 0.5

    wait_for(f"{selector} to rest", rests)


def rectangle(chrome: Any, selector: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the first element that matches, in pixels of the window."""
    script = """
        const box = document.querySelector(arguments[0]).getBoundingClientRect();
        return [box.left, box.top, box.right, box.bottom];"""
    left, top, right, bottom = chrome.execute_script(script, selector)
    return left, top, right, bottom
