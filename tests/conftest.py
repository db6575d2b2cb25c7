"""Shared fixtures: where real pictures lie, with a skip that says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# How fast examples are made and run says how busy the machine is, not whether the code is right.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures and checkpoint indexes beside the project, which it may not hold itself."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs ../shared/data beside the project: real pictures, not part of it")
    return path


@pytest.fixture(scope="session")
def project_data() -> Path:
    """The sample data that the project itself made."""
    return ROOT / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A real browser on a busy machine may lose a mouse move: its tests get a second chance."""
    again = config.pluginmanager.hasplugin("rerunfailures")
    for item in items:
        if again and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))
