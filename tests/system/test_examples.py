"""The examples in the docstrings of the public names and of the rooms' modules are executed."""

import importlib
import inspect
import json
import re
import runpy
import shutil
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import clips

import duckdetect as dd
from duckdetect.data.augment import PlainViews
from duckdetect.data.dataset import Dataset
from duckdetect.imaging.io import load_image, save_jpeg
from duckdetect.video.reader import read_video

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "fixtures" / "v0_1_0" / "project"

# What stands in the examples for what the reader has: made here, in the working directory.
MODULES = [
    "data.augment",
    "data.check",
    "data.contact_sheet",
    "data.convert",
    "data.dataset",
    "data.distractors",
    "data.loading",
    "data.similar",
    "data.split",
    "data.views",
    "evaluation.metrics",
    "imaging.draw",
    "imaging.geometry",
    "models.catalog",
    "utils.lazy",
    "utils.prefetch",
    "video.gif",
    "video.reader",
    "video.tracking",
    "video.writer",
]


def blocks(text: str) -> list[str]:
    """The code in a module's docstring: its indented paragraphs.

    The formatter takes the indent from a docstring that holds nothing else: then the rest is code.
    """
    rest = text.split("\n\n", 1)[-1]
    found = [p for p in rest.split("\n\n") if p.startswith("    ")] or [rest]
    return [b for b in map(textwrap.dedent, found) if not b.startswith("{")]  # JSON


def example(thing: Any) -> str:
    """The code below "Example:" in a docstring."""
    text = inspect.getdoc(thing) or ""
    found = re.search(r"^Example:\n((?: {4}.*\n?|\n)+)", text, re.MULTILINE)
    return textwrap.dedent(found[1]) if found else ""


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Files and names that the examples speak of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    ducks = ROOT / "data" / "ducks" / "train"
    shutil.copytree(ducks, "images")
    for split in ("train", "valid", "test"):
        shutil.copytree(OLD / "data" / split, f"export/{split}")
    shutil.make_archive("export", "zip", "export")
    dd.data.split_dataset("images", file="split.json")
    Path("split.json").rename("kept.json")
    save_jpeg("a.jpg", load_image(next(ducks.glob("*.jpg"))))
    clips.write(tmp_path / "clip.mp4", 12)
    video = read_video("clip.mp4")
    dataset = dd.load_dataset("images")
    splits = {name: dd.load_dataset("export", name) for name in ("train", "valid", "test")}
    annotation = json.loads((ducks / "_annotations.coco.json").read_text())["annotations"][0]
    size_hw = dataset.samples[0].size_hw
    return {
        "np": np,
        "Path": Path,
        "dd": dd,
        "load_dataset": dd.load_dataset,
        "dataset": dataset,
        "samples": dataset.samples,
        "plain": PlainViews(dataset.samples),
        "seed": 0,
        "classes": dataset.classes,
        "image": dataset.samples[0].load(),
        "detections": found(dataset)[0],
        "annotation": {"segmentation": annotation.get("segmentation") or [[5, 5, 50, 5, 50, 50]]},
        "row": {},
        "size_hw": size_hw,
        "video": video,
        "frames": [dataset.samples[0].load()] * 3,
        "decoded_batches": [1, 2],
        "detector": OneFrame(),
        **splits,
    }


class OneFrame(clips.YellowDetector):
    """Takes one frame, as `Detector.predict` does."""

    def predict(self, frames: Any, threshold: float) -> Any:
        return super().predict([frames], threshold)[0]


def found(dataset: Dataset) -> list[Any]:
    import supervision as sv

    return [
        sv.Detections(
            xyxy=sample.xyxy, confidence=np.full(len(sample.xyxy), 0.9), class_id=sample.class_id
        )
        for sample in dataset.samples
    ]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_shows_what_runs(name: str, prepared: dict[str, Any]) -> None:
    module = importlib.import_module(f"duckdetect.{name}")
    space = {**vars(module), **prepared}
    if name == "evaluation.metrics":
        space["detections"] = found(prepared["dataset"])
    if name == "video.reader":
        Path("clip.mp4").rename("clip.mov")
    if name == "data.loading":
        Path("kept.json").rename("split.json")
    code = blocks(module.__doc__ or "")
    assert code, "no example"
    for block in code:
        if name == "video.reader":  # the clip is half a second long
            block = block.replace("start=10, end=20", "start=0.1, end=0.3")
        exec(compile(block, f"{name}'s docstring", "exec"), space)


@pytest.fixture
def finished(prepared: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A finished run in results/duck, which `train` finds, and pictures to detect on."""
    shutil.copytree(OLD / "runs" / "ssd", "results/duck")
    shutil.copytree(OLD / "data", "data")
    shutil.copytree(OLD / "data" / "test", "new_images")
    Path("new_images/_annotations.coco.json").unlink()
    run = dd.TrainRun(Path("results/duck"), dd.load_detector("results/duck"), [], 120, [], None)
    for name in dd.__all__:  # each is kept when it is first asked for: never the stand-in
        getattr(dd, name)
    monkeypatch.setattr("duckdetect.training.finetune.finetune", lambda *_, **__: run)
    monkeypatch.setattr(dd, "finetune", lambda *_, **__: run)
    return {**prepared, "detector": run.detector}


needs_paths = pytest.mark.skipif(
    find_spec("duckdetect.inference.images") is None, reason="Detector.predict takes no paths yet"
)


@needs_paths
def test_the_package_shows_what_runs(finished: dict[str, Any]) -> None:
    for block in blocks(dd.__doc__ or ""):
        exec(compile(block, "duckdetect's docstring", "exec"), finished)
    assert Path("results/duck/new/detections.gif").exists()


@pytest.mark.parametrize(
    "name",
    [pytest.param("inference.detector", marks=needs_paths), "inference.detect", "report.write"],
)
def test_a_module_on_a_run_shows_what_runs(name: str, finished: dict[str, Any]) -> None:
    module = importlib.import_module(f"duckdetect.{name}")
    for block in blocks(module.__doc__ or ""):
        exec(compile(block, f"{name}'s docstring", "exec"), {**vars(module), **finished})


def test_public_names_show_what_runs(finished: dict[str, Any]) -> None:
    things = [getattr(dd, name) for name in dd.__all__]
    things += [dd.TrainConfig.stock]
    shown = [thing for thing in things if callable(thing) and example(thing)]
    assert {"train", "evaluate", "stock"} <= {thing.__name__ for thing in shown}
    for thing in shown:
        space: dict[str, Any] = {name: getattr(dd, name) for name in dd.__all__}
        exec(
            compile(example(thing), f"{thing.__name__}'s docstring", "exec"), {**finished, **space}
        )


def test_the_script_that_counts_at_a_line(tmp_path, monkeypatch, capsys):
    """docs/examples/zones.py: the square starts in the left half and crosses the middle once."""

    class One(clips.YellowDetector):
        def predict(self, frame, threshold):
            return self._find(frame, threshold)

    monkeypatch.setattr(dd, "load_detector", lambda run: One(), raising=False)
    clip = clips.write(tmp_path / "clip.mp4", 45)
    monkeypatch.setattr("sys.argv", ["zones.py", "run", str(clip)])
    runpy.run_path(str(ROOT / "docs" / "examples" / "zones.py"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 45
    assert lines[0] == "0 in, 0 out, 1 in the zone"
    assert lines[-1] == "1 in, 0 out, 0 in the zone"
