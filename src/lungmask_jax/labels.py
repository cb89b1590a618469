"""Label values, and the conversions between conventions.

Ours (and lungmask's): 0 background, 1 right lung, 2 left lung. Right and left are the patient's.
Infection by type: 1 ground-glass opacity, 2 consolidation.
COVID-19-CT-Seg has the lungs the other way round (1 left, 2 right) and adds 3 infection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lungmask_jax.errors import ScanError, ShapeError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "BACKGROUND",
    "CONSOLIDATION",
    "GROUND_GLASS",
    "LEFT",
    "RIGHT",
    "from_covid19_ct_seg",
    "refuse_above",
    "swap_sides",
]

BACKGROUND: Final = 0
RIGHT: Final = 1
LEFT: Final = 2
GROUND_GLASS: Final = 1
CONSOLIDATION: Final = 2

_ADVICE: Final = {
    1: "make them 0 and 1; if 2 is consolidation, evaluate by type",
    2: "make them 0, 1 (right) and 2 (left) for lungs; 0 and 1 for infection, or 1 (ground glass) "
    "and 2 (consolidation)",
}
_OTHER_ADVICE: Final = "use the labels of the task"


def swap_sides(lungs: np.ndarray) -> np.ndarray:
    """The same lungs with right and left exchanged.

    A horizontal flip of an image turns the patient's right into its left: flip the mask *and* swap
    its sides.

    Args:
        lungs: Any shape, values 0, 1 (right), 2 (left).

    Returns:
        Same shape, uint8.

    Example:
        >>> import numpy as np
        >>> swap_sides(np.array([0, 1, 2, 2], np.uint8))
        array([0, 2, 1, 1], dtype=uint8)
    """
    return _translate(lungs, (BACKGROUND, LEFT, RIGHT))


def from_covid19_ct_seg(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lungs and infection from a COVID-19-CT-Seg ``lung_and_infection_mask``.

    The joint mask has one label per voxel, so infected lung (3) has no side: it becomes infection
    only, and the lungs have a hole there. Use the separate lung mask if you need the lungs.

    Args:
        mask: Any shape, values 0, 1 (left), 2 (right), 3 (infection).

    Returns:
        ``(lungs, infection)``: uint8 with values 0, 1 (right), 2 (left), and uint8 0, 1.

    Example:
        >>> import numpy as np
        >>> from_covid19_ct_seg(np.array([0, 1, 2, 3]))
        (array([0, 2, 1, 0], dtype=uint8), array([0, 0, 0, 1], dtype=uint8))
    """
    return _translate(mask, (BACKGROUND, LEFT, RIGHT, BACKGROUND)), _translate(mask, (0, 0, 0, 1))


def refuse_above(mask: np.ndarray, highest: int, where: object) -> None:
    """Raises for labels that a mask should not have.

    Args:
        mask: Any shape.
        highest: The highest allowed one: 2 for lungs and infection by type, 1 for infection.
        where: What the mask is, for the message.

    Raises:
        ScanError: A label is higher.

    Example:
        >>> import numpy as np
        >>> refuse_above(np.array([0, 255]), 1, "mask.nii")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected labels 0 to 1, found up to 255 in mask.nii: ...
    """
    found = int(mask.max(initial=0))
    if found > highest:
        raise ScanError(
            f"expected labels 0 to {highest}, found up to {found} in {where}: "
            f"{_ADVICE.get(highest, _OTHER_ADVICE)}"
        )


def _translate(mask: np.ndarray, table: tuple[int, ...]) -> np.ndarray:
    import numpy as np  # here: the command asks for names and values before it needs arrays

    mask = np.asarray(mask)
    if mask.size and (mask.min() < 0 or mask.max() >= len(table)):
        raise ShapeError(
            f"expected label values 0 to {len(table) - 1}, found {mask.min()} to {mask.max()}: "
            "check that this is the right mask"
        )
    return np.asarray(table, np.uint8)[mask.astype(np.intp)]
