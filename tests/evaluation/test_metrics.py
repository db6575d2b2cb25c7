"""Figures against pycocotools called directly, thresholds against brute force, classes by name."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import collect_detections, evaluate
from duckdetect.evaluation.matching import confusion_matrix, match_detections, worst_images
from duckdetect.evaluation.metrics import TWELVE, bootstrap_intervals, score_detections


@dataclass
class GroundTruth:
    """Stands in for datasets.Sample, so that these tests stand on their own."""

    image_id: int
    xyxy: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    class_id: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    loads: int = 0

    def load(self) -> np.ndarray:
        self.loads += 1
        return np.full((8, 8, 3), self.image_id % 256, np.uint8)


@dataclass
class Data:
    """Stands in for datasets.Dataset."""

    samples: list[GroundTruth]
    classes: tuple[str, ...] = ("duck", "goose")
    root: Path = Path("data")

    def to_coco(self) -> dict[str, Any]:
        boxes = []
        for sample in self.samples:
            rows = zip(sample.xyxy.tolist(), sample.class_id, sample.crowd, strict=True)
            for (x1, y1, x2, y2), class_id, crowd in rows:
                boxes.append(
                    {
                        "id": len(boxes),  # counts from 0, as many exports do
                        "image_id": sample.image_id,
                        "category_id": int(class_id) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": int(crowd),
                    }
                )
        return {
            "images": [{"id": s.image_id, "file_name": f"{s.image_id}.jpg"} for s in self.samples],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(self.classes)],
            "annotations": boxes,
        }


def ground_truth(
    image_id: int, *boxes: Sequence[float], classes: Sequence[int] = (), crowd: Any = ()
):
    n = len(boxes)
    return GroundTruth(
        image_id,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes or [0] * n, np.int64),
        np.array(crowd or [False] * n, bool),
    )


def found(*rows: Sequence[float], classes: Sequence[int] = ()) -> sv.Detections:
    """Rows of x1, y1, x2, y2, score."""
    if not rows:
        return sv.Detections.empty()
    table = np.array(rows, np.float32)
    return sv.Detections(
        xyxy=table[:, :4],
        confidence=table[:, 4],
        class_id=np.array(classes or [0] * len(rows), np.int64),
    )


def reference(data: Data, detections: Sequence[sv.Detections]) -> COCOeval:
    """pycocotools called as its own demo does, on ids from 1; at least one detection needed."""
    written = data.to_coco()
    for box in written["annotations"]:
        box["id"] += 1
    results = [
        {
            "image_id": sample.image_id,
            "category_id": int(k) + 1,
            "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
            "score": float(score),
        }
        for sample, one in zip(data.samples, detections, strict=True)
        for (x1, y1, x2, y2), score, k in zip(one.xyxy, one.confidence, one.class_id, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = written | {"info": {}}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def random_case(seed: int, n_images: int = 12, levels: int = 0) -> tuple[Data, list]:
    """Boxes of all sizes, crowds, near misses, doubles, false alarms; scores may tie."""
    random = np.random.default_rng(seed)
    samples, detections = [], []
    for image in range(n_images):
        n = int(random.integers(0, 6))
        corner = random.uniform(0, 300, (n, 2))
        side = np.exp(random.uniform(math.log(8), math.log(250), (n, 2)))
        boxes = np.concatenate([corner, corner + side], 1).astype(np.float32)
        classes = random.integers(0, 2, n)
        samples.append(GroundTruth(image, boxes, classes, random.random(n) < 0.15))
        copies = np.repeat(np.arange(n), random.integers(0, 4, n))
        moved = boxes[copies] + random.normal(0, 0.12, (len(copies), 4)) * side[copies].repeat(2, 1)
        noise_corner = random.uniform(0, 400, (3, 2))
        noise = np.concatenate([noise_corner, noise_corner + random.uniform(5, 90, (3, 2))], 1)
        xyxy = np.concatenate([moved, noise])
        xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
        score = random.random(len(xyxy))
        if levels:
            score = np.ceil(score * levels) / levels
        detections.append(
            sv.Detections(
                xyxy=xyxy.astype(np.float32),
                confidence=score.astype(np.float32),
                class_id=np.concatenate([classes[copies], random.integers(0, 2, 3)]),
            )
        )
    return Data(samples), detections


@pytest.mark.parametrize("levels", [0, 4], ids=["scores differ", "scores tie"])
@pytest.mark.parametrize("seed", range(6))
def test_the_twelve_figures_are_pycocotools_own(seed: int, levels: int) -> None:
    data, detections = random_case(seed, levels=levels)
    metrics = score_detections(data, detections)
    evaluation = reference(data, detections)
    for name, expected in zip(TWELVE, evaluation.stats, strict=True):
        assert getattr(metrics, name) == (None if expected == -1 else expected), name
    assert metrics.AP is not None
    assert 0.05 < metrics.AP < 0.95  # a case that could tell figures apart
    for k, name in enumerate(data.classes):
        precision = evaluation.eval["precision"][:, :, k, 0, 2]
        assert pytest.approx(precision.mean()) == metrics.per_class[name].AP
        assert pytest.approx(precision[0].mean()) == metrics.per_class[name].AP50
        assert pytest.approx(precision[5].mean()) == metrics.per_class[name].AP75


@pytest.mark.parametrize("seed", range(8))
def test_matching_is_that_of_pycocotools(seed: int) -> None:
    data, detections = random_case(seed, levels=3 if seed % 2 else 0)
    cells = [cell for cell in reference(data, detections).evalImgs if cell is not None]
    cells = [cell for cell in cells if cell["aRng"] == [0, 1e10]]
    n_compared = 0
    for image, (sample, one) in enumerate(zip(data.samples, detections, strict=True)):
        match = match_detections(sample, one)
        for k in range(2):
            mine = one.class_id[match.kept] == k
            for cell in cells:
                if (cell["image_id"], cell["category_id"]) == (image, k + 1):
                    np.testing.assert_array_equal(match.ignored[mine], cell["dtIgnore"][0])
                    np.testing.assert_array_equal(
                        match.truth_index[mine] >= 0, cell["dtMatches"][0] > 0
                    )
                    n_compared += int(mine.sum())
    assert n_compared > 40


def brute_force(data: Data, detections: list[sv.Detections]) -> tuple[float, float | None]:
    """Try every score as the threshold, filtering the detections first."""
    best = (0.0, -1.0)
    for score in np.unique(np.concatenate([one.confidence for one in detections])):
        n_true = n_false = n_missed = 0
        for sample, one in zip(data.samples, detections, strict=True):
            match = match_detections(sample, one[one.confidence >= score])
            n_true += match.n_true
            n_false += match.n_false
            n_missed += match.n_missed
        best = max(best, (2 * n_true / (2 * n_true + n_false + n_missed), float(score)))
    return best


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0, 2, 5]))
def test_best_threshold_is_that_of_brute_force(seed: int, levels: int) -> None:
    data, detections = random_case(seed, n_images=4, levels=levels)
    metrics = score_detections(data, detections)
    f1, score = brute_force(data, detections)
    if metrics.F1 is None:
        assert metrics.n_boxes == 0
    elif f1 > 0:
        assert (metrics.F1, metrics.best_threshold) == (pytest.approx(f1), score)
    else:
        assert (metrics.F1, metrics.best_threshold) == (0, None)


def test_of_equal_f1_the_higher_threshold_is_taken() -> None:
    # At 0.9: 1 right, 0 false, 1 missed. At 0.5: 2 right, 2 false, 0 missed. Both F1 2/3.
    data = Data([ground_truth(0, (0, 0, 10, 10), (50, 50, 60, 60))])
    rows = [(0, 0, 10, 10, 0.9), (80, 0, 90, 9, 0.5), (80, 50, 90, 59, 0.5), (50, 50, 60, 60, 0.5)]
    metrics = score_detections(data, [found(*rows)])
    assert pytest.approx(2 / 3) == metrics.F1
    assert metrics.best_threshold == pytest.approx(0.9)
    assert (metrics.precision, metrics.recall) == (1.0, 0.5)


def test_perfect_detections_of_first_image_first_box_first_class() -> None:
    # Image id 0, annotation id 0 and class 0 at once: pycocotools alone calls this AP 0.
    data = Data([ground_truth(0, (10, 10, 60, 60))], classes=("duck",))
    metrics = score_detections(data, [found((10, 10, 60, 60, 0.5))])
    assert pytest.approx((1, 1, 1, 1)) == (metrics.AP, metrics.AP50, metrics.AR100, metrics.AR1)
    assert (metrics.AP_small, metrics.AP_large) == (None, None)
    assert metrics.AP_medium == pytest.approx(1)
    assert (metrics.F1, metrics.best_threshold, metrics.n_boxes) == (1, 0.5, 1)


@pytest.mark.parametrize(
    ("score_of_box_in_second", "expected"), [(0.9, 1.0), (0.3, 51 / 101 + 50 / 101 * 2 / 3)]
)
def test_average_precision_in_closed_form(score_of_box_in_second: float, expected: float) -> None:
    # Two boxes in two pictures, one false detection at 0.5. Below it, the second box is found at
    # precision 2/3: 51 of the 101 recall steps (0 to 0.5) have precision 1, the other 50 have 2/3.
    data = Data(
        [ground_truth(7, (0, 0, 50, 50)), ground_truth(3, (0, 0, 50, 50))], classes=("duck",)
    )
    first = found((0, 0, 50, 50, 0.95), (100, 100, 150, 150, 0.5))
    metrics = score_detections(data, [first, found((0, 0, 50, 50, score_of_box_in_second))])
    assert pytest.approx(expected) == metrics.AP50


def test_images_are_told_apart_by_place_not_by_id_order() -> None:
    data = Data([ground_truth(9, (0, 0, 20, 20)), ground_truth(4)])
    metrics = score_detections(data, [found((0, 0, 20, 20, 0.8)), found()])
    assert pytest.approx(1) == metrics.per_class["duck"].AP
    assert metrics.per_class["goose"].AP is None


def test_empty_truth_has_no_ap_but_counts_false_detections() -> None:
    data = Data([ground_truth(0), ground_truth(1)])
    metrics = score_detections(data, [found((0, 0, 9, 9, 0.9), (5, 5, 9, 9, 0.1)), found()])
    assert [getattr(metrics, name) for name in TWELVE] == [None] * 12
    assert (metrics.n_false, metrics.n_true, metrics.n_boxes) == (2, 0, 0)
    assert (metrics.best_threshold, metrics.F1, metrics.precision) == (None, None, 0)
    json.dumps(metrics.to_json(), allow_nan=False)
    assert "2 false detections" in metrics.table()


def test_empty_detections_score_zero() -> None:
    data = Data([ground_truth(0, (0, 0, 50, 50), classes=[1]), ground_truth(1)])
    metrics = score_detections(data, [found(), sv.Detections(xyxy=np.zeros((0, 4)))])
    assert (metrics.AP, metrics.AP50, metrics.AR100, metrics.F1, metrics.recall) == (0,) * 5
    assert (metrics.best_threshold, metrics.precision, metrics.n_false) == (None, None, 0)
    assert metrics.per_class["duck"].AP is None
    assert metrics.per_class["goose"].AP == 0


def test_nothing_at_all() -> None:
    metrics = score_detections(Data([ground_truth(0)]), [found()])
    assert (metrics.AP, metrics.F1, metrics.n_false) == (None, None, 0)


def test_crowds_swallow_detections_without_a_count() -> None:
    data = Data([ground_truth(0, (0, 0, 100, 100), (200, 0, 240, 40), crowd=[True, False])])
    inside = [(10 * i, 10, 10 * i + 9, 30, 0.9) for i in range(5)]
    metrics = score_detections(data, [found(*inside, (200, 0, 240, 40, 0.8))])
    assert (metrics.n_boxes, metrics.n_true, metrics.n_false, metrics.F1) == (1, 1, 0, 1)
    assert pytest.approx(1) == metrics.per_class["duck"].AP


def test_a_box_of_its_own_comes_before_the_crowd_around_it() -> None:
    sample = ground_truth(0, (0, 0, 200, 100), (10, 10, 50, 50), crowd=[True, False])
    one = found((12, 12, 50, 50, 0.9))  # wholly in the crowd, 0.9 in the box
    match = match_detections(sample, one)
    assert (match.n_true, match.n_missed, match.ignored.tolist()) == (1, 0, [False])


def test_scores_at_the_threshold_are_kept_and_class_must_agree() -> None:
    sample = ground_truth(0, (0, 0, 10, 10), (20, 0, 30, 10), classes=[0, 1])
    one = found((0, 0, 10, 10, 0.5), (20, 0, 30, 10, 0.75), classes=[0, 0])
    match = match_detections(sample, one, score_threshold=0.5)
    np.testing.assert_array_equal(match.kept, [1, 0])
    np.testing.assert_array_equal(match.truth_index, [-1, 0])
    np.testing.assert_array_equal(match.missed, [1])
    assert (match.n_true, match.n_false, match.n_missed) == (1, 1, 1)
    assert match_detections(sample, one, score_threshold=0.51).n_true == 0


def test_confusion_matrix_and_worst_images() -> None:
    data = Data(
        [
            ground_truth(0, (0, 0, 10, 10)),
            ground_truth(1, (0, 0, 10, 10), (20, 0, 30, 10), classes=[0, 1]),
            ground_truth(2, (0, 0, 10, 10), crowd=[True]),
        ]
    )
    detections = [
        found((0, 0, 10, 10, 0.9)),
        found((0, 0, 10, 10, 0.9), (60, 0, 70, 10, 0.6), classes=[1, 1]),
        found((0, 0, 5, 5, 0.9), (50, 50, 60, 60, 0.4)),
    ]
    expected = [[1, 1, 0], [0, 0, 1], [0, 1, 0]]
    np.testing.assert_array_equal(confusion_matrix(data, detections, 0.5), expected)
    worst = worst_images(data, detections, 0.3)
    assert [index for index, _ in worst] == [1, 2]
    assert worst[0][1].n_missed == 2


def test_bootstrap_interval_holds_the_figure_and_shrinks_with_more_images() -> None:
    few, few_found = random_case(5, n_images=10)
    many, many_found = random_case(5, n_images=80)
    widths = []
    for data, detections in ((few, few_found), (many, many_found)):
        low, high = bootstrap_intervals(data, detections, n_resamples=60)["AP50"] or (0, 0)
        assert low < (score_detections(data, detections).AP50 or 0) < high
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]
    again = bootstrap_intervals(few, few_found, n_resamples=60)
    assert again == bootstrap_intervals(few, few_found, n_resamples=60)
    assert bootstrap_intervals(Data([ground_truth(0)]), [found()], 3) == {"AP": None, "AP50": None}


class Oracle:
    """A detector that finds a fixed box, and knows its classes in another order than the data."""

    classes = ("swan", "goose", "duck")

    def __init__(self, class_ids: Sequence[int]) -> None:
        self.class_ids = list(class_ids)
        self.batches: list[int] = []

    def predict(self, images: list[np.ndarray], threshold: float) -> list[sv.Detections]:
        assert threshold == 0.0
        self.batches.append(len(images))
        rows = [(10 * k, 0, 10 * k + 10, 10, 0.5) for k in self.class_ids]
        return [found(*rows, classes=self.class_ids) for _ in images]


def test_evaluate_matches_classes_by_name_and_loads_lazily(tmp_path: Path) -> None:
    data = Data([ground_truth(i, (20, 0, 30, 10)) for i in range(19)])
    detector = Oracle([0, 2])
    out = tmp_path / "new" / "metrics.json"
    metrics = evaluate(detector, data, out=out)
    assert detector.batches == [8, 8, 3]
    assert [sample.loads for sample in data.samples] == [1] * 19
    # The swan is left out: nobody labelled swans. The duck is class 2 there and class 0 here.
    assert (metrics.AP, metrics.n_false, metrics.n_true) == (pytest.approx(1), 0, 19)
    written = json.loads(out.read_text())
    assert written == json.loads(json.dumps(metrics.to_json()))
    assert {"AP", "AP50", "AP75", "AR100", "best_threshold", "per_class"} <= set(written)
    assert written["per_class"]["duck"]["AP50"] == pytest.approx(1)
    assert "curve" not in written
    assert collect_detections(detector, Data([ground_truth(0)]))[0].class_id.tolist() == [0]
    assert detector.predict([0], 0.0)[0].class_id.tolist() == [0, 2]


def test_evaluate_says_what_to_mend() -> None:
    other = Data([ground_truth(0)], classes=("cat", "dog"))
    with pytest.raises(UserError, match=r"'swan', 'goose', 'duck' and data labels 'cat', 'dog'"):
        evaluate(Oracle([0]), other)
    with pytest.raises(UserError, match="data holds no pictures"):
        evaluate(Oracle([0]), Data([]))


def test_mistakes_of_the_caller_are_told() -> None:
    data = Data([ground_truth(0)])
    with pytest.raises(ValueError, match="detections for 2 of 1 picture"):
        score_detections(data, [found(), found()])
    with pytest.raises(ValueError, match="need scores"):
        score_detections(data, [sv.Detections(xyxy=np.array([[0, 0, 5, 5]], np.float32))])


def test_table_is_aligned_for_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    data = Data(
        [ground_truth(0, (0, 0, 9, 9), (20, 0, 29, 9), classes=[0, 1])], classes=("鸭", "Küken")
    )
    metrics = score_detections(data, [found((0, 0, 9, 9, 0.75))])
    assert capsys.readouterr().out == ""  # pycocotools prints; we do not
    lines = metrics.table().splitlines()
    head, duck, chick, both = lines[2:6]
    assert both.startswith("all classes")
    assert len(chick) == len(both) == len(head)
    assert len(duck) == len(both) - 1  # the sign is two columns wide
    assert "0.75" in duck
