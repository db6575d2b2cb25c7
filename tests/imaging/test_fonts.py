"""Letters of any script: fonts, right-to-left order, what to install."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from duckdetect.imaging import fonts
from duckdetect.imaging.fonts import (
    font_file,
    font_runs,
    has_signs,
    missing_letters,
    set_line,
    shorten,
    visual_order,
)

needs_cjk = pytest.mark.skipif(
    not has_signs(font_file("鸭"), "鸭"), reason="no font with Chinese letters (fonts-noto-cjk)"
)


def drawn(text: str, size_px: int = 24) -> np.ndarray:
    canvas = Image.new("RGB", (300, 40), "white")
    set_line(text, size_px).draw(canvas, (5, 30), (0, 0, 0))
    return np.asarray(canvas)


def test_a_name_too_long_keeps_its_score() -> None:
    short = shorten("a very very long class name 0.87", 12, 100)
    assert short.endswith("… 0.87")
    assert short.startswith("a ")
    assert set_line(short, 12).width_px <= 100
    assert shorten("duck 0.87", 12, 100) == "duck 0.87"


def test_a_line_too_long_keeps_the_end_it_is_told_to() -> None:
    line = shorten("IMG_20240101_123456789_HDR.jpg: 13 boxes", 12, 150, keep=": 13 boxes")
    assert line.startswith("IMG_")
    assert line.endswith("…: 13 boxes")
    assert set_line(line, 12).width_px <= 150


@needs_cjk
def test_a_line_changes_its_font_where_it_must() -> None:
    runs = font_runs("duck 鸭 0.87")
    assert [text for text, _ in runs] == ["duck ", "鸭", " 0.87"]
    assert [Path(file).name.startswith("DejaVuSans") for _, file in runs] == [True, False, True]
    # Two letters that DejaVu lacks look different: neither is its empty frame.
    assert (drawn("鸭") != drawn("鹅")).any()
    assert missing_letters(["鸭", "オレンジ", "한국어", "duck"]) == ""
    assert fonts.plot_families(["鸭"])[1:] != []


def test_right_to_left_runs_from_right_to_left_joined() -> None:
    # beh, tah, teh marbuta: initial, medial, final, in the order of the page.
    assert visual_order("بطة") == "\ufe94\ufec4\ufe91"
    assert visual_order("duck בר 12") == "duck 12 רב" or visual_order("duck בר 12") == "duck רב 12"
    assert visual_order("لا") == "\ufefb"  # lam and alef are one sign
    assert visual_order("לב, duck") == "בל, duck"  # a list on an English page
    assert visual_order("rubber duck 0.87") == "rubber duck 0.87"


def test_figures_leave_emoji_out_or_name_them() -> None:
    assert fonts.without_pictures("布 \U0001f590\ufe0f") == "布"
    assert fonts.without_pictures("\U0001f986") == "duck"
    assert fonts.without_pictures("rubber duck مقص") == "rubber duck مقص"


@needs_cjk
def test_a_gap_stays_between_two_scripts() -> None:
    ink = np.flatnonzero((drawn("鸭 بطة") < 128).any(axis=(0, 2)))
    alone = np.flatnonzero((drawn("鸭بطة") < 128).any(axis=(0, 2)))
    assert ink[-1] > alone[-1] + 3  # the space is between them, not behind the last


def test_own_order_and_raqms_look_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    by_raqm = drawn("بطة مطاطية")
    if not fonts.features.check("raqm"):
        pytest.skip("this Pillow has no raqm")
    monkeypatch.setattr(fonts.features, "check", lambda name: False)
    set_line.cache_clear()
    own = drawn("بطة مطاطية")
    set_line.cache_clear()
    backwards = by_raqm[:, ::-1]
    assert (
        np.abs(own.astype(int) - by_raqm).mean()
        < 0.2 * np.abs(backwards.astype(int) - by_raqm).mean()
    )


def test_missing_letters_name_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", tuple)
    font_file.cache_clear()
    try:
        told = missing_letters(["鸭 duck", "🦆", "हि"])
    finally:
        font_file.cache_clear()
    assert "letters" in told
    assert "fonts-noto-cjk fonts-noto-color-emoji fonts-noto-core" in told
    assert missing_letters(["duck", "Entenküken", "утка", "بطة"]) == ""
