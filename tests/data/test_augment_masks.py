"""Masks: drawn as pycocotools draws them, carried through views and looks with their boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from duckdetect.data.augment import PlainViews, View, _mirrored, augmented_views
from duckdetect.data.dataset import Dataset, Sample
from duckdetect.data.loading import load_dataset
from duckdetect.imaging.geometry import (
    compacted,
    decode_rle,
    encode_mask,
    rasterise,
    tight_xyxy,
    to_rle,
)


@pytest.fixture(scope="module")
def people(shared_data: Path) -> Dataset:
    """Photos with polygons."""
    return load_dataset(shared_data / "people", "train")


@pytest.fixture(scope="module")
def ducks(project_data: Path) -> Dataset:
    """Rendered pictures with exact masks, as run lengths."""
    return load_dataset(project_data / "ducks", "train")


@pytest.fixture
def plain_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "duckdetect.data.augment._recolouring", lambda seed: lambda image: {"image": image}
    )


@settings(max_examples=80)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
def test_run_lengths_come_back(mask: np.ndarray) -> None:
    rle = encode_mask(mask)
    assert type(rle["counts"]) is str
    np.testing.assert_array_equal(decode_rle(rle), mask)
    np.testing.assert_array_equal(rasterise(rle, mask.shape), mask)
    # The same as a list of numbers, beginning with the run outside.
    down = mask.T.ravel()
    ends = np.flatnonzero(np.diff(down)) + 1
    counts = np.diff([0, *ends, len(down)]).tolist()
    counts = [0, *counts] if down[0] else counts
    plain = {"size": list(mask.shape), "counts": counts}
    np.testing.assert_array_equal(rasterise(plain, mask.shape), mask)


def test_a_polygon_covers_its_pixels() -> None:
    square = [[10, 20, 30, 20, 30, 25, 10, 25]]
    mask = rasterise(square, (40, 50))
    assert mask.dtype == bool
    assert mask.sum() == 100
    assert mask[20:25, 10:30].all()
    two = rasterise([*square, [0, 0, 5, 0, 5, 5, 0, 5]], (40, 50))
    assert two.sum() == 125
    assert not rasterise([[1.1, 1.1, 1.2, 1.1, 1.2, 1.2]], (40, 50)).any()  # thinner than a pixel
    # Corners far outside take no memory, and those a little outside are cut at the edge.
    assert rasterise([[-1e12, 0, 1e12, 0, 1e12, 1e12, -1e12, 1e12]], (40, 50)).all()
    assert rasterise([[-10, -10, 5, -10, 5, 5, -10, 5]], (40, 50)).sum() == 25
    with pytest.raises(ValueError, match="run lengths of 7 pixels in a picture of 8"):
        decode_rle({"size": [2, 4], "counts": [3, 4]})


def test_the_empty_mask_has_an_empty_box() -> None:
    masks = np.zeros((2, 6, 8), bool)
    masks[1, 2:4, 5] = True
    assert tight_xyxy(masks).tolist() == [[0, 0, 0, 0], [5, 2, 6, 4]]


# pycocotools 2.0.11 decodes in a way that NumPy 2 finds old.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["people", "ducks"])
def test_real_outlines_are_drawn_as_pycocotools_draws_them(
    name: str, request: pytest.FixtureRequest
) -> None:
    errors = []
    for sample in request.getfixturevalue(name):
        for outline, xyxy in zip(sample.segmentation or (), sample.xyxy, strict=False):
            if isinstance(outline, list):
                whole = coco_mask.merge(coco_mask.frPyObjects(outline, *sample.size_hw))
            else:
                whole = outline
            mask = rasterise(outline, sample.size_hw)
            np.testing.assert_array_equal(mask, coco_mask.decode(whole))
            errors.append(abs(tight_xyxy(mask[None])[0] - xyxy).max())
    # Three of the 138 people were labelled with a box up to 7 pixels off their outline.
    assert np.mean(np.array(errors) <= 1) > 0.97


def test_masks_cost_nothing_unless_asked_for(ducks: Dataset) -> None:
    sample = ducks.samples[0]
    (without,), (with_masks,) = PlainViews([sample]), PlainViews([sample], masks=True)
    assert without.masks is None
    assert not without.has_mask.any()
    assert with_masks.masks is not None
    assert with_masks.masks.shape == (1, 600, 800)
    assert with_masks.has_mask.all()
    np.testing.assert_array_equal(without.image, with_masks.image)


def test_labels_without_outlines_have_no_masks(ducks: Dataset, tmp_path: Path) -> None:
    path = ducks.samples[0].path
    xyxy = np.array([[0, 0, 9, 9], [10, 10, 40, 40], [50, 50, 90, 90]], np.float32)
    crowd = np.array([True, False, False])
    polygon = [[10.0, 10, 40, 10, 40, 40]]

    def masks(*segmentation: object) -> np.ndarray | None:
        outlines = segmentation or None
        sample = Sample(path, 1, (600, 800), xyxy, np.zeros(3, int), crowd, outlines)
        (view,) = PlainViews([sample], masks=True)
        assert len(view.xyxy) == 2
        return view.masks

    assert masks() is None
    assert masks(polygon, None, None) is None  # the crowd's is not learnt
    some = masks(polygon, polygon, None)
    assert some is not None
    assert some.any(axis=(1, 2)).tolist() == [True, False]
    assert some.shape == (2, 600, 800)


def test_masks_of_another_shape_are_refused() -> None:
    image, xyxy = np.zeros((20, 30, 3), np.uint8), np.array([[1, 1, 5, 5]], np.float32)
    for masks in (np.zeros((1, 30, 20), bool), np.zeros((1, 20, 30), np.float32)):
        with pytest.raises(ValueError, match=r"masks must be bool \(1, 20, 30\)"):
            View(image, xyxy, np.array([0]), "a.jpg", masks)


def test_mirrored_twice_is_the_same(people: Dataset) -> None:
    for view in PlainViews(people.samples[:6], masks=True):
        once = _mirrored(view)
        twice = _mirrored(once)
        assert view.masks is not None
        assert once.masks is not None
        np.testing.assert_array_equal(twice.masks, view.masks)
        np.testing.assert_array_equal(twice.xyxy, view.xyxy)
        before, after = (tight_xyxy(v.masks) - v.xyxy for v in (view, once) if v.masks is not None)
        np.testing.assert_allclose(after, before[:, [2, 1, 0, 3]] * [-1, 1, -1, 1], atol=1e-3)
        np.testing.assert_array_equal(once.masks[:, :, 0], view.masks[:, :, -1])


@pytest.mark.parametrize("name", ["people", "ducks"])
def test_looks_keep_masks_and_boxes_together(name: str, request: pytest.FixtureRequest) -> None:
    plain = list(PlainViews(request.getfixturevalue(name).samples[:12], masks=True))
    n_cut, errors = 0, []
    for look in augmented_views(plain, 40, seed=5):
        height, width = look.image.shape[:2]
        assert look.masks is not None
        assert look.masks.shape == (len(look.xyxy), height, width)
        assert len(look.class_id) == len(look.xyxy)
        assert look.has_mask.all()
        sides = (look.xyxy[:, 2:] - look.xyxy[:, :2]).max(axis=1)
        errors += (abs(tight_xyxy(look.masks) - look.xyxy).max(axis=1) - 0.02 * sides).tolist()
        at_edge = (look.xyxy == 0) | (look.xyxy == [width, height, width, height])
        n_cut += int(at_edge.any(axis=1).sum())
    # A look may enlarge what a label is off.
    assert np.mean(np.array(errors) <= 1) > 0.97
    if name == "people":  # the ducks' pictures hold one each, and a window holds its object
        assert n_cut > 5


@pytest.mark.parametrize("rotate", [False, True])
def test_masks_follow_the_pixels(plain_colours: None, rotate: bool) -> None:
    """A bright disc is masked, so the mask must lie where the look is bright."""
    y, x = np.mgrid[:300, :400]
    disc = (x - 150) ** 2 + (y - 120) ** 2 < 60**2
    image = np.where(disc[..., None], 230, 20).astype(np.uint8).repeat(3, axis=2)
    view = View(image, tight_xyxy(disc[None]), np.array([0]), "disc", disc[None])
    for look in augmented_views([view], 40, seed=2, rotate=rotate):
        assert look.masks is not None
        bright = look.image[..., 0] > 125
        wrong = np.count_nonzero(look.masks[0] != bright) / np.count_nonzero(bright)
        assert wrong < 0.04


def test_the_same_looks_with_and_without_masks(people: Dataset) -> None:
    samples = people.samples[:4]
    with_masks = augmented_views(list(PlainViews(samples, masks=True)), 8, seed=3)
    without = augmented_views(list(PlainViews(samples)), 8, seed=3)
    for one, other in zip(with_masks, without, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert other.masks is None


def test_a_cut_object_is_boxed_by_what_is_seen_of_it(plain_colours: None) -> None:
    """An L: a window that shows the upright alone shows a narrow object in a wide box."""
    mask = np.zeros((2, 400, 400), bool)
    mask[0, 20:380, 20:40] = True
    mask[0, 360:380, 20:380] = True
    mask[1, 100:130, 100:130] = True  # the small thing that windows are cut around
    xyxy = tight_xyxy(mask)
    view = View(np.full((400, 400, 3), 90, np.uint8), xyxy, np.array([0, 1]), "L", mask)
    gone = 0
    for look in augmented_views([view], 60, seed=0):
        assert look.masks is not None
        assert (look.xyxy[:, 2:] > look.xyxy[:, :2]).all()
        big = np.flatnonzero(look.class_id == 0)
        gone += len(big) == 0
        small = look.masks[look.class_id == 1].sum() / mask[1].sum()  # how much larger it is here
        if len(big) and small:
            assert look.masks[big[0]].sum() > 0.35 * small * mask[0].sum()
        box = look.xyxy[big]
        sides = look.image.shape[1::-1]
        cut = (box <= 0).any() or (box[:, 2:] >= sides).any()
        if cut:
            np.testing.assert_allclose(box, tight_xyxy(look.masks[big]))
    assert gone > 5  # too little of it seen


def test_a_box_without_a_mask_stays_beside_one_with(plain_colours: None) -> None:
    xyxy = np.array([[100, 100, 160, 160], [170, 100, 230, 160]], np.float32)
    masks = np.zeros((2, 300, 400), bool)
    masks[0, 100:160, 100:160] = True
    view = View(np.zeros((300, 400, 3), np.uint8), xyxy, np.array([0, 1]), "half", masks)
    seen = 0
    for look in augmented_views([view], 30, seed=0):
        np.testing.assert_array_equal(look.has_mask, look.class_id == 0)
        seen += int((look.class_id == 1).sum())
    assert seen > 10


def test_a_mask_too_thin_to_be_seen_goes_with_its_box(plain_colours: None) -> None:
    mask = np.zeros((1, 2000, 3000), bool)
    mask[0, 1000, 1000:1010] = True  # one pixel high; the window shrinks it away
    image = np.zeros((2000, 3000, 3), np.uint8)
    view = View(image, np.array([[500, 500, 2500, 1500]], np.float32), np.array([0]), "a", mask)
    for look in augmented_views([view], 5, seed=0):
        assert look.masks is not None
        assert len(look.masks) == len(look.xyxy) == len(look.class_id) == 0


def test_detections_are_compacted_and_filtered_with_their_masks() -> None:
    masks = np.zeros((2, 30, 40), bool)
    masks[0, 2:5, 3:9] = masks[1, 10:20, 10:20] = True
    found = sv.Detections(
        xyxy=tight_xyxy(masks),
        confidence=np.array([0.9, 0.4]),
        class_id=np.array([0, 1]),
        mask=masks,
    )
    small = compacted(found)
    assert small.mask is None
    kept = small[np.array([False, True])]
    (rle,) = compacted(kept).data["segmentation"]
    np.testing.assert_array_equal(decode_rle(rle), masks[1])
    boxes = sv.Detections(xyxy=found.xyxy)
    assert compacted(boxes) is boxes
    assert to_rle(rle, (30, 40)) == rle
