"""Pictures of the cases that went worst."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lungmask_jax import inference, viz
from lungmask_jax.evaluation import Row
from lungmask_jax.volume import Volume

__all__ = ["Masks", "Picture", "save", "worst"]

_TILE = 384  # wide enough for the column of a paper


class Masks(NamedTuple):
    """A mask, its truth, and how to read the scan they are of, if it is at hand.

    `seen` is what the networks that made it know of the case, as `lungmask_jax.weights.exposure`
    says; none if it is not known what made it.
    """

    found: Volume
    truth: Volume
    scan: Callable[[], Volume] | None
    seen: str | None = None


class Picture(NamedTuple):
    """The errors of a case."""

    dice: float
    name: str
    rgb: np.ndarray


def worst(so_far: Sequence[Picture], row: Row, masks: Masks, count: int) -> list[Picture]:
    """The pictures of the cases with the lowest Dice; the scans of others are not even read."""
    dice, name = float(row["dice"]), str(row["case"])
    if masks.scan is None or not count or (len(so_far) >= count and dice >= so_far[-1].dice):
        return list(so_far)
    title, caption = f"{name}: {row['label']}, Dice {dice:.2f}", inference.DISCLAIMER
    rgb = viz.errors(
        masks.scan(), masks.found, masks.truth, title=title, caption=caption, tile=_TILE
    )
    return sorted([*so_far, Picture(dice, name, rgb)], key=lambda one: one.dice)[:count]


def save(pictures: Sequence[Picture], folder: Path) -> None:
    """One file a picture, the worst first."""
    for number, picture in enumerate(pictures, 1):
        viz.save_png(picture.rgb, folder / f"worst{number}_{picture.name}.png")
