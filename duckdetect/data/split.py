"""Grouped stratified splits: a data set into train, valid and test, so that the test tells the truth.

    split_dataset("images", "split")                       # a folder of splits
    split_dataset("images", file="split.json", test=0.3, valid=0)

Near-duplicates and frames of one clip are one group and stay together: in two splits they would make a
detector look better than it is. Each split gets its share of every class (stratified).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from duckdetect.data.check import left_over
from duckdetect.data.convert import write_splits
from duckdetect.data.dataset import Dataset, Problem, join, noting
from duckdetect.data.loading import (
    image_name,
    list_parts,
    read_dataset,
    unpacked,
    write_split_file,
)
from duckdetect.data.similar import clip_name, groups_of, image_hash, near_groups
from duckdetect.errors import UserError
from duckdetect.imaging.io import natural_key
from duckdetect.utils.outputs import check_outputs
from duckdetect.utils.progress import progress_bar
from duckdetect.utils.reading import as_number, as_path, as_whole
from duckdetect.utils.words import note_lines, plural

_ROUNDS = 30  # it settles after three or four


def grouped_stratified_split(
    features: np.ndarray, group: np.ndarray, shares: Sequence[float], seed: int
) -> np.ndarray:
    """Give each group to one share, so that the sums of features come as near to it as they can.

    What is made small is the sum over shares and features of (sum / total - share) squared. The
    largest groups are given first, each where it costs least; then groups move as long as that
    gains something. No share stays empty.

    Args:
        features: (N, F), not negative; for instance 1 for each thing, and 1 for each kind it is of.
        group: (N,) int, from 0.
        shares: What part of each feature's total each share should have; they add up to 1.
        seed: Of the order among groups of one size.

    Returns:
        (N,) int64, the share of each thing.

    Raises:
        ValueError: If there are fewer groups than shares.
    """
    n_groups, n_shares = int(group.max(initial=-1)) + 1, len(shares)
    if n_groups < n_shares:
        raise ValueError(f"{n_groups} groups for {n_shares} shares")
    sums = np.zeros((n_groups, features.shape[1]))
    np.add.at(sums, group, features)
    sums /= np.maximum(features.sum(axis=0), 1e-9)  # parts of each feature's total, (G, F)
    size = np.bincount(group, minlength=n_groups)
    wanted = np.array(shares)[:, None]  # (S, 1)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(n_groups)
    order = shuffled[np.argsort(-size[shuffled], kind="stable")]
    has = np.zeros((n_shares, features.shape[1]))  # (S, F)
    share_of = np.full(n_groups, -1)
    # A feature that no thing has counts nowhere.
    counts = sums.sum(axis=0) > 0

    def cost_of_adding(part: np.ndarray) -> np.ndarray:
        off = (has - wanted)[:, counts]
        return ((2 * off + part[counts]) * part[counts]).sum(axis=1)  # (S,)

    for g in order:
        share_of[g] = cost_of_adding(sums[g]).argmin()
        has[share_of[g]] += sums[g]
    for number in range(n_shares):
        if not (share_of == number).any():
            often = np.bincount(share_of, minlength=n_shares)
            costs = [
                cost_of_adding(sums[g])[number] if often[share_of[g]] > 1 else np.inf
                for g in range(n_groups)
            ]
            g = int(np.argmin(costs))
            has[share_of[g]] -= sums[g]
            has[number] += sums[g]
            share_of[g] = number
    often = np.bincount(share_of, minlength=n_shares)
    for _ in range(_ROUNDS):
        moved = False
        for g in rng.permutation(n_groups):
            old = share_of[g]
            if often[old] == 1:
                continue
            has[old] -= sums[g]
            cost = cost_of_adding(sums[g])
            new = int(cost.argmin()) if cost.min() < cost[old] - 1e-12 else old
            has[new] += sums[g]
            if new != old:
                share_of[g], moved = new, True
                often[old] -= 1
                often[new] += 1
        if not moved:
            break
    return share_of[group].astype(np.int64)


SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """What `split_dataset` did.

    Attributes:
        path: The folder or split file.
        parts: The data set of each split, pictures where they were read.
        n_groups: How many groups of pictures there are that show the same or stand alone.
        n_near: Pictures that are nearly the same as another.
        clips: How many pictures each clip has, for clips of two or more.
        seed: As given.
        notes: A line for each other thing to know.
    """

    path: Path
    parts: dict[str, Dataset]
    n_groups: int
    n_near: int
    clips: dict[str, int]
    seed: int
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """For people, some lines."""
        n = sum(len(part) for part in self.parts.values())
        lines = [
            f"{plural(n, 'picture')} in {plural(self.n_groups, 'group')}, "
            f"split with seed {self.seed}: {self.path}"
        ]
        if self.n_near:
            lines.append(f"{self.n_near} are nearly the same as another and stay with it")
        if self.clips:
            shown = ", ".join(f"{name} {count}" for name, count in list(self.clips.items())[:5])
            more = ", ..." if len(self.clips) > 5 else ""
            lines.append(f"frames of one clip stay together: {shown}{more}")
        for split, part in self.parts.items():
            counts = Counter(int(c) for sample in part for c in sample.class_id)
            by_class = ", ".join(f"{name} {counts[i]}" for i, name in enumerate(part.classes))
            empty = sum(len(sample.class_id) == 0 for sample in part)
            lines.append(
                f"  {split:<5}  {plural(len(part), 'picture')} ({len(part) / n:.0%}), "
                f"boxes: {by_class or 0}" + (f", without a box: {empty}" if empty else "")
            )
        return "\n".join([*lines, *note_lines(self.notes)])


def split_dataset(
    path: str | Path,
    out: str | Path | None = None,
    train: float = 0.7,
    valid: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    file: str | Path | None = None,
    clips: bool = True,
    overwrite: bool = False,
    progress: bool = False,
) -> Split:
    """Divide labelled pictures into splits by class, those that show the same kept together.

    Sizes are as near to the shares as the groups allow, for the pictures of each class and those
    without an object alike. Splits that the data set has already are joined first. The same seed
    and pictures give the same splits.

    Args:
        path: As `load_dataset` takes it.
        out: A folder to write: COCO with copies of the pictures.
        train: The share of pictures to learn from, above 0; the three add up to 1.
        valid: The share to watch training with, 0 for none.
        test: The share to measure with, 0 for none.
        seed: Of what is left to chance.
        file: A split file to write in place of `out`, without copies.
        clips: Whether file names tell which pictures are frames of one clip.
        overwrite: Replace what an earlier split wrote to `out`.
        progress: Show a bar while the pictures are compared.

    Raises:
        UserError: If the shares are wrong, something is wrong with the labels, or there are fewer
            groups than splits.
    """
    given = {"train": train, "valid": valid, "test": test}
    shares = _checked_shares({name: as_number(share, name) for name, share in given.items()})
    seed = as_whole(seed, "--seed", 0)
    if (out is None) == (file is None):
        raise UserError("give either a folder to write (out) or a split file (file)")
    path, target = as_path(path, "the data"), as_path(file or out, "the output")
    if file is not None:
        check_outputs([target], "split", [path])

    names = list_parts(path)
    warned: list[Problem] = []
    read = [read_dataset(path, name, noting(warned)) for name in names]
    notes = list(dict.fromkeys(map(str, [*warned, *left_over(read)])))
    whole = join(read)
    if len(names) > 1:
        notes.append(f"the {len(names)} parts it had ({_listed(names)}) are joined and split again")
    order = sorted(range(len(whole)), key=lambda i: natural_key(whole.samples[i].path))
    whole = whole.subset(order)
    hashes = [
        image_hash(sample.load())
        for sample in progress_bar(whole.samples, "comparing", disable=not progress, leave=False)
    ]
    near = near_groups(np.stack(hashes)) if hashes else np.zeros(0, np.int64)  # (N,)
    first = np.unique(near, return_index=True)[1]
    by_clip: dict[str, list[int]] = {}
    for i, sample in enumerate(whole):
        if clips and (clip := clip_name(sample.path)) is not None:
            by_clip.setdefault(clip, []).append(i)
    links = [(int(first[of]), i) for i, of in enumerate(near.tolist())]
    links += [(of_clip[0], i) for of_clip in by_clip.values() for i in of_clip[1:]]
    group = groups_of(len(whole), links)  # (N,)
    n_groups = len(set(group.tolist()))
    if n_groups < len(shares):
        cure = "--no-clips lets them part" if by_clip else "take other pictures"
        raise UserError(
            f"{path} has {len(whole)} pictures in {n_groups} groups that show the same, fewer than "
            f"{len(shares)} splits: {cure}"
        )
    index = grouped_stratified_split(_features(whole), group, list(shares.values()), seed)  # (N,)
    parts: dict[str, Dataset] = {
        split: whole.subset([i for i in range(len(whole)) if index[i] == number])
        for number, split in enumerate(shares)
    }
    if file is not None:
        _write_file(path, target, parts)
    else:
        notes += write_splits(parts, "coco", target, overwrite, "split")
    return Split(
        target,
        parts,
        n_groups,
        int((np.bincount(near, minlength=1)[near] > 1).sum()),
        {name: len(of_clip) for name, of_clip in by_clip.items() if len(of_clip) > 1},
        seed,
        tuple(notes),
    )


def _checked_shares(shares: dict[str, float]) -> dict[str, float]:
    shown = ", ".join(f"{split} {share:g}" for split, share in shares.items())
    if not all(0 <= share <= 1 for share in shares.values()) or shares["train"] == 0:
        raise UserError(f"shares are {shown}: give each from 0 to 1, train above 0")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(
            f"shares are {shown}, together {sum(shares.values()):g}: make them add up to 1"
        )
    return {split: share for split, share in shares.items() if share > 0}


def _features(dataset: Dataset) -> np.ndarray:
    """What is shared out, (N, 2 + classes): pictures, those without an object, those of each class."""
    features = np.zeros((len(dataset), 2 + len(dataset.classes)))
    features[:, 0] = 1
    for row, sample in zip(features, dataset, strict=True):
        row[1] = len(sample.class_id) == 0
        row[2 + sample.class_id] = 1
    return features


def _write_file(path: Path, file: Path, parts: dict[str, Dataset]) -> None:
    if file.suffix.lower() != ".json":
        raise UserError(f"{file} cannot be told from a data set: name the split file .json")
    data = unpacked(path)
    if not data.is_dir():
        raise UserError(f"{path} is no folder: give the folder that it lies in or was made from")
    for image, count in Counter(s.path for part in parts.values() for s in part).items():
        if count > 1:
            raise UserError(
                f"{path} has {count} entries named {image.name}, which a split file cannot tell apart "
                "once they are in one split: write a folder"
            )
    names = {split: [image_name(s.path, data) for s in part] for split, part in parts.items()}
    write_split_file(file, path, names)


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join(name or "its own" for name in names)
