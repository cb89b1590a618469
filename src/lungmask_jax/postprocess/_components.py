"""Connected components and cavities.

Whole scans are processed slice by slice if possible, with memory only for the mask and for the
numbers of its components.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from scipy import ndimage

from lungmask_jax.volume import Volume

Bounds = tuple[slice, slice, slice]

FACES = ndimage.generate_binary_structure(3, 1)
FULL = ndimage.generate_binary_structure(3, 3)


def largest_components(
    mask: Volume, *, min_ml: float = 0.0, min_share: float = 0.0, by_label: bool = False
) -> Volume:
    """A mask without its small connected components (26 neighbours).

    Args:
        mask: Labels.
        min_ml: Components below this volume are removed, except in a scan of one slice.
        min_share: Components below this share of the largest one are removed.
        by_label: Whether components are found for each label separately.

    Returns:
        The remaining labels.

    Example:
        >>> mask = np.zeros((2, 4, 8), bool)
        >>> mask[:, :, :3] = mask[0, 0, 7] = True
        >>> largest_components(Volume(mask), min_share=0.5).array[0, 0].astype(int).tolist()
        [1, 1, 1, 0, 0, 0, 0, 0]
    """
    smallest = min_ml / mask.voxel_ml if len(mask) > 1 else 0.0
    if smallest <= 1 and min_share <= 0:
        return mask
    if not by_label:
        return mask.with_array(mask.array * large(mask.array != 0, smallest, min_share))
    result = np.zeros_like(mask.array)
    for label, found in _labels(mask.array):
        result[large(found, smallest, min_share)] = label
    return mask.with_array(result)


def fill_holes(mask: Volume, *, max_hole_mm2: float = 200.0, by_label: bool = False) -> Volume:
    """A mask with its cavities filled.

    A cavity is closed in three dimensions; the first and last slice count as open, so a liver dome
    cut by the edge of the scan is not one. Small holes of a single slice are filled, too: 200 mm2
    is the area of a hilar vessel.

    Args:
        mask: Labels.
        max_hole_mm2: Largest hole of a single slice that is filled.
        by_label: Whether the holes of each label are filled with it; else all with label 1.

    Returns:
        The labels; existing ones do not change.

    Example:
        >>> ring = np.ones((3, 5, 5), bool)
        >>> ring[1, 2, 2] = False
        >>> fill_holes(Volume(ring)).array.all()
        np.True_
    """
    if not by_label:
        return mask.with_array(np.maximum(mask.array, _filled(mask, mask.array != 0, max_hole_mm2)))
    result = np.zeros_like(mask.array)
    for label, found in _labels(mask.array):
        result[_filled(mask, found, max_hole_mm2) & (result == 0)] = label
    return mask.with_array(result)


def _labels(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each label with where it is."""
    for label in range(1, int(array.max(initial=0)) + 1):
        yield label, array == label


def _filled(place: Volume, found: np.ndarray, max_hole_mm2: float) -> np.ndarray:
    if found.any():
        region = found[bounds(found)]
        region |= enclosed(region, open_ends=True)
        _, down, across = place.spacing
        for plane in region:
            plane |= holes(plane, largest=max_hole_mm2 / (down * across))
    return found


def large(mask: np.ndarray, smallest: float, min_share: float = 0.0) -> np.ndarray:
    """Components of so many voxels, and of such a share of the largest one."""
    kept = np.zeros(mask.shape, bool)
    if not mask.any():
        return kept
    box = bounds(mask)
    components, count = labelled(mask[box], FULL)
    voxels = sizes(components, count)
    voxels[0] = 0
    look_up(voxels >= max(smallest, min_share * voxels.max(), 1), components, kept[box])
    return kept


def labelled(mask: np.ndarray, structure: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """Components numbered from 1, in two bytes a voxel where that suffices; and how many."""
    try:
        components, count = ndimage.label(mask, structure, np.uint16)
    except RuntimeError:  # more than two bytes can number
        components, count = ndimage.label(mask, structure)
    return components, count


def bounds(mask: np.ndarray) -> Bounds:
    """The smallest box around what is not 0; everything if nothing is."""
    flat = np.any(mask, axis=0)
    lines = (np.any(mask, axis=(1, 2)), np.any(flat, axis=1), np.any(flat, axis=0))
    places = [np.flatnonzero(line) for line in lines]
    first, second, third = (
        slice(int(place[0]), int(place[-1]) + 1) if len(place) else slice(0, None)
        for place in places
    )
    return first, second, third


def sizes(components: np.ndarray, count: int, *, where: np.ndarray | None = None) -> np.ndarray:
    """Voxels of each component, of the background first; only those of a mask, if one is given."""
    voxels = np.zeros(count + 1, np.int64)
    for number, plane in enumerate(_planes(components)):
        chosen = plane.ravel() if where is None else plane[where[number]]
        voxels += np.bincount(chosen, minlength=count + 1)
    return voxels


def by_component(table: np.ndarray, components: np.ndarray) -> np.ndarray:
    """For each voxel what the table says of its component."""
    found = np.empty(components.shape, table.dtype)
    look_up(table, components, found)
    return found


def look_up(table: np.ndarray, components: np.ndarray, out: np.ndarray) -> None:
    """The same, into an array."""
    for plane, numbers in zip(_planes(out), _planes(components), strict=True):
        np.take(table, numbers, out=plane, mode="clip")


def _planes(array: np.ndarray) -> np.ndarray:
    """A slice alone as the only one of a volume."""
    return array.reshape(math.prod(array.shape[:-2]), *array.shape[-2:])


def enclosed(mask: np.ndarray, *, open_ends: bool = False) -> np.ndarray:
    """Background of a volume that the outside does not reach through faces."""
    width = [(0 if open_ends and axis == 0 else 1,) * 2 for axis in range(mask.ndim)]
    outside = np.pad(~mask, width, constant_values=True)
    components, count = labelled(outside)
    hole = np.ones(count + 1, bool)
    hole[0] = False
    for axis in range(mask.ndim):
        hole[np.unique(components.take((0, -1), axis))] = False
    inner = tuple(slice(low, -high or None) for low, high in width)
    return by_component(hole, components[inner])


def holes(plane: np.ndarray, *, largest: float) -> np.ndarray:
    """Background of a slice that the outside does not reach, in parts of so many pixels at most."""
    background = (~plane).view(np.uint8)
    outside = cv2.copyMakeBorder(background, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    cv2.floodFill(outside, None, (0, 0), 0)
    inner = outside[1:-1, 1:-1].view(bool)
    if not inner.any():
        return inner
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    small = statistics[:, cv2.CC_STAT_AREA] <= largest
    return inner & small[parts[1:-1, 1:-1]]
