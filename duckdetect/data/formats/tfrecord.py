"""TFRecord files of the Object Detection API, as Roboflow exports them: pictures and boxes in one.

The pictures are written once into the cache (`DUCKDETECT_CACHE`), as the rest works on files. Boxes are
parts of the picture's sides; names come with each box, else from `*label_map.pbtxt` beside.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from duckdetect.data.dataset import Dataset, Label, Problem, Reading, Sample, make_sample
from duckdetect.data.formats import places
from duckdetect.errors import UserError
from duckdetect.imaging.kinds import is_hidden
from duckdetect.utils.archives import refuse_bomb
from duckdetect.utils.files import atomic_path, cache_folder, file_sha256, make_folder
from duckdetect.utils.reading import decoded, read_bytes, read_head
from duckdetect.utils.words import some_names

_NAME = re.compile(r".+\.(tfrecords?|record)(-\d+-of-\d+)?", re.IGNORECASE)
_KEYS = ("xmin", "ymin", "xmax", "ymax")


def find(folder: Path) -> dict[str | None, Path]:
    """The record files of a folder by split; None for a single one, or for shards of one."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if _NAME.fullmatch(path.name) and not is_hidden(path) and path.is_file()
    ]
    first = {re.sub(r"-\d+-of-\d+$", "", path.name): path for path in reversed(found)}
    return places.by_split(folder, sorted(first.values()), "TFRecord")


def read(source: Path, split: str | None, reading: Reading) -> Dataset:
    """Read a record file and its other shards."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    stem = re.sub(r"-\d+-of-\d+$", "", source.name)
    shards = [p for p in sorted(source.parent.iterdir()) if p.name in (stem, source.name) or (
        re.fullmatch(re.escape(stem) + r"-\d+-of-\d+", p.name)
    )]  # fmt: skip
    shards = [path for path in reading.all_inside(shards) if path.is_file()]
    if lacking := _missing(shards):
        what = f"of its {len(shards) + len(lacking)} shards {some_names(lacking)} are not there"
        reading.warn(source, what, "copy them there")
    by_number = _label_map(source, reading)
    found: list[tuple[str, Path, Any, list[tuple[list[float], str, bool]]]] = []
    # One for all shards, so that a picture that is in two of them is known for one.
    digest = hashlib.sha256("".join(map(file_sha256, shards)).encode()).hexdigest()
    folder = cache_folder() / "data" / f"tfrecord-{digest[:12]}"
    for shard in shards:
        if shard.stat().st_size == 0:
            reading(Problem(str(shard), "is empty", "copy it again"))
            continue
        packed = "GZIP" if read_head(shard, 2) == b"\x1f\x8b" else ""
        if packed:
            refuse_bomb(shard)
        make_folder(folder)
        try:
            for number, record in enumerate(tf.data.TFRecordDataset(str(shard), packed), 1):
                where = f"{shard}, record {number}"
                example = tf.train.Example.FromString(record.numpy())
                features = {k: _values(v) for k, v in example.features.feature.items()}
                path = _image(features, folder, number, where, reading)
                if path is not None:
                    said = tuple(
                        next(iter(features.get(f"image/{side}", [])), 0)
                        for side in ("height", "width")
                    )
                    found.append((where, path, said, _boxes(features, by_number, where, reading)))
        except (tf.errors.OpError, ValueError, DecodeError) as error:
            if isinstance(error, UserError):
                raise
            # TensorFlow's own words begin with the places of its graph.
            reason = (
                (str(error).splitlines() or [""])[0]
                .rpartition("}} ")[2]
                .partition(" [Op:")[0][:100]
            )
            raise UserError(f"{shard} is damaged ({reason}): copy it again") from error
    classes = tuple(by_number.values()) or places.class_names(
        n for *_, bs in found for _, n, _ in bs
    )
    classes = tuple(dict.fromkeys([*classes, *(n for *_, bs in found for _, n, _ in bs)]))
    if not by_number and any(re.fullmatch(r"class -?\d+", name) for name in classes):
        what = "the records number their classes, and no label map beside them names these"
        reading.warn(source, what, "put the label map (.pbtxt) there; until then they are numbered")
    class_ids = {name: i for i, name in enumerate(classes)}
    samples: list[Sample] = []
    for where, path, said, boxes in found:
        height, width = reading.frame_hw(path) or (1, 1)
        labels = [
            Label(where, [x1 * width, y1 * height, x2 * width, y2 * height], class_ids[name], c)
            for (x1, y1, x2, y2), name, c in boxes
        ]
        # Parts of the sides stay right where a size was left from before the picture was resized.
        declared = said if said in ((height, width), (width, height)) else None
        if declared is None and all(said):
            what = f"says {said[1]}x{said[0]}, but its picture is {width}x{height}"
            reading.warn(
                where, what, "look at `check --sheet` whether its boxes are this picture's"
            )
        sample = make_sample(path, len(samples) + 1, declared, labels, reading, upright=False)
        if sample is not None:
            samples.append(sample)
    return Dataset(source.parent, classes, tuple(samples))


def _missing(shards: Sequence[Path]) -> list[str]:
    """The numbers of shards that the others say there are, as their names have them."""
    said = [found for path in shards if (found := re.search(r"-(\d+)-of-(\d{1,6})$", path.name))]
    there = {int(found[1]) for found in said}
    return [
        f"{number:0{len(said[0][1])}d}"
        for number in range(max((int(found[2]) for found in said), default=0))
        if number not in there
    ]


def _values(feature: Any) -> list[Any]:
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def _label_map(source: Path, reading: Reading) -> dict[int, str]:
    """Names by number, from a label map beside the records."""
    maps = sorted(source.parent.glob("*.pbtxt")) or sorted(source.parent.parent.glob("*.pbtxt"))
    own = [p for p in maps if p.name.startswith(source.name.split(".")[0])] or maps
    if not own:
        return {}
    text = decoded(read_bytes(reading.inside(own[0])))
    found: dict[int, str] = {}
    if _is_cut(text):
        what = "is cut off: an item or a text in it has no end"
        reading(Problem(str(own[0]), what, "copy it again"))
    for item in _items(text):
        number, name = item.get("id", ""), item.get("name", "").strip()
        if not (number.isascii() and number.isdecimal() and len(number) < 10 and name):
            continue
        if found.setdefault(int(number), name) != name:
            what = f"two items have the id {number}: {found[int(number)]!r} and {name!r}"
            reading(Problem(str(own[0]), what, "give each a number of its own"))
    return dict(sorted(found.items()))


# What a label map's text is made of: a comment, a text with escapes, a sign, a word. A text that is never
# closed ends with the line: else each quotation mark in it would be tried to the end.
_TOKEN = re.compile(r"""#[^\n]*|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|[{}:]|[\w.+-]+""")


def _is_cut(text: str) -> bool:
    """Whether a brace or a quotation mark is not closed."""
    depth = 0
    for token in (match[0] for match in _TOKEN.finditer(text)):
        if token[0] in "'\"" and (len(token) < 2 or token[-1] != token[0]):
            return True
        depth += {"{": 1, "}": -1}.get(token, 0)
    return depth > 0


def _items(text: str) -> Iterator[dict[str, str]]:
    """The fields of each `item { id: 1 name: 'duck' }`, whatever else stands there."""
    before: list[str] = []  # the two tokens before, of a field its name and the colon
    depth = 0
    item: dict[str, str] = {}
    for token in (match[0] for match in _TOKEN.finditer(text) if match[0][0] != "#"):
        if token == "{":
            depth += 1
            if depth == 1:
                item = {}
        elif token == "}":
            depth = max(0, depth - 1)
            if depth == 0 and item:
                yield item
                item = {}
        elif depth == 1 and before[1:] == [":"]:
            quoted = token[0] in "'\""
            item[before[0]] = re.sub(r"\\(.)", r"\1", token[1:-1]) if quoted else token
        before = [*before[-1:], token]


def _image(
    features: dict[str, list[Any]], folder: Path, number: int, where: str, reading: Reading
) -> Path | None:
    encoded = features.get("image/encoded") or [b""]
    if not isinstance(encoded[0], bytes) or not encoded[0]:
        reading(Problem(where, "holds no picture (image/encoded)", "export the records again"))
        return None
    given = (features.get("image/filename") or [b""])[0]
    name = given.decode("utf-8", errors="replace") if isinstance(given, bytes) else ""
    # The last part alone, of safe letters: records come from strangers.
    name = re.sub(r"[^\w.-]+", "_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".")
    name = name.encode()[-80:].decode(errors="ignore")
    if not Path(name).suffix:
        name = f"{name or f'record_{number:06d}'}.jpg"
    # Records of two cameras may have one name: each picture has a folder by its own sum.
    path = folder / hashlib.sha256(encoded[0]).hexdigest()[:16] / name
    if not path.is_file() or path.read_bytes() != encoded[0]:  # somebody may have changed it there
        with atomic_path(path) as part:
            part.write_bytes(encoded[0])
    return path


def _boxes(
    features: dict[str, list[Any]], by_number: dict[int, str], where: str, reading: Reading
) -> list[tuple[list[float], str, bool]]:
    corners = [features.get(f"image/object/bbox/{key}", []) for key in _KEYS]
    texts = features.get("image/object/class/text", [])
    numbers = features.get("image/object/class/label", [])
    # As the API's scripts and its decoder have them; none of these is trained on.
    marks = [
        features.get(f"image/object/{key}", []) for key in ("is_crowd", "group_of", "difficult")
    ]
    n = len(corners[0])
    said = [len(column) for column in (texts, numbers) if column]
    if any(len(column) != n for column in corners) or (max(said, default=0) != n):
        reading(
            Problem(where, "its boxes and classes differ in number", "export the records again")
        )
        return []
    boxes = []
    for i in range(n):
        if len(texts) == n and isinstance(texts[i], bytes):
            name = decoded(texts[i]).strip()
        elif by_number and int(numbers[i]) not in by_number:
            what = f"object {i + 1} has the class number {numbers[i]}, which the label map does not name"
            reading(Problem(where, what, "add it to the label map, or export the records again"))
            continue
        else:
            name = by_number.get(int(numbers[i]), f"class {numbers[i]}")
        crowd = any(bool(column[i]) for column in marks if len(column) == n)
        boxes.append(([float(column[i]) for column in corners], name, crowd))
    return boxes
