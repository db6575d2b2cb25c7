"""What a user installs fits into Colab, and `make test-colab` would notice if it did not."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools" / "colab_requirements.py"
    spec = importlib.util.spec_from_file_location("colab_requirements", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def colab(shared_data: Path, tool: ModuleType) -> dict[str, str]:
    """The newest list of Colab's versions."""
    lists = sorted(shared_data.glob("colab/pip-freeze-*.txt"))
    if not lists:
        pytest.skip("needs ../shared/data/colab/pip-freeze-*.txt, the list of Colab's versions")
    return tool.read_freeze(lists[-1])


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(re.split(r"\s*\\$", x)[0]) for x in lines if re.match(r"\w", x)]


def test_colabs_own_versions_are_within_our_ranges(colab: dict[str, str], tool: ModuleType) -> None:
    wanted = {tool.normalised(r.name): r for r in requirements("requirements.txt")}
    outside = [
        f"{r}: Colab has {colab[name]}"
        for name, r in wanted.items()
        if name in colab and not r.specifier.contains(colab[name])
    ]
    assert outside == []
    # What Colab lacks, the notebook installs.
    added = {tool.normalised(r.name) for r in requirements("requirements-colab.txt")}
    assert {name for name in wanted if name not in colab} <= added
    assert added.isdisjoint(colab)


def test_what_goes_in_without_dependencies_replaces_nothing(
    colab: dict[str, str], tool: ModuleType
) -> None:
    pinned = {tool.normalised(r.name) for r in requirements("requirements-odapi.txt")}
    assert pinned == {"object-detection-by-ovi", "tf-models-official"}
    assert pinned.isdisjoint(colab)


def test_a_freeze_list_is_read(tmp_path: Path, tool: ModuleType) -> None:
    path = tmp_path / "freeze.txt"
    path.write_text(
        "# made\n\ntf_keras==2.20.1\nPyYAML==6.0.3\ntorch @ https://x/torch.whl#sha=1\n"
    )
    colab = tool.read_freeze(path)
    assert colab == {"tf-keras": "2.20.1", "pyyaml": "6.0.3", "torch": ""}
    assert tool.constraints(colab) == ["pyyaml==6.0.3", "tf-keras==2.20.1"]
    path.write_text("numpy==2.1.3\nnumpy>=2\n")
    with pytest.raises(ValueError, match="line 2: 'numpy>=2'"):
        tool.read_freeze(path)


def test_a_replaced_package_is_named(tool: ModuleType) -> None:
    colab = {"numpy": "2.1.3", "torch": "", "pillow": "11.3.0"}
    installed = {"numpy": "2.4.0", "torch": "2.11.0", "supervision": "0.31.2"}
    assert tool.extra(colab, installed) == ["supervision"]
    assert tool.differences(colab, installed) == ["numpy: 2.4.0 is installed, Colab has 2.1.3"]


def test_check_fails_where_a_version_differs(
    tmp_path: Path, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tool.installed_versions()
    path = tmp_path / "freeze.txt"
    path.write_text(f"numpy=={here['numpy']}\n")
    assert tool.main(["check", str(path)]) == 0
    assert "1 packages as Colab has them" in capsys.readouterr().out
    path.write_text("numpy==0.1\n")
    assert tool.main(["check", str(path)]) == 1
    assert capsys.readouterr().err == f"numpy: {here['numpy']} is installed, Colab has 0.1\n"
    assert tool.main(["check"]) == 2


def test_where_it_cannot_run_it_says_so_in_one_line(tmp_path: Path) -> None:
    script = str(ROOT / "tools" / "test_colab.sh")
    # As in a folder where mounts are forbidden, or without the list: nothing is installed or made.
    environment = {"PATH": "/usr/bin:/bin", "COLAB_FREEZE": str(tmp_path / "none"), "HOME": "/root"}
    for arguments, code in ([], 2), (["--if-possible"], 0):
        done = subprocess.run(
            ["bash", script, *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        line = done.stdout if code == 0 else done.stderr
        assert line.count("\n") == 1
        assert line.startswith("SKIP test-colab: " if code == 0 else "test-colab: ")
