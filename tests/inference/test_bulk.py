"""Very many pictures: each is detected on once, whatever happens to the run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from duckdetect.errors import UserError
from duckdetect.imaging.io import load_image
from duckdetect.inference import bulk as bulk_module
from duckdetect.inference.bulk import (
    Worker,
    _count,
    _done,
    _file_system,
    _load,
    _Shards,
    _table,
    bulk,
    list_source,
)
from duckdetect.inference.detections_json import read_detections
from duckdetect.inference.detector import load_detector

pq = pytest.importorskip("pyarrow.parquet", reason='needs pip install "duckdetect[bulk]"')
pytest.importorskip("ray", reason='needs pip install "duckdetect[bulk]"')


RUNS = Path(__file__).parents[1] / "fixtures" / "v0_1_0" / "project" / "runs"
N = 60


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, project_data):
    """N pictures in two folders, one of them broken."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "below").mkdir()
    paths = sorted((project_data / "ducks" / "test").glob("*.jpg"))
    for i in range(N - 1):
        small = Image.open(paths[i % len(paths)]).resize((300, 300))
        small.save(folder / ("below" if i % 2 else "") / f"{i}.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (folder / "notes.txt").write_text("no picture")
    return folder


def rows_of(out: Path) -> list[dict]:
    return [
        row
        for path in sorted(out.glob("part-*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_a_killed_run_is_completed_and_finds_what_predict_finds(pictures, tmp_path, monkeypatch):
    out, run = tmp_path / "found", RUNS / "ssd"
    script = (
        "import duckdetect.inference.bulk as b; b._SHARD_ROWS, b._TASK = 8, 8\n"
        f"b.bulk({str(run)!r}, {str(pictures)!r}, {str(out)!r}, 0.2, workers=1, progress=False)"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    try:
        while not list(out.glob("part-*.parquet")):
            assert driver.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    (out / ".part-00099.parquet.half").write_bytes(b"PAR1")
    before = rows_of(out)
    assert 0 < len(before) < N

    # In a process of its own, for Ray leaves processes to be collected later.
    done = subprocess.run(
        [sys.executable, "-m", "duckdetect", "bulk", run, pictures, "-o", out, "-t", "0.2",
         "--workers", "1", "--to", "coco", "--trust", "--json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    done = json.loads(done.stdout)
    rows = rows_of(out)
    assert rows[: len(before)] == before
    assert (done["images"], done["new"], done["failed"]) == (N, N - len(before), 1)
    assert sorted(row["path"] for row in rows) == list_source(pictures)[0]
    (broken,) = (row for row in rows if row["error"])
    assert broken["path"].endswith("broken.jpg")
    assert "damaged" in broken["error"]

    detector = load_detector(run)
    assert done["detections"] > 0
    for row in rows[:5] + rows[-5:]:
        if row["error"]:
            continue
        wanted = detector.predict(load_image(row["path"]), 0.2)
        np.testing.assert_allclose(row["scores"], wanted.confidence, atol=1e-4)
        np.testing.assert_allclose(np.reshape(row["boxes"], (-1, 4)), wanted.xyxy, atol=0.1)
        assert row["classes"] == wanted.data["class_name"].tolist()
    joined = read_detections(done["json"])
    assert sum(len(found) for _, _, found in joined) == done["detections"]

    again = bulk(run, pictures, out, 0.2, progress=False)  # Ray is not even started
    assert (again.images, again.new) == (N, 0)
    with pytest.raises(UserError, match="was begun with another threshold"):
        bulk(run, pictures, out, 0.123, progress=False)
    shutil.copy(rows[0]["path"], pictures / "broken.jpg")  # repaired: its row is tried again
    bulk_module._forget_outdated(
        out, [row["path"] for row in rows[:5]]
    )  # but not of other pictures
    assert len(rows_of(out)) == N
    bulk_module._forget_outdated(out, list_source(pictures)[0])
    assert sorted(row["path"] for row in rows_of(out)) == sorted(
        row["path"] for row in rows if not row["error"]
    )
    with pytest.raises(UserError, match="which is not of `bulk`"):
        bulk(run, pictures, pictures, progress=False)
    # A file that was put in another's place, with the time that it had elsewhere, and one that is gone.
    replaced = Path(rows_of(out)[0]["path"])
    shutil.copy2(rows[5]["path"], replaced)
    bulk_module._forget_outdated(out, list_source(pictures)[0])
    assert str(replaced) not in {row["path"] for row in rows_of(out)}
    assert len(rows_of(out)) == N - 2
    monkeypatch.setattr(bulk_module, "_detected", lambda *_: iter(()))
    (first, *_) = (row["path"] for row in rows_of(out) if row["scores"])
    gone = Path(first)
    gone.rename(tmp_path / "gone.jpg")
    kept = bulk(run, pictures, out, 0.2, to="coco", progress=False)
    (note,) = kept.notes
    assert note.startswith(f"1 picture of earlier runs is not in {pictures} any more; {out} keeps")
    joined = read_detections(kept.json)
    assert sum(len(found) for _, _, found in joined) == kept.detections > 0
    assert str(gone) in {name for _, name, _ in joined}
    assert len({number for number, _, _ in joined}) == len({name for _, name, _ in joined})
    (tmp_path / "gone.jpg").rename(gone)


def test_sources(pictures, tmp_path):
    assert len(list_source(pictures)[0]) == N
    assert len(list_source(f"file://{pictures}")[0]) == N
    listed = tmp_path / "list.txt"
    listed.write_text("b.jpg\na.jpg\n\nb.jpg\n")
    note = "1 picture is given twice: each is looked at once"
    assert list_source(listed) == (["a.jpg", "b.jpg"], (note,))
    listed.write_bytes(b"\xef\xbb\xbfa.jpg\r\n")  # as Windows' editors save it
    assert list_source(listed) == (["a.jpg"], ())
    (tmp_path / "odd").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd/\xff.jpg")).write_bytes(b"")
    assert list_source(tmp_path / "odd")[0] == [
        rf"{tmp_path}/odd/\udcff.jpg"
    ]  # a table can hold that
    (tmp_path / "named").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "named" / "picture", format="JPEG")  # by no ending
    (tmp_path / "named" / "notes").write_text("no picture")
    assert list_source(tmp_path / "named") == ([str(tmp_path / "named" / "picture")], ())
    with pytest.raises(UserError, match="holds no pictures"):
        list_source(f"file://{tmp_path / 'named'}")
    Image.new("RGB", (8, 8)).save(tmp_path / "named" / "other.jpg")
    found, (note,) = list_source(f"file://{tmp_path / 'named'}")
    assert len(found) == 1
    assert note == "2 files have no picture's ending and are left out"
    assert _load("file:///dev/zero") == "file:///dev/zero is no file"
    for wrong in ("", None, "nowhere", "s4://bucket", tmp_path / "empty", pictures / "broken.jpg"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError):
            list_source(wrong)


def test_the_same_paths_of_another_place_are_another_source(tmp_path, monkeypatch):
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
    (tmp_path / "list.txt").write_text("a.jpg")
    (tmp_path / "today").symlink_to(tmp_path / "monday")
    monkeypatch.chdir(tmp_path / "monday")
    sources = ".", "../today", "../list.txt"
    folder, link, listed = map(bulk_module._place_of, sources)
    assert folder == link == str(tmp_path / "monday")
    monkeypatch.chdir(tmp_path / "tuesday")
    (tmp_path / "today").unlink()
    (tmp_path / "today").symlink_to(tmp_path / "tuesday")
    for before, source in zip((folder, link, listed), sources, strict=True):
        assert bulk_module._place_of(source) != before
    assert bulk_module._place_of("s3://bucket/a") == "s3://bucket/a"


def test_what_an_earlier_run_left_is_looked_at(tmp_path):
    run = RUNS / "ssd"
    settings = {"run": str(run), "detector": bulk_module._weights_sum(run), "threshold": 0.5}
    bulk_module._begin(tmp_path, settings)
    bulk_module._begin(tmp_path, settings)
    with pytest.raises(UserError, match="begun with another detector"):
        bulk_module._begin(tmp_path, {**settings, "detector": "trained again"})
    kept = tmp_path / "bulk.json"
    kept.write_text(json.dumps({k: v for k, v in settings.items() if k != "detector"}))
    bulk_module._begin(tmp_path, settings)  # as earlier versions wrote it
    kept.write_text("[" * 200_000)
    with pytest.raises(UserError, match=r"nested too deeply\): choose another --out"):
        bulk_module._begin(tmp_path, settings)
    kept.unlink()
    os.mkfifo(kept)
    with pytest.raises(UserError, match="is a pipe"):
        bulk_module._begin(tmp_path, settings)


@pytest.mark.parametrize("column", ["scores", "boxes", "masks", "error"])
def test_a_shard_of_another_shape_is_named(tmp_path, column):
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {
        "path": "a.jpg", "width": 9, "height": 9, "boxes": [[1.0, 2.0, 3.0, 4.0]], "scores": [0.5],
        "class_ids": [0], "classes": ["duck"], "masks": None, "error": None,
    }  # fmt: skip
    shard = tmp_path / "part-00001.parquet"
    pq.write_table(_table([row]), shard)
    assert len(list(bulk_module._records(tmp_path, {"a.jpg": 0}, 1))) == 1

    def told(changed):
        pq.write_table(pa.Table.from_pylist([changed]), shard)
        found = []
        for read in (
            bulk_module._count,
            lambda out: list(bulk_module._records(out, {"a.jpg": 0}, 1)),
        ):
            try:
                read(tmp_path)
            except UserError as error:  # and no other
                found.append(str(error))
        return found

    for odd in ("x", [[1.0, 2.0, 3.0]], [["["]]):
        told({**row, column: odd})
    missing = told({key: value for key, value in row.items() if key != column})
    assert f"{shard} is damaged: remove it, and give the same command again" in missing[0]


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [float("nan")]},
        {"scores": [1.5]},
        {"boxes": [[1.0, float("inf"), 3.0, 4.0]]},
        {"boxes": None},
        {"class_ids": [1]},
        {"class_ids": [-1]},
        {"masks": ["[1, 2]"]},
        {"masks": ['{"size": [1, 1], "counts": "0"}']},
        {"masks": ['{"size": [9, 9], "counts": "zzzz"}']},
        {},
    ],
)
def test_a_shard_that_says_what_no_detector_finds_is_named(tmp_path, change):
    """As damaged, not as a traceback or detections of a class that is none; {}: a picture twice."""
    import pyarrow.parquet as pq

    row = {
        "path": "a.jpg", "width": 9, "height": 9, "boxes": [[1.0, 2.0, 3.0, 4.0]], "scores": [0.5],
        "class_ids": [0], "classes": ["duck"], "masks": None, "error": None,
    }  # fmt: skip
    rows = [{**row, **change}] if change else [row, row]
    pq.write_table(_table(rows), tmp_path / "part-00001.parquet")
    with pytest.raises(UserError, match=r"part-00001.parquet is damaged: remove it"):
        list(bulk_module._records(tmp_path, {"a.jpg": 0}, 1))


def test_addresses_are_read_and_a_bad_batch_is_taken_apart(pictures, monkeypatch):
    run = str(RUNS / "mask_rcnn")
    settings = {"run": run, "threshold": 0.1, "fast": False, "masks": True}
    worker = Worker(settings, 1)
    paths = [f"file://{pictures}/0.jpg", str(pictures / "2.jpg"), str(pictures / "gone.jpg")]
    found = worker(_table([{"path": path} for path in paths])).to_pylist()
    assert [row["path"] for row in found] == paths
    assert [bool(row["error"]) for row in found] == [False, False, True]
    assert (found[0]["width"], found[0]["height"]) == (300, 300)
    assert json.loads(found[0]["masks"][0])["size"] == [300, 300]

    predict = worker._detector.predict

    def fussy(images, *args, **more):
        if len(images) > 1:
            raise MemoryError("too much")
        return predict(images, *args, **more)

    monkeypatch.setattr(worker._detector, "predict", fussy)
    assert worker(_table([{"path": path} for path in paths])).to_pylist() == found


def test_shards_appear_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("duckdetect.inference.bulk._SHARD_ROWS", 3)
    shards = _Shards(tmp_path)
    for i in range(5):
        shards.add(_table([{"path": str(i), "masks": [json.dumps({"size": [1, 1]})]}]))
    assert [p.name for p in tmp_path.iterdir()] == ["part-00001.parquet"]
    shards.flush()
    assert [row["path"] for row in rows_of(tmp_path)] == list("01234")


def test_a_damaged_shard_that_was_removed_takes_no_other_with_it(tmp_path):
    for i in range(3):
        shards = _Shards(tmp_path)
        shards.add(_table([{"path": str(i)}]))
        shards.flush()
    (tmp_path / "part-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"part-00002.parquet is damaged: remove it, and give"):
        _done(tmp_path)
    (tmp_path / "part-00002.parquet").unlink()
    assert _done(tmp_path) == {"0", "2"}
    shards = _Shards(tmp_path)
    shards.add(_table([{"path": "1"}]))
    shards.flush()
    assert _done(tmp_path) == {"0", "1", "2"}


def test_google_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import fs

    asked: list[str] = []

    def from_uri(address: str) -> tuple[str, str]:
        asked.append(address)
        return "system", "bucket/a.jpg"

    monkeypatch.setattr(fs, "FileSystem", SimpleNamespace(from_uri=from_uri))
    for address in ("gs://bucket/a.jpg", "gs://bucket/a.jpg?retry_limit_seconds=5", "s3://b/a.jpg"):
        assert _file_system(address) == ("system", "bucket/a.jpg")
    assert asked == ["gs://bucket/a.jpg?retry_limit_seconds=30", *asked[1:]]
    assert asked[1:] == ["gs://bucket/a.jpg?retry_limit_seconds=5", "s3://b/a.jpg"]


def test_few_pictures_are_read_ahead_and_stamped_before(tmp_path, monkeypatch):
    """All of a task's would take gigabytes; a file replaced while it is read is looked at again."""
    paths = [str(tmp_path / f"{i}.jpg") for i in range(40)]
    for path in paths:
        Path(path).write_bytes(b"old")
    loaded = []

    def load(path):
        loaded.append(path)
        Path(path).write_bytes(b"replaced")
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(bulk_module, "_load", load)
    taken = 0
    for taken, one in enumerate(bulk_module._pictures(paths), 1):
        assert one.path == paths[taken - 1]
        assert one.stamp.startswith("3 ")
        assert len(loaded) <= taken + bulk_module._READERS
    assert taken == 40
    assert bulk_module._row(one, None, "broken")["file"] == one.stamp


def test_folders_that_are_not_looked_into_are_told(pictures, tmp_path, monkeypatch):
    shutil.copytree(pictures, tmp_path / "tree" / "a")
    (tmp_path / "tree" / "linked").symlink_to(pictures)
    (tmp_path / "tree" / "locked").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):  # as root may read all
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, notes = list_source(tmp_path / "tree")
    assert found
    assert all("/a/" in path for path in found)
    assert notes == (
        f"1 folder may not be read ({tmp_path / 'tree' / 'locked'})",
        f"1 folder is linked, and not looked into ({tmp_path / 'tree' / 'linked'})",
    )


def test_a_list_is_parted_at_line_ends_alone(tmp_path):
    (tmp_path / "list.txt").write_bytes("a\u2028b.jpg\r\nc.jpg\rd.jpg\n".encode())
    assert list_source(tmp_path / "list.txt")[0] == ["a\u2028b.jpg", "c.jpg", "d.jpg"]


def test_a_copy_of_a_shard_under_another_name_is_none(tmp_path):
    shards = _Shards(tmp_path)
    shards.add(_table([{"path": "a", "scores": [0.5]}]))
    shards.flush()
    shutil.copy(tmp_path / "part-00001.parquet", tmp_path / "part-00001 copy 2.parquet")
    assert _done(tmp_path) == {"a"}
    assert _count(tmp_path) == (1, 1, 0)
