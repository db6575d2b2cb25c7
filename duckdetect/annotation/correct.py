"""Handing false detections back: a strip of everything that was found, where one clicks what is wrong.

    handed = correct(run, "new_images")      # shows the strip, returns at once
    again = train_again(run, handed.corrections())

Each click is saved at once, in the run's folder (`handed_back.json`, see data/corrections.py); what was
clicked earlier is marked again.
"""

from __future__ import annotations

import base64
import functools
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from duckdetect.annotation.annotate import allow_widgets_in_colab, say
from duckdetect.annotation.canvas import to_jpeg
from duckdetect.annotation.suggestions import suggest
from duckdetect.data.corrections import SAME_IOU, read_corrections, write_corrections
from duckdetect.data.dataset import Dataset, Sample
from duckdetect.errors import UserError, saving
from duckdetect.imaging.geometry import pairwise_iou
from duckdetect.training.run_folder import HANDED_BACK
from duckdetect.utils.locks import folder_lock
from duckdetect.utils.reading import as_path
from duckdetect.utils.words import plural, some_names

_MOST = 60  # crops: more are not looked at
_CROP_PX = 110
_MARGIN = 0.25  # of the box's sides, around it


class Crop(NamedTuple):
    """One detection on the strip."""

    sample: Sample
    box: int

    @property
    def xyxy(self) -> np.ndarray:
        """(1, 4) float32."""
        return self.sample.xyxy[self.box : self.box + 1]


class Handed:
    """What is handed back of a run's detections.

    Attributes:
        path: The file that each click is written to.
        crops: The detections on the strip, the least sure first.
        n_found: How many there are in all; of very many not all are shown.
    """

    def __init__(self, found: Dataset, path: Path) -> None:
        self.path = path
        self._classes = found.classes
        rows = [Crop(sample, i) for sample in found.samples for i in range(len(sample.class_id))]
        self.crops = sorted(rows, key=_score)[:_MOST]
        self.n_found = len(rows)
        self._earlier = self._read()
        self._marked = set(self.wrong)  # as this strip shows it

    @property
    def wrong(self) -> list[int]:
        """The numbers of the crops that are handed back."""
        known = {s.path.resolve(): s.hard_negatives for s in self._earlier.samples}
        found: set[int] = set()
        for place, numbers in self.by_picture().items():
            if place in known:
                meant = self._meant(known[place], numbers)
                found |= {number for number, row in zip(numbers, meant.T, strict=True) if row.any()}
        return sorted(found)

    def by_picture(self) -> dict[Path, list[int]]:
        """The numbers of the crops of each picture."""
        found: dict[Path, list[int]] = {}
        for i, crop in enumerate(self.crops):
            found.setdefault(crop.sample.path.resolve(), []).append(i)
        return found

    def _meant(self, xyxy: np.ndarray, numbers: list[int]) -> np.ndarray:
        """(N, C) bool: which of a picture's crops each box (N, 4) is of, the nearest that is near.

        Detections of one picture may overlap as far as a box moves from one detector to the next.
        """
        crops = np.concatenate([self.crops[i].xyxy for i in numbers])
        iou = pairwise_iou(xyxy, crops)
        return np.asarray((iou > SAME_IOU) & (iou == iou.max(axis=1, keepdims=True)))

    def _read(self) -> Dataset:
        if self.path.is_file():
            return read_corrections(self.path, self._classes)
        return Dataset(self.path.parent, self._classes, ())

    def hand_back(self, numbers: list[int]) -> None:
        """Save which of the crops are wrong; what is known of other detections stays.

        What another strip of the same crops has marked or taken back meanwhile stays, too.

        Raises:
            UserError: If the file is broken meanwhile, or cannot be written.
        """
        # Another strip of this run writes there, too.
        with saving(self.path), folder_lock(self.path.parent):
            self._earlier = self._read()
            clicked = set(numbers)
            self._hand_back(
                sorted((set(self.wrong) | clicked - self._marked) - (self._marked - clicked))
            )
            self._marked = clicked

    def _hand_back(self, numbers: list[int]) -> None:
        samples = {s.path.resolve(): s for s in self._earlier.samples}
        for place, shown in self.by_picture().items():
            known = samples.get(place) or _nothing_known(self.crops[shown[0]].sample)
            others = known.hard_negatives[~self._meant(known.hard_negatives, shown).any(axis=1)]
            wrong = [others, *(self.crops[i].xyxy for i in shown if i in numbers)]
            samples[place] = replace(known, hard_negatives=np.concatenate(wrong).astype(np.float32))
        kept = (s for s in samples.values() if s.whole or len(s.class_id) or len(s.hard_negatives))
        self._earlier = replace(self._earlier, samples=tuple(kept))
        if len(self._earlier):
            write_corrections(self.path, self._earlier)
        else:
            self.path.unlink(missing_ok=True)

    def corrections(self) -> Dataset:
        """What was handed back, to train again on."""
        return self._earlier

    def __repr__(self) -> str:
        names = [sample.path.name for sample in self._earlier.samples]
        n = sum(len(sample.hard_negatives) for sample in self._earlier.samples)
        where = f" on {some_names(names)}" if names else ""
        return f"{plural(n, 'wrong detection')}{where}"


def correct(run: Any, source: str | Path, threshold: float | None = None) -> Handed:
    """Show all detections on new pictures, cropped; those that are clicked are handed back.

    Args:
        run: A `TrainRun` with a folder, or a run's folder.
        source: A picture or a folder of pictures.
        threshold: The least score to show; the detector's own if None.

    Raises:
        UserError: If the run has no folder, or no picture can be read.
    """
    folder = getattr(run, "folder", run)
    if folder is None:
        raise UserError("the run was not written to a folder: give `train` an out")
    folder = as_path(folder, "the run")
    found = suggest(run, source, threshold)
    handed = Handed(found.labels(), folder / HANDED_BACK)
    notes = [f"Left out: {reason}." for reason in found.failed]
    if not handed.crops:
        notes.append(f"Nothing was found in {plural(len(found.dataset), 'picture')}.")
    if handed.n_found > len(handed.crops):
        notes.append(f"Of {handed.n_found} detections the {_MOST} least sure are shown.")
    if notes:
        say("\n".join(notes))
    if handed.crops:
        from IPython.display import display

        allow_widgets_in_colab()
        display(strip(handed))
    return handed


def strip(handed: Handed) -> Any:
    """The strip as a widget.

    Raises:
        UserError: If anywidget is not installed.
    """
    try:
        import anywidget
    except ModuleNotFoundError as error:
        raise UserError(
            f"the detections cannot be displayed here ({error}): run `pip install anywidget` and restart "
            "the notebook"
        ) from error
    widget = _strip(anywidget.AnyWidget)(crops=_shown(handed), wrong=handed.wrong, trouble="")

    def save(change: Any) -> None:
        try:
            handed.hand_back(list(change["new"]))
            widget.trouble = ""
        except UserError as error:  # which nobody would see in a widget's callback
            widget.trouble = str(error)

    widget.observe(save, names=["wrong"])
    return widget


@functools.cache
def _strip(any_widget: Any) -> Any:
    from traitlets import List, Unicode

    here = Path(__file__)

    class CropStrip(any_widget):
        _esm = here.with_suffix(".js").read_text(encoding="utf-8")
        crops: Any = List().tag(sync=True)
        wrong: Any = List().tag(sync=True)
        trouble: Any = Unicode().tag(sync=True)

    return CropStrip


def _shown(handed: Handed) -> list[dict[str, str]]:
    """The crops as the page shows them; each picture is read once."""
    rows: dict[int, dict[str, str]] = {}
    for numbers in handed.by_picture().values():
        image = handed.crops[numbers[0]].sample.load()
        for i in numbers:
            xyxy = handed.crops[i].xyxy[0]
            jpeg = base64.b64encode(to_jpeg(_cut(image, xyxy))).decode()
            rows[i] = {
                "src": f"data:image/jpeg;base64,{jpeg}",
                "text": f"{_score(handed.crops[i]):.2f}",
                "title": f"{handed.crops[i].sample.path.name}: {xyxy.round().astype(int).tolist()}",
            }
    return [rows[i] for i in range(len(rows))]


def _cut(image: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """The box with a margin, as a square of `_CROP_PX`."""
    centre, side = (xyxy[:2] + xyxy[2:]) / 2, (xyxy[2:] - xyxy[:2]).max() * (1 + 2 * _MARGIN)
    scale, (left, top) = side / _CROP_PX, centre - side / 2
    # An affine map, unlike a crop, may reach beyond the image.
    matrix = (scale, 0, left, 0, scale, top)
    cut = Image.fromarray(image).transform(
        (_CROP_PX, _CROP_PX), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(cut)


def _score(crop: Crop) -> float:
    return float(crop.sample.score[crop.box]) if crop.sample.score is not None else 0.0


def _nothing_known(sample: Sample) -> Sample:
    """The same picture, of which nothing has been said."""
    return Sample(
        sample.path,
        sample.image_id,
        sample.size_hw,
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        whole=False,
    )
