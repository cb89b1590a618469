"""Rules by HU for a lung mask: aerated tissue beside lung is lung. They only add, never remove."""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy import ndimage

from lungmask_jax.postprocess._components import bounds, labelled, sizes
from lungmask_jax.volume import Volume


def with_aerated(
    mask: Volume,
    ct: Volume,
    *,
    gas_hu: float = -960.0,
    aerated_hu: float = -600.0,
    edge_hu: float = -500.0,
    bone_hu: float = 400.0,
    tissue_hu: float = -300.0,
    tissue_share: float = 0.2,
    gas_reach_mm: float = 1.5,
    coarse_mm: float = 1.5,
    thinnest_mm: float = 6.0,
    adjoining_share: float = 0.25,
    min_ml: float = 0.1,
) -> Volume:
    """A lung mask extended by aerated lung beside it, such as a missing part of an apex.

    Tissue of -960 to -600 HU over 1.5 mm is lung, or the rim of gas, which is thin. So parts about
    7 mm and three pixels wide, together with the lung in the mask, are added: parts of 0.1 ml or
    more whose surface adjoins the mask by a quarter, and the denser edge around them, up to
    -500 HU. Gas is not added. A scan without bone (nothing above 400 HU) was windowed, so lung may
    be as dark as air: its mask does not change, nor does one whose lungs are all black.

    The parameters were chosen on real scans of this project and on phantoms: apices cut by the
    network, emphysema, and bowel and trachea, which must not be added.

    Args:
        mask: Boolean or 0/1.
        ct: The scan in HU.
        gas_hu: Upper limit of gas and air.
        aerated_hu: Upper limit of aerated lung.
        edge_hu: Upper limit of its edge.
        bone_hu: A scan with no value above this counts as windowed.
        tissue_hu: Upper limit of lung tissue, which begins at `gas_hu`.
        tissue_share: Smallest share of lung tissue in the mask.
        gas_reach_mm: Radius of the mean that detects gas.
        coarse_mm: Pixel size of the coarse copy in use.
        thinnest_mm: Narrowest part that is added.
        adjoining_share: Share of the surface of a part that the mask must adjoin.
        min_ml: Smallest part that is added.

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
    if not found.any() or ct.array.max() < bone_hu:
        return mask.with_array(found)
    box = bounds(found)
    if _share_between(ct.array[box], found[box], (gas_hu, tissue_hu)) < tissue_share:
        return mask.with_array(found)
    size, wide = _coarse(mask, coarse_mm)
    inside = np.stack([_shrunk(plane.view(np.uint8), size) > 0.5 for plane in found])
    thin = _disc(thinnest_mm, size, wide)
    air = np.stack([_aerated(plane, size, (gas_hu, aerated_hu), thin) for plane in ct])
    air &= ~inside
    pieces, count = labelled(air)
    smallest = min_ml / (mask.voxel_ml * found[0].size / inside[0].size)
    joins = _adjoining(pieces, count, inside, adjoining_share) & (sizes(pieces, count) >= smallest)
    joins[0] = False
    for plane, hu, numbers in zip(found, ct, pieces, strict=True):
        joined = joins[numbers]
        if joined.any():
            edge = _near(joined, plane.shape) & (hu < edge_hu)
            plane |= edge & ~_is_gas(hu, edge, gas_hu, _reach(mask, gas_reach_mm))
    return mask.with_array(found)


def _coarse(mask: Volume, coarse_mm: float) -> tuple[tuple[int, int], tuple[float, float]]:
    """Columns and rows of a coarse copy of a slice, and how many mm its rows and columns are."""
    _, down, across = mask.spacing
    rows, columns = mask.shape[1:]
    size = (
        max(1, round(columns * across / coarse_mm)) if across < coarse_mm else columns,
        max(1, round(rows * down / coarse_mm)) if down < coarse_mm else rows,
    )
    return size, (down * rows / size[1], across * columns / size[0])


def _shrunk(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean over the pixels of a smaller picture, ``(columns, rows)``."""
    return np.asarray(cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def _disc(width_mm: float, size: tuple[int, int], spacing: tuple[float, float]) -> np.ndarray:
    """What is wide enough covers it."""
    height, width = (
        2 * min(round(width_mm / mm / 2), side) + 1
        for mm, side in zip(spacing, size[::-1], strict=True)
    )
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, height))


def _aerated(
    hu: np.ndarray, size: tuple[int, int], limits: tuple[float, float], thin: np.ndarray
) -> np.ndarray:
    """Aerated tissue that is not thin, in a smaller copy of a slice."""
    mean = _shrunk(hu, size)
    air = (mean > limits[0]) & (mean < limits[1])
    return np.asarray(cv2.morphologyEx(air.view(np.uint8), cv2.MORPH_OPEN, thin)) > 0


def _near(joined: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What joins on the grid of a slice, and its edge."""
    near = cv2.dilate(joined.view(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(cv2.resize(near, shape[::-1], interpolation=cv2.INTER_NEAREST)) > 0


def _adjoining(pieces: np.ndarray, count: int, inside: np.ndarray, share: float) -> np.ndarray:
    """For each piece whether the mask is beside a large share of its faces."""
    faces, touching = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    for here, there, beside in _neighbors(pieces, inside):
        outer = (here != 0) & (there == 0)
        faces += sizes(here, count, where=outer)
        touching += sizes(here, count, where=outer & beside)
    return touching > share * faces


def _neighbors(
    pieces: np.ndarray, inside: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Numbers of voxels, and of those beside them in each of six directions; and the mask there."""
    for axis in range(3):
        lower = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        upper = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        for here, there in ((lower, upper), (upper, lower)):
            yield pieces[here], pieces[there], inside[there]


def _share_between(hu: np.ndarray, inside: np.ndarray, limits: tuple[float, float]) -> float:
    """How much of the mask lies between two HU, such as what is neither gas nor soft tissue."""
    tissue = sum(
        np.count_nonzero(there & (plane > limits[0]) & (plane < limits[1]))
        for plane, there in zip(hu, inside, strict=True)
    )
    return tissue / np.count_nonzero(inside)


def _reach(mask: Volume, reach_mm: float) -> list[int]:
    """How far around a pixel of a slice `_is_gas` looks, in pixels along rows and columns."""
    return [
        max(1, min(round(reach_mm / mm), side))
        for mm, side in zip(mask.spacing[1:], mask.shape[1:], strict=True)
    ]


def _is_gas(hu: np.ndarray, inside: np.ndarray, gas_hu: float, reach: list[int]) -> np.ndarray:
    """Where the mean over some pixels of a slice is that of gas."""
    size = [2 * pixels + 1 for pixels in reach]
    mean = ndimage.uniform_filter(hu.astype(np.float32), size, mode="nearest")
    return np.asarray(inside & (mean < gas_hu))
