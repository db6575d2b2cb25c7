"""`duckdetect demo`: the main job on the sample data, from five labelled images to a GIF."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from duckdetect.data.loading import load_dataset
from duckdetect.data.sources import CLIP, SAMPLE
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import evaluate
from duckdetect.inference.detect import Detected, detect
from duckdetect.report.write import write_report
from duckdetect.training.config import TrainConfig
from duckdetect.training.finetune import finetune
from duckdetect.utils.outputs import check_outputs

if TYPE_CHECKING:
    from duckdetect.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class Demo:
    """What the demo measured and wrote."""

    out: Path
    metrics: Evaluation
    images: Detected
    clip: Detected
    seconds: float

    def text(self) -> str:
        """What the command line prints."""
        return "\n".join(
            [
                self.metrics.table(),
                "",
                f"Five pictures learnt, tested on {self.images.n_images} others and a clip of "
                f"{self.clip.n_images} frames, in {self.seconds:.0f} s. Look at",
                f"  {self.images.animation}  the test pictures with what was found",
                f"  {self.out / 'frames'}  the same, one by one",
                f"  {self.clip.animation}  a clip",
                f"  {self.out / 'report.html'}  how good it is and where it fails; report.pdf the same",
                f"Try it on pictures of yours: duckdetect detect {self.out} FOLDER --out NEW_FOLDER",
            ]
        )


def run_demo(base_name: str, out: Path, sample: Path = SAMPLE) -> Demo:
    """Train on the sample's five images, evaluate on its test images, write frames, GIFs, a report.

    Raises:
        UserError: If the sample data is not there, as when the package was installed without its
            checkout.
    """
    start = time.monotonic()
    if not sample.is_dir():
        raise UserError(
            f"the sample data {sample} is missing: run the demo in a clone of duckdetect"
        )
    # Before training: what an earlier version or somebody else left there is not replaced.
    results = [out / name for name in ("frames", "detections.gif", "detections.json")]
    check_outputs(results, "detect", [sample])
    # Half a minute in all; `auto` may train deeper, for another.
    run = finetune(
        base_name, load_dataset(sample, "train"), TrainConfig(train="heads", masks="no"), out
    )
    test = load_dataset(sample, "test")
    measured = evaluate(run, test)
    write_report(out, test)
    paths = [each.path for each in test]
    known = None if run.detector.has_masks else measured.detections
    images = detect(run.detector, paths, out, known=known)
    clip = detect(run.detector, CLIP, out / "clip")
    return Demo(out, measured, images, clip, time.monotonic() - start)
