"""Make the pictures of the documentation, from the files of `make demo`, and the executed notebooks.

    python tools/make_docs.py                 # all
    python tools/make_docs.py --drawing       # docs/architecture.png alone, and the table beside it
    python tools/make_docs.py --notebooks     # docs/*_executed.ipynb alone; minutes, with what dev brings

docs/demo.jpg    twelve test pictures with what was found
docs/curves.png  precision over recall, and F1 over the score threshold
docs/report.jpg  pages of report.pdf, by pdftoppm (apt-get install poppler-utils)
docs/architecture.png  the rooms of the package and what flows between them
docs/architecture.md   the number of lines of each module on the path from images to a GIF
"""

from __future__ import annotations

import re
import subprocess
import sys
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


# The drawing: (left, bottom) of each box in the figure's units, and what it says.
BOXES = {
    "annotation": (0.0, 2.3, "annotation", "boxes drawn and\ncorrected by hand"),
    "data": (2.6, 2.3, "data", "labels read, checked,\nsplit, augmented"),
    "models": (2.6, 0.2, "models", "base detectors,\nweights, NMS"),
    "training": (5.2, 2.3, "training", "feature cache, loop,\nvalidation"),
    "inference": (7.8, 2.3, "inference", "detector: predict,\nsave, load, detect"),
    "evaluation": (10.4, 2.3, "evaluation", "COCO's metrics,\nmatching, plots"),
    "report": (13.0, 2.3, "report", "HTML and PDF"),
    "video": (7.8, 0.2, "imaging, video", "image files, drawing,\nMP4, GIF, tracking"),
    "export": (10.4, 0.2, "export", "other formats"),
}
ARROWS = [
    ("annotation", "data"), ("data", "training"), ("models", "training"), ("training", "inference"),
    ("inference", "evaluation"), ("evaluation", "report"), ("inference", "video"),
    ("inference", "export"),
]  # fmt: skip
PATH_ROW = re.compile(r"^\| `([\w/]+\.py)` \| (\d+) \|", re.MULTILINE)


def main() -> None:
    """The drawing and, unless it alone is asked for, the pictures of the demo; or the notebooks."""
    if "--notebooks" in sys.argv[1:]:
        execute_notebooks()
        return
    draw_architecture(ROOT / "docs" / "architecture.png")
    count_lines(ROOT / "docs" / "architecture.md")
    if "--drawing" not in sys.argv[1:]:
        demo_pictures()


def draw_architecture(path: Path) -> None:
    """Draw the rooms as boxes, and what flows from one to the other as arrows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    width, height = 2.0, 1.2
    figure = Figure(figsize=(11, 3.3), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.3, 15.3)
    axes.set_ylim(0.0, 4.6)
    axes.axis("off")
    for left, bottom, title, text in BOXES.values():
        box = FancyBboxPatch(
            (left, bottom),
            width,
            height,
            "round,pad=0,rounding_size=0.12",
            fc="#fff7df",
            ec="#8a6d1d",
        )
        axes.add_patch(box)
        axes.text(
            left + width / 2, bottom + height - 0.3, title, ha="center", va="center", weight="bold"
        )
        axes.text(left + width / 2, bottom + 0.4, text, ha="center", va="center", fontsize=8)
    arrow = {"arrowstyle": "-|>", "mutation_scale": 13, "color": "#444444"}
    for one, other in ARROWS:
        (x1, y1, *_), (x2, y2, *_) = BOXES[one], BOXES[other]
        if y1 == y2:
            start, end = (x1 + width, y1 + height / 2), (x2, y2 + height / 2)
        elif x1 == x2:
            start, end = (x1 + width / 2, y1), (x2 + width / 2, y2 + height)
        elif y2 > y1:
            start, end = (x1 + width, y1 + height / 2), (x2 + width / 4, y2)
        else:
            start, end = (x1 + width, y1 + 0.25), (x2, y2 + height - 0.2)
        axes.add_patch(FancyArrowPatch(start, end, **arrow))
    middle = BOXES["inference"][0] + width / 2
    back = FancyArrowPatch(
        (middle, 3.5), (1.0, 3.5), connectionstyle="arc3,rad=0.16", ls="--", **arrow
    )
    axes.add_patch(back)
    axes.text(
        4.9, 4.72, "suggestions, which a person corrects", ha="center", va="center", fontsize=8
    )
    figure.savefig(path, metadata={"Software": None})


def count_lines(page: Path) -> None:
    """Write today's number of lines of each module, and their sum, into the page's table."""
    lines = {name: n_lines(name) for name, _ in PATH_ROW.findall(page.read_text(encoding="utf-8"))}
    text = PATH_ROW.sub(lambda m: f"| `{m[1]}` | {lines[m[1]]} |", page.read_text(encoding="utf-8"))
    text = re.sub(r"(?<=\*\*)[\d,]+(?= lines\*\*)", f"{sum(lines.values()):,}", text)
    page.write_text(text, encoding="utf-8")


def n_lines(name: str) -> int:
    """The lines of a module, by its path in duckdetect/."""
    return len((ROOT / "duckdetect" / name).read_text(encoding="utf-8").splitlines())


def demo_pictures() -> None:
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
        plot_precision_recall(curves, measured.threshold, paths[0])
        plot_f1(curves, measured.threshold, paths[1])
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


def execute_notebooks() -> None:
    """Run both notebooks with the embedded base, and keep copies with small pictures."""
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers import notebook_docs, notebook_runs

    for name, values in (("model", {"BASE": "ssd_mobilenet_v2"}), ("people", {})):
        with tempfile.TemporaryDirectory() as folder:
            ran = notebook_runs.run(
                Path(folder), notebook_runs.local_env(), values, name=f"{name}.ipynb"
            )
            copy = notebook_docs.tidied(ran, Path(folder))
        notebook_docs.write_copy(copy, ROOT / "docs" / f"{name}_executed.ipynb")


if __name__ == "__main__":
    main()
