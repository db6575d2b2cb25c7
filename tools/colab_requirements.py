"""Compares this Python's packages with Colab's own list; tools/test_colab.sh runs it.

    python tools/colab_requirements.py constraints FREEZE   Colab's versions as a pip constraint file
    python tools/colab_requirements.py extra FREEZE         what is installed and Colab does not have
    python tools/colab_requirements.py check FREEZE         fails where a version is not Colab's

FREEZE is what `pip freeze` prints on Colab. Runs on any Python 3.11 or later without packages.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def normalised(name: str) -> str:
    """A package's name as pip compares names: `tf_keras` and `TF-Keras` are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_freeze(path: Path) -> dict[str, str]:
    """Versions of a `pip freeze` list by normalised name; "" where it gives an address instead.

    Raises:
        ValueError: If a line is neither `name==version` nor `name @ address`, by number.
    """
    versions = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = re.fullmatch(r"([A-Za-z0-9][\w.-]*)(?:==(\S+)| @ \S+)", text)
        if not found:
            raise ValueError(f"{path} line {number}: {text!r} is no line of `pip freeze`")
        versions[normalised(found[1])] = found[2] or ""
    return versions


def constraints(colab: Mapping[str, str]) -> list[str]:
    """Lines of a pip constraint file; what Colab has from an address is on no registry."""
    return [f"{name}=={version}" for name, version in sorted(colab.items()) if version]


def extra(colab: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """Names that are installed and not part of Colab."""
    return sorted(set(installed) - set(colab))


def differences(colab: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """One line for each package whose version is not the one that Colab has."""
    return [
        f"{name}: {version} is installed, Colab has {colab[name]}"
        for name, version in sorted(installed.items())
        if colab.get(name) and colab[name] != version
    ]


def installed_versions() -> dict[str, str]:
    """This Python's packages by normalised name."""
    found = importlib.metadata.distributions()
    return {normalised(d.metadata["Name"]): d.version for d in found}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the three commands; 0, or 1 if `check` finds a difference, 2 for a wrong call."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 2 or arguments[0] not in ("constraints", "extra", "check"):
        print(__doc__, file=sys.stderr)
        return 2
    command, colab = arguments[0], read_freeze(Path(arguments[1]))
    if command == "constraints":
        print("\n".join(constraints(colab)))
        return 0
    installed = installed_versions()
    besides = extra(colab, installed)
    if command == "extra":
        print("\n".join(besides))
        return 0
    wrong = differences(colab, installed)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    named = ", ".join(f"{name} {installed[name]}" for name in besides) or "nothing"
    print(f"{len(installed) - len(besides)} packages as Colab has them; besides them: {named}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
