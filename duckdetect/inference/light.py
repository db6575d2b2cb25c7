"""An exported detector, run without TensorFlow: the same `predict` on LiteRT or ONNX Runtime.

    detector = load_light("duck.tflite")
    detections = detector.predict(picture)

Neither TensorFlow nor the Object Detection API is imported: it starts in a fraction of a second, fits a
Raspberry Pi, and is faster on a CPU.
"""

from __future__ import annotations

import hashlib
import importlib.util
import lzma
import os
import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from duckdetect.errors import UserError, reason_of
from duckdetect.imaging.io import shrink
from duckdetect.inference.detector import Detector, Masks, to_detections
from duckdetect.inference.exported import (
    CHECKSUM,
    MAP,
    MASK_THRESHOLD,
    MASKS,
    MASKS_SIGNATURE,
    NAME,
    NO_CHECKSUM,
    SIGNATURE,
    ExportedModel,
)
from duckdetect.inference.postprocess_numpy import Found
from duckdetect.utils.reading import read_bytes, refuse_pipes
from duckdetect.utils.terminal import silenced

if TYPE_CHECKING:
    import supervision as sv

SUFFIXES = (".tflite", ".onnx")
"""The files that `load_light` reads."""
_MOST_ABOUT_BYTES = 4 << 20
# Of a file read from memory; otherwise ONNX Runtime takes the folder that we run in.
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


class Runtime(Protocol):
    """Runs one exported file.

    Attributes:
        about: What the file says of itself.
    """

    about: ExportedModel

    def run(
        self, inputs: Sequence[np.ndarray], threshold: float, masks: bool
    ) -> tuple[Found, np.ndarray | None]:
        """The detections that score at least `threshold`, of inputs (h, w, 3) float32.

        With `masks` also their probabilities within the boxes, (D, h, w).
        """
        ...


class LightDetector(Detector):
    """A `Detector` of one exported file.

    Attributes:
        path: The file.
        about: What it says of itself.
    """

    def __init__(self, path: Path, runtime: Runtime) -> None:
        about = runtime.about
        high_res_hw = about.inputs[1].size_hw if len(about.inputs) > 1 else None
        super().__init__(
            None, about.classes, about.base, about.inputs[0].size_hw, about.threshold,
            has_masks=about.masks, high_res_hw=high_res_hw, suppression=about.suppression,
        )  # fmt: skip
        self.path = path
        self.about = about
        self._runtime = runtime

    def changed(self, *, fast: bool = False, **more: Any) -> Detector:
        """As `Detector.changed`.

        Raises:
            UserError: If it is to be fast, and was exported with two scales.
        """
        if fast and self.high_res_hw is not None:
            raise UserError(
                f"{self.path} sees each picture at two sizes, always: export one with --scales 1"
            )
        return super().changed(fast=fast, **more)

    def _broken(self, error: Exception) -> UserError:
        return _broken(self.path, error)

    def _predict_batch(
        self, images: Sequence[np.ndarray], kept: float, masks: Masks
    ) -> list[sv.Detections]:
        return [self._predict_one(image, kept, masks) for image in images]

    def _predict_one(self, image: np.ndarray, kept: float, masks: Masks) -> sv.Detections:
        prepared = [one.run(shrink(image, one.size_hw)) for one in self.about.inputs]
        found, probability = self._runtime.run([one for one, _ in prepared], kept, bool(masks))
        return to_detections(
            image.shape[:2], prepared[0][1], *found, self.classes, kept, probability,
            self.suppression, rle=masks == "rle",
        )  # fmt: skip

    def save(self, folder: str | Path) -> None:
        """An exported file stays what it is.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self.path} is an exported detector: copy the file")


def load_light(path: str | Path, threads: int | None = None) -> LightDetector:
    """Load a `.tflite` or `.onnx` file that `duckdetect export` wrote.

    Args:
        path: The file.
        threads: CPU threads; all cores if None.

    Raises:
        UserError: If it is missing or something else, or its runtime is not installed.
    """
    path = Path(path)
    refuse_pipes(path)
    if not path.is_file():
        raise UserError(f"{path} is not there: check its name")
    allowed = getattr(os, "sched_getaffinity", None)  # Linux
    threads = threads or (len(allowed(0)) if allowed else os.cpu_count() or 1)
    kind = _LiteRt if path.suffix.lower() == ".tflite" else _OnnxRuntime
    return LightDetector(path, kind(path, threads))


class _LiteRt:
    """A TFLite file: raw boxes, which numpy suppresses."""

    def __init__(self, path: Path, threads: int) -> None:
        _needed("ai_edge_litert", path)
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo(NAME).file_size > _MOST_ABOUT_BYTES:
                    raise _broken(path, ValueError(f"its {NAME} is too large"))
                text = archive.read(NAME)
                checksum = archive.read(CHECKSUM) if CHECKSUM in archive.namelist() else None
                n_network = min(one.header_offset for one in archive.infolist())
        # A ZIP of a stranger: encrypted, compressed in an unknown way, cut off.
        except (
            zipfile.BadZipFile, KeyError, RuntimeError, EOFError, OSError, zlib.error, lzma.LZMAError,
        ) as error:  # fmt: skip
            raise _foreign(path, "tflite") from error
        self.about = ExportedModel.from_json(text, path)
        if self.about.postprocess is None:
            raise _broken(path, ValueError("it does not say how boxes are suppressed"))
        if checksum is not None:
            _check_content(path, read_bytes(path)[:n_network], checksum)
        from ai_edge_litert.interpreter import Interpreter

        try:
            with silenced():  # which delegates it has
                self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
            self._lock = threading.Lock()  # of two threads one would get the other's results
            self._signature = self._interpreter.get_signature_runner(SIGNATURE)
            inputs = self._signature.get_input_details()
            n_classes = self._signature.get_output_details()["scores"]["shape"][-1]
            if n_classes != len(self.about.classes):
                raise ValueError(
                    f"it scores {n_classes} classes and names {len(self.about.classes)}"
                )
            if self.about.masks:
                self._masks = self._interpreter.get_signature_runner(MASKS_SIGNATURE)
        except (ValueError, RuntimeError, LookupError) as error:
            raise _broken(path, error) from error
        _check_inputs(path, self.about, {name: one["shape"] for name, one in inputs.items()})
        self._path = path

    def run(
        self, inputs: Sequence[np.ndarray], threshold: float, masks: bool
    ) -> tuple[Found, np.ndarray | None]:
        """See `Runtime.run`."""
        fed = {n: one[np.newaxis] for n, one in zip(self.about.input_names, inputs, strict=True)}
        assert self.about.postprocess is not None  # looked at when it was loaded
        try:
            with self._lock:
                raw = self._signature(**fed)
                found = self.about.postprocess.run(raw["boxes"][0], raw["scores"][0], threshold)
                if not masks:
                    return found, None
                if not len(found.score):
                    return found, np.zeros((0, 1, 1), np.float32)
                maps = {name: values for name, values in raw.items() if name.startswith(MAP)}
                return found, self._masks(boxes=found.y1x1y2x2, **maps)[MASKS]
        except (ValueError, RuntimeError, LookupError) as error:  # a network of another kind
            raise _broken(self._path, error) from error


class _OnnxRuntime:
    """An ONNX file: the whole detector, suppression within."""

    def __init__(self, path: Path, threads: int) -> None:
        _needed("onnxruntime", path)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Nothing is printed: errors are raised as well, and names in them are shown safely.
        options.log_severity_level = 4
        # A stranger's file may say that its weights lie in other files: below this, none do.
        options.add_session_config_entry(_WEIGHTS_FOLDER, os.devnull)
        content = read_bytes(path)
        try:
            self._session = onnxruntime.InferenceSession(
                content,
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # it would print what it does
            )
            properties = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # a dozen kinds, of no common base
            raise _broken(path, error) from error
        if NAME not in properties:
            raise _foreign(path, "onnx")
        if CHECKSUM in properties:
            checksum = properties[CHECKSUM].encode()
            before, _, after = content.rpartition(checksum or NO_CHECKSUM.encode())
            _check_content(path, before + NO_CHECKSUM.encode() + after, checksum)
        self.about = ExportedModel.from_json(properties[NAME], path)
        inputs = self._session.get_inputs()
        _check_inputs(path, self.about, {one.name: one.shape for one in inputs})
        self._path = path

    def run(
        self, inputs: Sequence[np.ndarray], threshold: float, masks: bool
    ) -> tuple[Found, np.ndarray | None]:
        """See `Runtime.run`."""
        fed = {n: one[np.newaxis] for n, one in zip(self.about.input_names, inputs, strict=True)}
        outputs = ["boxes", "scores", "classes", "count"]
        if self.about.masks:
            outputs += [MASKS] * masks
            # No score reaches 2: one mask is made.
            fed[MASK_THRESHOLD] = np.asarray(threshold if masks else 2, np.float32)
        try:
            boxes, score, class_id, count, *probability = self._session.run(outputs, fed)
            n = int(np.ravel(count)[0])
            n = int((score[0][:n] >= threshold).sum())  # the first ones
            found = Found(boxes[0][:n], score[0][:n], class_id[0][:n].astype(np.int32))
            return found, probability[0][:n] if masks else None
        except Exception as error:  # a dozen kinds, of no common base
            raise _broken(self._path, error) from error


def _check_content(path: Path, content: bytes, sha256: bytes) -> None:
    """Whether the network is what was exported: a changed weight is not seen otherwise."""
    if hashlib.sha256(content).hexdigest().encode() != sha256:
        raise _broken(path, ValueError("its network was changed since it was exported"))


def _check_inputs(path: Path, about: ExportedModel, shapes: Mapping[str, Sequence[Any]]) -> None:
    """Whether the network's inputs, (1, h, w, 3), are those that the file says: LiteRT makes them so."""
    for name, one in zip(about.input_names, about.inputs, strict=True):
        if list(shapes.get(name, ()))[1:] != [*one.size_hw, 3]:
            raise _broken(path, ValueError(f"its input {name} is not as it says"))


def _needed(module: str, path: Path) -> None:
    if importlib.util.find_spec(module) is None:
        package = module.replace("_", "-")
        raise UserError(f"{path} needs {package} to run: pip install {package}")


def _foreign(path: Path, target: str) -> UserError:
    return UserError(
        f"{path} is no detector that duckdetect exported: "
        f"export one with `duckdetect export RUN --to {target}`"
    )


def _broken(path: Path, error: Exception) -> UserError:
    reason = reason_of(error)
    return UserError(f"{path} is broken ({reason}): export it again")
