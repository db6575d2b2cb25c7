"""Roboflow's download: through a stand-in of its client, and the real one against a local server."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import types
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from helpers.labelled_folders import put_coco

import duckdetect as dd
from duckdetect.cli.app import main
from duckdetect.data import sources
from duckdetect.errors import UserError
from duckdetect.utils.outputs import MANIFEST, own_output

KEY = "aBcDeF123secret"


class Client(types.ModuleType):
    """The part of the client that is used; it notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__("roboflow")
        self.asked: list[Any] = []
        self.error: BaseException | None = None
        self.labels = True

    def Roboflow(self, api_key: str) -> Client:  # noqa: N802  (its name there)
        self.asked.append(api_key)
        return self

    def workspace(self, name: str) -> Client:
        print("loading Roboflow workspace...")
        self.asked.append(name)
        return self

    project = version = workspace

    def download(self, export: str, location: str, overwrite: bool) -> None:
        self.asked += [export, overwrite]
        put_coco(Path(location) / "train")
        if not self.labels:
            (Path(location) / "train" / "_annotations.coco.json").unlink()
        if self.error is not None:
            raise self.error


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    module = Client()
    monkeypatch.setitem(sys.modules, "roboflow", module)
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    return module


@pytest.mark.parametrize(
    "project",
    [
        "me/ducks/3",
        "/me/ducks/3/",
        "https://universe.example/me/ducks/dataset/3",
        "https://app.example/me/ducks/3?tab=images",
    ],
)
def test_a_version_is_downloaded(
    project: str, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["roboflow", project, "--out", str(tmp_path / "out")]) == 0
    assert client.asked == [KEY, "me", "ducks", 3, "coco", True]
    assert dd.load_dataset(tmp_path / "out").n_boxes == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{project} is in {tmp_path}/out; next: duckdetect check {tmp_path}/out"
    ]


def test_the_key_and_the_format_can_be_given(client: Client, tmp_path: Path) -> None:
    out = dd.data.download_roboflow("a/b/1", tmp_path / "out", "other", "coco-segmentation")
    assert client.asked == ["other", "a", "b", 1, "coco-segmentation", True]
    with pytest.raises(UserError, match="holds something already"):
        dd.data.download_roboflow("a/b/1", out)
    assert dd.data.download_roboflow("a/b/1", out, overwrite=True) == out


@pytest.mark.parametrize("project", ["", "ducks", "me/ducks", "me/ducks/three", "a/b/c/4"])
def test_names_that_are_none(project: str, client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no WORKSPACE/PROJECT/VERSION: give it as"):
        dd.data.download_roboflow(project, tmp_path / "out")


def test_without_a_key(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", " ")
    with pytest.raises(UserError, match="no API key of Roboflow: set ROBOFLOW_API_KEY"):
        dd.data.download_roboflow("a/b/1", tmp_path / "out")
    assert client.asked == []


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roboflow", None)
    with pytest.raises(UserError, match=r"client is not here .*: pip install 'duckdetect\[robof"):
        dd.data.download_roboflow("a/b/1", tmp_path / "out", KEY)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (requests.ConnectionError(f"no route to /?api_key={KEY}"), r"cannot be reached \(no route"),
        (requests.Timeout("slow"), r"cannot be reached \(slow\): check the network"),
        (
            RuntimeError('{"error": {"message": "This API\\nkey does not exist"}}'),
            "key does not exist",
        ),
        (
            RuntimeError("Version number 3 is not found."),
            r"does not give me/ducks/3 \(Version numb",
        ),
        (
            ValueError(f"https://x/?api_key={KEY}"),
            r"\(https://x/\?api_key=\.\.\.\): check the names",
        ),
        (SystemExit(1), "does not give me/ducks/3"),
        (KeyError("workspace"), "does not give me/ducks/3"),
        (RuntimeError("[" * 100_000), r"does not give me/ducks/3 \(\[\[\["),
    ],
)
def test_errors_are_one_line_without_the_key(
    error: BaseException, message: str, client: Client, tmp_path: Path
) -> None:
    client.error = error
    with own_output(tmp_path / "out", "roboflow") as part:  # as of an earlier call
        put_coco(part)
    with pytest.raises(UserError, match=message) as caught:
        dd.data.download_roboflow("me/ducks/3", tmp_path / "out", overwrite=True)
    assert KEY not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    # What was there stays, and nothing half-done is left.
    assert dd.load_dataset(tmp_path / "out").n_boxes == 1
    assert {p.name for p in tmp_path.iterdir()} == {"out", MANIFEST}


def test_a_key_is_left_out_as_addresses_have_it() -> None:
    error = ValueError("https://x/?api_key=aB%2FcD%2B&key=aB/cD+")
    told = sources._explain(error, "me/ducks/3", "aB/cD+")
    assert "api_key=...&key=..." in told


def test_an_export_without_labels(client: Client, tmp_path: Path) -> None:
    client.labels = False
    with pytest.raises(UserError, match="as 'coco' holds no labels: give the export of an object"):
        dd.data.download_roboflow("me/ducks/3", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """What of Roboflow's interface the client asks for."""
    put_coco(tmp_path / "export" / "train")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in (tmp_path / "export" / "train").iterdir():
            archive.write(path, f"train/{path.name}")
    version = {
        "id": "me/ducks/3", "name": "three", "created": 1.0, "images": 1, "splits": {},
        "augmentation": {}, "preprocessing": {}, "exports": ["coco"],
    }  # fmt: skip
    project = {
        "id": "me/ducks", "name": "ducks", "type": "object-detection", "annotation": "ducks",
        "classes": {}, "colors": {}, "created": 1.0, "updated": 1.0, "images": 1, "public": False,
        "splits": {}, "unannotated": 0,
    }  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            link = f"http://127.0.0.1:{self.server.server_address[1]}/export.zip"
            answers: dict[str, Any] = {
                "/": {"workspace": "me"},
                "/me": {"workspace": {"name": "me", "url": "me", "projects": []}},
                "/me/ducks": {"project": project, "versions": [version]},
                "/me/ducks/3": {"version": {**version, "generating": False, "progress": 1}},
                "/me/ducks/3/coco": {"export": {"link": link, "format": "coco"}},
            }
            status, body = 404, b'{"error": {"message": "not found"}}'
            if path == "/export.zip":
                status, body = 200, (tmp_path / "export.zip").read_bytes()
            elif f"api_key={KEY}" not in query:
                status, body = 401, b'{"error": {"message": "This API key does not exist"}}'
            elif path in answers:
                status, body = 200, json.dumps(answers[path]).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def test_the_real_client(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("roboflow") is None:
        pytest.skip("needs Roboflow's client: pip install 'duckdetect[roboflow]'")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("API_URL", server)
    for name in [n for n in sys.modules if n.partition(".")[0] == "roboflow"]:
        monkeypatch.delitem(sys.modules, name)
    dd.data.download_roboflow("me/ducks/3", tmp_path / "out", KEY)
    assert dd.load_dataset(tmp_path / "out").n_boxes == 1
    for project, key, message in (
        ("me/ducks/3", "wrongKey", "This API key does not exist"),
        ("me/geese/1", KEY, "not found"),
        ("me/ducks/4", KEY, "ersion"),
    ):
        with pytest.raises(UserError, match=message):
            dd.data.download_roboflow(project, tmp_path / "other", key)
