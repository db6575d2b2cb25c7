"""Measuring a run, and keeping enough of it to look at later without detecting again.

    measured = evaluate_run("results/duck", "export")       # its test split
    measured = read_evaluation("results/duck", dataset)     # another day: the same figures

RUN/metrics.json               the figures
RUN/evaluation/about.json      which data (folder, split, check sum), which detector
RUN/evaluation/detections.json every detection in COCO's results format, in full precision
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import duckdetect
from duckdetect.datasets import Dataset, list_parts, load_dataset
from duckdetect.errors import UserError
from duckdetect.evaluation import Predictor, collect_detections
from duckdetect.figures import Metrics
from duckdetect.files import atomic_path, write_json
from duckdetect.fingerprints import data_sha256, folder_sha256
from duckdetect.masks import RLE_KEY, detection_rles, rle_column
from duckdetect.metrics import score_detections
from duckdetect.runs import describe_data

if TYPE_CHECKING:
    from supervision import Detections

FOLDER = "evaluation"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found on a data set, and how good it is.

    Attributes:
        dataset: The truth.
        detections: One for each of its samples, at every score, class ids of the data set.
        metrics: The figures.
        about: `{"data": {"folder", "split", "pictures", "boxes", "sha256"}, "detector": {"sha256",
            "threshold"}, ...}`.
    """

    dataset: Dataset
    detections: list[Detections]
    metrics: Metrics
    about: dict[str, Any]


def evaluate_run(
    run: str | Path,
    data: Dataset | str | Path,
    split: str | None = None,
    detector: Predictor | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measure a run's detector, and keep the figures and the detections in its folder.

    Args:
        run: The run's folder.
        data: A data set, or where one lies, as `load_dataset` takes it.
        split: Which split of `data`. If None, what the folder itself holds; where it holds nothing
            but splits, `test`, else `valid`, else `train`.
        detector: The run's detector, if it is loaded already.
        progress: Show a bar on stderr.

    Raises:
        UserError: If the run holds no detector, or the data set cannot be read or has none of its
            classes.
    """
    run = Path(run)
    if detector is None:
        from duckdetect.detector import load_detector

        detector = load_detector(run)
    if isinstance(data, Dataset):
        dataset, folder = data, data.root
    else:
        folder = Path(data)
        split = split or choose_split(folder)
        dataset = load_dataset(folder, split)
    detections = collect_detections(detector, dataset, progress)
    metrics = score_detections(dataset, detections)
    about = {
        "format": _FORMAT,
        "duckdetect": duckdetect.__version__,
        "data": {
            **describe_data(dataset),
            "folder": str(folder),
            "split": split,
        },
        "detector": {
            "sha256": folder_sha256(run / "detector"),
            "threshold": getattr(detector, "threshold", None),
        },
    }
    with atomic_path(run / FOLDER) as part:
        part.mkdir()
        write_detections(part / "detections.json", dataset, detections)
        write_json(part / "about.json", about)
    write_json(run / "metrics.json", metrics.to_json())
    return Evaluation(dataset, detections, metrics, about)


def choose_split(path: Path) -> str | None:
    """The split to measure on: None if the folder has labels of its own, else test, valid, train.

    Raises:
        UserError: If nothing labelled is there.
    """
    parts = list_parts(path)
    return next((split for split in (None, "test", "valid", "train") if split in parts), None)


def read_about(run: str | Path) -> dict[str, Any] | None:
    """What the run was measured on last; None if it was not, or was trained anew since."""
    run = Path(run)
    try:
        about = json.loads((run / FOLDER / "about.json").read_text(encoding="utf-8"))
        same = about["detector"]["sha256"] == folder_sha256(run / "detector")
        known = about["format"] == _FORMAT and {"folder", "sha256"} <= about["data"].keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if same and known else None


def read_evaluation(run: str | Path, dataset: Dataset) -> Evaluation | None:
    """What `evaluate_run` kept, measured anew with the same result.

    Args:
        run: The run's folder.
        dataset: The data set it was measured on.

    Returns:
        None if the run was not measured, or on other data.

    Raises:
        UserError: If the kept detections are broken.
    """
    about = read_about(run)
    if about is None or about["data"]["sha256"] != data_sha256(dataset):
        return None
    path = Path(run) / FOLDER / "detections.json"
    try:
        detections = read_detections(path, dataset)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path} is broken ({error}): run `duckdetect eval` on {run} again"
        ) from error
    return Evaluation(dataset, detections, score_detections(dataset, detections), about)


def write_detections(path: Path, dataset: Dataset, detections: Sequence[Detections]) -> None:
    """Write all detections as COCO's results, with every digit."""
    with path.open("w", encoding="utf-8") as file:
        between = "[\n"
        for sample, found in zip(dataset.samples, detections, strict=True):
            for row in _rows(sample.image_id, found):
                file.write(between + json.dumps(row, allow_nan=False))
                between = ",\n"
        file.write("[]\n" if between == "[\n" else "\n]\n")


def _rows(image_id: int, found: Detections) -> Iterator[dict[str, Any]]:
    if len(found) == 0:
        return
    if found.confidence is None or found.class_id is None:
        raise ValueError("detections need scores and class ids to be kept")
    # float32 corners and their differences are exact in JSON's float64: what is read is what was.
    rles = detection_rles(found)
    for index, (x1, y1, x2, y2) in enumerate(found.xyxy.astype(np.float64).tolist()):
        row: dict[str, Any] = {
            "image_id": int(image_id),
            "category_id": int(found.class_id[index]) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": float(str(found.confidence[index])),
        }
        if rles is not None:
            row["segmentation"] = rles[index]
        yield row


def read_detections(path: Path, dataset: Dataset) -> list[Detections]:
    """What `write_detections` wrote, one for each of the data set's samples.

    Raises:
        ValueError, KeyError, TypeError: If it is something else.
    """
    import supervision as sv

    of_picture: dict[int, list[dict[str, Any]]] = {s.image_id: [] for s in dataset.samples}
    for row in json.loads(path.read_text(encoding="utf-8")):
        if not 1 <= row["category_id"] <= len(dataset.classes):
            raise ValueError(f"unknown category {row['category_id']}")
        of_picture[row["image_id"]].append(row)
    detections = []
    for sample in dataset.samples:
        rows = of_picture[sample.image_id]
        if not rows:
            detections.append(sv.Detections.empty())
            continue
        xywh = np.array([row["bbox"] for row in rows], np.float64)  # (D, 4)
        corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        detections.append(
            sv.Detections(
                xyxy=corners.astype(np.float32),
                confidence=np.array([row["score"] for row in rows], np.float32),
                class_id=np.array([row["category_id"] for row in rows], np.int64) - 1,
                data={RLE_KEY: rle_column([row["segmentation"] for row in rows])}
                if "segmentation" in rows[0]
                else {},
            )
        )
    return detections
