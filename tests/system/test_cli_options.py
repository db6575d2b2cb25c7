"""The command line's options, without training."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.labelled_folders import put_coco

import duckdetect as dd
from duckdetect.cli import main
from duckdetect.training.config import flag, settings

VERBS = (
    "demo", "bases", "fetch", "check", "convert", "split", "outline", "roboflow", "train", "eval",
    "threshold", "detect", "report", "suggest", "export", "bulk", "cache",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """What `dd.train` was called with, instead of training; `images` holds a labelled one."""
    calls: list[tuple[Any, ...]] = []
    put_coco(tmp_path / "images")
    monkeypatch.chdir(tmp_path)

    def train(data, base, out, config, **more):
        calls.append((base, config, more))
        return SimpleNamespace(text=lambda: "trained")

    monkeypatch.setattr(dd, "train", train, raising=False)
    return calls


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"duckdetect {dd.__version__}\n"


def test_the_verbs_are_listed_in_the_order_of_use(capsys):
    assert main(["-h"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f" {verb} ") for verb in VERBS]
    assert places == sorted(places)
    assert "--install-completion" in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    assert main([verb, "-h"]) == 0
    text = capsys.readouterr().out
    assert f"Example: duckdetect {verb}" in text
    assert "--quiet" in text
    assert "--looks" not in text
    if verb == "bulk":
        assert "it joins that cluster." in text  # no line ends where the source's does


def test_every_setting_is_an_option_of_train_with_its_default(capsys, trained):
    assert main(["train", "-h"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    plain = dd.TrainConfig()
    for field, kind in settings():
        assert f"{flag(field.name)} " in text
        assert field.metadata["help"][:30] in text
        other: Any = {bool: False, str: (field.metadata["choices"] or ("",))[-1]}.get(kind, 0.5)
        other = 77 if kind is int else other
        words = [flag(field.name, False)] if kind is bool else [flag(field.name), str(other)]
        assert main(["train", "images", "-o", "x", *words]) == 0
        changed = trained[-1][1].to_dict()
        assert changed.pop(field.name) == other
        assert changed.items() <= plain.to_dict().items()


def test_the_base_of_train(trained, tmp_path):
    assert main(["train", "images", "-o", "x", "-q"]) == 0
    base, config, more = trained[-1]
    assert (base, config) == ("ssd_mobilenet_v2", dd.TrainConfig())
    assert more["progress"] is False
    assert main(["train", "images", "-o", "x", "-b", "retinanet50", "--looks", "3"]) == 0
    base, config, more = trained[-1]
    assert (base, config) == ("retinanet50", dd.TrainConfig(views=3))
    assert more["progress"] is True
    written = {"base": "mask_rcnn", "train": dd.TrainConfig(seed=4).to_dict()}
    (tmp_path / "config.json").write_text(json.dumps(written))
    again = ["train", "images", "-o", "x", "--config", str(tmp_path), "--steps", "9"]
    assert main(again) == 0
    assert trained[-1][:2] == ("mask_rcnn", dd.TrainConfig(seed=4, steps=9))


def test_check_says_that_nothing_is_wrong_or_prints_json(tmp_path, capsys):
    put_coco(tmp_path)
    assert main(["check", str(tmp_path), "--json"]) in (0, 2)
    found = json.loads(capsys.readouterr().out)
    assert found["data"] == str(tmp_path)
    assert found["holds"]
    assert all({"where", "what", "cure", "severity"} <= p.keys() for p in found["problems"])


def test_check_of_good_images(project_data, capsys):
    assert main(["check", str(project_data / "ducks" / "train"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    assert main(["check", str(project_data / "ducks" / "train")]) == 0
    assert capsys.readouterr().out.startswith("No problems found.\n")


def test_verbose_shows_where_an_error_arose(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    assert main(["check", "nowhere", "-v"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.strip().splitlines()[-1].startswith("duckdetect: nowhere")
