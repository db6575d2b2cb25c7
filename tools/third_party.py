"""Writes THIRD_PARTY.md and a bill of materials from the lock files and the installed packages.

    .venv/bin/python tools/third_party.py                       # THIRD_PARTY.md
    .venv/bin/python tools/third_party.py --sbom results/sbom.json   # CycloneDX 1.5

Licences are read from each package's own metadata (PEP 639's License-Expression, else License, else
its classifiers); what a wheel carries inside, such as FFmpeg in PyAV's, NOTES says.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-odapi.txt")

NOTES = {
    "av": "The code is BSD; its wheels carry FFmpeg with x264 and x265, which are GPL-2.0-or-later.",
    "fpdf2": "LGPL-3.0: used as an installed package, unchanged; who ships it must let it be replaced.",
    "opencv-python-headless": "Apache-2.0; its wheels carry FFmpeg as LGPL-2.1 libraries.",
    "tqdm": "MPL-2.0 and MIT: changes to its own files would have to be published; there are none.",
    "namex": "Apache-2.0 by its repository.",
    "object-detection-by-ovi": "TensorFlow's Object Detection API, Apache-2.0 by its repository.",
    "certifi": "MPL-2.0: a list of certificates, unchanged.",
}

HEAD = """# Third-party software

Written by `tools/third_party.py` from the lock files; do not edit. duckdetect itself is Apache-2.0 and
contains none of these packages: `pip` installs them from their own authors.

## What that means for whoever ships it

- **Using duckdetect, or shipping its source or its wheel, asks for nothing beyond Apache-2.0**: a list
  of requirements is no copy of them.
- **Shipping an image, an app or a machine with everything installed** is shipping each of these
  packages, under its own licence. Two need attention:
  - **PyAV (`av`)**: the wheels from the package index contain FFmpeg built with x264 and x265, which are
    GPL-2.0-or-later. An image with that wheel must be shipped under the GPL's terms (offer the
    sources of what is linked to it), or with a PyAV built on an FFmpeg without these encoders; videos
    are then not written as H.264. H.264 and H.265 are patented in some countries, too.
  - **fpdf2**: LGPL-3.0. It is imported, not changed: name it, add its licence, and let users replace it.
- The weights that `duckdetect fetch` brings are the TensorFlow authors' (Apache-2.0), trained on COCO,
  whose photos are under their own licences.
- `make sbom` writes a CycloneDX bill of materials with versions and check sums; `make audit` asks for
  known vulnerabilities.

## Packages

| package | licence, as its metadata say | note |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Package:
    """A locked package."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str


def locked() -> list[Package]:
    """The packages of the lock files that are installed here, by name."""
    found: dict[str, Package] = {}
    for lock in LOCKS:
        text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            match = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line)
            if not match:
                continue
            name = re.sub(r"[-_.]+", "-", match[1]).lower()
            hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
            try:
                installed = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                installed = None  # for another Python or system
            # Of two versions, for two Pythons, the one that is here.
            if name not in found or match[2] == installed:
                found[name] = Package(name, match[2], hashes, licence(name))
    return [found[name] for name in sorted(found)]


def licence(name: str) -> str:
    """A package's licence in a few words."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed here"
    said = about.get("License-Expression") or about.get("License") or ""
    said = " ".join(said.split())
    classifiers = [
        entry.rpartition(" :: ")[2]
        for entry in about.get_all("Classifier") or []
        if entry.startswith("License :: ") and entry != "License :: OSI Approved"
    ]
    if not said or len(said) > 60:  # some put the whole text there
        said = ", ".join(classifiers) or said[:57] + "..." * bool(said)
    return "not said" if said in ("", "UNKNOWN") else said


def third_party(packages: list[Package]) -> str:
    """The text of THIRD_PARTY.md."""
    rows = [
        f"| {p.name} | {p.licence.replace('|', '/')} | {NOTES.get(p.name, '')} |" for p in packages
    ]
    return HEAD + "\n".join(rows) + "\n"


def sbom(packages: list[Package]) -> dict[str, object]:
    """A CycloneDX 1.5 bill of materials; the same packages give the same bill."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{p.name}@{p.version}",
            "name": p.name,
            "version": p.version,
            "purl": f"pkg:pypi/{p.name}@{p.version}",
            "licenses": [{"license": {"name": p.licence}}],
            # One for each wheel of that version; those of other systems are listed, too.
            "properties": [{"name": "sha256", "value": value} for value in p.hashes],
        }
        for p in packages
    ]
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "duckdetect"}},
        "components": components,
    }


def main() -> None:
    """Write one or the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sbom", type=Path, help="Write the bill of materials there instead.")
    arguments = parser.parse_args()
    packages = locked()
    if arguments.sbom:
        arguments.sbom.parent.mkdir(parents=True, exist_ok=True)
        arguments.sbom.write_text(json.dumps(sbom(packages), indent=1) + "\n", encoding="utf-8")
    else:
        (ROOT / "THIRD_PARTY.md").write_text(third_party(packages), encoding="utf-8")


if __name__ == "__main__":
    main()
