"""Curves: files that open, with what was measured in them, and nothing global touched."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from duckdetect.evaluation import plots
from duckdetect.evaluation.matching import Curve
from duckdetect.evaluation.plots import plot_confusion, plot_history, plot_precision_recall
from duckdetect.imaging.fonts import font_file, has_signs

BLUE, GREEN = (0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73)


def rows(n: int, **more: object) -> list[dict[str, object]]:
    return [
        {"step": str(k + 1), "loss": str(2 / (k + 1)), "box_loss": 0.5, "class_loss": 0.1} | more
        for k in range(n)
    ]


def has_color(path: Path, color: tuple[int, int, int]) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool((np.abs(pixels - color).max(axis=2) <= 2).any())


def height(path: Path) -> int:
    with Image.open(path) as image:
        return image.size[1]


@pytest.mark.parametrize("n", [1, 2, 100])
def test_history_is_drawn_from_numbers_or_text(
    tmp_path: Path, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Importing it fails from here on, whatever other tests have imported before.
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    path = tmp_path / "run" / "losses.png"
    plot_history(rows(n), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size[0] >= 800
    if n > 1:
        assert has_color(path, BLUE)
    before = path.read_bytes()
    plot_history(rows(n), path)
    assert path.read_bytes() == before


def test_accuracy_and_validation_are_drawn_where_they_were_measured(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    plot_history(rows(10), path)
    assert not has_color(path, GREEN)
    low = height(path)
    views = [{"step": k, "loss": 1, "box_loss": 0.9, "AP50": k / 10} for k in (5, 10)]
    plot_history(rows(10, class_accuracy=0.5), path, views)
    assert has_color(path, GREEN)
    assert height(path) > low  # a panel more


def test_history_without_losses_is_refused(tmp_path: Path) -> None:
    for table in ([], [{"step": 1, "speed": 3}]):
        with pytest.raises(ValueError, match="no losses"):
            plot_history(table, tmp_path / "losses.png")
    assert list(tmp_path.iterdir()) == []


def test_smoothing_keeps_a_constant_and_has_no_lag() -> None:
    np.testing.assert_allclose(plots._smooth([3.0] * 50), 3.0)
    np.testing.assert_allclose(plots._smooth([1.0]), [1.0])
    line = np.linspace(5, 1, 200)
    np.testing.assert_allclose(plots._smooth(list(line))[20:-20], line[20:-20])
    # Of many steps by another way, whose time does not grow with the square: the same.
    weights = np.exp(-0.5 * (np.arange(-900, 901) / 300) ** 2)
    values = np.random.default_rng(0).random(20_000)
    expected = np.average(values[10_000 - 900 : 10_000 + 901], weights=weights)
    np.testing.assert_allclose(plots._smooth(list(values))[10_000], expected)


def test_precision_recall_is_drawn_for_any_name_and_for_nothing(tmp_path: Path) -> None:
    empty = np.zeros(0)
    none = np.zeros(0, np.int64)
    curves = {
        "Entenküken": Curve(
            score=np.array([0.9, 0.5]),
            precision=np.array([1.0, 0.5]),
            recall=np.array([0.5, 0.5]),
            f1=np.array([2 / 3, 0.5]),
            n_true=np.array([1, 1]),
            n_false=np.array([0, 1]),
            n_truth=2,
        ),
        "_$\\frac$ 鸭": Curve(empty, empty, empty, empty, none, none, 0),
    }
    path = tmp_path / "pr.png"
    plot_precision_recall(curves, 0.6, path)
    assert has_color(path, (0x1F, 0x77, 0xB4))
    plot_precision_recall({}, None, tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").exists()


def test_names_of_any_script_have_their_letters(tmp_path: Path) -> None:
    counts = np.zeros((2, 2), np.int64)
    names = ["بطة", "تطة", "утка", "ютка"]
    if has_signs(font_file("鸭"), "鸭鹅"):
        names += ["鸭", "鹅"]
    for name in names:
        plot_confusion(counts, [name], tmp_path / f"{name}.png")
    # Empty frames would look alike.
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in names}) == len(names)
