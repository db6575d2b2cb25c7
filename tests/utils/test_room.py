"""What does not fit is refused before the work, in one line; what fits, or nobody knows, is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from duckdetect.errors import UserError
from duckdetect.utils import room


def test_what_is_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    room.require_disk(tmp_path, 1000, "it needs", "make room")
    with pytest.raises(
        UserError, match=r"it needs 1000000000\.0 GB in .*, \d+\.\d [GM]B are free: make"
    ):
        room.require_disk(tmp_path, 10**18, "it needs", "make room")


def test_what_is_larger_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    room.require_memory(1000, "it needs", "take less")
    for free, n_bytes in ((5000, 5000), (None, 10**18)):
        monkeypatch.setattr(room, "free_memory", lambda free=free: free)
        room.require_memory(n_bytes, "it needs", "take less")
    monkeypatch.setattr(room, "free_memory", lambda: 2_000_000_000)
    with pytest.raises(UserError, match=r"it needs 3\.1 GB of memory, 2\.0 GB are free: take less"):
        room.require_memory(3_100_000_000, "it needs", "take less")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell it")
def test_free_memory_knows_ulimit() -> None:
    code = "from duckdetect.utils.room import free_memory; print(free_memory())"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, -1)); {code}"
    whole, under = (
        int(subprocess.run([sys.executable, "-c", c], capture_output=True, check=True).stdout)
        for c in (code, limited)
    )
    assert 0 < under < 2 << 30
    assert under <= whole
