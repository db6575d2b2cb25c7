"""Bad input by the command line: exit code 2, one line that says what, where and the cure.

And odd but good pictures, which detection must take: upright, in colour, at their own size.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.labelled_folders import annotation, noise, put_coco, put_image, put_yolo, voc_xml
from helpers.run_folders import Guesser, put_run
from PIL import Image

import duckdetect as dd
from duckdetect.cli.app import main
from duckdetect.errors import UserError
from duckdetect.imaging.io import load_image
from duckdetect.utils.outputs import MANIFEST


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail; its one line."""

    def run(*argv: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in argv]) == 2
        text = capsys.readouterr().err
        assert text.endswith("\n")
        # As a terminal shows it: bars that are done with are written over after a carriage return.
        shown = [line.rsplit("\r", 1)[-1] for line in text.split("\n")]
        (line,) = [x for x in shown if x.strip() and "picture/s" not in x]
        assert line.startswith("duckdetect: ")
        assert "Traceback" not in text
        return line

    return run


def damage(kind: str, path: Path) -> None:
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no picture":
        path.write_text("<html>not found</html>")
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "a bomb":
        Image.new("1", (12_500, 12_500)).save(path, format="PNG")


IMAGES = [
    ("missing", "missing"),
    ("empty", "is empty: remove it or save it"),
    ("no picture", "is not a picture but a web page: download the picture itself"),
    ("truncated", "is damaged"),
    ("a bomb", "over 150 million pixels: save it smaller"),
]


@pytest.mark.parametrize(("kind", "message"), IMAGES)
def test_training_on_a_bad_image(
    tmp_path: Path, refused: Callable[..., str], kind: str, message: str
) -> None:
    folder = put_coco(tmp_path / "my ducks")
    damage(kind, folder / "a.jpg")
    if kind != "truncated":  # a good head: found when it is decoded, below and by `check`
        line = refused("train", folder, "--out", tmp_path / "run")
        assert message in line
        assert "a.jpg" in line
        assert not (tmp_path / "run").exists()


def put_one_twice(folder: Path) -> None:
    put_coco(folder, names=["a.jpg", "a.jpg"])


def put_text(name: str, text: str) -> Callable[[Path], Any]:
    def put(folder: Path) -> None:
        put_image(folder / "a.jpg")
        (folder / name).write_text(text)

    return put


DATA: list[tuple[Callable[[Path], Any], str]] = [
    (lambda p: None, "data is not there: give a folder of labelled pictures"),
    (lambda p: p.touch(), "data is a file: give the folder"),
    (lambda p: p.mkdir(), "data holds no labels"),
    (put_text("_annotations.coco.json", "{"), "_annotations.coco.json is not JSON"),
    (put_text("_annotations.coco.json", "[1]"), "_annotations.coco.json is not COCO"),
    (put_text("a.xml", "<annotation>"), "a.xml: is no XML"),
    (put_text("a.xml", voc_xml(box=(9, 9, 1, 1))), "a.xml, object 1: box (9, 9, 1, 1) is inverted"),
    (lambda p: put_yolo(p, "7 .5 .5 .1 .1"), "train.txt, line 1: there is no class 7"),
    (lambda p: put_coco(p, [annotation([70, 1, 50, 9])]), "reaches beyond the picture"),
    (lambda p: put_coco(p, [annotation([1, 1, 0, 9])]), "is empty: draw it again or remove it"),
    (lambda p: put_coco(p, [annotation([9, 1, -5, 9])]), "is inverted"),
    (lambda p: put_coco(p, [annotation([1, float("nan"), 5, 9])]), "not finite"),
    (lambda p: put_coco(p, [annotation(category_id=5)]), "there is no category 5 (there are 1)"),
    (put_one_twice, "2 entries are named a.jpg"),
    (lambda p: put_coco(p, []), "has no box in any of its 1 picture: draw boxes"),
    (lambda p: put_coco(p, [], names=[]), "holds no labelled picture: draw boxes"),
]


@pytest.mark.parametrize(("put", "message"), DATA)
def test_training_on_bad_labels(
    tmp_path: Path, refused: Callable[..., str], put: Callable[[Path], Any], message: str
) -> None:
    put(tmp_path / "data")
    assert message in refused("train", tmp_path / "data", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_check_lists_all_problems_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = [annotation([1, 1, 0, 9]), annotation(category_id=5, id=2)]
    names = [f"{kind}.png" for kind, _ in IMAGES]
    put_coco(tmp_path, boxes, names=["a.jpg", *names])
    for kind, _ in IMAGES:
        damage(kind, tmp_path / f"{kind}.png")
    assert main(["check", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    for kind, message in IMAGES:
        assert sum(f"{kind}.png" in line and message in line for line in out.splitlines()) == 1
    assert "annotation 1: box (1, 1, 1, 10) is empty" in out
    assert "annotation 2: there is no category 5" in out
    assert "error(s), listed above: fix them before training" in err
    assert f"{len(IMAGES) + 2} error(s)" in err
    assert len(err.splitlines()) == 1


def test_check_of_good_data_describes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(put_coco(tmp_path))]) == 0
    out, err = capsys.readouterr()
    assert "1 picture, 1 box" in out
    assert err == ""


@pytest.mark.parametrize("verb", ["check", "train"])
def test_a_folder_that_is_not_there(tmp_path: Path, refused: Callable[..., str], verb: str) -> None:
    more = ["--out", tmp_path / "run"] if verb == "train" else []
    assert "nowhere" in refused(verb, tmp_path / "nowhere", *more)


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory, project_data: Path) -> SimpleNamespace:
    """A run of a few steps: what it finds does not matter."""
    import duckdetect as dd

    folder = tmp_path_factory.mktemp("run")
    data = dd.load_dataset(project_data / "ducks", "train")
    config = dd.TrainConfig(steps=5, train="heads", masks="no")
    run = dd.finetune("ssd_mobilenet_v2", data, config, out=folder, progress=False)
    return SimpleNamespace(folder=folder, detector=run.detector, data=project_data / "ducks")


@pytest.mark.parametrize(("kind", "message"), IMAGES)
def test_detecting_on_a_bad_image_keeps_what_was_there(
    tmp_path: Path,
    refused: Callable[..., str],
    detector: SimpleNamespace,
    kind: str,
    message: str,
) -> None:
    good = put_image(tmp_path / "in" / "1.png")
    out = tmp_path / "out"
    assert main(["detect", str(detector.folder), str(good.parent), "--out", str(out)]) == 0
    before = {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    assert {p.name for p in before} == {"1.jpg", "detections.gif", "detections.json", MANIFEST}

    put_image(tmp_path / "in" / "2.png", (300, 400))
    damage(kind, tmp_path / "in" / "2.png")
    source = tmp_path / "in" / "2.png" if kind == "missing" else tmp_path / "in"
    line = refused("detect", detector.folder, source, "--out", out, "--strict")
    assert "2.png" in line
    assert ("is not there" if kind == "missing" else message) in line
    assert {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()} == before


def test_an_interrupted_detection_keeps_what_was_there(
    tmp_path: Path,
    detector: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for i in range(2):
        put_image(tmp_path / "in" / f"{i}.png")
    argv = ["detect", str(detector.folder), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    before = {p: p.read_bytes() for p in sorted((tmp_path / "out").rglob("[!.]*")) if p.is_file()}
    calls = []

    def interrupted(path: Path) -> np.ndarray:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return load_image(path)

    monkeypatch.setattr("duckdetect.inference.detect.load_image", interrupted)
    code = main(argv)
    assert {
        p: p.read_bytes() for p in sorted((tmp_path / "out").rglob("[!.]*")) if p.is_file()
    } == before
    assert code == 1
    assert "duckdetect: interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "stage"),
    [
        ("eval", "duckdetect.evaluation.evaluate.score_detections"),
        ("eval", "duckdetect.evaluation.evaluate.write_detections_json"),
        ("report", "duckdetect.report.write.render_html"),
        ("report", "duckdetect.report.pdf.render_pdf"),
        ("split --file", "duckdetect.data.split.image_hash"),
        ("split --file", "duckdetect.data.split.write_split_file"),
        ("split --out", "duckdetect.data.convert.shutil.copyfile"),
    ],
)
def test_an_interrupted_command_keeps_what_was_there(
    tmp_path: Path,
    project_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    stage: str,
) -> None:
    data, run = project_data / "ducks" / "train", tmp_path / "run"
    ducks = dd.load_dataset(data)
    monkeypatch.setattr("duckdetect.inference.detector.load_detector", lambda _: Guesser(ducks))
    argv = {
        "eval": ["eval", run, data],
        "report": ["report", run, "--data", data],
        "split --file": ["split", data, "--file", tmp_path / "s.json"],
        "split --out": ["split", data, "--overwrite", "--out", tmp_path / "s"],
    }[verb]
    put_run(run, ducks)
    given = [*map(str, argv), "--quiet"]
    assert main(given) == 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, interrupted)
    capsys.readouterr()
    seed = ["--seed", "1"] if "split" in verb else []
    assert main([*given, *seed]) == 1
    assert capsys.readouterr().err.strip() == "duckdetect: interrupted"
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_what_is_no_input_of_detect(
    tmp_path: Path, refused: Callable[..., str], detector: SimpleNamespace
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    out = tmp_path / "out"
    assert "holds no pictures" in refused(
        "detect", detector.folder, tmp_path / "empty", "--out", out
    )
    assert "notes.txt" in refused("detect", detector.folder, tmp_path / "notes.txt", "--out", out)
    assert "holds no detector" in refused("detect", tmp_path, detector.data / "test", "--out", out)
    assert "give a number from 0 to 1" in refused(
        "detect", detector.folder, detector.data / "test", "--out", out, "--threshold", "7"
    )


def test_outputs_that_cannot_be_written(
    tmp_path: Path, refused: Callable[..., str], detector: SimpleNamespace
) -> None:
    image = put_image(tmp_path / "a.png")
    data = detector.data / "train"
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/duckdetect")):
        for argv in (
            ("detect", detector.folder, image),
            ("train", data, "--base", "ssd_mobilenet_v2", "--steps", 1),
        ):
            line = refused(*argv, "--out", out)
            assert str(out) in line
            assert "choose another" in line
    assert (tmp_path / "file").read_text() == "mine"


def test_another_run_is_not_trained_over(
    refused: Callable[..., str], detector: SimpleNamespace
) -> None:
    before = {p: p.read_bytes() for p in sorted(detector.folder.rglob("*")) if p.is_file()}
    argv = (
        "train",
        detector.data / "train",
        "--base",
        "ssd_mobilenet_v2",
        "--steps",
        6,
        "--masks",
        "no",
    )
    line = refused(*argv, "--out", detector.folder)
    assert (
        "holds another run (steps: 5 there, 6 here): choose another --out, or --overwrite it, or train "
        f"on from it: `duckdetect train {detector.folder}`" in line
    )
    after = {p: p.read_bytes() for p in sorted(detector.folder.rglob("*")) if p.is_file()}
    assert after == before


def test_evaluating_on_bad_data(
    tmp_path: Path, refused: Callable[..., str], detector: SimpleNamespace
) -> None:
    folder = put_coco(tmp_path / "data", [annotation([1, 1, 0, 9])])
    assert "annotation 1: box" in refused("eval", detector.folder, folder)
    assert "holds no detector" in refused("eval", tmp_path, detector.data / "test")
    damage("truncated", put_coco(tmp_path / "broken") / "a.jpg")
    # Its class is no duck of the detector's; make it one, so that the picture is what fails.
    path = tmp_path / "broken" / "_annotations.coco.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = detector.detector.classes[0]
    path.write_text(json.dumps(content))
    assert "a.jpg is damaged" in refused("eval", detector.folder, tmp_path / "broken")


# What stands in the odd pictures: the left half red, the right half blue.
def halves(size_hw: tuple[int, int]) -> np.ndarray:
    image = np.zeros((*size_hw, 3), np.uint8)
    image[:, : size_hw[1] // 2] = [220, 20, 20]
    image[:, size_hw[1] // 2 :] = [20, 20, 220]
    return image


def put_odd_images(folder: Path) -> dict[str, tuple[int, int]]:
    """Their sizes once upright, by stem."""
    folder.mkdir()
    image = Image.fromarray(halves((120, 200)))
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6  # stored a quarter turn to the left
    image.rotate(90, expand=True).save(folder / "exif.jpg", exif=turned, quality=95)
    clear = np.dstack([halves((120, 200)), np.full((120, 200), 255, np.uint8)])
    clear[:10, :, 3] = 0
    Image.fromarray(clear).save(folder / "alpha.png")
    deep = np.repeat(np.linspace(0, 65535, 200, dtype=np.uint16)[None], 120, axis=0)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(noise((1, 1))).save(folder / "dot.png")
    Image.fromarray(np.kron(halves((50, 100)), np.ones((100, 100, 1), np.uint8))).save(
        folder / "huge.png", compress_level=1
    )
    return {
        "cmyk": (120, 200), "exif": (120, 200), "alpha": (120, 200), "deep": (120, 200),
        "dot": (1, 1), "huge": (5000, 10000),
    }  # fmt: skip


def test_odd_images_come_out_right(tmp_path: Path, detector: SimpleNamespace) -> None:
    sizes = put_odd_images(tmp_path / "in")
    out = tmp_path / "out"
    argv = ["detect", str(detector.folder), str(tmp_path / "in"), "--out", str(out)]
    # A threshold that keeps the frames bare, then one that keeps every box.
    assert main([*argv, "--threshold", "1"]) == 0
    for stem, size_hw in sizes.items():
        frame = load_image(out / "frames" / f"{stem}.jpg").astype(int)
        assert frame.shape == (*size_hw, 3), stem
        if stem in ("cmyk", "exif", "alpha", "huge"):
            height, width = size_hw
            left, right = frame[height // 2, width // 4], frame[height // 2, width * 3 // 4]
            np.testing.assert_allclose(left, [220, 20, 20], atol=25, err_msg=stem)
            np.testing.assert_allclose(right, [20, 20, 220], atol=25, err_msg=stem)
    assert load_image(out / "frames" / "alpha.jpg")[2, 2].min() > 240
    deep = load_image(out / "frames" / "deep.jpg")[60, :, 0]
    np.testing.assert_allclose(deep, np.linspace(0, 255, 200), atol=6)
    with Image.open(out / "detections.gif") as animation:
        assert animation.n_frames == len(sizes)
        assert max(animation.size) <= 480

    (tmp_path / "in" / "huge.png").unlink()  # 300 boxes on 50 megapixels take seconds to draw
    del sizes["huge"]
    assert main([*argv, "--threshold", "0"]) == 0
    entries = json.loads((out / "detections.json").read_text())
    by_stem: dict[str, list[Any]] = {stem: [] for stem in sizes}
    for entry in entries:
        by_stem[Path(entry["file_name"]).stem].append(entry["bbox"])
    assert by_stem["cmyk"]
    for stem, (height, width) in sizes.items():
        for x, y, w, h in by_stem[stem]:
            assert min(x, y) >= 0
            assert min(w, h) > 0
            assert x + w <= width * (1 + 1e-6)
            assert y + h <= height * (1 + 1e-6)


@pytest.mark.parametrize("odd", [None, 3, 1.5, b"x", [], {}, "a\0b", ""], ids=repr)
def test_what_is_no_path_is_said_to_be_none(odd: Any, tmp_path: Path) -> None:
    """By whatever function of the package that takes one."""
    calls: list[Callable[[], Any]] = [
        lambda: dd.write_report(odd),
        lambda: dd.load_dataset(odd),
        lambda: dd.load_detector(odd),
        lambda: dd.evaluate(odd, tmp_path),
        lambda: dd.data.load_image(odd),
        lambda: dd.data.list_images(odd),
    ]
    for call in calls:
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)
    if odd not in (None, {}):
        with pytest.raises(UserError, match="config is"):
            dd.train(tmp_path, config=odd)


def test_ctrl_c_while_the_command_line_is_still_imported() -> None:
    code = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'duckdetect.cli.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from duckdetect.cli import main\n"
        "sys.exit(main(['-h']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "duckdetect: interrupted\n")
