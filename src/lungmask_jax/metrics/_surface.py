"""Distances between the surfaces of two masks.

The surface runs between voxels, through the cubes whose corners are eight neighboring voxel
centers (in a slice: squares of four). Each cube that is cut holds a piece of surface, with the area
that marching cubes give it, at its center. So defined by Nikolov et al. (2021, arXiv:1809.04430).
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from lungmask_jax.errors import ShapeError
from lungmask_jax.metrics._overlap import binary


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far two surfaces lie apart, piece by piece, nearest first.

    Attributes:
        to_target: ``(P,)`` from each piece of the prediction's surface to the target's, in mm;
            infinite if the target is empty.
        to_prediction: ``(Q,)`` from each piece of the target's surface to the prediction's.
        areas: ``(P,)`` of the prediction's pieces, in mm² (mm in a slice).
        target_areas: ``(Q,)`` of the target's pieces.

    Example:
        >>> same = np.zeros(2)
        >>> SurfaceDistances(same, same, same + 1, same + 1).hausdorff()
        0.0
    """

    to_target: np.ndarray
    to_prediction: np.ndarray
    areas: np.ndarray
    target_areas: np.ndarray

    def hausdorff(self, *, percent: float = 100.0) -> float:
        """Largest distance, or the one that so many percent of each surface do not exceed.

        Args:
            percent: 100 for Hausdorff's own, 95 for the usual one that forgives outliers.

        Returns:
            Millimetres, the larger of both directions. 0 for two empty masks, infinite for one.
        """
        return max(
            _percentile(self.to_target, self.areas, percent),
            _percentile(self.to_prediction, self.target_areas, percent),
        )

    def mean(self) -> float:
        """Mean distance over both surfaces together (average symmetric surface distance, ASSD).

        Returns:
            Millimetres. 0 for two empty masks, infinite for one.
        """
        area = self.areas.sum() + self.target_areas.sum()
        if area == 0:
            return 0.0
        ours, theirs = self.to_target @ self.areas, self.to_prediction @ self.target_areas
        return float((ours + theirs) / area)

    def dice(self, tolerance_mm: float) -> float:
        """Share of both surfaces that lies within a tolerance (normalized surface Dice, NSD).

        Args:
            tolerance_mm: What counts as the same place, for instance how far readers differ.

        Returns:
            A number in [0, 1]. 1 for two empty masks, 0 for one.
        """
        area = self.areas.sum() + self.target_areas.sum()
        if area == 0:
            return 1.0
        ours = self.areas[self.to_target <= tolerance_mm].sum()
        theirs = self.target_areas[self.to_prediction <= tolerance_mm].sum()
        return float((ours + theirs) / area)


def surface_distances(
    prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float]
) -> SurfaceDistances:
    """The distances between two surfaces, from which the metrics follow cheaply.

    Args:
        prediction: Boolean or 0/1, ``(D, H, W)`` or ``(H, W)``. A single slice as ``(1, H, W)`` has
            a top and a bottom; give ``(H, W)`` to compare outlines.
        target: Same shape.
        spacing: Distance of voxel centers along each axis, in mm.

    Returns:
        Distances both ways and the areas that belong to them.

    Raises:
        ShapeError: The shapes differ, are neither 2-D nor 3-D, do not fit the spacing, or a mask
            has values other than 0 and 1.

    Example:
        >>> one, other = np.zeros((2, 8, 8), bool)
        >>> one[2:5, 2:5] = other[2:5, 3:6] = True
        >>> surface_distances(one, other, (1.0, 2.0)).hausdorff()
        2.0
    """
    masks = binary(prediction, "prediction"), binary(target, "target")
    shapes, steps = {mask.shape for mask in masks}, np.asarray(spacing, np.float64)
    if len(shapes) > 1 or masks[0].ndim not in (2, 3) or steps.shape != (masks[0].ndim,):
        raise ShapeError(
            "expected two masks of one shape, 2-D or 3-D, and a spacing for each axis, found "
            f"{masks[0].shape}, {masks[1].shape} and {tuple(spacing)}"
        )
    box = _box(masks[0] | masks[1])
    grid = tuple(part.stop - part.start + 1 for part in box)
    (cut, areas), (target_cut, target_areas) = (_surface(mask[box], steps) for mask in masks)
    to_target = _distances(cut, target_cut, grid, steps)
    to_prediction = _distances(target_cut, cut, grid, steps)
    order, target_order = np.argsort(to_target), np.argsort(to_prediction)
    return SurfaceDistances(
        to_target[order],
        to_prediction[target_order],
        areas[order],
        target_areas[target_order],
    )


def _percentile(distances: np.ndarray, areas: np.ndarray, percent: float) -> float:
    if not len(distances):
        return 0.0
    reached = np.cumsum(areas) / areas.sum()
    return float(distances[min(int(np.searchsorted(reached, percent / 100)), len(distances) - 1)])


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds a mask."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        box.append(slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, 0))
    return tuple(box)


def _surface(mask: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cubes that the surface cuts: flat index on the grid between the voxels, and area."""
    codes, every = np.pad(mask, 1).view(np.uint8), (slice(None),) * mask.ndim
    for axis in range(mask.ndim):  # each voxel's bit, next to those of its neighbors
        before = codes[(*every[:axis], slice(None, -1))]
        after = codes[(*every[:axis], slice(1, None))]
        codes = before << 2**axis | after
    flat = codes.ravel()
    full = 2**2**mask.ndim - 1
    cut = np.flatnonzero(flat - np.uint8(1) < full - 1)  # neither 0, which wraps around, nor full
    return cut, _areas(tuple(spacing))[flat[cut]]


def _distances(
    cut: np.ndarray, others: np.ndarray, grid: tuple[int, ...], spacing: np.ndarray
) -> np.ndarray:
    """From each cube to the nearest of the others, in mm; where both surfaces run it is 0."""
    if not len(others):
        return np.full(len(cut), np.inf)
    distances = np.zeros(len(cut))
    apart = ~np.isin(cut, others, assume_unique=True)
    tree = cKDTree(_places(others, grid, spacing), balanced_tree=False)
    distances[apart] = tree.query(_places(cut[apart], grid, spacing), workers=-1)[0]
    return distances


def _places(cut: np.ndarray, grid: tuple[int, ...], spacing: np.ndarray) -> np.ndarray:
    places: np.ndarray = np.stack(np.unravel_index(cut, grid), axis=1) * spacing
    return places


@functools.lru_cache(maxsize=16)
def _areas(spacing: tuple[float, ...]) -> np.ndarray:
    """Area of the surface in a cube, or length of the outline in a square, for every code."""
    ndim = len(spacing)
    whole = math.prod(spacing)
    scale = np.array([whole / step for step in spacing])  # area of each face of a voxel
    corners = list(itertools.product((0, 1), repeat=ndim))
    areas = np.zeros(2 ** len(corners))
    for code in range(len(areas)):
        inside = [corner for corner in corners if code >> _bit(corner) & 1]
        outside = [corner for corner in corners if corner not in inside]
        fewer = min(inside, outside, key=len)
        normals = [normal for part in _connected(fewer) for normal in _normals(part, ndim)]
        areas[code] = sum(np.linalg.norm(normal * scale) for normal in normals)
    return areas


def _bit(corner: tuple[int, ...]) -> int:
    """Where `_surface` puts a corner: the last axis, coded last, counts most."""
    return sum((1 - side) * 2**axis for axis, side in enumerate(corner))


def _connected(corners: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Corners in groups that hang together by edges."""
    groups: list[list[tuple[int, ...]]] = []
    for corner in corners:
        touching = [group for group in groups if any(_axis(corner, one) >= 0 for one in group)]
        groups = [group for group in groups if group not in touching]
        groups.append([corner, *itertools.chain(*touching)])
    return groups


def _axis(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """The axis of the edge between two corners; -1 without one."""
    different = [axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    return different[0] if len(different) == 1 else -1


def _normals(part: list[tuple[int, ...]], ndim: int) -> list[np.ndarray]:
    """Normals, as long as their area, of the flat pieces that cut a group of corners off.

    The pieces meet the edges of a cube of side 1 in the middle. Signs do not matter.
    """
    edges = [_axis(a, b) for a, b in itertools.combinations(part, 2) if _axis(a, b) >= 0]
    every, unit = np.ones(ndim), np.eye(ndim)
    if ndim == 2:
        return [every / 2] if len(part) == 1 else [every - unit[edges[0]]]
    if len(part) == 1:
        return [every / 8]
    if len(part) == 2:
        return [(every - unit[edges[0]]) / 2]
    if len(part) == 3:
        return [(every - unit[edges[0]] - unit[edges[1]]) / 2, every * 3 / 8]
    if len(edges) == 4:  # a face
        return [every - unit[edges[0]] - unit[next(e for e in edges if e != edges[0])]]
    if _center(part):  # a corner and its three neighbors
        return [every * 3 / 4]
    middle = _middle(part)
    ends = [unit[axis] for axis in range(3) if axis != middle]
    return [every / 2, *((unit[middle] + end) / 4 for end in ends)]


def _degree(corner: tuple[int, ...], part: list[tuple[int, ...]]) -> int:
    return sum(_axis(corner, other) >= 0 for other in part)


def _center(part: list[tuple[int, ...]]) -> bool:
    return any(_degree(corner, part) == 3 for corner in part)


def _middle(part: list[tuple[int, ...]]) -> int:
    """The axis of the middle edge of a path of four corners."""
    inner = [corner for corner in part if _degree(corner, part) == 2]
    return _axis(*inner)
