"""Whether there is room, asked before the work and not found out in the middle of it.

    require_disk(folder, 3_100_000_000, "the features of 700 views need", "make room")

Only what would certainly fail is refused: an estimate is a lower bound, and where the system does not
tell how much is free, nothing is.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from duckdetect.errors import PlaceError, UserError


def require_disk(folder: Path, n_bytes: int, what: str, cure: str) -> None:
    """Refuse what does not fit onto a folder's disk.

    Args:
        folder: The folder, which is there.
        n_bytes: What will be written.
        what: What needs it, with the verb: "the zip needs".
        cure: What to do.

    Raises:
        PlaceError: If there is less.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise PlaceError(f"{what} {size(n_bytes)} in {folder}, {size(free)} are free: {cure}")


def require_memory(n_bytes: int, what: str, cure: str) -> None:
    """Refuse what does not fit into memory, where the system would kill the process without a word.

    Raises:
        UserError: If there is less.
    """
    free = free_memory()
    if free is not None and n_bytes > free:
        raise UserError(f"{what} {size(n_bytes)} of memory, {size(free)} are free: {cure}")


def free_memory() -> int | None:
    """Bytes that this process may still take, where the system tells it (Linux).

    Of the machine, its container and `ulimit -v` the least; memory that is swapped out counts.
    """
    found = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        known = {key: int(kb) << 10 for key, kb in re.findall(r"(\w+):\s+(\d+) kB", text)}
        found.append(known["MemAvailable"] + known.get("SwapFree", 0))
    with contextlib.suppress(OSError, ValueError, KeyError):
        group = Path("/sys/fs/cgroup")
        most = int((group / "memory.max").read_text(encoding="ascii"))  # "max" is none
        used = int((group / "memory.current").read_text(encoding="ascii"))
        stat = dict(re.findall(r"(\w+) (\d+)", (group / "memory.stat").read_text(encoding="ascii")))
        found.append(most - used + int(stat["file"]))  # cached files give way
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            found.append(most - pages * resource.getpagesize())
    return max(0, min(found)) if found else None


def size(n_bytes: int) -> str:
    """A number of bytes for people."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes > 1e9 else f"{n_bytes / 1e6:.1f} MB"
