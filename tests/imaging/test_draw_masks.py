"""Masks on pictures and in detections.json: drawn where they are, read back as they were."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from duckdetect.data.augment import PlainViews, View
from duckdetect.data.contact_sheet import label_sheet, view_sheet
from duckdetect.data.dataset import Sample
from duckdetect.data.loading import load_dataset
from duckdetect.errors import UserError
from duckdetect.imaging.draw import class_color, draw_detections, draw_masks
from duckdetect.imaging.geometry import compacted, decode_rle, draw_outlines, rasterise
from duckdetect.imaging.io import load_image
from duckdetect.inference.detections_json import read_detections, write_detections_json

CLASSES = ("person", "dog")


@pytest.fixture(scope="module")
def people(shared_data: Path) -> list[View]:
    """Photos with one to nine people, masked."""
    dataset = load_dataset(shared_data / "people", "train")
    return list(PlainViews(dataset.samples[:8], masks=True))


def found(view: View, seed: int = 0) -> sv.Detections:
    score = np.random.default_rng(seed).random(len(view.xyxy)).round(3)
    return sv.Detections(
        xyxy=view.xyxy,
        confidence=score.astype(np.float32),
        class_id=view.class_id,
        mask=view.masks,
    )


def scaled(view: View, size_wh: tuple[int, int]) -> View:
    assert view.masks is not None
    factor = np.tile(np.array(size_wh) / view.image.shape[1::-1], 2)
    return View(
        np.asarray(Image.fromarray(view.image).resize(size_wh)),
        (view.xyxy * factor).astype(np.float32),
        view.class_id,
        view.name,
        np.stack([np.asarray(Image.fromarray(mask).resize(size_wh)) for mask in view.masks]),
    )


def eroded(mask: np.ndarray, px: int) -> np.ndarray:
    """The pixels with none outside within `px`."""
    small = mask.copy()
    for axis in (0, 1):
        before = small.copy()
        for shift in range(-px, px + 1):
            small &= np.roll(before, shift, axis)
    return small


@pytest.mark.parametrize("size_wh", [(96, 72), (640, 480), (1600, 1200)])
def test_masks_are_veiled_and_outlined_at_any_size(
    people: list[View], size_wh: tuple[int, int]
) -> None:
    view = scaled(people[4], size_wh)
    masks = view.masks
    assert masks is not None
    before = view.image.copy()
    color = class_color(0)
    drawn = draw_masks(view.image, masks, [color] * len(masks))
    np.testing.assert_array_equal(view.image, before)
    line_px = max(1, round(max(size_wh) / 600))
    union = masks.any(axis=0)
    far = eroded(~union, 2 * line_px)
    np.testing.assert_array_equal(drawn[far], before[far])
    # Inside, two fifths of the colour and three of the picture, however many masks overlap.
    inner = eroded(union, 2 * line_px)
    for mask in masks:
        inner &= eroded(mask, 2 * line_px) | eroded(~mask, 2 * line_px)
    assert inner.sum() > 0.1 * union.sum()
    expected = 0.4 * np.array(color) + 0.6 * before[inner].astype(float)
    assert np.abs(drawn[inner] - expected).max() <= 1
    # The outline is the colour itself.
    edge = (drawn == color).all(axis=2)
    assert edge.sum() > 0.5 * line_px * np.count_nonzero(union & ~eroded(union, 1))


def test_a_small_mask_lies_on_a_large_one() -> None:
    image = np.full((100, 100, 3), 100, np.uint8)
    masks = np.zeros((3, 100, 100), bool)
    masks[0, 40:60, 40:60] = True
    masks[1, 10:90, 10:90] = True
    red, blue = (255, 0, 0), (0, 0, 255)
    drawn = draw_masks(image, masks, [red, blue, red])  # the third is empty
    assert drawn[50, 50].tolist() == [162, 60, 60]
    assert drawn[20, 20].tolist() == [60, 60, 162]
    assert drawn[5, 5].tolist() == [100, 100, 100]
    assert drawn[10, 50].tolist() == [0, 0, 255]
    np.testing.assert_array_equal(draw_masks(image, masks[2:], [red]), image)


def test_a_hole_stays_clear() -> None:
    image = np.full((100, 100, 3), 100, np.uint8)
    mask = np.zeros((1, 100, 100), bool)
    mask[0, 10:90, 10:90] = True
    mask[0, 30:70, 30:70] = False
    drawn = draw_masks(image, mask, [(255, 0, 0)])
    assert (drawn[35:65, 35:65] == 100).all()
    assert (drawn[28:32, 50] == [255, 0, 0]).all(axis=1).any()


def test_boxes_and_labels_lie_on_the_masks(people: list[View]) -> None:
    for view in people:
        detections = found(view)
        boxes = sv.Detections(view.xyxy, None, detections.confidence, detections.class_id)
        plain = draw_detections(view.image, boxes, CLASSES)
        drawn = draw_detections(view.image, detections, CLASSES)
        ink = (plain != view.image).any(axis=2)
        np.testing.assert_array_equal(drawn[ink], plain[ink])
        assert (drawn != plain).any()
        # Run lengths are drawn as masks are.
        again = draw_detections(view.image, compacted(detections), CLASSES)
        np.testing.assert_array_equal(again, drawn)


def test_detections_come_back_from_the_file(people: list[View], tmp_path: Path) -> None:
    path = tmp_path / "detections.json"
    records = [(i, view.name, found(view, i)) for i, view in enumerate(people)]
    write_detections_json(path, [*records, (99, "none.jpg", sv.Detections.empty())], CLASSES)
    back = read_detections(path)
    assert [(i, name) for i, name, _ in back] == [(i, name) for i, name, _ in records]
    for (_, _, one), (_, _, again) in zip(records, back, strict=True):
        np.testing.assert_allclose(again.xyxy, one.xyxy, atol=2e-3)
        np.testing.assert_array_equal(again.confidence, one.confidence)
        np.testing.assert_array_equal(again.class_id, one.class_id)
        assert set(again.data["class_name"]) == {"person"}
        for rle, mask in zip(again.data["segmentation"], one.mask, strict=True):
            np.testing.assert_array_equal(decode_rle(rle), mask)
    # Written once more, it is the same file.
    write_detections_json(tmp_path / "again.json", back, CLASSES)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_boxes_alone_come_back_without_masks(tmp_path: Path) -> None:
    path = tmp_path / "detections.json"
    one = sv.Detections(
        np.array([[1, 2, 30, 40]], np.float32),
        None,
        np.array([0.87], np.float32),
        np.array([1]),
        np.array([5]),
    )
    write_detections_json(path, [(3, "ä.jpg", one)], CLASSES)
    ((image_id, name, back),) = read_detections(path)
    assert (image_id, name) == (3, "ä.jpg")
    assert "segmentation" not in back.data
    assert back.xyxy.tolist() == [[1, 2, 30, 40]]
    write_detections_json(path, [], CLASSES)
    assert read_detections(path) == []


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"bbox": [1, 2, 3]}, "has no bbox of four numbers"),
        ({"score": None}, "has no score from 0 to 1"),
        ({"score": 1.5}, "has no score from 0 to 1"),
        ({"bbox": [1, 2, -3, 4]}, "has a bbox of a negative width or height"),
        ({"image_id": "a"}, "has no image_id"),
        ({"category_id": 0}, "has no category_id from 1"),
        ({"segmentation": {"size": [10**6, 10**6], "counts": ""}}, "its mask is larger than any"),
        ({"segmentation": {"size": [], "counts": ""}}, "its mask has no size"),
        ({"segmentation": {"size": [4, 4], "counts": [3]}}, "run lengths do not fill the picture"),
    ],
)
def test_what_is_no_detections_file_gets_one_line(
    tmp_path: Path, change: dict[str, object], trouble: str
) -> None:
    good = {"image_id": 1, "file_name": "a.jpg", "category_id": 1, "bbox": [0, 0, 4, 4], "score": 1}
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([good, good | change]))
    with pytest.raises(UserError, match=f"detections.json, detection 2: .*{trouble}.*again$"):
        read_detections(path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"detections.json is broken .*: detect again"):
        read_detections(path)
    with pytest.raises(UserError, match="is missing"):
        read_detections(tmp_path / "missing.json")


def test_the_projects_own_masks_lie_on_the_ducks(project_data: Path) -> None:
    """The veil lies on the yellow duck: its outline separates yellow from what is not."""
    dataset = load_dataset(project_data / "ducks", "train")
    for view in PlainViews(dataset.samples, masks=True):
        assert view.masks is not None
        drawn = draw_masks(view.image, view.masks, [(0, 0, 255)])
        changed = (drawn != load_image(dataset.samples[0].path.parent / view.name)).any(axis=2)
        overlap = (changed & view.masks[0]).sum() / (changed | view.masks[0]).sum()
        assert overlap > 0.95


def test_the_sheets_show_masks_where_labels_have_them(project_data: Path) -> None:
    dataset = load_dataset(project_data / "ducks", "train").subset([0, 1])
    bare = replace(dataset, samples=tuple(replace(s, segmentation=None) for s in dataset))
    for sheet in (label_sheet, functools.partial(view_sheet, views=2, seed=4)):
        masked, boxes = (sheet(one, columns=2) for one in (dataset, bare))
        assert masked.shape == boxes.shape
        changed = (masked != boxes).any(axis=2)
        assert 0.005 < changed.mean() < 0.5  # the duck is veiled, its background is not
    small = dataset.samples[0].size_hw
    assert draw_outlines((), small) is None
    masks = draw_outlines([dataset.samples[0].segmentation[0], None], small, (60, 80))
    assert masks is not None
    assert masks.shape == (2, 60, 80)
    whole = rasterise(dataset.samples[0].segmentation[0], small)
    assert masks[0].mean() == pytest.approx(whole.mean(), rel=0.05)
    assert not masks[1].any()
    with pytest.raises(UserError, match="has no box in any"):
        view_sheet(replace(dataset, samples=(without(dataset.samples[0]),)))


def without(sample: Sample) -> Sample:
    """The picture without its boxes."""
    none = np.zeros((0, 4), np.float32)
    return Sample(sample.path, sample.image_id, sample.size_hw, none, np.zeros(0, np.int64))
