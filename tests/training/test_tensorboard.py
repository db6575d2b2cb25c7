"""What TensorBoard is given: read back from the event files."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

import duckdetect as dd
from duckdetect import UserError, notebook
from duckdetect.imaging.draw import class_color
from duckdetect.notebook import display

CONFIG = dd.TrainConfig(steps=6, train="heads", masks="no", views=4, val_every=3)


@pytest.fixture(scope="module")
def run(project_data, tmp_path_factory):
    train = dd.load_dataset(project_data / "ducks", "train")
    val = dd.load_dataset(project_data / "ducks", "test").subset(range(6))
    out = tmp_path_factory.mktemp("board") / "run"
    return dd.finetune("ssd_mobilenet_v2", train, CONFIG, out, val=val, progress=False)


def read(folder):
    """{tag: {step: value}} of a folder's event files."""
    found: dict[str, dict[int, object]] = {}
    for path in sorted(folder.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return found


@pytest.mark.parametrize("part", ["train", "validation"])
def test_every_number_of_the_history_and_the_validation(run, part):
    events = read(run.folder / "tensorboard" / part)
    rows = run.history if part == "train" else run.validation
    for name in set(rows[-1]) - {"step"}:
        expected = {r["step"]: pytest.approx(r[name], rel=1e-6) for r in rows if name in r}
        assert events[name] == expected, name


def test_images_show_what_was_found(run):
    events = read(run.folder / "tensorboard" / "validation")
    drawn = [steps[CONFIG.steps] for tag, steps in events.items() if tag.endswith(".jpg")]
    assert len(drawn) == 4
    images = [tf.image.decode_png(png).numpy() for _, _, png in drawn]
    # Something is drawn in class 0's colour, which no duck picture is full of.
    away = [np.abs(p.astype(int) - class_color(0)).max(axis=2) for p in images]
    assert any((distance < 30).sum() > 50 for distance in away)


def test_settings_are_text(run):
    (text,) = (
        v.item().decode() for v in read(run.folder / "tensorboard" / "train")["settings"].values()
    )
    for name, value in CONFIG.to_dict().items():
        assert f"| {name} | {value} |" in text


class _Kernel:
    kernel = object()

    def __init__(self) -> None:
        self.magics: list[tuple[str, str]] = []

    def run_line_magic(self, name: str, line: str) -> None:
        self.magics.append((name, line))


def test_show_tensorboard(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(display, "say", said.append)
    folder = tmp_path / "my run"
    with pytest.raises(UserError, match="my run is not there"):
        notebook.show_tensorboard(folder)
    folder.mkdir()
    notebook.show_tensorboard(folder)
    assert said == [f"TensorBoard: tensorboard --logdir '{folder}'"]
    kernel = _Kernel()
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: kernel)
    # `.venv/bin/jupyter lab`: the environment's programs are not on PATH; TensorBoard's manager,
    # which starts the program, takes this variable.
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (tmp_path / "tensorboard").touch(mode=0o755)
    monkeypatch.setenv("TENSORBOARD_BINARY", "")
    monkeypatch.delenv("TENSORBOARD_BINARY")
    notebook.show_tensorboard(folder)
    assert kernel.magics == [("load_ext", "tensorboard"), ("tensorboard", f"--logdir '{folder}'")]
    assert os.environ["TENSORBOARD_BINARY"] == str(tmp_path / "tensorboard")
