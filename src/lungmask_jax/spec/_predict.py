"""The way a network is led over a scan."""

from dataclasses import dataclass
from typing import Final

from lungmask_jax.errors import SpecError
from lungmask_jax.spec._checked import Checked, within

SIDE: Final = 2048
"""Pixels of the finest matrix that a CT scanner has."""


@dataclass(frozen=True, kw_only=True)
class PredictSpec(Checked):
    """The way a network is led over a scan.

    Attributes:
        mirror: Along which of ``(slices, rows, columns)`` it also sees mirror images. The mean is
            over every combination: over eight for all three. Slices are for networks of volumes.
        shift: If above 0, the mean is also over the image moved by so many pixels along the
            diagonals.
        patch: ``(slices, rows, columns)`` of the patches that a network of volumes sees; three
            zeros show it whole slices, as does every network of slices.
        step: How far the next patch lies, at most, as a share of the patch. Where patches overlap,
            voxels near the middle of one count more.

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
