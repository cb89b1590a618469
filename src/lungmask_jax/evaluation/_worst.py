"""The worst cases of a model, and of another one on the same cases."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from lungmask_jax import DISCLAIMER, report, viz
from lungmask_jax.evaluation._masks import Masks
from lungmask_jax.evaluation._scores import Row
from lungmask_jax.volume import Volume

_TILE: Final = 384  # wide enough for the column of a paper
_FILE: Final = re.compile(r"worst\d+_(.+)\.png")


class Picture(NamedTuple):
    """The errors of a case.

    Attributes:
        dice: Dice of its whole mask.
        name: Name of the case.
        rgb: ``(H, W, 3)`` uint8.

    Example:
        >>> Picture(0.5, "a", np.zeros((2, 2, 3), np.uint8)).rgb.shape
        (2, 2, 3)
    """

    dice: float
    name: str
    rgb: np.ndarray


class Beside(NamedTuple):
    """The errors of two models in a case.

    Attributes:
        ours: Those of the model that is judged.
        theirs: A PNG of those of the other model, which its own evaluation has written.

    Example:
        >>> Beside(Picture(0.5, "a", np.zeros((2, 2, 3), np.uint8)), b"").ours.name
        'a'
    """

    ours: Picture
    theirs: bytes


def worst(
    so_far: Sequence[Picture], row: Row, count: int, draw: Callable[[], Picture]
) -> list[Picture]:
    """The pictures of the cases with the lowest Dice; the scans of others are not even read."""
    if count < 1 or (len(so_far) >= count and float(row["dice"]) >= so_far[-1].dice):
        return list(so_far)
    return sorted([*so_far, draw()], key=lambda one: one.dice)[:count]


def errors(row: Row, masks: Masks, scan: Callable[[], Volume]) -> Picture:
    """The slices of a case with the largest errors."""
    dice, name = float(row["dice"]), str(row["case"])
    title = f"{name}: {row['label']}, Dice {dice:.2f}"
    rgb = viz.errors(
        scan(), masks.prediction, masks.truth, title=title, caption=DISCLAIMER, tile=_TILE
    )
    return Picture(dice, name, rgb)


def others_worst(table: Path, rows: Sequence[Row], label: str, count: int) -> dict[str, bytes]:
    """Pictures of the cases with the lowest Dice of the other model, from the folder of its table.

    Args:
        table: Its ``cases.csv``.
        rows: Those of the table.
        label: Of the whole mask.
        count: Largest number of cases.

    Returns:
        A PNG by the name of the case; none without pictures in the folder.
    """
    found = {path: _FILE.fullmatch(path.name) for path in table.parent.iterdir()}
    files = {match[1]: path for path, match in found.items() if match}
    lowest = sorted(_dice(rows, label).items(), key=lambda one: one[1])[:count]
    return {name: files[name].read_bytes() for name, _ in lowest if name in files}


def case_errors(
    pictures: Sequence[Picture], beside: Sequence[Beside], others: Sequence[Row], label: str
) -> list[report.Errors]:
    """The errors on a page: the worst cases of a model, then those of the other one.

    Args:
        pictures: Of the model.
        beside: Of both models.
        others: Rows of the other model.
        label: Of the whole mask.
    """
    theirs = {one.ours.name: one.theirs for one in beside}
    known = {one.name for one in pictures}
    more = [one.ours for one in beside if one.ours.name not in known]
    dice = _dice(others, label)
    return [
        report.Errors(
            one.name, one.dice, one.rgb, dice.get(one.name, math.nan), theirs.get(one.name, b"")
        )
        for one in [*pictures, *sorted(more, key=lambda one: dice.get(one.name, math.inf))]
    ]


def _dice(rows: Sequence[Row], label: str) -> dict[str, float]:
    """The Dice of each case."""
    return {str(row["case"]): float(row["dice"]) for row in rows if row["label"] == label}
