"""Progress is shown where it can be, and no work ends or waits for where it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BARS = """
import time
from duckdetect.utils import progress

progress.DELAY_S = 0.01
with progress.waiting("training"):
    time.sleep(2.5)
with progress.progress_bar(range(3), mininterval=0) as bar:
    for _ in bar:
        pass
progress.tell_minutes("training", 100)
progress.end_bars()
print("ended")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_ends_nothing() -> None:
    """Tqdm kept its lock then, for which the end of the command waited for ever."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", BARS], stdout=subprocess.PIPE, stderr=full, text=True, timeout=60
        )
    assert (done.returncode, done.stdout) == (0, "ended\n")


def test_bars_are_shown_and_lines_do_not_break_them() -> None:
    done = subprocess.run([sys.executable, "-c", BARS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended\n")
    assert "training: 00:0" in done.stderr
    assert "3/3" in done.stderr
    assert "training: about 2 min on this machine\n" in done.stderr
