"""A small HTTP server for tests: ranges, validators, and every way to go wrong on demand."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class FileServer:
    """Serves `files`; `requests` records (path, Range header or None) of each request.

    Attributes:
        etag: Sent with every file, unless None.
        ranges: Whether Range is honoured.
        cut_after: Bytes of a body after which the connection is closed; each request takes one.
        stall_after: Like `cut_after`, but the connection stays open and silent.
        status: An error to answer instead, for each request one.
        silent: Whether requests get no answer at all.
        ignore_if_range: A broken server: it continues a file that has changed.
        with_length: Whether Content-Length is sent.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.requests: list[tuple[str, str | None]] = []
        self.sent_bytes = 0
        self.etag: str | None = '"one"'
        self.ranges = True
        self.cut_after: list[int] = []
        self.stall_after: list[int] = []
        self.status: list[int] = []
        self.silent = False
        self.ignore_if_range = False
        self.with_length = True
        self._over = threading.Event()

    def __enter__(self) -> FileServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self) -> None:
        """Stay silent until the test is over."""
        self._over.wait(20)


def closed_address() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.requests.append((self.path, wanted))
            self.close_connection = True
            if server.silent:
                server.wait()
                return
            body = server.files.get(self.path)
            status = server.status.pop(0) if server.status else (404 if body is None else 0)
            if status or body is None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            first = 0
            fresh = self.headers.get("If-Range") in (None, server.etag) or server.ignore_if_range
            if wanted and server.ranges and fresh:
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if first >= len(body) > 0:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            if server.etag is not None:
                self.send_header("ETag", server.etag)
            if server.with_length:
                self.send_header("Content-Length", str(len(body) - first))
            self.end_headers()
            body = body[first:]
            cut = server.cut_after.pop(0) if server.cut_after else None
            stall = server.stall_after.pop(0) if server.stall_after else None
            end = next((n for n in (cut, stall) if n is not None), len(body))
            server.sent_bytes += len(body[:end])  # before the client, who may look at once, has it
            self.wfile.write(body[:end])
            self.wfile.flush()
            if stall is not None:
                server.wait()
            time.sleep(0)

    return Handler
