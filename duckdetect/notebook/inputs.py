"""The images, data sets and videos of a notebook: chosen, checked, split.

    pictures = choose_pictures(project, "sample ducks")   # .folder, .test, .sample
    source = new_pictures(project)                        # a folder, an image or a video
    data = choose_data(project, "sample ducks")           # .path, .is_sample
    data = outline_data(project, data)                    # where boxes have no outlines
    check_data(data.path)
    split = split_data(project, data)                     # for load_training and load_dataset
    video = choose_video(project, data)

What is chosen is said below the cell. Nothing that lies in the project's folder is overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from duckdetect.annotation import annotate
from duckdetect.data.check import check_dataset, describe_parts
from duckdetect.data.dataset import Problem, join
from duckdetect.data.loading import list_parts, load_dataset, read_dataset
from duckdetect.data.outline import lacks_outline, outline_dataset
from duckdetect.data.sources import (
    CLIP,
    DUCKY_PHOTOS,
    OWN,
    SAMPLE,
    SAMPLE_DUCKS,
    ducky_photos,
    penn_fudan,
    sample_pictures,
)
from duckdetect.data.split import SPLITS, split_dataset
from duckdetect.errors import UserError
from duckdetect.imaging.io import list_images, load_image
from duckdetect.notebook.display import say, show_labels, show_problems, switch
from duckdetect.utils.environment import is_colab
from duckdetect.utils.files import make_folder, write_json
from duckdetect.utils.reading import as_path
from duckdetect.utils.schema import is_path, read_json, short
from duckdetect.utils.words import counted, plural


@dataclass(frozen=True)
class Pictures:
    """Which images to learn from and to test on.

    Attributes:
        folder: Images to draw boxes on and to learn from.
        test: Images to test on.
        sample: The shipped images with boxes that `folder` was copied from, if it was.
    """

    folder: Path
    test: Path
    sample: Path | None = None


def choose_pictures(project: Path, choice: str) -> Pictures:
    """Put the chosen images in place; those that are there already stay as they are.

    Args:
        project: What `set_up` returned.
        choice: "sample ducks", "my own" (`images` of the project, and `test_images` where that is
            filled), or "TensorFlow's duck photos" (downloaded).

    Raises:
        UserError: If there is no image, or they cannot be downloaded.
    """
    project = as_path(project, "the project")
    images, test_images = project / "images", make_folder(project / "test_images")
    own = _count(images)
    if choice == OWN:
        if not own:
            raise UserError(
                f"{images} holds no pictures yet: put five or more there and run this cell again"
            )
        chosen = Pictures(images, test_images if _count(test_images) else images)
        say(f"{plural(own, 'picture')} of your own in {images}.")
        if chosen.test == images:
            say(
                f"{test_images} is empty, so the detector is tried on its training pictures, "
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
    say(f"{plural(_count(chosen.folder), 'picture')} in {chosen.folder}.")
    if own:
        say(
            f"Your own {plural(own, 'picture')} in {images} are left aside: choose {OWN!r} to use them."
        )
    return chosen


def new_pictures(project: Path, folder: str = "", upload: bool = False) -> Path:
    """The images, or the video, for the detector to look at.

    Args:
        project: What `set_up` returned.
        folder: A folder, an image or a video, absolute or below the project; "" for the project's
            `new_images`. While that is empty, own `test_images` or `images` are taken, else the
            sample's clip, and this is said.
        upload: On Colab, ask for files instead; they are kept below `new_images`.

    Raises:
        UserError: If there is nothing, or the upload brought nothing or does not work here.
    """
    project = as_path(project, "the project")
    new_images = make_folder(project / "new_images")
    if upload:
        return _uploaded(new_images)
    if folder:
        return project / as_path(folder, "the folder")  # an absolute path stays what it is
    if _count(new_images):
        return new_images
    own = [project / name for name in ("test_images", "images") if _count(project / name)]
    told = own[0] if own else "the sample's clip"
    say(f"{new_images} is empty, so {told} is taken: put pictures of yours there.")
    return own[0] if own else CLIP


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
    images = [path for path in folder.iterdir() if path.is_file()]
    return images[0] if len(images) == 1 else folder


def dated_folder(parent: Path, name: str = "new") -> Path:
    """Make a new folder such as `new_2026-11-22_153000`; a second one in that second gets `_2`."""
    parent = make_folder(as_path(parent, "the folder"))
    stem = f"{name}_{time.strftime('%Y-%m-%d_%H%M%S')}"
    for number in range(1, 1000):
        folder = parent / (stem if number == 1 else f"{stem}_{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise UserError(f"{parent} is full of folders named {stem}: remove some")


def _count(folder: Path) -> int:
    """How many images a folder holds."""
    try:
        return len(list_images(folder))
    except UserError:
        return 0


PENN_FUDAN = "Penn-Fudan pedestrians"

WALK = SAMPLE.parent / "people" / "walk.mp4"

_SAMPLE_NAME, _PEOPLE_NAME = "sample_ducks", "penn_fudan"

_NAMES = "names.json"  # in the project's `data`: whose files bear which name

_CLIP_FPS = 10  # the sample's clip is one turn around a duck in 48 frames


@dataclass(frozen=True)
class Data:
    """A labelled data set to train on.

    Attributes:
        name: For files that are made of it.
        path: For `load_dataset`: a folder or a zip.
        is_sample: Whether it is the project's own, which has a video of its own.
    """

    name: str
    path: Path
    is_sample: bool = False


def choose_data(project: Path, choice: str, path: str = "") -> Data:
    """Find or bring the chosen data set; what is there already stays as it is.

    Args:
        project: What `set_up` returned.
        choice: "sample ducks", "Penn-Fudan pedestrians" (downloaded once, 54 MB) or "my own".
        path: Of "my own": a folder or a zip with labels, absolute, or below the project or the
            folder that it lies in (on Colab My Drive).

    Raises:
        UserError: If nothing is there, or it cannot be downloaded.
    """
    project = as_path(project, "the project")
    if choice == SAMPLE_DUCKS:
        data = Data(_SAMPLE_NAME, SAMPLE, is_sample=True)
    elif choice == PENN_FUDAN:
        data = Data(_PEOPLE_NAME, penn_fudan(project / "data" / _PEOPLE_NAME, say))
    elif choice == OWN:
        if not path:
            raise UserError(
                "no folder or zip of your own is named: put one on Drive or this machine and give "
                "its path as PATH"
            )
        places = [place / as_path(path, "PATH") for place in (project, project.parent)]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise UserError(f"{path} is neither in {project} nor in {project.parent}: check PATH")
        data = Data(_own_name(project, found), found)
    else:
        options = ", ".join(repr(one) for one in (SAMPLE_DUCKS, PENN_FUDAN, OWN))
        raise UserError(f"data {choice!r} are not known: choose one of {options}")
    list_parts(data.path)  # that there are labels at all
    say(f"Data: {data.path}.")
    return data


def _own_name(project: Path, path: Path) -> str:
    """A name for the files made of a data set: its own, unless another of that name came before."""
    file, place = make_folder(project / "data") / _NAMES, str(path.resolve())
    names: dict[str, str] = {}
    if file.exists():
        fields = read_json(file, "remove it")
        for stem in fields.values:
            if not is_path(fields.text(stem)):
                fields.fail(f"{short(stem)} is no path")
        names = fields.values
    taken = names.get(path.stem, place)  # as before there was such a file, the first gets it
    is_free = taken == place or not Path(taken).exists()
    if path.stem in (_SAMPLE_NAME, _PEOPLE_NAME) or not is_free:
        return f"{path.stem}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    if names.get(path.stem) != place:
        write_json(file, {**names, path.stem: place})
    return path.stem


def outline_data(project: Path, data: Data, leave_out: str = "") -> Data:
    """Copy a data set with outlines that the computer makes from its boxes, and show them.

    The copy is in the project's `data`; of the same data it is the same each time.

    Args:
        project: What `set_up` returned.
        data: What `choose_data` returned.
        leave_out: Names of pictures whose outlines are wrong, separated by commas.

    Raises:
        UserError: As `outline_dataset`.
    """
    project, data = as_path(project, "the project"), _as_data(data)
    out = make_folder(project / "data") / f"{data.name}-outlined"
    names = [name.strip() for name in leave_out.split(",") if name.strip()]
    done = outline_dataset(data.path, out, leave_out=names, overwrite=True)
    show_labels(join([load_dataset(out, name) for name in list_parts(out)]))
    say(f"{done.text()}\nPictures with wrong outlines: name them in LEAVE_OUT and run it again.")
    return replace(data, path=out)


def _as_data(given: Any) -> Data:
    if not isinstance(given, Data):
        raise UserError(f"{given!r} is not what `choose_data` returned: give that")
    return given


def check_data(path: Path) -> list[Problem]:
    """Say what a data set holds and what is wrong with it, and show the images that it is about."""
    path = as_path(path, "the data")
    say("\n".join(describe_parts(path)))

    def known(problem: Problem) -> None:
        """`check_dataset` lists it."""

    parts = []
    for name in list_parts(path):
        with contextlib.suppress(UserError):  # a problem, too
            parts.append(read_dataset(path, name, known))
    bare = sum(int(lacks_outline(sample).sum()) for part in parts for sample in part)
    if bare:
        told = counted(bare, "boxes have no outline")
        say(f"{told}: {switch('OUTLINE', True)} above to train masks, too.")
    problems = check_dataset(path)
    if problems:
        show_problems(problems, join(parts) if parts else None)
    else:
        say("Nothing wrong was found.")
    return problems


def split_data(project: Path, data: Data, seed: int = 0, again: bool = False) -> Path:
    """Divide a data set into train, valid and test, unless it is divided already.

    No image is copied: a split file in the project's `data` names them. The same images and
    seed give the same splits.

    Args:
        project: What `set_up` returned.
        data: What `choose_data` returned.
        seed: Of what is left to chance.
        again: Whether to join and split what is divided already.

    Returns:
        The path of the splits, for `load_training` and `load_dataset`.

    Raises:
        UserError: As `split_dataset`.
    """
    project, data = as_path(project, "the project"), _as_data(data)
    if not again and set(SPLITS) <= {str(name) for name in list_parts(data.path)}:
        say(f"{data.path} has {', '.join(SPLITS)} of its own, which are taken as they are.")
        return data.path
    file = make_folder(project / "data") / f"{data.name}-split-{seed}.json"
    say(split_dataset(data.path, file=file, seed=seed).text())
    return file


def choose_video(project: Path, data: Data, path: str = "") -> Path:
    """The video to look at.

    Args:
        project: What `set_up` returned.
        data: What `choose_data` returned.
        path: Your own, absolute or below the project; "" for one that the project brings: of the
            sample's clip if that was learned from, else of walking figures.
    """
    project, data = as_path(project, "the project"), _as_data(data)
    if path:
        return project / as_path(path, "the video")  # an absolute path stays what it is
    if not data.is_sample:
        say(f"No VIDEO is named, so rendered figures walk by: {WALK}.")
        return WALK
    say("No VIDEO is named, so the sample's clip is taken.")
    return _clip(project / "data" / "sample_ducks.mp4")


def _clip(video: Path) -> Path:
    """The sample's frames as a video."""
    from duckdetect.video.writer import write_video

    if not video.is_file():
        frames = [load_image(path) for path in list_images(CLIP)]
        with write_video(video, Fraction(_CLIP_FPS), frames[0].shape[:2]) as out:
            for frame in frames:
                out.write(frame)
    return video


def change_classes(pictures: Pictures, rename: str = "", to: str = "", drop: str = "") -> None:
    """Rename, merge or delete a class of the drawn boxes, as the notebook's fields say.

    Raises:
        UserError: If there is no such class, or only one of RENAME and TO is filled in.
    """
    if not isinstance(pictures, Pictures):
        raise UserError(f"{pictures!r} is not what `choose_pictures` returned: give that")
    if bool(rename) != bool(to):
        raise UserError("RENAME and TO belong together: fill in both, or none")
    if done := annotate.change_classes(pictures.folder, rename, to, drop):
        say(f"{done} Run the cell above again to see the boxes.")
