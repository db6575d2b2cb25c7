"""Make the README's picture of what comes out, docs/demo.jpg, from the frames of `make demo`."""

from __future__ import annotations

from pathlib import Path

from duckdetect.pictures import list_pictures, load_picture, save_jpeg
from duckdetect.render import draw_grid

ROOT = Path(__file__).resolve().parents[1]
SHOWN = [1, 3, 4, 8, 11, 17, 18, 20, 22, 23, 26, 30]


def main() -> None:
    """Twelve test pictures: ordinary, dark, several, partly hidden ducks, and none."""
    frames = {path.stem: path for path in list_pictures(ROOT / "results" / "demo" / "frames")}
    pictures = [load_picture(frames[f"test_{number:02d}"]) for number in SHOWN]
    save_jpeg(ROOT / "docs" / "demo.jpg", draw_grid(pictures, columns=4, cell_px=320), quality=85)


if __name__ == "__main__":
    main()
