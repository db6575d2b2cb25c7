"""TFLite: one file for phones, boards and the web page, run by LiteRT.

    content, about = to_tflite(network, weights="int8", calibration=pictures)

The graph ends before suppression, for which TFLite has no operator of its own; the rest is settings in
the file (`inference.exported`). With int8 the convolutions and the heads' products alone are
quantised: decoding boxes and the fusion of two scales stay in float, where eight bits move boxes and
break divisions.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from duckdetect.errors import UserError
from duckdetect.export.extras import needed
from duckdetect.export.graph import Network
from duckdetect.inference.exported import MAP, MASKS_SIGNATURE, SIGNATURE
from duckdetect.models.graphs import traced
from duckdetect.utils.terminal import silenced, unprinted

_MASKS_PER_PICTURE = 8  # for calibration


def to_tflite(
    network: Network, weights: str, calibration: Iterable[tuple[np.ndarray, ...]] = ()
) -> bytes:
    """A network as a TFLite file without metadata.

    Args:
        network: Of the SSD family.
        weights: "float32"; "float16", weights of half the size, computed in float32; or "int8",
            convolutions in eight bits.
        calibration: For int8: inputs (1, h, w, 3) of pictures like those to come, which say in what
            range each layer's values lie.
    """
    from_graph = _convert(network, float16=weights == "float16", int8=weights == "int8")
    return _quantised(from_graph, network, calibration) if weights == "int8" else from_graph


def _convert(network: Network, float16: bool, int8: bool) -> bytes:
    module = tf.Module()
    module.raw, module.masks = network.raw, network.masks
    if int8 and network.masks is not None:
        module.raw = _maps_in_float(network.raw)
    # By way of a SavedModel: from a function alone the signature's names are lost.
    with tempfile.TemporaryDirectory() as folder, silenced():
        signatures = {SIGNATURE: module.raw.get_concrete_function()}
        if network.masks is not None:
            signatures[MASKS_SIGNATURE] = network.masks.get_concrete_function()
        tf.saved_model.save(module, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        try:
            content: bytes = converter.convert()
        except Exception as error:  # the converter's own type is private
            reason = str(error).strip().split("\n")[0][:200]
            raise UserError(
                f"this detector cannot be converted to TFLite ({reason}): use --to onnx"
            ) from error
    return content


def _maps_in_float(raw: Any) -> Any:
    """The same, so that the maps stay what they are: what a quantised convolution reads the quantiser
    hands out in eight bits, too, without their scale.
    """

    def run(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        found: dict[str, tf.Tensor] = raw(*inputs)
        lowest = tf.constant(tf.float32.min)
        return {k: tf.maximum(t, lowest) if k.startswith(MAP) else t for k, t in found.items()}

    return traced(run, input_signature=raw.input_signature)


def _quantised(
    content: bytes, network: Network, calibration: Iterable[tuple[np.ndarray, ...]]
) -> bytes:
    needed("ai_edge_quantizer", "--weights int8")
    from ai_edge_quantizer import qtyping, quantizer

    dynamic = qtyping.OpQuantizationConfig(
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
        ),
        compute_precision=qtyping.ComputePrecision.INTEGER,
    )
    calibrated = replace(
        dynamic,
        activation_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=8, symmetric=False, granularity=qtyping.QuantGranularity.TENSORWISE
        ),
    )
    rows = [row for inputs in calibration for row in _fed(network, inputs)]
    if not rows:
        raise UserError("--weights int8 needs pictures to calibrate on: give them with --data")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, out = Path(folder) / "float32.tflite", Path(folder) / "int8.tflite"
        plain.write_bytes(content)
        recipe = quantizer.Quantizer(str(plain))
        operations = qtyping.TFLOperationName
        for operation, config in (
            (operations.CONV_2D, calibrated),
            (operations.DEPTHWISE_CONV_2D, calibrated),
            # The heads' products, nine to a sum: in calibrated ranges AP falls by 0.016, so by 0.004.
            (operations.FULLY_CONNECTED, dynamic),
        ):
            recipe.update_quantization_recipe(
                regex=".*", operation_name=operation, op_config=config
            )
        recipe.quantize(_ranges(recipe, rows)).export_model(str(out))
        return out.read_bytes()


def _fed(
    network: Network, inputs: tuple[np.ndarray, ...]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """What each signature is given for one picture."""
    yield SIGNATURE, dict(zip(network.input_names, inputs, strict=True))
    if network.masks is not None:
        found = {name: values.numpy() for name, values in network.raw(*inputs).items()}
        best = np.argsort(-found["scores"][0].max(axis=-1))[:_MASKS_PER_PICTURE]
        maps = {name: values for name, values in found.items() if name.startswith(MAP)}
        yield MASKS_SIGNATURE, {"boxes": found["boxes"][0][best], **maps}


def _ranges(recipe: Any, rows: Iterable[tuple[str, dict[str, np.ndarray]]]) -> dict[str, Any]:
    """The least and the largest value that each tensor has in any picture.

    The quantiser's own way over all pictures, a moving average, cuts off the few high values that are
    the objects: no score gets beyond 0.52 of 0.95.
    """
    found: dict[str, Any] = {}
    for signature, row in rows:
        for name, now in recipe.calibrate({signature: [row]}).items():
            before = found.get(name, now)
            found[name] = dict(now)
            if "min" in now:
                found[name]["min"] = np.minimum(before["min"], now["min"])
                found[name]["max"] = np.maximum(before["max"], now["max"])
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither the quantiser's table on stdout nor TensorFlow's notes on stderr, nor LiteRT's warning
    that calibration takes memory.
    """
    with (
        unprinted(),
        silenced(),
        warnings.catch_warnings(action="ignore", category=UserWarning),
    ):
        yield
