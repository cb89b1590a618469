"""How a network is applied to a scan."""

from dataclasses import dataclass
from typing import Final

from lungmask_jax.errors import SpecError
from lungmask_jax.spec._checked import Checked, within

SIDE: Final = 2048
"""Pixels of the finest matrix that a CT scanner has."""


@dataclass(frozen=True, kw_only=True)
class PredictSpec(Checked):
    """How a network is applied to a scan.

    Attributes:
        mirror: Which of ``(slices, rows, columns)`` are also mirrored. The mean is over every
            combination: over eight for all three. Mirroring of slices is for 3-D networks.
        shift: If above 0, the mean is also over the image moved by so many pixels along the
            diagonals.
        patch: ``(slices, rows, columns)`` of the patches of a 3-D network; three zeros mean whole
            slices, as for every 2-D network.
        step: Largest distance to the next patch, as a share of the patch. Where patches overlap,
            voxels near the middle of a patch have larger weights.

    Example:
        >>> PredictSpec(patch=(32, 96, 96)).step
        0.5
        >>> PredictSpec(step=1.5)
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.SpecError: expected a step above 0 and up to 1, found 1.5
    """

    mirror: tuple[bool, bool, bool] = (False, False, False)
    shift: int = 0
    patch: tuple[int, int, int] = (0, 0, 0)
    step: float = 0.5

    def _check(self) -> None:
        within("shift", self.shift, 0, SIDE)
        within("patch", self.patch, 0, SIDE)
        if any(self.patch) and not all(self.patch):
            raise SpecError(f"expected three sides of a patch or three zeros, found {self.patch}")
        if not 0 < self.step <= 1:
            raise SpecError(f"expected a step above 0 and up to 1, found {self.step}")
