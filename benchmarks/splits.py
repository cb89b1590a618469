"""Splits over patients, all data sets together."""

from collections.abc import Sequence

import numpy as np
from datasets import Item


def patient_folds(items: Sequence[Item], count: int) -> list[set[str]]:
    """Groups of real, labelled cases in folds, every source spread evenly over them.

    Args:
        items: All that is learned from or judged; those without a group are always learned from.
        count: How many folds; published ones must be below it.

    Returns:
        The groups that each fold holds out. A published fold is kept.
    """
    folds: list[set[str]] = [set() for _ in range(count)]
    for item in items:
        if item.fold is not None:
            folds[item.fold].add(item.group)
    free = [item for item in items if item.group and item.fold is None]
    for source in sorted({item.source for item in free}):
        names = [item.group for item in free if item.source == source]
        order = np.random.default_rng(0).permutation(sorted(set(names))).tolist()
        held = [0] * count
        for group in sorted(order, key=names.count, reverse=True):
            least = held.index(min(held))
            folds[least].add(group)
            held[least] += names.count(group)
    return folds
