"""Data sets by name: Penn-Fudan, Roboflow projects, the sample ducks, TensorFlow's duck photos.

    data = penn_fudan("transfer_learning_project/data/penn_fudan")     # for load_dataset
    download_roboflow("my-workspace/ducks/3", "ducks")       # the key is in ROBOFLOW_API_KEY

Penn-Fudan: 170 street images with 423 people, each outlined (L. Wang, J. Shi, G. Song, I. Shen: Object
Detection Combining Recognition and Segmentation, ACCV 2007). The archive holds `PNGImages/NAME.png` and
`PNGMasks/NAME_mask.png`, in which each pixel is the number of the person it shows, 0 for none.

Roboflow's client is an extra: it asks for a typer older than Colab's, and pip would replace that one.
docs/data.md says how to install it there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np
from PIL import Image

from duckdetect.data.convert import check_out
from duckdetect.data.dataset import Dataset, Sample
from duckdetect.data.formats.coco import ROBOFLOW, write_coco
from duckdetect.data.loading import holds_labels
from duckdetect.errors import UserError
from duckdetect.imaging.geometry import encode_mask, tight_xyxy
from duckdetect.imaging.io import list_images
from duckdetect.utils.archives import unzip
from duckdetect.utils.download import DownloadError, download
from duckdetect.utils.files import file_sha256, make_folder
from duckdetect.utils.outputs import own_output
from duckdetect.utils.schema import json_value
from duckdetect.utils.terminal import unprinted

ADDRESS = "https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip"

_IMAGES, _MASKS, _MASK_END = "PNGImages", "PNGMasks", "_mask.png"


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
    found = list(folder.glob(f"**/{_IMAGES}/{ROBOFLOW}"))
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
        with own_output(folder, "fetch") as part:
            unzip(archive, part)
            label_images(part)
    except UserError:
        archive.unlink()  # else a damaged one would be found again
        raise
    archive.unlink()
    return next(folder.glob(f"**/{_IMAGES}/{ROBOFLOW}")).parent


def label_images(folder: Path) -> Dataset:
    """Write COCO labels, with masks as run lengths, beside the pictures of the unpacked archive.

    Raises:
        UserError: If pictures or masks are missing, or do not fit.
    """
    images = sorted(folder.glob(f"**/{_IMAGES}/*.png"))
    if not images:
        raise UserError(f"the archive holds no {_IMAGES}: it is not the Penn-Fudan pedestrians")
    samples = tuple(_sample(path, number) for number, path in enumerate(images, start=1))
    dataset = Dataset(images[0].parent, ("person",), samples)
    write_coco(dataset.root / ROBOFLOW, dataset)
    return dataset


def _sample(path: Path, image_id: int) -> Sample:
    mask_path = path.parent.with_name(_MASKS) / f"{path.stem}{_MASK_END}"
    try:
        with Image.open(path) as image:
            size_hw = image.size[::-1]
        with Image.open(mask_path) as image:
            number = np.asarray(image)  # (H, W), the person that each pixel shows
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


_KEY = "ROBOFLOW_API_KEY"


def download_roboflow(
    project: str,
    out: str | Path,
    api_key: str | None = None,
    export: str = "coco",
    overwrite: bool = False,
) -> Path:
    """Download one version of a project; the folder appears whole or not at all.

    Args:
        project: "WORKSPACE/PROJECT/VERSION", or the address of that version in the browser.
        out: The folder to write.
        api_key: Of Roboflow's settings; `ROBOFLOW_API_KEY` if None. It is never asked for.
        export: Roboflow's name of the format: "coco", "coco-segmentation" for outlines, "voc",
            "yolov8" ...
        overwrite: Replace a data set that is there already.

    Returns:
        The folder, for `load_dataset`.

    Raises:
        UserError: If the client, the key or the network is missing, Roboflow refuses, or what came
            is no data set.
    """
    workspace, name, version = _names(project)
    out = Path(out)
    check_out(out, (), overwrite, "roboflow")
    key = (api_key or os.environ.get(_KEY, "")).strip()
    if not key:
        raise UserError(
            f"no API key of Roboflow: set {_KEY} to the one in Roboflow's settings (API keys)"
        )
    try:
        import roboflow
    except ImportError as error:
        raise UserError(
            f"Roboflow's client is not here ({error}): pip install 'duckdetect[roboflow]', or in "
            "Colab as docs/data.md says"
        ) from error
    with own_output(out, "roboflow", new=not overwrite) as part:
        try:
            # It prints where it is, on errors with the key in the address.
            with unprinted():
                found = roboflow.Roboflow(api_key=key).workspace(workspace).project(name)
                found.version(version).download(export, location=str(part), overwrite=True)
        except (Exception, SystemExit) as error:
            raise UserError(_explain(error, f"{workspace}/{name}/{version}", key)) from None
        if not holds_labels(part):
            raise UserError(
                f"what Roboflow sent of {workspace}/{name}/{version} as {export!r} holds no labels: "
                "give the export of an object detection project, coco or coco-segmentation"
            )
    return out


def _names(project: str) -> tuple[str, str, int]:
    path = re.sub(r"^\w+://[^/]+", "", project).partition("?")[0]
    parts = [part for part in path.split("/") if part]
    if len(parts) == 4 and parts[2] == "dataset":  # as in the address of a public version
        del parts[2]
    if len(parts) != 3 or not re.fullmatch("[0-9]{1,9}", parts[2]):
        raise UserError(
            f"{project!r} is no WORKSPACE/PROJECT/VERSION: give it as the address of the version "
            "has it, for instance my-workspace/ducks/3"
        )
    return parts[0], parts[1], int(parts[2])


def _explain(error: BaseException, project: str, key: str) -> str:
    """One line on what went wrong, without the key that the client puts into addresses."""
    names = {kind.__name__ for kind in type(error).__mro__}
    reason = _message(error)
    for secret in (key, quote(key, safe=""), quote_plus(key)):  # as addresses have it
        reason = reason.replace(secret, "...")
    reason = " ".join(reason.split())[:200] or type(error).__name__
    if names & {"ConnectionError", "Timeout", "ChunkedEncodingError", "URLError"}:
        return (
            f"Roboflow cannot be reached ({reason}): check the network, and give the command again"
        )
    return (
        f"Roboflow does not give {project} ({reason}): check the names, the version and the API key"
    )


def _message(error: BaseException) -> str:
    """What Roboflow answered, which the client hands on as JSON text, or what Python says."""
    text = str(error)
    try:
        content: Any = json_value(text)
    except ValueError:
        return text
    for key in ("error", "message"):
        if isinstance(content, dict) and key in content:
            content = content[key]
    return content if isinstance(content, str) else text


SAMPLE = Path(__file__).resolve().parents[2] / "data" / "ducks"
CLIP = SAMPLE.with_name("ducks_clip")

SAMPLE_DUCKS, OWN, DUCKY_PHOTOS = "sample ducks", "my own", "TensorFlow's duck photos"

_DUCKY_ADDRESS = (
    "https://raw.githubusercontent.com/tensorflow/models/48050b5aa26229d631d65fac28633ace18c5adc4"
    "/research/object_detection/test_images/ducky/train"
)

_DUCKY_SHA256 = {
    "robertducky1.jpg": "620d389595a3aec7f75853d3d404457b5dddbd3ec55ec8c7743fd4c181c79cd6",
    "robertducky2.jpg": "36cf8cc38fa6ddf68cbd8c72df496d77d776eec1188395d41f6edca1772980aa",
    "robertducky3.jpg": "adab03e0bfc2decafd9ca5d2f5e80032ea0f703f4bb9119fa1a6b04104d8c118",
    "robertducky4.jpg": "33eb97007f285bf39416b76ffb99269df2547c5ee0b4eccd19c87a3370b23b68",
    "robertducky5.jpg": "d5b27c0fe0455ca763170e6a4c1c65435ecc67f3f8ec42bc56c456818c432b8e",
}


def sample_pictures(folder: str | Path) -> Path:
    """Copy the five sample pictures into a folder, without their boxes; returns the folder.

    Raises:
        UserError: If the package was installed without its sample data.
    """
    folder = make_folder(folder)
    if not (SAMPLE / "train").is_dir():
        raise UserError(f"the sample data {SAMPLE} is missing: use a clone of duckdetect")
    for path in list_images(SAMPLE / "train"):
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    return folder


def ducky_photos(folder: str | Path) -> Path:
    """Download the five duck photos of TensorFlow's few-shot notebook; returns the folder.

    Photos that are there already are not downloaded again. Their licence is Apache-2.0.

    Raises:
        UserError: If they cannot be downloaded.
    """
    folder = make_folder(folder)
    for name, sha256 in _DUCKY_SHA256.items():
        if (folder / name).is_file() and file_sha256(folder / name) == sha256:
            continue
        try:
            download(f"{_DUCKY_ADDRESS}/{name}", folder / name, sha256)
        except DownloadError as error:
            raise UserError(
                f"TensorFlow's duck photos cannot be had now ({error}): run this cell again later, "
                f"or choose {SAMPLE_DUCKS!r}"
            ) from error
    return folder
