"""Set-up of a notebook: the machine, Google Drive, the base model, the run's folder.

    project = notebook.set_up("transfer_learning_project")       # machine, Drive, cache of weights
    base = notebook.choose_base("retinanet50")
    out = notebook.run_folder(project / "results", base, train, config)
    detector = dd.load_detector(notebook.latest_run(project / "results"))

Each call says below its cell what it chose and why.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duckdetect.data.loading import require_dataset
from duckdetect.errors import UserError, name_fields
from duckdetect.inference.run_config import CONFIG, read_config
from duckdetect.notebook.display import say, set_first_line, switch
from duckdetect.utils.environment import is_colab
from duckdetect.utils.files import make_folder
from duckdetect.utils.reading import as_path
from duckdetect.utils.schema import is_path

if TYPE_CHECKING:
    from duckdetect.data.dataset import Dataset
    from duckdetect.training.config import TrainConfig

MOUNT_POINT = Path("/content/gdrive")

_SUBFOLDERS = ("images", "results", "cache")


def workspace(name: str = "transfer_learning_project", drive: bool = True) -> Path:
    """Make the project's folder, with `images`, `results` and `cache` below it.

    Args:
        name: The folder's name: in My Drive on Colab, in the current folder elsewhere.
        drive: On Colab, whether to use Drive; False keeps all on the runtime's own disk, which is
            lost when the runtime ends.

    Returns:
        The folder's absolute path.

    Raises:
        UserError: If Drive cannot be mounted, or the folder cannot be made or written.
    """
    if (
        not (isinstance(name, str) and name and is_path(name))
        or Path(name).is_absolute()
        or ".." in Path(name).parts
    ):
        raise UserError(f"workspace name {name!r} is no folder name: give one such as 'my_project'")
    parent = _mounted_drive() if is_colab() and drive else Path.cwd()
    folder = make_folder(parent / name)
    for subfolder in _SUBFOLDERS:
        make_folder(folder / subfolder)
    return folder


def _mounted_drive() -> Path:
    """My Drive's folder; mounts Drive if that has not been done yet."""
    my_drive = MOUNT_POINT / "MyDrive"
    if my_drive.is_dir():
        return my_drive
    try:
        importlib.import_module("google.colab.drive").mount(str(MOUNT_POINT))
    # Colab has raised ValueError, KeyError and errors of its own for a refusal over the years.
    except Exception as error:
        raise _not_mounted(str(error) or type(error).__name__) from error
    if not my_drive.is_dir():
        raise _not_mounted(f"{my_drive} is not there")
    return my_drive


def _not_mounted(reason: str) -> UserError:
    return UserError(
        f"Google Drive could not be mounted at {MOUNT_POINT} ({' '.join(reason.split())}): "
        "run this cell again and allow access to Drive, or untick USE_DRIVE "
        "(workspace(drive=False)) to work without it (files are then lost when the runtime ends)"
    )


QUICK_BASE = "ssd_mobilenet_v2"

# Of both notebooks, those that an option of the command line has the name of.
_FIELDS = (
    *("BASE", "WEIGHTS", "TRAIN", "STEPS", "BATCH_SIZE", "LEARNING_RATE", "VIEWS", "SEED"),
    *("INPUT_SIZE", "THRESHOLD", "EVERY", "START", "END", "TRACK"),
)

_NEEDED = ("tensorflow", "tf_keras", "object_detection", "official", "supervision", "av", "fpdf")


def set_up(name: str = "transfer_learning_project", drive: bool = True) -> Path:
    """Check the machine, mount Drive on Colab, and say where everything lies.

    On Colab the base models' weights are kept in the project's `cache`, so that a new runtime need
    not download them again. From here on, a `UserError` in a cell shows its one line alone.

    Args:
        name: The project's folder, in My Drive on Colab, in the current folder elsewhere.
        drive: On Colab, whether to use Drive.

    Returns:
        The project's folder, with `images`, `results` and `cache` below it.

    Raises:
        UserError: If a package is missing, or Drive cannot be mounted.
    """
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        cure = (
            "read above what git and pip say, and run this cell again"
            if is_colab()
            else "run `make setup-dev` and choose .venv as this notebook's kernel"
        )
        raise UserError(f"not installed here: {', '.join(missing)}; {cure}")
    project = workspace(name, drive)
    if is_colab():
        os.environ["DUCKDETECT_CACHE"] = str(project / "cache")
    import tensorflow as tf

    # It tells of each file that a detector is saved to, and warns of what the API calls and of layers
    # that new heads replace; weights that do not fit are an error of bases/ all the same.
    tf.get_logger().setLevel("ERROR")
    name_fields(*_FIELDS)
    say(f"Python {platform.python_version()}, TensorFlow {tf.__version__}. {_processor(tf)}")
    say(f"Pictures and results are in {project}.")
    return project


def _processor(tf: object) -> str:
    gpus = tf.config.list_physical_devices("GPU")  # type: ignore[attr-defined]
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")  # type: ignore[attr-defined]
        return f"GPU: {name}."
    cure = " Runtime > Change runtime type offers one." if is_colab() else ""
    return f"No GPU: everything works, training takes longer.{cure}"


def class_names(text: str) -> list[str]:
    """The names in a form field such as "rubber duck, frog"."""
    if not isinstance(text, str):
        raise UserError(
            f"the names of classes are {text!r}: give one text, with commas between them"
        )
    return [name.strip() for name in text.split(",") if name.strip()]


def choose_base(name: str, weights: str = "", fall_back: bool = False) -> str:
    """Make sure that a base model's weights are here.

    Args:
        name: A base's name, or an SSD model's in the TF2 zoo.
        weights: A file or folder brought by hand instead of the download; "" for none.
        fall_back: Whether ssd_mobilenet_v2 is taken where the weights cannot be had, or where there is
            no GPU for a two-stage base that is not brought by hand; it is then said here and in the
            first line of every later result. It finds masks too, where the labels have outlines.

    Returns:
        The base to train: `name`, or ssd_mobilenet_v2, which is then said.

    Raises:
        UserError: If the name is unknown, or the weights cannot be had and `fall_back` is false.
    """
    from duckdetect.models.catalog import spec_for
    from duckdetect.models.weights import fetch, how_to_bring

    set_first_line("")
    spec = spec_for(name)  # a wrong name is no reason to fall back
    if fall_back and spec.family.stages == 2 and not weights and not _has_gpu():
        say(f"No GPU here, without which {name} needs about 4 s for each training step.")
        return _fall_back(name, "which needs a GPU")
    try:
        files = fetch(name, source=weights or None)
    except UserError as error:
        if weights or name == QUICK_BASE:
            raise
        told = str(error).replace(how_to_bring(name), "give it as WEIGHTS")
        if not fall_back:
            raise UserError(
                f"{told}; or choose {QUICK_BASE} (smaller and less exact), or "
                f"{switch('FALL_BACK', True)}"
            ) from error
        say(f"{told}.")
        return _fall_back(name, "whose weights could not be had")
    say(f"Base model {name}: {files.spec.description}. Its weights are in {files.folder}.")
    return name


def _fall_back(name: str, reason: str) -> str:
    say(
        f"FALLING BACK to {QUICK_BASE}, which is smaller and less exact. To have {name} or nothing, "
        f"{switch('FALL_BACK', False)}."
    )
    choose_base(QUICK_BASE)
    set_first_line(f"NOT {name}, {reason}: this is {QUICK_BASE}, smaller and less exact.")
    return QUICK_BASE


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def run_folder(
    results: Path,
    base_name: str,
    dataset: Dataset,
    config: TrainConfig,
    val: Dataset | None = None,
) -> Path:
    """The folder of a run: another for other images, boxes or settings, the same for the same.

    So "Run all" returns what is trained already and continues what was interrupted, while a change
    never overwrites an earlier run. A run that lies in `results` is found by what it was made of,
    whichever version made it; a new one's name tells the class, the base, and six digits of the rest.
    """
    from duckdetect.models.catalog import spec_for
    from duckdetect.models.weights import fetched
    from duckdetect.training import run_folder

    results = as_path(results, "the folder of results")
    require_dataset(dataset)
    settled = config.candidates(spec_for(base_name), len(dataset), dataset.n_boxes)
    identity = run_folder.describe(base_name, fetched(base_name), dataset, settled[0], val)
    for each in settled:
        if found := run_folder.find_run(results, {**identity, "train": each.to_dict()}):
            return found
    parts: list[Any] = [dataset.classes, {**identity["train"], "train": config.train}]
    parts += [(identity[key] or {}).get("sha256") for key in ("weights", "data", "validation")]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    words = "".join(sign if sign.isalnum() else " " for sign in dataset.classes[0]).split()
    return results / f"{'_'.join(words) or 'class'}-{base_name}-{digest[:6]}"


def latest_run(results: Path, name: str = "") -> Path:
    """The folder of the run that was finished last, or of the one that is named.

    Raises:
        UserError: If there is none.
    """
    results = as_path(results, "the folder of results")
    if name:
        return results / name  # load_detector says what is wrong with it
    runs = []
    for path in results.glob(f"*/{CONFIG}"):
        with contextlib.suppress(UserError, OSError):
            if read_config(path.parent).get("done"):
                runs.append((path.stat().st_mtime, path.parent))
    if not runs:
        raise UserError(f"{results} holds no trained detector yet: run the cells above once")
    folder = max(runs)[1]
    say(f"Detector: {folder.name}, the one trained last.")
    return folder
