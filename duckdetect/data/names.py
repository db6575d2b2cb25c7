r"""Finds the picture that a label names, for every format, and keeps labels inside their data set.

    finder = Finder(root)
    finder.find("https://host/data/upload/1/my%20duck.jpg?token=x", [root, root / "images"])

Labels rarely name their pictures as they are called here: they bear paths of another machine
(`C:\ducks\a.jpg`), addresses, percent-encoding, Label Studio's `?d=`, other letters (`.JPG`, an
accent apart from its letter as on a Mac), blanks at the end. What fits best is taken, from the whole
path to its last part; two files that fit equally well are an error that names both.

A path that leads out of the data set, by `..`, as a whole path, or by a symbolic link, is refused:
labels come from strangers, and pictures are copied and shown. `allow_outside` names folders that the
user trusts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from duckdetect.imaging.kinds import IMAGE_SUFFIXES, is_hidden, quick_kind
from duckdetect.utils.reading import retried
from duckdetect.utils.words import composed

Lookup = Callable[[Path, tuple[str, ...]], list[Path]]
Places = Sequence[Path | Sequence[Path]]
"""Folders in the order of preference; folders of a group are equals."""

# One format, several names: a picture that was saved again keeps its pixels' place.
_KIN = ((".jpg", ".jpeg", ".jpe", ".jfif"), (".tif", ".tiff"), (".heic", ".heif"))
_SCHEME = re.compile(
    r"[A-Za-z][\w+.-]{1,20}://[^/]*/?|file:/*"
)  # bounded: no look-ahead without end
_DRIVE = re.compile(r"[A-Za-z]:")
# Label Studio puts eight hexadecimal digits before the name of an uploaded file.
_LONGEST = 4096  # of a path, on Linux
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


class NamingError(Exception):
    """Why no picture, or no single one, stands for a name: `what` and the `cure` for it."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what}: {cure}")
        self.what, self.cure = what, cure


class MissingError(NamingError):
    """No file fits a name."""


class Finder:
    """Finds files by the names that labels give them; each folder is listed once.

    Args:
        root: The data set's folder: nothing outside it is found.
        allow_outside: Folders outside that may be used, too.
        beside: Folders that belong to the data set although they lie beside `root`.
    """

    def __init__(
        self, root: Path, allow_outside: Iterable[Path] = (), beside: Iterable[Path] = ()
    ) -> None:
        self.root = root
        self._own = [folder.resolve() for folder in (root, *beside)]
        self._allowed = [*self._own, *(folder.resolve() for folder in allow_outside)]
        self._listed: dict[Path, dict[str, Path]] = {}
        self._folded: dict[Path, dict[str, list[Path]]] = {}
        self._stemmed: dict[Path, dict[str, list[Path]]] = {}
        self._uploaded: dict[Path, dict[str, list[Path]]] = {}
        self._inside: dict[Path, bool] = {}
        self._holders: dict[tuple[int, str], tuple[Sequence[Path], dict[str, list[Path]]]] = {}

    def find(self, name: str, places: Places) -> Path:
        """The picture of that name.

        Args:
            name: As the labels have it: a name, a path or an address.
            places: Where it may lie.

        Raises:
            NamingError: If there is none, or several fit, or it lies outside the data set.
        """
        if len(name) > _LONGEST:
            what = f"the picture {_short(name)} has a name of {len(name)} letters"
            raise MissingError(what, "no path is so long: fix it, or remove its entry")
        forms = name_forms(name)
        if not forms:
            raise MissingError("has no file_name", "put it beside the labels, or remove its entry")
        climbing = self._climbing(forms, places)
        if climbing is not None:
            return climbing
        ends = [_ends(form) for form in forms]  # the whole path first, its last part last
        named: list[Path] = []  # the folder that the name says, where it is here
        for length in range(max(map(len, ends)), 0, -1):
            tails = [end[-length:] for end in ends if len(end) >= length]
            for lookup in (self._exact, self._alike):
                found = self._first(lookup, tails, places, name)
                if found is None:
                    continue
                if named and not _is_below(found, named):
                    raise MissingError(
                        f"the picture {_short(name)} is missing in {named[0]}",
                        f"put it there, name {found} if that is meant, or remove its entry",
                    )
                return found
            named = named or self._folders([tail[:-1] for tail in tails], places)
        last = list(dict.fromkeys(end[-1] for end in ends if end))
        for names in (_kin(last), _uploads(last)):
            found = self._first(self._alike, [(each,) for each in names], places, name)
            if found is not None:
                return found
        bare = [each for each in last if Path(each).suffix.lower() not in IMAGE_SUFFIXES]
        for each in bare:
            if (found := self._of_stem(each, places, name)) is not None:
                return found
        uploaded = self._without_upload(last, places, name)
        if uploaded is not None:
            return uploaded
        outside = self._whole_path(forms)
        if outside is not None:
            return outside
        raise MissingError(
            f"the picture {_short(name)} is missing{self._near(last, places)}",
            "put it beside the labels, or remove its entry",
        )

    def of_stem(self, stem: str, places: Places) -> Path | None:
        """The picture of that name without its suffix; None if there is none.

        Raises:
            NamingError: If several fit.
        """
        return self._of_stem(stem, places, stem)

    def file(self, folder: Path, name: str) -> Path | None:
        """A file or folder by its name alone, in other letters (`.TXT`, NFC or NFD) if need be.

        Raises:
            NamingError: If several fit, or it is a link that leads out of the data set.
        """
        found = self._exact(folder, (name,)) or self._alike(folder, (name,))
        return self._single(found, name)

    def entry(self, folder: Path, name: str) -> Path | None:
        """What is called exactly so in a folder, wherever it leads."""
        return self._entries(folder).get(name)

    def check(self, path: Path) -> Path:
        """The same path.

        Raises:
            NamingError: If it lies outside the data set, also by a link.
        """
        if not self._is_inside(path):
            raise _outside(path)
        return path

    def files(self, folder: Path) -> list[Path]:
        """What lies in a folder, hidden files left out; nothing if it is none."""
        return [path for path in self._entries(folder).values() if not is_hidden(path)]

    # The steps of `find`.

    def _first(
        self, lookup: Lookup, tails: Sequence[tuple[str, ...]], places: Places, name: str
    ) -> Path | None:
        """The file of the first tail and place that hold one; equals in a place are too many."""
        for tail in tails:
            for place in places:
                holding = self._holding(place, self._folds, fold(tail[0]))
                found = [path for folder in holding for path in lookup(folder, tail)]
                found = [path for path in found if not path.is_dir()]
                if found:
                    return self._single(found, name)
        return None

    def _folders(self, tails: Iterable[tuple[str, ...]], places: Places) -> list[Path]:
        """The folders of these names that are there."""
        return [
            path
            for tail in tails
            if tail
            for place in places
            for folder in self._holding(place, self._folds, fold(tail[0]))
            for path in self._alike(folder, tail)
            if path.is_dir()
        ]

    def _single(self, found: Sequence[Path], name: str) -> Path | None:
        found = list(dict.fromkeys(found))
        if len(found) > 1:
            names = " and ".join(str(path) for path in found[:3])
            raise NamingError(
                f"{_short(name)} may be {names}", "keep one of them, or name it as it is called"
            )
        return self.check(found[0]) if found else None

    def _exact(self, folder: Path, parts: tuple[str, ...]) -> list[Path]:
        for part in parts[:-1]:
            folder = folder / part
        found = self._entries(folder).get(parts[-1])
        return [found] if found is not None else []

    def _alike(self, folder: Path, parts: tuple[str, ...]) -> list[Path]:
        folders = [folder]
        for part in parts[:-1]:
            folders = [path for each in folders for path in self._folds(each).get(fold(part), [])]
        return [path for each in folders for path in self._folds(each).get(fold(parts[-1]), [])]

    def _of_stem(self, stem: str, places: Places, name: str) -> Path | None:
        for key in (lambda text: text, fold):
            for place in places:
                found = [
                    path
                    for folder in self._holding(place, self._stems, fold(stem))
                    for path in self._stems(folder).get(fold(stem), [])
                    if key(path.stem) == key(stem)
                ]
                if found:
                    return self._single(found, name)
        return None

    def _without_upload(self, names: Sequence[str], places: Places, name: str) -> Path | None:
        """The file has Label Studio's prefix, the label does not."""
        wanted = sorted({fold(each) for each in names})
        for place in places:
            found = [
                path
                for each in wanted
                for folder in self._holding(place, self._uploads, each)
                for path in self._uploads(folder).get(each, ())
            ]
            if found:
                return self._single(found, name)
        return None

    def _climbing(self, forms: Sequence[str], places: Places) -> Path | None:
        """The file of a relative path that leads out of the data set, which must be allowed."""
        for form in forms:
            if ".." not in form.split("/") or form.startswith("/"):
                continue
            for place in places:
                # From one of many folders below the pictures' no name is meant to lead out.
                path = place / form if isinstance(place, Path) else None
                if path and _is_file(path) and not _is_below(path.resolve(), self._own):
                    return self.check(path)
        return None

    def _whole_path(self, forms: Sequence[str]) -> Path | None:
        """A whole path of this machine, which is only good in a folder that the user named."""
        for form in forms:
            if form.startswith("/") and _is_file(path := Path(form)):
                return self.check(path)
        return None

    def _near(self, names: Sequence[str], places: Places) -> str:
        """A picture of the same name but another suffix, for the message."""
        for name in names:
            stem = fold(Path(name).stem)
            for place in places:
                for folder in self._holding(place, self._stems, stem):
                    for path in self._stems(folder).get(stem, []):
                        return f" ({path.name} lies there)"
        return ""

    # Folders, each listed once.

    def _holding(
        self, place: Path | Sequence[Path], listing: Callable[[Path], Mapping[str, Any]], key: str
    ) -> Sequence[Path]:
        """The folders of a place in which a listing has the key: of thousands, not each is asked."""
        if isinstance(place, Path):
            return (place,)
        index = id(place), listing.__name__
        if index not in self._holders:
            holders: dict[str, list[Path]] = {}
            for folder in place:
                for each in listing(folder):
                    holders.setdefault(each, []).append(folder)
            self._holders[index] = place, holders  # with the place, which keeps its id
        return self._holders[index][1].get(key, ())

    def _entries(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listed:

            def names() -> list[str]:
                try:
                    return sorted(os.listdir(folder))  # noqa: PTH208  (names alone, and many)
                except (FileNotFoundError, NotADirectoryError):
                    return []

            paths = [folder / name for name in retried(folder, names)]
            # Hidden ones, too: a label may name one.
            self._listed[folder] = {path.name: path for path in paths}
        return self._listed[folder]

    def _folds(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._folded:
            by_fold: dict[str, list[Path]] = {}
            for path in self._entries(folder).values():
                by_fold.setdefault(fold(path.name), []).append(path)
            self._folded[folder] = by_fold
        return self._folded[folder]

    def _stems(self, folder: Path) -> dict[str, list[Path]]:
        """Images by their folded stem."""
        if folder not in self._stemmed:
            by_stem: dict[str, list[Path]] = {}
            for path in self._entries(folder).values():
                if path.suffix.lower() in IMAGE_SUFFIXES or (
                    not is_hidden(path) and path.is_file() and quick_kind(path).group == "image"
                ):
                    by_stem.setdefault(fold(path.stem), []).append(path)
            self._stemmed[folder] = by_stem
        return self._stemmed[folder]

    def _uploads(self, folder: Path) -> dict[str, list[Path]]:
        """Files with Label Studio's prefix by their folded name without it."""
        if folder not in self._uploaded:
            by_fold: dict[str, list[Path]] = {}
            for path in self._entries(folder).values():
                if _UPLOAD.match(path.name):
                    by_fold.setdefault(fold(path.name[9:]), []).append(path)
            self._uploaded[folder] = by_fold
        return self._uploaded[folder]

    def _is_inside(self, path: Path) -> bool:
        # A folder may be the data set's own one, whose parent lies outside.
        if path.is_symlink() or ".." in path.parts or path.is_dir():
            return self._allows(path.resolve())
        folder = path.parent
        if folder not in self._inside:
            self._inside[folder] = self._allows(folder.resolve())
        return self._inside[folder]

    def _allows(self, resolved: Path) -> bool:
        return _is_below(resolved, self._allowed)


def _is_below(resolved: Path, folders: Iterable[Path]) -> bool:
    return any(resolved.is_relative_to(folder) for folder in folders)


def name_forms(name: str) -> list[str]:
    """What a label's name may mean as a path with `/`, most literal first."""
    forms: list[str] = []

    def add(text: str) -> None:
        for each in (text, text.strip(" \t\r\n\"'")):
            if each and each not in forms:
                forms.append(each)

    plain = name.replace("\\", "/")
    add(plain)
    for text in (plain, unquote(plain), unquote(unquote(plain))):
        address, _, query = text.partition("?")
        for value in parse_qs(query).get("d", []):  # Label Studio's local files
            add(value)
            add(unquote(value))
        without = _SCHEME.sub("", address)
        add(text)
        add(address)
        add(without)
        if without != address:
            add(without.partition("#")[0])
    return forms


def fold(name: str) -> str:
    """A name without what differs between systems: case, Unicode form, blanks around it."""
    return composed(name).casefold().strip(" .")


def _group(place: Path | Sequence[Path]) -> Sequence[Path]:
    return [place] if isinstance(place, Path) else place


def _ends(form: str) -> tuple[str, ...]:
    """The parts of a path that may hold here."""
    parts: list[str] = []
    for part in _SCHEME.sub("", form).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts[1:] if len(parts) > 1 and _DRIVE.fullmatch(parts[0]) else parts)


def _kin(names: Sequence[str]) -> Iterator[str]:
    """The same names with the other suffixes of their formats."""
    for name in names:
        suffix = Path(name).suffix
        for kin in _KIN:
            if suffix.lower() in kin:
                yield from (name[: -len(suffix)] + other for other in kin)


def _uploads(names: Sequence[str]) -> list[str]:
    """The names without Label Studio's prefix."""
    return [_UPLOAD.sub("", name, count=1) for name in names if _UPLOAD.match(name)]


def _outside(path: Path) -> NamingError:
    folder = path.resolve().parent
    return NamingError(
        f"{path} lies outside the data set",
        f"copy it there, or allow it with --allow-outside {folder}",
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have, as it is too long
        return False
    except ValueError:  # a zero byte
        return False


def _short(name: str) -> str:
    shown = json.dumps(name, ensure_ascii=False)
    return shown if len(shown) <= 82 else f'{shown[:78]}..."'
