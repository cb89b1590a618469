"""Resampling of volumes by splines, one axis after the other, each as a product with a matrix.

Splines are separable, edges included, so the result is that of ``scipy.ndimage.zoom`` and of
scikit-image's ``resize``, up to rounding.
"""

import functools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import ndimage

from lungmask_jax.errors import SpecError
from lungmask_jax.spec import VolumeSpec

__all__ = ["coarse_axis", "neighbors", "new_shape", "resampled"]

_VOXELS: Final = 2**31
"""Of a resampled volume, 8 GB: eight times those of a thorax at 0.4 mm."""


def new_shape(
    shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]
) -> tuple[int, ...]:
    """The voxels along each axis that fill the same space at another spacing.

    Args:
        shape: Voxels along each axis.
        spacing: Theirs.
        target: The other one.

    Returns:
        The shape, rounded as nnU-Net does.

    Raises:
        SpecError: It has more voxels than a scan can have.

    Example:
        >>> new_shape((10, 512, 512), (5.0, 0.7, 0.7), (2.5, 0.8, 0.8))
        (20, 448, 448)
    """
    sides = zip(spacing, target, shape, strict=True)
    found = [max(1.0, old / new * side) for old, new, side in sides]
    if not math.prod(found) < _VOXELS:
        raise SpecError(
            f"expected a volume of less than {_VOXELS:,} voxels at the spacing "
            f"{tuple(target)} of the network, found {math.prod(found):.3g}: crop the scan, or look "
            "at the spacing in the plans of the network"
        )
    return tuple(map(round, found))


def coarse_axis(
    spacing: Sequence[float], target: Sequence[float], *, when: str, anisotropy: float
) -> int | None:
    """The axis that nnU-Net resamples by itself, if there is one.

    Args:
        spacing: Of the volume.
        target: Of the resampled volume.
        when: ``"anisotropic"``, ``"always"`` or ``"never"``, see `lungmask_jax.spec.VolumeSpec`.
        anisotropy: How many times as coarse as the finest axis it is at least.

    Returns:
        The one coarsest axis of the first spacing that is anisotropic; none where two are.

    Example:
        >>> coarse_axis((5.0, 0.7, 0.7), (1.0, 1.0, 1.0), when="anisotropic", anisotropy=3)
        0
    """
    if when == "never":
        return None
    steps = [list(spacing), list(target)]
    if when == "anisotropic":
        steps = [one for one in steps if max(one) / min(one) > anisotropy]
    if not steps:
        return None
    coarsest = [axis for axis, step in enumerate(steps[0]) if step == max(steps[0])]
    return coarsest[0] if len(coarsest) == 1 else None


def resampled(
    volume: np.ndarray,
    shape: Sequence[int],
    spacing: Sequence[float],
    target: Sequence[float],
    *,
    spec: VolumeSpec,
) -> np.ndarray:
    """A volume at another spacing, as nnU-Net resamples scans.

    Values stay between the least and the largest of the volume; where the coarse axis is resampled
    by itself, between those of each of its slices.

    Args:
        volume: 3-D, float32.
        shape: Of the result.
        spacing: Of the volume.
        target: Of the result.
        spec: The orders, and when the coarse axis is resampled by itself.

    Returns:
        float32.

    Example:
        >>> spec = VolumeSpec(spacing=(1.0, 1.0, 2.0), order=1)
        >>> row = np.arange(4, dtype=np.float32)[None, None]
        >>> resampled(row, (1, 1, 2), (1, 1, 1), (1, 1, 2), spec=spec)
        array([[[0.5, 2.5]]], dtype=float32)
    """
    if volume.shape == tuple(shape):
        return volume
    coarse = coarse_axis(spacing, target, when=spec.separate, anisotropy=spec.anisotropy)
    fine = [axis for axis in range(3) if axis != coarse]
    low, high = (edge(axis=tuple(fine), keepdims=True) for edge in (volume.min, volume.max))
    for axis in sorted(fine, key=lambda axis: shape[axis] / volume.shape[axis]):  # shrinking first
        volume = _along(volume, axis, shape[axis], spec.order)
    volume = np.clip(volume, low, high)
    return volume if coarse is None else _along(volume, coarse, shape[coarse], spec.order_across)


def _along(volume: np.ndarray, axis: int, size: int, order: int) -> np.ndarray:
    """The volume with an axis of another length."""
    if volume.shape[axis] == size:
        return volume
    product = np.tensordot(matrix(volume.shape[axis], size, order), volume, (1, axis))
    return np.moveaxis(product, 0, axis)


@functools.lru_cache(maxsize=16)
def matrix(old: int, new: int, order: int) -> np.ndarray:
    """What takes an axis of `old` voxels to `new` ones, ``(new, old)`` float32, as scipy does."""
    zoomed: np.ndarray = ndimage.zoom(
        np.eye(old), (new / old, 1), order=order, mode="nearest", grid_mode=True
    )
    return zoomed.astype(np.float32)


def neighbors(old: int, new: int, *, nearest: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Between which voxels of an axis those of a resampled one lie.

    Args:
        old: Voxels of the axis.
        new: Voxels of the resampled one.
        nearest: Whether the nearest one counts alone.

    Returns:
        ``(below, above, share)``, each ``(new,)``: linear interpolation is
        ``(1 - share) * values[below] + share * values[above]``.

    Example:
        >>> below, above, share = neighbors(2, 4, nearest=False)
        >>> below.tolist(), above.tolist(), share.tolist()
        ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.0])
    """
    places = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    if nearest:
        places = np.clip(np.floor((np.arange(new) + 0.5) * (old / new)), 0, old - 1)
    below = np.floor(places).astype(np.int32)
    return below, np.minimum(below + 1, old - 1), (places - below).astype(np.float32)
