"""Masks' figures against pycocotools called directly, on real outlines."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from duckdetect.data.dataset import Dataset, Sample
from duckdetect.data.loading import load_dataset
from duckdetect.evaluation.evaluate import collect_detections, evaluate
from duckdetect.evaluation.metrics import TWELVE, bootstrap_intervals, score_detections
from duckdetect.imaging.geometry import compacted, rasterise, tight_xyxy
from duckdetect.report.evaluation import masks_section


def found(masks: np.ndarray, score: Sequence[float], class_id: Sequence[int]) -> sv.Detections:
    """Boxes lie around the masks; around an empty one lies a box of a pixel."""
    xyxy = tight_xyxy(masks)
    xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
    return sv.Detections(
        xyxy=xyxy,
        confidence=np.array(score, np.float32),
        class_id=np.array(class_id, np.int64),
        mask=masks,
    )


def moved_masks(dataset: Dataset, seed: int) -> list[sv.Detections]:
    """Each labelled mask up to twice, shifted or half hidden; an empty mask and a false one."""
    rng = np.random.default_rng(seed)
    detections = []
    for sample in dataset.samples:
        masks, class_id = [], []
        for outline, k in zip(sample.segmentation or (), sample.class_id, strict=False):
            for _ in range(rng.integers(0, 3)):
                mask = rasterise(outline, sample.size_hw)
                mask = np.roll(mask, rng.integers(-3, 4, 2), axis=(0, 1))
                if rng.random() < 0.3:
                    mask[:, : int(np.flatnonzero(mask.any(axis=0)).mean())] = False
                masks.append(mask)
                class_id.append(int(k))
        false = np.zeros(sample.size_hw, bool)
        false[10:60, 20:70] = True
        masks += [false, np.zeros(sample.size_hw, bool)]
        score = rng.random(len(masks)).round(1)  # with ties
        detections.append(found(np.stack(masks), score.tolist(), [*class_id, 0, 0]))
    return detections


def with_crowds(dataset: Dataset) -> Dataset:
    """Every fifth person is a crowd; every fourth picture shows nobody."""
    samples = []
    for i, sample in enumerate(dataset.samples):
        if i % 4 == 3:
            empty = np.zeros((0, 4), np.float32)
            samples.append(
                Sample(sample.path, sample.image_id, sample.size_hw, empty, np.zeros(0, np.int64))
            )
        else:
            crowd = np.arange(i, i + len(sample.class_id)) % 5 == 0
            samples.append(replace(sample, crowd=crowd))
    return replace(dataset, samples=tuple(samples))


def reference(dataset: Dataset, detections: list[sv.Detections]) -> COCOeval:
    """pycocotools as its own demo calls it."""
    results = []
    for sample, one in zip(dataset.samples, detections, strict=True):
        for mask, score, k in zip(one.mask, one.confidence, one.class_id, strict=True):
            rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            row = {"image_id": sample.image_id, "category_id": int(k) + 1, "score": float(score)}
            results.append(row | {"segmentation": rle})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dataset.to_coco() | {"info": {}}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("name", ["people", "people with crowds", "ducks"])
def test_the_twelve_mask_figures_are_pycocotools_own(
    name: str, project_data: Path, request: pytest.FixtureRequest
) -> None:
    if name == "ducks":
        dataset = load_dataset(project_data / "ducks", "test")
        dataset = dataset.subset(range(8))
    else:
        folder = request.getfixturevalue("shared_data") / "people"
        dataset = load_dataset(folder, "train").subset(range(16))
        dataset = dataset if name == "people" else with_crowds(dataset)
    detections = moved_masks(dataset, seed=3)
    metrics = score_detections(dataset, detections)
    evaluation = reference(dataset, detections)
    assert metrics.masks is not None
    for key, expected in zip(TWELVE, evaluation.stats, strict=True):
        assert getattr(metrics.masks, key) == (None if expected == -1 else expected), key
    assert metrics.masks.AP is not None
    assert 0.05 < metrics.masks.AP < 0.95  # a case that could tell figures apart
    assert metrics.masks.AP != metrics.AP
    (only,) = dataset.classes
    precision = evaluation.eval["precision"][:, :, 0, 0, 2]
    assert metrics.masks.per_class[only]["AP50"] == pytest.approx(precision[0].mean())
    assert metrics.masks.n_masks == metrics.n_boxes > 0
    # Run lengths instead of masks say the same, and take little memory.
    assert score_detections(dataset, [compacted(one) for one in detections]) == metrics


def square_data(tmp_path: Path, *outlines: Any, classes: tuple[str, ...] = ("duck",)) -> Dataset:
    """One picture of 40x50; box i is 10 pixels wide and begins at x = 12 i."""
    n = len(outlines)
    xyxy = np.array([[12 * i, 0, 12 * i + 10, 10] for i in range(n)], np.float32)
    sample = Sample(tmp_path / "a.jpg", 7, (40, 50), xyxy, np.zeros(n, int), segmentation=outlines)
    return Dataset(tmp_path, classes, (sample,))


def test_masks_tell_apart_what_boxes_do_not(tmp_path: Path) -> None:
    """A triangle and its mirror image share a box and half their pixels."""
    data = square_data(tmp_path, [[0, 0, 10, 0, 0, 10]])
    other = rasterise([[10, 10, 10, 0, 0, 10]], (40, 50))
    metrics = score_detections(data, [found(other[None], [0.9], [0])])
    assert metrics.masks is not None
    assert (pytest.approx(1), 0) == (metrics.AP50, metrics.masks.AP50)
    right = rasterise(data.samples[0].segmentation[0], (40, 50))
    metrics = score_detections(data, [found(right[None], [0.9], [0])])
    assert metrics.masks is not None
    assert pytest.approx(1) == metrics.masks.AP
    assert metrics.best_threshold == pytest.approx(0.9)


def test_intervals_are_the_masks_own(project_data: Path) -> None:
    ducks = load_dataset(project_data / "ducks", "test")
    detections = [compacted(one) for one in moved_masks(ducks, 3)]
    metrics = score_detections(ducks, detections)
    assert metrics.masks is not None
    of_masks, of_boxes = (
        bootstrap_intervals(ducks, detections, 40, masks=masks) for masks in (True, False)
    )
    for name in ("AP", "AP50"):
        low, high = of_masks[name] or (1, 0)
        assert low < getattr(metrics.masks, name) < high
    assert of_masks != of_boxes


def test_the_report_shows_the_masks_that_fit_least(project_data: Path) -> None:
    ducks = load_dataset(project_data / "ducks", "test")
    ducks = replace(ducks, samples=tuple(s for s in ducks.samples if len(s.xyxy))[:3])
    detections = []
    for sample in ducks.samples:
        masks = np.stack([rasterise(one, sample.size_hw) for one in sample.segmentation or ()])
        detections.append(found(masks, [0.9] * len(masks), sample.class_id.tolist()))
    first = detections[0].mask[0]
    columns = np.flatnonzero(first.any(axis=0))
    first[:, columns[len(columns) // 4] :] = False  # the box stays
    evaluation = SimpleNamespace(dataset=ducks, detections=detections)
    section = masks_section(evaluation, 0.5)  # type: ignore[arg-type]
    assert section is not None
    text, figures = section.blocks
    assert "of 1 by less than a half" in text.text  # type: ignore[union-attr]
    captions = [one.caption for one in figures.items]  # type: ignore[union-attr]
    assert len(captions) == 2 * min(6, sum(map(len, detections)))
    assert captions[0].startswith(f"{ducks.samples[0].path.name}, labelled: they overlap by 0.")
    assert float(captions[0][-4:]) < 0.5
    assert captions[-1].endswith("they overlap by 1.00")
    boxes = [sv.Detections(d.xyxy, None, d.confidence, d.class_id) for d in detections]
    evaluation = SimpleNamespace(dataset=ducks, detections=boxes)
    assert masks_section(evaluation, 0.5) is None  # type: ignore[arg-type]


def test_a_box_without_a_mask_is_neither_wanted_nor_a_trap(tmp_path: Path) -> None:
    square = [[0, 0, 10, 0, 10, 10, 0, 10]]
    thin = [[24.1, 1, 24.2, 1, 24.2, 1.1]]  # no pixel
    data = square_data(tmp_path, square, None, thin)
    masks = np.zeros((3, 40, 50), bool)
    for i in range(3):
        masks[i, :10, 12 * i : 12 * i + 10] = True
    metrics = score_detections(data, [found(masks, [0.5, 0.9, 0.8], [0, 0, 0])])
    assert metrics.masks is not None
    assert (metrics.masks.AP, metrics.masks.n_masks) == (pytest.approx(1), 1)
    assert metrics.n_boxes == 3
    # Elsewhere a mask is a false one.
    masks[1] = np.roll(masks[1], 20, axis=0)
    metrics = score_detections(data, [found(masks, [0.5, 0.9, 0.8], [0, 0, 0])])
    assert metrics.masks is not None
    assert pytest.approx(0.5) == metrics.masks.AP


def test_without_masks_on_both_sides_there_are_no_mask_figures(tmp_path: Path) -> None:
    square = [[0, 0, 10, 0, 10, 10, 0, 10]]
    mask = rasterise(square, (40, 50))[None]
    with_mask = found(mask, [0.9], [0])
    boxes = sv.Detections(with_mask.xyxy, None, with_mask.confidence, with_mask.class_id)
    metrics = score_detections(square_data(tmp_path, square), [boxes])
    assert metrics.masks is None
    assert "masks" not in metrics.to_json()
    assert score_detections(square_data(tmp_path, None), [with_mask]).masks is None
    # A detector of masks that finds nothing scores 0.
    nothing = with_mask[np.array([False])]
    metrics = score_detections(square_data(tmp_path, square), [nothing])
    assert metrics.masks is not None
    assert (metrics.masks.AP, metrics.masks.n_masks) == (0, 1)


def test_mistakes_of_the_caller_are_told(tmp_path: Path) -> None:
    data = square_data(tmp_path, [[0, 0, 10, 0, 10, 10, 0, 10]])
    turned = found(np.ones((1, 50, 40), bool), [0.9], [0])
    with pytest.raises(ValueError, match=r"a mask of \[50, 40\] in a.jpg"):
        score_detections(data, [turned])
    twice = Dataset(tmp_path, ("duck",), (*data.samples, replace(data.samples[0], image_id=8)))
    boxes = sv.Detections(turned.xyxy, None, turned.confidence, turned.class_id)
    with pytest.raises(ValueError, match="others have none"):
        score_detections(twice, [found(np.ones((1, 40, 50), bool), [0.9], [0]), boxes])


class MaskOracle:
    """Finds the left half of every picture, as a hundred masks."""

    classes = ("swan", "rubber duck")
    has_masks = True

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, images: list[np.ndarray], threshold: float) -> list[sv.Detections]:
        self.batches.append(len(images))
        masks = np.zeros((100, *images[0].shape[:2]), bool)
        masks[:, :, : masks.shape[2] // 2] = True
        score = np.linspace(0.9, 0.1, 100).tolist()
        return [found(masks, score, [i % 2 for i in range(100)]) for _ in images]


def test_evaluate_keeps_run_lengths_not_masks(project_data: Path, tmp_path: Path) -> None:
    dataset = load_dataset(project_data / "ducks", "test").subset(range(6))
    detector = MaskOracle()
    tracemalloc.start()
    detections = collect_detections(detector, dataset)
    kept_bytes, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert detector.batches == [1] * 6
    one_image = 100 * int(np.prod(dataset.samples[0].size_hw))
    assert kept_bytes < 0.1 * one_image
    assert peak_bytes < 3.5 * one_image  # the masks, their copy of one class, the reader's
    assert [len(one) for one in detections] == [50] * 6
    metrics = evaluate(detector, dataset, out=tmp_path / "metrics.json")
    written = json.loads((tmp_path / "metrics.json").read_text())["masks"]
    assert set(TWELVE) | {"n_masks", "per_class"} == set(written)
    assert set(written["per_class"]["rubber duck"]) == {"AP", "AP50", "AP75", "AR100"}
    table = metrics.table()
    assert "by their masks" in table
    assert "mask AP" in table
