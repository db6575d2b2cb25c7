"""JupyterLab on a free port with one notebook, and the box widget's parts in its page."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.browser.chrome import wait_for

ROOT = Path(__file__).parents[3]
IMAGE = ".jp-OutputArea .dd-stage img"


@contextlib.contextmanager
def serve(folder: Path, code: str) -> Iterator[str]:
    """Start JupyterLab in `folder` with a notebook of one cell; yields the notebook's address.

    Its settings, its kernels' files and its history stay in `folder`.
    """
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    # Without it JupyterLab asks which kernel to use.
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "draw.ipynb")
    config = folder / "config" / "labconfig"
    config.mkdir(parents=True)
    # It asks the network for news, and the user whether it may.
    news = {"@jupyterlab/apputils-extension:announcements": True}
    (config / "page_config.json").write_text(json.dumps({"disabledExtensions": news}))
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"),
        "--LabApp.expose_app_in_browser=True",
    ]
    env = os.environ | {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(":")]),
    }
    log = folder / "jupyterlab.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"JupyterLab ({log})", lambda: _answers(f"{address}/api", process), 60)
        yield f"{address}/doc/tree/draw.ipynb?token={token}"
    finally:
        # On SIGTERM the server ends its kernels, too.
        process.terminate()
        process.wait(timeout=30)


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "JupyterLab has ended"
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return False


def run_all(chrome: Any) -> None:
    """Run the notebook's cells, once the page and its kernel are there."""
    ready = """
        const panel = window.jupyterapp?.shell.currentWidget;
        return panel?.sessionContext?.session?.kernel?.connectionStatus == "connected"
            && panel.sessionContext.isReady && !!document.querySelector(".jp-CodeCell");"""
    wait_for("the notebook's kernel", lambda: chrome.execute_script(ready), 60)
    chrome.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")


def wait_for_another_kernel(chrome: Any) -> None:
    """Wait until JupyterLab has started a kernel in place of one that died, and put its word away."""
    from selenium.webdriver.common.by import By

    accept = (By.CSS_SELECTOR, ".jp-Dialog .jp-mod-accept")
    wait_for("JupyterLab to say so", lambda: chrome.find_elements(*accept), 60)
    chrome.find_element(*accept).click()


def text(chrome: Any) -> str:
    """All that the notebook's outputs say."""
    script = "return [...document.querySelectorAll('.jp-OutputArea')].map(e => e.innerText).join()"
    return chrome.execute_script(script)


def button(chrome: Any, name: str) -> None:
    """Press one of the widget's buttons."""
    from selenium.webdriver.common.by import By

    path = f"//*[contains(@class, 'jp-OutputArea')]//button[normalize-space()='{name}']"
    chrome.find_element(By.XPATH, path).click()


def count_boxes(chrome: Any) -> int:
    """How many boxes the widget shows."""
    script = "return document.querySelectorAll('.jp-OutputArea rect.dd-box').length"
    return chrome.execute_script(script)
