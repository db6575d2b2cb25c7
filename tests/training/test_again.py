"""Training again from a run: what was handed back goes, what was known stays, the old run too."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.bases import mobilenet
from helpers.run_folders import put_run
from PIL import Image

import duckdetect as dd
from duckdetect import UserError
from duckdetect.cli import main
from duckdetect.data.corrections import FORMAT
from duckdetect.evaluation.compare import compare, known_test
from duckdetect.evaluation.evaluate import collect_detections
from duckdetect.inference.run_config import read_config
from duckdetect.report.training import train_commands
from duckdetect.report.write import write_report
from duckdetect.training.again import _earlier, add_classes, train_again
from duckdetect.training.run_folder import read_history
from duckdetect.utils.files import folder_sha256

STOCK = dd.TrainConfig.stock


def put_corrections(path, *pictures):
    path.write_text(json.dumps({"format": FORMAT, "pictures": pictures}))
    return path


def test_what_nobody_looked_at_is_neither_object_nor_background():
    base = mobilenet(1)
    boxes = np.array([[0.1, 0.1, 0.4, 0.4]], np.float32)
    wrong = np.array([[0.5, 0.5, 0.9, 0.9]], np.float32)
    anchors = np.asarray(base._anchors)
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    plain = base.assign(boxes, np.zeros(1, int))
    part = base.assign(boxes, np.zeros(1, int), wrong, whole=False)
    np.testing.assert_array_equal(part.class_index, plain.class_index)
    matched = plain.class_index >= 0
    assert matched.any()
    assert (part.class_weight[matched] == 1).all()
    unknown = (centre[:, 0] < 0.45) & (centre[:, 1] > 0.5)
    assert (part.class_weight[unknown] == 0).all()
    assert (plain.class_weight[unknown] == 1).all()
    in_wrong = ((anchors >= 0.5) & (anchors <= 0.9)).all(axis=1)
    assert (part.class_weight[in_wrong] > 1).all()
    assert (part.class_index[in_wrong] == -1).all()
    # Of a picture that is known as a whole all the rest is background.
    whole = base.assign(boxes, np.zeros(1, int), wrong)
    assert (whole.class_weight[unknown] == 1).all()


@pytest.fixture(scope="module")
def run(project_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("again") / "duck"
    return dd.train(project_data / "ducks" / "train", out=out, config=STOCK(), progress=False)


def test_what_is_handed_back_once_does_not_come_again(run, project_data, tmp_path, monkeypatch):
    """The green apple that scores as a duck; pasted into other pictures it does no more, either."""
    before = folder_sha256(run.folder / "detector")
    picture = project_data / "ducks" / "test" / "test_11.jpg"
    apple = (386, 182, 498, 275)
    others = []
    for i, name in enumerate(("test_26.jpg", "test_30.jpg")):
        other = Image.open(project_data / "ducks" / "test" / name)
        other.paste(Image.open(picture).crop(apple), (60 + 300 * i, 320))
        others.append(np.asarray(other))
    was = max(float(f.confidence.max(initial=0)) for f in run.detector.predict(others, 0.01))
    bbox = [apple[0], apple[1], apple[2] - apple[0], apple[3] - apple[1]]
    file = put_corrections(
        tmp_path / "wrong.json", {"file": str(picture), "wrong": [{"bbox": bbox}]}
    )
    measured = []
    monkeypatch.setattr(
        "duckdetect.training.again.compare", lambda *a: measured.append(compare(*a)) or measured[0]
    )
    again = train_again(run.folder, file, settings={"steps": 60}, progress=False)

    assert again.folder == run.folder.with_name("duck-2")
    assert folder_sha256(run.folder / "detector") == before
    assert dd.load_detector(run.folder).threshold == run.detector.threshold
    # Trained on, not from the base: the loss begins where the run ended.
    assert again.history[0]["loss"] < 0.5 * run.history[0]["loss"]
    assert "1 of 1 wrong detection gone" in again.compared
    assert "29 test pictures" in again.compared
    now = max(float(f.confidence.max(initial=0)) for f in again.detector.predict(others, 0.01))
    assert now < again.detector.threshold
    assert now < was
    assert measured[0].new.AP > measured[0].old.AP - 0.02

    # The same call again trains nothing; the next round knows what was said before.
    monkeypatch.setattr("duckdetect.training.again.known_test", lambda *_: None)
    assert train_again(run, file, settings={"steps": 60}, progress=False).resumed == 60
    (kept,) = _earlier(again.folder, {}, again.detector).samples
    assert (kept.path.name, kept.whole) == ("test_11.jpg", False)


def test_a_kernel_killed_while_it_trains_again_loses_nothing(run, project_data, tmp_path):
    """What was handed back is in the new run's folder before its first step; the old run stays."""
    before = folder_sha256(run.folder / "detector")
    picture = project_data / "ducks" / "test" / "test_11.jpg"
    file = put_corrections(
        tmp_path / "wrong.json", {"file": str(picture), "wrong": [{"bbox": [386, 182, 112, 93]}]}
    )
    out, settings = tmp_path / "more", {"steps": 200, "save_every": 10}
    code = (
        "from duckdetect.training.again import train_again\n"
        f"train_again({str(run.folder)!r}, {str(file)!r}, {str(out)!r}, {settings!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as kernel:
        while not (out / "state.npz").exists() and kernel.poll() is None:
            time.sleep(0.01)
        kernel.kill()
    assert kernel.returncode == -signal.SIGKILL
    file.unlink()
    again = train_again(run.folder, out / "corrections.json", out, settings, progress=False)
    assert 10 <= again.resumed < 200
    assert len(again.history) == 200
    (kept,) = _earlier(out, {}, again.detector).samples
    assert (kept.path.name, len(kept.hard_negatives)) == ("test_11.jpg", 1)
    assert folder_sha256(run.folder / "detector") == before


def test_more_steps_on_the_same_pictures(run, project_data, tmp_path, capsys, monkeypatch):
    out = tmp_path / "more"
    test = dd.load_dataset(project_data / "ducks", "test").subset(range(3))
    monkeypatch.setattr("duckdetect.training.again.known_test", lambda *_: test)
    assert main(["train", str(run.folder), "--steps", "3", "-o", str(out), "-q"]) == 0
    history = read_history(out)
    assert len(history) == 3
    assert history[0]["loss"] < 0.5 * run.history[0]["loss"]
    assert "on 3 test pictures" in capsys.readouterr().out


def test_what_the_old_run_found_is_not_looked_for_again(run, project_data, tmp_path, monkeypatch):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    test = dd.load_dataset(project_data / "ducks", "test").subset(range(3))
    whole = compare(run.detector, run.detector, test)
    dd.evaluate(folder, test)
    looked_at = []
    monkeypatch.setattr(
        "duckdetect.evaluation.compare.collect_detections",
        lambda *a: looked_at.append(a) or collect_detections(*a),
    )
    assert compare(run.detector, run.detector, test, folder) == whole
    assert len(looked_at) == 1
    compare(run.detector, run.detector, test.subset([0, 1]), folder)  # other pictures
    assert len(looked_at) == 3


def test_a_class_is_added_without_the_old_pictures(run, project_data, tmp_path, monkeypatch):
    picture = project_data / "ducks" / "test" / "test_11.jpg"
    apple = np.array([[386, 182, 498, 275]], np.float32)
    apples = dd.Dataset(
        tmp_path, ("apple",), (dd.Sample(picture, 1, (480, 640), apple, np.zeros(1, int)),)
    )
    monkeypatch.setattr("duckdetect.training.again._pictures_of", lambda *_: pytest.fail("read"))
    monkeypatch.setattr("duckdetect.training.again.known_test", lambda *_: None)
    out = tmp_path / "both"
    both = dd.train(
        apples, add_to=run, out=out, config=STOCK(steps=80, train="heads"), progress=False
    )
    assert both.detector.classes == ("rubber duck", "apple")

    before, now = run.detector.weights(), both.detector.weights()
    assert before.keys() == now.keys()
    for name, old in before.items():
        if old.shape == now[name].shape:
            np.testing.assert_array_equal(now[name], old)  # the box head
        else:
            q = old.shape[-1] // 2
            columns = [w.reshape(*w.shape[:-1], q, -1) for w in (old, now[name])]
            np.testing.assert_array_equal(columns[1][..., :2], columns[0])
    found = both.detector.predict(picture, 0.5)
    names = found.data["class_name"].tolist()
    assert "apple" in names
    x1, y1, x2, y2 = found.xyxy[names.index("apple")]
    assert abs(x1 - 386) + abs(y1 - 182) + abs(x2 - 498) + abs(y2 - 275) < 120
    assert dd.load_detector(out).classes == both.detector.classes

    ducks = dd.load_dataset(project_data / "ducks", "train")
    with pytest.raises(UserError, match=r"labels nothing that .* does not know"):
        dd.train(ducks, add_to=run)
    with pytest.raises(UserError, match="choose another --out"):
        dd.train(apples, add_to=run, out=run.folder)


def test_settings_come_before_the_runs_own_and_unknown_ones_are_told(
    run, project_data, monkeypatch
):
    taken = []
    monkeypatch.setattr(
        "duckdetect.training.again._finetuned",
        lambda start, data, config, *_, **__: taken.append(config),
    )
    data = dd.load_dataset(project_data / "ducks", "train")
    dd.train(data, start=run, config={"steps": 3}, progress=False)
    hens = dd.Dataset(data.root, ("hen",), data.samples)
    dd.train(hens, add_to=run, config={"steps": 4}, progress=False)
    assert [c.steps for c in taken] == [3, 4]
    assert {c.views for c in taken} == {STOCK().views} != {dd.TrainConfig().views}
    for more in ({"start": run}, {"add_to": run}):
        with pytest.raises(UserError, match=r"unknown setting 'stepz': did you mean"):
            dd.train(hens if "add_to" in more else data, config={"stepz": 3}, **more)


def test_from_base_begins_with_the_base_on_all_the_pictures(run, project_data, tmp_path, capsys):
    test = dd.load_dataset(project_data / "ducks", "test")
    more = test.subset([i for i, sample in enumerate(test.samples) if len(sample.xyxy)][:2])
    few = {"steps": 3, "views": 0, "train": "heads", "masks": "no"}
    out = tmp_path / "again"
    again = dd.train(more, start=run, from_base=True, out=out, config=few, progress=False)
    first = dd.load_dataset(project_data / "ducks", "train")
    whole = dd.Dataset(first.root, first.classes, (*first.samples, *more.samples))
    fresh = dd.train(whole, config=again.config, progress=False)
    for name, value in fresh.detector.weights().items():
        np.testing.assert_array_equal(again.detector.weights()[name], value, err_msg=name)
    assert again.config.batch_size == dd.TrainConfig().batch_size  # not the run's
    assert again.config.class_init == run.config.class_init  # the run's

    known = read_config(out)
    assert known["start"]["from_base"]
    assert known["start"]["corrected"] == 2
    assert len(_earlier(out, {}, again.detector)) == 2  # for the next one
    assert train_commands(out, known)[0].startswith(
        f"duckdetect train {run.folder} --correct {out}/corrections.json --from-base "
    )
    on = dd.train(more, start=run, out=tmp_path / "on", config=few, progress=False)
    assert any(
        (on.detector.weights()[name] != value).any()
        for name, value in again.detector.weights().items()
    )

    with pytest.raises(UserError, match="from_base says how a run is trained on from"):
        dd.train(more, from_base=True)
    for given in (
        ["images", "--from-base"],
        ["images", "--add-to", str(run.folder), "--from-base"],
    ):
        assert main(["train", *given]) == 2
        assert "--from-base" in capsys.readouterr().err


def test_runs_that_were_renamed_and_name_each_other_are_no_loop(
    project_data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = put_run(tmp_path / "duck", dd.load_dataset(project_data / "ducks", "train"))
    path = run / "config.json"
    config = {**json.loads(path.read_text()), "start": {"run": "duck"}}
    path.write_text(json.dumps(config))
    nobody = dd.Dataset(tmp_path, ("rubber duck",), ())
    for earlier in ("duck", "gone"):
        path.write_text(json.dumps({**config, "start": {"run": earlier}}))
        found = known_test(run, nobody)
        assert found is not None
        assert len(found) == 30
    # What was trained on since is no test, under whatever name.
    copied = shutil.copy(found.samples[3].path, tmp_path / "copy.jpg")
    copies = replace(nobody, samples=(replace(found.samples[3], path=Path(copied)),))
    found = known_test(run, copies)
    assert found is not None
    assert len(found) == 29


def test_a_run_whose_pictures_are_gone_is_not_trained_on(project_data, tmp_path, monkeypatch):
    shutil.copytree(project_data / "ducks" / "train", tmp_path / "train")
    folder = put_run(tmp_path / "run", dd.load_dataset(tmp_path / "train"))
    monkeypatch.setattr("duckdetect.training.again.load_detector", _Known)
    file = put_corrections(tmp_path / "c.json", {"file": "train/duck_01.jpg", "whole": True})
    (tmp_path / "train" / "duck_02.jpg").unlink()
    with pytest.raises(UserError, match=r"are gone or changed .*put them back"):
        train_again(folder, file, progress=False)
    with pytest.raises(UserError, match="was not written to a folder"):
        train_again(dd.TrainRun(None, _Known(), []), file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("train", v) for v in (None, [1], {"steps": 5, "views": {}}, {"steps": 5, "seed": 1e400})),
        *(("data", v) for v in (None, {"sha256": "0"}, {"folder": "x"})),
        *(("base", v) for v in (None, 5)),
        ("done", "yes"),
    ],
)  # fmt: skip
def test_a_run_whose_config_is_broken_is_one_line(key, value, project_data, tmp_path, monkeypatch):
    ducks = dd.load_dataset(project_data / "ducks", "train")
    folder = put_run(tmp_path / "run", ducks)
    monkeypatch.setattr("duckdetect.training.again.load_detector", _Known)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    frogs = dataclasses.replace(ducks, classes=("frog",))
    for again in (train_again, add_classes, write_report):
        with pytest.raises(UserError, match=r"config\.json.* is broken .*: train the run again$"):
            again(folder, *((frogs,) if again is add_classes else ()))


def test_corrections_that_are_gone_are_not_forgotten_in_silence(
    project_data, tmp_path, monkeypatch
):
    folder = put_run(tmp_path / "run", dd.load_dataset(project_data / "ducks", "train"))
    monkeypatch.setattr("duckdetect.training.again.load_detector", _Known)
    config = json.loads((folder / "config.json").read_text())
    start = {"run": "old", "corrected": 2, "sha256": "0"}
    (folder / "config.json").write_text(json.dumps({**config, "start": start}))
    with pytest.raises(UserError, match=r"holds 0 of the 2 corrected .*: put it back as it was"):
        train_again(folder)
    picture = {"file": str(project_data / "ducks" / "train" / "duck_01.jpg"), "whole": True}
    put_corrections(folder / "corrections.json", picture)
    with pytest.raises(UserError, match="holds 1 of the 2 corrected pictures"):
        train_again(folder)


def test_a_class_that_differs_in_case_is_no_new_one(project_data, tmp_path, monkeypatch):
    ducks = dd.load_dataset(project_data / "ducks", "train")
    folder = put_run(tmp_path / "run", ducks)
    monkeypatch.setattr("duckdetect.training.again.load_detector", _Known)
    with pytest.raises(UserError, match=r"'Rubber Duck' of .* is no new one: rename it there"):
        add_classes(folder, dataclasses.replace(ducks, classes=("Rubber Duck",)))


class _Known:
    """A detector of which only its classes matter."""

    two_stage = has_masks = False
    classes = ("rubber duck",)

    def __init__(self, folder=None) -> None:
        self.folder = folder
