"""Checkpoints are read and checked as TensorFlow writes them; whatever is broken is refused in a line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duckdetect.errors import UserError
from duckdetect.models import checkpoint_index
from duckdetect.models.checkpoint_index import check_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("checkpoint")
    variables = {
        f"layer_{i}": tf.Variable(np.full((3, i + 1), i, np.float32 if i % 2 else np.int64))
        for i in range(80)
    }
    prefix = tf.train.Checkpoint(**variables).write(str(folder / "ckpt-0"))
    return Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")


def test_what_tensorflow_writes(checkpoint: tuple[Path, Path]) -> None:
    import tensorflow as tf

    index, data = checkpoint
    found = {tensor.name: tensor for tensor in check_checkpoint(index, data)}
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    shapes = reader.get_variable_to_shape_map()
    assert {name: list(tensor.shape) for name, tensor in found.items()} == shapes
    tensor = found["layer_7/.ATTRIBUTES/VARIABLE_VALUE"]
    content = data.read_bytes()[tensor.start : tensor.end]
    np.testing.assert_array_equal(np.frombuffer(content, np.float32), np.full(24, 7))


def test_the_zoos_own(shared_data: Path, tmp_path: Path) -> None:
    indexes = sorted((shared_data / "odapi_index").glob("*/*.index"))
    if not indexes:
        pytest.skip("needs ../shared/data/odapi_index/*/*.index: indexes of the zoo")
    data = tmp_path / "data"
    for index in indexes:
        with data.open("wb") as file:
            file.truncate(1 << 40)  # no byte of it is on disk
        tensors = check_checkpoint(index, data)
        assert len(tensors) > 100
        with data.open("wb") as file:
            file.truncate(max(tensor.end for tensor in tensors) - 1)
        with pytest.raises(UserError, match="of a data file of"):
            check_checkpoint(index, data)


def test_a_data_file_that_was_cut_off(checkpoint: tuple[Path, Path], tmp_path: Path) -> None:
    index, data = checkpoint
    (tmp_path / "data").write_bytes(data.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"is a broken checkpoint \(.* of a data file of"):
        check_checkpoint(index, tmp_path / "data")
    with pytest.raises(UserError, match="cannot be read"):
        check_checkpoint(index, tmp_path / "nowhere")


def test_an_entry_that_was_changed_with_its_sum(
    checkpoint: tuple[Path, Path], tmp_path: Path
) -> None:
    index, data = checkpoint
    content = bytearray(index.read_bytes())
    # The last entry of the first block: its size, by one more.
    tensors = check_checkpoint(index, data)
    shape = next(t for t in tensors if t.name.startswith("layer_9/"))
    wanted = bytes([0x28, shape.end - shape.start])  # field 5, a varint
    at = content.index(wanted, content.index(b"9/.ATTRIBUTES"))
    content[at + 1] += 4
    path = tmp_path / "ckpt-0.index"
    path.write_bytes(content)
    with pytest.raises(UserError, match="a check sum is wrong"):
        check_checkpoint(path, data)
    start, _, _ = checkpoint_index._handle(bytes(content[-48:]), 0)
    first = 0  # there is one block of data, before the meta index
    n = start - checkpoint_index._TRAILER
    masked = checkpoint_index._mask(checkpoint_index._crc32c(bytes(content[first : n + 1])))
    content[n + 1 : n + 5] = struct.pack("<I", masked)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"has 124 bytes, not . for each value"):
        check_checkpoint(path, data)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_no_damage_is_a_traceback(
    checkpoint: tuple[Path, Path], tmp_path: Path, draw: st.DataObject
) -> None:
    index, data = checkpoint
    content = bytearray(index.read_bytes())
    kind = draw.draw(st.sampled_from(["cut", "flip", "noise"]))
    at = draw.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        content = content[:at]
    elif kind == "flip":
        content[at] ^= 1 << draw.draw(st.integers(0, 7))
    else:
        content[at : at + 20] = draw.draw(st.binary(min_size=20, max_size=20))
    path = tmp_path / "x.index"
    path.write_bytes(content)
    said = ""
    try:
        check_checkpoint(path, data)
    except UserError as error:
        said = str(error)
    assert not said or said.startswith(f"{path} is a broken checkpoint (")
