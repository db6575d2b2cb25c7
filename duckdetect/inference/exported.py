"""What an exported file says of itself, so that the file alone is enough to use it.

    about = ExportedModel.from_json(text)
    about.classes, about.threshold, about.inputs[0].size_hw

One JSON text: in a TFLite file an associated file, in an ONNX file a metadata property, in a web page a
script element.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from duckdetect.errors import UserError
from duckdetect.inference.postprocess_numpy import PostProcess
from duckdetect.inference.preprocess_numpy import Preprocess
from duckdetect.inference.suppression import Suppression, read_suppression
from duckdetect.utils.schema import Fields, fields_of, rows_of

NAME = "duckdetect.json"
"""The metadata's name within a file."""
LABELS = "labels.txt"
CHECKSUM = "duckdetect.sha256"
"""The name of the network's SHA-256 in hex beside it: of a TFLite file's bytes before its associated
files, of an ONNX file's bytes with `NO_CHECKSUM` in the sum's own place. Earlier exports have none."""
NO_CHECKSUM = "0" * 64
SIGNATURE = "serving_default"
MASKS_SIGNATURE = "serving_masks"
"""A TFLite file's second function: boxes and the first one's maps to masks."""
MAP, MASKS, MASK_THRESHOLD = "map_", "masks", "mask_threshold"
"""Of a detector with masks: how the names of its maps begin, the output, and an ONNX file's input, the
score from which masks are made."""
FORMAT = 1
MOST_INPUT_PX = 10_000
"""No network sees a larger input; EfficientDet D7's is 1536."""
_MOST_SCALES = 2
_MOST_BOXES = 10_000  # each is compared with each
_MOST_VALUE = 1e6  # of the factors of a colour, which are about 1, and of what is added
_CURE = "export the detector again"


@dataclass(frozen=True)
class ExportedModel:
    """How to use an exported file.

    Attributes:
        classes: Names by class id.
        threshold: The score at or above which a detection is kept by default.
        base: The base model that the detector was trained from.
        weights: "float32", "float16" or "int8".
        inputs: How a picture becomes each of the network's inputs, in order: one for each scale.
        input_names: The inputs' names in the file.
        postprocess: What the raw boxes go through; None where the file holds that too.
        suppression: What becomes of the lower-scored of two overlapping detections after that.
        masks: Whether the file makes masks.
    """

    classes: tuple[str, ...]
    threshold: float
    base: str
    weights: str
    inputs: tuple[Preprocess, ...]
    input_names: tuple[str, ...]
    postprocess: PostProcess | None
    suppression: Suppression = Suppression()  # noqa: RUF009  (it cannot be changed)
    masks: bool = False

    def to_json(self) -> str:
        """As it is written into a file."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, path: object = "the file") -> ExportedModel:
        """As it was written by `to_json`; every field is checked, a file may be a stranger's.

        Raises:
            UserError: If it is something else, or of a newer format.
        """
        fields = fields_of(text, str(path), _CURE)
        if fields.whole("format", least=1) > FORMAT:
            raise UserError(f"{path} was exported by a newer duckdetect: upgrade duckdetect")
        inputs = tuple(map(_preprocess, rows_of(fields.list("inputs"), f"{path}: inputs", _CURE)))
        names = fields.texts("input_names", least=1)
        if not len(inputs) == len(names) <= _MOST_SCALES:
            fields.fail(f"it has {len(inputs)} inputs of {len(names)} names")
        return cls(
            fields.names("classes"),
            fields.number("threshold", 0, 1),
            fields.text("base"),
            fields.text("weights"),
            inputs,
            names,
            _postprocess(fields.object("postprocess")) if fields.has("postprocess") else None,
            read_suppression(fields),
            fields.flag("masks", default=False),
        )


def _preprocess(one: Fields) -> Preprocess:
    height, width = one.wholes("size_hw", 2, least=1)
    if max(height, width) > MOST_INPUT_PX:
        one.fail(f"its size is {height} x {width} pixels")
    scale, offset = one.numbers("scale", 3), one.numbers("offset", 3)
    if max(map(abs, (*scale, *offset))) > _MOST_VALUE:
        one.fail(f"its scale and offset are {scale}, {offset}")
    return Preprocess(
        (height, width),
        one.flag("half_pixel_centers"),
        (scale[0], scale[1], scale[2]),
        (offset[0], offset[1], offset[2]),
        one.flag("keep_aspect", default=False),
    )


def _postprocess(one: Fields) -> PostProcess:
    return PostProcess(
        iou=one.number("iou", 0, 1),
        min_score=one.number("min_score", 0, 1),
        max_per_class=one.whole("max_per_class", least=1, most=_MOST_BOXES),
        max_total=one.whole("max_total", least=1, most=_MOST_BOXES),
        voting=one.flag("voting"),
        vote_iou=one.number("vote_iou", 0, 1),
        voters=one.whole("voters", least=1, most=_MOST_BOXES),
        soft_nms_sigma=one.number("soft_nms_sigma", 1e-6, 1e6),
    )
