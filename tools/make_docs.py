"""Make the README's pictures of what comes out, from the files of `make demo` in results/demo.

docs/demo.jpg    twelve test pictures with what was found
docs/curves.png  precision over recall, and F1 over the score threshold
docs/report.jpg  pages of report.pdf, by pdftoppm (apt-get install poppler-utils)
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from duckdetect.data.loading import load_dataset
from duckdetect.evaluation.evaluate import read_evaluation
from duckdetect.evaluation.plots import plot_f1, plot_precision_recall
from duckdetect.imaging.draw import draw_grid
from duckdetect.imaging.io import fit, list_images, load_image, save_jpeg

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "results" / "demo"
SHOWN = [1, 3, 4, 8, 11, 17, 18, 20, 22, 23, 26, 30]
PAGES = [1, 4, 5]  # in short and what was trained; threshold and confusion; where it fails


def main() -> None:
    """Twelve test pictures (ordinary, dark, several, hidden ducks, none); curves; report pages."""
    frames = {path.stem: path for path in list_images(DEMO / "frames")}
    images = [load_image(frames[f"test_{number:02d}"]) for number in SHOWN]
    save_jpeg(ROOT / "docs" / "demo.jpg", draw_grid(images, columns=4, cell_px=320), quality=85)
    curves = Image.fromarray(evaluation_curves()).quantize(64, dither=Image.Dither.NONE)
    curves.save(ROOT / "docs" / "curves.png", optimize=True)
    save_jpeg(ROOT / "docs" / "report.jpg", report_pages(DEMO / "report.pdf"), quality=80)


def evaluation_curves() -> np.ndarray:
    """Both curves of the demo's evaluation beside each other, (H, W, 3) uint8 RGB."""
    measured = read_evaluation(DEMO, load_dataset(ROOT / "data" / "ducks", "test"))
    if measured is None:
        raise SystemExit(f"{DEMO} holds no evaluation of data/ducks: run `make demo` first")
    metrics = measured.metrics
    curves = {name: one.curve for name, one in metrics.per_class.items()}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.png" for name in ("precision_recall", "f1")]
        plot_precision_recall(curves, paths[0])
        plot_f1(curves, metrics.best_threshold, paths[1])
        drawn = [fit(load_image(path), 640) for path in paths]
    return np.concatenate(drawn, axis=1)


def report_pages(pdf: Path) -> np.ndarray:
    """Pages beside each other on grey, (H, W, 3) uint8 RGB."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["pdftoppm", "-r", "62", "-png", str(pdf), f"{folder}/page"]
        subprocess.run(command, check=True)
        every = [load_image(path) for path in list_images(folder)]
    height, width = every[0].shape[:2]
    sheet = np.full((height + 20, (width + 10) * len(PAGES) + 10, 3), 200, np.uint8)
    for index, page in enumerate(PAGES):
        left = 10 + index * (width + 10)
        sheet[10 : 10 + height, left : left + width] = every[page - 1]
    return sheet


if __name__ == "__main__":
    main()
