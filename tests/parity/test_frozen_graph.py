"""Our SSD MobileNet V2 computes what COCO's frozen graph computes, on real pictures."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.bases import mobilenet_with_coco_head

from duckdetect.imaging.io import list_images, load_image
from duckdetect.inference.build import export_detector
from duckdetect.models.graphs import frozen_part
from duckdetect.models.weights import fetch

TENSORS = [
    "Postprocessor/ExpandDims_1:0",  # all anchors' decoded boxes
    "Postprocessor/convert_scores:0",  # all anchors' scores, background first
    "detection_boxes:0",
    "detection_scores:0",
    "detection_classes:0",
    "num_detections:0",
]


@pytest.fixture(scope="module")
def frozen_graph():
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(fetch("ssd_mobilenet_v2", progress=False).frozen_graph.read_bytes())
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    return wrapped.prune("image_tensor:0", TENSORS)


@pytest.fixture(scope="module")
def base():
    return mobilenet_with_coco_head()


def images(shared_data):
    return [
        load_image(path)
        for folder in ("ducky/train", "raccoon/images", "people/test")
        for path in list_images(shared_data / folder)[:5]
    ]


def test_boxes_and_scores_of_all_anchors(base, frozen_graph, shared_data):
    for image in images(shared_data):
        boxes, scores = (t.numpy()[0] for t in frozen_graph(tf.constant(image[None]))[:2])
        inputs, filled_hw = base.prepare(tf.constant(image))
        np.testing.assert_array_equal(filled_hw, 1)
        features = base.lower(inputs[None], "heads")
        codes = base.box_codes(features.box)
        logits = base.class_logits(features.classes)
        ours, _ = base.model._batch_decode(codes, base._anchors)
        np.testing.assert_allclose(ours.numpy()[0], boxes.reshape(-1, 4), atol=1e-4)
        np.testing.assert_allclose(tf.sigmoid(logits).numpy()[0], scores, atol=1e-4)


def test_detections_in_pixels(base, frozen_graph, shared_data):
    names = [str(i) for i in range(90)]
    detector = export_detector(base, frozen_part(base, "heads"), "heads", names)
    detector = detector.changed(per_class=True)  # as the graph suppresses
    compared = 0
    for image in images(shared_data):
        boxes, scores, classes, count = (
            t.numpy()[0] for t in frozen_graph(tf.constant(image[None]))[2:]
        )
        found = detector.predict(image, threshold=0.3)  # the graph's own threshold
        n = int(count)
        assert len(found) == n
        height, width = image.shape[:2]
        expected = boxes[:n, [1, 0, 3, 2]] * np.array([width, height, width, height])
        np.testing.assert_allclose(found.confidence, scores[:n], atol=1e-4)
        np.testing.assert_array_equal(found.class_id, classes[:n].astype(int) - 1)
        np.testing.assert_allclose(found.xyxy, expected, atol=1e-4 * max(width, height))
        compared += n
    assert compared > 15, "too few detections to prove anything"
