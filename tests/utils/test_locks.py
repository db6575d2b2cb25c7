"""One writer at a time, and a word to whoever waits for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from duckdetect.utils import locks, progress

pytest.importorskip("fcntl", reason="the system has no folder locks")


def test_who_waits_is_told(tmp_path, monkeypatch):
    code = (
        "import sys; from duckdetect.utils.locks import folder_lock\n"
        "with folder_lock(sys.argv[1]): print(flush=True); sys.stdin.read(1)"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    monkeypatch.setattr(progress, "DELAY_S", 0.05)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as other:
        other.stdout.readline()

        class Released:
            """Where the word goes; once it has come, the other writer ends."""

            said = ""

            def write(self, text):
                self.said += text
                if "writing" in text and not other.stdin.closed:
                    other.stdin.close()

            def flush(self):
                pass

        heard = Released()
        monkeypatch.setattr(sys, "stderr", heard)
        with locks.folder_lock(tmp_path) as held:
            assert held
    assert f"waiting for another duckdetect, which is writing {tmp_path}" in heard.said


def test_who_need_not_wait_hears_nothing(tmp_path, capsys):
    with locks.folder_lock(tmp_path) as held, locks.folder_lock(tmp_path, wait=False) as second:
        assert held
        assert second is None
    assert capsys.readouterr().err == ""
