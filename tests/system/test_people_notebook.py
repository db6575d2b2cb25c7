"""people.ipynb run from top to bottom with a small Mask R-CNN: boxes, masks, figures, video, report.

It needs nbclient and ipykernel.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("nbclient", reason="nbclient is not installed: pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install ipykernel")
import av
import nbformat
from helpers import notebook_runs as runs
from helpers.rcnn_bases import tiny_rcnn, write_archive
from pycocotools import mask as coco_mask

import duckdetect as dd
from duckdetect.data.augment import PlainViews
from duckdetect.data.dataset import join
from duckdetect.models.catalog import spec_for
from duckdetect.training.config import VIEWS
from duckdetect.training.loop import make_optimizer, run_loop
from duckdetect.training.two_stage import TwoStageTrainer

ROOT = Path(__file__).parents[2]
NAME = "people.ipynb"
STEPS = 30

# zmq's and jupyter_client's own; the kernel's run in the kernel.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo's archive of the small model, whose class 0 is the sample's duck already."""
    base = tiny_rcnn(90, seed=1)
    config = dd.TrainConfig(
        steps=300, batch_size=8, learning_rate=0.03, warmup=50, train="all", views=0
    )
    ducks = join([dd.load_dataset(ROOT / "data" / "ducks", s) for s in ("train", "test")])
    ducks = ducks.subset([i for i, sample in enumerate(ducks) if len(sample.class_id)])
    trainer = TwoStageTrainer(base, True, config)
    trainer.cache_views(PlainViews(ducks.samples, masks=True), len(ducks), False)
    optimizer = make_optimizer(config, trainer.variables)
    step = trainer.make_step(optimizer)
    run_loop(step, optimizer, trainer.variables, trainer.names, config, None, False, None)
    folder = tmp_path_factory.mktemp("zoo") / spec_for("mask_rcnn").zoo_name
    return write_archive(folder, base, 90)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> SimpleNamespace:
    """The whole notebook on a local machine, and three of its cells once more."""
    folder = tmp_path_factory.mktemp("local")
    startup = folder / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    # The small model's feature extractor is the tests' own.
    (startup / "tiny.py").write_text(
        f"import sys; sys.path.append({str(ROOT / 'tests')!r})\nimport duckdetect, helpers.rcnn_bases\n"
    )
    env = {**runs.local_env(), "DUCKDETECT_CACHE": str(folder / "cache")}
    values = {
        "WEIGHTS": str(archive),
        "STEPS": STEPS,
        "BATCH_SIZE": 4,
        "LEARNING_RATE": 0.01,
        "VIEWS": 6,
        "EVERY": 2,
    }
    ids = [cell.id for cell in runs.read_notebook(NAME).cells]
    notebook = runs.run(folder, env, values, [*ids, "split", "train", "figures"], name=NAME)
    project = folder / "transfer_learning_project"
    (config,) = (project / "results").glob("*/config.json")
    return SimpleNamespace(notebook=notebook, project=project, run=config.parent)


def test_data_and_split(local: SimpleNamespace) -> None:
    check = runs.text(local.notebook, "check")
    assert "30 pictures, 31 boxes" in check
    assert "Nothing wrong was found" in check
    assert "35 pictures in 35 groups, split with seed 0" in runs.text(local.notebook, "split")
    file = local.project / "data" / "sample_ducks-split-0.json"
    assert sum(len(dd.load_dataset(file, s)) for s in ("train", "valid", "test")) == 35
    assert runs.images(local.notebook, "split") == ["image/jpeg"]
    assert runs.images(local.notebook, "views") == ["image/jpeg"]


def test_training_says_what_is_frozen_and_is_validated(local: SimpleNamespace) -> None:
    said = runs.text(local.notebook, "train")
    assert re.search(r"^mask_rcnn +layers +trained weights +frozen weights$", said, re.MULTILINE)
    assert "steps trained now, 0 were done before" in said
    assert "WARNING" not in said
    config = json.loads((local.run / "config.json").read_text())
    assert config["done"]
    assert config["base"] == "mask_rcnn"
    assert config["train"]["train"] == "heads"
    assert config["model"]["masks_trained"] is True
    assert config["model"]["frozen_weights"] > 100_000
    assert (local.run / "validation.csv").is_file()
    assert runs.images(local.notebook, "train") == ["image/png"]
    assert list((local.run / "tensorboard").rglob("events*"))
    assert runs.text(local.notebook, "tensorboard") == ""  # unless it is ticked


def test_boxes_and_masks_are_measured_on_the_test_split(local: SimpleNamespace) -> None:
    metrics = json.loads((local.run / "metrics.json").read_text())
    assert metrics["AP50"] > 0.2
    assert metrics["masks"]["AP50"] > 0.2
    said = runs.text(local.notebook, "figures")
    assert "by their masks" in said
    assert f"{metrics['masks']['AP50']:.3f}" in said
    about = json.loads((local.run / "evaluation" / "about.json").read_text())
    assert about["data"]["split"] == "test"
    assert about["data"]["pictures"] == 5
    assert runs.images(local.notebook, "figures") == ["image/png"] * 2


def test_images_video_and_report(local: SimpleNamespace) -> None:
    records = json.loads((local.run / "detections.json").read_text())
    assert records
    for record in records:
        assert coco_mask.area(record["segmentation"]) > 0
    assert len(list((local.run / "frames").iterdir())) == 5
    with av.open(str(local.run / "video" / "detections.mp4")) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in video.decode(video=0)) == 48
    records = json.loads((local.run / "video" / "detections.json").read_text())
    assert len({record["frame"] for record in records}) > 5
    assert all("track_id" in record and "segmentation" in record for record in records)
    (player,) = [
        output.data["text/html"]
        for output in runs.outputs(local.notebook, "video")
        if "<video" in output.get("data", {}).get("text/html", "")
    ]
    assert "<video" in player
    page = (local.run / "report.html").read_text()
    metrics = json.loads((local.run / "metrics.json").read_text())
    assert f"{metrics['masks']['AP50']:.3f}" in page
    assert "srcdoc" in str(runs.outputs(local.notebook, "report"))


def test_a_second_run_repeats_nothing(local: SimpleNamespace) -> None:
    first, second = (runs.text(local.notebook, name) for name in ("train", "train-2"))
    (steps,) = re.findall(r"^(\d+) steps trained now", first, re.MULTILINE)
    assert 0 < int(steps) <= STEPS
    assert f"\n0 steps trained now, {STEPS} were done before" in "\n" + second
    assert "layers" not in second  # nothing was loaded to be trained
    metrics = runs.text(local.notebook, "figures-2")
    assert "by their masks" in metrics
    assert "detecting" not in metrics


def test_an_export_on_drive(tmp_path: Path) -> None:
    """On Colab, a zip with splits of its own: they are taken as they are."""
    archive = tmp_path / "drive" / "exports" / "ducks.v1.zip"
    archive.parent.mkdir(parents=True)
    ducks = ROOT / "data" / "ducks"
    with zipfile.ZipFile(archive, "w") as file:
        for split, source in (("train", "train"), ("valid", "train"), ("test", "test")):
            for path in (ducks / source).iterdir():
                file.write(path, f"{split}/{path.name}")
    runtime = runs.ColabRuntime(tmp_path / "runtime", tmp_path / "drive")
    notebook = runtime.run(
        {"DATA": "my own", "PATH": "exports/ducks.v1.zip"},
        ["set-up", "data", "check", "split", "print(len(train), len(valid), len(test))"],
        name=NAME,
    )
    assert "MyDrive/exports/ducks.v1.zip" in runs.text(notebook, "data")
    assert "the same" in runs.text(notebook, "check")  # train and valid
    assert runs.images(notebook, "check") == ["image/jpeg"]
    assert "taken as they are" in runs.text(notebook, "split")
    assert notebook.cells[-1].outputs[0].text == "5 5 30\n"


def test_the_notebook_as_committed() -> None:
    notebook, other = runs.read_notebook(NAME), runs.read_notebook()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    by_id, of_other = ({cell.id: cell.source for cell in nb.cells} for nb in (notebook, other))
    assert by_id["set-up"] == of_other["set-up"]
    assert by_id["tensorboard"] == of_other["tensorboard"]
    assert by_id["intro"].count(f"/blob/main/{NAME})") == 1
    assert notebook.metadata == other.metadata


def test_the_form_fields_are_the_packages_defaults() -> None:
    source = "\n".join(cell.source for cell in runs.read_notebook(NAME).cells)
    fields = dict(re.findall(r"^([A-Z_]+) = (.*?)(?:  # @param.*)?$", source, re.MULTILINE))
    config = dd.TrainConfig()
    for name in ("steps", "batch_size", "learning_rate", "seed"):
        assert float(fields[name.upper()]) == getattr(config, name), name
    assert fields["VIEWS"] == str(VIEWS)  # of a base that is light, or has a GPU to run on
    assert fields["TRAIN"].strip('"') == config.for_data(spec_for("mask_rcnn"), 5, 5).train
    assert fields["INPUT_SIZE"] == str(config.input_size)


@pytest.mark.browser
def test_it_looks_right(local: SimpleNamespace, tmp_path: Path) -> None:
    """The executed notebook as a page in Chromium: pictures and video are shown, nothing overflows."""
    pytest.importorskip("nbconvert", reason="nbconvert is not installed: pip install nbconvert")
    from helpers import notebook_docs
    from helpers.browser import chrome as browser

    notebook = notebook_docs.tidied(local.notebook, local.project.parent)
    notebook.cells = [cell for cell in notebook.cells if not cell.id.endswith("-2")]
    page = tmp_path / "people.html"
    page.write_text(notebook_docs.as_html(notebook), encoding="utf-8")
    with browser.start(tmp_path / "profile") as chrome:
        shown = notebook_docs.shown_images(chrome, page)
        # Labels, looks, curves of training, two of figures, the test pictures.
        assert len(shown) == 6
        for image in shown:
            assert image["loaded"] > 100
            assert 100 < image["width"] <= image["room"] + 1
        video = "const v = document.querySelector('video'); return [v.videoWidth, v.duration];"
        assert chrome.execute_script(video) == [640, 4.8]
        notebook_docs.keep_page(chrome, tmp_path / "page.png")
