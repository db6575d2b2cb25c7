"""A report on a run: how good it is, where it fails, which threshold to use; HTML and PDF.

    made = write_report("results/duck", data="data/test")
    made.html, made.pdf

The content is made once (training.py, evaluation.py) of the blocks in blocks.py. The HTML is one file:
images inside, no scripts, nothing fetched, readable on a phone.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duckdetect._version import __version__
from duckdetect.data.dataset import SPLIT_NAMES, Dataset, strict
from duckdetect.data.loading import find_again, list_parts, read_dataset, recorded_places
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import (
    Evaluation,
    choose_split,
    evaluate_run,
    read_about,
    read_evaluation,
)
from duckdetect.imaging.fonts import missing_letters
from duckdetect.report.blocks import Figure, Note, Report, Section, place, quote
from duckdetect.report.evaluation import evaluation_sections, found_section
from duckdetect.report.training import curves_section, reproduce_section, training_section
from duckdetect.training.run_folder import finished_config
from duckdetect.utils.outputs import check_outputs, own_output
from duckdetect.utils.reading import as_path
from duckdetect.utils.terminal import printable
from duckdetect.utils.words import plural, some_names

if TYPE_CHECKING:
    from duckdetect.training.finetune import TrainRun


def render_html(report: Report) -> str:
    """The page as text; everything of the report is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("duckdetect.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    template = environment.get_template("report.html.j2")
    # Names may hold what turns the text around it, or a terminal that shows the page's source.
    return printable(template.render(report=report, version=__version__), keep="\n\t")


def _data_uri(image: Figure) -> str:
    return f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"


@dataclass(frozen=True)
class Written:
    """Where a report lies, and what it was measured on, if it was."""

    html: Path
    pdf: Path
    evaluation: Evaluation | None
    missing: str = ""


def write_report(
    run: TrainRun | str | Path,
    data: Dataset | str | Path | None = None,
    split: str | None = None,
    progress: bool = False,
) -> Written:
    """Write report.html and report.pdf into a run's folder.

    Args:
        run: A `TrainRun` that has a folder, or the folder.
        data: Labelled pictures to measure it on. If None, those that it was measured on last; if it
            was not, the test or validation split that lies beside its training pictures.
        split: Which split of `data`, as for `evaluate_run`.
        progress: Show a bar on stderr while it is measured.

    Returns:
        The two files; `missing` says what is not in them and how to get it, "" if all is.

    Raises:
        UserError: If the folder holds no finished run, or the data cannot be read.
    """
    folder = getattr(run, "folder", run)
    if folder is None and run is not None:
        raise UserError("the run has no folder to write a report to: train it with out=FOLDER")
    run = as_path(folder, "the run")
    if data is not None and not isinstance(data, Dataset):
        data = as_path(data, "the data")
    config = finished_config(run)
    html, pdf = run / "report.html", run / "report.pdf"
    check_outputs([html, pdf], "report", known="")  # earlier versions wrote no manifest
    evaluation, missing = _measured(run, config, data, split, progress)
    report = build_report(run, config, evaluation, missing)
    # They take a second to import, and are not needed to find out that a run is not one.
    from duckdetect.report.pdf import render_pdf

    with (
        own_output(html, "report", known="") as part_html,
        own_output(pdf, "report", known="") as part_pdf,
    ):
        part_html.write_text(render_html(report), encoding="utf-8")
        render_pdf(report, part_pdf)
    letters = missing_letters(report.texts())
    return Written(html, pdf, evaluation, " ".join(text for text in (missing, letters) if text))


def build_report(
    run: Path, config: dict[str, Any], evaluation: Evaluation | None, missing: str = ""
) -> Report:
    """The report's content.

    Args:
        run: The run's folder.
        config: Its config.json.
        evaluation: What was measured; None if nothing was.
        missing: Why not, and the cure.
    """
    data = config["data"]
    sections = [
        training_section(config, find_again(data, run)),
        curves_section(run),
        reproduce_section(run, config, evaluation.about if evaluation else None),
    ]
    if evaluation is not None:
        short, *others = evaluation_sections(evaluation)
        sections = [short, *sections[:2], *others, sections[2]]
    else:
        first = [Section("How good it is", [Note(missing)]), found_section(run)]
        sections = [section for section in first if section is not None] + sections
    return Report(
        title=f"Detector report: {some_names(config['classes'], 3)}",
        subtitle=f"{config['base']}, trained on {plural(data['pictures'], 'picture')}; "
        f"run {run.resolve().name}",
        sections=sections,
    )


def _measured(
    run: Path,
    config: dict[str, Any],
    data: Dataset | str | Path | None,
    split: str | None,
    progress: bool,
) -> tuple[Evaluation | None, str]:
    """The run's evaluation, kept or made now; None and what to do if there is no data for it."""
    if data is not None:
        if not isinstance(data, Dataset):
            split = split or choose_split(Path(data))
            dataset = read_dataset(Path(data), split, strict)  # `evaluate_run` tells of it
            kept = read_evaluation(run, dataset)
            return kept or evaluate_run(run, data, split, progress=progress), ""
        return read_evaluation(run, data) or evaluate_run(run, data, progress=progress), ""
    about = read_about(run)
    if about is not None:
        dataset_again = find_again(about["data"], run)
        kept = read_evaluation(run, dataset_again) if dataset_again is not None else None
        if kept is not None:
            return kept, ""
        where = (
            f"{place(about['data']['folder'])}, which it was measured on, is gone or was changed"
        )
    else:
        found = _beside(config["data"], run)
        if found is not None:
            return evaluate_run(run, *found, progress=progress), ""
        where = "it was not measured yet, and no test pictures lie beside its training pictures"
    return None, (f"There are no figures: {where}. {how_to_measure(run)}")


def how_to_measure(run: Path) -> str:
    """How a report gets figures, on the command line."""
    return (
        "Label some other pictures and run "
        f"`duckdetect report {quote(run)} --data LABELLED_PICTURES`."
    )


def _beside(trained_on: dict[str, Any], run: Path) -> tuple[Path, str] | None:
    """The test split, else the validation split, of the data set that training pictures are of."""
    places = recorded_places(trained_on, run)
    above = [place.parent for place in places if place.name in SPLIT_NAMES["train"]]
    for folder in (*places, *above):
        try:
            parts = list_parts(folder)
        except UserError:
            continue
        for split in ("test", "valid"):
            if split in parts:
                return folder, split
    return None
