"""The nearest cube on a surface for every cube on another.

Surfaces of two masks of the same organ are mostly within a few voxels of each other. So all cubes
are first searched in their neighborhood, nearest steps first; only a few remain for a k-d tree,
which costs a hundred times as much per cube.
"""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

_STEPS = 300
_FURTHEST = 10


class Cubes(NamedTuple):
    """Cubes of a grid that a surface cuts.

    Attributes:
        cut: Boolean, over the grid, in C order; nothing within `reach` of its border.
        places: ``(P,)`` flat indices of those that are cut.
        areas: ``(P,)`` area of the surface inside each.
    """

    cut: np.ndarray
    places: np.ndarray
    areas: np.ndarray


def nearest(cubes: Cubes, others: Cubes, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances from one surface to the other, ascending, and the areas that belong to them.

    Args:
        cubes: The first surface.
        others: The second one, on the same grid.
        spacing: Spacing of the grid in mm.

    Returns:
        Distances in mm and areas, both ``(P,)``. Infinite distances if there are no others.
    """
    if not len(others.places):
        return np.full(len(cubes.places), np.inf), cubes.areas
    strides = np.array(others.cut.strides)
    there, (left, areas) = others.cut.ravel(), cubes[1:]
    found_distances, found_areas = [], []
    steps, lengths = _steps(tuple(spacing))
    for step, length in zip(steps @ strides, lengths, strict=True):
        if not len(left):
            break
        hit = there[left + step]
        found_areas.append(areas[hit])
        found_distances.append(np.full(len(found_areas[-1]), length))
        left, areas = left[~hit], areas[~hit]
    far = _far(left, others, spacing)
    order = np.argsort(far)
    return (
        np.concatenate([*found_distances, far[order]]),
        np.concatenate([*found_areas, areas[order]]),
    )


def reach(spacing: np.ndarray) -> list[int]:
    """The margin in cubes that `nearest` needs around a grid, along each axis."""
    return _steps(tuple(spacing))[0].max(axis=0).tolist()


@functools.lru_cache(maxsize=16)
def _steps(spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All steps of the grid up to some length, nearest first, and their lengths in mm."""
    ndim, voxel = len(spacing), math.prod(spacing)
    ball = math.pi if ndim == 2 else 4 / 3 * math.pi
    radius = min((_STEPS * voxel / ball) ** (1 / ndim), _FURTHEST * min(spacing))
    sides = [range(-int(radius / mm), int(radius / mm) + 1) for mm in spacing]
    steps = np.array(list(itertools.product(*sides)))
    lengths = np.linalg.norm(steps * spacing, axis=1)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= radius]
    return steps[order], lengths[order]


def _far(places: np.ndarray, others: Cubes, spacing: np.ndarray) -> np.ndarray:
    if not len(places):
        return np.zeros(0)
    tree = cKDTree(_millimetres(others.places, others, spacing), balanced_tree=False)
    return tree.query(_millimetres(places, others, spacing), workers=-1)[0]


def _millimetres(places: np.ndarray, grid: Cubes, spacing: np.ndarray) -> np.ndarray:
    return np.stack(np.unravel_index(places, grid.cut.shape), axis=1) * spacing
