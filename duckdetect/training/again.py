"""Training again from a run: its weights, settings and pictures, and what was corrected since.

    run = train_again("results/duck", "corrections.json")    # the new run lies in results/duck-2

The new run keeps all corrections so far in its folder, in `corrections.json`, so that the next one starts
from them; config.json still names the pictures of the first run. The old run is left as it is.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from duckdetect.data.corrections import (
    copies_text,
    is_corrections,
    read_corrections,
    with_corrections,
    write_corrections,
)
from duckdetect.data.dataset import Dataset, alike_classes, alike_warning, in_classes_of
from duckdetect.data.loading import data_sha256, find_again, load_dataset
from duckdetect.errors import UserError
from duckdetect.evaluation.compare import compare, corrections_text, known_test
from duckdetect.inference.detector import Detector, load_detector
from duckdetect.models.interfaces import BaseModel
from duckdetect.models.postprocess import ConfusableClasses, object_side_of
from duckdetect.training import run_folder
from duckdetect.training.config import TrainConfig
from duckdetect.utils.files import folder_sha256

if TYPE_CHECKING:
    import tensorflow as tf

    from duckdetect.models.mask_head import MaskHead
    from duckdetect.training.finetune import TrainRun

# The run's weights are near the goal already, its boxes above all: trained on at the box head's full rate
# they got worse (docs/accuracy.md).
AGAIN: Mapping[str, Any] = {"steps": 100, "learning_rate": 0.003, "box_lr_multiplier": 0.03}

# What a new run settles by its images; the other settings are the first run's.
SIZED = ("train", "steps", "views", "batch_size")


@dataclass(frozen=True, eq=False)
class Start:
    """What a run starts from instead of the base's weights.

    Attributes:
        run: The earlier run's folder.
        config: Its config.json.
        detector: Its detector.
        corrections: All that was corrected so far.
        adds: Whether classes are added and the old ones stay as they are, weight by weight.
        from_base: Whether the base's weights are kept, and the run gives its pictures and settings alone.
    """

    run: Path
    config: Mapping[str, Any]
    detector: Detector
    corrections: Dataset
    adds: bool = False
    from_base: bool = False

    def identity(self) -> dict[str, Any]:
        """What the new run's config.json says beside the settings."""
        digest = folder_sha256(self.run / "detector") + data_sha256(self.corrections)
        if self.from_base:
            digest += "from_base"
        start: dict[str, Any] = {
            "run": str(self.run),
            "corrected": len(self.corrections),
            "sha256": hashlib.sha256(digest.encode()).hexdigest(),
        }
        if self.from_base:
            start["from_base"] = True
        return {"data": self.config["data"], "start": start}

    def check_weights(self, sha256: str) -> None:
        """Raise UserError if the base's weights are not those that the run was trained from."""
        if sha256 != (self.config.get("weights") or {}).get("sha256"):
            raise UserError(
                f"{self.run} was trained from other weights of {self.config['base']}: give them as "
                "--weights, or train it again from its base"
            )

    def begin(self, folder: Path) -> None:
        """Note in the new run's folder what it is trained on beside the first run's pictures."""
        write_corrections(folder / run_folder.CORRECTIONS, self.corrections)

    def restore(self, base: BaseModel) -> None:
        """Give a base model the run's trained weights; new classes' columns stay."""
        saved = self.detector.weights()
        columns = {variable.name: q for variable, q in base.class_columns()}
        for variable in base.variables():
            value, q = saved.get(variable.name), columns.get(variable.name)
            if value is None:
                continue
            if value.shape != tuple(variable.shape) and q is not None:
                whole = variable.numpy().reshape(*variable.shape[:-1], q, -1)
                old = value.reshape(*value.shape[:-1], q, -1)
                whole[..., : old.shape[-1]] = old
                value = whole.reshape(variable.shape)
            if value.shape != tuple(variable.shape):
                raise UserError(
                    f"{self.run} does not fit {base.name}: train it again from its base"
                )
            variable.assign(value)

    def restore_masks(self, head: MaskHead) -> bool:
        """Give a mask head the run's trained weights; False if the run has none."""
        saved = self.detector.weights()
        for variable in head.variables:
            if variable.name in saved:
                variable.assign(saved[variable.name])
        return self.detector.has_masks

    def keeps_masks(self, config: TrainConfig) -> bool:
        """Whether the run's mask head stays as it is, bit for bit.

        Of a run that trains the heads the maps that it reads are frozen, so that only new outlines would
        teach it anything; and where classes are added, the old pictures may be gone.
        """
        outlined = any(sample.segmentation for sample in self.corrections.samples)
        return self.detector.has_masks and config.part == "heads" and (self.adds or not outlined)

    def confusables(self, new: ConfusableClasses | None) -> ConfusableClasses | None:
        """What suppresses the run's classes, and `new` for those that are added."""
        saved = self.detector.weights()
        suppressed = any(name.startswith(("confusable", "Variable")) for name in saved)
        if not self.adds or new is None or not suppressed:
            return new
        if "confusable_own_score:0" not in saved:
            raise UserError(
                f"{self.run} is of an earlier version, which does not say what suppresses its classes: "
                "give --no-confusables, or train it again first"
            )
        return ConfusableClasses.joined(saved, new)

    def object_side(self) -> float:
        """The objects' side by which the high-resolution input is the run's own again; 1 for none."""
        high_res_hw = self.detector.high_res_hw
        return object_side_of(high_res_hw[0]) if high_res_hw else 1.0

    def only_new(self, base: BaseModel) -> list[tuple[tf.Variable, np.ndarray]] | None:
        """The variables to train where classes are added, and 1 at their new columns, else 0."""
        if not self.adds:
            return None
        found = []
        for variable, q in base.class_columns():
            mask = np.zeros((*variable.shape[:-1], q, base.num_classes + 1), np.float32)
            mask[..., len(self.detector.classes) + 1 :] = 1
            found.append((variable, mask.reshape(variable.shape)))
        return found


def train_again(
    run: Any,
    corrections: str | Path | Dataset | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | TrainConfig | None = None,
    *,
    from_base: bool = False,
    val: Dataset | None = None,
    weights: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> TrainRun:
    """Train on from a run, on its pictures and on corrected ones.

    Args:
        run: A finished run's folder, or a `TrainRun`; its detector stays.
        corrections: A file of corrections (data/corrections.py), or further labelled pictures; None for
            more steps on the same pictures.
        out: The new run's folder; by default the next free one beside the old (`duck`, `duck-2`).
        settings: All settings, or some that come before the run's own and before what training again
            changes of these: fewer steps.
        from_base: Whether to train on the same pictures from the base: level, steps, views and batch size
            are then chosen for all of them, the other settings are the run's.
        val: As `train` has it; the run's own if None.
        weights: As `train` has it.
        overwrite: As `train` has it.
        progress: As `train` has it.

    Raises:
        UserError: As `train`, and if the run's pictures are gone or the corrections are broken.
    """
    folder, known, detector = _opened(run)
    first = in_classes_of(_pictures_of(folder, known), Dataset(folder, detector.classes, ()))
    said = _earlier(folder, known, detector)
    copies = ""
    if corrections is not None:
        new = _read(corrections, detector)
        copies = copies_text((*first.samples, *said.samples), new)
        said = with_corrections(said, new)
    dataset = with_corrections(first, said)
    given = settings.to_dict() if isinstance(settings, TrainConfig) else dict(settings or {})
    usual = dict(AGAIN)
    if from_base:
        usual = {key: getattr(TrainConfig, key) for key in SIZED}
        if trained_on(known):
            usual |= {key: getattr(TrainConfig, key) for key in AGAIN}
    settings = TrainConfig.from_dict({**known["train"], **usual, **given})
    start = Start(folder, known, detector, said, from_base=from_base)
    return _finetuned(
        start, dataset, settings, out,
        val=val, weights=weights, overwrite=overwrite, progress=progress, copies=copies,
    )  # fmt: skip


def add_classes(
    run: Any,
    data: str | Path | Dataset,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | TrainConfig | None = None,
    **more: Any,
) -> TrainRun:
    """Add a class to a detector; the classes that it knows do not lose by it.

    Of a run that trained the heads, the old classes' weights and the box head's stay bit for bit, and the
    old pictures are not needed: only the new columns of the class head are trained. Of a run that
    trained deeper, the old pictures are trained on again with the new ones.

    Args:
        run: A finished run's folder, or a `TrainRun`.
        data: Pictures labelled with the new class.
        out: The new run's folder, by default the next free one beside the old.
        settings: As `train_again` has them.
        more: `val`, `weights`, `overwrite`, `progress`, as `train` has them.

    Raises:
        UserError: If `data` has no new class, or the old pictures are needed and gone.
    """
    folder, known, detector = _opened(run)
    new = load_dataset(data) if isinstance(data, str | Path) else data
    classes = tuple(dict.fromkeys((*detector.classes, *new.classes)))
    if classes == detector.classes:
        raise UserError(
            f"{new.root} labels nothing that {folder} does not know ({', '.join(classes)}): give it as "
            "--correct to train on with it"
        )
    for alike in alike_classes(classes):
        what, _ = alike_warning(alike)
        raise UserError(f"{what}, so {alike[-1]!r} of {new.root} is no new one: rename it there")
    new = in_classes_of(new, Dataset(folder, classes, ()))
    earlier = _earlier(folder, known, detector)
    said = with_corrections(replace(earlier, classes=classes), new)
    config = TrainConfig.from_dict(known["train"])
    adds, whole, seen = config.part == "heads", new, earlier.samples
    if not adds:
        first = in_classes_of(_pictures_of(folder, known), new)
        whole, seen = with_corrections(first, said), (*first.samples, *seen)
    copies = copies_text(seen, new)
    start = Start(folder, known, detector, said, adds)
    if not isinstance(settings, TrainConfig):
        # Not those of training again: the new class has everything to learn.
        usual = {key: getattr(TrainConfig, key) for key in AGAIN} if trained_on(known) else {}
        settings = TrainConfig.from_dict({**config.to_dict(), **usual, **(settings or {})})
    return _finetuned(start, whole, settings, out, copies=copies, **more)


def trained_on(known: Mapping[str, Any]) -> bool:
    """Whether a run began with another's weights, by its config.json."""
    start = known.get("start")
    return bool(start) and not (isinstance(start, Mapping) and start.get("from_base"))


def _opened(run: Any) -> tuple[Path, dict[str, Any], Detector]:
    """A finished run's folder, its config.json and its detector."""
    folder = getattr(run, "folder", run)
    if not isinstance(folder, str | Path):
        raise UserError(
            "the run was not written to a folder: give `train` an out, then train again"
        )
    folder = Path(folder)
    known = run_folder.finished_config(folder)
    detector = load_detector(folder)
    if detector.two_stage:
        raise UserError(
            f"{folder} holds a detector of two stages, which cannot be trained on from there: train a "
            "new run on all pictures"
        )
    return folder, known, detector


def _pictures_of(folder: Path, known: Mapping[str, Any]) -> Dataset:
    """The pictures that the first of the runs was trained on."""
    first = find_again(known["data"], folder)
    if first is None:
        raise UserError(
            f"the pictures that {folder} was trained on are gone or changed "
            f"({known['data']['folder']}): put them back, without them it would forget"
        )
    return first


def _finetuned(
    start: Start,
    dataset: Dataset,
    config: TrainConfig,
    out: str | Path | None,
    *,
    val: Dataset | None = None,
    weights: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
    copies: str = "",
) -> TrainRun:
    from duckdetect.training.finetune import finetune

    if out is not None and Path(out).resolve() == start.run.resolve():
        raise UserError(f"{out} holds the run that is trained on from: choose another --out")
    # The run's own validation pictures say nothing of classes that it did not know.
    if val is None and start.config.get("validation") and dataset.classes == start.detector.classes:
        val = find_again(start.config["validation"], start.run)
    trained = finetune(
        start.config["base"],
        dataset,
        config,
        _next_folder(start) if out is None else out,
        val=val,
        weights=weights,
        overwrite=overwrite,
        progress=progress,
        start=start,
    )
    told = [copies] if copies else []
    if len(start.corrections):
        told.append(corrections_text(trained.detector, start.corrections))
    if (test := known_test(start.run, start.corrections)) is not None:
        told.append(compare(start.detector, trained.detector, test, start.run).text())
    else:
        told.append("to compare it with the old one on test pictures, `duckdetect eval` both")
    return replace(trained, compared="\n".join(told))


def _earlier(folder: Path, known: Mapping[str, Any], detector: Detector) -> Dataset:
    """What was corrected before the run that is started from.

    Raises:
        UserError: If there was more than is left, which training again would forget.
    """
    path = folder / run_folder.CORRECTIONS
    n_trained_on = (known.get("start") or {}).get("corrected")
    left = Dataset(folder, detector.classes, ())
    if path.is_file():
        left = read_corrections(path, detector.classes)
    if n_trained_on and len(left) < n_trained_on:
        raise UserError(
            f"{path} holds {len(left)} of the {n_trained_on} corrected pictures that {folder} was "
            "trained on, and would forget the others: put it back as it was"
        )
    return left


def _read(corrections: str | Path | Dataset, detector: Detector) -> Dataset:
    if isinstance(corrections, str | Path):
        if is_corrections(Path(corrections)):
            return read_corrections(corrections, detector.classes)
        corrections = load_dataset(corrections)
    return in_classes_of(corrections, Dataset(Path("the run"), detector.classes, ()))


def _next_folder(start: Start) -> Path:
    """`duck-2` beside `duck`: the first that is free, or that holds this very run."""
    folder = start.run if start.run.name else start.run.resolve()  # "." has no name
    stem, number = folder.name, 2
    if found := re.fullmatch(r"(.+)-(\d+)", stem):
        stem, number = found[1], int(found[2]) + 1
    sha256 = start.identity()["start"]["sha256"]
    for n in itertools.count(number):
        path = folder.with_name(f"{stem}-{n}")
        if not path.exists() or run_folder.started_from(path) == sha256:
            return path
    raise AssertionError
