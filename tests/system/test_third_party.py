"""THIRD_PARTY.md lists the lock files' packages, and the bill of materials is one."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("third_party", ROOT / "tools" / "third_party.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["third_party"] = module
    spec.loader.exec_module(module)
    return module


def test_third_party_names_every_locked_package(tool: ModuleType) -> None:
    text = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \|", text, re.MULTILINE)) - {"package", "---"}
    assert listed == {package.name for package in tool.locked()}, "run tools/third_party.py"
    assert "x264" in text
    assert "LGPL-3.0" in text


def test_the_bill_of_materials(tool: ModuleType) -> None:
    packages = tool.locked()
    bill = tool.sbom(packages)
    assert bill == tool.sbom(packages)
    (numpy,) = [c for c in bill["components"] if c["name"] == "numpy"]
    assert re.fullmatch(r"pkg:pypi/numpy@[\d.]+", numpy["purl"])
    assert all(len(p["value"]) == 64 for p in numpy["properties"])
    json.dumps(bill)


def test_tensorboard_finds_what_it_imports() -> None:
    """TensorBoard 2.20 imports pkg_resources, which setuptools has had up to version 81."""
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / name).read_text().splitlines()
        (version,) = re.findall(r"^setuptools==(\d+)", "\n".join(lines), re.MULTILINE)
        assert int(version) < 82 or not any(line.startswith("tensorboard==2.20") for line in lines)
