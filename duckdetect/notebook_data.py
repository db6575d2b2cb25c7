"""Labelled data sets in a notebook: chosen, checked, split; and a video. people.ipynb calls it.

data = choose_data(project, "sample ducks")      # .path, .video
check_data(data.path)
split = split_data(project, data)                # for load_training and load_dataset
video = choose_video(project, data)
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from duckdetect.checking import check_dataset, describe_parts
from duckdetect.datasets import list_parts, read_dataset
from duckdetect.errors import UserError
from duckdetect.files import make_folder
from duckdetect.joining import join
from duckdetect.notebook_display import say
from duckdetect.notebook_pictures import OWN, SAMPLE, SAMPLE_DUCKS
from duckdetect.notebook_results import show_problems
from duckdetect.penn_fudan import penn_fudan
from duckdetect.pictures import list_pictures, load_picture
from duckdetect.samples import Problem
from duckdetect.splitting import SPLITS, split_dataset

PENN_FUDAN = "Penn-Fudan pedestrians"
WALK = SAMPLE.parent / "people" / "walk.mp4"
_CLIP_FPS = 10  # the sample's clip is one turn around a duck in 48 frames


@dataclass(frozen=True)
class Data:
    """A labelled data set to teach with.

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
    if choice == SAMPLE_DUCKS:
        data = Data("sample_ducks", SAMPLE, is_sample=True)
    elif choice == PENN_FUDAN:
        data = Data("penn_fudan", penn_fudan(project / "data" / "penn_fudan", say))
    elif choice == OWN:
        if not path:
            raise UserError(
                "no folder or zip of your own is named: put one on Drive or this machine and give "
                "its path as PATH"
            )
        places = [place / path for place in (project, project.parent)]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise UserError(f"{path} is neither in {project} nor in {project.parent}: check PATH")
        data = Data(found.stem, found)
    else:
        options = ", ".join(repr(one) for one in (SAMPLE_DUCKS, PENN_FUDAN, OWN))
        raise UserError(f"data {choice!r} are not known: choose one of {options}")
    list_parts(data.path)  # that there are labels at all
    say(f"Data: {data.path}.")
    return data


def check_data(path: Path) -> list[Problem]:
    """Say what a data set holds and what is wrong with it, and show the pictures that it is about."""
    say("\n".join(describe_parts(path)))
    problems = check_dataset(path)
    if not problems:
        say("Nothing wrong was found.")
        return problems

    def known(problem: Problem) -> None:
        """It is told already."""

    parts = []
    for name in list_parts(path):
        try:
            parts.append(read_dataset(path, name, known))
        except UserError:
            continue  # a problem, too
    show_problems(problems, join(parts) if parts else None)
    return problems


def split_data(project: Path, data: Data, seed: int = 0, anew: bool = False) -> Path:
    """Divide a data set into train, valid and test, unless it is divided already.

    No picture is copied: a split file in the project's `data` names them. The same pictures and
    seed give the same splits.

    Args:
        project: What `set_up` returned.
        data: What `choose_data` returned.
        seed: Of what is left to chance.
        anew: Whether to join and split what is divided already.

    Returns:
        The path of the splits, for `load_training` and `load_dataset`.

    Raises:
        UserError: As `split_dataset`.
    """
    if not anew and set(SPLITS) <= {str(name) for name in list_parts(data.path)}:
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
            sample's clip if that was learnt from, else of walking figures.
    """
    if path:
        return project / path  # an absolute path stays what it is
    if not data.is_sample:
        say(f"No VIDEO is named, so rendered figures walk by: {WALK}.")
        return WALK
    say("No VIDEO is named, so the sample's clip is shown.")
    return _clip(project / "data" / "sample_ducks.mp4")


def _clip(video: Path) -> Path:
    """The sample's frames as a video."""
    from duckdetect.video_out import write_video

    if not video.is_file():
        frames = [load_picture(path) for path in list_pictures(SAMPLE / "clip")]
        with write_video(video, Fraction(_CLIP_FPS), frames[0].shape[:2]) as out:
            for frame in frames:
                out.write(frame)
    return video
