"""What makes the masks and numbers of a scan doubtful, said in sentences."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from lungmask_jax import preprocess
from lungmask_jax.labels import LEFT, RIGHT
from lungmask_jax.volume import Volume

__all__ = ["notes"]

_LITTLE_ML: Final = 500
_MUCH_ML: Final = 12_000
"""Nobody's lungs hold as much."""
_SMALL_SHARE: Final = 0.5
_SMALL_SHARE_OF_SLICE: Final = 1 / 3
"""Of 271 single slices of patients one is below, at the dome of the liver; of 10 volumes none."""
_MATRIX: Final = 128
_NOISE_LIMIT_HU: Final = 50
"""Noise, as seen at 128 pixels a side, that the shipped networks stand. Noise of 25 to 100 HU was
added to nine healthy scans, five real ones with pixels of 0.9 to 3.3 mm and four phantoms. Up to
48 HU none had more infection than without. At 52 HU one phantom had 0.4 % more, enough for another
class; at 66 to 75 HU it was 0.1 to 0.9 % in six, from 86 HU 1.3 to 31 %. Fine pixels are averaged
before a network sees them: 100 HU at 0.9 mm are 33 HU here, and did nothing."""


def notes(ct: Volume, lungs: Volume, noise_hu: float) -> tuple[str, ...]:
    """What makes the numbers of a scan doubtful, of one slice or many; nothing if all is well.

    Args:
        ct: The scan.
        lungs: 0 background, 1 right, 2 left.
        noise_hu: Of the scan.

    Returns:
        Sentences without a full stop: no lungs, one lung missing or less than half of the other (a
        third in a single slice), little lung in several slices, more than anybody has, no voxel
        size, much noise.

    Example:
        >>> lungs = Volume(np.array([[[1, 1, 0, 0]]], np.uint8), np.diag([5.0, 1.0, 1.0, 1.0]))
        >>> notes(lungs, lungs, 20.0)
        ('no left lung found: look at the picture',)
    """
    return (*_of_lungs(lungs), *_of_size(lungs), *_of_noise(ct, noise_hu))


def _of_lungs(lungs: Volume) -> Iterator[str]:
    right, left = (int(np.count_nonzero(lungs.array == label)) for label in (RIGHT, LEFT))
    if not right + left:
        yield "no lungs found: is this a chest CT?"
        return
    ml = (right + left) * lungs.voxel_ml
    if len(lungs) > 1 and lungs.has_size and ml < _LITTLE_ML:
        yield f"only {ml:.0f} ml of lung: is this a whole chest? Shares and severity mean little"
    if lungs.has_size and ml > _MUCH_ML:
        yield (
            f"{ml:.0f} ml of lung, more than anybody has: check the unit and the voxel sizes in "
            "the header, or look at the picture"
        )
    small, large = sorted([(right, "right"), (left, "left")])
    if not small[0]:
        yield f"no {small[1]} lung found: look at the picture"
    elif small[0] < large[0] * (_SMALL_SHARE if len(lungs) > 1 else _SMALL_SHARE_OF_SLICE):
        yield (
            f"the {small[1]} lung is {small[0] / large[0]:.0%} of the {large[1]} one: dense lung "
            "may be missing from it, look at the picture"
        )


def _of_size(lungs: Volume) -> Iterator[str]:
    if not lungs.has_size:
        yield "the size of the voxels is not known: there are shares, but no ml"


def _of_noise(ct: Volume, noise_hu: float) -> Iterator[str]:
    if preprocess.noise_hu(ct, matrix=_MATRIX) > _NOISE_LIMIT_HU:
        yield (
            f"noise of {noise_hu:.0f} HU, more than the networks were shown to stand in pixels of "
            "this size: what is marked as infection may be noise"
        )
