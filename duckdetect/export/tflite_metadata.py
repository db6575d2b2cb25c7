"""Metadata inside a TFLite file, as TFLite's convention has it, so that the file alone is enough.

    content = with_metadata(content, about, labels)

The convention (tensorflow/tflite-support, metadata_schema.fbs, version 1.1.0): a flatbuffer under the
model's entry TFLITE_METADATA describes the tensors, and files that it names are appended as a ZIP.
Android's and MediaPipe's tools read the normalisation and the labels there. Our own settings, which the
schema has no fields for (suppression, a second scale), are one more such file, and so is the check sum
of what comes before the files, which have sums of their own.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from duckdetect.inference.exported import (
    CHECKSUM,
    LABELS,
    MASKS_SIGNATURE,
    NAME,
    ExportedModel,
)

_ENTRY = b"TFLITE_METADATA"
# Values of the schema's enumerations and unions.
_TENSOR_AXIS_LABELS, _DESCRIPTIONS = 2, 1
_RGB = 1
_IMAGE_PROPERTIES, _FEATURE_PROPERTIES, _BOX_PROPERTIES = 2, 1, 3
_NORMALIZATION = 1
_BOUNDARIES, _RATIO = 1, 0


def with_metadata(content: bytes, about: ExportedModel, description: str) -> bytes:
    """A TFLite file's bytes with metadata and the files that it names.

    Args:
        content: The model.
        about: How to use it.
        description: One sentence for people.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    for stored in model.buffers:
        if stored.offset > 1:  # behind the flatbuffer, as the quantiser writes large weights
            stored.data = np.frombuffer(content, np.uint8, stored.size, stored.offset)
            stored.offset = stored.size = 0
    buffer = schema.BufferT()
    buffer.data = list(_metadata(about, description, _output_names(model)))
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _ENTRY, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(65536)
    builder.Finish(model.Pack(builder), b"TFL3")
    network, files = bytes(builder.Output()), io.BytesIO()
    with zipfile.ZipFile(files, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(LABELS, "\n".join(about.classes) + "\n")
        archive.writestr(NAME, about.to_json())
        archive.writestr(CHECKSUM, hashlib.sha256(network).hexdigest())
    return network + files.getvalue()


def _output_names(model: Any) -> list[str]:
    """The signature's output names in the order of the graph's outputs."""
    outputs = {t.tensorIndex: t.name.decode() for t in model.signatureDefs[0].outputs}
    return [outputs[index] for index in model.subgraphs[0].outputs]


def _metadata(about: ExportedModel, description: str, outputs: Sequence[str]) -> bytes:
    b = _Builder()
    inputs = [
        b.table(
            b.text(name),  # name
            b.text(f"RGB, {one.size_hw[1]} x {one.size_hw[0]} pixels"),  # description
            None,  # dimension_names
            b.content(
                _IMAGE_PROPERTIES,
                b.table(("int8", _RGB), b.table(("uint32", one.size_hw[1]), ("uint32", one.size_hw[0]))),
            ),
            # (x - mean) / std is x * scale + offset.
            b.tables([
                b.table(
                    ("uint8", _NORMALIZATION),
                    b.table(
                        b.floats([-o / s for s, o in zip(one.scale, one.offset, strict=True)]),
                        b.floats([1 / s for s in one.scale]),
                    ),
                )
            ]),
            b.table(  # stats
                b.floats([255 * s + o for s, o in zip(one.scale, one.offset, strict=True)]),
                b.floats(list(one.offset)),
            ),
        )
        for name, one in zip(about.input_names, about.inputs, strict=True)
    ]  # fmt: skip

    def feature_map(name: str) -> int:
        said = b.text(f"A feature map, for {MASKS_SIGNATURE}.")
        return b.table(b.text(name), said, None, b.content(_FEATURE_PROPERTIES, b.table()))

    labels = b.table(b.text(LABELS), b.text("Names by class id."), ("int8", _TENSOR_AXIS_LABELS))
    of_output = {
        "boxes": lambda: b.table(
            b.text("boxes"),
            b.text("Before suppression: top, left, bottom, right, parts of the input."),
            None,
            b.content(
                _BOX_PROPERTIES,
                b.table(b.uints([1, 0, 3, 2]), ("int8", _BOUNDARIES), ("int8", _RATIO)),
            ),
        ),
        "scores": lambda: b.table(
            b.text("scores"),
            b.text("Before suppression: for each box a score of each class, 0 to 1."),
            None,
            b.content(_FEATURE_PROPERTIES, b.table()),
            None,
            b.table(b.floats([1.0]), b.floats([0.0])),
            b.tables([labels]),
        ),
    }
    graph = b.table(
        None,
        None,
        b.tables(inputs),
        b.tables([of_output[n]() if n in of_output else feature_map(n) for n in outputs]),
    )
    ours = b.table(
        b.text(NAME), b.text("Threshold, resize, suppression: read by duckdetect."),
        ("int8", _DESCRIPTIONS),
    )  # fmt: skip
    return b.finish(
        b.table(
            b.text("duckdetect"),
            b.text(description),
            None,
            b.tables([graph]),
            None,
            None,
            b.tables([ours]),
            b.text("1.1.0"),  # min_parser_version
        )
    )


class _Builder:
    """Flatbuffer tables by the order of their fields in the schema."""

    def __init__(self) -> None:
        self._b = flatbuffers.Builder(4096)

    def text(self, text: str) -> int:
        return int(self._b.CreateString(text))

    def table(self, *fields: int | tuple[str, int] | None) -> int:
        """A table: an offset, a scalar with its type, or None for the default, field by field."""
        self._b.StartObject(len(fields))
        for slot, field in enumerate(fields):
            if isinstance(field, tuple):
                add = getattr(self._b, f"Prepend{field[0].capitalize()}Slot")
                add(slot, field[1], 0)
            elif field is not None:
                self._b.PrependUOffsetTRelativeSlot(slot, field, 0)
        return int(self._b.EndObject())

    def content(self, kind: int, properties: int) -> int:
        return self.table(("uint8", kind), properties)

    def tables(self, offsets: Sequence[int]) -> int:
        self._b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._b.PrependUOffsetTRelative(offset)
        return int(self._b.EndVector())

    def floats(self, values: Sequence[float]) -> int:
        self._b.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._b.PrependFloat32(value)
        return int(self._b.EndVector())

    def uints(self, values: Sequence[int]) -> int:
        self._b.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._b.PrependUint32(value)
        return int(self._b.EndVector())

    def finish(self, root: int) -> bytes:
        self._b.Finish(root, b"M001")
        return bytes(self._b.Output())
