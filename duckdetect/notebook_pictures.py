"""Which pictures model.ipynb learns from, is tested on, and looks at later.

    pictures = choose_pictures(project, "sample ducks")   # .folder, .test, .sample
    source = new_pictures(project)                        # a folder, a picture or a video

What is chosen is said below the cell. Nothing that lies in the project's folder is overwritten.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from duckdetect.colab import is_colab
from duckdetect.download import DownloadError, download, file_sha256
from duckdetect.errors import UserError
from duckdetect.files import make_folder
from duckdetect.notebook_display import say
from duckdetect.pictures import list_pictures

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "ducks"
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


@dataclass(frozen=True)
class Pictures:
    """Which pictures to learn from and to test on.

    Attributes:
        folder: Pictures to draw boxes on and to learn from.
        test: Pictures to test on.
        sample: The shipped pictures with boxes that `folder` was copied from, if it was.
    """

    folder: Path
    test: Path
    sample: Path | None = None


def choose_pictures(project: Path, choice: str) -> Pictures:
    """Put the chosen pictures in place; those that are there already stay as they are.

    Args:
        project: What `set_up` returned.
        choice: "sample ducks", "my own" (`images` of the project, and `test_images` where that is
            filled), or "TensorFlow's duck photos" (downloaded).

    Raises:
        UserError: If there is no picture, or they cannot be downloaded.
    """
    images, test_images = project / "images", make_folder(project / "test_images")
    own = _count(images)
    if choice == OWN:
        if not own:
            raise UserError(
                f"{images} holds no pictures yet: put five or more there and run this cell again"
            )
        chosen = Pictures(images, test_images if _count(test_images) else images)
        say(f"{own} pictures of your own in {images}.")
        if chosen.test == images:
            say(
                f"{test_images} is empty, so the detector is tried on the pictures it learnt from, "
                "which says little: put pictures there that it has not seen."
            )
        return chosen
    if choice == SAMPLE_DUCKS:
        folder = sample_pictures(images / "sample_ducks")
        chosen = Pictures(folder, SAMPLE / "test", SAMPLE / "train")
    elif choice == DUCKY_PHOTOS:
        chosen = Pictures(ducky_photos(images / "ducky_photos"), SAMPLE / "test")
    else:
        options = ", ".join(repr(one) for one in (SAMPLE_DUCKS, OWN, DUCKY_PHOTOS))
        raise UserError(f"pictures {choice!r} are not known: choose one of {options}")
    say(f"{_count(chosen.folder)} pictures in {chosen.folder}.")
    if own:
        say(f"Your own {own} pictures in {images} are left aside: choose {OWN!r} to use them.")
    return chosen


def sample_pictures(folder: str | Path) -> Path:
    """Copy the five sample pictures into a folder, without their boxes; returns the folder.

    Raises:
        UserError: If the package was installed without its sample data.
    """
    folder = make_folder(folder)
    if not (SAMPLE / "train").is_dir():
        raise UserError(f"the sample data {SAMPLE} is missing: use a clone of duckdetect")
    for path in list_pictures(SAMPLE / "train"):
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


def new_pictures(project: Path, folder: str = "", upload: bool = False) -> Path:
    """The pictures, or the video, for the detector to look at.

    Args:
        project: What `set_up` returned.
        folder: A folder, a picture or a video, absolute or below the project; "" for the project's
            `new_images`. While that is empty, the sample's clip is taken and this is said.
        upload: On Colab, ask for files instead; they are kept below `new_images`.

    Raises:
        UserError: If there is nothing, or the upload brought nothing or does not work here.
    """
    new_images = make_folder(project / "new_images")
    if upload:
        return _uploaded(new_images)
    if folder:
        return project / folder  # an absolute path stays what it is
    if _count(new_images):
        return new_images
    say(f"{new_images} is empty, so the sample's clip is shown: put pictures of yours there.")
    return SAMPLE / "clip"


def _uploaded(parent: Path) -> Path:
    if not is_colab():
        raise UserError(f"UPLOAD works on Colab only: put the pictures into {parent}")
    from google.colab import files

    folder = dated_folder(parent, "upload")
    with contextlib.chdir(folder):  # Colab writes the files into the current folder
        uploaded = files.upload()
    if not uploaded:
        folder.rmdir()
        raise UserError("no file was uploaded: run this cell again and choose some")
    pictures = [path for path in folder.iterdir() if path.is_file()]
    return pictures[0] if len(pictures) == 1 else folder


def dated_folder(parent: Path, name: str = "new") -> Path:
    """Make a new folder such as `new_2026-11-22_153000`; a second one in that second gets `_2`."""
    make_folder(parent)
    stem = f"{name}_{time.strftime('%Y-%m-%d_%H%M%S')}"
    for number in range(1, 1000):
        folder = parent / (stem if number == 1 else f"{stem}_{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise UserError(f"{parent} is full of folders named {stem}: remove some")


def _count(folder: Path) -> int:
    """How many pictures a folder holds."""
    try:
        return len(list_pictures(folder))
    except UserError:
        return 0
