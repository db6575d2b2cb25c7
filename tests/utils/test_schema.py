"""Files of our own: whatever stands in them, a value that was checked or one line that helps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duckdetect.errors import UserError
from duckdetect.utils.reading import LFS_HEAD
from duckdetect.utils.schema import Fields, parse_json, read_json, read_yaml, rows_of, short

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def refusal(read: Callable[..., object], *arguments: object) -> str:
    """What is said of it, "" if it can be read."""
    try:
        read(*arguments)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is broken (it is empty): train again"),
        (b"{", "is broken (Expecting property name"),
        (b"[" * 100_000, "is broken (it is nested too deeply): train again"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "is broken (it holds a number of thousands of digits"),
        (b'{"a": NaN}', "is broken (NaN is not a number)"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b"\xff\xfe\x00", "is broken ("),
        (b"\x00" * 100, "is broken ("),
        (b'"\xed\xa0\x80"', "is broken ("),
        (b"[1]", "is broken (it holds [1], not an object): train again"),
    ],
)
def test_what_is_no_json_object(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, "train again")
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)


def test_missing_unreadable_and_too_large(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.json is missing: train again"):
        read_json(tmp_path / "a.json", "train again")
    with pytest.raises(UserError, match=r"is a folder: give a file"):
        read_json(tmp_path, "train again")
    (tmp_path / "b.json").write_text("{}" + " " * 100)
    with pytest.raises(UserError, match="more than any such file"):
        read_json(tmp_path / "b.json", "train again", limit=10)


def test_fields_of_the_right_kind() -> None:
    fields = Fields(
        {"t": "x", "n": 3, "f": 0.5, "b": True, "l": ["a", "b"], "w": [3, 4], "o": {"z": None}},
        "config.json",
        "train again",
    )
    assert (fields.text("t"), fields.whole("n"), fields.number("f")) == ("x", 3, 0.5)
    assert (fields.flag("b"), fields.texts("l"), fields.wholes("w", 2)) == (
        True,
        ("a", "b"),
        (3, 4),
    )
    assert fields.number("n") == 3.0
    assert fields.numbers("w", 2) == (3.0, 4.0)
    assert not fields.object("o").has("z")
    assert fields.whole("none", default=None) is None
    assert fields.text("none", default="x") == "x"
    with pytest.raises(UserError, match=r"config.json: o is broken \(it has no y\): train again"):
        fields.object("o").text("y")


@pytest.mark.parametrize("value", [None, True, [], {}, 1.5, "1", -1, 10**400, 2**60, float("inf")])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(UserError, match="is broken"):
        Fields({"n": value}, "x", "y").whole("n")


@settings(max_examples=200)
@given(JSON)
def test_no_value_is_a_traceback(value: object) -> None:
    fields = Fields({"k": value}, "x.json", "train again")
    for read in (
        fields.text,
        fields.whole,
        fields.number,
        fields.flag,
        fields.texts,
        fields.list,
        fields.object,
        lambda k: fields.wholes(k, 2),
        lambda k: fields.numbers(k, 4),
        lambda k: list(rows_of(fields.values[k], "x.json", "train again")),
    ):
        said = refusal(read, "k")
        assert not said or said.endswith(": train again")
        assert len(said) < 300


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode()))
def test_no_bytes_are_a_traceback(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    cure = ": train again"
    if content.startswith(LFS_HEAD):  # hypothesis takes constants of the code
        cure = "with `git lfs pull`"
    for read in (read_json, parse_json, read_yaml):
        said = refusal(read, path, "train again")
        assert not said or said.endswith(cure)


def test_deep_and_long_values_are_shown_short() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert short(deep) == "a list"
    assert short(list(range(9))) == "a list of 9 entries"
    assert len(short("x" * 9999)) == 60


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{n}: &{n} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n"
    for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB + "names: *i\n", r"uses YAML's aliases \(\*a\): export again"),
        ("[" * 20_000, "is nested too deeply|is not YAML"),
        ("- " * 20_000, "is nested too deeply"),
        ("{a: " * 5_000, "is nested too deeply|is not YAML"),
        ("names: [" + "x," * 600_000 + "]", "has 1.2 MB, more than a list of classes"),
        ("!!python/object/apply:os.system [id]", "is not YAML"),
        ("a: b: c", "is not YAML"),
        ("? [a]\n: b", "is not YAML|"),
        ("a: 9999-99-99", "is not YAML"),
        ("a: !!int x", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_yaml_that_is_a_trap(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(UserError, match=said):
        read_yaml(path, "export again")
    assert time.process_time() - start < 1


def test_yaml_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("names: [duck, 'no', é]\nnc: 3\ntrain: ../train/images\n", encoding="utf-8")
    assert read_yaml(path, "export again")["names"] == ["duck", "no", "é"]
