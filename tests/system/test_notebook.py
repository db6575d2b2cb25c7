"""model.ipynb run from top to bottom, as on a local machine and as on Colab, and run again.

They need nbclient and ipykernel. `DUCKDETECT_SCREENSHOTS=FOLDER` makes the pictures and the executed
copy that docs/ shows.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

pytest.importorskip("nbclient", reason="nbclient is not installed: pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install ipykernel")
import nbformat
from helpers import notebook_runs as runs

import duckdetect as dd
from duckdetect.training.config import VIEWS

ROOT = Path(__file__).parents[2]
BASE = "ssd_mobilenet_v2"
# The recipe itself is tested by `duckdetect demo` and in training/: here fewer steps do, unless pictures
# for docs/ are made.
SHORT = {} if "DUCKDETECT_SCREENSHOTS" in os.environ else {"STEPS": 60, "VIEWS": 30}
STEPS = SHORT.get("STEPS", dd.TrainConfig().steps)
N_TEST, N_CLIP = 30, 48

# zmq's and jupyter_client's own; the kernel's run in the kernel.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def weights() -> Path:
    """The quick base's folder in the tests' cache."""
    return dd.models.fetch(BASE, progress=False).folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> SimpleNamespace:
    """The whole notebook on a local machine."""
    folder = tmp_path_factory.mktemp("local")
    notebook = runs.run(folder, runs.local_env(), {"BASE": BASE, **SHORT})
    return SimpleNamespace(notebook=notebook, project=folder / "transfer_learning_project")


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> SimpleNamespace:
    """The whole notebook on Colab; two pictures to look at and the weights lie on Drive already."""
    drive = tmp_path_factory.mktemp("drive")
    project = drive / "transfer_learning_project"
    shutil.copytree(weights, project / "cache" / weights.name)
    (project / "new_images").mkdir()
    for name in ("test_01.jpg", "test_02.jpg"):
        shutil.copy(ROOT / "data" / "ducks" / "test" / name, project / "new_images")
    runtime = runs.ColabRuntime(tmp_path_factory.mktemp("runtime"), drive)
    npm = weights.parent / "npm"  # the page's runtime, once it has been brought
    with_page = npm.is_dir() and importlib.util.find_spec("ai_edge_litert") is not None
    if with_page:
        shutil.copytree(npm, project / "cache" / "npm")
    notebook = runtime.run({"BASE": BASE, "EXPORT": with_page, **SHORT})
    return SimpleNamespace(notebook=notebook, project=project, runtime=runtime, drive=drive)


def only_run(project: Path) -> Path:
    (config,) = (project / "results").glob("*/config.json")
    return config.parent


def n_frames(gif: Path) -> int:
    with Image.open(gif) as image:
        return image.n_frames


def check_results(folder: Path, n_images: int) -> None:
    """Frames, a GIF of the right length, and detections with boxes inside their pictures."""
    frames = sorted((folder / "frames").iterdir())
    assert len(frames) == n_images
    assert n_frames(folder / "detections.gif") == n_images
    records = json.loads((folder / "detections.json").read_text())
    assert records
    sizes = {}
    for path in frames:
        with Image.open(path) as image:
            sizes[path.name] = image.size
    for record in records:
        x, y, w, h = record["bbox"]
        width, height = sizes[record["file_name"]]
        assert w > 0
        assert h > 0
        assert -0.01 <= x <= x + w <= width + 0.01
        assert -0.01 <= y <= y + h <= height + 0.01
        assert record["category_name"] == "rubber duck"


def check_whole_run(done: SimpleNamespace) -> None:
    folder = only_run(done.project)
    check_results(folder, N_TEST)
    assert json.loads((folder / "metrics.json").read_text())["AP50"] > 0.5
    assert dd.load_detector(folder).classes == ("rubber duck",)
    assert "the sample's own boxes are used" in runs.text(done.notebook, "labels")
    assert runs.images(done.notebook, "labels") == ["image/jpeg"]
    assert runs.images(done.notebook, "train") == ["image/png"]
    assert (folder / "curves.png").stat().st_size > 10_000
    assert f"{STEPS} steps trained now, 0 were done before" in runs.text(done.notebook, "train")
    assert runs.images(done.notebook, "detect") == ["image/jpeg"]
    assert runs.images(done.notebook, "animation") == ["image/gif"]
    assert "AP50" in runs.text(done.notebook, "figures")
    assert runs.images(done.notebook, "figures") == ["image/png"] * 2
    assert "Nothing wrong was found in the boxes of 5" in runs.text(done.notebook, "check")
    assert "report.html" in runs.text(done.notebook, "report")
    page = (folder / "report.html").read_text()
    assert f"{json.loads((folder / 'metrics.json').read_text())['AP50']:.3f}" in page
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    (frame,) = [
        o.data["text/html"]
        for o in runs.outputs(done.notebook, "report")
        if "<iframe" in o.get("data", {}).get("text/html", "")
    ]
    assert "srcdoc" in frame
    assert runs.images(done.notebook, "new") == ["image/gif"]


def new_folders(project: Path) -> list[Path]:
    return sorted((project / "results").glob("new_*"))


def stamps(*folders: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of all files below."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_local(local: SimpleNamespace) -> None:
    check_whole_run(local)
    assert "No GPU" in runs.text(local.notebook, "set-up") or "GPU:" in runs.text(
        local.notebook, "set-up"
    )
    (widget,) = runs.outputs(local.notebook, "draw")
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    (new,) = new_folders(local.project)
    assert re.fullmatch(r"new_\d{4}-\d\d-\d\d_\d{6}", new.name)
    check_results(new, N_CLIP)  # new_images is empty: the sample's clip


def test_colab(colab: SimpleNamespace) -> None:
    check_whole_run(colab)
    (new,) = new_folders(colab.project)
    check_results(new, 2)
    mounts = [call for call in colab.runtime.calls() if call.startswith("mount")]
    assert mounts == [f"mount {colab.runtime.content / 'gdrive'}"]
    assert "register_callback True" in colab.runtime.calls()  # the box widget is Colab's
    assert str(colab.runtime.content / "gdrive" / "MyDrive") in runs.text(colab.notebook, "base")
    assert not (colab.runtime.content / "root" / ".cache" / "duckdetect").exists()


def test_the_exported_page_is_shown_and_downloaded(colab: SimpleNamespace) -> None:
    if "download detector.html" not in colab.runtime.calls():
        pytest.skip(
            'needs ai-edge-litert (pip install "duckdetect[export]") and LiteRT.js in the cache'
        )
    (html,) = [
        o.data["text/html"]
        for o in runs.outputs(colab.notebook, "export")
        if "<iframe" in o.get("data", {}).get("text/html", "")
    ]
    assert 'allow="camera"' in html
    page = only_run(colab.project) / "export" / "detector.html"
    assert page.stat().st_size > 10e6
    told = runs.text(colab.notebook, "export")
    assert "lost 0, gained 0" in told
    assert str(page.relative_to(colab.project)) in told


def test_run_again_on_a_new_runtime(colab: SimpleNamespace, tmp_path: Path) -> None:
    before = new_folders(colab.project)
    folder = only_run(colab.project)
    kept = stamps(folder / "detector", colab.project / "cache", colab.project / "images")
    kept |= {path: stamp for path, stamp in stamps(folder).items() if path.parent == folder}
    again = runs.ColabRuntime(tmp_path / "runtime", colab.drive).run({"BASE": BASE, **SHORT})
    assert only_run(colab.project) == folder
    assert f"\n0 steps trained now, {STEPS} were done" in "\n" + runs.text(again, "train")
    now = stamps(colab.project)
    drawn_again = ("detections.gif", "detections.json", "curves.png", "metrics.json")
    drawn_again += ("report.html", "report.pdf", ".duckdetect-outputs")
    for path, stamp in kept.items():
        if path.name in drawn_again and path.parent == folder:
            continue
        assert now[path] == stamp, path
    assert folder / "history.csv" in kept
    assert len(new_folders(colab.project)) == len(before) + 1
    check_results(folder, N_TEST)


def test_new_images_need_only_the_set_up(colab: SimpleNamespace, tmp_path: Path) -> None:
    """Another day, on a fresh runtime: two uploaded pictures, the detector from Drive."""
    test = ROOT / "data" / "ducks" / "test"
    before = new_folders(colab.project)
    runtime = runs.ColabRuntime(tmp_path / "runtime", colab.drive)
    picked = {"STANDIN_UPLOAD": f"{test / 'test_03.jpg'}:{test / 'test_04.jpg'}"}
    notebook = runtime.run({"UPLOAD": True, "LOWEST_SCORE": 0.0}, ["set-up", "new"], picked)
    (new,) = set(new_folders(colab.project)) - set(before)
    check_results(new, 2)
    assert sorted(path.stem for path in (new / "frames").iterdir()) == ["test_03", "test_04"]
    assert runs.images(notebook, "new") == ["image/gif"]
    (upload,) = (colab.project / "new_images").glob("upload_*")
    assert len(list(upload.iterdir())) == 2


def test_own_images(tmp_path: Path, shared_data: Path, weights: Path) -> None:
    """Without boxes one clear line stops the notebook; with them the same cells go on."""
    photos = shared_data / "ducky" / "train"
    images = tmp_path / "transfer_learning_project" / "images"
    images.mkdir(parents=True)
    for path in photos.glob("*.jpg"):
        shutil.copyfile(path, images / path.name)
    boxes = photos / "_annotations.coco.json"
    draw = f"import shutil; shutil.copyfile({str(boxes)!r}, pictures.folder / {boxes.name!r});"
    cells = ["set-up", "pictures", "draw", "labels", draw, "labels", "base", "train", "detect"]
    notebook = runs.run(
        tmp_path,
        runs.local_env(),
        {"BASE": BASE, "PICTURES": "my own", "TRAIN": "heads", **SHORT},
        [*cells, "figures"],
        allow_errors=True,
    )
    assert "on its training pictures" in runs.text(notebook, "pictures")
    stopped = runs.text(notebook, "labels").strip()
    assert stopped.startswith("UserError: no box is drawn yet on the 5 pictures of")
    assert "\n" not in stopped
    assert runs.images(notebook, "labels-2") == ["image/jpeg"]
    folder = only_run(images.parent)
    assert len(list((folder / "frames").iterdir())) == 5
    assert json.loads((folder / "metrics.json").read_text())["AP50"] > 0.9


def test_refused_drive_is_one_line_with_the_cure(tmp_path: Path) -> None:
    runtime = runs.ColabRuntime(tmp_path, drive=None)
    notebook = runtime.run({}, ["set-up"], allow_errors=True)
    (error,) = [o for o in runs.outputs(notebook, "set-up") if o.output_type == "error"]
    assert error.ename == "UserError"
    (line,) = error.traceback
    assert "allow access to Drive" in line
    assert "\n" not in line


@pytest.mark.parametrize("how", ["folder", "zip", "zip of a folder", "nothing"])
def test_what_is_taken_when_the_clone_fails(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set-up cell as far as it looks for the package, in place of git a command that fails."""
    drive, content = tmp_path / "drive", tmp_path / "content"
    project = drive / "transfer_learning_project"
    for folder in (project / "cache", content):
        folder.mkdir(parents=True)
    source = tmp_path / "source" / "duckdetect-main"
    (source / "duckdetect").mkdir(parents=True)
    (source / "requirements-colab.txt").touch()
    if how == "folder":
        shutil.copytree(source, project / "duckdetect")
    elif how == "zip":
        shutil.make_archive(str(project / "duckdetect"), "zip", source)
    elif how == "zip of a folder":  # as GitHub makes them
        shutil.make_archive(str(project / "duckdetect-main"), "zip", source.parent)
    notebook = runs.read_notebook()
    runs.fill_in(notebook, {"MY_DRIVE": str(drive)})
    (cell,) = [cell.source for cell in notebook.cells if cell.id == "set-up"]
    code, n = re.subn(r"!git clone .*", "...", cell.partition("    packages =")[0])
    assert n == 1
    monkeypatch.chdir(content)
    colab = SimpleNamespace(drive=SimpleNamespace(mount=lambda where: None))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    values: dict[str, Path] = {}
    if how == "nothing":
        with pytest.raises(FileNotFoundError, match=r"cannot be cloned: upload .* duckdetect\.zip"):
            exec(code, values)
    else:
        exec(code, values)
        assert (values["code"] / "duckdetect").is_dir()


def test_the_notebook_as_committed() -> None:
    notebook = runs.read_notebook()
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    source = "\n".join(cell.source for cell in notebook.cells)
    assert "/blob/main/model.ipynb)" in notebook.cells[0].source
    assert notebook.metadata.colab.runtime_attributes.runtime_version in source


def test_the_form_fields_are_the_packages_defaults() -> None:
    source = "\n".join(cell.source for cell in runs.read_notebook().cells)
    fields = dict(re.findall(r"^([A-Z_]+) = (.*?)(?:  # @param.*)?$", source, re.MULTILINE))
    config = dd.TrainConfig()
    for name in ("steps", "batch_size", "learning_rate", "seed"):
        assert float(fields[name.upper()]) == getattr(config, name), name
    assert fields["TRAIN"] == f'"{config.train}"'
    assert fields["VIEWS"] == str(VIEWS)  # of a base that is light, or has a GPU to run on


def test_colab_gets_what_the_lock_files_pin() -> None:
    colab = (ROOT / "requirements-colab.txt").read_text()
    locks = "".join((ROOT / f"requirements{name}.lock").read_text() for name in ("", "-dev"))
    pins = re.findall(r"^(\S+==\S+)", colab, re.MULTILINE)
    assert {pin.split("==")[0] for pin in pins} == {
        "av",
        "fpdf2",
        "pydeprecate",
        "pi-heif",
        "supervision",
    }
    for pin in pins:
        assert re.search(rf"^{re.escape(pin)} ", locks, re.MULTILINE), f"{pin} is not in a lock"
    for digest in re.findall(r"sha256:([0-9a-f]{64})", colab):
        assert digest in locks
    assert "-r requirements-odapi.txt\n" in colab
    export = (ROOT / "requirements-colab-export.txt").read_text()
    for digest in re.findall(r"sha256:([0-9a-f]{64})", export):
        assert digest in locks


@pytest.mark.browser
def test_it_looks_right(local: SimpleNamespace, tmp_path: Path) -> None:
    """The executed notebook as a page in Chromium: its pictures are shown, nothing overflows."""
    pytest.importorskip("nbconvert", reason="nbconvert is not installed: pip install nbconvert")
    from helpers import notebook_docs
    from helpers.browser import chrome as browser

    notebook = notebook_docs.tidied(local.notebook, local.project.parent)
    page = tmp_path / "model.html"
    page.write_text(notebook_docs.as_html(notebook), encoding="utf-8")
    with browser.start(tmp_path / "profile") as chrome:
        shown = notebook_docs.shown_images(chrome, page)
        assert len(shown) == 7
        for image in shown:
            assert image["loaded"] > 100
            assert 100 < image["width"] <= image["room"] + 1
        if "DUCKDETECT_SCREENSHOTS" in os.environ:
            docs = Path(os.environ["DUCKDETECT_SCREENSHOTS"])
            notebook_docs.keep_page(chrome, tmp_path / "page.png")
            notebook_docs.keep_result(chrome, docs / "notebook_result.png")
            notebook_docs.write_copy(notebook, docs / "model_executed.ipynb")
            shutil.copy(only_run(local.project) / "curves.png", docs / "loss_curve.png")
