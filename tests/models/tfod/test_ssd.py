"""RetinaNet50 is built as the zoo builds it and takes all it should from a checkpoint."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import RETINANET_CONFIG, retinanet

from duckdetect import UserError
from duckdetect.models.tfod.api import pipeline_pb2, text_format
from duckdetect.models.tfod.checkpoints import checkpoint_view, restore_checkpoint
from duckdetect.models.tfod.load import build_base, load_base
from duckdetect.models.weights import fetch

CLASS_HEAD = "_prediction_heads/class_predictions_with_background"


def parse(path):
    return text_format.Parse(path.read_text(), pipeline_pb2.TrainEvalPipelineConfig())


def is_class_head(variable):
    return "ClassHead" in variable.name or "ClassPredictor" in variable.name


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An unpacked zoo archive, its checkpoint written by the API's own model, and its values."""
    folder = tmp_path_factory.mktemp("zoo") / "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8"
    base = retinanet(num_classes=90, seed=1)
    rng = np.random.default_rng(7)
    for variable in base.variables():
        variable.assign(rng.normal(size=variable.shape).astype(np.float32))
    tf.train.Checkpoint(model=base.model).write(str(folder / "checkpoint" / "ckpt-0"))
    message = parse(RETINANET_CONFIG)
    resizer = message.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = 256
    (folder / "pipeline.config").write_text(text_format.MessageToString(message))
    return folder, {v.name: v.numpy() for v in base.variables() if not is_class_head(v)}


def test_everything_but_the_class_head_is_restored(archive, tmp_path):
    folder, expected = archive
    files = fetch("retinanet50", source=folder, cache_dir=tmp_path, progress=False)
    base = load_base(files, num_classes=2, seed=5)
    fresh = retinanet(num_classes=2, seed=5)

    restored = [v for v in base.variables() if not is_class_head(v)]
    assert len(restored) > 300
    # Keras numbers the layers of a second model on: order, not names, pairs the variables.
    for variable, value in zip(restored, expected.values(), strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, variable.name)
    ours = [v.numpy() for v in base.variables() if is_class_head(v)]
    new = [v.numpy() for v in fresh.variables() if is_class_head(v)]
    assert [w.shape for w in ours] == [(3, 3, 256, 18), (18,)]
    for value, untouched in zip(ours, new, strict=True):
        np.testing.assert_array_equal(value, untouched)
    np.testing.assert_allclose(ours[1], -np.log(99), rtol=1e-6)


@pytest.mark.parametrize("left_out", ["_feature_extractor", "_box_prediction_head"])
def test_a_checkpoint_that_lacks_a_part_is_refused(left_out, tmp_path):
    base = retinanet()
    parts = {"_feature_extractor": base.model._feature_extractor}
    predictor = {"_base_tower_layers_for_heads": base.predictor._base_tower_layers_for_heads}
    if left_out != "_box_prediction_head":
        predictor["_box_prediction_head"] = base.predictor._box_prediction_head
    if left_out == "_feature_extractor":
        del parts["_feature_extractor"]
    model = tf.train.Checkpoint(_box_predictor=tf.train.Checkpoint(**predictor), **parts)
    tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt-0"))
    with pytest.raises(UserError, match="does not fit this model"):
        restore_checkpoint(base.model, tmp_path / "ckpt-0")


def test_a_broken_checkpoint_is_one_clear_line(tmp_path):
    base = retinanet()
    tf.train.Checkpoint(model=checkpoint_view(base.model)).write(str(tmp_path / "ckpt-0"))
    for name in ("ckpt-0.index", "ckpt-0.data-00000-of-00001"):
        good = (tmp_path / name).read_bytes()
        for byte in (b"\x00", b"\xff", b"x"):
            (tmp_path / name).write_bytes(byte * len(good))
            with pytest.raises(UserError, match="fetch the base model again") as caught:
                restore_checkpoint(base.model, tmp_path / "ckpt-0")
            assert "\n" not in str(caught.value)
        (tmp_path / name).write_bytes(good)


def names_read(base, tmp_path):
    checkpoint_view(base.model).write(str(tmp_path / "ckpt"))
    return dict(tf.train.list_variables(str(tmp_path / "ckpt")))


def test_every_name_and_shape_is_in_the_zoos_index(shared_data, tmp_path):
    index = dict(tf.train.list_variables(str(shared_data / "odapi_index/r50fpn/ckpt-0")))
    ours = names_read(retinanet(side_px=640), tmp_path)
    ours.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    wrong = {n: (s, index.get(n)) for n, s in ours.items() if index.get(n) != s}
    assert not wrong
    # What is left in the zoo's checkpoint is the class head and its book-keeping, nothing else.
    left = [n for n in index if n not in ours]
    assert all(CLASS_HEAD in n or n.startswith(("_CHECKPOINT", "save_counter")) for n in left), left
    assert any(CLASS_HEAD in n for n in left)


def test_any_other_ssd_of_the_zoo_by_the_same_code(shared_data, tmp_path):
    folder = shared_data / "odapi_index" / "fpnlite320"
    index = dict(tf.train.list_variables(str(folder / "ckpt-0")))
    base = build_base("fpnlite", parse(folder / "pipeline.config").model, 3)
    ours = names_read(base, tmp_path)
    ours.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert not {n: (s, index.get(n)) for n, s in ours.items() if index.get(n) != s}
    assert base.input_hw == (320, 320)


def rounded(message):
    """A message as text, numbers to six digits: the zoo's file holds 0.0399999991."""
    text = text_format.MessageToString(message)
    return re.sub(r"\d+\.\d+(e-\d+)?", lambda m: f"{float(m[0]):.6g}", text)


def test_the_tests_configuration_is_the_zoos(shared_data):
    ours = parse(RETINANET_CONFIG).model
    real = parse(shared_data / "odapi_index" / "r50fpn" / "pipeline.config").model
    real.ssd.num_classes = 90  # the copy at hand was once written for 4 classes
    assert rounded(ours) == rounded(real)


def test_other_families_are_refused_by_name():
    message = parse(RETINANET_CONFIG).model
    message.ClearField("ssd")
    message.center_net.num_classes = 1
    with pytest.raises(UserError, match="center_net"):
        build_base("centernet", message, 1)


def test_seeds_decide_the_class_head():
    first, again, other = (
        [v.numpy() for v in retinanet(seed=s).variables() if is_class_head(v)] for s in (0, 0, 1)
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
