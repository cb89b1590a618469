"""Which series of a study are segmented, by stated rules."""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lungmask_jax.io import Series

BEST: Final = "best"
ALL: Final = "all"
_FEWEST: Final = 8
"""Fewer positions are a localizer or a series that watches the contrast arrive."""


@dataclass(frozen=True)
class Choice:
    """A series, whether it is segmented, and why.

    Attributes:
        series: The series.
        use: Whether it is segmented.
        reason: Why, or why not.
    """

    series: Series
    use: bool
    reason: str


def choices(series: Sequence[Series], rule: str) -> Iterator[Choice]:
    """What becomes of each series.

    By ``"best"`` one series of each study is used: an axial one rather than another, one of at
    least 8 slices, an original rather than a derived one, that with the most slices, and the first
    of equal ones. ``"all"`` uses each; any other rule is a SeriesInstanceUID, or a pattern of the
    description as in ``"*lung*"``, whatever the case of letters.
    """
    for study in _studies(series):
        best = max(study, key=_rank)
        for one in study:
            if rule == ALL:
                yield Choice(one, True, "all series were asked for")
            elif rule != BEST:
                use = one.uid == rule or fnmatch.fnmatch(one.description.lower(), rule.lower())
                yield Choice(one, use, f"{'' if use else 'not '}as asked for: {rule}")
            elif one is best:
                yield Choice(one, True, "the only one" if len(study) == 1 else "the best one")
            else:
                yield Choice(one, False, _why_not(one, best))


def _studies(series: Sequence[Series]) -> Iterator[list[Series]]:
    """Those of one patient and study; without a study, those of one folder."""
    studies: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        study = one.study or os.path.abspath(one.folder)
        studies.setdefault((one.patient, study), []).append(one)
    yield from studies.values()


def _rank(one: Series) -> tuple[bool, bool, bool, int]:
    return one.is_axial, one.slices >= _FEWEST, not one.is_derived, one.slices


def _why_not(one: Series, best: Series) -> str:
    """The first rule by which another one is better."""
    reasons = ("not axial", f"fewer than {_FEWEST} slices", "derived from other images")
    for mine, others, reason in zip(_rank(one), _rank(best), reasons, strict=False):
        if mine != others:
            return reason
    more = f"series {best.number or best.uid} has {best.slices}"
    return f"fewer slices: {more}" if one.slices < best.slices else f"as many slices: {more}"
