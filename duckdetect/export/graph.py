"""A saved detector's network as one frozen graph, and what surrounds it, found in the graph itself.

    network = read_network(detector, scales=2)
    network.raw            # inputs (1, h, w, 3) -> y1x1y2x2 (A, 4), score (A, C), before suppression
    network.whole          # the same inputs -> detections
    network.masks          # of a detector with masks: the maps that `raw` gives, boxes -> masks
    network.inputs, network.postprocess

Nothing is assumed of which base the detector has or which layers were trained: constants are read from
the saved functions, and what is rebuilt outside TensorFlow (the resize, the post-processing) is compared
with them on pictures of noise before it is used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from duckdetect.errors import UserError
from duckdetect.inference.exported import MAP, MASK_THRESHOLD, MASKS, ExportedModel
from duckdetect.inference.postprocess_numpy import Found, PostProcess
from duckdetect.inference.preprocess_numpy import Preprocess
from duckdetect.models.graphs import freeze, traced

if TYPE_CHECKING:
    from duckdetect.inference.detector import Detector

# Pictures of noise on which the rebuilt resize must give what the saved one gives.
_PROBES_HW = ((480, 640), (333, 250), (64, 97))
_MOST_RESIZE_ERROR = 1e-3  # of inputs that lie within a few units or, unnormalised, within 255
_MOST_BOX_ERROR = 1e-4  # of parts of the picture, and of scores


@dataclass(frozen=True)
class Network:
    """What an exporter takes.

    Attributes:
        raw: `inputs -> {"boxes": (1, A, 4), "scores": (1, A, C)}`, all that lies before suppression;
            of a detector with masks also the feature maps `map_0`, `map_1`, ...
        whole: `inputs -> {"boxes", "scores", "classes", "count"}`, suppression and voting within; of a
            detector with masks the inputs end with `mask_threshold`, a scalar, and `masks`
            (at least 1, h, w) are those of the detections that score as much, the first ones.
        masks: `(boxes (R, 4), *maps) -> {"masks": (R, h, w)}`, probabilities within the boxes; None of a
            detector without masks.
        signature: The inputs' specifications, batches of one.
        inputs: How a picture becomes each input.
        postprocess: What `raw`'s boxes go through to be `whole`'s.
    """

    raw: Any
    whole: Any
    masks: Any
    signature: tuple[tf.TensorSpec, ...]
    inputs: tuple[Preprocess, ...]
    postprocess: PostProcess

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs' names, as exported files have them."""
        return tuple(spec.name for spec in self.signature)


def read_network(detector: Detector, scales: int | None = None) -> Network:
    """Freeze a detector's network and find out what surrounds it.

    Args:
        detector: A detector of the SSD family, as `load_detector` reads it.
        scales: 1 or 2, at how many sizes it sees a picture; all it has if None.

    Raises:
        UserError: If the detector has fewer scales, or is of a kind that is not known.
    """
    scales = resolve_scales(detector, scales)
    functions = detector._functions
    sizes = [detector.input_hw]
    resizers: list[Any] = [lambda image: functions.prepare(image)]
    if scales == 2:
        assert detector.high_res_hw is not None
        sizes.append(detector.high_res_hw)
        resizers.append(lambda image: (functions.prepare_fine(image), np.ones(2)))
    inputs = tuple(
        _preprocess(resizer, saved, size_hw)
        for resizer, saved, size_hw in zip(
            resizers, (functions.prepare, getattr(functions, "prepare_fine", None)), sizes,
            strict=False,
        )
    )  # fmt: skip
    frozen = freeze(concrete(detector.network(detector.has_masks)))
    suppressions = [
        op for op in frozen.graph.get_operations() if op.type == "CombinedNonMaxSuppression"
    ]
    if len(suppressions) != 1:
        raise UserError(
            f"this {detector.base_name} has {len(suppressions)} suppressions where one is known: "
            "export it with --to saved-model"
        )
    names = ("image", "image_high_resolution")[:scales]
    signature = tuple(
        tf.TensorSpec([1, *size_hw, 3], tf.float32, name)
        for size_hw, name in zip(sizes, names, strict=True)
    )
    fed = frozen.inputs[:scales]  # what follows are captured tables, unused once frozen
    found, maps = list(frozen.outputs)[:4], list(frozen.outputs)[4:] if detector.has_masks else []
    raw = _named(
        _pruned(frozen, fed, [*suppressions[0].inputs[:2], *maps]), signature, _raw_outputs
    )
    whole = _named(_pruned(frozen, fed, found), signature, _whole_outputs)
    n_boxes, n_classes = raw.get_concrete_function().structured_outputs["scores"].shape[1:]
    postprocess = _postprocess(suppressions[0], frozen, (n_boxes, n_classes))
    masks = None
    if detector.has_masks:
        of_regions = _of_regions(functions.masks, len(maps))
        whole = _with_masks(_pruned(frozen, fed, [*found, *maps]), of_regions, signature)
        masks = _named(
            of_regions,
            [
                tf.TensorSpec([None, 4], tf.float32, "boxes"),
                *(tf.TensorSpec(m.shape, tf.float32, name) for name, m in _maps(raw).items()),
            ],
            lambda probability: {MASKS: probability},
        )
    return Network(raw, whole, masks, signature, inputs, postprocess)


def describe(detector: Detector, network: Network, weights: str) -> ExportedModel:
    """What an exported file says of itself."""
    return ExportedModel(
        detector.classes,
        detector.threshold,
        detector.base_name,
        weights,
        network.inputs,
        network.input_names,
        network.postprocess,
        detector.suppression,
        detector.has_masks,
    )


def resolve_scales(detector: Detector, scales: int | None) -> int:
    """At how many sizes the exported detector sees a picture.

    Raises:
        UserError: If the detector has fewer.
    """
    has = 1 if detector.high_res_hw is None else 2
    if scales is None:
        return has
    if scales not in (1, 2):
        raise UserError(f"--scales is {scales}: give 1 or 2")
    if scales > has:
        raise UserError(
            f"this {detector.base_name} sees a picture at one size alone: leave --scales out"
        )
    return scales


def concrete(function: Any) -> Any:
    """The one traced graph of a saved function, or of one that was just trained."""
    traced = getattr(function, "concrete_functions", None)
    return traced[0] if traced else function.get_concrete_function()


def _pruned(frozen: Any, feeds: list[Any], fetches: list[Any]) -> Any:
    """What lies between some tensors of a frozen function and others.

    Raises:
        UserError: If more than that goes into them, as in detectors of version 0.1.0.
    """
    try:
        return frozen.prune(feeds, fetches)
    except Exception as error:  # TensorFlow's own type is private
        raise UserError(
            "this detector's network cannot be told from what surrounds it: "
            "export it with --to saved-model, or train it again"
        ) from error


def _named(pruned: Any, signature: Sequence[tf.TensorSpec], name: Callable[..., Any]) -> Any:
    @traced(input_signature=list(signature))
    def run(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = name(*pruned(*inputs))
        return outputs

    return run


def _raw_outputs(boxes: tf.Tensor, scores: tf.Tensor, *maps: tf.Tensor) -> dict[str, tf.Tensor]:
    named = {f"{MAP}{i}": one for i, one in enumerate(maps)}
    return {"boxes": tf.squeeze(boxes, 2), "scores": scores, **named}


def _whole_outputs(
    boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, count: tf.Tensor
) -> dict[str, tf.Tensor]:
    return {"boxes": boxes, "scores": scores, "classes": classes, "count": count}


def _maps(raw: Any) -> dict[str, tf.Tensor]:
    """The maps among `Network.raw`'s outputs, as it says their shapes, by name."""
    outputs = raw.get_concrete_function().structured_outputs
    return {name: one for name, one in outputs.items() if name.startswith(MAP)}


def _of_regions(saved: Any, n_maps: int) -> Callable[..., list[tf.Tensor]]:
    """(boxes (R, 4), maps of one picture) -> the probabilities of masks (R, h, w), the only output."""
    frozen = freeze(concrete(saved))
    pruned = _pruned(frozen, frozen.inputs[: n_maps + 2], list(frozen.outputs))

    def run(boxes: tf.Tensor, *maps: tf.Tensor) -> list[tf.Tensor]:
        found: list[tf.Tensor] = pruned(*maps, boxes, tf.zeros(tf.shape(boxes)[:1], tf.int32))
        return found

    return run


def _with_masks(
    pruned: Any, of_regions: Callable[..., list[tf.Tensor]], signature: Sequence[tf.TensorSpec]
) -> Any:
    """`Network.whole` of a detector with masks."""

    def run(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        *pictures, threshold = inputs
        boxes, scores, classes, count, *maps = pruned(*pictures)
        # Of none at all a convolution can make nothing: one is made, and counted by nobody.
        n = tf.maximum(1, tf.reduce_sum(tf.cast(scores[0] >= threshold, tf.int32)))
        found = _whole_outputs(boxes, scores, classes, count)
        return {**found, MASKS: of_regions(boxes[0, :n], *maps)[0]}

    threshold = tf.TensorSpec([], tf.float32, MASK_THRESHOLD)
    return traced(run, input_signature=[*signature, threshold])


def _preprocess(run: Any, saved: Any, size_hw: tuple[int, int]) -> Preprocess:
    """The saved resize and normalisation, rebuilt and compared."""
    half_pixel = any(
        op.get_attr("half_pixel_centers")
        for op in freeze(concrete(saved)).graph.get_operations()
        if op.type == "ResizeBilinear"
    )
    black, white = (
        np.asarray(run(tf.fill([32, 32, 3], tf.constant(value, tf.uint8)))[0], np.float64)[0, 0]
        for value in (0, 255)
    )
    rng = np.random.default_rng(0)
    probes = [rng.integers(0, 256, (*hw, 3), dtype=np.uint8) for hw in _PROBES_HW]
    wanted = [tuple(map(np.asarray, run(tf.constant(probe)))) for probe in probes]
    rebuilt = Preprocess(
        size_hw=(int(size_hw[0]), int(size_hw[1])),
        half_pixel_centers=bool(half_pixel),
        scale=_triple((white - black) / 255),
        offset=_triple(black),
        keep_aspect=any((filled_hw < 1 - 1e-6).any() for _, filled_hw in wanted),
    )
    for probe, (inputs, filled_hw) in zip(probes, wanted, strict=True):
        ours, filled = rebuilt.run(probe)
        error = np.abs(ours - inputs).max()
        if error > _MOST_RESIZE_ERROR * max(1.0, np.abs(inputs).max() / 3) or not np.allclose(
            filled, filled_hw, atol=1e-5
        ):
            raise UserError(
                f"this detector resizes pictures in a way that is not known (off by {error:.3g}): "
                "export it with --to saved-model"
            )
    return rebuilt


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _postprocess(suppression: Any, frozen: Any, shape: tuple[int, int]) -> PostProcess:
    """The suppression's settings, and whether voting follows it, of (A, C) scores."""
    per_class, total, iou, min_score = (
        tf.get_static_value(tensor) for tensor in suppression.inputs[2:6]
    )
    if None in (per_class, total, iou, min_score):
        raise UserError(
            "this detector's suppression has settings that depend on the picture: "
            "export it with --to saved-model"
        )
    plain = PostProcess(
        iou=round(float(iou), 7),
        min_score=float(min_score),
        max_per_class=int(per_class),
        max_total=int(total),
    )
    # What follows the network alone, on boxes whose scores differ: those of a network may all be alike.
    boxes_op = suppression.inputs[0].op  # (B, A, 4) gets an axis for classes here
    after = _pruned(frozen, [boxes_op.inputs[0], suppression.inputs[1]], list(frozen.outputs)[:4])
    errors = {plain: 0.0, dataclasses.replace(plain, voting=True): 0.0}
    for seed in range(2):
        boxes, score = _some_boxes(np.random.default_rng(seed), *shape)
        outputs = after(tf.constant(boxes[np.newaxis]), tf.constant(score[np.newaxis]))
        kept = {k: t.numpy()[0] for k, t in _whole_outputs(*outputs).items()}
        for candidate in errors:
            found = candidate.run(boxes, score)
            errors[candidate] = max(errors[candidate], _difference(found, kept))
    best, error = min(errors.items(), key=lambda one: one[1])
    if error > _MOST_BOX_ERROR:
        raise UserError(
            f"this detector's post-processing is not known (off by {error:.3g}): "
            "export it with --to saved-model"
        )
    return best


def _difference(found: Found, kept: dict[str, np.ndarray]) -> float:
    """The largest difference of scores, or of the mean box: equal scores may change places."""
    n = int(kept["count"])
    if n != len(found.score):
        return 1.0
    scores = np.abs(np.sort(kept["scores"][:n]) - np.sort(found.score)).max(initial=0)
    boxes = np.abs(kept["boxes"][:n].sum(0) - found.y1x1y2x2.sum(0)).max(initial=0)
    return max(float(scores), float(boxes) / max(n, 1))


def _some_boxes(rng: np.random.Generator, n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) boxes, parts of the picture, in clusters that overlap, and (n, C) scores."""
    n_places = 40
    centre = rng.uniform(0.1, 0.9, (n_places, 2))[rng.integers(n_places, size=n)]
    centre += rng.normal(0, 0.01, (n, 2))
    half = rng.uniform(0.03, 0.1, (n, 2))
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes.astype(np.float32), rng.uniform(0, 1, (n, n_classes)).astype(np.float32)
