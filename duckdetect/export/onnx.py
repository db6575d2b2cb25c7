"""ONNX: the whole detector, suppression and voting within, in standard operators of opset 18.

content = to_onnx(network, about)
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import numpy as np

from duckdetect.errors import UserError
from duckdetect.export.extras import needed
from duckdetect.export.graph import Network
from duckdetect.inference.exported import (
    CHECKSUM,
    MASK_THRESHOLD,
    NAME,
    NO_CHECKSUM,
    ExportedModel,
)
from duckdetect.utils.terminal import silenced

OPSET = 18
# Smaller constants than this gain nothing by being halved.
_HALVED_BYTES = 4096


def to_onnx(network: Network, about: ExportedModel, description: str) -> bytes:
    """A network as an ONNX file that `onnx.checker` has passed.

    Args:
        network: Of the SSD family.
        about: What goes into its metadata; its `weights` are "float32" or "float16", weights of half
            the size that are computed with in float32.
        description: One sentence for people.
    """
    needed("tf2onnx", "--to onnx")
    needed("onnx", "--to onnx")
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with silenced():
        try:
            model, _ = tf2onnx.convert.from_function(
                network.whole, input_signature=network.whole.input_signature, opset=OPSET
            )
        except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"this detector cannot be converted to ONNX ({reason}): use --to saved-model"
            ) from error
    domains = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if domains:
        raise UserError(
            f"this detector needs ONNX operators beyond the standard ones ({', '.join(domains)}): "
            "use --to saved-model"
        )
    if about.weights == "float16":
        _halve(model)
    if about.masks:  # an input that may be left out
        least = np.asarray(about.threshold, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(least, MASK_THRESHOLD))
    model.producer_name = "duckdetect"
    model.doc_string = description
    said = {NAME: about.to_json(), "names": "\n".join(about.classes), CHECKSUM: NO_CHECKSUM}
    onnx.helper.set_model_props(model, said)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    before, blank, after = content.rpartition(NO_CHECKSUM.encode())
    assert blank  # it is among the properties, which come last
    return before + hashlib.sha256(content).hexdigest().encode() + after


def _halve(model: Any) -> None:
    """Keep large constants in half precision, and cast them where the graph reads them."""
    import onnx
    from onnx import numpy_helper

    graph, casts = model.graph, []
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.nbytes < _HALVED_BYTES or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = f"{tensor.name}__half"
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(
            onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
