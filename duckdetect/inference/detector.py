"""A trained detector: predict, save, load; without the Object Detection API.

detector = load_detector("results/duck")
detector.predict("a.jpg")                      # supervision.Detections, in pixels
"""

from __future__ import annotations

import copy
import json
import os
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from duckdetect.errors import UserError, of_system, reason_of
from duckdetect.imaging.geometry import RLE_KEY, encode_mask, from_normalised, rle_column
from duckdetect.imaging.io import shrink
from duckdetect.inference import trust
from duckdetect.inference.exported import MOST_INPUT_PX, SIGNATURE
from duckdetect.inference.images import as_images
from duckdetect.inference.run_config import refuse_file
from duckdetect.inference.suppression import (
    PER_CLASS,
    Suppression,
    check_score,
    read_suppression,
)
from duckdetect.utils.environment import refuse_fork
from duckdetect.utils.files import atomic_path
from duckdetect.utils.outputs import check_folder, note_change
from duckdetect.utils.progress import waiting
from duckdetect.utils.reading import as_path
from duckdetect.utils.schema import Fields, is_unicode, read_json
from duckdetect.utils.terminal import printable

if TYPE_CHECKING:
    import supervision as sv
    import tensorflow as tf

    from duckdetect.inference.images import ImageLike


def paste_masks(
    probability: np.ndarray, xyxy: np.ndarray, size_hw: tuple[int, int], threshold: float = 0.5
) -> np.ndarray:
    """The pixels of each mask.

    Args:
        probability: (N, h, w) float32, each mask from its box's upper left corner to its lower right.
        xyxy: (N, 4) float32, pixels of the image.
        size_hw: The image's height and width.
        threshold: A pixel above it belongs to the object; 0.5 as in the API's evaluation.

    Returns:
        (N, H, W) bool.
    """
    height, width = size_hw
    pasted = np.zeros((len(probability), height, width), bool)
    for out, mask, (x1, y1, x2, y2) in zip(pasted, probability, xyxy.astype(float), strict=True):
        rows, along_y = _weights(y1 / height, y2 / height, height, mask.shape[0])
        columns, along_x = _weights(x1 / width, x2 / width, width, mask.shape[1])
        out[rows, columns] = along_y @ mask @ along_x.T > threshold
    return pasted


def _weights(start: float, end: float, size: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels between two places, parts of a side, and (pixels, cells) how they mix the cells."""
    place = np.arange(size) / max(size - 1, 1)  # (size,) 0 to 1
    at = (place - start) / max(end - start, 1e-9) * (cells - 1)
    inside = np.flatnonzero((at >= 0) & (at <= cells - 1))
    if not len(inside):
        return slice(0, 0), np.zeros((0, cells))
    at = at[inside]
    low = np.minimum(at.astype(int), max(cells - 2, 0))
    weights = np.zeros((len(at), cells))
    weights[np.arange(len(at)), low] = 1 - (at - low)
    weights[np.arange(len(at)), np.minimum(low + 1, cells - 1)] += at - low
    return slice(inside[0], inside[-1] + 1), weights


FORMAT = 2

"""1: `detect` takes a batch of one-stage inputs. 2: also two-stage ones, an image at a time."""

DEFAULT_THRESHOLD = 0.5

Masks = bool | Literal["rle"]

_BATCH = 8  # images a forward pass

_SETTINGS = "detector.json"


class Detector:
    """A trained detector: `predict` finds objects of its classes in images.

    With a `high_res_hw` it runs at two scales (multi-scale inference), so that small objects are found
    too; set it to None to be four times as fast.

    Attributes:
        classes: Names by class id.
        threshold: The score at or above which `predict` keeps a detection by default.
        base_name: The base model it was trained from.
        input_hw: The size in pixels that images are brought to.
        two_stage: Whether it takes one image at a time.
        has_masks: Whether it finds masks.
        high_res_hw: The larger second size of multi-scale inference; None for the base scale only.
        suppression: What becomes of the lower-scored of two overlapping detections.
        folder: Where it was loaded from or saved to, if it was.

    Example:
        load_detector("results/duck")("a.jpg")       # the same as .predict("a.jpg")
    """

    def __init__(
        self,
        functions: Any,
        classes: Sequence[str],
        base_name: str,
        input_hw: tuple[int, int],
        threshold: float = DEFAULT_THRESHOLD,
        *,
        two_stage: bool = False,
        has_masks: bool = False,
        high_res_hw: tuple[int, int] | None = None,
        suppression: Suppression = Suppression(),  # noqa: B008  (it cannot be changed)
    ) -> None:
        self._functions = functions
        self.two_stage = two_stage
        self.has_masks = has_masks
        self.classes = tuple(classes)
        self.base_name = base_name
        self.input_hw = input_hw
        self.threshold = threshold
        self.high_res_hw = high_res_hw
        self.suppression = suppression
        self.folder: Path | None = None
        self._process = os.getpid()

    def __repr__(self) -> str:
        return (
            f"Detector(classes={list(self.classes)}, base={self.base_name!r}, "
            f"threshold={self.threshold})"
        )

    @property
    def threshold(self) -> float:
        """The score at or above which `predict` keeps a detection by default, 0 to 1."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._threshold = check_score(value)

    def __copy__(self) -> Detector:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Of pickle and deepcopy, which know no networks."""
        raise UserError(
            "a detector is not copied whole: load it again where it is needed, with `load_detector`"
        )

    def __call__(self, images: Any, threshold: float | None = None, **more: Any) -> Any:
        """`predict`."""
        return self.predict(images, threshold, **more)

    def changed(
        self,
        *,
        fast: bool = False,
        per_class: bool | None = None,
        iou: float | None = None,
        masks: bool = True,
    ) -> Detector:
        """The same detector, detecting in another way.

        Args:
            fast: At one scale only.
            per_class: Whether detections of different classes leave each other alone.
            iou: The overlap above which the lower-scored of two detections gives way, 0 to 1.
            masks: Whether it still makes masks, if it does.
        """
        other = copy.copy(self)
        other.has_masks = self.has_masks and masks
        if fast:
            other.high_res_hw = None
        if per_class is not None:
            other.suppression = replace(other.suppression, per_class=per_class)
        if iou is not None:
            other.suppression = replace(other.suppression, iou=iou)
        return other

    @overload
    def predict(  # type: ignore[overload-overlap]  # a path is a sequence of texts, too
        self, images: ImageLike, threshold: float | None = None, *, masks: Masks = True
    ) -> sv.Detections: ...
    @overload
    def predict(
        self, images: Iterable[ImageLike], threshold: float | None = None, *, masks: Masks = True
    ) -> list[sv.Detections]: ...
    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        threshold: float | None = None,
        *,
        masks: Masks = True,
    ) -> sv.Detections | list[sv.Detections]:
        """Find objects in one image or in a list of images of any sizes.

        Args:
            images: A path, a PIL image or an array (H, W, 3) uint8 RGB (OpenCV's are BGR: convert
                them first), or a list of these.
            threshold: Keep detections with at least this score, 0 to 1; the detector's own if None.
            masks: Whether the masks of a detector that has them are made: some milliseconds, of a
                Mask R-CNN most of the time. "rle": made one by one and kept as run lengths in
                `data["segmentation"]`: a hundred masks of a photo would take a gigabyte.

        Returns:
            supervision.Detections for each image, best first: `xyxy` float32 in pixels of the
            image, `confidence`, `class_id`, the class names in `data["class_name"]`, and, if it
            `has_masks`, `mask` (N, H, W) bool.

        Raises:
            UserError: If an image is of another shape or type, or cannot be read; or the threshold is
                no number from 0 to 1; or `masks` is none of these.
        """
        if os.getpid() != self._process:  # its threads are not here, and it would wait for them
            raise UserError(
                "the detector was loaded in another process, of which this one is a fork: load it in "
                'each, and start them by multiprocessing.get_context("spawn")'
            )
        if not (isinstance(masks, bool) or (isinstance(masks, str) and masks == "rle")):
            raise UserError(f'masks is {masks!r}: give True, False or "rle"')
        kept = self.threshold if threshold is None else check_score(threshold)
        arrays, is_one = as_images(images)
        masks = self.has_masks and masks
        found: list[sv.Detections] = []
        for start in range(0, len(arrays), _BATCH):
            try:
                found += self._predict_batch(arrays[start : start + _BATCH], kept, masks)
            except Exception as error:
                # Of a file, which may be anybody's; one that was trained just now has no folder.
                if isinstance(error, UserError) or of_system(error):
                    raise
                broken = self._broken(error)
                if broken is None:
                    raise
                raise broken from error
        return found[0] if is_one else found

    def _broken(self, error: Exception) -> UserError | None:
        """What to tell of an error of the network; None of one that was trained just now."""
        if self.folder is None:
            return None
        return UserError(f"{self.folder} is a broken detector ({reason_of(error)}): train it again")

    def _predict_batch(
        self, images: Sequence[np.ndarray], kept: float, masks: Masks
    ) -> list[sv.Detections]:
        import tensorflow as tf  # an exported detector (light.py) does without

        prepared = [self._functions.prepare(shrink(p, self.input_hw)) for p in images]
        if self.two_stage:
            return [
                self._predict_two_stage(image.shape[:2], inputs, filled_hw, kept, masks)
                for image, (inputs, filled_hw) in zip(images, prepared, strict=True)
            ]
        inputs = [tf.stack([inputs for inputs, _ in prepared])]
        if self.high_res_hw is not None:
            high_res = [self._functions.prepare_fine(shrink(p, self.high_res_hw)) for p in images]
            inputs.append(tf.stack(high_res))
        found = self.network(bool(masks))(*inputs)
        found, maps = found if masks else (found, None)
        y1x1y2x2, score, class_id, count = (t.numpy() for t in found)
        detections = []
        for i, (image, (_, filled_hw)) in enumerate(zip(images, prepared, strict=True)):
            # Sorted by score: masks are made of those that are kept alone.
            n = count[i] if maps is None else int((score[i][: count[i]] >= kept).sum())
            detections.append(
                to_detections(
                    image.shape[:2],
                    filled_hw.numpy(),
                    y1x1y2x2[i][:n],
                    score[i][:n],
                    class_id[i][:n],
                    self.classes,
                    kept,
                    None if maps is None else self._probability(maps, y1x1y2x2[i][:n], i),
                    self.suppression,
                    rle=masks == "rle",
                )
            )
        return detections

    def network(self, masks: bool) -> Callable[..., Any]:
        """Of a one-stage base: detects in inputs of each scale; with the maps for masks, if asked."""
        fine = "_fine" * (self.high_res_hw is not None)
        found: Callable[..., Any] = getattr(self._functions, f"detect{fine}{'_masks' * masks}")
        return found

    def _probability(self, maps: Any, y1x1y2x2: np.ndarray, image: int) -> np.ndarray:
        """(R, h, w) within the boxes (R, 4) of one of a batch's images."""
        if not len(y1x1y2x2):
            return np.zeros((0, 1, 1), np.float32)
        found: np.ndarray = self._functions.masks(
            maps, y1x1y2x2, np.full(len(y1x1y2x2), image, np.int32)
        ).numpy()
        return found

    def _predict_two_stage(
        self,
        size_hw: tuple[int, ...],
        inputs: tf.Tensor,
        filled_hw: tf.Tensor,
        kept: float,
        masks: Masks,
    ) -> sv.Detections:
        # No score reaches 2: no mask is made.
        found = self._functions.detect(inputs[None], filled_hw, kept, kept if masks else 2.0)
        boxes, score, class_id, *probability = (t.numpy() for t in found)
        return to_detections(
            size_hw,
            filled_hw.numpy(),
            boxes,
            score,
            class_id,
            self.classes,
            kept,
            probability[0] if masks and probability else None,
            self.suppression,
            rle=masks == "rle",
        )

    def weights(self) -> dict[str, np.ndarray]:
        """The values of the model's variables that are not constants of its graph, by their names."""
        return {variable.name: variable.numpy() for variable in self._functions.weights}

    def warm_up(self) -> None:
        """Do what TensorFlow does once, at the first image: a second or two, here and now."""
        self.predict(np.full((*self.input_hw, 3), 128, np.uint8))

    def save(self, folder: str | Path) -> None:
        """Write the detector to a folder, whole or not at all.

        Raises:
            UserError: If there is a file, or a folder of anything else than an earlier detector.
        """
        import tensorflow as tf

        from duckdetect.inference.serving import serving_signature

        folder = as_path(folder, "the detector's folder")
        check_folder(folder, FILES, "train")
        with atomic_path(folder) as part:
            signature = serving_signature(self)
            tf.saved_model.save(self._functions, str(part), signatures={SIGNATURE: signature})
            settings = {
                # What an older duckdetect can read, it shall read.
                "format": FORMAT if self.two_stage else 1,
                **({"two_stage": True} if self.two_stage else {}),
                **({"masks": self.has_masks} if self.two_stage or self.has_masks else {}),
                "classes": list(self.classes),
                "threshold": self.threshold,
                "base": self.base_name,
                "input_hw": list(self.input_hw),
                "fine_hw": list(self.high_res_hw) if self.high_res_hw else None,
                "suppression": asdict(self.suppression),
            }
            text = json.dumps(settings, indent=1, ensure_ascii=False)
            (part / _SETTINGS).write_text(text + "\n", encoding="utf-8")
        trust.remember(folder)
        self.folder = Path(folder)

    def export(self, out: str | Path, to: str | None = None, **settings: Any) -> Any:
        """Write the detector for another place; see `export.exporting.export_detector`.

        Args:
            out: The file: `.tflite`, `.onnx` or `.html`.
            to: "tflite", "onnx", "web" or "saved-model"; what the suffix says if None.
            settings: `weights`, `scales`, `data`, `accept`.
        """
        # By name: exporting stands on evaluation and training, which stand on this module.
        export = pkgutil.resolve_name("duckdetect.export.exporting:export_detector")
        return export(self, out, to, **settings)


_MORE_THAN_SURE = 1.01  # whole numbers of 8 bits round


def to_detections(
    size_hw: tuple[int, ...],
    filled_hw: np.ndarray,
    y1x1y2x2: np.ndarray,
    score: np.ndarray,
    class_id: np.ndarray,
    classes: Sequence[str],
    threshold: float = 0.0,
    masks: np.ndarray | None = None,
    suppression: Suppression = PER_CLASS,
    rle: bool = False,
) -> sv.Detections:
    """A model's output for one image as supervision.Detections in the image's pixels.

    Args:
        size_hw: The image's height and width, pixels.
        filled_hw: (2,), the parts of the model's input that the image fills.
        y1x1y2x2: (D, 4), parts of the model's input.
        score: (D,).
        class_id: (D,).
        classes: Names by class id.
        threshold: Keep detections with at least this score.
        masks: (D, h, w), the probabilities of masks within their boxes.
        suppression: What becomes of the lower-scored of two overlapping detections.
        rle: Whether masks become run lengths, one at a time.

    Raises:
        UserError: If the arrays do not belong together, or hold what is no score or no class.
    """
    import supervision as sv  # takes half a second, which training hides

    shapes = [np.shape(array) for array in (y1x1y2x2, score, class_id)]
    n = shapes[1][0] if shapes[1] else 0
    fits = shapes == [(n, 4), (n,), (n,)]
    if masks is not None:
        shapes.append(masks.shape)
        fits = fits and masks.ndim == 3 and len(masks) == n
    if not fits:
        raise UserError(f"the detector's output is of shapes {shapes}: train or export it again")
    if not ((score >= 0) & (score < _MORE_THAN_SURE)).all():  # NaN as well
        raise UserError(f"the detector scores {score.max()}, not 0 to 1: train or export it again")
    if not np.isfinite(y1x1y2x2[score >= threshold]).all():
        raise UserError("the detector's boxes are no finite numbers: train or export it again")
    height, width = size_hw[:2]
    xyxy = from_normalised(y1x1y2x2, (height, width), filled_hw)
    xyxy = np.clip(xyxy, 0, np.array([width, height] * 2, np.float32))
    # A box that lies wholly in a model's padding has no area left.
    good = np.flatnonzero(
        (score >= threshold) & (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    )
    unnamed = (class_id[good] < 0) | (class_id[good] >= len(classes))
    if unnamed.any():
        raise UserError(
            f"the detector finds class {class_id[good][unnamed][0]} and has {len(classes)} names: its "
            "files do not belong together, train or export it again"
        )
    order, score = suppression.rescore(xyxy[good], score[good], class_id[good])
    good, score = good[order][score >= threshold], score[score >= threshold]
    data: dict[str, Any] = {
        "class_name": np.array(classes, dtype=object)[class_id[good]].astype(str)
    }
    mask = None
    if masks is not None and rle:
        each = zip(masks[good, np.newaxis], xyxy[good, np.newaxis], strict=True)
        data[RLE_KEY] = rle_column(
            [encode_mask(paste_masks(*one, (height, width))[0]) for one in each]
        )
    elif masks is not None:
        mask = paste_masks(masks[good], xyxy[good], (height, width))
    return sv.Detections(
        xyxy=xyxy[good].astype(np.float32),
        mask=mask,
        confidence=score.astype(np.float32),
        class_id=class_id[good].astype(int),
        data=data,
    )


# What `Detector.save` writes.
FILES = (
    r"detector\.json|saved_model\.pb|fingerprint\.pb|variables/variables\.(index|data-\d+-of-\d+)"
)
"""What a detector's files are called, as paths from its folder: a regular expression."""


def settings_path(folder: Path) -> Path:
    """The detector's settings in a run's folder, or in its `detector` folder."""
    for path in (folder / "detector" / _SETTINGS, folder / _SETTINGS):
        if path.exists():
            return path
    raise UserError(
        f"{folder} holds no detector: give a run's folder (the --out of `duckdetect train`)"
    )


def _saved(folder: str | Path) -> tuple[Path, Fields]:
    refuse_file(folder)
    path = settings_path(Path(folder))
    return path, read_json(path, "train it again")


def saved_threshold(folder: str | Path) -> float:
    """The threshold of a saved detector, which is not loaded.

    Raises:
        UserError: If there is no detector, or it is broken.
    """
    return _saved(folder)[1].number("threshold", 0, 1)


def save_threshold(folder: str | Path, threshold: float) -> float:
    """Give a saved detector another threshold, and return the one that it had.

    Raises:
        UserError: If there is no detector, it is broken, or the threshold is no number from 0 to 1.
    """
    path, settings = _saved(folder)
    before = settings.number("threshold", 0, 1)
    changed = {**settings.values, "threshold": check_score(threshold)}
    trusted = trust.is_trusted(path.parent)
    text = json.dumps(changed, indent=1, ensure_ascii=False)
    if not is_unicode(text):  # half a letter, in what nobody reads here
        text = json.dumps(changed, indent=1)
    with atomic_path(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    note_change(path.parent, path.name)
    if trusted:
        trust.remember(path.parent)
    return before


def load_detector(folder: Any) -> Detector:
    """Load a detector from a run's folder, from its `detector` folder, or from an exported file.

    A detector is given back, and so is a `TrainRun`'s. A `.tflite` or `.onnx` file runs without
    TensorFlow (light.py).

    Raises:
        UserError: If there is no detector, it is broken or of a newer format, or it holds operations that
            reach beyond it (trust.py). What it computes is not judged: a detector is a program, load
            only those whose author you know.
    """
    if not isinstance(folder, str | Path):
        return as_detector(folder)
    folder = as_path(folder, "the run")
    if folder.suffix.lower() in (".tflite", ".onnx") and not folder.is_dir():
        from duckdetect.inference.light import load_light

        return load_light(folder)
    refuse_fork()
    path = settings_path(folder)
    folder = path.parent
    cure = "train it again"
    settings = read_json(path, cure)
    version = settings.whole("format", least=1)
    if version > FORMAT:
        raise UserError(f"{path} was written by a newer duckdetect: upgrade duckdetect")
    classes = settings.names("classes")
    sizes = {
        key: settings.wholes(key, 2, least=1)
        for key in ("input_hw", "fine_hw")
        if key == "input_hw" or settings.has(key)
    }
    if any(side > MOST_INPUT_PX for size in sizes.values() for side in size):
        settings.fail(f"its input is {list(sizes.values())} pixels")
    two_stage = settings.flag("two_stage", default=False)
    has_masks = settings.flag("masks", default=False)
    trust.check_trust(folder)
    with waiting("loading TensorFlow"):  # which takes seconds: what can be said without it, is
        import tensorflow as tf
    trust.check_operations(folder)
    load: Callable[[str], Any] = tf.saved_model.load
    try:
        with waiting(f"loading {printable(folder)}"):
            functions = load(str(folder))
        needed = ["prepare", "detect", *(["prepare_fine", "detect_fine"] * ("fine_hw" in sizes))]
        if has_masks and not two_stage:
            needed += ["masks", *(f"{name}_masks" for name in needed if "detect" in name)]
        for name in needed:
            if not callable(getattr(functions, name, None)):
                raise ValueError(f"it has no function {name!r}")
        _check_inputs(functions, sizes, two_stage)
        _check_classes(functions, len(classes))
    except Exception as error:  # TensorFlow and protobuf raise a dozen kinds for a broken model
        raise UserError(f"{folder} is a broken detector ({reason_of(error)}): {cure}") from error
    input_hw, high_res_hw = sizes["input_hw"], sizes.get("fine_hw")
    detector = Detector(
        functions,
        classes,
        settings.text("base"),
        (input_hw[0], input_hw[1]),
        settings.number("threshold", 0, 1),
        two_stage=two_stage,
        has_masks=has_masks,
        high_res_hw=(high_res_hw[0], high_res_hw[1]) if high_res_hw else None,
        suppression=read_suppression(settings),
    )
    detector.folder = folder
    return detector


def _check_inputs(functions: Any, sizes: Mapping[str, Sequence[int]], two_stage: bool) -> None:
    """Raise ValueError if detecting does not take what the settings say: another size sees less."""

    def inputs(name: str) -> list[Any]:
        concrete = getattr(functions, name).concrete_functions[0]
        return list(concrete.structured_input_signature[0])

    # Of two stages: the image, the part of it that is filled, two numbers.
    if len(inputs("detect")) != (4 if two_stage else 1):
        raise ValueError("it is no detector of two stages" if two_stage else "it is of two stages")
    seen = {"input_hw": inputs("detect")[0]}
    if "fine_hw" in sizes:
        seen["fine_hw"] = inputs("detect_fine")[1]
    for key, tensor in seen.items():
        if not tensor.shape[1:3].is_compatible_with(sizes[key]):
            raise ValueError(f"its {key} is {list(sizes[key])}, it takes {list(tensor.shape[1:3])}")


def _check_classes(functions: Any, n_classes: int) -> None:
    """Raise ValueError if the network scores another number of classes than the settings name.

    That of a Faster R-CNN is not looked for: its suppression is of another kind.
    """
    for operation in functions.detect.concrete_functions[0].graph.get_operations():
        if operation.type == "CombinedNonMaxSuppression":
            n_scored = operation.inputs[1].shape[-1]  # (B, A, C)
            if n_scored not in (None, n_classes):
                raise ValueError(f"it scores {n_scored} classes and names {n_classes}")


def as_detector(what: Any) -> Detector:
    """A detector: itself, a run's, or the one in a folder.

    Raises:
        UserError: If it is something else, or holds no detector.
    """
    if isinstance(what, str | Path):
        return load_detector(what)
    found = getattr(what, "detector", what)  # a TrainRun's
    if not hasattr(found, "predict"):
        raise UserError(f"{what!r} is no detector: give one, a run, or a run's folder")
    return found
