"""Label values, and the conversions between conventions.

Ours (and lungmask's): 0 background, 1 right lung, 2 left lung. Right and left are the patient's.
Lesions of an infection: 1 ground-glass opacity, 2 consolidation.
COVID-19-CT-Seg has the lungs the other way round (1 left, 2 right) and adds 3 infection.
"""

from typing import Final

import numpy as np

from lungmask_jax.errors import ShapeError

__all__ = [
    "BACKGROUND",
    "CONSOLIDATION",
    "GROUND_GLASS",
    "LEFT",
    "RIGHT",
    "from_covid19_ct_seg",
    "swap_sides",
]

BACKGROUND: Final = 0
RIGHT: Final = 1
LEFT: Final = 2
GROUND_GLASS: Final = 1
CONSOLIDATION: Final = 2


def swap_sides(lungs: np.ndarray) -> np.ndarray:
    """The same lungs with right and left exchanged.

    A horizontal flip of an image turns the patient's right into its left: flip the mask *and* swap
    its sides.

    Args:
        lungs: Any shape, values 0, 1 (right), 2 (left).

    Returns:
        Same shape, uint8.

    Example:
        >>> swap_sides(np.array([0, 1, 2, 2], np.uint8))
        array([0, 2, 1, 1], dtype=uint8)
    """
    return _translate(lungs, (BACKGROUND, LEFT, RIGHT))


def from_covid19_ct_seg(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lungs and infection from a COVID-19-CT-Seg ``lung_and_infection_mask``.

    The joint mask has one label a voxel, so infected lung (3) carries no side: it comes out as
    infection only, and the lungs have a hole there. Use the separate lung mask where the lungs
    matter.

    Args:
        mask: Any shape, values 0, 1 (left), 2 (right), 3 (infection).

    Returns:
        ``(lungs, infection)``: uint8 with values 0, 1 (right), 2 (left), and uint8 0, 1.

    Example:
        >>> from_covid19_ct_seg(np.array([0, 1, 2, 3]))
        (array([0, 2, 1, 0], dtype=uint8), array([0, 0, 0, 1], dtype=uint8))
    """
    return _translate(mask, (BACKGROUND, LEFT, RIGHT, BACKGROUND)), _translate(mask, (0, 0, 0, 1))


def _translate(mask: np.ndarray, table: tuple[int, ...]) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.size and (mask.min() < 0 or mask.max() >= len(table)):
        raise ShapeError(
            f"expected label values 0 to {len(table) - 1}, found {mask.min()} to {mask.max()}: "
            "check that this is the right mask"
        )
    return np.asarray(table, np.uint8)[mask.astype(np.intp)]
