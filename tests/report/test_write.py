"""Reports: the same words and figures in both files, true ones; mistakes of the user in one line."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import supervision as sv
from helpers.labelled_folders import put_coco
from helpers.run_folders import Guesser, put_csv, put_run

import duckdetect as dd
from duckdetect.cli.app import main
from duckdetect.errors import UserError
from duckdetect.evaluation.evaluate import evaluate_run
from duckdetect.imaging.draw import FramesWriter
from duckdetect.inference.detections_json import write_detections_json
from duckdetect.report import write as report_module
from duckdetect.report.blocks import Code, Note, Report, Section, Table, Text
from duckdetect.report.pdf import render_pdf
from duckdetect.report.training import _settings_in_words, train_commands
from duckdetect.report.write import build_report, render_html, write_report

pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed: pip install pypdf")

NAMES = (
    "rubber duck",
    "Entenküken",
    "утка",
    "鸭子 🦆",
    "<b>$x$</b> & a name as long as a sentence",
)


def squeezed(text: str) -> str:
    """Without white space, which a PDF does not keep."""
    return re.sub(r"\s+", "", text)


def html_text(path: Path) -> str:
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", path.read_text("utf-8"), flags=re.DOTALL)
    return squeezed(html.unescape(text))


def pdf_text(path: Path) -> str:
    # pypdf reads a zero byte before each letter of a font with two-byte codes (Noto CJK).
    return squeezed(
        " ".join(page.extract_text().replace("\0", "") for page in pypdf.PdfReader(path).pages)
    )


@pytest.fixture(scope="module")
def made(project_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run taught five names with the ducks, measured by one that makes all kinds of mistakes."""
    random = np.random.default_rng(3)

    def named(split: str) -> dd.Dataset:
        data = dd.load_dataset(project_data / "ducks", split)
        samples = [
            replace(s, class_id=random.integers(0, len(NAMES), len(s.class_id))) for s in data
        ]
        return replace(data, classes=NAMES, samples=tuple(samples))

    trained, test = named("train"), named("test")
    run = put_run(tmp_path_factory.mktemp("report") / "a run", trained)
    measured = evaluate_run(run, test, detector=Guesser(test, spread=0.2))
    with pytest.MonkeyPatch.context() as patch:
        # The named classes are nowhere on disk; what reads data again is tested elsewhere.
        patch.setattr(report_module, "find_again", lambda record, run: trained)
        written = write_report(run, test)
        config = json.loads((run / "config.json").read_text())
        content = build_report(run, config, written.evaluation)
    return SimpleNamespace(run=run, written=written, measured=measured, content=content)


def test_both_files_hold_all_words_and_figures(made: SimpleNamespace) -> None:
    in_html, in_pdf = html_text(made.written.html), pdf_text(made.written.pdf)
    # Where the machine has no font with a sign, the PDF shows a frame.
    unknown = {sign for sign in "".join(NAMES) if squeezed(sign) not in in_pdf}
    assert unknown <= set("鸭子🦆")
    frames = str.maketrans(dict.fromkeys(unknown, "\u25a1"))
    texts = [squeezed(text) for text in made.content.texts()]
    assert len(texts) > 150
    for text in texts:
        assert text in in_html
        assert text.translate(frames) in in_pdf


def test_the_figures_are_the_evaluations(made: SimpleNamespace) -> None:
    metrics = made.measured.metrics
    text = html_text(made.written.html)
    assert metrics.AP50 is not None
    there = metrics.at(made.measured.threshold)
    for figure in (metrics.AP, metrics.AP50, metrics.AP75, metrics.AR100, there.F1):
        assert f"{figure:.3f}" in text
    assert squeezed(f"keeps what scores {there.threshold:.2f} or more") in text
    assert squeezed(made.measured.better_threshold()) in text
    assert squeezed(f"finds {there.n_true} of the {metrics.n_boxes}") in text
    assert squeezed("objects to find are few") in text
    tables = [b for s in made.content.sections for b in s.blocks if isinstance(b, Table)]
    mistakes = {row[0]: int(row[1]) for row in tables[-1].rows}
    assert list(mistakes) == ["missed", "badly placed", "wrong class", "found twice", "false"]
    wrong = sum(mistakes.values()) - mistakes["missed"]
    assert wrong >= metrics.n_false  # a confused detection may lie on a labelled box
    assert mistakes["wrong class"] > 0
    assert mistakes["missed"] > 0


def test_the_page_needs_nothing_else(made: SimpleNamespace) -> None:
    text = made.written.html.read_text("utf-8")
    assert "<script" not in text
    sources = re.findall(r'(?:src|href)="([^"]{5})', text)
    assert set(sources) == {"data:"}
    assert len(sources) > 15
    assert made.written.html.stat().st_size < 4_000_000
    assert "<b>$x$" not in text


def test_the_pdf_turns_right_to_left_names_round() -> None:
    from duckdetect.report.pdf import PdfInAnyScript

    text = "class بطة was found 3 times"
    document = PdfInAnyScript(text)
    assert document.clean(text) == "class \ufe94\ufec4\ufe91 was found 3 times"
    document.output()  # which closes the fonts' files


def test_what_changes_an_emoji_does_not_stand_behind_it_in_the_pdf() -> None:
    from duckdetect.report.pdf import PdfInAnyScript

    text = "1\u20e3 a\U0001f3fd"  # a key's cap, a skin's tone
    document = PdfInAnyScript(text)
    assert document.clean(text) == "1 a"
    document.output()


def test_the_pdf_is_in_order(made: SimpleNamespace) -> None:
    pdf = pypdf.PdfReader(made.written.pdf)
    assert [entry.title for entry in pdf.outline] == [s.title for s in made.content.sections]
    assert pdf.metadata.title == made.content.title
    pages = [page.extract_text().replace("\0", "") for page in pdf.pages]
    assert 4 <= len(pages) <= 10
    for number, page in enumerate(pages, 1):
        assert f"{number} / {len(pages)}" in page
        assert len(page) > 40, "an empty page"
    n_images = sum(len(page.images) for page in pdf.pages)
    shown = [b.items for s in made.content.sections for b in s.blocks if b.kind == "pictures"]
    assert n_images >= sum(map(len, shown)) > 15


@pytest.mark.browser
def test_it_reads_on_a_phone_and_on_a_desk(made: SimpleNamespace, tmp_path: Path) -> None:
    from helpers.browser import chrome as browser

    with browser.start(tmp_path / "profile") as chrome:
        for width in (390, 1200):
            chrome.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
            )
            chrome.get(made.written.html.as_uri())
            page = chrome.execute_script(
                """
                const right = box => box.getBoundingClientRect().right;
                return {
                    scroll: document.documentElement.scrollWidth,
                    window: window.innerWidth,
                    beyond: [...document.querySelectorAll("main *")].map(right),
                    broken: [...document.images].filter(i => !i.naturalWidth).length,
                    images: [...document.images].map(i => i.getBoundingClientRect().width),
                    font: parseFloat(getComputedStyle(document.body).fontSize),
                    asked: performance.getEntriesByType("resource").map(e => e.name),
                };"""
            )
            assert page["scroll"] <= page["window"]
            assert max(page["beyond"]) <= width
            assert page["broken"] == 0
            assert min(page["images"]) > 150
            assert page["font"] >= 16
            assert [name for name in page["asked"] if not name.startswith("data:")] == []
            assert chrome.get_log("browser") == []


def test_without_figures_it_says_how_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put_run(tmp_path / "run", dd.load_dataset(put_coco(tmp_path / "data")))
    assert main(["report", str(run)]) == 0
    out = capsys.readouterr().out
    assert f"duckdetect report {run} --data LABELLED_PICTURES" in out
    for text in (html_text(run / "report.html"), pdf_text(run / "report.pdf")):
        assert squeezed(f"duckdetect report {run} --data LABELLED_PICTURES") in text
        assert squeezed("How training went") in text
        assert squeezed("What was trained") in text
        assert "AP75" not in text


def test_the_kept_evaluation_is_used_and_split_beside_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "valid"):
        put_coco(tmp_path / "data" / split)
    learnt, validation_subset = (dd.load_dataset(tmp_path / "data", s) for s in ("train", "valid"))
    run = put_run(tmp_path / "run", learnt, watched_with=validation_subset)
    calls = []

    def guess(run: Path, data: Path, split: str | None, progress: bool) -> object:
        calls.append((data, split))
        dataset = dd.load_dataset(data, split)
        return evaluate_run(run, data, split, Guesser(dataset))

    monkeypatch.setattr(report_module, "evaluate_run", guess)
    first = write_report(run)
    assert calls == [(tmp_path / "data", "valid")]
    assert squeezed("These are the validation images") in html_text(first.html)
    write_report(run)
    assert len(calls) == 1
    # Of other data than the last time.
    other = write_report(run, tmp_path / "data" / "train")
    assert calls[1:] == [(tmp_path / "data" / "train", None)]
    assert squeezed("These are the images it was trained on") in html_text(other.html)
    # The pictures are gone: the last report's figures are not shown as if they were checked.
    (tmp_path / "data").rename(tmp_path / "moved")
    gone = write_report(run)
    assert "is gone or was changed" in gone.missing
    assert squeezed("no longer in") in html_text(gone.html)


def test_unlabelled_pictures_are_shown_with_what_was_found(tmp_path: Path) -> None:
    """As detect writes it into a run's folder; not what an earlier detector found, nor a video."""
    run = put_run(tmp_path / "run", dd.load_dataset(put_coco(tmp_path / "own")))
    (run / "detector" / "saved_model.pb").touch()
    one = sv.Detections(
        np.array([[10, 10, 50, 60]], np.float32),
        confidence=np.array([0.87]),
        class_id=np.array([0]),
    )
    with FramesWriter(run / "frames") as frames:
        for name in ("a.png", "b.png"):
            frames.write(name, np.zeros((80, 120, 3), np.uint8))
    path = run / "detections.json"
    write_detections_json(path, [(0, "a.png", one)], ("duck",))
    written = write_report(run)
    for text in (html_text(written.html), pdf_text(written.pdf)):
        assert "1objectin1of2pictureswithoutlabels" in text
        assert "a:1object,score0.87" in text
        assert "b:nothing" in text
    path.write_text("[{}]")
    assert "detectagain" in html_text(write_report(run).html)
    write_detections_json(path, [(0, "clip.mp4", one)], ("duck",))
    assert "Whatitfinds" not in html_text(write_report(run).html)
    write_detections_json(path, [(0, "a.png", one)], ("duck",))
    os.utime(path, (1, 1))
    assert "Whatitfinds" not in html_text(write_report(run).html)


def test_of_very_many_classes_some_are_named(tmp_path: Path) -> None:
    """As a stranger's config.json may have: a million took the PDF without end."""
    run = put_run(tmp_path / "run", dd.load_dataset(put_coco(tmp_path / "data")))
    config = json.loads((run / "config.json").read_text())
    config["classes"] = [f"class-{i}" for i in range(100_000)]
    (run / "config.json").write_text(json.dumps(config))
    text = html_text(write_report(run).html)
    assert "class-99and99900more" in text
    assert "class-100" not in text


def test_training_images_and_curves_may_be_missing(tmp_path: Path) -> None:
    run = put_run(tmp_path / "run", dd.load_dataset(put_coco(tmp_path / "data")))
    for text in ("", "step,loss\n1,zero\n", "step\n1\n"):
        (run / "history.csv").write_text(text)
        assert squeezed("missing or broken, so no curves") in html_text(write_report(run).html)
    put_csv(run / "history.csv", [{"step": 1, "loss": 2.0, "box_loss": 1.0, "class_loss": 1.0}])
    (run / "validation.csv").unlink()
    assert squeezed("from 2.000 at the first") in html_text(write_report(run).html)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "config.json").unlink(), "holds no run"),
        (lambda run: (run / "config.json").write_text("{"), "is broken"),
        (lambda run: (run / "config.json").write_text("[]"), "is broken"),
        (lambda run: (run / "config.json").write_text('{"data": {}}'), "is broken"),
        (
            lambda run: (run / "config.json").write_text(
                (run / "config.json").read_text().replace('"done": true', '"done": false')
            ),
            "is not trained to its end",
        ),
    ],
)
def test_broken_runs_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    said: str,
) -> None:
    run = put_run(tmp_path / "run", dd.load_dataset(put_coco(tmp_path / "data")))
    spoil(run)
    assert main(["report", str(run)]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert not (run / "report.html").exists()


def test_missing_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = put_run(tmp_path / "run", dd.load_dataset(put_coco(tmp_path / "data")))
    assert main(["report", str(run), "--data", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not there" in capsys.readouterr().err
    assert main(["report", str(run), "--data", str(tmp_path / "data"), "--split", "test"]) == 2
    assert "no split 'test'" in capsys.readouterr().err


def test_a_failing_report_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put_run(tmp_path / "run", dd.load_dataset(put_coco(tmp_path / "data")))
    written = write_report(run)
    before = written.html.read_bytes(), written.pdf.read_bytes()

    def fail(report: Report, path: Path) -> None:
        path.write_text("half")
        raise UserError("no room")

    monkeypatch.setattr("duckdetect.report.pdf.render_pdf", fail)
    with pytest.raises(UserError, match="no room"):
        write_report(run)
    assert (written.html.read_bytes(), written.pdf.read_bytes()) == before
    assert not list(run.glob(".report*"))


def test_tables_of_any_length_and_odd_signs(tmp_path: Path) -> None:
    rows = [[f"a\u0000class \u202e number {k} " * (1 + k % 9), str(k), "0.5"] for k in range(120)]
    report = Report(
        "", "\U0010ffff",
        [
            Section("none", []),
            Section("long", [Table(["Name", "Count", "Share"], rows), Note("x" * 3000)]),
            Section("", [Text(""), Code(["y" * 400, "z"])]),
        ],
    )  # fmt: skip
    render_pdf(report, tmp_path / "a.pdf")
    pages = [
        page.extract_text().replace("\0", "") for page in pypdf.PdfReader(tmp_path / "a.pdf").pages
    ]
    assert sum("Share" in page for page in pages) >= 5  # the head is on each page of the table
    assert "number 119" in " ".join(pages)
    assert "number 119" in render_html(report)


def test_the_command_that_trains_it_again(tmp_path: Path) -> None:
    config = {"base": "b", "data": {"folder": "my data"}, "validation": None}
    stock = dd.TrainConfig.stock(seed=3).to_dict()
    (line,) = train_commands(Path("out"), {**config, "train": stock})
    assert line == "duckdetect train 'my data' --base b --out out --recipe stock --seed 3"
    few = dd.TrainConfig(steps=9, views=2).to_dict()
    (line,) = train_commands(Path("out"), {**config, "train": few})
    assert line == "duckdetect train 'my data' --base b --out out --steps 9 --views 2 --seed 0"
    odd = dd.TrainConfig(momentum=0.5, refine=False, train="all", seed=1).to_dict()
    (line,) = train_commands(Path("out"), {**config, "train": odd})
    assert line.endswith(" --out out --momentum 0.5 --no-refine --train all --seed 1")
    validated = {**config, "validation": {"folder": "others"}}
    (line,) = train_commands(Path("out"), {**validated, "train": few})
    assert " --out out --val others --steps 9 " in line
    old = {**few, "looks": few["views"], "head_start": False}  # as 0.1.0 wrote them
    del old["views"], old["class_init"]
    (line,) = train_commands(Path("out"), {**config, "train": old})
    assert " --steps 9 --views 2 --no-class-init " in line
    put_coco(tmp_path / "train")
    put_coco(tmp_path / "valid")
    plain = {**config, "data": {"folder": str(tmp_path)}}
    assert "--no-val" in train_commands(Path("out"), {**plain, "train": few})[0]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("heads", "but for the last layers of its box and class heads."),
        ("towers", "but for its box and class heads."),
        ("second-stage", "but for its heads and the layers that describe each proposal."),
        ("all", "All layers of the base model were trained."),
    ],
)
def test_what_was_trained_is_said_in_words(part: str, said: str) -> None:
    assert said in _settings_in_words({"train": part}, {"pictures": 5})
    assert "its all" not in _settings_in_words({"train": part}, {"pictures": 5})
