"""Make the README's pictures of what comes out, from the files of `make demo` in results/demo.

docs/demo.jpg    twelve test pictures with what was found
docs/report.jpg  pages of report.pdf, by pdftoppm (apt-get install poppler-utils)
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from duckdetect.pictures import list_pictures, load_picture, save_jpeg
from duckdetect.render import draw_grid

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "results" / "demo"
SHOWN = [1, 3, 4, 8, 11, 17, 18, 20, 22, 23, 26, 30]
PAGES = [1, 4, 5]  # in short and what was trained; threshold and confusion; where it fails


def main() -> None:
    """Twelve test pictures: ordinary, dark, several, partly hidden ducks, and none; report pages."""
    frames = {path.stem: path for path in list_pictures(DEMO / "frames")}
    pictures = [load_picture(frames[f"test_{number:02d}"]) for number in SHOWN]
    save_jpeg(ROOT / "docs" / "demo.jpg", draw_grid(pictures, columns=4, cell_px=320), quality=85)
    save_jpeg(ROOT / "docs" / "report.jpg", report_pages(DEMO / "report.pdf"), quality=80)


def report_pages(pdf: Path) -> np.ndarray:
    """Pages beside each other on grey, (H, W, 3) uint8 RGB."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["pdftoppm", "-r", "62", "-png", str(pdf), f"{folder}/page"]
        subprocess.run(command, check=True)
        every = [load_picture(path) for path in list_pictures(folder)]
    height, width = every[0].shape[:2]
    sheet = np.full((height + 20, (width + 10) * len(PAGES) + 10, 3), 200, np.uint8)
    for index, page in enumerate(PAGES):
        left = 10 + index * (width + 10)
        sheet[10 : 10 + height, left : left + width] = every[page - 1]
    return sheet


if __name__ == "__main__":
    main()
