"""Pictures of the worst cases."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lungmask_jax import DISCLAIMER, viz
from lungmask_jax.evaluation._masks import Masks
from lungmask_jax.evaluation._scores import Row

_TILE = 384  # wide enough for the column of a paper


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


def worst(so_far: Sequence[Picture], row: Row, masks: Masks, count: int) -> list[Picture]:
    """The pictures of the cases with the lowest Dice; the scans of others are not even read."""
    dice, name = float(row["dice"]), str(row["case"])
    if masks.scan is None or count < 1 or (len(so_far) >= count and dice >= so_far[-1].dice):
        return list(so_far)
    title = f"{name}: {row['label']}, Dice {dice:.2f}"
    rgb = viz.errors(
        masks.scan(), masks.prediction, masks.truth, title=title, caption=DISCLAIMER, tile=_TILE
    )
    return sorted([*so_far, Picture(dice, name, rgb)], key=lambda one: one.dice)[:count]
