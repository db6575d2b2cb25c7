"""The settings: one description each, for checks, help, command line and recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from duckdetect.errors import UserError
from duckdetect.training.config import (
    TrainConfig,
    choose_settings,
    flag,
    read_settings,
    settings,
)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "steps is 0: give a whole number of at least 1"),
        ({"steps": 2.5}, "steps is 2.5: give a whole number of at least 1"),
        ({"steps": True}, "steps is True"),
        ({"steps": None}, "steps is None"),
        ({"views": -1}, "views is -1: give a whole number of at least 0"),
        ({"input_size": 63}, "input_size is 63: give a whole number of at least 64"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: give a number above 0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1'"),
        ({"box_lr_multiplier": 1.5}, "box_lr_multiplier is 1.5: give a number above 0, at most 1"),
        ({"momentum": 1}, "momentum is 1: give a number of at least 0, below 1"),
        ({"decay": "linear"}, "decay is 'linear': give one of cosine, none"),
        ({"train": "head"}, "train is 'head': give one of auto, heads, towers"),
        ({"refine": 1}, "refine is 1: give True or False"),
    ],
)
def test_a_wrong_setting_says_what_is_wanted(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.split(":")[0]) as error:
        TrainConfig(**wrong)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "right",
    [
        {"steps": 1, "views": 0, "input_size": 64, "momentum": 0, "box_lr_multiplier": 1},
        {"views": None, "input_size": None, "proposals": None},
    ],
)
def test_the_limits_themselves_are_fine(right: dict[str, Any]) -> None:
    assert TrainConfig(**right).to_dict() == {**TrainConfig().to_dict(), **right}


def test_every_setting_is_described_in_the_class() -> None:
    text = " ".join((TrainConfig.__doc__ or "").split())
    for field, _ in settings():
        assert f"{field.name}: {field.metadata['help']}" in text
        assert field.metadata["help"].endswith(".")


def test_flags() -> None:
    assert flag("batch_size") == "--batch-size"
    assert flag("refine", True) == "--refine"
    assert flag("class_init", False) == "--no-class-init"


def test_settings_are_read_from_a_run_or_its_train_part(tmp_path: Path) -> None:
    config = TrainConfig.stock(steps=7, seed=3)
    old = {"looks" if k == "views" else k: v for k, v in config.to_dict().items()}
    for name, value in (
        ("config.json", {"base": "retinanet50", "train": config.to_dict()}),
        ("part.json", config.to_dict()),
        ("old.json", {"base": "retinanet50", "train": old}),
        ("some.json", {"steps": 7}),
    ):
        (tmp_path / name).write_text(json.dumps(value))
    assert read_settings(tmp_path) == ("retinanet50", config)
    assert read_settings(tmp_path / "part.json") == (None, config)
    assert read_settings(tmp_path / "old.json") == ("retinanet50", config)
    assert read_settings(tmp_path / "some.json") == (None, TrainConfig(steps=7))
    (tmp_path / "base.json").write_text(json.dumps({"base": 5, "train": {}}))
    with pytest.raises(UserError, match=r"base\.json is broken \(base is 5, not a text\)"):
        read_settings(tmp_path / "base.json")
    given = choose_settings(None, tmp_path, None, {"steps": 9})
    assert given == ("retinanet50", TrainConfig.stock(steps=9, seed=3))
    assert choose_settings("b", tmp_path, None, {})[0] == "b"
    assert choose_settings(None, None, None, {}) == ("ssd_mobilenet_v2", TrainConfig())
    assert choose_settings(None, None, "stock", {"seed": 1})[1] == TrainConfig.stock(seed=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is broken (Expecting property name"),
        ("[]", "it holds [], not an object"),
        ('{"train": {"step": 3}}', "unknown setting 'step'"),
        ('{"steps": 0}', "steps is 0: give a whole number"),
    ],
)
def test_a_file_without_settings_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_settings(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    with pytest.raises(UserError, match=r"nowhere\.json is missing: give a run"):
        read_settings(tmp_path / "nowhere.json")
    with pytest.raises(UserError, match="one of them"):
        choose_settings(None, path, "stock", {})


def test_numbers_beyond_what_a_step_can_hold_are_refused() -> None:
    """A thousand million views a step would be numbered for hours before anything is trained."""
    with pytest.raises(UserError, match="batch_size is 1000000000: give a whole number"):
        TrainConfig(batch_size=10**9)
    assert TrainConfig(seed=2**70).seed == 2**70  # any size will do, see int32_seed
