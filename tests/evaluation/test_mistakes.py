"""Each kind of mistake by hand, against matching's counts, and as pictures with the words on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from duckdetect.data.dataset import Sample
from duckdetect.evaluation.matching import (
    CONFUSED,
    DUPLICATE,
    FALSE_POSITIVE,
    IGNORED,
    KINDS,
    MISPLACED,
    MISSED,
    TRUE_POSITIVE,
    Curve,
    match_detections,
    sort_mistakes,
)
from duckdetect.evaluation.plots import plot_confusion, plot_f1
from duckdetect.report.evaluation import COLORS, draw_mistakes


def sample(
    *boxes: tuple[float, ...], classes: list[int], crowd: list[bool] | None = None
) -> Sample:
    return Sample(
        Path("a.jpg"), 1, (200, 300),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array(crowd or [False] * len(classes), bool),
    )  # fmt: skip


def found(*rows: tuple[float, ...]) -> sv.Detections:
    """Rows of x1, y1, x2, y2, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return sv.Detections(table[:, :4], confidence=table[:, 4], class_id=table[:, 5].astype(int))


TRUTH = sample(
    (0, 0, 40, 40), (100, 0, 140, 40), (200, 0, 240, 40), (0, 100, 40, 140), (100, 100, 190, 190),
    classes=[0, 0, 0, 0, 0], crowd=[False, False, False, False, True],
)  # fmt: skip
FOUND = found(
    (0, 0, 40, 40, 0.9, 0),  # right
    (2, 0, 42, 40, 0.8, 0),  # once more
    (100, 0, 140, 40, 0.7, 1),  # another class
    (220, 0, 260, 40, 0.6, 0),  # a third of overlap
    (250, 100, 290, 140, 0.5, 0),  # nothing there
    (110, 110, 150, 150, 0.45, 0),  # in the crowd
    (0, 100, 40, 140, 0.1, 0),  # below the threshold: missed
)


def test_each_kind_is_told() -> None:
    mistakes = sort_mistakes(TRUTH, FOUND, 0.3)
    assert mistakes.found == (
        TRUE_POSITIVE,
        DUPLICATE,
        CONFUSED,
        MISPLACED,
        FALSE_POSITIVE,
        IGNORED,
    )
    assert mistakes.ground_truth == (TRUE_POSITIVE, CONFUSED, MISPLACED, MISSED, IGNORED)
    assert mistakes.count == {MISSED: 1, MISPLACED: 1, CONFUSED: 1, DUPLICATE: 1, FALSE_POSITIVE: 1}
    assert sort_mistakes(TRUTH, FOUND, 0.05).ground_truth[3] == TRUE_POSITIVE


def test_nothing_on_either_side() -> None:
    nothing = sample(classes=[])
    assert sort_mistakes(nothing, sv.Detections.empty(), 0.5).count == dict.fromkeys(KINDS, 0)
    assert sort_mistakes(nothing, FOUND, 0.85).found == (FALSE_POSITIVE,)
    assert sort_mistakes(TRUTH, sv.Detections.empty(), 0.5).ground_truth[:4] == (MISSED,) * 4


@pytest.mark.parametrize("seed", range(20))
def test_the_right_ones_are_matchings_own(seed: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 150, (6, 2))
    boxes = np.concatenate([corner, corner + random.uniform(20, 80, (6, 2))], axis=1)
    ground_truth = sample(
        *boxes.tolist(), classes=random.integers(0, 2, 6).tolist(),
        crowd=(random.random(6) < 0.2).tolist(),
    )  # fmt: skip
    copies = random.integers(0, 6, 12)
    moved = boxes[copies] + random.normal(0, 8, (12, 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    rows = np.column_stack([moved, random.random(12), random.integers(0, 2, 12)])
    detections = found(*rows.tolist())
    mistakes = sort_mistakes(ground_truth, detections, 0.3)
    match = match_detections(ground_truth, detections, 0.3)
    assert (
        mistakes.found.count(TRUE_POSITIVE)
        == mistakes.ground_truth.count(TRUE_POSITIVE)
        == match.n_true
    )
    assert mistakes.found.count(IGNORED) == int(match.ignored.sum())
    assert len(mistakes.found) - mistakes.found.count(IGNORED) == match.n_true + match.n_false
    assert mistakes.ground_truth.count(MISSED) <= match.n_missed


def near(image: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(image.astype(int) - color).max(axis=2) <= 3).any())


def test_images_show_the_kinds_on_the_side_they_are_of() -> None:
    image = np.full((200, 300, 3), 255, np.uint8)
    before = image.copy()
    ground_truth, drawn = draw_mistakes(
        image, TRUTH, FOUND, sort_mistakes(TRUTH, FOUND, 0.3), ("duck", "goose")
    )
    np.testing.assert_array_equal(image, before)
    assert ground_truth.shape == drawn.shape == image.shape
    for kind, color in COLORS.items():
        assert near(ground_truth, color) == (
            kind in (TRUE_POSITIVE, CONFUSED, MISPLACED, MISSED, IGNORED)
        ), kind
        assert near(drawn, color) == (kind != MISSED), kind


def test_large_images_are_shrunk_with_their_boxes() -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    ground_truth = Sample(
        Path("a.jpg"), 1, (400, 600), np.array([[300, 200, 598, 398]], np.float32), np.array([0])
    )
    one, other = draw_mistakes(
        image, ground_truth, sv.Detections.empty(),
        sort_mistakes(ground_truth, sv.Detections.empty(), 0.5), ["鸭子"], max_side_px=300,
    )  # fmt: skip
    assert one.shape == other.shape == (200, 300, 3)
    assert near(one[100:, 150:], COLORS[MISSED])
    assert not near(one[:80, :140], COLORS[MISSED])
    assert not other.any()


def curve(n: int = 3) -> Curve:
    score = np.linspace(0.9, 0.3, n)
    n_true = np.arange(1, n + 1)
    return Curve(score, np.ones(n), n_true / n, n_true / n, n_true, 0 * n_true, n)


def test_f1_and_confusion_are_drawn_for_any_name_and_size(tmp_path: Path) -> None:
    names = ["_$\\frac$", "鸭子", "a name that is longer than the whole plot is wide " * 3]
    path = tmp_path / "plot.png"
    sizes = set()
    for count in (0, 1, 3):
        plot_f1({name: curve() for name in names[:count]}, 0.5, path)
        sizes.add(path.stat().st_size)
    plot_f1({"none": curve(0)}, None, path)
    for n in (1, 3, 40):
        classes = (names * 14)[:n]
        plot_confusion(np.eye(n + 1, dtype=np.int64), classes, path)
        sizes.add(path.stat().st_size)
    assert len(sizes) == 6
    with pytest.raises(ValueError, match="2 classes"):
        plot_confusion(np.eye(2, dtype=np.int64), ["a", "b"], path)
