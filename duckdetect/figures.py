"""The figures of an evaluation, as data: JSON for machines, a table for people.

    metrics = score_detections(dataset, detections)  # metrics.py makes them
    print(metrics.table())

A figure that has no meaning (no labelled box of that kind) is None.
"""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdetect.matching import Curve


@dataclass(frozen=True)
class ClassMetrics:
    """One class's figures; see Metrics."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    AR100: float | None
    best_threshold: float | None
    F1: float | None
    precision: float | None
    recall: float | None
    n_boxes: int
    n_true: int
    n_false: int
    curve: Curve = field(repr=False, compare=False)


@dataclass(frozen=True)
class MaskMetrics:
    """How good the detections' masks are: overlaps of masks instead of boxes, all else the same.

    Attributes:
        AP, AP50, ..., AR_large: COCO's twelve, 0..1; None where there is nothing to find.
        n_masks: Labelled masks, crowds left out. A box without a mask counts as a crowd does.
        per_class: For each class by name AP, AP50, AP75 and AR100.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None
    n_masks: int
    per_class: dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Metrics:
    """How good the detections are.

    Attributes:
        AP, AP50, ..., AR_large: COCO's twelve, 0..1; None where there is nothing to find.
        best_threshold: The score with the best F1 at IoU 0.5, all classes pooled; of equals the
            highest; None if no detection is right at any score.
        F1, precision, recall: At that threshold; None where undefined.
        n_true, n_false: Right and wrong detections at that threshold, at any score if it is None.
        n_boxes: Labelled boxes, crowds left out.
        n_pictures: Pictures looked at.
        per_class: The same for each class, by name.
        curve: Precision and recall over the threshold; not part of the JSON.
        masks: The masks' figures; None, and not in the JSON, unless labels and detections have masks.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None
    best_threshold: float | None
    F1: float | None
    precision: float | None
    recall: float | None
    n_pictures: int
    n_boxes: int
    n_true: int
    n_false: int
    per_class: dict[str, ClassMetrics]
    curve: Curve = field(repr=False, compare=False)
    masks: MaskMetrics | None = None

    def to_json(self) -> dict[str, Any]:
        """All figures as plain numbers, None and dictionaries."""
        apart = ("curve", "masks")
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}
        plain["per_class"] = {
            name: {key: value for key, value in asdict(one).items() if key != "curve"}
            for name, one in self.per_class.items()
        }
        if self.masks is not None:
            plain["masks"] = asdict(self.masks)
        return plain

    def table(self) -> str:
        """The figures as aligned text of several lines, without a newline at the end."""
        head = ["class", "boxes", "AP", "AP50", "AP75", "AR100", "F1", "precision", "recall", "at"]
        lines: list[tuple[str, Metrics | ClassMetrics]] = list(self.per_class.items())
        if len(lines) != 1:
            lines.append(("all classes", self))
        rows = [head]
        for name, one in lines:
            shares = (one.AP, one.AP50, one.AP75, one.AR100, one.F1, one.precision, one.recall)
            rows.append([name, str(one.n_boxes), *map(_show, shares), _show(one.best_threshold, 2)])
        named: list[tuple[str, Metrics | MaskMetrics]] = [("", self)]
        if self.masks is not None:
            named.append(("mask ", self.masks))
        sizes = [["", "small", "medium", "large"]] + [
            [f"{prefix}{kind}"]
            + [_show(getattr(one, f"{kind}_{size}")) for size in ("small", "medium", "large")]
            for prefix, one in named
            for kind in ("AP", "AR")
        ]
        notes = f"{self.n_pictures} pictures, {self.n_boxes} boxes, {self.n_false} false detections"
        notes += (
            f" at score {self.best_threshold:.2f} and above"
            if self.best_threshold is not None
            else ""
        )
        few = f"AR with at most 1 and 10 detections: {_show(self.AR1)} and {_show(self.AR10)}"
        parts = [[notes], _align(rows), *self._mask_tables(), _align(sizes), [few]]
        return "\n\n".join("\n".join(part) for part in parts)

    def _mask_tables(self) -> list[list[str]]:
        if self.masks is None:
            return []
        names = ("AP", "AP50", "AP75", "AR100")
        rows = [["by their masks", *names]]
        for name, one in self.masks.per_class.items():
            rows.append([name, *(_show(one[key]) for key in names)])
        if len(rows) != 2:
            rows.append(["all classes", *(_show(getattr(self.masks, key)) for key in names)])
        return [_align(rows)]


def _show(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _align(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest cell; the first to the left, numbers to the right."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        gaps = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        numbers = [gap + cell for gap, cell in zip(gaps[1:], row[1:], strict=True)]
        lines.append("  ".join([row[0] + gaps[0], *numbers]).rstrip())
    return lines


def _width(text: str) -> int:
    """Columns that a terminal gives the text: two for an East Asian sign, none for an accent."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )
