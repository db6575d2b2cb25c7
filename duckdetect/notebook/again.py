"""Training again in a notebook: on what was handed back, and on pictures that were labelled since.

handed = notebook.correct(run, pictures.test)        # click the wrong detections
again = notebook.train_again(run, handed, pictures.test)
"""

from __future__ import annotations

from pathlib import Path

from duckdetect.annotation.annotate import annotated
from duckdetect.annotation.correct import Handed
from duckdetect.data.corrections import with_corrections
from duckdetect.errors import UserError
from duckdetect.notebook.display import say, say_result
from duckdetect.training.again import train_again as again
from duckdetect.training.finetune import TrainRun


def train_again(
    run: TrainRun,
    handed: Handed | None,
    folder: str | Path | None = None,
    *,
    from_base: bool = False,
) -> TrainRun:
    """Train on from a run on what was corrected, and say what got better and worse.

    Args:
        run: The run.
        handed: What `correct` has returned; None if nothing was handed back.
        folder: Pictures that may have been labelled, too; the run is trained on those that are.
        from_base: Whether to train from the base on all the pictures, see `again.train_again`.

    Raises:
        UserError: If nothing was corrected; as `again.train_again`.
    """
    corrections = None if folder is None else annotated(folder)
    if handed is not None:
        said = handed.corrections()
        corrections = said if corrections is None else with_corrections(corrections, said)
    if corrections is None or not len(corrections):
        raise UserError(
            "nothing is corrected yet: click the wrong detections above, or label some pictures"
        )
    trained = again(run, corrections, from_base=from_base)
    say_result(f"{trained.folder}: {trained.text()}")
    say(trained.compared)
    return trained
