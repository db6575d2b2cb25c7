"""The Penn-Fudan pedestrians: 170 street pictures with 423 people, each outlined, as a labelled folder.

    data = penn_fudan("transfer_learning_project/data/penn_fudan")     # for load_dataset

L. Wang, J. Shi, G. Song, I. Shen: Object Detection Combining Recognition and Segmentation, ACCV 2007.
The archive holds `PNGImages/NAME.png` and `PNGMasks/NAME_mask.png`, in which each pixel is the number
of the person it shows, 0 for none; its labels are written in COCO's format beside the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from duckdetect.download import DownloadError, download, file_sha256
from duckdetect.errors import UserError
from duckdetect.files import atomic_path
from duckdetect.formats.coco import ROBOFLOW, write_coco
from duckdetect.masks import encode_mask, tight_xyxy
from duckdetect.samples import Dataset, Sample
from duckdetect.zips import unzip

ADDRESS = "https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip"
_PICTURES, _MASKS, _MASK_END = "PNGImages", "PNGMasks", "_mask.png"


def penn_fudan(folder: str | Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """Download the pedestrians, once, and give back the folder of labelled pictures.

    Args:
        folder: Where they shall lie; it appears whole or not at all.
        say: Told what was downloaded. The archive's authors publish no check sum: its length and
            the sums within it are compared, and the SHA-256 of what came is said.

    Raises:
        UserError: If they cannot be downloaded, or the archive is damaged or is another one.
    """
    folder = Path(folder)
    found = list(folder.glob(f"**/{_PICTURES}/{ROBOFLOW}"))
    if found:
        return found[0].parent
    archive = folder.with_name(f"{folder.name}.zip")
    if not archive.is_file():
        try:
            download(ADDRESS, archive)
        except DownloadError as error:
            raise UserError(
                f"the Penn-Fudan pedestrians cannot be had now ({error}): try again later, or bring "
                f"the archive and put it at {archive}"
            ) from error
    say(
        f"{ADDRESS}: {archive.stat().st_size / 1e6:.0f} MB. No check sum of it is published, so it "
        f"was not compared with one; the SHA-256 of this copy is {file_sha256(archive)}."
    )
    try:
        with atomic_path(folder) as part:
            unzip(archive, part)
            label_pictures(part)
    except UserError:
        archive.unlink()  # else a damaged one would be found again
        raise
    archive.unlink()
    return next(folder.glob(f"**/{_PICTURES}/{ROBOFLOW}")).parent


def label_pictures(folder: Path) -> Dataset:
    """Write COCO labels, with masks as run lengths, beside the pictures of the unpacked archive.

    Raises:
        UserError: If pictures or masks are missing, or do not fit.
    """
    pictures = sorted(folder.glob(f"**/{_PICTURES}/*.png"))
    if not pictures:
        raise UserError(f"the archive holds no {_PICTURES}: it is not the Penn-Fudan pedestrians")
    samples = tuple(_sample(path, number) for number, path in enumerate(pictures, start=1))
    dataset = Dataset(pictures[0].parent, ("person",), samples)
    write_coco(dataset.root / ROBOFLOW, dataset)
    return dataset


def _sample(path: Path, image_id: int) -> Sample:
    mask_path = path.parent.with_name(_MASKS) / f"{path.stem}{_MASK_END}"
    try:
        with Image.open(path) as picture:
            size_hw = picture.size[::-1]
        with Image.open(mask_path) as picture:
            number = np.asarray(picture)  # (H, W), the person that each pixel shows
    except OSError as error:
        raise UserError(f"{mask_path.name} or its picture cannot be read ({error})") from error
    if number.shape != size_hw:
        raise UserError(f"{mask_path.name} is {number.shape}, its picture {size_hw}")
    people = [one for one in np.unique(number) if one]
    masks = np.array([number == one for one in people], bool).reshape(-1, *size_hw)  # (N, H, W)
    return Sample(
        path,
        image_id,
        size_hw,
        tight_xyxy(masks),
        np.zeros(len(masks), np.int64),
        segmentation=tuple(encode_mask(mask) for mask in masks),
    )
