"""Evaluating a detector or a run on labelled images.

    evaluate("results/duck", "test").AP50          # a run, on the test split of its own data
    evaluate(detector, "images").table()           # a detector, on any labelled images

What a run was measured on is kept below its folder, with its detections.
"""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from duckdetect._version import __version__
from duckdetect.data.check import left_over
from duckdetect.data.dataset import SPLIT_NAMES, Dataset, Problem, class_table, noting
from duckdetect.data.loading import (
    as_recorded,
    data_sha256,
    describe_data,
    is_of_record,
    list_parts,
    read_dataset,
    recorded_places,
)
from duckdetect.errors import UserError
from duckdetect.evaluation.metrics import Metrics, score_detections
from duckdetect.imaging.geometry import compacted
from duckdetect.inference.detections_json import read_detections, write_detections_json
from duckdetect.inference.detector import Detector
from duckdetect.inference.run_config import read_config, refuse_file
from duckdetect.utils.files import folder_sha256, write_json
from duckdetect.utils.locks import only_writer
from duckdetect.utils.outputs import check_outputs, is_as_written, note_change, own_output
from duckdetect.utils.progress import progress_bar
from duckdetect.utils.reading import as_path
from duckdetect.utils.schema import is_number, read_json
from duckdetect.utils.words import counted, some_names

if TYPE_CHECKING:
    from supervision import Detections

# Images in memory at once; a detector's batch is its own affair. With masks one is enough: those of
# another's detector may take a gigabyte.
BATCH, BATCH_WITH_MASKS = 8, 1


class Predictor(Protocol):
    """What evaluation asks of a detector; one that finds masks says so by `has_masks = True`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a detection's class id indexes them."""

    def predict(self, images: Any, threshold: float) -> Any:
        """One Detections for each image of a list."""


def collect_detections(
    detector: Predictor, dataset: Dataset, progress: bool = False, masks: bool = True
) -> list[Detections]:
    """Every detection of a data set's images, whatever its score, in the data set's class ids.

    Returns:
        One Detections for each of `dataset.samples`, in that order; masks are kept as run lengths
        (see `masks.compacted`), which `score_detections` reads.

    Raises:
        UserError: As `evaluate`.
    """
    if not dataset.samples:
        raise UserError(f"{dataset.root} holds no pictures to evaluate on: choose another data set")
    table = _class_table(detector.classes, dataset)
    found: list[Detections] = []
    has_masks = masks and getattr(detector, "has_masks", False)
    batch = BATCH_WITH_MASKS if has_masks else BATCH
    how: dict[str, Any] = {"masks": masks and "rle"} if isinstance(detector, Detector) else {}
    with _bar(len(dataset.samples), progress) as bar:
        for start in range(0, len(dataset.samples), batch):
            images = [sample.load() for sample in dataset.samples[start : start + batch]]
            for one in detector.predict(images, threshold=0.0, **how):
                found.append(compacted(_translate(one, table)))
            bar.update(len(images))
    return found


def _class_table(names: Sequence[str], dataset: Dataset) -> npt.NDArray[np.int64]:
    """`class_table` of the detector's classes in the data set's; some class must be in both."""
    table = class_table(names, dataset.classes)
    if not (table >= 0).any():
        raise UserError(
            f"the detector knows {_list(names)} and {dataset.root} labels "
            f"{_list(dataset.classes)}: no class name is in both, rename one or choose other data"
        )
    return table


def _unlabelled(names: Sequence[str], dataset: Dataset) -> tuple[str, ...]:
    """A line if the detector knows classes that the data set does not."""
    table = class_table(names, dataset.classes)
    left = [name for name, class_id in zip(names, table, strict=True) if class_id < 0]
    if not left:
        return ()
    what = counted(len(left), "classes of the detector are not labelled")
    return (f"{what} in {dataset.root} ({some_names(left)}): such detections are not counted",)


def _translate(detections: Detections, table: npt.NDArray[np.int64]) -> Detections:
    if len(detections) == 0:
        return detections
    if detections.class_id is None:
        raise ValueError("the detector's detections carry no class ids")
    class_id = table[detections.class_id]
    # A copy: the detector's own stays as it is.
    translated = cast("Detections", detections[class_id >= 0])
    translated.class_id = class_id[class_id >= 0]
    return translated


def _bar(total: int, progress: bool) -> Any:
    return progress_bar(total=total, desc="evaluate", unit="picture", disable=not progress)


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "no class"


FOLDER, METRICS = "evaluation", "metrics.json"

FILES = r"about\.json|detections\.json|(precision_recall|f1)\.png"
"""What lies in it; the plots are a notebook's."""

_FORMAT = 1


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What was found on a data set, and how good it is.

    Attributes:
        dataset: The truth.
        detections: One for each of its samples, at every score, class ids of the data set.
        metrics: The figures.
        about: `{"data": {"folder", "split", "pictures", "boxes", "sha256"}, "detector": {"sha256",
            "threshold"}, ...}`.
        run: The run's folder, if it was a run.
        notes: What `check` would warn of in the labels, each one line.
    """

    dataset: Dataset
    detections: list[Detections]
    metrics: Metrics
    about: dict[str, Any]
    run: Path | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Evaluation(AP={self.AP}, AP50={self.AP50}, dataset={self.dataset!r})"

    @property
    def threshold(self) -> float | None:
        """The detector's own score threshold."""
        found = self.about.get("detector", {}).get("threshold")
        return None if found is None else float(found)

    def to_json(self) -> dict[str, Any]:
        """All metrics as plain values; `at_threshold` holds those at the detector's own threshold."""
        plain = self.metrics.to_json()
        if self.threshold is not None:
            plain["at_threshold"] = asdict(self.metrics.at(self.threshold))
        return plain

    def table(self, keep: tuple[str, str] | None = None) -> str:
        """The metrics as text, F1, precision and recall at the detector's own threshold, and hints."""
        parts = [self.metrics.table(self.threshold), *self.hints(keep)]
        return "\n\n".join(parts)

    def hints(self, keep: tuple[str, str] | None = None) -> list[str]:
        """Whether the images flatter the detector, and whether another threshold is better on them."""
        return [hint for hint in (self.flattering(), self.better_threshold(keep)) if hint]

    def flattering(self) -> str:
        """Why the metrics say more than is true; "" if nothing is known to."""
        config = {} if self.run is None else _read_json(self.run / "config.json")
        sha256 = self.about.get("data", {}).get("sha256")
        if sha256 and sha256 == (config.get("data") or {}).get("sha256"):
            return (
                "These are the images it was trained on: the figures say how well it remembers them, "
                "not how well it does on others. Measure it on other images."
            )
        if sha256 and sha256 == (config.get("validation") or {}).get("sha256"):
            return (
                "These are the validation images, which chose the weights and the threshold that were "
                "kept: the figures flatter a little. Measure it on others."
            )
        return ""

    def better_threshold(self, keep: tuple[str, str] | None = None) -> str:
        """The threshold with the best F1 on these images, where that is worth a word; else "".

        Args:
            keep: What keeps it, to stand before and after the number; the command line's verb if None.
        """
        own, best = self.threshold, self.metrics.best_threshold
        if own is None or best is None:
            return ""
        there = self.metrics.at(math.floor(best * 100) / 100)
        here = self.metrics.at(own)
        if (there.F1 or 0) - (here.F1 or 0) < _WORTH_A_WORD:
            return ""
        if keep is None and self.run is not None:
            keep = f"duckdetect threshold {shlex.quote(str(self.run))} ", ""
        before, after = keep or ("detector.threshold = ", "")
        return (
            f"At a threshold of {there.threshold:.2f} F1 is {there.F1:.3f} instead of {here.F1:.3f}; "
            "it was chosen on these very images, so it flatters: "
            f"`{before}{there.threshold:.2f}{after}` keeps it."
        )

    def __getattr__(self, name: str) -> Any:
        """The metrics' own attributes: `AP`, `AP50`, `AP75`, `table()`, `to_json()` ..."""
        if name.startswith("__") or name == "metrics":
            raise AttributeError(name)
        return getattr(self.metrics, name)


_WORTH_A_WORD = 0.005  # of F1


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object; an empty one if it is missing or broken, which others tell of."""
    try:
        return read_json(path, "").values
    except UserError:
        return {}


def evaluate(
    what: Any,
    data: Dataset | str | Path | None = None,
    split: str | None = None,
    *,
    out: str | Path | None = None,
    per_class: bool | None = None,
    iou: float | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measure a detector or a run on labelled images with COCO's metrics.

    A run keeps the metrics and the detections in its folder. Classes are matched by name; detections
    of a class that the data do not label are left out, since nothing says whether they are right.

    Args:
        what: A run's folder, a `TrainRun`, or a detector.
        data: A Dataset, or where one lies, as `load_dataset` takes it. For a run also the name of a
            split of the data that it was trained on; by default that data's `test` split.
        split: Which split of `data`. If None, what the folder itself holds; where it holds nothing
            but splits, `test`, else `valid`, else `train`.
        out: A JSON file to write the metrics to as well.
        per_class: Whether detections of different classes leave each other alone; as the detector
            is set if None. See `Suppression`.
        iou: The overlap above which the lower-scored of two detections gives way.
        progress: Show a bar on stderr.

    Raises:
        UserError: If the run holds no detector, the data cannot be read or hold no images, no class
            name is in both, or a file of somebody else lies where a run's metrics are kept.

    Example:
        evaluate("results/duck", "test").AP50
    """
    from duckdetect.inference.detector import as_detector

    run: str | Path | None = None
    detector: Predictor | None = None
    if isinstance(data, str | Path):  # what is neither is told below
        as_path(data, "the data")
    if isinstance(what, str | Path):
        run = what
    else:
        detector = as_detector(what)
        # A detector has a folder, too, which is no run's.
        run = what.folder if detector is not what else None
    if run is not None:
        _check_places(as_path(run, "the run"))  # at once, not after a detector is loaded
    if per_class is not None or iou is not None:
        detector = as_detector(detector or what).changed(per_class=per_class, iou=iou)
    if data is None or (isinstance(data, str) and data in SPLIT_NAMES and not Path(data).exists()):
        data, split = trained_on(run), split or str(data or "test")
    if run is not None:
        measured = evaluate_run(run, data, split, detector, progress)
    else:
        assert detector is not None
        dataset, _, _, notes = _load(data, split)
        notes += _unlabelled(detector.classes, dataset)
        detections = collect_detections(detector, dataset, progress)
        about = {"detector": {"threshold": getattr(detector, "threshold", None)}}
        metrics = score_detections(dataset, detections, progress)
        measured = Evaluation(dataset, detections, metrics, about, None, notes)
    if out is not None:
        write_json(out, measured.to_json())
    return measured


def trained_on(run: str | Path | None) -> Path:
    """Where the data lie that a run was trained on."""
    if run is None:
        raise UserError("a detector alone does not say what to measure it on: give labelled images")
    record = read_config(run).get("data")
    if not isinstance(record, dict) or not record.get("folder"):
        raise UserError(f"{run} does not say what it was trained on: give labelled images")
    folder = next(iter(recorded_places(record, Path(run))), Path(str(record["folder"])))
    # A split of a data set is trained on; its other splits lie beside it.
    names = {name for names in SPLIT_NAMES.values() for name in names}
    return folder.parent if folder.name in names else folder


def _load(
    data: Dataset | str | Path, split: str | None
) -> tuple[Dataset, Path, str | None, tuple[str, ...]]:
    """The data set, where it lies, which split of it, and what its labels are warned of."""
    if not isinstance(data, str | Path):
        if not hasattr(data, "samples"):
            kind = type(data).__name__
            raise UserError(f"{kind} is no data set: give a Dataset, or a folder of one")
        return data, data.root, split, ()
    split = split or choose_split(Path(data))
    notes: list[Problem] = []
    dataset = read_dataset(Path(data), split, noting(notes))
    notes += left_over([dataset], unlabelled=False)
    return dataset, Path(data), split, tuple(map(str, notes))


def evaluate_run(
    run: str | Path,
    data: Dataset | str | Path,
    split: str | None = None,
    detector: Predictor | None = None,
    progress: bool = False,
) -> Evaluation:
    """`evaluate` for a run's folder, with its detector if that is loaded already."""
    run = as_path(run, "the run")
    _check_places(run)
    with _only_one(run):
        return _evaluate_run(run, data, split, detector, progress)


def _check_places(run: Path) -> None:
    """Refuse what is no run, and files that are not ours where its metrics are kept."""
    refuse_file(run)
    if (run / "saved_model.pb").is_file():
        raise UserError(
            f"{run} is a detector alone, without the run that its metrics would be kept in: give the "
            "folder that `duckdetect train` wrote"
        )
    # Earlier versions wrote no manifest.
    check_outputs([run / FOLDER, run / METRICS], "eval", known=f"({FILES})?")


def _only_one(run: Path) -> contextlib.AbstractContextManager[None]:
    """Let nobody else write into a run; that there is none is for loading the detector to say."""
    return only_writer(run, cure="") if run.is_dir() else contextlib.nullcontext()


def _evaluate_run(
    run: Path,
    data: Dataset | str | Path,
    split: str | None,
    detector: Predictor | None,
    progress: bool,
) -> Evaluation:
    if detector is None:
        from duckdetect.inference.detector import load_detector

        detector = load_detector(run)
    with _as_trained(run, data):
        dataset, folder, split, notes = _load(data, split)
        described = describe_data(dataset)
    notes += _unlabelled(detector.classes, dataset)
    detections = collect_detections(detector, dataset, progress)
    metrics = score_detections(dataset, detections, progress)
    about = {
        "format": _FORMAT,
        "duckdetect": __version__,
        "data": {
            **described,
            "folder": str(folder),
            "path": str(folder.resolve()),
            "split": split,
        },
        "detector": {
            "sha256": folder_sha256(run / "detector"),
            "threshold": getattr(detector, "threshold", None),
        },
    }
    with own_output(run / FOLDER, "eval", known=FILES) as part:
        part.mkdir()
        records = (
            (sample.image_id, sample.path.name, found)
            for sample, found in zip(dataset.samples, detections, strict=True)
        )
        write_detections_json(part / "detections.json", records, dataset.classes, digits=None)
        write_json(part / "about.json", about)
    measured = Evaluation(dataset, detections, metrics, about, run, notes)
    with own_output(run / METRICS, "eval", known="") as part:
        write_json(part, measured.to_json())
    return measured


def _as_trained(run: Path, data: Dataset | str | Path) -> contextlib.AbstractContextManager[None]:
    """Read a run's own data set as it was read to train on it."""
    if isinstance(data, str | Path):
        with contextlib.suppress(UserError):  # a run without its config.json can be measured
            config = read_config(run)
            for record in (config.get("data"), config.get("validation")):
                if isinstance(record, dict) and is_of_record(Path(data), record, run):
                    return as_recorded(record)
    return contextlib.nullcontext()


def choose_split(path: Path) -> str | None:
    """The split to measure on: None if the folder has labels of its own, else test, valid, train.

    Raises:
        UserError: If nothing labelled is there.
    """
    parts = list_parts(path)
    return next((split for split in (None, "test", "valid", "train") if split in parts), None)


def read_about(run: str | Path) -> dict[str, Any] | None:
    """What the run was measured on last; None if it was not, or was trained again since."""
    run = Path(run)
    try:
        about = read_json(run / FOLDER / "about.json", "").values
        same = about["detector"]["sha256"] == folder_sha256(run / "detector")
        known = about["format"] == _FORMAT and {"folder", "sha256"} <= about["data"].keys()
        typed = isinstance(about["data"]["folder"], str) and isinstance(
            about["data"]["sha256"], str
        )
        threshold = about["detector"].get("threshold")
        typed &= threshold is None or (is_number(threshold) and 0 <= threshold <= 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if same and known and typed else None


def change_threshold(run: str | Path, threshold: float) -> float:
    """Give a run's detector another score threshold; what was measured with it stays known.

    Args:
        run: The run's folder.
        threshold: The score from which detections are kept, 0 to 1.

    Returns:
        The threshold that it had.

    Raises:
        UserError: If the folder holds no detector, or the threshold is no score.
    """
    from duckdetect.inference.detector import save_threshold

    run = Path(run)
    refuse_file(run)
    with _only_one(run):
        about = read_about(run)
        before = save_threshold(run, threshold)
        if about is not None:
            about["detector"] |= {
                "sha256": folder_sha256(run / "detector"),
                "threshold": float(threshold),
            }
            write_json(run / FOLDER / "about.json", about)
            note_change(run / FOLDER, "about.json")
    return before


def read_evaluation(run: str | Path, dataset: Dataset) -> Evaluation | None:
    """What `evaluate_run` kept, scored again with the same result.

    Args:
        run: The run's folder.
        dataset: The data set it was measured on.

    Returns:
        None if the run was not measured, or on other data.

    Raises:
        UserError: If the kept detections are broken, or were changed since.
    """
    folder = Path(run) / FOLDER
    intact = {name: is_as_written(folder, name) for name in ("about.json", "detections.json")}
    for name, same in intact.items():
        if same is False:
            raise UserError(
                f"{folder / name} was changed since `duckdetect eval` wrote it: move {folder} away, "
                f"then run `duckdetect eval` on {run} again"
            )
    about = read_about(run)
    if about is None or about["data"]["sha256"] != data_sha256(dataset):
        return None
    path = folder / "detections.json"
    cure = f"run `duckdetect eval` on {run} again"
    read = read_detections(path, cure, check_masks=None in intact.values())
    found = {image_id: one for image_id, _, one in read}
    n_classes, image_ids = len(dataset.classes), {sample.image_id for sample in dataset.samples}
    if found.keys() - image_ids or any(
        np.any(np.asarray(one.class_id) >= n_classes) for one in found.values()
    ):
        raise UserError(f"{path} is of other images or classes than the data: {cure}")
    detections = [found.get(sample.image_id, _nothing()) for sample in dataset.samples]
    try:
        metrics = score_detections(dataset, detections)
    except ValueError as error:  # of some a mask, of others none
        raise UserError(f"{path} is broken ({error}): {cure}") from error
    return Evaluation(dataset, detections, metrics, about, Path(run))


def _nothing() -> Detections:
    import supervision as sv

    return sv.Detections.empty()
