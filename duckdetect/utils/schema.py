"""Files of our own, read with a schema: every field checked, errors that say what, where and the cure.

    fields = read_json(path, cure="train the run again")
    name = fields.text("base")
    steps = fields.object("train").whole("steps", least=1)

A file may be cut off, edited, or made by a stranger: whatever stands in it, reading it gives checked
values or a `UserError` of one line, never a traceback, an endless loop or a full memory. Labels that
users bring are read more patiently by data/formats; YAML has its own bounded reader here, `read_yaml`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from duckdetect.errors import UserError
from duckdetect.utils.reading import read_bytes, refuse_pipes

MAX_JSON_BYTES = 2 << 30
"""No file of ours comes near this; COCO's own training labels have 0.5 GB."""
MAX_YAML_BYTES = 1 << 20
"""A data.yaml of 1,203 classes (LVIS) has 30 kB; YAML is read slowly."""
_MAX_YAML_DEPTH = 20
_MAX_SHOWN = 60
# Larger whole numbers are nobody's size, id or count, and do not fit an int64.
_MOST_WHOLE = 2**53


class Fields:
    """A JSON object that is being read.

    Args:
        values: The object.
        where: The file, and the place in it, for messages.
        cure: What to do about a broken file.

    Each method gives a field's value, `default` if the field is missing and one is given, and else
    raises UserError.
    """

    _REQUIRED: Any = object()

    def __init__(self, values: dict[str, Any], where: str, cure: str) -> None:
        self.values = values
        self.where = where
        self.cure = cure

    def fail(self, what: str) -> NoReturn:
        """Raise the UserError that says what is wrong here."""
        raise UserError(f"{self.where} is broken ({what}): {self.cure}")

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """A text that is not empty and can be written as UTF-8."""
        value = self._get(key, default)
        if value is default and key not in self.values:
            return value
        if not isinstance(value, str) or not value:
            self.fail(f"{key} is {short(value)}, not a text")
        if not is_unicode(value):
            self.fail(f"{key} is {short(value)}, which is not Unicode")
        return value

    def whole(
        self, key: str, least: int = 0, most: int = _MOST_WHOLE, default: Any = _REQUIRED
    ) -> int:
        """A whole number from `least` to `most`."""
        value = self._get(key, default)
        if value is default and key not in self.values:
            return value
        if type(value) is not int or not least <= value <= most:
            self.fail(f"{key} is {short(value)}, not a whole number from {least} to {most}")
        return value

    def number(
        self,
        key: str,
        least: float = -math.inf,
        most: float = math.inf,
        default: Any = _REQUIRED,
    ) -> float:
        """A finite number from `least` to `most`."""
        value = self._get(key, default)
        if value is default and key not in self.values:
            return value
        if not is_number(value) or not least <= value <= most:
            self.fail(f"{key} is {short(value)}, not a number in range")
        return float(value)

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            self.fail(f"{key} is {short(value)}, not true or false")
        return value

    def texts(self, key: str, least: int = 0) -> tuple[str, ...]:
        """A list of at least `least` texts."""
        values = self.list(key)
        items = Fields({str(i): v for i, v in enumerate(values)}, f"{self.where}: {key}", self.cure)
        found = tuple(items.text(str(i)) for i in range(len(values)))
        if len(found) < least:
            self.fail(f"{key} has {len(found)} entries, not {least} or more")
        return found

    def names(self, key: str) -> tuple[str, ...]:
        """A list of texts that all differ, at least one."""
        found = self.texts(key, least=1)
        twice = next((name for name, count in Counter(found).items() if count > 1), None)
        if twice is not None:
            self.fail(f"{key} names {short(twice)} twice")
        return found

    def wholes(self, key: str, count: int, least: int = 0) -> tuple[int, ...]:
        """A list of `count` whole numbers of at least `least`."""
        values = self.list(key)
        good = all(type(v) is int and least <= v <= _MOST_WHOLE for v in values)
        if len(values) != count or not good:
            self.fail(f"{key} is {short(values)}, not {count} whole numbers from {least}")
        return tuple(values)

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        values = self.list(key)
        if len(values) != count or not all(is_number(v) for v in values):
            self.fail(f"{key} is {short(values)}, not {count} numbers")
        return tuple(float(v) for v in values)

    def list(self, key: str) -> list[Any]:
        """A list of anything."""
        value = self._get(key, self._REQUIRED)
        if not isinstance(value, list):
            self.fail(f"{key} is {short(value)}, not a list")
        return value

    def object(self, key: str) -> Fields:
        """An object."""
        value = self._get(key, self._REQUIRED)
        if not isinstance(value, dict):
            self.fail(f"{key} is {short(value)}, not an object")
        return Fields(value, f"{self.where}: {key}", self.cure)

    def has(self, key: str) -> bool:
        """Whether a field is there and not null."""
        return self.values.get(key) is not None

    def _get(self, key: str, default: Any) -> Any:
        if key in self.values:
            return self.values[key]
        if default is self._REQUIRED:
            self.fail(f"it has no {key}")
        return default


def json_value(text: str | bytes, **more: Any) -> Any:
    """`json.loads`, where no object may say two things of one key, of which the first would be lost.

    Raises:
        ValueError: If one does, or the text is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, **more)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):  # a cure for programmers
            raise ValueError("it holds a number of thousands of digits") from error
        raise


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # A key that says the same again, as some writers do, loses nothing.
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if seen.setdefault(key, value) != value:
                raise ValueError(f"an object has {short(key)} twice")
    return found


def parse_json(path: str | Path, cure: str, limit: int = MAX_JSON_BYTES) -> Any:
    """A JSON file's content, whatever it is; UserError if it cannot be read as JSON.

    UTF-8, with or without a byte order mark, UTF-16 and UTF-32 are told apart. NaN and Infinity are
    refused, since JSON has no such numbers.
    """
    path = Path(path)
    refuse_pipes(path)
    try:
        size = path.stat().st_size
        if size > limit:
            raise UserError(
                f"{path} has {size / 1e6:.0f} MB, more than any such file ({limit / 1e6:.0f}): {cure}"
            )
        if size == 0:
            raise ValueError("it is empty")
        return json_value(read_bytes(path), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {cure}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {cure}") from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        reason = str(error).splitlines()[0][:_MAX_SHOWN]
        raise UserError(f"{path} is broken ({reason}): {cure}") from error


def fields_of(text: str | bytes, where: str, cure: str) -> Fields:
    """JSON that lies within another file, as an object; errors as `parse_json`."""
    try:
        value = json_value(text, parse_constant=_refuse_constant)
    except ValueError as error:
        reason = (str(error).splitlines() or [""])[0][:_MAX_SHOWN]
        raise UserError(f"{where} is broken ({reason}): {cure}") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} is broken (it holds {short(value)}, not an object): {cure}")
    return Fields(value, where, cure)


def read_json(path: str | Path, cure: str, limit: int = MAX_JSON_BYTES) -> Fields:
    """A JSON file that holds an object; errors as `parse_json`."""
    value = parse_json(path, cure, limit)
    if not isinstance(value, dict):
        raise UserError(f"{path} is broken (it holds {short(value)}, not an object): {cure}")
    return Fields(value, str(path), cure)


def rows_of(value: Any, where: str, cure: str) -> Iterator[Fields]:
    """The objects of a JSON list, one by one."""
    if not isinstance(value, list):
        raise UserError(f"{where} is broken (it holds {short(value)}, not a list): {cure}")
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise UserError(
                f"{where} is broken (entry {number} is {short(row)}, not an object): {cure}"
            )
        yield Fields(row, f"{where}, entry {number}", cure)


def read_yaml(path: str | Path, cure: str, as_written: bool = False) -> Any:
    """A small YAML file's content, by PyYAML's safe loader; `as_written`: with every word as it stands.

    Aliases are refused, as a bomb of them ("billion laughs") is: no label tool writes any. So are files
    over a megabyte, nesting deeper than 20, and a key that stands twice in one mapping.

    Raises:
        UserError: If it cannot be read, or is one of these.
    """
    import yaml

    safe, base = yaml.SafeLoader, yaml.BaseLoader  # the latter makes strings of all scalars
    loader: Any = (
        getattr(yaml, "CBaseLoader", base) if as_written else getattr(yaml, "CSafeLoader", safe)
    )
    path = Path(path)
    try:
        content = read_bytes(path)
        if len(content) > MAX_YAML_BYTES:
            raise UserError(
                f"{path} has {len(content) / 1e6:.1f} MB, more than a list of classes needs "
                f"({MAX_YAML_BYTES / 1e6:.0f}): {cure}"
            )
        depth = 0
        # Events come one by one: a bomb is refused before anything is built of it.
        for event in yaml.parse(content, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{path} uses YAML's aliases (*{event.anchor}): {cure}")
            # The base loader would pass over a tag that asks for an object of Python.
            tag = getattr(event, "tag", None) or ""
            if tag.startswith("tag:yaml.org,2002:python/"):
                raise ValueError(f"it asks for {tag[18:60]}")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _MAX_YAML_DEPTH:
                raise UserError(f"{path} is nested too deeply: {cure}")
        # The safe one, chosen above; YAML forbids what PyYAML takes, two values of one key.
        return yaml.load(content, Loader=_refusing_repeats(loader))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {cure}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {cure}") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is not YAML ({reason}): {cure}") from error


def _refusing_repeats(loader: Any) -> Any:
    import yaml

    class Loader(loader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        raise ValueError(f"line {line} names {short(key.value)} again")
                    seen.add(key.value)
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    return Loader


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: it holds no half of a surrogate pair."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def is_path(text: str) -> bool:
    """Whether a text can be a file's path: no zero byte, no surrogate, no longer than Linux allows."""
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    parts = text.replace("\\", "/").split("/")
    return (
        b"\0" not in content and len(content) < 4096 and all(len(p.encode()) < 256 for p in parts)
    )


def short(value: Any) -> str:
    """A value from a file on one line, however large or deep it is."""
    if isinstance(value, dict | list) and len(value) > 8:
        kind = "an object" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value)} entries"
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (ValueError, TypeError, RecursionError):
        return f"a {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")
