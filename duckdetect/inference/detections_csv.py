"""detections.csv and counts.csv: what was found as tables, for spreadsheets and pandas.

    with CsvWriter(Path("results/new"), classes) as tables:
        write_detections_json(path, tables.passing(records), classes)

A row a detection, and a row a picture or frame with its number of objects of each class, zeros too.
Counting at lines and in zones is supervision's (LineZone, PolygonZone).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from duckdetect.inference.detections_json import Record
from duckdetect.utils.outputs import own_output

DETECTIONS, COUNTS = "detections.csv", "counts.csv"
_FRAME = ("file", "frame", "time_s")
_COLUMNS = (*_FRAME, "class", "score", "x1", "y1", "x2", "y2", "track")


class CsvWriter:
    """Writes both tables while records pass; a context manager, so that they appear whole.

    Args:
        folder: Where they go.
        classes: Name of each class id.
        verb: As in `own_output`.
    """

    def __init__(self, folder: Path, classes: Sequence[str], verb: str | None = None) -> None:
        self._folder = folder
        self._classes = tuple(classes)
        self._verb = verb
        self._open = ExitStack()

    def __enter__(self) -> CsvWriter:
        self._detections = self._table(DETECTIONS)
        self._counts = self._table(COUNTS)
        self._detections.writerow(_COLUMNS)
        self._counts.writerow([*_FRAME, *map(_cell, self._classes), "all"])
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def _table(self, name: str) -> Any:
        part = self._open.enter_context(own_output(self._folder / name, self._verb))
        # With a byte order mark Excel reads the names' letters right.
        # Names of files need not be UTF-8: as escapes, as detections.json has them.
        file = self._open.enter_context(
            part.open("w", newline="", encoding="utf-8-sig", errors="backslashreplace")
        )
        return csv.writer(file)

    def passing(self, records: Iterable[Record]) -> Iterator[Record]:
        """Write each record's rows and hand it on."""
        for record in records:
            _, file_name, found, *more = record
            about = more[0] if more else {}
            frame = [_cell(file_name), about.get("frame", ""), about.get("time", "")]
            class_id = np.zeros(0, int) if found.class_id is None else found.class_id
            score = np.zeros(0) if found.confidence is None else found.confidence
            for i, (k, xyxy) in enumerate(zip(class_id, found.xyxy.tolist(), strict=True)):
                track = "" if found.tracker_id is None else int(found.tracker_id[i])
                box = [round(v, 3) for v in xyxy]
                name = _cell(self._classes[k])
                self._detections.writerow([*frame, name, str(score[i]), *box, track])
            counts = np.bincount(class_id, minlength=len(self._classes)).tolist()
            self._counts.writerow([*frame, *counts, sum(counts)])
            yield record


def _cell(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
