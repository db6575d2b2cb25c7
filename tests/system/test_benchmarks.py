"""Every benchmark imports, explains its options, and uses only options that it has."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = sorted(p.stem for p in (ROOT / "benchmarks").glob("*.py") if p.stem != "__init__")
COMMANDS = [name for name in NAMES if "def main(" in (ROOT / f"benchmarks/{name}.py").read_text()]


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.parametrize("name", NAMES)
def test_it_imports(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_it_explains_its_options(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code in (0, None)
    told = capsys.readouterr().out
    options = {option.replace("-", "_") for option in re.findall(r"--([a-z-]+)", told)}
    tree = ast.parse(inspect.getsource(module))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "args"
    }
    assert used <= options


def test_recipes_are_settings() -> None:
    import duckdetect as dd
    from benchmarks.accuracy import ROWS

    for settings in ROWS.values():
        dd.TrainConfig(**settings)


def test_make_bench_runs_them_all() -> None:
    """But for those that take hours and need photos that are not part of the project."""
    made = set(re.findall(r"benchmarks/(\w+)\.py", (ROOT / "Makefile").read_text()))
    assert made == set(COMMANDS) - {"accuracy", "fewshot", "suggest"}
