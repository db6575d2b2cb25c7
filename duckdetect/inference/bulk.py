"""Detection on very many pictures by Ray Data, which starts by itself or joins a cluster.

    bulk("results/duck", "s3://bucket/pictures", "found")     # again after a stop: only what is missing

Ray distributes paths alone: each worker reads, decodes and detects. Rows come back as they are done and
are written in shards that appear whole, so that a run that is killed at any moment has every picture of
its shards once, and none of the others.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from duckdetect.errors import UserError, reason_of
from duckdetect.imaging.geometry import RLE_KEY, check_segmentation, detection_rles, rle_column
from duckdetect.imaging.io import load_image
from duckdetect.imaging.kinds import IMAGE_SUFFIXES, quick_kind
from duckdetect.inference.detections_json import Record, write_detections_json
from duckdetect.inference.detector import Detector, load_detector, settings_path
from duckdetect.inference.suppression import check_score
from duckdetect.utils.files import atomic_path, file_sha256, folder_sha256, make_folder, write_json
from duckdetect.utils.locks import only_writer
from duckdetect.utils.outputs import check_outputs
from duckdetect.utils.prefetch import prefetch
from duckdetect.utils.progress import progress_bar, waiting
from duckdetect.utils.reading import as_path, as_whole, read_bytes
from duckdetect.utils.schema import read_json, short
from duckdetect.utils.terminal import printable
from duckdetect.utils.words import counted, plural, some_names

if TYPE_CHECKING:
    import pyarrow as pa
    from supervision import Detections

INSTALL = 'pip install "duckdetect[bulk]"'

_SETTINGS = "bulk.json"
_SHARD_ROWS, _SHARD_S = 5000, 60.0  # a shard is written when one of them is reached
_TASK, _MOST_TASKS = 64, 100_000  # pictures that a worker is given at once; more of very many
_BATCH = 8  # pictures a forward pass
_READERS = (
    4  # pictures that a worker reads at a time: an object store takes a tenth of a second each
)
_RAY_BYTES = 50 << 20  # it fills its logs and its store of objects
_RETRY_S = 30
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class BulkResult:
    """What a bulk run has done.

    Attributes:
        out: The folder of shards.
        images: Pictures in the shards, of earlier runs too.
        detections: Objects found on them.
        failed: Pictures that could not be read; their rows say why.
        new: Pictures of this run.
        seconds: Time from the first picture given out to the last shard.
        json: detections.json, if it was asked for.
        notes: What was left out, each one line.
    """

    out: Path
    images: int
    detections: int
    failed: int
    new: int
    seconds: float
    json: Path | None = None
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The result in a line or two."""
        rate = f", {self.new / self.seconds:.1f} a second" if self.seconds and self.new else ""
        lines = [
            f"{plural(self.images, 'picture')} in {self.out}: {plural(self.new, 'new one')}{rate}; "
            f"{plural(self.detections, 'detection')}"
        ]
        if self.failed:
            lines.append(
                f"{plural(self.failed, 'picture')} could not be read: the column `error` says why"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def bulk(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    threshold: float | None = None,
    *,
    workers: int | None = None,
    to: str | None = None,
    fast: bool = False,
    masks: bool = True,
    progress: bool = True,
) -> BulkResult:
    """Detect on all pictures of a folder tree, a list or an object store; write Parquet shards.

    A shard's columns: `path`, `file` (the size in bytes and the time of change in nanoseconds of a local
    one), `width` and `height` in pixels, `boxes` (a list of x1, y1, x2, y2 in
    pixels), `scores`, `class_ids`, `classes`, `masks` (COCO run lengths as JSON; null of detectors
    without masks) and `error` (null if the picture was read).

    Args:
        run: A run's folder, or a `.tflite` or `.onnx` file; on a cluster each node must find it there.
        source: A folder, which is read with all folders below it; a text file with a path or an address
            a line; or an address that Arrow reads, such as `s3://bucket/folder`.
        out: The folder to write. If an earlier run lies there, only what it has not done is done, and
            files that were replaced since.
        threshold: Keep detections with at least this score; the detector's own if None.
        workers: Processes that detect; as many as there are cores if None.
        to: "coco" for detections.json, made of all shards at the end; pictures that are no more in
            `source` have the last numbers.
        fast: At one scale only.
        masks: Whether masks are found, by a detector that has them.
        progress: Show a bar on stderr.

    Raises:
        UserError: If Ray is missing, there are no pictures, or `out` holds something else.
    """
    if to not in (None, "coco"):
        raise UserError(f"--to is {to!r}: coco is the only other format")
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise UserError(f"bulk needs Ray, which is not installed: {INSTALL}")
    if workers is not None:
        workers = as_whole(workers, "--workers", 1)
    as_path(run, "the run")  # which may be an address
    out = as_path(out, "out")
    written = out / "detections.json" if to == "coco" else None
    _check_out(out, written)  # at once, not after a detector is loaded
    detector = load_detector(run)  # here, for its errors come before any worker starts
    detector.changed(fast=fast)
    kept = detector.threshold if threshold is None else check_score(threshold)
    paths, notes = list_source(source)
    make_folder(out)
    settings = {
        "source": _place_of(source),
        "run": str(run) if _ADDRESS.match(str(run)) else str(Path(run).resolve()),
        "detector": _weights_sum(Path(run)),
        "classes": list(detector.classes),
        "threshold": kept,
        "fast": fast,
        "masks": masks and detector.has_masks,
    }
    with only_writer(out):
        _check_out(out, written)
        _begin(out, settings)
        _forget_outdated(out, paths)
        done = _done(out)
        gone = sorted(done.difference(paths), key=str)
        if gone:
            told = counted(len(gone), "pictures of earlier runs are")
            notes = (*notes, f"{told} not in {source} any more; {out} keeps what was found there")
        missing = [path for path in paths if path not in done]
        start, n_rows = time.monotonic(), 0
        if missing:
            shards = _Shards(out)
            with progress_bar(
                total=len(paths), initial=len(paths) - len(missing), desc="detecting",
                unit="picture", disable=not progress,
            ) as bar:  # fmt: skip
                for table in _detected(missing, settings, workers or os.cpu_count() or 1):
                    shards.add(table)
                    n_rows += table.num_rows
                    bar.update(table.num_rows)
                shards.flush()
        seconds = time.monotonic() - start
        if written is not None:
            numbers = {path: i for i, path in enumerate([*paths, *gone])}
            n = len(detector.classes)
            write_detections_json(written, _records(out, numbers, n), detector.classes, verb="bulk")
        images, detections, failed = _count(out)
    return BulkResult(out, images, detections, failed, n_rows, seconds, written, notes)


def list_source(source: str | Path) -> tuple[list[str], tuple[str, ...]]:
    """The pictures of a source, sorted, and notes of what was left out.

    Of a bucket's files those with a picture's suffix: to look into each would take hours.

    Raises:
        UserError: If there are none, or the source cannot be listed.
    """
    as_path(source, "the source")
    text = str(source)
    notes: list[str] = []
    if _ADDRESS.match(text):
        with waiting(f"listing {printable(text)}"):
            found = _list_address(text, notes)
    elif Path(text).is_dir():
        found = list(_local_images(text, notes))
    elif Path(text).is_file():
        try:
            lines = re.split(r"\r\n|\n|\r", read_bytes(text).decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise UserError(
                f"{source} is no list: give a text file with a path a line, or a folder"
            ) from None
        found = [line.strip() for line in lines if line.strip()]
    else:
        raise UserError(
            f"{source} is not there: give a folder, a list file, or s3://... or gs://..."
        )
    # A table holds no name that is no text; its row says that there is no such picture.
    known = sorted({path.encode(errors="backslashreplace").decode() for path in found})
    if not known:
        raise UserError(f"{source} holds no pictures")
    if twice := len(found) - len(known):
        notes.append(counted(twice, "pictures are given twice: each is looked at once"))
    return known, tuple(notes)


def _local_images(source: str, notes: list[str]) -> Iterator[str]:
    """The images of a folder and of those below it; hidden ones are passed over, others are noted."""
    locked: list[str] = []
    linked: list[str] = []  # which may lead back
    for folder, below, names in os.walk(source, onerror=lambda e: locked.append(str(e.filename))):
        below[:] = [name for name in below if not name.startswith(".")]
        linked += [path for n in below if os.path.islink(path := os.path.join(folder, n))]  # noqa: PTH114, PTH118
        paths = (os.path.join(folder, name) for name in names)  # noqa: PTH118  (a million times)
        yield from filter(_is_local_image, paths)
    for what, places in (
        ("may not be read", locked),
        ("are linked, and not looked into", linked),
    ):
        if places:
            notes.append(counted(len(places), f"folders {what} ({some_names(places)})"))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _is_local_image(path: str) -> bool:
    """As other commands see it: by its suffix, and where that is none by what it holds."""
    name = os.path.basename(path)  # noqa: PTH119
    if name.startswith("."):
        return False
    try:
        return _is_image(name) or quick_kind(Path(path)).group == "image"
    except (OSError, UserError):
        return False


def _list_address(address: str, notes: list[str]) -> list[str]:
    from pyarrow import fs

    scheme = address.split("://")[0]
    try:
        system, root = _file_system(address)
        entries = system.get_file_info(fs.FileSelector(root, recursive=True))
    except (OSError, ValueError, NotImplementedError) as error:
        reason = reason_of(error, 300)
        raise UserError(f"{address} cannot be listed ({reason})") from None
    files = [entry.path for entry in entries if entry.type == fs.FileType.File]
    found = [path for path in files if _is_image(path.rpartition("/")[2])]
    if others := len(files) - len(found):
        notes.append(counted(others, "files have no picture's ending and are left out"))
    return [f"{scheme}://{path}" for path in found]


def _file_system(address: str) -> tuple[Any, str]:
    """What reads an address, and the path on it."""
    from pyarrow import fs

    # Where there is no network, Arrow tries Google's for a quarter of an hour, and hears no signal.
    if address.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in address:
        address += f"{'&' if '?' in address else '?'}retry_limit_seconds={_RETRY_S}"
    system, name = fs.FileSystem.from_uri(address)
    return system, name


def _check_out(out: Path, written: Path | None) -> None:
    """Refuse a place that is not empty and no bulk run's, and what is not ours at `written`."""
    if out.exists():
        make_folder(out)  # which is there, and is to be written
        others = [entry.name for entry in out.iterdir() if not entry.name.startswith(".")]
        if others and not (out / _SETTINGS).exists():
            raise UserError(
                f"{out} holds {others[0]}, which is not of `bulk`: choose another --out"
            )
    if written is not None:
        check_outputs([written], "bulk")


def _begin(out: Path, settings: dict[str, Any]) -> None:
    """Begin a run, or go on with one of the same settings."""
    path = out / _SETTINGS
    if not path.exists():
        write_json(path, settings)
        return
    before = read_json(path, "choose another --out")
    for name, value in settings.items():
        if name in ("detector", "source") and not before.has(name):
            continue  # of a version that did not write it down
        if not before.has(name):
            before.fail(f"it has no {name}")
        if before.values[name] != value:
            there, here = short(before.values[name]), short(value)
            raise UserError(
                f"{out} was begun with another {name} ({there}, here {here}): choose another --out"
            )


def _place_of(source: str | Path) -> str:
    """Where a source's pictures lie: the same paths may lead to other ones from another folder."""
    if _ADDRESS.match(str(source)):
        return str(source)
    place = Path(source).resolve()
    return str(place) if place.is_dir() else f"{place}, read in {Path.cwd()}"


def _weights_sum(run: Path) -> str:
    """The check sum of what a detector computes with: of another one the same path may lead to later."""
    if run.is_file():
        return file_sha256(run)
    folder = settings_path(run).parent
    return file_sha256(folder / "saved_model.pb")[:32] + folder_sha256(folder / "variables")[:32]


def _shard_paths(out: Path) -> list[Path]:
    """By their numbers: of more than 99,999, names have more digits. Other names are not ours."""
    found = [p for p in out.glob("part-*.parquet") if re.fullmatch("part-[0-9]{5,9}", p.stem)]
    return sorted(found, key=_number)


def _number(shard: Path) -> int:
    return int(shard.stem.removeprefix("part-"))


def _done(out: Path) -> set[str]:
    import pyarrow.parquet as pq

    done: set[str] = set()
    for path in _shard_paths(out):
        with _intact(path):
            done.update(pq.read_table(path, columns=["path"])["path"].to_pylist())
    return done


def _forget_outdated(out: Path, paths: Sequence[str]) -> None:
    """Take out the rows of pictures that are other ones by now.

    Local files that changed since they were looked at; and all that could not be read, if one of them can
    be now: it was repaired, or the store that all of them lie in answers again.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = set(paths)
    outdated: dict[Path, set[str]] = {}
    failed: dict[Path, set[str]] = {}
    for shard in _shard_paths(out):
        with _intact(shard):
            # Earlier versions did not write down which file it was.
            known = [_FILE] if _FILE in pq.read_schema(shard).names else []
            table = pq.read_table(shard, columns=["path", "error", *known])
            names = table.filter(pc.is_valid(table["error"]))["path"].to_pylist()
            files = zip(*(table[key].to_pylist() for key in ("path", *known)), strict=True)
            outdated[shard] = {
                path for path, *file in files
                if path in wanted and file and file[0] != _file_stamp(path)
            }  # fmt: skip
        failed[shard] = wanted.intersection(names)
    if any(not isinstance(_load(path), str) for names in failed.values() for path in sorted(names)):
        outdated = {shard: names | failed[shard] for shard, names in outdated.items()}
    for shard, found in outdated.items():
        if not found:
            continue
        with _intact(shard):
            table = pq.read_table(shard)
            kept = table.filter(pc.invert(pc.is_in(table["path"], pa.array(sorted(found)))))
        with atomic_path(shard) as part:
            pq.write_table(kept, part)


_FILE = "file"


def _file_stamp(path: str) -> str | None:
    """What tells a local file from another of its name: size and time; None for addresses."""
    with contextlib.suppress(OSError, ValueError):
        if not _ADDRESS.match(path):
            found = os.stat(path)  # noqa: PTH116  (a million times)
            return f"{found.st_size} {found.st_mtime_ns}"
    return None


@contextlib.contextmanager
def _intact(shard: Path) -> Iterator[None]:
    """Say that a shard is damaged if what the block reads of it is not as we wrote it."""
    try:
        yield
    # Arrow's own errors are of these kinds, and so is what comes of a column of another kind.
    except (
        OSError, ValueError, LookupError, TypeError, AttributeError, NotImplementedError, RecursionError,
    ) as error:  # fmt: skip
        raise UserError(
            f"{shard} is damaged: remove it, and give the same command again; it does what was there"
        ) from error


class _Shards:
    """Gathers rows, and writes them as `part-00001.parquet` and so on."""

    def __init__(self, out: Path) -> None:
        self._out = out
        # Above all that are there, of which a user may have removed some.
        self._number = max(map(_number, _shard_paths(out)), default=0)
        self._tables: list[pa.Table] = []
        self._since = time.monotonic()

    def add(self, table: pa.Table) -> None:
        self._tables.append(table)
        n_rows = sum(one.num_rows for one in self._tables)
        if n_rows >= _SHARD_ROWS or time.monotonic() - self._since > _SHARD_S:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._tables:
            self._number += 1
            with atomic_path(self._out / f"part-{self._number:05d}.parquet") as part:
                pq.write_table(pa.concat_tables(self._tables), part)
        self._tables, self._since = [], time.monotonic()


def _detected(paths: Sequence[str], settings: dict[str, Any], workers: int) -> Iterator[pa.Table]:
    """Tables of rows, in the order in which workers finish them."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    class Configured(Worker):  # Ray warns of arguments that a restarted worker could miss
        def __init__(self) -> None:
            super().__init__(settings, threads)

    own = not ray.is_initialized()
    on_cluster = bool(os.environ.get("RAY_ADDRESS")) or not own
    threads = 1 if on_cluster else max(1, (os.cpu_count() or 1) // workers)
    if own:
        local: dict[str, Any] = {} if on_cluster else {
            # One more than there are workers: Ray's own tasks must find room beside them.
            "num_cpus": workers + 1, "include_dashboard": False, "object_store_memory": 200 << 20,
        }  # fmt: skip
        _start_ray(**local)
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.enable_operator_progress_bars = False
        context.print_on_execution_start = False
        rows = ray.data.from_items(
            [{"path": path} for path in paths],
            override_num_blocks=min(max(len(paths) // _TASK, workers), len(paths), _MOST_TASKS),
        )
        found = rows.map_batches(
            Configured, batch_size=None,
            batch_format="pyarrow", zero_copy_batch=True, num_cpus=1,
            compute=ActorPoolStrategy(size=workers),
        )  # fmt: skip
        yield from found.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
    finally:
        if own:
            ray.shutdown()


def _start_ray(**settings: Any) -> None:
    """Start Ray or join a cluster; again where a busy machine took more than Ray's half a minute."""
    import ray

    for attempts_left in (2, 1, 0):
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **settings)
            return
        except Exception as error:  # Ray's own kinds are many, the time-out is none of them
            ray.shutdown()
            if not attempts_left or "timed out" not in str(error).lower():
                reason = reason_of(error, 300)
                folder = tempfile.gettempdir()
                if shutil.disk_usage(folder).free < _RAY_BYTES:
                    raise UserError(
                        f"Ray does not start: {folder} has no room left; make some, or set TMPDIR to "
                        "another folder"
                    ) from error
                raise UserError(
                    f"Ray does not start ({reason}): run `ray start --head`, and set RAY_ADDRESS=auto"
                ) from error


class Worker:
    """One of Ray's processes: rows of paths to rows of detections.

    Args:
        settings: What `bulk` was asked for.
        threads: Cores to use.
    """

    def __init__(self, settings: dict[str, Any], threads: int) -> None:
        os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
        path = Path(settings["run"])
        if path.is_file():
            from duckdetect.inference.light import load_light

            detector: Detector = load_light(path, threads)
        else:
            detector = load_detector(path)
        self._detector = detector.changed(fast=settings["fast"])
        self._threshold, self._masks = settings["threshold"], settings["masks"]

    def __call__(self, batch: pa.Table) -> pa.Table:
        """`path` to the columns of a shard; a picture that cannot be read has its error."""
        rows: list[dict[str, Any]] = []
        with contextlib.closing(_pictures(batch["path"].to_pylist())) as pictures:
            batches = prefetch(iter(lambda: list(itertools.islice(pictures, _BATCH)), []), 1)
            with contextlib.closing(batches):
                for loaded in batches:
                    rows += self._rows(loaded)
        return _table(rows)

    def _rows(self, loaded: Sequence[_Loaded]) -> Iterable[dict[str, Any]]:
        images = [one.image for one in loaded if not isinstance(one.image, str)]
        try:
            found = iter(self._detector.predict(images, self._threshold, masks=self._masks))
        except Exception as error:
            if len(loaded) > 1:  # which one it is
                return [row for one in loaded for row in self._rows([one])]
            return [_row(loaded[0], None, f"{type(error).__name__}: {error}"[:300])]
        return [
            _row(one, None, one.image) if isinstance(one.image, str) else
            _row(one, next(found), None)
            for one in loaded
        ]  # fmt: skip


class _Loaded(NamedTuple):
    """A picture (H, W, 3) uint8, or what is wrong with it, and the file's stamp before it was read."""

    path: str
    stamp: str | None
    image: np.ndarray | str


def _pictures(paths: Iterable[str]) -> Generator[_Loaded, None, None]:
    """The pictures in their order, read a few ahead: all of a task would take gigabytes."""

    def read(path: str) -> _Loaded:
        return _Loaded(path, _file_stamp(path), _load(path))

    ahead: deque[Future[_Loaded]] = deque()
    with ThreadPoolExecutor(_READERS) as readers:
        for path in paths:
            ahead.append(readers.submit(read, path))
            if len(ahead) > _READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _load(path: str) -> np.ndarray | str:
    """A picture (H, W, 3) uint8, or what is wrong with it."""
    try:
        if not _ADDRESS.match(path):
            return load_image(path)
        from pyarrow import fs

        system, name = _file_system(path)
        local = isinstance(system, fs.LocalFileSystem)  # a bucket holds no device, read for ever
        if local and system.get_file_info(name).type != fs.FileType.File:
            return f"{path} is no file"
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"picture{Path(name).suffix}"
            with system.open_input_stream(name) as stream:
                copy.write_bytes(stream.read())
            return load_image(copy)
    except (UserError, OSError, ValueError, MemoryError) as error:
        return (str(error) or type(error).__name__)[:300]


def _row(loaded: _Loaded, found: Any, error: str | None) -> dict[str, Any]:
    if found is None:
        empty: dict[str, Any] = {"boxes": [], "scores": [], "class_ids": [], "classes": []}
        return {
            "path": loaded.path,
            _FILE: loaded.stamp,
            "width": None,
            "height": None,
            **empty,
            "masks": None,
            "error": error,
        }
    rles = detection_rles(found)
    assert not isinstance(loaded.image, str)
    return {
        "path": loaded.path,
        _FILE: loaded.stamp,
        "width": loaded.image.shape[1],
        "height": loaded.image.shape[0],
        "boxes": found.xyxy.tolist(),
        "scores": found.confidence.tolist(),
        "class_ids": found.class_id.tolist(),
        "classes": found.data["class_name"].tolist() if len(found) else [],
        "masks": None if rles is None else [json.dumps(rle) for rle in rles],
        "error": None,
    }


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    numbers = pa.list_(pa.float32())
    schema = pa.schema(
        {
            "path": pa.string(), _FILE: pa.string(), "width": pa.int32(), "height": pa.int32(),
            "boxes": pa.list_(numbers), "scores": numbers, "class_ids": pa.list_(pa.int32()),
            "classes": pa.list_(pa.string()), "masks": pa.list_(pa.string()), "error": pa.string(),
        }
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


def _records(out: Path, numbers: dict[str, int], n_classes: int) -> Iterator[Record]:
    """What detections.json is made of, a shard in memory at a time."""
    import pyarrow.parquet as pq

    seen: set[str] = set()
    for shard in _shard_paths(out):
        with _intact(shard):
            rows = pq.read_table(shard).to_pylist()
        for row in rows:
            with _intact(shard):
                if row["path"] in seen:
                    raise ValueError("a picture is in it, or in one before it, twice")
                number, found = numbers[row["path"]], _detections(row, n_classes)
            seen.add(row["path"])
            if len(found):
                yield number, row["path"], found


def _detections(row: dict[str, Any], n_classes: int) -> Detections:
    """A shard's row as it was detected.

    Raises:
        ValueError: If it is not as `_row` writes one.
    """
    import supervision as sv

    rles = None if row["masks"] is None else [json.loads(one) for one in row["masks"]]
    xyxy = np.array(row["boxes"], np.float32).reshape(-1, 4)
    score, class_id = np.array(row["scores"], np.float32), np.array(row["class_ids"], np.int64)
    if not np.isfinite(xyxy).all() or not ((score >= 0) & (score <= 1)).all():
        raise ValueError("a box or a score is no number in range")
    if not ((class_id >= 0) & (class_id < n_classes)).all():
        raise ValueError("a class is not the detector's")
    for rle in rles or ():
        good, trouble = check_segmentation(rle, (row["height"], row["width"]))
        if trouble or not isinstance(good, dict):
            raise ValueError(trouble or "a mask is none")
    return sv.Detections(
        xyxy=xyxy,
        confidence=score,
        class_id=class_id,
        data={} if rles is None else {RLE_KEY: rle_column(rles)},
    )


def _count(out: Path) -> tuple[int, int, int]:
    """Pictures, detections and pictures that could not be read, of all shards."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    images = detections = failed = 0
    for path in _shard_paths(out):
        with _intact(path):
            table = pq.read_table(path, columns=["scores", "error"])
            images += table.num_rows
            detections += pc.sum(pc.list_value_length(table["scores"])).as_py() or 0
            failed += table.num_rows - table["error"].null_count
    return images, detections, failed
