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


@pytest.mark.parametrize(
    "start", ['"x"', "[1]", '{"run": 3}', '{"sha256": [1]}', f'{{"run": "{"x" * 5000}"}}']
)
def test_a_start_that_is_none_is_one_line_wherever_runs_are_looked_for(
    start: str, tmp_path: Path
) -> None:
    """One such folder among the results, and no run was found or trained any more."""
    from duckdetect.training.run_folder import find_run, is_same, started_from

    run = tmp_path / "run"
    run.mkdir()
    digest = '{"sha256": "0"}'
    told = f'"base": "b", "classes": ["c"], "train": {{}}, "data": {digest}, "weights": {digest}'
    (run / "config.json").write_text(f'{{{told}, "start": {start}}}')
    with pytest.raises(UserError, match=r"config\.json.* is broken .*: train the run again$"):
        read_config(run)
    identity = {"base": "b", "classes": ["c"], "train": {}, "data": {"sha256": "0"}}
    identity |= {"weights": None, "validation": None, "start": None}
    assert find_run(tmp_path, identity) is None
    assert not is_same(run, identity)
    assert started_from(run) is None
