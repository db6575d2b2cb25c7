"""The Penn-Fudan pedestrians: an archive of their layout, made by hand, on a local server."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from helpers.file_server import FileServer, closed_address
from PIL import Image

import duckdetect as dd
from duckdetect import UserError
from duckdetect.data import sources
from duckdetect.imaging.geometry import decode_rle
from duckdetect.notebook import inputs

SIZE_HW = (60, 80)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def people(*boxes_xyxy: tuple[int, int, int, int]) -> np.ndarray:
    """A mask picture: the n-th person is a block of the number n, with a hole."""
    number = np.zeros(SIZE_HW, np.uint8)
    for n, (x1, y1, x2, y2) in enumerate(boxes_xyxy, start=1):
        number[y1:y2, x1:x2] = n
        number[y1 + 2, x1 + 2] = 0
    return number


def archive(masks: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("PennFudanPed/readme.txt", "made by a test")
        for name, mask in masks.items():
            image = rng.integers(0, 255, (*SIZE_HW, 3), np.uint8)
            made.writestr(f"PennFudanPed/PNGImages/{name}.png", png(image))
            made.writestr(f"PennFudanPed/PNGMasks/{name}_mask.png", png(mask))
            made.writestr(f"PennFudanPed/Annotation/{name}.txt", "Image size")
    return file.getvalue()


MASKS = {
    "FudanPed00001": people((10, 5, 30, 55), (40, 8, 55, 50)),
    "FudanPed00002": people((20, 10, 44, 58)),
    "PennPed00001": people(),
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(inputs, "say", lines.append)
    return lines


def test_it_is_downloaded_once_and_its_masks_are_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    with FileServer({"/ped.zip": archive(MASKS)}) as server:
        monkeypatch.setattr(sources, "ADDRESS", f"{server.address}/ped.zip")
        data = inputs.choose_data(tmp_path, "Penn-Fudan pedestrians")
        assert len(server.requests) == 1
    assert "not compared" in said[0]
    assert "SHA-256" in said[0]
    dataset = dd.load_dataset(data.path)
    assert dataset.classes == ("person",)
    assert [sample.path.stem for sample in dataset] == sorted(MASKS)
    for sample in dataset:
        number = MASKS[sample.path.stem]
        assert len(sample.class_id) == number.max()
        for n, (outline, xyxy) in enumerate(
            zip(sample.segmentation or (), sample.xyxy, strict=True), start=1
        ):
            np.testing.assert_array_equal(decode_rle(outline), number == n)
            ys, xs = np.nonzero(number == n)
            assert xyxy.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    # The server is gone, and nothing is asked of it.
    assert inputs.choose_data(tmp_path, "Penn-Fudan pedestrians") == data
    assert not (tmp_path / "data" / "sources.zip").exists()
    split = dd.load_dataset(inputs.split_data(tmp_path, data), "test")
    assert len(split) == 1  # numbers in the names make them no frames of one clip


def test_offline_says_where_to_put_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "ADDRESS", f"{closed_address()}/ped.zip")
    with pytest.raises(UserError, match=r"cannot be had now .* put it at ") as caught:
        sources.penn_fudan(tmp_path / "ped")
    assert "\n" not in str(caught.value)
    (tmp_path / "ped.zip").write_bytes(archive(MASKS))
    assert len(dd.load_dataset(sources.penn_fudan(tmp_path / "ped"))) == 3


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"<html>not found</html>", "damaged or no zip"),
        (archive(MASKS)[:-400], "damaged or no zip"),
        (archive({}), "not the Penn-Fudan pedestrians"),
        (archive({"a": np.zeros((3, 4), np.uint8)}), "its picture"),
        (archive({"a": np.zeros((*SIZE_HW, 3), np.uint8)}), "its picture"),
    ],
)
def test_a_wrong_archive_leaves_nothing(tmp_path: Path, contents: bytes, words: str) -> None:
    (tmp_path / "ped.zip").write_bytes(contents)
    with pytest.raises(UserError, match=words) as caught:
        sources.penn_fudan(tmp_path / "ped")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_chosen_must_be_there(tmp_path: Path, said: list[str]) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for choice, path, words in (
        ("my own", "", "no folder or zip of your own is named"),
        ("my own", "nothing.zip", "check PATH"),
        ("cats", "", "choose one of"),
    ):
        with pytest.raises(UserError, match=words):
            inputs.choose_data(project, choice, path)
    (project / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        inputs.choose_data(project, "my own", "empty")


def test_a_video_for_every_data_set(tmp_path: Path, said: list[str]) -> None:
    ducks = inputs.Data("ducks", tmp_path, is_sample=True)
    clip = inputs.choose_video(tmp_path, ducks)
    assert clip.is_file()
    written = clip.stat().st_mtime_ns
    assert inputs.choose_video(tmp_path, ducks).stat().st_mtime_ns == written
    walk = inputs.choose_video(tmp_path, inputs.Data("people", tmp_path))
    assert walk.name == "walk.mp4"
    assert walk.is_file()
    assert inputs.choose_video(tmp_path, ducks, "a.mp4") == tmp_path / "a.mp4"
