"""Splits that keep a patient's cases together."""

import re
from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np

from lungmask_jax.data._case import Case
from lungmask_jax.data._names import SAME_PATIENT
from lungmask_jax.errors import SpecError

_LAST_PARTS: Final = (r"(?<=\d)[A-Za-z]$", r"[ _.-]+[^ _.-]+$", r"(?<=\D)\d+$")
_VISITS: Final = 8  # of a patient, on average; more names of one beginning are a numbering


def split(
    cases: Sequence[Case], fraction: float, *, seed: int = 0
) -> tuple[list[Case], list[Case]]:
    """Cases to train on, and cases to hold out, without a patient in both.

    Args:
        cases: Cases of at least two patients.
        fraction: Share of the cases to hold out, above 0 and below 1; at least one patient is on
            either side.
        seed: The same seed gives the same split, whatever the order of the cases.

    Returns:
        ``(train, held_out)``, each in the given order.

    Raises:
        SpecError: `fraction` is out of range, or there is one patient only.

    Example:
        >>> from pathlib import Path
        >>> cases = [Case(name, Path(name), patient=name[0]) for name in ("a1", "a2", "b1", "b2")]
        >>> train, held_out = split(cases, 0.5)
        >>> len(train), {case.patient for case in train} & {case.patient for case in held_out}
        (2, set())
    """
    if not 0 < fraction < 1:
        raise SpecError(f"expected a fraction above 0 and below 1 to hold out, found {fraction}")
    groups = _shuffled_patients(cases, seed)
    if len(groups) < 2:
        raise SpecError(f"expected cases of two patients or more, found {len(groups)}: add cases")
    held: set[str] = set()
    count = 0
    wanted = fraction * len(cases)
    for patient, size in groups:
        if count + size / 2 <= wanted and len(held) < len(groups) - 1:
            held.add(patient)
            count += size
    if not held:
        held.add(min(groups, key=lambda group: group[1])[0])
    return _divided(cases, held)


def folds(
    cases: Sequence[Case], count: int, *, seed: int = 0
) -> list[tuple[list[Case], list[Case]]]:
    """Splits for cross-validation: every case is held out once, with all of its patient's.

    Args:
        cases: Cases of at least `count` patients.
        count: Number of splits, 2 or more.
        seed: The same seed gives the same splits, whatever the order of the cases.

    Returns:
        `count` pairs ``(train, held_out)``, with held-out parts as equal as patients allow.

    Raises:
        SpecError: `count` is below 2 or above the number of patients.

    Example:
        >>> from pathlib import Path
        >>> cases = [Case(name, Path(name)) for name in "abcdef"]
        >>> [len(held_out) for _, held_out in folds(cases, 3)]
        [2, 2, 2]
    """
    groups = _shuffled_patients(cases, seed)
    if not 2 <= count <= len(groups):
        raise SpecError(f"expected 2 to {len(groups)} folds (patients), found {count}")
    parts: list[set[str]] = [set() for _ in range(count)]
    sizes = [0] * count
    for patient, size in sorted(groups, key=lambda group: -group[1]):
        smallest = sizes.index(min(sizes))
        parts[smallest].add(patient)
        sizes[smallest] += size
    return [_divided(cases, part) for part in parts]


def similar_names(train: Sequence[Case], held_out: Sequence[Case]) -> list[tuple[str, str]]:
    """Cases on both sides of a split whose names look like one patient.

    Examples are ``ann_1`` and ``ann_2``, ``P07`` and ``P07_followup``; but not ``case_1`` and
    ``case_2`` among many such, which are a numbering. This is a guess, so cases with a known
    patient, from a column or from COVID-19-CT-Seg, are skipped.

    Args:
        train: One side, from `split`.
        held_out: The other.

    Returns:
        Pairs of names.

    Example:
        >>> from pathlib import Path
        >>> ann, dora, ben = (Case(name, Path(name)) for name in ("ann_1", "ann_2", "ben_1"))
        >>> similar_names([ann, ben], [dora])
        [('ann_1', 'ann_2')]
    """
    ours, theirs = _unknown(train), _unknown(held_out)
    beginnings = {name: _beginning(name) for name in (*ours, *theirs)}
    kinds, count = len(set(beginnings.values())), len(beginnings)

    def alike(one: str, other: str) -> bool:
        if one == beginnings[other] or other == beginnings[one]:
            return True
        numbered = beginnings[one][-1:].isdigit() and kinds > 1 and count <= _VISITS * kinds
        return beginnings[one] == beginnings[other] and (numbered or count < 2 * kinds)

    return [pair for pair in product(ours, theirs) if alike(*pair)]


def _beginning(name: str) -> str:
    """A name without its last part: a letter after a number, a word, or a number."""
    shorter = (re.sub(pattern, "", name) for pattern in _LAST_PARTS)
    return next((one for one in shorter if one != name), name)


def _unknown(cases: Sequence[Case]) -> list[str]:
    """Names of cases with an unknown patient."""
    return [
        case.name
        for case in cases
        if case.patient in ("", case.name) and not SAME_PATIENT.match(case.name)
    ]


def _shuffled_patients(cases: Sequence[Case], seed: int) -> list[tuple[str, int]]:
    """``(patient, cases)`` in an order that depends only on the seed and the names."""
    patients = [case.patient or case.name for case in cases]
    names = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(names))
    return [(names[index], patients.count(names[index])) for index in order]


def _divided(cases: Sequence[Case], held: set[str]) -> tuple[list[Case], list[Case]]:
    train = [case for case in cases if (case.patient or case.name) not in held]
    return train, [case for case in cases if (case.patient or case.name) in held]
