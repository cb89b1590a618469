"""The volume that a network of nnU-Net sees of a scan, and the place where it lies."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import ndimage

from lungmask_jax.preprocess._resampling import new_shape, resampled
from lungmask_jax.spec import VolumeSpec
from lungmask_jax.volume import CANONICAL, Volume

__all__ = ["Frame", "network_volume", "nonzero_box"]

_ROUNDING: Final = 1e-6
"""Between shares of a voxel that count as equal."""

_OPPOSITE: Final = dict(zip("RLAPSI", "LRPAIS", strict=True))


@dataclass(frozen=True, eq=False)
class Frame:
    """Where a network of nnU-Net looks in a scan, and along which axes.

    Attributes:
        spec: The numbers of the network.
        axcodes: Of the file that the network takes the scan for.
        box: Slices of each axis, in the order of the network.
        spacing: In mm, likewise.

    Example:
        >>> ct = Volume.of(np.zeros((8, 32, 32), np.int16), spacing=(5.0, 1.0, 1.0))
        >>> frame = Frame.of(ct, VolumeSpec(spacing=(5.0, 1.0, 1.0), orientation="RAS"))
        >>> frame.view(ct.array).shape, frame.spacing
        ((8, 32, 32), (5.0, 1.0, 1.0))
    """

    spec: VolumeSpec
    axcodes: str
    box: tuple[slice, ...]
    spacing: tuple[float, ...]

    @classmethod
    def of(
        cls, ct: Volume, spec: VolumeSpec, *, around: Volume | None = None, margin_mm: float = 0.0
    ) -> "Frame":
        """The frame of a scan.

        Args:
            ct: The scan in HU.
            spec: The numbers of the network.
            around: A mask of the scan, to whose box the network is confined.
            margin_mm: Added on all sides of that box, in whole voxels.

        Returns:
            The frame.
        """
        axcodes = spec.orientation or ct.axcodes
        order = _order(axcodes, spec.axes)
        spacing = tuple(ct.spacing[place] for place in order)
        box: tuple[slice, ...] = (slice(None),) * 3
        if around is not None:
            margin = [int(margin_mm / step) for step in spacing]
            box = _box_around(_turned(around.array, axcodes, spec.axes), margin)
        return cls(spec, axcodes, box, spacing)

    def view(self, array: np.ndarray) -> np.ndarray:
        """The part of an array that the network sees, its axes as the network has them.

        Args:
            array: On the grid of the scan.

        Returns:
            A view; what is written to it stands in the array.
        """
        return _turned(array, self.axcodes, self.spec.axes)[self.box]

    def scan(self, ct: Volume) -> tuple[np.ndarray, tuple[float, ...]]:
        """What nnU-Net is given.

        Args:
            ct: The scan in HU.

        Returns:
            HU, and their spacing. Where the spec asks for TotalSegmentator's way, resampled.
        """
        part = self.view(ct.array)
        if not self.spec.totalsegmentator:
            return part, self.spacing
        shape = new_shape(part.shape, self.spacing, self.spec.spacing)
        values = part.astype(np.float64)
        for axis in sorted(range(3), key=lambda axis: shape[axis] / part.shape[axis]):
            if values.shape[axis] != shape[axis]:
                product = np.tensordot(_corners(values.shape[axis], shape[axis]), values, (1, axis))
                values = np.moveaxis(product, 0, axis)
        return values.astype(np.int32), self.spec.spacing

    def restored(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """What was found on the grid of `scan`, on that of the view: the nearest one.

        Args:
            array: 3-D, of any dtype.
            shape: Of the view.

        Returns:
            The array itself, where the grid is the same.
        """
        for axis, size in enumerate(shape):
            if array.shape[axis] != size:
                places = np.arange(size) * ((array.shape[axis] - 1) / max(size - 1, 1))
                array = array.take(np.floor(places + 0.5).astype(int), axis=axis)
        return array


def network_volume(
    scan: np.ndarray,
    spacing: Sequence[float],
    spec: VolumeSpec,
    *,
    previous: np.ndarray | None = None,
) -> np.ndarray:
    """What a network of nnU-Net sees of a scan: normalized, then resampled.

    Args:
        scan: HU ``(D, H, W)``, cropped, its axes as the network has them.
        spacing: In mm.
        spec: The numbers of the network.
        previous: Labels of the previous stage of a cascade, of the same shape.

    Returns:
        ``(D', H', W', C)`` float32.

    Example:
        >>> spec = VolumeSpec(spacing=(1.0, 1.0, 1.0), previous=(1, 2))
        >>> scan = np.zeros((4, 4, 4), np.int16)
        >>> network_volume(scan, (2.0, 2.0, 2.0), spec, previous=scan).shape
        (8, 8, 8, 3)
    """
    target = spec.spacing if len(spec.spacing) == 3 else (spacing[0], *spec.spacing)
    shape = new_shape(scan.shape, spacing, target)
    image = scan.astype(np.float32) if spec.normalize_last else _normalized(scan, spec)
    image = resampled(image, shape, spacing, target, spec=spec)
    channels = [_normalized(image, spec) if spec.normalize_last else image]
    if previous is not None:
        numbers = sum(((previous == one) * n for n, one in enumerate(spec.previous, 2)))
        outside = (previous == 0) & ~ndimage.binary_fill_holes(scan != 0)  # of a label of its own
        numbers = np.where(outside, 0, np.maximum(numbers, 1)).astype(np.float32)
        likeliest = _likeliest(numbers, shape, spacing, target, spec)
        channels += [likeliest == number for number, _ in enumerate(spec.previous, 2)]
    if len(channels) == 1:
        return channels[0][..., None]
    return np.stack(channels, axis=-1).astype(np.float32, copy=False)


def _likeliest(
    numbers: np.ndarray,
    shape: Sequence[int],
    spacing: Sequence[float],
    target: Sequence[float],
    spec: VolumeSpec,
) -> np.ndarray:
    """The label with the largest share of each new voxel.

    Of labels with equal shares it is the nearest one, else the least, as in nnU-Net.
    """

    def brought(values: np.ndarray, order: int) -> np.ndarray:
        own = replace(spec, order=order, order_across=0)
        return resampled(values.astype(np.float32), shape, spacing, target, spec=own)

    shares = np.stack([brought(numbers == one, 1) for one in range(2 + len(spec.previous))])
    largest = shares >= shares.max(axis=0) - _ROUNDING
    nearest = brought(numbers, 0).astype(np.intp)
    among = np.take_along_axis(largest, nearest[None], axis=0)[0]
    return np.where(among, nearest, np.argmax(largest, axis=0))


def _order(axcodes: str, axes: Sequence[int]) -> list[int]:
    """Which of the canonical axes are those of a network."""
    codes = [axcodes[::-1][axis] for axis in axes]
    return [
        next(place for place, own in enumerate(CANONICAL) if own in (code, _OPPOSITE[code]))
        for code in codes
    ]


def _turned(array: np.ndarray, axcodes: str, axes: Sequence[int]) -> np.ndarray:
    """A view of a canonical array with the axes of a file, its last one first, then in an order."""
    order = _order(axcodes, axes)
    steps = [
        1 if CANONICAL[place] == axcodes[::-1][axis] else -1
        for place, axis in zip(order, axes, strict=True)
    ]
    return array.transpose(order)[tuple(slice(None, None, step) for step in steps)]


def nonzero_box(scan: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds all that is not zero, as nnU-Net crops; all, where nothing is.

    Args:
        scan: 3-D.

    Returns:
        Slices of each axis.

    Example:
        >>> nonzero_box(np.pad(np.ones((2, 1, 1)), 3))
        (slice(3, 5, None), slice(3, 4, None), slice(3, 4, None))
    """
    return _box_around(scan, (0, 0, 0))


def _box_around(mask: np.ndarray, margin: Sequence[int]) -> tuple[slice, ...]:
    """The smallest box around what is not zero, with some voxels more where there are any."""
    box = []
    for axis, more in enumerate(margin):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(mask.any(axis=others))
        if not len(places):
            return (slice(None),) * 3
        stop = min(int(places[-1]) + 1 + more, mask.shape[axis])
        box.append(slice(max(0, int(places[0]) - more), stop))
    return tuple(box)


def _normalized(scan: np.ndarray, spec: VolumeSpec) -> np.ndarray:
    """The intensities, float32."""
    values = scan.astype(np.float32)
    if spec.normalize == "none":
        return values
    if spec.normalize == "ct":
        np.clip(values, *spec.window, out=values)
        values -= np.float32(spec.mean)
        values /= np.float32(max(spec.deviation, 1e-8))
        return values
    inside = np.ones(values.shape, bool)
    if spec.normalize == "zscore_nonzero":
        inside = ndimage.binary_fill_holes(values != 0)
    some = values[inside]
    if some.size:
        values[inside] = (some - some.mean()) / max(some.std(), np.float32(1e-8))
    return values


@functools.lru_cache(maxsize=8)
def _corners(old: int, new: int) -> np.ndarray:
    """What takes an axis to another length linearly so that its corners stay, float64."""
    zoomed: np.ndarray = ndimage.zoom(np.eye(old), (new / old, 1), order=1, mode="nearest")
    return zoomed
