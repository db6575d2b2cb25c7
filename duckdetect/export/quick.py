"""For a long video: the same detector on LiteRT, which is faster on a CPU.

    with quicker(detector, 3000, first_images, out / "detector") as (detector, notes):
        detector.predict(image)

Whether it is faster and finds the same is measured on the first images; else TensorFlow goes on. The file
that it needs takes half a minute, and is gone in the end.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from duckdetect.errors import reason_of
from duckdetect.inference.detector import Detector
from duckdetect.inference.light import load_light
from duckdetect.utils.files import scratch_folder
from duckdetect.utils.progress import waiting

# Images from which it pays, at one scale and at two: converting and comparing take half a minute, a frame
# gains 45 ms at two scales, 10 ms at one (two cores, ssd_mobilenet_v2).
_LEAST = {1: 8000, 2: 2000}
_LEAST_GAIN = 1.1
_SAME_SCORE, _SAME_PX = 1e-3, 0.5


@contextlib.contextmanager
def quicker(
    detector: Detector,
    n_images: int,
    first: Callable[[], Sequence[np.ndarray]],
    scratch: Path,
    progress: bool = True,
) -> Iterator[tuple[Detector, list[str]]]:
    """The detector for many images, while the block runs.

    Args:
        detector: The detector.
        n_images: How many images it will see.
        first: Gives some of them, (H, W, 3) uint8 RGB, to compare on.
        scratch: The name of a file beside which the converted one lies while the block runs.
        progress: Show on stderr that it is being converted.

    Yields:
        The detector on LiteRT, or the same one; and what the user should know of it.
    """
    if not _may_pay(detector, n_images):
        yield detector, []
        return
    with scratch_folder(scratch) as folder:
        try:
            with waiting("converting the detector for a long video", progress):
                light = load_light(_converted(detector, folder / "detector.tflite"))
                gain, n_found, same = _compared(detector, light, first())
        except Exception as error:  # of a converter, or of a full disk: it can be done without
            reason = reason_of(error)
            chosen, note = detector, f"LiteRT cannot be used ({reason}): TensorFlow detected"
        else:
            chosen, note = detector, ""
            if not same:
                note = "LiteRT finds something else on the first frames: TensorFlow detected"
            elif gain >= _LEAST_GAIN:
                chosen, faster = light, f"{gain:.1f} times as fast as TensorFlow here"
                note = f"LiteRT detected: {faster}, and {_first(n_found)}"
        yield chosen, [note] if note else []


def _may_pay(detector: Detector, n_images: int) -> bool:
    """Asked of a detector that is LiteRT's already, too, which starts without TensorFlow."""
    if not isinstance(detector, Detector):  # what has its `predict`, as a user's own
        return False
    if not (
        n_images >= _LEAST[1 if detector.high_res_hw is None else 2]
        and not detector.two_stage
        and hasattr(detector._functions, "prepare")
        and importlib.util.find_spec("ai_edge_litert") is not None
    ):
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def _converted(detector: Detector, path: Path) -> Path:
    from duckdetect.export.graph import describe, read_network
    from duckdetect.export.tflite import to_tflite
    from duckdetect.export.tflite_metadata import with_metadata

    network = read_network(detector)
    about = describe(detector, network, "float32")
    path.write_bytes(with_metadata(to_tflite(network, "float32"), about, "for one video"))
    return path


def _compared(
    detector: Detector, light: Detector, images: Sequence[np.ndarray]
) -> tuple[float, int, bool]:
    """How many times as fast the second is, how many objects the first finds, and whether both agree."""
    seconds, found = [], []
    for one in (detector, light):
        one.predict(images)  # what is done once, at the first images
        start = time.perf_counter()
        found.append(one.predict(images, one.threshold / 2))
        seconds.append(time.perf_counter() - start)
    same = all(
        len(a) == len(b)
        and np.array_equal(a.class_id, b.class_id)
        and np.allclose(a.confidence, b.confidence, rtol=0, atol=_SAME_SCORE)
        and np.allclose(a.xyxy, b.xyxy, rtol=0, atol=_SAME_PX)
        for a, b in zip(*found, strict=True)
    )
    return seconds[0] / seconds[1], sum(map(len, found[0])), same


def _first(n_found: int) -> str:
    if n_found:
        return "the same on the first frames"
    return "the first frames, on which both were to be compared, hold nothing"
