"""The index of a TensorFlow checkpoint (tensor bundle), read and checked without TensorFlow.

    check_checkpoint(folder / "ckpt-0.index", folder / "ckpt-0.data-00000-of-00001")

The index is a table in LevelDB's format (sorted: blocks of prefix-compressed keys, a footer) whose
values are `BundleEntryProto`s: a tensor's type, shape, and range of bytes in the data file. A file
that was cut off, mixed up or made to mislead is refused before it enters the cache, with one line.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from duckdetect.errors import UserError
from duckdetect.utils.reading import read_bytes

_MAGIC = bytes.fromhex("57fb808b247547db")  # the last eight bytes of a table, little-endian
_FOOTER = 48
_TRAILER = 5  # a block's kind of compression, and its CRC-32C
_MAX_INDEX_BYTES = 64 << 20  # of EfficientDet D7, one of the largest, 0.3 MB
# Bytes of one value by TensorFlow's number of the type; others (strings) have no fixed size.
_ITEM_BYTES = {
    **{1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 8: 8, 9: 8, 10: 1, 14: 2, 17: 2, 18: 16, 19: 2},
    **{22: 4, 23: 8},
}


class _BrokenError(ValueError):
    """What is wrong with an index."""


@dataclass(frozen=True)
class Tensor:
    """A tensor's entry: its name, type number, shape, and bytes `start` to `end` of the data file."""

    name: str
    dtype: int
    shape: tuple[int, ...]
    start: int
    end: int


def check_checkpoint(index: Path, data: Path) -> list[Tensor]:
    """Check an index by itself and against the size of its data file.

    Returns:
        The tensors, sorted by name.

    Raises:
        UserError: If the index is no table or damaged, or a tensor does not lie within the data.
    """
    try:
        size = index.stat().st_size
        if size > _MAX_INDEX_BYTES:
            raise _BrokenError(f"it has {size / 1e6:.0f} MB")
        tensors = _tensors(read_bytes(index), data.stat().st_size)
    except (_BrokenError, IndexError, struct.error, UnicodeDecodeError) as error:
        reason = str(error) or "it is cut off"
        raise UserError(f"{index} is a broken checkpoint ({reason}): get the file again") from error
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}): get the file again"
        ) from error
    return tensors


def _tensors(content: bytes, n_data: int) -> list[Tensor]:
    found: list[Tensor] = []
    for key, value in _table(content):
        if not key:  # the header of the bundle
            shards = _fields(value).get(1, [0])[-1]
            if shards != 1:
                raise _BrokenError(f"it says {shards!r} data files, not 1")
            continue
        tensor = _tensor(key.decode("utf-8"), _fields(value))
        if not 0 <= tensor.start <= tensor.end <= n_data:
            raise _BrokenError(
                f"{tensor.name} is at bytes {tensor.start} to {tensor.end} of a data file of {n_data}"
            )
        found.append(tensor)
    if not found:
        raise _BrokenError("it holds no tensor")
    in_order = sorted(found, key=lambda tensor: tensor.start)
    for before, after in itertools.pairwise(in_order):
        if after.start < before.end:
            raise _BrokenError(f"{before.name} and {after.name} share bytes")
    return found


def _tensor(name: str, fields: dict[int, list[int | bytes]]) -> Tensor:
    def whole(number: int) -> int:
        value = fields.get(number, [0])[-1]
        if not isinstance(value, int):
            raise _BrokenError(f"{name} has no number where one should be")
        return value

    if whole(3) != 0:
        raise _BrokenError(f"{name} is in data file {whole(3)}, there is one")
    shape = []
    for message in fields.get(2, []):
        if not isinstance(message, bytes):
            raise _BrokenError(f"{name} has no shape")
        for dim in _fields(message).get(2, []):
            if not isinstance(dim, bytes):
                raise _BrokenError(f"{name} has no shape")
            side = _fields(dim).get(1, [0])[-1]
            if not isinstance(side, int) or side >= 1 << 40:
                raise _BrokenError(f"{name} has a side of {side!r}")
            shape.append(side)
    start, size, item = whole(4), whole(5), _ITEM_BYTES.get(whole(1))
    if item is not None and not fields.get(7) and size != item * math.prod(shape):
        raise _BrokenError(f"{name} of shape {shape} has {size} bytes, not {item} for each value")
    return Tensor(name, whole(1), tuple(shape), start, start + size)


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a table in LevelDB's format."""
    if len(content) < _FOOTER or not content.endswith(_MAGIC):
        raise _BrokenError("its end is not that of an index")
    footer = content[-_FOOTER:]
    _, _, position = _handle(footer, 0)  # of the meta index, which holds nothing
    start, size, _ = _handle(footer, position)
    for _, handle in _block(content, start, size):
        first, length, _ = _handle(handle, 0)
        yield from _block(content, first, length)


def _block(content: bytes, start: int, size: int) -> list[tuple[bytes, bytes]]:
    end = start + size
    if end + _TRAILER > len(content) - _FOOTER:
        raise _BrokenError("a block lies beyond its end")
    block, kind = content[start:end], content[end]
    (masked,) = struct.unpack_from("<I", content, end + 1)
    if _mask(_crc32c(content[start : end + 1])) != masked:
        raise _BrokenError("a check sum is wrong")
    if kind not in (0, 1):
        raise _BrokenError("a block is of no known kind")
    block = _unpacked(block) if kind else block
    (n_restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    last = len(block) - 4 * (n_restarts + 1)
    if last < 0:
        raise _BrokenError("a block is cut off")
    found: list[tuple[bytes, bytes]] = []
    position, key = 0, b""
    while position < last:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        if shared > len(key) or position + own + length > last:
            raise _BrokenError("an entry reaches beyond its block")
        key = key[:shared] + block[position : position + own]
        position += own
        found.append((key, block[position : position + length]))
        position += length
    return found


def _unpacked(content: bytes) -> bytes:
    """Snappy's decompression (its format_description.txt), which older TensorFlows packed blocks with."""
    length, position = _varint(content, 0)
    if length > _MAX_INDEX_BYTES:
        raise _BrokenError("a block is too large")
    out = bytearray()
    while position < len(content):
        tag = content[position]
        position += 1
        kind, n = tag & 3, tag >> 2
        if kind == 0:  # bytes as they are; more than 60 of them: their number follows
            if n >= 60:
                wide = n - 59
                n = int.from_bytes(content[position : position + wide], "little")
                position += wide
            out += content[position : position + n + 1]
            position += n + 1
        else:  # a copy of what came before
            if kind == 1:
                n, offset = (n & 7) + 3, (tag >> 5 << 8) | content[position]
                position += 1
            else:
                wide = 2 if kind == 2 else 4
                offset = int.from_bytes(content[position : position + wide], "little")
                position += wide
            if not 0 < offset <= len(out) or len(out) + n >= length + 1:
                raise _BrokenError("a block cannot be unpacked")
            for _ in range(n + 1):  # it may reach into what it writes
                out.append(out[-offset])
        if len(out) > length:
            raise _BrokenError("a block cannot be unpacked")
    if len(out) != length or position > len(content):
        raise _BrokenError("a block cannot be unpacked")
    return bytes(out)


def _handle(content: bytes, position: int) -> tuple[int, int, int]:
    start, position = _varint(content, position)
    size, position = _varint(content, position)
    return start, size, position


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """A protocol buffer's fields by number: varints and fixed numbers as int, others as bytes."""
    found: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, position = _varint(message, position)
        elif kind in (1, 5):
            n = 8 if kind == 1 else 4
            if position + n > len(message):
                raise _BrokenError("a number is cut off")
            value, position = (
                int.from_bytes(message[position : position + n], "little"),
                position + n,
            )
        elif kind == 2:
            n, position = _varint(message, position)
            if position + n > len(message):
                raise _BrokenError("an entry is cut off")
            value, position = message[position : position + n], position + n
        else:
            raise _BrokenError("an entry is of no known kind")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise _BrokenError("a number is too long")


def _crc32c_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (
                0x82F63B78 if value & 1 else 0
            )  # Castagnoli's polynomial, reflected
        table.append(value)
    return table


_CRC = _crc32c_table()


def _crc32c(content: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in content:
        value = _CRC[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _mask(crc: int) -> int:
    """LevelDB's: a sum of bytes that hold sums would be weak."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
