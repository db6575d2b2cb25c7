"""Contact sheets of labelled images: boxes and masks before training, augmented views.

sheet = label_sheet("images", out="sheet.jpg")      # suspicious images come first
sheet = view_sheet(load_dataset("images"))          # what augmentation makes of them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from duckdetect.data.augment import PlainViews
from duckdetect.data.dataset import Dataset, Problem, Sample
from duckdetect.data.loading import list_parts, read_dataset, require_boxes
from duckdetect.data.views import random_views
from duckdetect.errors import UserError
from duckdetect.imaging.draw import draw_detections, draw_grid, draw_line, draw_shrunk
from duckdetect.imaging.geometry import draw_outlines
from duckdetect.imaging.io import ImageArray, check_jpeg, fit, letterbox, save_jpeg
from duckdetect.imaging.kinds import IMAGE_SUFFIXES, is_hidden
from duckdetect.utils.outputs import check_outputs
from duckdetect.utils.reading import as_path, as_whole
from duckdetect.utils.words import plural

MOST_IMAGES = 1000
"""On a sheet, which takes 300 MB then."""
_MOST_ROWS = 200  # a JPEG has 65,535 rows of pixels at most

_CELL_PX = 300

_LINE_PX = 13

_MOST_BOXES = 200  # in a cell of 300 pixels

_BLACK, _RED, _GROUND = (25, 25, 25), (190, 20, 20), 235


def check_sheet(sheet: str | Path, verb: str, sources: Iterable[Path]) -> None:
    """Refuse to write a sheet where it would take a file's place, or be one of the images.

    Args:
        sheet: A JPEG file.
        verb: The command that writes it.
        sources: What it reads.

    Raises:
        UserError: As `check_outputs`; if it is no JPEG file; if it would lie beside images it shows.
    """
    sources = list(sources)
    check_outputs([sheet], verb, sources)
    check_jpeg(sheet)
    path = Path(sheet).resolve()
    folder = path.parent
    for source in sources:
        top = source.resolve()
        if not top.is_dir() or not folder.is_relative_to(top):
            continue
        others = (p for p in folder.glob("*") if p != path and not is_hidden(p))
        if folder == top or any(p.suffix.lower() in IMAGE_SUFFIXES for p in others):
            raise UserError(
                f"{sheet} would be one of the pictures in {folder} from then on: choose another folder"
            )


def label_sheet(
    source: Dataset | str | Path,
    out: str | Path | None = None,
    images: int = 24,
    columns: int = 4,
    problems: Sequence[Problem] = (),
    verb: str = "check",
) -> ImageArray:
    """Draw pictures with their boxes, names and masks (of outlines), those with problems first.

    Args:
        source: A data set, or where one lies, as `load_dataset` takes it; then all its splits.
        out: A JPEG file to write; only an earlier sheet is replaced.
        images: How many at most. Of more, those with problems, and evenly chosen others.
        columns: How many in a row; more where the sheet would get too tall.
        problems: What `check_dataset` found; it is written below the pictures that it is about.
        verb: The command that writes it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UserError: If no picture can be read, or `images` is not 1 to `MOST_IMAGES`; as `check_sheet`.
    """
    as_whole(images, "--images", 1, MOST_IMAGES, f"give 1 to {MOST_IMAGES}")
    if isinstance(source, Dataset):
        parts: dict[str | None, Dataset] = {None: source}
    else:
        source = as_path(source, "the data")
        if out is not None:
            check_sheet(out, verb, [source])
        # What cannot be read is left out: the sheet is there to see what is wrong.
        parts = {name: read_dataset(source, name, _pass) for name in list_parts(source)}
    trouble = {problem.where: problem.what for problem in reversed(problems)}
    chosen = _choose(parts, trouble, images)
    cells = [
        cell
        for split, dataset, sample in chosen
        if (cell := _cell(split, dataset, sample, trouble.get(str(sample.path)))) is not None
    ]
    if not cells:
        raise UserError(f"{source} holds no labelled picture that can be read: check it first")
    columns = max(columns, -(-len(cells) // _MOST_ROWS))
    sheet = draw_grid(cells, columns=columns, cell_px=_CELL_PX)
    if out is not None:
        save_jpeg(out, sheet, verb=verb)
    return sheet


def view_sheet(dataset: Dataset, views: int = 15, columns: int = 5, seed: int = 0) -> ImageArray:
    """Draw augmented views of the pictures with their boxes and masks, as training sees them.

    Args:
        dataset: Labelled pictures, one at least with a box.
        views: How many.
        columns: How many in a row.
        seed: A Mask R-CNN's training's, to see its own first views.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UserError: If no picture has a box.
    """
    import supervision as sv

    require_boxes(dataset)
    as_whole(views, "views", 1)
    drawn = []
    plain = PlainViews(dataset.samples, masks=True)
    for view in random_views(plain, views, seed, two_stage=True):
        masks = view.masks if view.masks is not None and len(view.masks) else None
        truth = sv.Detections(view.xyxy.astype(np.float32), masks, class_id=view.class_id)
        drawn.append(draw_shrunk(view.image, truth, dataset.classes, _CELL_PX))
    return draw_grid(drawn, columns=columns, cell_px=_CELL_PX)


def _pass(problem: Problem) -> None:
    """Whoever wants to know calls `check_dataset`."""


def _choose(
    parts: Mapping[str | None, Dataset], trouble: Mapping[str, str], n: int
) -> list[tuple[str | None, Dataset, Sample]]:
    every = [(split, part, sample) for split, part in parts.items() for sample in part]
    first = [entry for entry in every if str(entry[2].path) in trouble][:n]
    others = [entry for entry in every if str(entry[2].path) not in trouble]
    left = min(len(others), n - len(first))
    at = np.linspace(0, max(0, len(others) - 1), left).round().astype(int)
    return [*first, *(others[i] for i in at)]


def _cell(
    split: str | None, dataset: Dataset, sample: Sample, trouble: str | None
) -> ImageArray | None:
    """A square of `_CELL_PX`: the picture, its name, what is wrong."""
    import supervision as sv

    try:
        image = sample.load()
    except UserError:
        return None
    room = _CELL_PX - 2 * (_LINE_PX + 4)
    # Drawn after it is shrunk, so that lines and letters can be seen.
    small = fit(image, room)
    scale = small.shape[0] / image.shape[0], small.shape[1] / image.shape[1]
    shown = slice(_MOST_BOXES)
    outlines = (sample.segmentation or ())[shown]
    ground_truth = sv.Detections(
        xyxy=sample.xyxy[shown] * np.array([scale[1], scale[0]] * 2, np.float32),
        class_id=sample.class_id[shown],
        mask=draw_outlines(outlines, sample.size_hw, small.shape[:2]),
    )
    names = dataset.classes
    labels = [
        names[k] + (" (crowd)" if crowd else "")
        for k, crowd in zip(sample.class_id[shown], sample.crowd[shown], strict=True)
    ]
    drawn = letterbox(
        draw_detections(small, ground_truth, names, labels), (room, _CELL_PX), fill=_GROUND
    )
    cell = np.full((_CELL_PX, _CELL_PX, 3), _GROUND, np.uint8)
    cell[:room] = drawn
    n = len(sample.class_id)
    count = plural(n, "box") if n else "no box"
    where = f"{split}/" if split else ""
    line = f"{where}{sample.path.name}: {count}"
    cell = draw_line(cell, line, (4, room + 1), _LINE_PX, _BLACK, keep=f": {count}")
    if trouble:
        cell = draw_line(cell, trouble, (4, room + _LINE_PX + 4), _LINE_PX, _RED)
    return cell
