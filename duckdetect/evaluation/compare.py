"""Two detectors on the same pictures: what the second does better, and what worse.

print(compare(old, new, test).text())
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duckdetect.data.corrections import is_apart
from duckdetect.data.dataset import Dataset
from duckdetect.data.loading import find_again, list_parts, load_dataset
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import (
    Evaluation,
    collect_detections,
    read_about,
    read_evaluation,
    trained_on,
)
from duckdetect.evaluation.matching import match_detections
from duckdetect.evaluation.metrics import score_detections
from duckdetect.inference.detector import Detector
from duckdetect.inference.run_config import read_config
from duckdetect.utils.files import file_sha256
from duckdetect.utils.words import plural

_MOST_IMAGES = 200
_MOST_NAMED = 8


@dataclass(frozen=True)
class Measured:
    """One detector on the pictures, missed and false at its own threshold, for each picture."""

    AP: float | None
    AP50: float | None
    missed: tuple[int, ...]
    false: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Two detectors on the same pictures.

    Attributes:
        where: What the pictures are.
        names: Their file names.
        n_boxes: How many objects they hold.
        old: The first detector.
        new: The second.
    """

    where: str
    names: tuple[str, ...]
    n_boxes: int
    old: Measured
    new: Measured

    def text(self) -> str:
        """A small table, and the pictures that got better and worse."""
        rows = [
            (name, *("-" if v is None else f"{v:.3f}" for v in (before, now)))
            for name, before, now in (
                ("AP", self.old.AP, self.new.AP),
                ("AP50", self.old.AP50, self.new.AP50),
            )
        ]
        found = [str(self.n_boxes - sum(one.missed)) for one in (self.old, self.new)]
        rows.append((f"found of {self.n_boxes}", *found))
        rows.append(("false", *(str(sum(one.false)) for one in (self.old, self.new))))
        lines = [f"on {plural(len(self.names), 'test picture')} ({self.where}):"]
        lines += [
            f"  {name:<14}{before:>8}{now:>8}"
            for name, before, now in (("", "before", "now"), *rows)
        ]
        for word, sign in (("better", 1), ("worse", -1)):
            lines += self._changed(word, sign)
        return "\n".join(lines)

    def _changed(self, word: str, sign: int) -> list[str]:
        told = []
        pairs = zip(self.old.missed, self.new.missed, self.old.false, self.new.false, strict=True)
        for name, (missed, missed_now, false, false_now) in zip(self.names, pairs, strict=True):
            if sign * (missed + false - missed_now - false_now) > 0:
                what = [
                    f"{was} {kind} before, {now} now"
                    for kind, was, now in (
                        ("missed", missed, missed_now),
                        ("false", false, false_now),
                    )
                    if was != now
                ]
                told.append(f"{name} ({'; '.join(what)})")
        if not told:
            return [f"  {word}: no picture"]
        more = f" and {len(told) - _MOST_NAMED} more" if len(told) > _MOST_NAMED else ""
        return [f"  {word}: {', '.join(told[:_MOST_NAMED])}{more}"]


def compare(
    old: Detector, new: Detector, test: Dataset, run: str | Path | None = None
) -> Comparison:
    """Run both on labelled pictures.

    Args:
        old: The first detector.
        new: The second.
        test: Labelled pictures; of more than 200 so many, evenly chosen.
        run: The first one's run: what it found on these pictures when it was measured is taken.
    """
    known = None
    if run is not None and len(test) <= _MOST_IMAGES:
        with contextlib.suppress(UserError):  # changed or broken: it is measured here
            known = read_evaluation(run, test)
    test = test.evenly(_MOST_IMAGES)
    names = tuple(sample.path.name for sample in test.samples)
    n_boxes = sum(int((~sample.crowd).sum()) for sample in test.samples)
    return Comparison(
        str(test.root), names, n_boxes, _measured(old, test, known), _measured(new, test)
    )


def _measured(detector: Detector, test: Dataset, known: Evaluation | None = None) -> Measured:
    if known is not None:
        found, metrics = known.detections, known.metrics
    else:
        found = collect_detections(detector, test)
        metrics = score_detections(test, found)
    matches = [
        match_detections(sample, one, detector.threshold)
        for sample, one in zip(test.samples, found, strict=True)
    ]
    return Measured(
        metrics.AP,
        metrics.AP50,
        tuple(match.n_missed for match in matches),
        tuple(match.n_false for match in matches),
    )


def corrections_text(detector: Detector, corrections: Dataset) -> str:
    """How many of the corrections the detector follows: wrong detections gone, objects found."""
    gone = n_wrong = found = n_objects = 0
    for sample in corrections.samples:
        detections: Any = detector.predict(sample.path)
        gone += int(is_apart(sample.hard_negatives, detections.xyxy).sum())
        n_wrong += len(sample.hard_negatives)
        match = match_detections(sample, detections)
        n_objects += int((~sample.crowd).sum())
        found += int((~sample.crowd).sum()) - match.n_missed
    parts = [f"{gone} of {plural(n_wrong, 'wrong detection')} gone"] if n_wrong else []
    parts += [f"{found} of {plural(n_objects, 'object')} found"] if n_objects else []
    return (
        f"on the {plural(len(corrections), 'corrected picture')}: {', '.join(parts) or 'no object'}"
    )


def known_test(run: str | Path, without: Dataset) -> Dataset | None:
    """The test pictures that a run, or one that it was trained on from, was last measured on.

    If there are none, the `test` split of its training data.

    Args:
        run: The run's folder.
        without: Pictures that a detector was trained on, which are left out.
    """
    try:
        test = _last_test(run) or _own_test(run)
    except UserError:
        return None
    if test is None:
        return None
    seen = {file_sha256(sample.path) for sample in without.samples}  # under whatever name
    left = [i for i, s in enumerate(test.samples) if not seen or file_sha256(s.path) not in seen]
    return test.subset(left) if left else None


def _last_test(run: str | Path) -> Dataset | None:
    """What a run, or one that it was trained on from, was last measured on, if that is not trained on."""
    place, seen = Path(run), set[Path]()
    while place.resolve() not in seen:  # renamed runs can name each other
        seen.add(place.resolve())
        try:
            config = read_config(place)
        except UserError:  # an earlier run that is gone
            return None
        about = read_about(place)
        if about is not None and about["data"]["sha256"] != config.get("data", {}).get("sha256"):
            return find_again(about["data"], place)
        start = config.get("start")
        if not isinstance(start, dict):
            return None
        place = Path(str(start.get("run")))
    return None


def _own_test(run: str | Path) -> Dataset | None:
    folder = trained_on(run)
    return load_dataset(folder, "test") if "test" in list_parts(folder) else None
