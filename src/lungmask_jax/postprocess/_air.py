"""What HU tell of a lung mask: aerated tissue beside lung is lung. They only add, never remove."""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy import ndimage

from lungmask_jax.postprocess._components import bounds, labelled, sizes
from lungmask_jax.volume import Volume

_GAS_HU = -960
_BONE_HU = 400
_GAS_REACH_MM = 1.5
_AERATED_HU = -600
_EDGE_HU = -500
_COARSE_MM = 1.5
_THINNEST_MM = 6.0
_ADJOINING = 0.25
_SMALLEST_ML = 0.1


def with_aerated(mask: Volume, ct: Volume) -> Volume:
    """A lung mask with the aerated lung beside it that it leaves out, such as half an apex.

    Tissue of -960 to -600 HU over 1.5 mm is lung, or the rim of gas, which is thin. So what is some
    7 mm wide and three pixels, lung in the mask included, joins it: parts of 0.1 ml or more, where
    the mask adjoins a quarter of their surface, and the denser edge around them, up to -500 HU.
    Gas does not join. A scan without bone (nothing above 400 HU) has been through a window, where
    lung may be as dark as air, and its mask stays as it is; so does one whose lungs are all black.

    Args:
        mask: Boolean or 0/1.
        ct: The scan in HU.

    Returns:
        Boolean.

    Example:
        >>> hu = np.zeros((1, 64, 64), np.int16)
        >>> hu[:, 8:56, 8:56], hu[:, 0, 0] = -850, 700
        >>> half = np.zeros(hu.shape, bool)
        >>> half[:, 8:56, 8:32] = True
        >>> with_aerated(Volume(half), Volume(hu)).array[0, 32, ::8].astype(int).tolist()
        [0, 1, 1, 1, 1, 1, 1, 0]
    """
    found: np.ndarray = mask.array != 0
    if not _telling(found, ct):
        return mask.with_array(found)
    _, down, across = mask.spacing
    reach = _reach(mask)
    rows, columns = found.shape[1:]
    coarse = (
        max(1, round(columns * across / _COARSE_MM)) if across < _COARSE_MM else columns,
        max(1, round(rows * down / _COARSE_MM)) if down < _COARSE_MM else rows,
    )
    inside = np.stack([_shrunk(plane.view(np.uint8), coarse) > 0.5 for plane in found])
    wide = (down * rows / coarse[1], across * columns / coarse[0])
    air = np.stack([_aerated(plane, coarse, wide) for plane in ct])
    air &= ~inside
    pieces, count = labelled(air)
    smallest = _SMALLEST_ML / (mask.voxel_ml * found[0].size / inside[0].size)
    joins = _adjoining(pieces, count, inside) & (sizes(pieces, count) >= smallest)
    joins[0] = False
    for plane, hu, numbers in zip(found, ct, pieces, strict=True):
        joined = joins[numbers]
        if joined.any():
            near = cv2.dilate(joined.view(np.uint8), np.ones((3, 3), np.uint8))
            near = cv2.resize(near, (columns, rows), interpolation=cv2.INTER_NEAREST)
            edge = (near > 0) & (hu < _EDGE_HU)
            plane |= edge & ~_black(hu[None], edge[None], reach)[0]
    return mask.with_array(found)


def _shrunk(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean over the pixels of a smaller picture, ``(columns, rows)``."""
    return np.asarray(cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def _aerated(hu: np.ndarray, size: tuple[int, int], spacing: tuple[float, float]) -> np.ndarray:
    """Where a smaller picture of a slice shows aerated tissue that is not thin."""
    mean = _shrunk(hu, size)
    air = (mean > _GAS_HU) & (mean < _AERATED_HU)
    height, width = (
        2 * min(round(_THINNEST_MM / mm / 2), side) + 1
        for mm, side in zip(spacing, size[::-1], strict=True)
    )
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, height))
    return np.asarray(cv2.morphologyEx(air.view(np.uint8), cv2.MORPH_OPEN, shape)) > 0


def _adjoining(pieces: np.ndarray, count: int, inside: np.ndarray) -> np.ndarray:
    """For each piece whether the mask is beside a large share of its faces."""
    faces, touching = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    for here, there, beside in _neighbors(pieces, inside):
        outer = (here != 0) & (there == 0)
        faces += sizes(here, count, where=outer)
        touching += sizes(here, count, where=outer & beside)
    return touching > _ADJOINING * faces


def _neighbors(
    pieces: np.ndarray, inside: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Numbers of voxels, and of those beside them in each of six directions; and the mask there."""
    for axis in range(3):
        lower = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        upper = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        for here, there in ((lower, upper), (upper, lower)):
            yield pieces[here], pieces[there], inside[there]


def _telling(found: np.ndarray, ct: Volume) -> bool:
    """Whether there is a mask, and HU that tell gas from lung in it."""
    if not found.any() or ct.array.max() < _BONE_HU:
        return False
    box = bounds(found)
    return _share_of_tissue(ct.array[box], found[box]) >= 0.2


def _share_of_tissue(hu: np.ndarray, inside: np.ndarray) -> float:
    """How much of the mask is neither gas nor soft tissue."""
    tissue = sum(
        np.count_nonzero(there & (plane > _GAS_HU) & (plane < -300))
        for plane, there in zip(hu, inside, strict=True)
    )
    return tissue / np.count_nonzero(inside)


def _reach(mask: Volume) -> list[int]:
    """How far around a pixel of a slice `_black` looks, in pixels along rows and columns."""
    return [
        max(1, min(round(_GAS_REACH_MM / mm), side))
        for mm, side in zip(mask.spacing[1:], mask.shape[1:], strict=True)
    ]


def _black(hu: np.ndarray, inside: np.ndarray, reach: list[int]) -> np.ndarray:
    """Where the mean over some pixels of a slice is that of gas."""
    size = [2 * pixels + 1 for pixels in reach]
    found = np.zeros(inside.shape, bool)
    for black, plane, there in zip(found, hu, inside, strict=True):
        if there.any():
            mean = ndimage.uniform_filter(plane.astype(np.float32), size, mode="nearest")
            np.logical_and(there, mean < _GAS_HU, out=black)
    return found
