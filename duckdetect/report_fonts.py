"""A PDF document that knows the letters of all its text, in any script that the machine has."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from fpdf import FPDF

from duckdetect.captions import font_file, has_signs

_UNKNOWN_SIGN = "\u25a1"


class PdfInAnyScript(FPDF):
    """A4 pages with the families "text" (plain and bold) and "mono": matplotlib's DejaVu Sans.

    Args:
        signs: All the text that will be written; other fonts are added for what DejaVu lacks.
    """

    def __init__(self, signs: str) -> None:
        super().__init__(format="A4")
        self._add_fonts(signs)

    def clean(self, text: str) -> str:
        """The text with a frame for each sign that no font has, and without control signs."""
        return text.translate(self._replaced)

    def _add_fonts(self, signs: str) -> None:
        import matplotlib

        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.add_font("text", "", fonts / "DejaVuSans.ttf")
        self.add_font("text", "B", fonts / "DejaVuSans-Bold.ttf")
        self.add_font("mono", "", fonts / "DejaVuSansMono.ttf")
        self._replaced: dict[int, str] = {}
        others: dict[str, str] = {}
        for sign in sorted(set(signs)):
            if sign.isspace() or unicodedata.category(sign).startswith("C"):
                self._replaced[ord(sign)] = sign if sign == "\n" else " "
            elif not has_signs(str(fonts / "DejaVuSans.ttf"), sign):
                file = font_file(sign)
                if not has_signs(file, sign) or not self._add_other(others, file):
                    self._replaced[ord(sign)] = _UNKNOWN_SIGN
        # DejaVu Sans itself stands in for what its bold and its mono face lack.
        self.set_fallback_fonts(["text", *others.values()], exact_match=False)

    def _add_other(self, others: dict[str, str], file: str) -> bool:
        """Whether the machine's font could be added; there are kinds that fpdf2 does not read."""
        if file not in others:
            name = f"other{len(others)}"
            try:
                self.add_font(name, "", file)
            except Exception:
                return False
            others[file] = name
        return True
