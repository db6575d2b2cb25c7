"""The executed notebook as a page and as the small copy in docs/; test_notebook.py uses it."""

from __future__ import annotations

import base64
import copy
import io
import re
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image, ImageSequence

_ROOT = Path(__file__).parents[2]

_GIF_FRAMES, _GIF_SIDE_PX, _SHEET_PX = 12, 240, 640


def tidied(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """A copy as a reader saw it: progress bars at their end, no paths of this machine, no widget."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = _without_paths(_final_lines(output.text), str(folder))
                continue
            if output.data.pop("application/vnd.jupyter.widget-view+json", None):
                output.data["text/plain"] = "(The widget.)"
            if output.data.get("text/html", "").startswith("<div"):  # what `say` shows, once more
                del output.data["text/html"]
            if "text/plain" in output.data:
                output.data["text/plain"] = _without_paths(output.data["text/plain"], str(folder))
    return notebook


def as_html(notebook: nbformat.NotebookNode) -> str:
    """The page; nbconvert leaves GIFs out, which Jupyter, VS Code and Colab show."""
    from nbconvert import HTMLExporter

    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if gif := output.get("data", {}).get("image/gif"):
                output.data["text/html"] = f'<img src="data:image/gif;base64,{gif.strip()}">'
    return HTMLExporter().from_notebook_node(notebook)[0]


def shown_images(chrome: Any, page: Path) -> list[dict[str, float]]:
    """Of each picture in an output: its own width, the width it is shown at, and the page's."""
    chrome.get(page.as_uri())
    return chrome.execute_script("""
        return [...document.querySelectorAll(".jp-OutputArea img")].map(img => ({
            loaded: img.naturalWidth,
            width: img.getBoundingClientRect().width,
            room: img.closest(".jp-OutputArea").getBoundingClientRect().width,
        }));""")


def keep_page(chrome: Any, path: Path) -> None:
    """The whole page as a picture."""
    height = chrome.execute_script("return document.documentElement.scrollHeight")
    _sized(chrome, height)
    Image.open(io.BytesIO(chrome.get_screenshot_as_png())).convert("RGB").save(path, optimize=True)


def keep_result(chrome: Any, path: Path) -> None:
    """The steps with the frames, the GIF and the figures, as a picture."""
    script = """
        const cells = [...document.querySelectorAll(".jp-Cell")];
        const at = text => cells.findIndex(cell => cell.innerText.includes(text));
        const top = cells[at("6. Detection on the test pictures")].getBoundingClientRect();
        const end = cells[at("notebook.measure(run")].getBoundingClientRect();
        return [top.left, top.top + scrollY, top.right, end.bottom + scrollY];"""
    _sized(chrome, chrome.execute_script("return document.documentElement.scrollHeight"))
    left, top, right, bottom = chrome.execute_script(script)
    whole = Image.open(io.BytesIO(chrome.get_screenshot_as_png())).convert("RGB")
    part = whole.crop((round(left), round(top), round(right), round(bottom)))
    part.quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)


def _sized(chrome: Any, height: int) -> None:
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 1000, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def write_copy(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write the executed notebook with small pictures."""
    small = copy.deepcopy(notebook)
    for cell in small.cells:
        for output in cell.get("outputs", []):
            _shrink(output.get("data", {}))
    nbformat.validate(small)
    nbformat.write(small, path)


def _shrink(data: dict[str, str]) -> None:
    for kind in ("image/jpeg", "image/png", "image/gif"):
        if kind in data:
            data[kind] = _shrunk(base64.b64decode(data[kind]), kind)
    if "image/gif" in data:  # for viewers such as GitHub's, which show no GIF
        data["image/png"] = _shrunk(base64.b64decode(data["image/gif"]), "image/png")
    # The report and the video, larger than all the rest; GitHub's viewer shows neither.
    if any(tag in data.get("text/html", "") for tag in ("<iframe", "<video")):
        del data["text/html"]


def _without_paths(text: str, folder: str) -> str:
    text = text.replace(folder, "~").replace(str(_ROOT), "~/duckdetect")
    return re.sub(r"\S*/\.cache/", "~/.cache/", text)


def _final_lines(text: str) -> str:
    """Of a progress bar what it showed last."""
    return "\n".join(line.rstrip("\r").split("\r")[-1] for line in text.split("\n"))


def _shrunk(picture: bytes, kind: str) -> str:
    file = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        if kind == "image/gif":
            every = -(-image.n_frames // _GIF_FRAMES)
            frames = [f.convert("RGB") for f in ImageSequence.Iterator(image)][::every]
            for frame in frames:
                frame.thumbnail((_GIF_SIDE_PX, _GIF_SIDE_PX))
            frames = [frame.quantize(64) for frame in frames]
            milliseconds = image.info.get("duration", 100)
            frames[0].save(
                file, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0
            )
        else:
            small = image.convert("RGB")
            small.thumbnail((_SHEET_PX, _SHEET_PX))
            small.save(file, kind.removeprefix("image/"), quality=70, optimize=True)
    return base64.b64encode(file.getvalue()).decode()
