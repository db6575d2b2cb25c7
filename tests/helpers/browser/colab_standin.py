"""A small stand-in for what the box widget needs of Colab: `google.colab.output` and its page.

`Colab(monkeypatch)` puts the modules in place; what Python displays and evaluates is collected, and
`serve()` offers it as a page with Colab's JavaScript interface, calling the real Python callbacks.
"""

from __future__ import annotations

import contextlib
import http.server
import importlib
import json
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><link rel="icon" href="data:,"></head>
<body style="font-family: sans-serif">
<div id="output-area"></div>
<script>
window.errors = [];
window.addEventListener("error", e => window.errors.push(e.message));
window.addEventListener("unhandledrejection", e => window.errors.push(String(e.reason)));
window.calls = 0;
const google = {colab: {
  output: {setIframeHeight() {}},
  kernel: {async invokeFunction(name, args, kwargs) {
    const body = JSON.stringify({name, args, kwargs});
    const reply = await fetch("/invoke", {method: "POST", body});
    if (!reply.ok) throw new Error(await reply.text());
    const answer = await reply.json();
    window.calls += 1;
    return answer;
  }},
}};
</script>
SCRIPTS
</body></html>"""


class Colab:
    """The stand-in; `callbacks` and `scripts` are what Python has given to the page."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.callbacks: dict[str, Callable[..., Any]] = {}
        self.scripts: list[str] = []
        self.custom_widgets = False
        colab, output = types.ModuleType("google.colab"), types.ModuleType("google.colab.output")
        output.register_callback = self.callbacks.__setitem__
        output.eval_js = self.scripts.append
        output.redirect_to_element = lambda _: contextlib.nullcontext()
        output.enable_custom_widget_manager = lambda: setattr(self, "custom_widgets", True)
        colab.output = output
        monkeypatch.setitem(sys.modules, "google.colab", colab)
        monkeypatch.setitem(sys.modules, "google.colab.output", output)
        # It binds google.colab's names when it is imported: an earlier test's copy knows another.
        monkeypatch.delitem(sys.modules, "object_detection.utils.colab_utils", raising=False)
        colab_utils = importlib.import_module("object_detection.utils.colab_utils")
        monkeypatch.setattr(colab_utils, "display", self._display)

    def _display(self, thing: Any) -> None:
        # The callback displays a text as well; scripts alone matter to the page.
        if hasattr(thing, "data"):
            self.scripts.append(thing.data)

    def invoke(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What Colab's page gets from a callback: the result's data by MIME type."""
        result = self.callbacks[name](*args, **kwargs)
        return {"data": {"application/json": result.data}}

    def page(self) -> str:
        """The page as HTML."""
        scripts = "\n".join(f"<script>{script}</script>" for script in self.scripts)
        return _PAGE.replace("SCRIPTS", scripts)

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Serve the page on a free port; yields its address."""
        handler = type("Handler", (_Handler,), {"colab": self})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    colab: Colab

    def do_GET(self) -> None:
        self._answer(200, "text/html; charset=utf-8", self.colab.page())

    def do_POST(self) -> None:
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            answer = self.colab.invoke(call["name"], call["args"], call["kwargs"])
        except Exception as error:  # as Colab does, the page gets the error
            self._answer(500, "text/plain", f"{type(error).__name__}: {error}")
        else:
            self._answer(200, "application/json", json.dumps(answer))

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
