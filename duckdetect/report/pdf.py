"""A report as PDF, by fpdf2: pure Python, fonts cut down to the letters used, any script.

Chosen over WeasyPrint, which needs Pango of the system, and over reportlab, six times the size and
without fall-back fonts: class names come in any script.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpdf import FPDF
from fpdf.enums import TableBordersLayout, TableCellFillMode
from fpdf.fonts import FontFace

from duckdetect._version import __version__
from duckdetect.imaging.fonts import font_file, has_signs, visual_order
from duckdetect.report.blocks import (
    Code,
    Facts,
    Figure,
    Figures,
    Note,
    Report,
    Table,
    Text,
    Tiles,
)

if TYPE_CHECKING:
    from duckdetect.report.blocks import Block

# Hebrew and Arabic: of words that are turned round together, the last must not go to the next line alone.
_WITHIN_RIGHT_TO_LEFT = re.compile(r"(?<=[\u0590-\u08ff]) (?=[\u0590-\u08ff])")

_UNKNOWN_SIGN = "\u25a1"

_CHANGES_EMOJI = "\u20e3\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


class PdfInAnyScript(FPDF):
    """A4 pages with the families "text" (plain and bold) and "mono": matplotlib's DejaVu Sans.

    Args:
        signs: All the text that will be written; other fonts are added for what DejaVu lacks.
    """

    def __init__(self, signs: str) -> None:
        super().__init__(format="A4")
        self._add_fonts(signs)

    def clean(self, text: str) -> str:
        """The text as it stands on the page: right-to-left runs turned round, control signs left out.

        A frame stands for each sign that no font has.
        """
        text = _WITHIN_RIGHT_TO_LEFT.sub("\u00a0", text)
        lines = text.translate(self._replaced).split("\n")
        return "\n".join(visual_order(line) for line in lines)

    def _add_fonts(self, signs: str) -> None:
        import matplotlib

        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.add_font("text", "", fonts / "DejaVuSans.ttf")
        self.add_font("text", "B", fonts / "DejaVuSans-Bold.ttf")
        self.add_font("mono", "", fonts / "DejaVuSansMono.ttf")
        self._replaced: dict[int, str] = {}
        others: dict[str, str] = {}
        for sign in sorted({*signs, *visual_order(signs)}):
            # fpdf2 joins no signs: a skin's tone and a key's cap would stand behind what they change.
            changes = unicodedata.category(sign) in ("Cf", "Mn") or sign in _CHANGES_EMOJI
            if changes and not has_signs(str(fonts / "DejaVuSans.ttf"), sign):
                self._replaced[ord(sign)] = ""
            elif sign.isspace() or unicodedata.category(sign).startswith("C"):
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


_INK, _SOFT, _LINE, _TINT = (29, 37, 48), (86, 96, 112), (221, 226, 233), (244, 246, 249)

_MARK, _WARNING = (11, 107, 143), (255, 246, 224)

_MARGIN_MM, _GAP_MM = 18.0, 4.0

_LINE_MM, _CAPTION_MM = 5.2, 4.2  # from line to line

# A heading at the foot of a page must have this much of its section below it.
_WIDOW_MM = 40.0

_ROW_MM, _TOGETHER = 6.6, 6  # a table's row, and how many stay with its head

_TALLEST_MM = {1: 150.0, 2: 78.0, 3: 46.0}  # images, by columns


def render_pdf(report: Report, path: Path) -> None:
    """Write the report as A4 pages."""
    document = _Document(report)
    document.show(report)
    document.output(str(path))


class _Document(PdfInAnyScript):
    def __init__(self, report: Report) -> None:
        super().__init__("".join(report.texts()))
        self.set_margins(_MARGIN_MM, _MARGIN_MM, _MARGIN_MM)
        self.set_auto_page_break(True, 20)
        self.set_title(report.title)
        self.set_creator(f"duckdetect {__version__}")
        self.set_lang("en")
        self.set_draw_color(*_LINE)
        self.set_line_width(0.25)

    def footer(self) -> None:
        """The page's number, at its foot."""
        self.set_y(-14)
        self._font(8, _SOFT)
        self.cell(0, 5, f"{self.page_no()} / {{nb}}", align="C")

    def show(self, report: Report) -> None:
        kinds: dict[type, Callable[[Any], None]] = {
            Text: self._text,
            Note: self._note,
            Tiles: self._tiles,
            Facts: self._facts,
            Table: self._table,
            Figures: self._images,
            Code: self._code,
        }
        self.add_page()
        self._font(20, _INK, "B")
        self._lines(report.title, 9)
        self._font(10, _SOFT)
        self._lines(report.subtitle, _LINE_MM)
        for section in report.sections:
            self._heading(section.title, section.blocks)
            for index, block in enumerate(section.blocks):
                if self.will_page_break(self._opening_height(section.blocks[index:])):
                    self.add_page()
                kinds[type(block)](block)

    def _heading(self, title: str, blocks: Sequence[Block]) -> None:
        self.ln(6)
        if self.will_page_break(max(_WIDOW_MM, 14 + self._opening_height(blocks))):
            self.add_page()
        self.start_section(self.clean(title))
        self._font(13.5, _INK, "B")
        self._lines(title, 7)
        self.line(self.l_margin, self.y + 0.8, self.w - self.r_margin, self.y + 0.8)
        self.ln(3)

    def _opening_height(self, blocks: Sequence[Block]) -> float:
        """In mm, of a paragraph with the first row of what it speaks of, which stay together."""
        height = 0.0
        for block in blocks:
            if isinstance(block, Figures):
                return height + self._row_height(block.items, block.columns)
            if not isinstance(block, Text):
                rows = min(len(block.rows), _TOGETHER) + 1 if isinstance(block, Table) else 0
                return height + rows * _ROW_MM
            self._font(10, _INK)
            height += self._height(block.text, _LINE_MM) + 2
        return height

    def _text(self, block: Text) -> None:
        self._font(10, _INK)
        self._lines(block.text, _LINE_MM)
        self.ln(2)

    def _note(self, block: Note) -> None:
        self._font(10, _INK)
        self.set_fill_color(*_WARNING)
        self._lines(block.text, _LINE_MM, fill=True, padding=2.5)
        self.set_fill_color(0)  # tables take any other for their cells
        self.ln(2.5)

    def _code(self, block: Code) -> None:
        self._font(8.5, _INK, family="mono")
        self.set_fill_color(*_TINT)
        self._lines("\n".join(block.lines), 4.6, fill=True, padding=2.5)
        self.set_fill_color(0)
        self.ln(2.5)

    def _tiles(self, block: Tiles) -> None:
        columns = min(4, len(block.items))
        for start in range(0, len(block.items), columns):
            items = list(block.items[start : start + columns])
            blank = [""] * (columns - len(items))
            faces = (
                ([tile.label for tile in items], FontFace(None, None, 8.5, _SOFT, _TINT)),
                ([tile.value for tile in items], FontFace(None, "B", 17, _MARK, _TINT)),
                ([tile.remark for tile in items], FontFace(None, None, 8, _SOFT, _TINT)),
            )
            self._font(10, _INK)
            if self.will_page_break(30):
                self.add_page()
            with self.table(
                borders_layout=TableBordersLayout.NONE,
                first_row_as_headings=False,
                text_align="LEFT",
                line_height=4.2,
                padding=(1, 3, 1, 3),
            ) as table:
                for texts, face in faces:
                    if any(texts):
                        table.row([self.clean(text) for text in (*texts, *blank)], style=face)
            self.ln(3)

    def _facts(self, block: Facts) -> None:
        self._font(9.5, _INK)
        with self.table(
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            first_row_as_headings=False,
            text_align="LEFT",
            cell_fill_mode=TableCellFillMode.NONE,
            col_widths=(28, 72),
            line_height=4.8,
            padding=(1, 1, 1, 0),
        ) as table:
            for name, value in block.rows:
                row = table.row()
                row.cell(self.clean(name), style=FontFace(color=_SOFT))
                row.cell(self.clean(value))
        self.ln(3)

    def _table(self, block: Table) -> None:
        self._font(9, _INK)
        if self.will_page_break(24):
            self.add_page()
        n = len(block.head)
        align = ["LEFT", *["RIGHT"] * (n - 1)]
        if block.words:
            align[-1] = "LEFT"
        with self.table(
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis="B", color=_SOFT),
            text_align=tuple(align),
            cell_fill_mode=TableCellFillMode.NONE,
            col_widths=self._widths(block),
            line_height=4.6,
            padding=(1, 1.2, 1, 1.2),
        ) as table:
            for cells in (block.head, *block.rows):
                table.row([self.clean(cell) for cell in cells])
        self.ln(3)

    def _widths(self, block: Table) -> tuple[float, ...]:
        """Each column as wide as its longest cell; what is left goes to the words."""
        self._font(9, _INK, "B")
        rows = [block.head, *block.rows]
        natural = [
            max(self.get_string_width(self.clean(row[column])) for row in rows) + 4
            for column in range(len(block.head))
        ]
        self._font(9, _INK)
        flexible = len(natural) - 1 if block.words else 0
        rest = sum(natural) - natural[flexible]
        # Columns of long names share what there is.
        natural[flexible] = max(self.epw - rest, 0.25 * self.epw)
        return tuple(natural)

    def _images(self, block: Figures) -> None:
        for start in range(0, len(block.items), block.columns):
            row = block.items[start : start + block.columns]
            if self.will_page_break(self._row_height(row, block.columns)):
                self.add_page()
            top = bottom = self.y
            for column, image in enumerate(row):
                width, height = self._size(image, block.columns)
                cell = self._cell_width(block.columns)
                left = self.l_margin + column * (cell + _GAP_MM)
                self.image(
                    image.data, left + (cell - width) / 2, top, width, height,
                    alt_text=image.alt,
                )  # fmt: skip
                self.set_xy(left, top + height + 1)
                self._font(8.5, _SOFT)
                self._lines(image.caption, _CAPTION_MM, width=cell, align="C")
                bottom = max(bottom, self.y)
            self.set_xy(self.l_margin, bottom + 3)

    def _cell_width(self, columns: int) -> float:
        return (self.epw - _GAP_MM * (columns - 1)) / columns

    def _size(self, image: Figure, columns: int) -> tuple[float, float]:
        """Width and height in mm, within the cell and not larger than they need be."""
        width_px, height_px = image.size_wh
        tallest = _TALLEST_MM.get(columns, 40.0)
        scale = min(
            self._cell_width(columns) / width_px,
            tallest / height_px,
            25.4 / image.pixels_per_inch,
        )  # mm a pixel
        return width_px * scale, height_px * scale

    def _row_height(self, row: Sequence[Figure], columns: int) -> float:
        """In mm, of images beside each other with their captions."""
        return max(self._image_height(image, columns) for image in row[:columns])

    def _image_height(self, image: Figure, columns: int) -> float:
        self._font(8.5, _SOFT)
        caption = self._height(image.caption, _CAPTION_MM, self._cell_width(columns))
        return self._size(image, columns)[1] + 1 + caption

    def _height(self, text: str, line_mm: float, width: float = 0) -> float:
        """In mm, of a text in the font that is set."""
        found: Any = self.multi_cell(
            width, line_mm, self.clean(text), align="L", dry_run=True, output="HEIGHT"
        )
        return float(found)

    def _font(
        self, size_pt: float, color: tuple[int, int, int], style: str = "", family: str = "text"
    ) -> None:
        self.set_font(family, style, size_pt)
        self.set_text_color(*color)

    def _lines(self, text: str, line_mm: float, width: float = 0, **more: Any) -> None:
        self.multi_cell(
            width, line_mm, self.clean(text), new_x="LMARGIN", new_y="NEXT",
            **{"align": "L", **more},
        )  # fmt: skip
