"""Whose detector is this, and what could it do? A SavedModel is a program that TensorFlow runs.

    check_operations(folder)          # refuses one that reads or writes files, calls Python, prints ...
    with required(unless=False): ...  # the command line: only those that are trusted are loaded
    remember(folder)                  # what `Detector.save` does, and `--trust`

Trusted detectors are remembered by their SHA-256 in the cache, so that a copy elsewhere is known and a
changed one is not.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from duckdetect.errors import UserError
from duckdetect.utils.files import atomic_path, cache_folder, folder_sha256
from duckdetect.utils.locks import folder_lock
from duckdetect.utils.progress import stream
from duckdetect.utils.reading import read_bytes
from duckdetect.utils.terminal import printable

_LIST = "trusted-detectors.txt"

# Who calls Python functions has decided what to load; the command line asks.
_POLICY: ContextVar[Literal["load", "refuse", "remember"]] = ContextVar("policy", default="load")

# Operations that reach beyond the graph: files, Python, the network, other processes, the log. Those that
# restore variables are TensorFlow's own and are not of the functions that a detector has.
_REACHES_OUT = re.compile(
    r"ReadFile|WriteFile|MatchingFiles|.*Reader.*|Save|SaveV2|SaveSlices|Restore.*|MergeV2Checkpoints"
    r"|.*PyFunc.*|.*Dataset.*|.*Iterator.*|.*Summary.*|Print.*|Debug.*|.*Dump.*|.*FromTextFile.*"
    r"|Sqlite.*|.*Rpc.*|_?Host?Send|_?Host?Recv|Send|Recv|.*Bigtable.*|.*Remote.*|Abort|.*Checkpoint.*"
    r"|LoadLibrary.*|Experimental.*|.*ServiceV?\d*|Collective.*"
)


def is_trusted(folder: str | Path) -> bool:
    """Whether a detector was trained here, or somebody has said that it may run."""
    return folder_sha256(_detector(folder)) in _known()


def remember(folder: str | Path) -> bool:
    """Trust a detector from now on; False where the cache cannot be written, and only this call does."""
    sha256 = folder_sha256(_detector(folder))
    with contextlib.suppress(OSError, UserError):
        cache = cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
        with folder_lock(cache):
            lines = [*_known() - {sha256}, sha256]
            with atomic_path(cache / _LIST) as part:
                part.write_text("\n".join(sorted(lines)) + "\n", encoding="ascii")
            return True
    return False


@contextlib.contextmanager
def required(unless: bool) -> Iterator[None]:
    """While the block runs, only trusted detectors are loaded; `unless`: those loaded become so."""
    token = _POLICY.set("remember" if unless else "refuse")
    try:
        yield
    finally:
        _POLICY.reset(token)


def check_trust(folder: str | Path) -> None:
    """Stop before a detector that was not trained here is loaded, where that is `required`.

    Raises:
        UserError: If it may not be loaded.
    """
    policy = _POLICY.get()
    if policy == "load" or is_trusted(folder):
        return
    if policy == "refuse":
        raise UserError(
            f"{folder} was not trained on this machine, and a detector is a program: "
            "give --trust once if you know who made it"
        )
    if not remember(folder):
        told = f"{cache_folder()} cannot be written: --trust is needed again the next time"
        tqdm.write(printable(told), file=stream())


def check_operations(folder: Path) -> None:
    """Refuse a SavedModel whose functions hold operations that no detector needs.

    Raises:
        UserError: If there are any, or the file cannot be read.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(read_bytes(path))
    except Exception as error:  # protobuf's DecodeError, and the system's
        raise UserError(f"{path} is no SavedModel ({error}): train it again") from error
    for graph in model.meta_graphs:
        functions = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
        # All that may be called after, or while, the model is loaded.
        entered = set(graph.object_graph_def.concrete_functions)
        reached: set[str] = set()
        waiting = [name for name in entered if name in functions]
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            for node in functions[name]:
                if _REACHES_OUT.fullmatch(node.op):
                    raise UserError(
                        f"{path} holds the operation {node.op}, which no detector needs: it is not "
                        "loaded; get the detector from whom you know, or train it again"
                    )
                waiting += [n for n in _called(node) if n in functions]


def _called(node: Any) -> Iterable[str]:
    """The functions that an operation may call."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (each.name for each in value.list.func)


def _detector(folder: str | Path) -> Path:
    inner = Path(folder) / "detector"
    return inner if inner.is_dir() else Path(folder)


def _known() -> set[str]:
    try:
        text = (cache_folder() / _LIST).read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    return {line for line in text.splitlines() if re.fullmatch("[0-9a-f]{64}", line)}
