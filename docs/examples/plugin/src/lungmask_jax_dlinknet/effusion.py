"""A task that lungmask_jax does not know: pleural effusion, fluid around the lungs."""

import numpy as np
from scipy import ndimage

from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

__all__ = ["EFFUSION", "without_films"]

EFFUSION = Task(
    name="effusion",
    colors={1: (0, 114, 178)},
    tolerance_mm=2.0,
    preprocess={"region": "lungs", "margin_mm": 25.0},  # beside the lungs, not in them
    postprocess=(
        ("calibration", {}),
        ("threshold", {}),
        ("without_films", {}),
        ("largest_components", {"min_ml": 1.0}),
    ),
)


def without_films(mask: Volume, *, thinnest_mm: float = 3.0) -> Volume:
    """A mask without what is thin within its slices: pleura is no effusion.

    Args:
        mask: Labels.
        thinnest_mm: Width that stays; a pixel is the least.

    Returns:
        The labels that are left.
    """
    rows, columns = (max(1, round(thinnest_mm / mm)) for mm in mask.spacing[1:])
    opened = ndimage.binary_opening(mask.array, np.ones((1, rows, columns), bool))
    return mask.with_array(mask.array * opened)
