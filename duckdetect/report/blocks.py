"""What a report is made of: sections of blocks, and how it words numbers and names.

    report = Report("Rubber duck", "SSD MobileNet V2", [Section("In short", [Text("...")])])

Nothing here knows how it will look: no sizes but an image's own pixels, no positions.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from duckdetect.evaluation.plots import PLOT_PPI


def place(path: object) -> str:
    """A path as it is called from here: without the current folder, if it is below that."""
    try:
        return str(Path(str(path)).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def quote(path: object) -> str:
    """A path or name as a shell takes it."""
    return shlex.quote(place(path))


def digest(record: Mapping[str, Any]) -> str:
    """The beginning of a check sum, enough to tell two apart; the whole is in the run's JSON."""
    return f"SHA-256 {str(record['sha256'])[:16]}…"


def show(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where it has no meaning."""
    return "-" if value is None else f"{value:.{digits}f}"


def show_range(interval: Sequence[float] | None) -> str:
    """An interval, or nothing where there is none."""
    return "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def show_percent(value: float | None) -> str:
    """A share in percent, or a dash."""
    return "-" if value is None else f"{value:.0%}"


_PHOTO_PPI = 90.0


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Note:
    """A paragraph that must not be passed over: what is missing, what to be careful with."""

    text: str
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Tile:
    """One figure to read from afar."""

    label: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Tiles:
    """A few figures beside each other."""

    items: Sequence[Tile]
    kind: ClassVar[str] = "tiles"


@dataclass(frozen=True)
class Facts:
    """Names with what they are, line by line."""

    rows: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Table:
    """Rows of figures.

    Attributes:
        head: Names of the columns; the first is that of the rows' names.
        rows: As many cells each.
        words: Whether the last column holds words, which run to the left, and not figures.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Figure:
    """An encoded image with what it shows.

    Attributes:
        data: The file.
        mime: Its kind.
        size_wh: Its pixels.
        pixels_per_inch: How many make an inch where there is room for it in full; a plot's letters
            are then as large as the text around it.
        caption: Below it.
        alt: Instead of it.
    """

    data: bytes
    mime: Literal["image/jpeg", "image/png"]
    size_wh: tuple[int, int]
    pixels_per_inch: float
    caption: str
    alt: str = ""

    @property
    def width_in(self) -> float:
        """Inches that it is wide where there is room."""
        return self.size_wh[0] / self.pixels_per_inch


@dataclass(frozen=True)
class Figures:
    """Images side by side where there is room for as many columns, else one below the other."""

    items: Sequence[Figure]
    columns: int = 1
    kind: ClassVar[str] = "pictures"


@dataclass(frozen=True)
class Code:
    """Commands to type, a line each."""

    lines: Sequence[str]
    kind: ClassVar[str] = "code"


Block = Text | Note | Tiles | Facts | Table | Figures | Code


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """A title, a line below it, and sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    def texts(self) -> list[str]:
        """All words and figures in reading order, captions included."""
        found = [self.title, self.subtitle]
        for section in self.sections:
            found.append(section.title)
            for block in section.blocks:
                found += _texts(block)
        return [text for text in found if text]


def _texts(block: Block) -> list[str]:
    match block:
        case Text(text) | Note(text):
            return [text]
        case Tiles(items):
            return [text for tile in items for text in (tile.label, tile.value, tile.remark)]
        case Facts(rows):
            return [text for row in rows for text in row]
        case Table(head, rows):
            return [*head, *(cell for row in rows for cell in row)]
        case Figures(items):
            return [image.caption for image in items]
        case Code(lines):
            return list(lines)


def spread(n: int, most: int) -> list[int]:
    """Evenly chosen indices of `n` things, at most `most`."""
    return [int(i) for i in np.linspace(0, n - 1, min(n, most)).round()] if n else []


def photo(image: npt.NDArray[np.uint8], caption: str, alt: str = "") -> Figure:
    """A drawn image, (H, W, 3) RGB uint8, as JPEG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=84, subsampling=0)
    return Figure(
        file.getvalue(), "image/jpeg", image.shape[1::-1], _PHOTO_PPI, caption, alt or caption
    )


def plot(draw: Callable[[Path], None], caption: str, alt: str = "") -> Figure:
    """What `draw` writes to the PNG path it is given."""
    from PIL import Image

    with TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        draw(path)
        with Image.open(path) as image:
            size_wh = image.size
        return Figure(path.read_bytes(), "image/png", size_wh, PLOT_PPI, caption, alt or caption)
