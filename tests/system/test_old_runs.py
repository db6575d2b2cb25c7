"""What released versions wrote stays readable: runs, detectors, evaluations, drawn boxes.

A folder below tests/fixtures holds what one version wrote (its README says how). Each test works on a
copy of it, as the user's working directory, and compares with what that version itself found.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import duckdetect as dd
from duckdetect import notebook
from duckdetect.cli import main
from duckdetect.inference.trust import remember

VERSION = Path(__file__).resolve().parents[1] / "fixtures" / "v0_1_0"
RECORDED: dict[str, Any] = json.loads((VERSION / "project" / "recorded.json").read_text())
RESUMED_AT = {"ssd": 40, "mask_rcnn": 100}
# Two scales are fused in another way since: the same weights score small objects otherwise.
THRESHOLD_NOW = {"ssd": 0.49}
STEPS = 120
CLASSES = ("rubber duck", "frog")

# -- what the public face does not offer: adapt these where the internals move ----------------------


def register_extractor() -> None:
    """Let the Object Detection API build the fixtures' Mask R-CNN, which is no model of the zoo."""
    from duckdetect.models.tfod.api import model_builder

    path = VERSION / "tiny_extractor.py"
    spec = importlib.util.spec_from_file_location("tiny_extractor_v0_1_0", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.register(model_builder)


def train(base: str, data: dd.Dataset, config: dd.TrainConfig, out: Path, **more: Any) -> Any:
    return dd.train(data, base, out, config, progress=False, **more)


def drawing_session(folder: Path) -> Any:
    """What `dd.annotate` returns, without a notebook to draw in."""
    from duckdetect.annotation.session import Session

    return Session(folder, list(CLASSES))


def new_box(xyxy: tuple[float, float, float, float], class_name: str) -> Any:
    from duckdetect.annotation.store import Box

    return Box(xyxy, class_name)


# ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUCKDETECT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the fixtures as the working directory, which their relative paths start from."""
    folder = shutil.copytree(VERSION / "project", tmp_path / "project")
    monkeypatch.chdir(folder)
    for run in (folder / "runs").iterdir():  # as its owner says with --trust, once
        remember(run / "detector")
    return folder


@pytest.fixture(params=["ssd", "mask_rcnn"])
def name(request):
    return request.param


def settings(name: str) -> dd.TrainConfig:
    """The settings as the old run's config.json has them."""
    return dd.TrainConfig.from_dict(read_json(f"runs/{name}/config.json")["train"])


def data_of(name: str) -> tuple[dd.Dataset, dict[str, dd.Dataset]]:
    """What the old run was trained on, and what it was validated on."""
    val = {"val": dd.load_dataset("data", "valid")} if name == "ssd" else {}
    return dd.load_dataset("data", "train"), val


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def contents(folder: str | Path) -> dict[Path, tuple[bytes, int]]:
    """Every file's bytes and time below a folder."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def history(folder: str | Path) -> np.ndarray:
    return np.genfromtxt(Path(folder) / "history.csv", delimiter=",", names=True)


def weights(folder: str | Path) -> list[np.ndarray]:
    """The variables of a saved detector, in no particular order: its writer has none."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(Path(folder) / "detector" / "variables" / "variables"))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith("weights/")]
    return [reader.get_tensor(n) for n in names]


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_fixtures_hold_each_function_that_a_detector_may_have():
    import tensorflow as tf

    for name, functions in (
        ("ssd", ["prepare", "detect", "prepare_fine", "detect_fine", "weights"]),
        ("mask_rcnn", ["prepare", "detect", "weights"]),
    ):
        saved = tf.saved_model.load(str(VERSION / "project" / "runs" / name / "detector"))
        assert [f for f in functions if not hasattr(saved, f)] == []


def test_a_detector_finds_what_it_found(name, project):
    expected = RECORDED[name]["test_1.png"]
    detector = dd.load_detector(f"runs/{name}")
    assert tuple(detector.classes) == CLASSES
    assert detector.threshold == read_json(f"runs/{name}/detector/detector.json")["threshold"]
    picture = np.asarray(Image.open("data/test/test_1.png").convert("RGB"))
    found = detector.predict(picture, expected["threshold"])
    assert len(found) >= 3
    np.testing.assert_array_equal(found.class_id, expected["class_id"])
    np.testing.assert_allclose(found.confidence, expected["score"], atol=1e-4)
    np.testing.assert_allclose(found.xyxy, expected["xyxy"], atol=1e-2)  # pixels: 1e-4 of the side
    assert list(found.data["class_name"]) == [CLASSES[i] for i in expected["class_id"]]
    if name == "mask_rcnn":
        areas = found.mask.sum(axis=(1, 2))
        np.testing.assert_allclose(areas, expected["mask_areas_px"], atol=2)
    else:
        assert found.mask is None


@pytest.mark.parametrize("speed", ["", "_fast"])
def test_detect_writes_what_it_wrote(name, speed, project):
    fast = ["--fast"] if speed else []
    assert main(["detect", f"runs/{name}", "data/test", "--out", "new", *fast]) == 0
    now, then = (
        read_json("new/detections.json"),
        read_json(f"detected/{name}{speed}/detections.json"),
    )
    assert then
    assert len(now) == len(then)
    for one, other in zip(now, then, strict=True):
        assert other.keys() <= one.keys()
        for key in ("image_id", "file_name", "category_id", "category_name"):
            assert one[key] == other[key]
        assert one["score"] == pytest.approx(other["score"], abs=2e-4)
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.02)


def test_it_is_measured_with_the_same_figures(name, project):
    run = Path("runs", name)
    then = read_json(run / "metrics.json")
    (run / "metrics.json").unlink()
    shutil.rmtree(run / "evaluation")
    assert main(["eval", str(run), "data", "--split", "test"]) == 0
    now = read_json(run / "metrics.json")
    figures = [key for key in then if key.startswith(("AP", "AR", "n_pictures", "n_boxes"))]
    assert then["AP50"] > 0.4
    assert {key: now[key] for key in figures} == pytest.approx(
        {k: then[k] for k in figures}, abs=1e-4
    )
    if name == "mask_rcnn":
        assert now["masks"]["AP50"] == pytest.approx(then["masks"]["AP50"], abs=1e-4)
    metrics = dd.evaluate(dd.load_detector(run), dd.load_dataset("data", "test"))
    assert abs(metrics.AP50 - then["AP50"]) < 1e-4


def test_the_report_shows_what_was_measured_then(name, project):
    run = Path("runs", name)
    before = contents(run / "evaluation")
    assert main(["report", str(run)]) == 0
    assert contents(run / "evaluation") == before, "what was measured is not measured again"
    text = (run / "report.html").read_text(encoding="utf-8")
    metrics = read_json(run / "metrics.json")
    assert f"{metrics['AP50']:.3f}" in text
    assert f"{metrics['AP']:.3f}" in text
    assert f"and {settings(name).views} augmented views " in text  # which 0.1.0 called looks
    assert (run / "report.pdf").stat().st_size > 1000


def test_a_finished_run_is_still_the_same_run(name, project):
    register_extractor()
    before = contents(f"runs/{name}")
    data, val = data_of(name)
    base = RECORDED[name]["weights"]
    run = train(
        RECORDED[name]["base"], data, settings(name), Path("runs", name), weights=base, **val
    )
    assert run.resumed == STEPS
    assert len(run.history) == STEPS
    assert [row["step"] for row in run.validation] == ([20, 40, 60, 80, 100, 120] if val else [])
    assert contents(f"runs/{name}") == before


def test_the_same_command_line_finds_it_too(name, project, capsys):
    before = contents(f"runs/{name}")
    assert main(["train", *RECORDED[name]["train"], "--out", f"runs/{name}"]) == 0
    assert contents(f"runs/{name}") == before
    # While other settings are another run, which is not touched either.
    other = ["train", *RECORDED[name]["train"], "--out", f"runs/{name}", "--seed", "99"]
    assert main(other) == 2
    assert "another run" in capsys.readouterr().err
    assert contents(f"runs/{name}") == before


def test_an_interrupted_run_ends_as_it_would_have_ended(name, project):
    register_extractor()
    out, whole = Path(f"runs/{name}_interrupted"), Path(f"runs/{name}")
    assert (out / "state.npz").exists()
    data, val = data_of(name)
    base = RECORDED[name]["weights"]
    run = train(RECORDED[name]["base"], data, settings(name), out, weights=base, **val)
    assert run.resumed == RESUMED_AT[name]
    now, then = history(out), history(whole)
    assert set(then.dtype.names) <= set(now.dtype.names)
    for column in then.dtype.names:
        np.testing.assert_allclose(now[column], then[column], rtol=1e-4, atol=1e-5, err_msg=column)
    found, expected = weights(out), weights(whole)
    # Since then a detector also keeps how surely its confusable classes told the objects themselves.
    assert len(found) == len(expected) + (name == "ssd")
    for value in expected:
        same = [i for i, other in enumerate(found) if close(other, value)]
        assert same, f"no variable ended as one of {value.shape} did then"
        del found[same[0]]
    assert read_json(out / "config.json")["done"] is True
    assert not (out / "state.npz").exists()
    threshold = THRESHOLD_NOW.get(name, dd.load_detector(whole).threshold)
    assert dd.load_detector(out).threshold == pytest.approx(threshold, abs=2e-3)


@pytest.mark.parametrize("which", ["its own", "default"])
def test_a_notebook_finds_the_run_that_it_trained(name, which, project):
    """The notebooks name a run's folder by a check sum of its settings and pictures."""
    recorded = RECORDED[name]
    if which == "default":
        folder = Path("results", recorded["notebook_folder_of_defaults"])
        config = dd.TrainConfig.from_dict(recorded["defaults"])
    else:
        folder, config = Path("results", recorded["notebook_folder"]), settings(name)
    shutil.copytree(f"runs/{name}", folder)
    if which == "default":
        written = read_json(folder / "config.json")
        written["train"] = recorded["defaults_in_config_json"]
        (folder / "config.json").write_text(json.dumps(written))
    data, val = data_of(name)
    found = notebook.run_folder(Path("results"), recorded["base"], data, config, **val)
    assert found == folder
    run = train(recorded["base"], data, config, found, weights=recorded["weights"], **val)
    assert run.resumed == config.steps, "it is finished, and not trained again"


def test_boxes_that_were_drawn_are_read_and_drawn_on(project):
    folder = project / "drawn"
    data = dd.load_dataset(folder)
    assert [sample.path.name for sample in data.samples] == ["train_1.png", "train_2.png"]
    assert tuple(data.classes) == CLASSES
    np.testing.assert_allclose(
        data.samples[0].xyxy, [[10.25, 20, 60.5, 70.75], [70, 5, 120, 50]], atol=1e-3
    )
    assert data.samples[0].class_id.tolist() == [0, 1]
    assert len(data.samples[1].xyxy) == 0, 'marked "no object"'

    session = drawing_session(folder)
    assert session.missing == ["train_3.png"]
    assert [box.class_name for box in session.boxes(0)] == list(CLASSES)
    session.save(0, [*session.boxes(0), new_box((1, 2, 30, 40), "frog")])
    session.mark_no_object(2)
    assert session.missing == []
    coco = read_json(folder / "_annotations.coco.json")
    assert coco["info"]["contributor"] == "somebody"
    assert coco["annotations"][0]["note"] == "kept"
    assert [len(sample.xyxy) for sample in dd.load_dataset(folder).samples] == [3, 0, 0]


def test_the_export_that_its_network_does_not_allow_is_one_line(project, capsys):
    export = ["export", "runs/ssd", "--data", "data/train", "--trust"]
    assert main([*export, "--out", "ssd.tflite"]) == 2
    assert "export it with --to saved-model, or train it again" in capsys.readouterr().err
