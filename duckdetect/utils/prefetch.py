"""Prefetching: the stages of a pipeline, each computed ahead in a thread of its own.

    for batch in prefetch(decoded_batches, size=2):
        ...  # while this runs, the next batches are decoded

TensorFlow, FFmpeg and OpenCV let other threads of Python run while they compute.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")

_POLL_S = 0.1  # how often a stage that waits for room asks whether it is still wanted


def prefetch(items: Iterable[Item], size: int) -> Generator[Item, None, None]:
    """Yield `items` in order, computed by a thread that is at most `size` of them ahead.

    An error of theirs is raised where it would have been without the thread. When the caller stops
    (at an error, at Ctrl-C, or by leaving the loop and closing this generator), the thread ends and
    a generator given as `items` is closed.

    Args:
        items: What is to be computed; it is run in the other thread, from its first item on.
        size: How many finished items may wait, at least 1.
    """
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=size)
    stop = threading.Event()

    def put(is_item: bool, value: Any) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put((is_item, value), timeout=_POLL_S)
                return

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(True, item)
                if stop.is_set():
                    break
        except BaseException as raised:  # handed over, whatever it is, to the thread that waits
            error = raised
        finally:
            if isinstance(items, Generator):
                items.close()
            put(False, error)

    # Not waited for at the interpreter's end, should a caller never close the generator.
    thread = threading.Thread(target=run, name="duckdetect ahead", daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = waiting.get()
            if is_item:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        stop.set()
        thread.join()
