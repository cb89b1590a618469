"""Distances between the surfaces of two masks.

The surface runs between voxels, through the cubes whose corners are eight neighboring voxel
centers (in a slice: squares of four). Each cube that is cut holds a piece of surface, with the area
that marching cubes give it, at its center. So defined by Nikolov et al. (2021, arXiv:1809.04430).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.metrics._nearest import Cubes, nearest, reach
from lungmask_jax.metrics._overlap import binary
from lungmask_jax.metrics._surfels import full_code, surfel_areas, surfel_codes


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between two surfaces, piece by piece, in ascending order.

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
        """Largest distance, or a percentile of the distances of each surface.

        Args:
            percent: 100 for the Hausdorff distance, 95 for the usual variant without outliers.

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

    def means(self) -> tuple[float, float]:
        """Mean distance of each surface from the other.

        Returns:
            Millimetres, from the prediction to the target and back. 0 for two empty masks, infinite
            for one.
        """
        if (len(self.areas) == 0) != (len(self.target_areas) == 0):
            return float("inf"), float("inf")
        return _mean(self.to_target, self.areas), _mean(self.to_prediction, self.target_areas)

    def dice(self, tolerance_mm: float) -> float:
        """Share of both surfaces that lies within a tolerance (normalized surface Dice, NSD).

        Args:
            tolerance_mm: Distance that counts as equal, such as the difference between readers.

        Returns:
            A number in [0, 1]. 1 for two empty masks, 0 for one.

        Raises:
            SpecError: The tolerance is below 0, or not finite.
        """
        if not 0 <= tolerance_mm < np.inf:
            raise SpecError(f"expected a tolerance of 0 mm or more, found {tolerance_mm}")
        area = self.areas.sum() + self.target_areas.sum()
        if area == 0:
            return 1.0
        ours = self.areas[self.to_target <= tolerance_mm].sum()
        theirs = self.target_areas[self.to_prediction <= tolerance_mm].sum()
        return float((ours + theirs) / area)


def surface_distances(
    prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float]
) -> SurfaceDistances:
    """The distances between two surfaces, for all surface metrics.

    Args:
        prediction: Boolean or 0/1, ``(D, H, W)`` or ``(H, W)``. A single slice as ``(1, H, W)`` has
            a top and a bottom; give ``(H, W)`` to compare outlines.
        target: Same shape.
        spacing: Distance of voxel centers along each axis, in mm.

    Returns:
        Distances both ways and the areas that belong to them.

    Raises:
        ShapeError: The shapes differ, are neither 2-D nor 3-D, do not fit the spacing, or a mask
            has values other than 0 and 1; or the spacing is not above 0.

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
    if not (steps > 0).all():
        raise ShapeError(f"expected a spacing above 0 mm along each axis, found {tuple(spacing)}")
    box = _box(masks)
    ours, theirs = (_cubes(mask[box], steps) for mask in masks)
    to_target, areas = nearest(ours, theirs, steps)
    to_prediction, target_areas = nearest(theirs, ours, steps)
    return SurfaceDistances(to_target, to_prediction, areas, target_areas)


def _percentile(distances: np.ndarray, areas: np.ndarray, percent: float) -> float:
    if not len(distances):
        return 0.0
    reached = np.cumsum(areas) / areas.sum()
    enough = percent / 100 - 1e-12  # rounding of a sum must not decide
    return float(distances[min(int(np.searchsorted(reached, enough)), len(distances) - 1)])


def _mean(distances: np.ndarray, areas: np.ndarray) -> float:
    return float(distances @ areas / areas.sum()) if len(distances) else 0.0


def _box(masks: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """The smallest box that holds all masks; without a voxel if they are empty."""
    box: tuple[slice, ...] = ()
    for axis in range(masks[0].ndim):
        others = tuple(other for other in range(masks[0].ndim) if other != axis)
        filled = np.flatnonzero(np.any([mask[box].any(axis=others) for mask in masks], axis=0))
        box += (slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, 0),)
    return box


def _cubes(mask: np.ndarray, spacing: np.ndarray) -> Cubes:
    """The cubes that the surface cuts, on a grid with a margin for the search."""
    widths = [(margin + 1, margin + 1) for margin in reach(spacing)]
    codes = surfel_codes(np.pad(np.ascontiguousarray(mask), widths))
    cut = codes - np.uint8(1) < full_code(mask.ndim) - 1  # 0, outside, wraps around to 255
    places = np.flatnonzero(cut)
    areas: np.ndarray = surfel_areas(tuple(spacing))[codes.ravel()[places]]
    return Cubes(cut, places, areas)
