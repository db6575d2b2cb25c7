"""Detection speed against the bare model, and the start-up of a saved detector.

    python benchmarks/detect.py [--images 48] [--rounds 5]

`predict` on pictures in memory (resizing, the model, suppression, pixels), `detect` on the same as files
(reading, drawing, writing as well) and `detect` on a video of them at 640x480 with sound (decoding,
drawing, encoding), each against the bare frozen part in batches of the same size.

All take turns, round by round, and a ratio is of one round, with the bare runs before and after it.
Where a machine has other work to do, the best round comes nearest to the truth; the load is stated, and
the ratios of the processors' time, which depend little on it. Start-up is a fresh process, from import to
the first picture. Writes results/bench/detect.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdetect as dd
from duckdetect.imaging.io import list_images
from duckdetect.models.graphs import frozen_part
from duckdetect.models.tfod.load import load_base
from duckdetect.utils.files import write_json

import tensorflow as tf  # isort: skip  (duckdetect chooses the Keras)

ROOT = Path(__file__).parents[1]
BASE = "ssd_mobilenet_v2"
BATCH = 8

START_UP = """
import sys, time
start = time.perf_counter()
import duckdetect as dd
detector = dd.load_detector(sys.argv[1])
detector.predict(dd.data.load_image(sys.argv[2]))
print(time.perf_counter() - start)
"""


@dataclass
class Took:
    """Milliseconds for each picture: by the clock, and of the processors in all threads."""

    wall: float
    cpu: float


def took(call: Callable[[], Any], n: int) -> Took:
    """What `n` pictures took."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Took((time.perf_counter() - wall) / n * 1e3, (time.process_time() - cpu) / n * 1e3)


def write_clip(path: Path, images: list[np.ndarray], n_frames: int, fps: int = 25) -> None:
    """The pictures to and fro as H.264, with a tone as AAC."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=fps)
        video.height, video.width = images[0].shape[:2]
        video.pix_fmt = "yuv420p"
        sound: Any = out.add_stream("aac", rate=44100)
        there_and_back = images + images[::-1]
        for k in range(n_frames):
            image = there_and_back[k % len(there_and_back)]
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(video.encode(None))
        for start in range(0, n_frames * 44100 // fps, 1024):
            tone = np.sin(np.arange(start, start + 1024) * (2 * np.pi * 440 / 44100))
            frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 44100, start
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    paths = list_images(ROOT / "data" / "ducks_clip")[: args.images]
    images = [dd.data.load_image(path) for path in paths]
    n_frames = 4 * len(images)
    base = load_base(dd.models.fetch(BASE), 1)
    frozen = frozen_part(base, "heads")
    batches = [
        tf.zeros([min(BATCH, len(images) - i), *base.input_hw, 3])
        for i in range(0, len(images), BATCH)
    ]
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, images, n_frames)
        dd.finetune(
            BASE,
            dd.load_dataset(ROOT / "data" / "ducks", "train"),
            dd.TrainConfig.stock(),
            f"{folder}/run",
            progress=False,
        )
        detector = dd.load_detector(f"{folder}/run")
        out = f"{folder}/out"
        n = len(images)

        def bare() -> Took:
            return took(lambda: [frozen(batch) for batch in batches], n)

        def predict() -> Took:
            return took(lambda: detector.predict(images), n)

        def files() -> Took:
            return took(lambda: dd.detect(detector, paths, out, progress=False), n)

        def video() -> Took:
            return took(lambda: dd.detect(detector, clip, out, progress=False), n_frames)

        rounds = []
        for k in range(args.rounds + 1):
            one = [bare(), predict(), bare(), files(), bare(), video(), bare()]
            rounds += [one] if k else []  # the first warms up
        command = [sys.executable, "-c", START_UP, f"{folder}/run", str(paths[0])]
        start_up_s = [
            float(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
            for _ in range(3)
        ]

    def ratios(at: int, kind: str) -> list[float]:
        """Of each round: the task's time by the mean of the bare runs beside it."""
        found = []
        for one in rounds:
            beside = (getattr(one[at - 1], kind) + getattr(one[at + 1], kind)) / 2
            found.append(getattr(one[at], kind) / beside)
        return sorted(found)

    result = {
        "pictures": len(images),
        "frames": n_frames,
        "rounds": args.rounds,
        "load": os.getloadavg()[0],
        "bare_ms": min(took.wall for one in rounds for took in one[::2]),
        "bare_cpu_ms": min(took.cpu for one in rounds for took in one[::2]),
        "video_ms": min(one[5].wall for one in rounds),
        "video_cpu_ms": min(one[5].cpu for one in rounds),
        "start_up_s": min(start_up_s),
    }
    for at, name in ((1, "predict"), (3, "files"), (5, "video")):
        for kind, label in (("wall", "ratio"), ("cpu", "cpu_ratio")):
            result[f"{name}_{label}"] = ratios(at, kind)[0]
            result[f"{name}_{label}_median"] = statistics.median(ratios(at, kind))
    # The video's frame rate as a part of the bare model's; 0.8 is aimed at.
    result["video_rate"] = 1 / result["video_ratio"]
    result["video_cpu_rate"] = 1 / result["video_cpu_ratio"]
    for name, value in result.items():
        print(f"{name:20} {value:.3f}")
    write_json(ROOT / "results" / "bench" / "detect.json", result)


if __name__ == "__main__":
    main()
