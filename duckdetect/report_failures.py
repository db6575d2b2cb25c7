"""The report's sections on what is taken for what, and on where the detector fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckdetect.evaluation_plots import plot_confusion
from duckdetect.matching import confusion_matrix, worst_pictures
from duckdetect.mistakes import KINDS, count_mistakes, draw_mistakes, sort_mistakes
from duckdetect.report_blocks import (
    Block,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
    photo,
    plot,
)
from duckdetect.report_words import plural

if TYPE_CHECKING:
    from duckdetect.evaluation_runs import Evaluation

_WORST = 6


def confusion_section(evaluation: Evaluation, threshold: float) -> Section:
    """Which class was taken for which, at a score threshold."""
    dataset = evaluation.dataset
    counts = confusion_matrix(dataset, evaluation.detections, threshold)
    words = (
        f"At a score of {threshold:.2f} and above: each row is what was labelled, each column what "
        "was detected in its place. The last column counts objects that were missed, the last row "
        "detections where nothing is labelled."
    )
    picture = plot(
        lambda path: plot_confusion(counts, dataset.classes, path),
        "How many of each; shades are shares of the labelled ones.",
    )
    return Section("What is taken for what", [Text(words), Pictures([picture])])


def failures_section(evaluation: Evaluation, threshold: float) -> Section:
    """What kinds of mistakes there are, and the pictures with most of them."""
    dataset, detections = evaluation.dataset, evaluation.detections
    worst = worst_pictures(dataset, detections, threshold)
    if not worst:
        words = (
            f"Nowhere: at a score of {threshold:.2f} every object is found, and nothing else. "
            "Measure it on harder pictures."
        )
        return Section("Where it fails", [Text(words)])
    counts = count_mistakes(dataset, detections, threshold)
    blocks: list[Block] = [
        Text(
            f"At a score of {threshold:.2f} and above, {len(worst)} of "
            f"{plural(len(dataset), 'picture')} hold a mistake."
        ),
        Table(
            ["Mistake", "Count", "What it is"],
            [[kind, str(counts[kind]), words] for kind, words in KINDS.items()],
            words=True,
        ),
        Text(
            "The pictures with most mistakes, each twice: with the labelled boxes, then with what "
            "was found. Green boxes are right; the others say what is wrong with them."
        ),
    ]
    pictures: list[Picture] = []
    for index, _ in worst[:_WORST]:
        sample, found = dataset.samples[index], detections[index]
        mistakes = sort_mistakes(sample, found, threshold)
        truth, drawn = draw_mistakes(sample.load(), sample, found, mistakes, dataset.classes)
        said = ", ".join(f"{n} {kind}" for kind, n in mistakes.count.items() if n)
        n = len(sample.class_id)
        name = sample.path.name
        pictures.append(photo(truth, f"{name}, labelled: {plural(n, 'box') if n else 'no object'}"))
        pictures.append(photo(drawn, f"{name}, found: {said}"))
    blocks.append(Pictures(pictures, columns=2))
    return Section("Where it fails", blocks)
