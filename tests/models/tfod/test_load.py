"""A pipeline.config of a stranger: what cannot be built is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from duckdetect.errors import UserError
from duckdetect.models.tfod.api import parse_config, pipeline_pb2
from duckdetect.models.tfod.load import build_base

BASES = Path(__file__).resolve().parents[2] / "fixtures" / "v0_1_0" / "project" / "bases"
CONFIG = BASES / "ssd_mobilenet_v2_320x320_coco17_tpu-8" / "pipeline.config"


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("height: 96", "height: -1"),
        ("height: 96", "height: 1000000"),
        ('type: "ssd_mobilenet_v2_keras"', 'type: "os.system"'),
        ("fixed_shape_resizer", "identity_resizer"),
    ],
)
def test_what_cannot_be_built_is_told(tmp_path: Path, good: str, bad: str) -> None:
    text = CONFIG.read_text()
    assert good in text
    text = text.replace(good, bad)
    if "identity" in bad:
        text = text.replace("height: 96", "").replace("width: 96", "")
    (tmp_path / "pipeline.config").write_text(text)
    config = parse_config(tmp_path / "pipeline.config", pipeline_pb2.TrainEvalPipelineConfig())
    with pytest.raises(UserError, match=r"ssd cannot be built from its pipeline\.config"):
        build_base("ssd", config.model, 1)
