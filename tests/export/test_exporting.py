"""Each export detects what its original detects, says so, and is not written when it does not."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import duckdetect as dd
from duckdetect import UserError
from duckdetect.cli import main
from duckdetect.export import exporting
from duckdetect.export.exporting import export_detector
from duckdetect.imaging.geometry import pairwise_iou
from duckdetect.inference.suppression import PER_CLASS, Suppression
from duckdetect.training import threshold

ROOT = Path(__file__).parents[2]
NEEDS = 'pip install "duckdetect[export]"'
MODES = [{"per_class": False}, {"per_class": True}, {"per_class": False, "iou": 0.3}]


def assert_same(found, wanted, score_atol, box_atol_px):
    np.testing.assert_allclose(found.confidence, wanted.confidence, atol=score_atol)
    np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=box_atol_px)
    np.testing.assert_array_equal(found.class_id, wanted.class_id)


@pytest.mark.parametrize("mode", MODES)
def test_tflite_in_float32_is_the_same_detector(tflite, original, images, mode):
    light = dd.load_detector(tflite.path)
    assert isinstance(light, dd.Detector)
    assert (light.classes, light.threshold) == (original.classes, original.threshold)
    assert light.suppression == original.suppression
    light, wanted = light.changed(**mode), original.changed(**mode)
    for image in images[2:]:
        assert_same(light.predict(image, 0.05), wanted.predict(image, 0.05), 1e-4, 0.1)


def test_the_modes_differ_on_these_pictures(original, images):
    """Else the test above would compare nothing."""
    counts = [[len(original.changed(**m).predict(i, 0.05)) for i in images[2:]] for m in MODES]
    assert counts[0] != counts[1]
    assert counts[0] != counts[2]


def test_its_parity_is_measured_and_kept(tflite):
    kept = json.loads(tflite.parity_path.read_text())
    (train,) = kept["sets"]
    assert train["name"] == "train"
    assert train["images"] == 5
    assert train["lost"] == train["gained"] == 0
    assert train["score_max"] < 1e-4
    assert train["ap_after"] == pytest.approx(train["ap_before"], abs=1e-6)
    assert kept["bytes_after"] == tflite.path.stat().st_size
    assert kept["problems"] == []
    assert "lost 0, gained 0" in tflite.parity.table()


def test_the_file_alone_is_enough(tflite):
    """Labels and settings as TFLite's convention has them, read with a ZIP reader and flatbuffers."""
    from ai_edge_litert import schema_py_generated as schema

    with zipfile.ZipFile(tflite.path) as archive:
        assert archive.read("labels.txt").decode().split("\n")[:2] == ["rubber duck", "bath toy"]
        assert json.loads(archive.read("duckdetect.json"))["classes"] == ["rubber duck", "bath toy"]
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(tflite.path.read_bytes(), 0))
    (entry,) = [m for m in model.metadata if m.name == b"TFLITE_METADATA"]
    metadata = bytes(model.buffers[entry.buffer].data)
    assert metadata[4:8] == b"M001"
    for text in (b"labels.txt", b"duckdetect.json", b"image_high_resolution", b"rubber duck"):
        assert text in metadata


def test_eight_bits_at_one_scale(original, tflite, images, tmp_path, monkeypatch):
    """The smallest file; its scores move, so its threshold is chosen again."""
    pytest.importorskip("ai_edge_quantizer", reason=f"ai-edge-quantizer is not installed: {NEEDS}")
    monkeypatch.setattr(exporting, "_CALIBRATION", 5)
    monkeypatch.setattr(threshold, "_HELD_OUT", 4)
    exported = export_detector(
        original, tmp_path / "one.tflite", weights="int8", scales=1, accept=True
    )
    assert exported.path.stat().st_size < 0.3 * tflite.path.stat().st_size, "the heads are in float"
    light = dd.load_detector(exported.path)
    assert light.high_res_hw is None
    assert light.threshold == exported.parity.threshold_after
    (train,) = exported.parity.sets
    assert train.ap_after > train.ap_before - 0.1
    assert train.score_mean < 0.1, "scores are cut off"
    found, wanted = (d.predict(images[0], 0.01) for d in (light, original.changed(fast=True)))
    overlap = pairwise_iou(found.xyxy[:1], wanted.xyxy[:1])
    assert overlap[0, 0] > 0.7


def test_bulk_refuses_what_an_export_cannot_before_any_worker_starts(
    tflite, project_data, tmp_path
):
    pytest.importorskip("ray", reason="needs duckdetect[bulk]")
    from duckdetect.inference.bulk import bulk

    with pytest.raises(UserError, match="export one with --scales 1"):
        bulk(tflite.path, project_data / "ducks" / "train", tmp_path / "out", fast=True)
    assert not (tmp_path / "out").exists()


def test_onnx_is_the_whole_detector(original, images, tmp_path, monkeypatch, capfd):
    for module in ("tf2onnx", "onnxruntime", "onnx"):
        pytest.importorskip(module, reason=f"{module} is not installed: {NEEDS}")
    import onnx

    exported = export_detector(original, tmp_path / "duck.onnx", scales=1)
    model = onnx.load(exported.path)
    assert {node.domain for node in model.graph.node} == {""}
    assert model.opset_import[0].version == 18
    assert {p.key for p in model.metadata_props} == {
        "names",
        "duckdetect.json",
        "duckdetect.sha256",
    }
    light = dd.load_detector(exported.path)
    for mode in MODES:
        wanted = original.changed(fast=True, **mode)
        for image in images[2:]:
            found = light.changed(**mode).predict(image, 0.05)
            assert_same(found, wanted.predict(image, 0.05), 1e-4, 0.1)
    _assert_a_changed_weight_is_told(exported.path, tmp_path / "changed.onnx")
    _assert_an_empty_sum_is_none(exported.path, tmp_path / "empty.onnx")
    content = bytearray(exported.path.read_bytes())
    content[content.rindex(b'"classes"') + 1] = 0xE8  # no UTF-8
    (tmp_path / "damaged.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.onnx is broken"):
        dd.load_detector(tmp_path / "damaged.onnx")
    _assert_no_other_file_is_read(model, tmp_path, monkeypatch, capfd)


def _assert_no_other_file_is_read(model, folder, monkeypatch, capfd):
    """ONNX Runtime takes weights in other files from the folder that it runs in, and logs their names."""
    import onnx

    largest = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    weights = largest.raw_data
    (folder / "secret").write_bytes(weights)
    largest.ClearField("raw_data")
    largest.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "secret"), ("offset", "0"), ("length", str(len(weights)))):
        entry = largest.external_data.add()
        entry.key, entry.value = key, value
    del model.metadata_props[:]
    largest.name, name = "\x1b[2J", largest.name
    for node in model.graph.node:
        node.input[:] = [largest.name if each == name else each for each in node.input]
    (folder / "reaching.onnx").write_bytes(model.SerializeToString())
    monkeypatch.chdir(folder)
    capfd.readouterr()
    with pytest.raises(UserError, match=r"reaching\.onnx is broken"):
        dd.load_detector(folder / "reaching.onnx")
    assert "\x1b" not in capfd.readouterr().err


def _assert_a_changed_weight_is_told(exported, path):
    content = bytearray(exported.read_bytes())
    content[len(content) // 2] ^= 1  # weights are most of a file
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"changed since it was exported\): export it again"):
        dd.load_detector(path)


def _assert_an_empty_sum_is_none(exported, path):
    import onnx

    model = onnx.load(exported)
    (entry,) = (p for p in model.metadata_props if p.key == "duckdetect.sha256")
    entry.value = ""
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"changed since it was exported\): export it again"):
        dd.load_detector(path)


def test_a_changed_weight_is_told(tflite, tmp_path):
    _assert_a_changed_weight_is_told(tflite.path, tmp_path / "changed.tflite")


def test_threads_get_their_own_results(tflite, images):
    """LiteRT's interpreter is one: four threads got each other's boxes."""
    light = dd.load_detector(tflite.path)
    wanted = [light.predict(image, 0.05) for image in images]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda image: light.predict(image, 0.05), [*images] * 4))
    for one, other in zip(found, wanted * 4, strict=True):
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        np.testing.assert_array_equal(one.confidence, other.confidence)


def test_a_network_that_answers_nonsense_is_told_with_its_file(tflite, images, monkeypatch):
    light = dd.load_detector(tflite.path)

    def run(*_):
        raise TypeError("boxes of text")

    monkeypatch.setattr(light._runtime, "run", run)
    with pytest.raises(UserError, match=r"\.tflite is broken \(boxes of text\): export it again"):
        light.predict(images[0])


def test_a_file_of_before_there_were_check_sums_is_read(tflite, tmp_path):
    path = _with_about(tflite, tmp_path / "old.tflite", json.dumps)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["duckdetect.json"]
    assert dd.load_detector(path).classes


def test_a_saved_model_has_the_apis_signature(original, images, tmp_path):
    import tensorflow as tf

    exported = export_detector(original, tmp_path / "served", to="saved-model", scales=1)
    serve = tf.saved_model.load(str(exported.path)).signatures["serving_default"]
    for image in images[3:]:
        found = {k: v.numpy()[0] for k, v in serve(tf.constant(image[None])).items()}
        wanted = original.changed(fast=True).predict(image, 0.05)
        n = len(wanted)
        height, width = image.shape[:2]
        scale = np.array([height, width, height, width])
        np.testing.assert_allclose(found["detection_scores"][:n], wanted.confidence, atol=1e-4)
        boxes = found["detection_boxes"][:n] * scale
        np.testing.assert_allclose(boxes, wanted.xyxy[:, [1, 0, 3, 2]], atol=0.1)
        np.testing.assert_array_equal(found["detection_classes"][:n], wanted.class_id + 1)
        assert found["detection_scores"].shape == (100,)
        assert n <= found["num_detections"] <= 100


def test_a_saved_detector_runs_in_plain_tensorflow(run, original, images, tmp_path):
    """The ten lines of docs/, in a process that cannot import duckdetect."""
    Image.fromarray(images[4]).save(tmp_path / "a.png")
    script = ROOT / "docs" / "examples" / "plain_tensorflow.py"
    words = [str(script), str(run / "detector"), str(tmp_path / "a.png")]
    code = f"import runpy, sys; sys.modules['duckdetect'] = None; sys.argv = {words}\n"
    code += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    wanted = original.predict(images[4])
    assert len(lines) == len(wanted) > 0
    for line, name, score, xyxy in zip(
        lines, wanted["class_name"], wanted.confidence, wanted.xyxy, strict=True
    ):
        assert " ".join(line[:-5]) == name
        np.testing.assert_allclose([*map(float, line[-5:])], [score, *xyxy], atol=0.06)


def test_a_loaded_detector_is_saved_again(original, images, tmp_path):
    """With a signature of its own: another suppression, another number of scales."""
    import tensorflow as tf

    changed = original.changed(fast=True, per_class=True)
    changed.save(tmp_path / "again")
    serve = tf.saved_model.load(str(tmp_path / "again")).signatures["serving_default"]
    wanted = changed.predict(images[3], 0.05)
    found = serve(image=tf.constant(images[3]))
    n = len(wanted)
    np.testing.assert_allclose(found["scores"][:n], wanted.confidence, atol=1e-4)
    np.testing.assert_allclose(found["boxes"][:n], wanted.xyxy, atol=0.1)
    np.testing.assert_array_equal(found["class_ids"][:n], wanted.class_id)


@pytest.mark.parametrize(
    "suppression",
    [Suppression(), PER_CLASS, Suppression(iou=0.3), Suppression(per_class=True, iou=0.3)],
)
def test_the_graphs_suppression_is_the_detectors(suppression):
    import tensorflow as tf

    from duckdetect.inference.serving import rescored

    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, count = 40, int(rng.integers(0, 41))
        corner = rng.uniform(0, 0.5, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.5, (n, 2))], axis=1)
        boxes, score = boxes.astype(np.float32), np.sort(rng.random(n).astype(np.float32))[::-1]
        class_id = rng.integers(0, 3, n).astype(np.int32)
        wanted = suppression.rescore(boxes[:count], score[:count], class_id[:count])
        found = rescored(
            *map(tf.constant, (boxes, score.copy(), class_id, np.int32(count))), suppression
        )
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6)


def test_an_export_that_detects_worse_is_refused_unless_accepted(
    run, original, tflite, tmp_path, monkeypatch, capsys
):
    """The file is good, but what is detected with it sees pictures with x and y exchanged."""

    def broken(detector, part, *settings):
        part.write_bytes(tflite.path.read_bytes())
        light = dd.load_detector(tflite.path)
        right = light._runtime.run
        light._runtime.run = lambda inputs, *more: right(
            [one.transpose(1, 0, 2).copy() for one in inputs], *more
        )
        return light

    monkeypatch.setattr(exporting, "_write", broken)
    monkeypatch.setattr(exporting, "load_detector", lambda folder: original)
    compare, compared = exporting.compare, []

    def once(*given):
        if not compared:
            compared.append(compare(*given))
        return compared[0]

    monkeypatch.setattr(exporting, "compare", once)
    out = tmp_path / "bad.tflite"
    assert main(["export", str(run), "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert f"{out} was not written: AP on train fell by" in told.err
    assert "boxes off by" in told.out
    assert not out.exists()
    assert json.loads((tmp_path / "bad.tflite.refused.json").read_text())["problems"]
    assert not (tmp_path / "bad.tflite.parity.json").exists()
    assert main(["export", str(run), "--out", str(out), "--accept", "--json"]) == 0
    assert out.exists()
    told = capsys.readouterr()
    assert "accepted although" in told.err
    assert json.loads(told.out)["problems"]


def test_what_another_command_wrote_is_not_replaced(original, tmp_path):
    out = tmp_path / "duck.tflite"
    out.write_text("somebody's")
    with pytest.raises(UserError, match=r"not written by an earlier `duckdetect export`"):
        export_detector(original, out)
    assert out.read_text() == "somebody's"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"out": "duck.bin"}, "does not say what to export to"),
        ({"out": "duck.tflite", "to": "coreml"}, "no target 'coreml'"),
        ({"out": "duck.bin", "to": "onnx"}, "end its name in .onnx"),
        ({"out": "duck.onnx", "weights": "int8"}, "onnx has no int8 weights"),
        ({"out": "duck.tflite", "scales": 3}, "give 1 or 2"),
        ({"out": "duck.tflite", "data": "nowhere"}, "nowhere"),
    ],
)
def test_mistakes_are_told(original, tmp_path, settings, message):
    settings = {**settings, "out": tmp_path / settings["out"]}
    with pytest.raises(UserError, match=message):
        export_detector(original, **settings)


def test_a_missing_package_names_the_command(original, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r'needs ai-edge-litert.*: pip install "duckdetect\[export\]"'
    ):
        export_detector(original, tmp_path / "duck.tflite")


def test_detect_takes_the_file_and_loads_no_tensorflow(tflite, project_data, tmp_path):
    """The command line as a user gives it, in a process of its own."""
    code = (
        "import sys; from duckdetect.cli import main; code = main(sys.argv[1:]); "
        "heavy = [m for m in ('tensorflow', 'object_detection', 'tf_keras') if m in sys.modules]; "
        "print(heavy); sys.exit(code)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "detect", str(tflite.path),
         str(project_data / "ducks" / "train"), "--out", str(tmp_path / "new")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("[]\n")
    assert len(list((tmp_path / "new" / "frames").iterdir())) == 5


@pytest.mark.parametrize("name", ["duck.tflite", "duck.onnx"])
def test_foreign_and_broken_files_are_told(tflite, tmp_path, name):
    path = tmp_path / name
    with pytest.raises(UserError, match="is not there"):
        dd.load_detector(path)
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"no detector that duckdetect exported|is broken"):
        dd.load_detector(path)
    if name == "duck.tflite":
        path.write_bytes(b"x" + tflite.path.read_bytes()[1000:])
        with pytest.raises(UserError, match="is broken"):
            dd.load_detector(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_settings_are_told_however_they_are_compressed(tflite, tmp_path, method):
    path = _with_about(tflite, tmp_path / "a.tflite", json.dumps, method)
    assert dd.load_detector(path).classes
    content = bytearray(path.read_bytes())
    start = content.rindex(b"duckdetect.json", 0, content.rindex(b"PK\x01\x02"))
    for i in range(start + 40, start + 60):
        content[i] ^= 0x5A
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"no detector that duckdetect exported|is broken"):
        dd.load_detector(path)


def _with_about(tflite, path, text, method=zipfile.ZIP_STORED):
    """The exported file with other settings in it."""
    with zipfile.ZipFile(tflite.path) as archive:
        about = json.loads(archive.read("duckdetect.json"))
        n_network = min(one.header_offset for one in archive.infolist())
    path.write_bytes(tflite.path.read_bytes()[:n_network])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("duckdetect.json", text(about), method)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "newer duckdetect"),
        ({"classes": []}, "classes has 0 entries"),
        ({"classes": ["duck", "duck"]}, 'classes names "duck" twice'),
        ({"threshold": 7}, "threshold is 7"),
        ({"postprocess": None}, "does not say how boxes are suppressed"),
        ({"inputs": [{"size_hw": [1 << 30, 300]}]}, r"its size|it has no"),
        ({"input_names": ["image"]}, "2 inputs of 1 names"),
        ({"suppression": {"iou": 3}}, "iou is 3"),
    ],
)
def test_settings_of_a_stranger_are_checked(tflite, tmp_path, change, message):
    path = _with_about(tflite, tmp_path / "a.tflite", lambda a: json.dumps({**a, **change}))
    with pytest.raises(UserError, match=message):
        dd.load_detector(path)


def test_settings_that_do_not_fit_the_network_are_told(tflite, tmp_path, images):
    def smaller(about):
        one, other = about["inputs"]
        return json.dumps({**about, "inputs": [{**one, "size_hw": [9999, 9999]}, other]})

    with pytest.raises(UserError, match="its input image is not as it says"):
        dd.load_detector(_with_about(tflite, tmp_path / "a.tflite", smaller))
    for names in (["one"], ["one", "two", "three"]):
        path = _with_about(
            tflite, tmp_path / "b.tflite", lambda a, n=names: json.dumps({**a, "classes": n})
        )
        with pytest.raises(UserError, match=f"scores 2 classes and names {len(names)}"):
            dd.load_detector(path)


def test_settings_that_are_no_json_are_told(tflite, tmp_path):
    path = _with_about(tflite, tmp_path / "a.tflite", lambda a: "[" * 100_000)
    with pytest.raises(UserError, match=r"a\.tflite is broken"):
        dd.load_detector(path)


def test_an_exported_file_says_what_it_cannot_do(tflite, tmp_path, images):
    light = dd.load_detector(tflite.path)
    with pytest.raises(UserError, match="copy the file"):
        light.save(tmp_path / "detector")
    with pytest.raises(UserError, match="--scales 1"):
        light.changed(fast=True).predict(images[0])
    with pytest.raises(UserError, match="run's folder"):
        light.export(tmp_path / "again.tflite")
