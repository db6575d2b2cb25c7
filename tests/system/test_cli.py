"""The verbs, through main([...]), on the sample data."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

import duckdetect as dd
from duckdetect.cli.app import main
from duckdetect.data.loading import load_dataset, load_training
from duckdetect.demo import run_demo
from duckdetect.evaluation.evaluate import evaluate
from duckdetect.imaging.io import load_image
from duckdetect.inference.detector import load_detector
from duckdetect.training.run_folder import read_history, read_validation


@pytest.fixture(scope="module")
def run(project_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    command = ["train", str(project_data / "ducks" / "train"), "--out", str(out)]
    assert main([*command, "--base", "ssd_mobilenet_v2", "--recipe", "stock"]) == 0
    return out


def test_detect_on_a_folder(run, project_data, tmp_path, capsys):
    clip = project_data / "ducks_clip"
    assert main(["detect", str(run), str(clip), "--out", str(tmp_path), "--threshold", "0.3"]) == 0
    frames = sorted((tmp_path / "frames").iterdir())
    assert [f.name for f in frames] == sorted(p.name for p in clip.glob("*.jpg"))
    with Image.open(tmp_path / "detections.gif") as gif:
        assert gif.n_frames == len(frames) == 48
    rows = json.loads((tmp_path / "detections.json").read_text())
    assert {row["category_name"] for row in rows} == {"rubber duck"}
    assert {row["category_id"] for row in rows} == {1}
    assert all(row["score"] >= 0.3 for row in rows)
    with_duck = {row["file_name"] for row in rows}
    assert len(with_duck) > 30, "most frames hold the duck"
    assert "detections.gif" in capsys.readouterr().out


def test_detect_on_one_image_twice_gives_the_same(run, project_data, tmp_path):
    image = project_data / "ducks" / "test" / "test_01.jpg"
    texts = []
    for _ in range(2):
        assert main(["detect", str(run), str(image), "--out", str(tmp_path)]) == 0
        texts.append((tmp_path / "detections.json").read_text())
    assert texts[0] == texts[1]
    done = dd.detect(run, [image, image], tmp_path / "both", progress=False)
    assert (done.n_images, done.notes[0]) == (
        1,
        "1 picture is given twice: each is looked at once",
    )


def test_detect_by_default_writes_a_new_results_folder_and_goes_on_after_a_bad_image(
    run, project_data, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    new = shutil.copytree(project_data / "ducks" / "test", tmp_path / "new")
    (new / "test_01.jpg").write_bytes(b"")
    command = ["detect", str(run), "new", "--save-crops", "--classes", "rubber duck", "-t", "0.3"]
    assert main(command) == 1
    assert "not read: new/test_01.jpg is empty" in capsys.readouterr().out
    assert main(["detect", str(run), "new/*2.jpg", str(new / "test_03.jpg")]) == 0
    rows = json.loads((tmp_path / "results" / "new" / "detections.json").read_text())
    crops = sorted((tmp_path / "results" / "new" / "crops").iterdir())
    assert len(crops) == len(rows) > 10
    sizes = {load_image(path).shape[1::-1] for path in crops}
    assert (round(rows[0]["bbox"][2]), round(rows[0]["bbox"][3])) in {
        (w + dx, h + dy) for w, h in sizes for dx in (-1, 0, 1) for dy in (-1, 0, 1)
    }
    assert main(["detect", str(run), "new", "--strict"]) == 2
    assert main(["detect", str(run), "new", "--classes", "swan"]) == 2
    assert "no class 'swan': it has rubber duck" in capsys.readouterr().err
    assert main(["detect", str(run), "new", "--device", "abacus"]) == 2
    assert "give cpu or gpu" in capsys.readouterr().err


def test_eval_prints_and_writes_the_figures(run, project_data, tmp_path, capsys):
    out = tmp_path / "figures.json"
    data = str(project_data / "ducks" / "train")
    assert main(["eval", str(run), data, "--out", str(out)]) == 0
    metrics = json.loads(out.read_text())
    assert metrics == json.loads((run / "metrics.json").read_text())
    assert {"AP", "AP50", "AP75", "AR100", "best_threshold", "per_class"} <= metrics.keys()
    assert metrics["AP50"] > 0.9
    assert "AP50" in capsys.readouterr().out


def test_training_again_says_so(run, project_data, capsys):
    command = ["train", str(project_data / "ducks" / "train"), "--out", str(run)]
    assert main([*command, "--base", "ssd_mobilenet_v2", "--recipe", "stock"]) == 0
    assert "trained already" in capsys.readouterr().out


def test_training_with_validation(project_data, tmp_path, capsys):
    out = tmp_path / "run"
    data = project_data / "ducks"
    command = ["train", str(data / "train"), "--val", str(data / "test"), "--out", str(out)]
    settings = [
        "--train",
        "heads",
        "--masks",
        "no",
        "--steps",
        "12",
        "--looks",
        "4",
        "--val-every",
        "5",
        "--warmup",
        "3",
    ]
    assert main([*command, "--base", "ssd_mobilenet_v2", *settings]) == 0
    views = read_validation(out)
    assert [row["step"] for row in views] == [5, 10, 12]
    best = max(views, key=lambda row: row["AP50"] + row["AP"])
    said = capsys.readouterr().out
    assert f"at step {best['step']}: AP50 {best['AP50']:.3f}" in said
    rates = [row["learning_rate"] for row in read_history(out)]
    assert rates[0] < rates[1] < rates[2] < rates[3] > rates[-1]
    # What was kept is what was best: the saved detector, with one look as in validation, is as good.
    detector = load_detector(out)
    detector.high_res_hw = None
    metrics = evaluate(detector, load_dataset(data / "test"))
    assert pytest.approx(best["AP50"]) == metrics.AP50


def test_the_valid_split_is_watched_unless_told_otherwise(project_data, tmp_path):
    split = tmp_path / "split.json"
    ducks = str(project_data / "ducks" / "test")
    assert main(["split", ducks, "--file", str(split)]) == 0
    train, valid = load_training(split)
    assert valid is not None
    assert {s.path for s in train}.isdisjoint(s.path for s in valid)
    assert load_training(split, use_valid=False)[1] is None
    assert load_training(split, ducks)[1].root != split


def test_bases_and_fetch(capsys):
    assert main(["bases"]) == 0
    out = capsys.readouterr().out
    assert "retinanet50\n    SSD ResNet50 V1 FPN 640x640" in out
    assert "ssd_mobilenet_v2\n" in out
    assert "BaseStatus" not in out
    assert main(["fetch", "ssd_mobilenet_v2"]) == 0
    assert "ssd_mobilenet_v2 is in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["train", "nowhere", "--out", "x"], "nowhere is not there"),
        (["train", ".", "--out", "x", "--recipe", "magic"], "few-shot, stock"),
        (["detect", "nowhere", ".", "--out", "x"], "holds no detector"),
        # Said before the detector is loaded.
        (["detect", "nowhere", "a.jpg", "--out", "x"], "a.jpg is not there"),
        (["fetch", "retinanet"], "retinanet50"),
        (["check", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(argv, said, capsys, tmp_path, monkeypatch):
    Image.new("RGB", (32, 32)).save(tmp_path / "b.jpg")
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    err = capsys.readouterr().err.strip()
    assert said in err
    assert "\n" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["b.jpg"]


def test_an_unknown_option_is_exit_code_2(capsys):
    assert main(["train", "--colour", "red"]) == 2
    assert "--colour" in capsys.readouterr().err


def test_the_demo(tmp_path, project_data):
    demo = run_demo("ssd_mobilenet_v2", tmp_path / "demo")
    assert demo.metrics.AP50 > 0.7
    assert demo.images.n_images == 30
    assert demo.clip.n_images == 48
    for name in (
        "detections.gif",
        "clip/detections.gif",
        "curves.png",
        "report.html",
        "report.pdf",
    ):
        assert (tmp_path / "demo" / name).stat().st_size > 0
    assert str(tmp_path / "demo" / "detections.gif") in demo.text()
