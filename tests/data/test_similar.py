"""Pictures that show the same: by hash, by file name, and shared out in groups."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

import duckdetect as dd
from duckdetect.data.similar import clip_name, groups_of, image_hash, near_across, near_groups
from duckdetect.data.split import grouped_stratified_split
from duckdetect.imaging.io import load_image


def pairs_of(images: list[np.ndarray]) -> list[tuple[int, int]]:
    """For each picture that has one the first before it that is nearly the same."""
    hashes = np.stack([image_hash(image) for image in images])
    return first_pairs(hashes)


def first_pairs(hashes: np.ndarray) -> list[tuple[int, int]]:
    n = len(hashes)
    return list(near_across(hashes, np.arange(n), np.full(n, -1)))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def part(image: Image.Image, cut: float) -> Image.Image:
    w, h = image.size
    return image.crop((round(cut * w), round(cut * h), round(w - cut * w), round(h - cut * h)))


CHANGES = {
    "jpeg": lambda i: jpeg(i, 30),
    "half": lambda i: i.resize((i.width // 2, i.height // 2)),
    "squeezed": lambda i: i.resize((640, 640)),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.3),
    "darker": lambda i: ImageEnhance.Brightness(i).enhance(0.6),
    "cut": lambda i: part(i, 0.02),
    "mirrored": lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_of_real_images_are_found_and_no_others(
    name: str, shared_data: Path
) -> None:
    photos = [
        Image.fromarray(load_image(path))
        for path in sorted((shared_data / "people").glob("*/*.jpg"))[:20]
    ]
    both = [np.asarray(i) for i in [*photos, *map(CHANGES[name], photos)]]
    assert pairs_of(both) == [(i, i + 20) for i in range(20)]


def test_the_raccoons_that_are_there_twice(shared_data: Path) -> None:
    """Looked at: each pair is one photo, 85 with a word written on it."""
    dataset = dd.load_dataset(shared_data / "raccoon")
    pairs = pairs_of([sample.load() for sample in dataset])
    stems = [{dataset.samples[i].path.stem.partition("-")[2] for i in pair} for pair in pairs]
    wanted = [{21, 45}, {50, 52}, {50, 74}, {51, 85}, {65, 98}]
    assert stems == [set(map(str, pair)) for pair in wanted]


def test_things_on_white_are_not_all_alike(shared_data: Path) -> None:
    rng = np.random.default_rng(0)
    images = []
    for path in sorted((shared_data / "people").glob("*/*.jpg")):
        thing = Image.fromarray(load_image(path))
        thing.thumbnail((160, 160))
        canvas = Image.new("RGB", (640, 480), "white")
        at = [int(rng.integers(0, s - t)) for s, t in zip(canvas.size, thing.size, strict=True)]
        canvas.paste(thing, (at[0], at[1]))
        images.append(np.asarray(canvas))
    assert pairs_of(images) == []
    assert len(pairs_of([images[0], np.roll(images[0], 3, axis=1)])) == 1


def test_plain_and_tiny_images() -> None:
    plain = [np.full((h, w, 3), v, np.uint8) for h, w, v in ((9, 9, 0), (1, 1, 9), (5, 70, 255))]
    assert pairs_of(plain) == [(0, 1), (0, 2)]
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), np.uint8)
    assert pairs_of([*noise, plain[0]]) == []
    assert first_pairs(np.zeros((0, 288), np.int8)) == []


def test_many_images_are_compared_in_rows() -> None:
    hashes = np.random.default_rng(0).integers(-1, 2, (1300, 288)).astype(np.int8)
    hashes[1299] = hashes[3]
    hashes[700] = hashes[2]
    assert first_pairs(hashes) == [(2, 700), (3, 1299)]
    assert len(set(near_groups(hashes).tolist())) == 1298


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("clip_0001.jpg", "clip"),
        ("clip_0002.jpg", "clip"),
        ("video-frame-12.png", "video-frame"),
        ("frame_000123.PNG", "frame"),
        ("frame12.jpg", "frame"),
        ("street_mp4-12_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg", "street_mp4"),
        ("video2_frame_7.jpg", "video2_frame"),
        ("VID_20240102_120000_003.jpg", "VID_20240102_120000"),
        ("my film (frame 12).jpg", "my film (frame"),
        ("duck_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg", "duck"),
        ("duck_jpg.rf.ffffffff4e5f60718293a4b5c6d7e8f9.jpg", "duck"),
        ("IMG_1234_jpg.rf.0a1b2c3d4e5f6071.jpg", "IMG_1234"),
        ("raccoon-12.jpg", None),
        ("IMG_1234.jpg", None),
        ("000000000036.jpg", None),
        ("framework-2.jpg", None),
        ("eclipse12.jpg", None),
        ("frame.jpg", None),
        ("duck.jpg", None),
    ],
)
def test_clips_by_name(name: str, clip: str | None) -> None:
    assert clip_name(Path("folder") / name) == clip


def test_groups() -> None:
    assert groups_of(6, [(4, 1), (5, 4), (2, 3)]).tolist() == [0, 1, 2, 2, 1, 1]
    assert groups_of(3, []).tolist() == [0, 1, 2]
    assert groups_of(0, []).tolist() == []


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=40, max_size=80),
    st.sampled_from([[0.7, 0.15, 0.15], [0.5, 0.5], [0.8, 0.1, 0.1], [1.0]]),
    st.integers(0, 3),
)
def test_groups_stay_together_and_no_share_is_empty(
    rows: list[tuple[int, int]], shares: list[float], seed: int
) -> None:
    group = groups_of(len(rows), [(k, k + 13) for k in range(len(rows) - 13) if rows[k][0] == 0])
    features = np.eye(4)[[kind for _, kind in rows]]
    features = np.concatenate([np.ones((len(rows), 1)), features], axis=1)
    index = grouped_stratified_split(features, group, shares, seed)
    np.testing.assert_array_equal(index, grouped_stratified_split(features, group, shares, seed))
    assert set(index.tolist()) == set(range(len(shares)))
    for g in set(group.tolist()):
        assert len(set(index[group == g].tolist())) == 1


def test_shares_of_every_kind() -> None:
    """1,000 pictures of a common, a rare and an empty kind, each within one picture of its share."""
    features = np.zeros((1000, 4))
    features[:, 0] = 1
    features[:900, 1] = 1
    features[::25, 2] = 1  # 40 of them
    features[900:, 3] = 1
    index = grouped_stratified_split(features, np.arange(1000), [0.7, 0.15, 0.15], 0)
    sums = np.stack([features[index == k].sum(axis=0) for k in range(3)])
    np.testing.assert_allclose(sums, np.outer([0.7, 0.15, 0.15], [1000, 900, 40, 100]), atol=1.01)


def test_a_group_that_is_larger_than_a_share() -> None:
    group = np.array([0] * 50 + [*range(1, 51)])
    index = grouped_stratified_split(np.ones((100, 1)), group, [0.7, 0.15, 0.15], 0)
    assert np.bincount(index).tolist() == [70, 15, 15]
    assert index[0] == 0
    with pytest.raises(ValueError, match="1 groups for 2 shares"):
        grouped_stratified_split(np.ones((3, 1)), np.zeros(3, int), [0.5, 0.5], 0)
