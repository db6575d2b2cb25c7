"""Labels of HEIC pictures, as iPhones write them, are read and written as those of JPEG are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.labelled_folders import annotation, coco_of, voc_xml

from duckdetect.data.check import check_dataset
from duckdetect.data.convert import convert_dataset
from duckdetect.data.loading import load_dataset
from duckdetect.imaging.io import image_head, load_image

pytest.importorskip("pi_heif")


@pytest.fixture
def picture(shared_data: Path) -> Path:
    """pi-heif only reads, so that the picture is one of ../shared/data/cases."""
    found = sorted((shared_data / "cases" / "220-heic").glob("*.[hH][eE][iI][cC]"))
    if not found:
        pytest.skip("needs ../shared/data/cases: a HEIC picture, which pi-heif cannot write")
    return found[0]


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "IMG_0001.heif", "IMG_0001.jpg"])
@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
def test_labelled_heic_goes_through_all_formats(
    tmp_path: Path, picture: Path, name: str, to: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(picture, data / name)
    height, width = image_head(data / name).size_hw
    content = coco_of([name], [annotation()])
    content["images"][0] |= {"height": height, "width": width}
    (data / "_annotations.coco.json").write_text(json.dumps(content))
    assert not [p for p in check_dataset(data) if p.severity == "error"]
    convert_dataset(data, to, tmp_path / "out")
    (sample,) = load_dataset(tmp_path / "out")
    assert sample.size_hw == (height, width)
    np.testing.assert_allclose(sample.xyxy, [[10, 20, 40, 35]], atol=1e-3)
    np.testing.assert_array_equal(sample.load(), load_image(picture))


def test_labels_that_name_the_jpeg_of_a_heic_picture_say_what_lies_there(
    tmp_path: Path, picture: Path
) -> None:
    shutil.copy(picture, tmp_path / "IMG_0001.HEIC")
    size_hw = image_head(picture).size_hw
    (tmp_path / "IMG_0001.xml").write_text(voc_xml("IMG_0001.jpg", size_hw=size_hw))
    problems = check_dataset(tmp_path)
    # The XML's own name finds it; its pixels are the same picture's.
    assert not [p for p in problems if p.severity == "error"]
    assert load_dataset(tmp_path).samples[0].path.name == "IMG_0001.HEIC"
