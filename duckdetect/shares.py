"""Sharing out things that belong together in groups, so that each share has its part of every kind.

index = share_out(features, group, [0.7, 0.15, 0.15], seed=0)     # (N,) 0, 1 or 2
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_ROUNDS = 30  # it settles after three or four


def share_out(
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
