"""Letters of any script: the machine's fonts, lines of text as pixels, right-to-left order.

    line = set_line("rubber duck 鸭 0.87", size_px=14)
    line.draw(canvas, (4, 20), ink=(0, 0, 0))
    print(missing_letters(["鸭"]))      # "" or which package has them

matplotlib's DejaVu Sans comes first (it is everywhere); for what it lacks the system's fonts are asked.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, features

Color = tuple[int, int, int]


@functools.cache
def default_font() -> str:
    """The file of DejaVu Sans, which matplotlib brings along."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@functools.lru_cache(maxsize=1024)
def font_file(signs: str) -> str:
    """The font file that has all signs: DejaVu Sans, else one of the system's fonts.

    Without one, DejaVu Sans draws an empty frame for each unknown sign.
    """
    if has_signs(default_font(), signs):
        return default_font()
    return next((file for file in _system_fonts() if has_signs(file, signs)), default_font())


def has_signs(font_file: str, signs: str) -> bool:
    """Whether a font file has a letter for each of the signs; False if it cannot be read."""
    return not signs or {ord(sign) for sign in signs} <= _charmap(font_file)


@functools.lru_cache(maxsize=1024)
def _charmap(font_file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(font_file).get_charmap())
    except (OSError, RuntimeError):  # a bitmap font (emoji), one that was removed or is broken
        return _charmap_by_fonttools(font_file)


def _charmap_by_fonttools(font_file: str) -> frozenset[int]:
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with TTFont(font_file, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (OSError, TTLibError):
        return frozenset()


@functools.cache
def _system_fonts() -> tuple[str, ...]:
    """Upright fonts of the system: Noto's sans first, regular weight first."""
    from matplotlib import font_manager

    def rank(file: str) -> tuple[bool, bool, bool, str]:
        name = Path(file).name.lower()
        return "notosans" not in name, "serif" in name, "regular" not in name, file

    # Not matplotlib's list, which is a file made once: a font may have been installed since.
    files = sorted({str(file) for file in font_manager.findSystemFonts()}, key=rank)
    # "Last Resort" claims every sign and draws a frame for each.
    unusable = ("italic", "oblique", "lastresort", "last resort")
    return tuple(file for file in files if not any(w in Path(file).name.lower() for w in unusable))


_EMOJI = "fonts-noto-color-emoji"

# Blocks of Unicode, the Debian package with their letters; everything else is in fonts-noto-core.
_PACKAGES = (
    ("fonts-noto-cjk", ((0x1100, 0x11FF), (0x2E80, 0x9FFF), (0xA960, 0xA97F), (0xAC00, 0xD7FF))),
    ("fonts-noto-cjk", ((0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))),
    (_EMOJI, ((0x1F000, 0x1FAFF), (0x2600, 0x27BF), (0x2B00, 0x2BFF))),
)


def missing_letters(texts: Iterable[str]) -> str:
    """What to install when no font of the machine has the letters of some texts; "" if all are there."""
    signs = {sign for text in texts for sign in clean(text) if not sign.isascii()}
    missing = sorted(s for s in signs if not _ignorable(s) and not has_signs(font_file(s), s))
    if not missing:
        return ""
    packages = " ".join(sorted({_package(sign) for sign in missing}))
    some = " ".join(missing[:8]) + (" ..." if len(missing) > 8 else "")
    return (
        f"no font of this machine has the letters {some}: they are drawn as empty frames; "
        f"install one (Debian, Ubuntu, Colab: apt-get install {packages})"
    )


def _package(sign: str) -> str:
    for package, blocks in _PACKAGES:
        if any(first <= ord(sign) <= last for first, last in blocks):
            return package
    return "fonts-noto-core"


def _ignorable(sign: str) -> bool:
    """Variation selectors and joiners, which change their neighbours and are not drawn."""
    return unicodedata.category(sign) in ("Cf", "Mn", "Me")


def clean(text: str) -> str:
    """One line without control signs; joiners and direction marks stay."""
    return "".join(s if s.isprintable() or unicodedata.category(s) == "Cf" else " " for s in text)


# Noto Color Emoji holds pictures of one size.
_EMOJI_PX = 109


@dataclass(frozen=True)
class _Run:
    """Neighbouring signs of one font."""

    text: str
    font: ImageFont.FreeTypeFont
    scale: float  # 1, but for a font of pictures, which are shrunk

    @property
    def width_px(self) -> float:
        return float(self.font.getlength(self.text)) * self.scale


@dataclass(frozen=True)
class Line:
    """A line of text at a size, ready to be drawn.

    Attributes:
        text: It, as it was given.
        width_px: How wide it is.
        ascent_px: From its base line up.
        descent_px: And down.
    """

    text: str
    runs: tuple[_Run, ...]
    width_px: float
    ascent_px: int
    descent_px: int

    def draw(self, canvas: Image.Image, corner_xy: tuple[float, float], ink: Color) -> None:
        """Write it on an RGB image; the corner is the left end of its base line."""
        x, baseline = corner_xy
        for run in self.runs:
            if run.scale == 1:
                ImageDraw.Draw(canvas).text(
                    (x, baseline), run.text, fill=ink, font=run.font, anchor="ls"
                )
            else:
                _draw_pictures(canvas, run, x, baseline)
            x += run.width_px


def _draw_pictures(canvas: Image.Image, run: _Run, x: float, baseline: float) -> None:
    left, top, right, bottom = run.font.getbbox(run.text, anchor="ls")
    large = Image.new("RGBA", (max(1, round(right - left)), max(1, round(bottom - top))))
    ImageDraw.Draw(large).text(
        (-left, -top), run.text, font=run.font, anchor="ls", embedded_color=True
    )
    size = max(1, round(large.width * run.scale)), max(1, round(large.height * run.scale))
    small = large.resize(size, Image.Resampling.LANCZOS)
    canvas.paste(small, (round(x), round(baseline + top * run.scale)), small)


@functools.lru_cache(maxsize=4096)
def set_line(text: str, size_px: int) -> Line:
    """A text in as many fonts as it needs."""
    text = clean(text)
    raqm = bool(features.check("raqm"))  # it lays out Arabic, Hebrew and Indic text
    laid = text if raqm else visual_order(text)
    runs: list[_Run] = []
    for part, file in font_runs(laid):
        font, scale = _font(file, size_px, raqm)
        # raqm would put a right-to-left part's spaces on the other side of it.
        core = part.strip(" ") if _is_right_to_left(part) else part
        pieces = part.partition(core) if core else ()
        runs += [_Run(piece, font, scale) for piece in pieces if piece]
    ascent, descent = _font(default_font(), size_px, raqm)[0].getmetrics()
    return Line(text, tuple(runs), sum(run.width_px for run in runs), ascent, descent)


def font_runs(text: str) -> list[tuple[str, str]]:
    """A text cut where its font changes: parts with their font files."""
    if text.isascii():
        return [(text, default_font())]
    runs: list[tuple[str, str]] = []
    for sign in text:
        if runs and _ignorable(sign):
            file = runs[-1][1]
        elif has_signs(default_font(), sign):
            file = default_font()
        else:
            file = runs[-1][1] if runs and has_signs(runs[-1][1], sign) else font_file(sign)
        if runs and runs[-1][1] == file:
            runs[-1] = (runs[-1][0] + sign, file)
        else:
            runs.append((sign, file))
    return runs


@functools.lru_cache(maxsize=256)
def _font(file: str, size_px: int, raqm: bool) -> tuple[ImageFont.FreeTypeFont, float]:
    """A font at a size, or at the only size it has, and how much that must be scaled."""
    engine = ImageFont.Layout.RAQM if raqm else ImageFont.Layout.BASIC
    try:
        return ImageFont.truetype(file, size_px, layout_engine=engine), 1.0
    except OSError:  # "invalid pixel size": a font of pictures
        with contextlib.suppress(OSError):
            # 1.17: such a picture is as high as a capital letter with its accents.
            return ImageFont.truetype(file, _EMOJI_PX, layout_engine=engine), 1.17 * size_px / 136
        return ImageFont.truetype(default_font(), size_px), 1.0


def shorten(text: str, size_px: int, width_px: float, keep: str | None = None) -> str:
    """A text cut with "…" so that it fits a width.

    Args:
        text: One line.
        size_px: The size of its letters.
        width_px: The room.
        keep: How it ends, which is kept; its last word (a score) if None.
    """
    text = text[: 4 * max(int(width_px), 1)] if keep is None else text
    if set_line(text, size_px).width_px <= width_px:
        return text
    if keep is None:
        head, _, tail = text.rpartition(" ")
        tail = f"… {tail}" if head else "…"
        head = head or text
    else:
        head, tail = text.removesuffix(keep)[: 4 * max(int(width_px), 1)], f"…{keep}"

    def too_wide(n: int) -> bool:
        return set_line(head[:n] + tail, size_px).width_px > width_px

    # The longest beginning that fits, by bisection: a name may have thousands of letters.
    n = bisect.bisect(range(1, len(head) + 1), False, key=too_wide)
    return head[:n] + tail


def _is_right_to_left(text: str) -> bool:
    return any(unicodedata.bidirectional(sign) in ("R", "AL") for sign in text)


def visual_order(text: str) -> str:
    """A line's signs from left to right, Arabic letters joined: for what lays out no text itself.

    Joining takes Unicode's presentation forms, the order the bidirectional algorithm (UAX 9).
    """
    if not _is_right_to_left(text):
        return text
    from fpdf.bidi import BidiParagraph
    from fpdf.enums import TextDirection

    # "L": a list that begins with an Arabic name is part of an English page all the same.
    paragraph = BidiParagraph(text=_join_arabic(text), base_direction=TextDirection.LTR)
    return str(paragraph.get_reordered_string())


@functools.cache
def _forms() -> dict[str, dict[str, str]]:
    """Of each Arabic letter its shapes by place: isolated, final, initial, medial."""
    found: dict[str, dict[str, str]] = {}
    for code in (*range(0xFB50, 0xFC00), *range(0xFE70, 0xFEFD)):
        kind, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        if kind.startswith("<") and letters and letters[0] != "0020":
            joined = "".join(chr(int(letter, 16)) for letter in letters)
            found.setdefault(joined, {})[kind[1:-1]] = chr(code)
    return found


def _join_arabic(text: str) -> str:
    forms = _forms()
    units: list[str] = []
    for sign in text:
        # Lam and alef are one sign.
        if units and units[-1] + sign in forms and len(units[-1]) == 1:
            units[-1] += sign
        else:
            units.append(sign)
    out = []
    for index, unit in enumerate(units):
        own: dict[str, str] = forms.get(unit, {})
        before = _neighbour(units, index, -1)
        after = _neighbour(units, index, 1)
        from_before = "final" in own and "initial" in forms.get(before, {})
        to_after = "initial" in own and "final" in forms.get(after, {})
        place = (
            "medial" if from_before and to_after
            else "final" if from_before
            else "initial" if to_after
            else "isolated"
        )  # fmt: skip
        out.append(own.get(place, unit))
    return "".join(out)


def _neighbour(units: list[str], index: int, step: int) -> str:
    """The next unit in a direction, vowel marks passed over; "" at the end."""
    index += step
    while 0 <= index < len(units) and unicodedata.category(units[index][0]) == "Mn":
        index += step
    return units[index] if 0 <= index < len(units) else ""


def without_pictures(text: str) -> str:
    """A text for matplotlib, which draws no emoji: they are left out, or named where nothing is left."""
    pictures = {s for s in text if _package(s) == _EMOJI and not has_signs(default_font(), s)}
    if not pictures:
        return text
    joiners = "\u200d\u20e3\ufe0f"
    left = "".join(sign for sign in text if sign not in pictures and sign not in joiners)
    named = (unicodedata.name(sign, "").lower() for sign in text if sign in pictures)
    return " ".join(left.split()) or " ".join(named)


def plot_families(texts: Iterable[str]) -> list[str]:
    """Font families for matplotlib, in the order to ask them, that have the letters of some texts."""
    from matplotlib import font_manager

    families = ["DejaVu Sans"]
    for file in sorted({file for text in texts for _, file in font_runs(clean(text))}):
        with contextlib.suppress(OSError, RuntimeError):  # matplotlib takes no fonts of pictures
            known: Any = font_manager.fontManager
            if not any(entry.fname == file for entry in known.ttflist):
                known.addfont(file)
            name = font_manager.FontProperties(fname=file).get_name()
            if name not in families:
                families.append(str(name))
    return families
