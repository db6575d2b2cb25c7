"""The zoo's Mask R-CNN, whole: what is read from its checkpoint, and how wide its mask head is."""

from __future__ import annotations

import tensorflow as tf
from helpers.rcnn_bases import zoo_config

from duckdetect.models.interfaces import Sizes
from duckdetect.models.tfod.checkpoints import checkpoint_view
from duckdetect.models.tfod.load import build_two_stage
from duckdetect.training.config import summary_text

PREDICTOR = "model/_mask_rcnn_box_predictor"
MASKS = f"{PREDICTOR}/_third_stage_heads/mask_predictions/_mask_predictor_layers"
# Under these names the zoo's checkpoint holds them: tensorflow/models issue 9436 lists them.
CLASS_SPECIFIC = {
    f"{PREDICTOR}/_box_prediction_head/_box_encoder_layers/1",
    f"{PREDICTOR}/_class_prediction_head/_class_predictor_layers/1",
    f"{MASKS}/9",
}


def shapes(checkpoint, path):
    checkpoint.write(str(path))
    found = dict(tf.train.list_variables(str(path)))
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {n.removesuffix(suffix): s for n, s in found.items() if n.endswith(suffix)}


def test_all_but_the_class_specific_layers_is_read_under_the_apis_names(tmp_path):
    base = build_two_stage("mask_rcnn", zoo_config(), 2, sizes=Sizes(proposals=50))
    assert base.input_hw == (1024, 1024)
    assert (base.n_proposals, base.n_sampled, base.n_positive) == (50, 50, 12)
    read = shapes(checkpoint_view(base.model), tmp_path / "read")
    written = shapes(tf.train.Checkpoint(model=base.model), tmp_path / "written")

    left_out = {name.rpartition("/")[0] for name in written.keys() - read.keys()}
    assert left_out - {"save_counter"} - {""} == CLASS_SPECIFIC
    assert {name: written[name] for name in read if name in written} == {
        name: shape for name, shape in read.items() if name != "save_counter"
    }
    assert len(read) > 890
    # Not the 16 channels that the API would give a model of two classes: those of 90 are restored.
    assert read[f"{MASKS}/0/kernel"] == [3, 3, 1536, 256]
    assert read[f"{MASKS}/6/kernel"] == [3, 3, 256, 256]
    assert written[f"{MASKS}/9/kernel"] == [3, 3, 256, 2]

    text = summary_text("mask_rcnn", base.summary("heads"))
    assert "features                  342                -      26,891,360" in text
    assert text.splitlines()[-1].split() == ["all", "457", "4,740,877", "59,387,688"]
