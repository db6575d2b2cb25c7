"""Runs a notebook of the project, or some of its cells, in a kernel of its own."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "tests" / "helpers" / "colab_standin"
_MOUNT_POINT = 'MOUNT_POINT = Path("/content/gdrive")'


def read_notebook(name: str = "model.ipynb") -> nbformat.NotebookNode:
    return nbformat.read(ROOT / name, as_version=4)


def fill_in(notebook: nbformat.NotebookNode, values: Mapping[str, Any]) -> None:
    """Set form fields and constants, as a user of Colab's forms does: NAME = value in a cell."""
    for name, value in values.items():
        count = 0
        line = re.compile(rf"^{name} = .*?(?=  # @param|$)", re.MULTILINE)
        text = f"{name} = {json.dumps(value) if isinstance(value, str) else repr(value)}"
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source, found = line.subn(lambda _, text=text: text, cell.source)
                count += found
        assert count == 1, f"{name} is set {count} times in the notebook"


def run(
    folder: Path,
    env: Mapping[str, str],
    values: Mapping[str, Any],
    only: Sequence[str] = (),
    allow_errors: bool = False,
    name: str = "model.ipynb",
) -> nbformat.NotebookNode:
    """Run the notebook in `folder` with a fresh kernel and give it back with its outputs.

    Args:
        folder: The kernel's current folder.
        env: The kernel's environment variables, besides this process's.
        values: See `fill_in`.
        only: Ids of the cells to run, in this order, some perhaps twice; all if empty. A text that
            is no cell's id is run as code.
        allow_errors: Whether a failing cell is to be looked at afterwards.
        name: The notebook's file.
    """
    notebook = read_notebook(name)
    fill_in(notebook, values)
    if only:
        notebook.cells = list(_chosen(notebook.cells, only))
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        coalesce_streams=True,
        allow_errors=allow_errors,
    )
    # The user's own IPython settings are none of the test's business.
    ipython = folder / ".ipython"
    ipython.mkdir(exist_ok=True)
    client.execute(env={**os.environ, "IPYTHONDIR": str(ipython), **env})
    return notebook


def _chosen(cells: list[Any], only: Sequence[str]) -> Iterator[Any]:
    by_id = {cell.id: cell for cell in cells}
    count: dict[str, int] = {}
    for one in only:
        if one not in by_id:
            yield nbformat.v4.new_code_cell(one)
            continue
        cell = copy.deepcopy(by_id[one])
        count[one] = count.get(one, 0) + 1
        if count[one] > 1:
            cell.id = f"{one}-{count[one]}"
        yield cell


def local_env() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


class ColabRuntime:
    """A fresh runtime of Colab: an own folder, Drive not yet mounted, the package not yet there.

    Attributes:
        content: What /content is on Colab.
    """

    def __init__(self, folder: Path, drive: Path | None) -> None:
        self.content = folder / "content"
        self.content.mkdir(parents=True)
        self.drive = drive
        self.log = folder / "log.txt"
        startup = self.content / ".ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        # Colab's kernel has loaded its package before the first cell runs.
        (startup / "colab.py").write_text("import google.colab\n")
        self.repository = _repository(folder / "repository", self.content / "gdrive")

    def env(self) -> dict[str, str]:
        home = self.content / "root"
        return {
            "PYTHONPATH": str(STANDIN),
            "STANDIN_DRIVE": str(self.drive or ""),
            "STANDIN_LOG": str(self.log),
            # Weights may come from Drive alone.
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "DUCKDETECT_CACHE": "",
            # The packages are looked up and compared, and the tests' own stay as they are.
            "PIP_DRY_RUN": "1",
        }

    def run(
        self,
        values: Mapping[str, Any],
        only: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        allow_errors: bool = False,
        name: str = "model.ipynb",
    ) -> nbformat.NotebookNode:
        values = {"REPOSITORY": self.repository.as_uri(), **values}
        return run(self.content, {**self.env(), **(env or {})}, values, only, allow_errors, name)

    def calls(self) -> list[str]:
        """What was asked of the stand-in."""
        return self.log.read_text(encoding="utf-8").splitlines()


def _repository(folder: Path, mount_point: Path) -> Path:
    """A git repository of what the notebook clones, where Drive is mounted below a test's folder."""
    for name in ("duckdetect", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("requirements*.txt"):
        shutil.copy(path, folder)
    colab = folder / "duckdetect" / "notebook" / "environment.py"
    text = colab.read_text(encoding="utf-8")
    assert text.count(_MOUNT_POINT) == 1
    text = text.replace(_MOUNT_POINT, f"MOUNT_POINT = Path({str(mount_point)!r})")
    colab.write_text(text, encoding="utf-8")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "test"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


def outputs(notebook: nbformat.NotebookNode, cell_id: str) -> list[Any]:
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    return list(cell.outputs)


def text(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    """What a cell says: printed, displayed, and its last value."""
    return "\n".join(_texts(outputs(notebook, cell_id)))


def _texts(found: list[Any]) -> Iterator[str]:
    for output in found:
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield "\n".join(output.traceback)
        else:
            yield output.data.get("text/plain", "")


def images(notebook: nbformat.NotebookNode, cell_id: str) -> list[str]:
    """MIME types of the pictures that a cell shows."""
    found = outputs(notebook, cell_id)
    return [
        kind for output in found for kind in output.get("data", {}) if kind.startswith("image/")
    ]
