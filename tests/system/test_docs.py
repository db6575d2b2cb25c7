"""What the documentation says of the code: the path through the heart, links, the README's length."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def test_the_path_through_the_heart_is_as_long_as_it_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+\.py)` \| (\d+) \|", page, re.MULTILINE)
    assert len(rows) > 10
    total = 0
    for name, said in rows:
        n = len((ROOT / "duckdetect" / name).read_text(encoding="utf-8").splitlines())
        assert int(said) == pytest.approx(n, rel=0.1, abs=25), "python tools/make_docs.py --drawing"
        total += int(said)
    sum_said = re.search(r"\*\*([\d,]+) lines\*\*", page)
    assert sum_said is not None
    assert int(sum_said[1].replace(",", "")) == total


def test_every_room_is_on_the_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {p.parent.name for p in (ROOT / "duckdetect").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_links_to_headings_lead_to_one() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
            for line in text.splitlines()
            if line.startswith("#")
        }
        for anchor in re.findall(r"\]\(#([^)]+)\)", text):
            assert anchor in headings, f"{page.name}: #{anchor}"


def test_the_readme_fits_two_screens() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 110


def test_the_address_to_clone_is_the_one_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project["urls"]["Repository"]
    own = address.rpartition("github.com/")[2]
    said: dict[Path, list[str]] = {}
    for page in [*PAGES, *ROOT.glob("*.ipynb"), *ROOT.glob("docs/*.ipynb")]:
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"git clone (?:--\S+ )*(https\S+)", text)
        found += re.findall(r'REPOSITORY = \\?"(.*?)\\?"', text)
        found += [
            address.replace(own, name)
            for name in re.findall(r"research\.google\.com/github/([\w-]+/[\w-]+)", text)
        ]
        assert set(found) <= {address}, page.name
        said[page] = found
    assert all(len(said[ROOT / name]) == 2 for name in ("README.md", "model.ipynb", "people.ipynb"))


def test_every_picture_is_on_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in [*ROOT.glob("docs/*.png"), *ROOT.glob("docs/*.jpg")]:
        assert f"{picture.name})" in pages, picture.name


@pytest.mark.parametrize("name", ["model", "people"])
def test_the_executed_copy_is_of_the_notebook(name: str) -> None:
    """`python tools/make_docs.py --notebooks` writes it again."""
    paths = (ROOT / f"{name}.ipynb", ROOT / "docs" / f"{name}_executed.ipynb")
    ours, executed = (
        {cell["id"]: "".join(cell["source"]) for cell in json.loads(p.read_text("utf-8"))["cells"]}
        for p in paths
    )
    # The copy is made without the zoo.
    field = re.compile("^BASE = .*$", re.MULTILINE)
    assert list(ours) == list(executed)
    for cell, source in ours.items():
        assert field.sub("", source) == field.sub("", executed[cell]), cell
