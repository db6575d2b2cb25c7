"""config.json has one reader, whose errors name the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from duckdetect.errors import UserError
from duckdetect.inference.run_config import read_config


def test_a_config_is_read_done_or_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"base": "b", "done": false}')
    assert read_config(tmp_path) == {"base": "b", "done": False}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"base": "\udcff"}', '"text"'])
def test_anything_else_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json is broken .*: train the run again$"):
        read_config(tmp_path)
    with pytest.raises(UserError, match="holds no run"):
        read_config(tmp_path / "other")
