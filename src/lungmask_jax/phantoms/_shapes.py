"""Shapes as signed distances in mm, negative inside, and how to paint them.

Distances are exact at the outline and approximate away from it, which is all that painting needs.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_TAPS_MM = np.linspace(-14, 14, 9)
_TAP_WEIGHTS = np.hanning(11)[1:-1] / np.hanning(11).sum()
_TINY = 1e-4


@dataclass(frozen=True)
class Plane:
    """One axial plane: where it is, and where its pixels are.

    Attributes:
        height_mm: From the feet end of the field upwards.
        x: ``(1, W)`` float32, mm from the midline to the patient's left.
        y: ``(H, 1)`` float32, mm from the middle of the body to its back.
        edge_mm: Width of a painted edge: one pixel, or 8 mm where pixels are larger.
    """

    height_mm: float
    x: np.ndarray
    y: np.ndarray
    edge_mm: float


def at(height_mm: float, *points: tuple[float, float]) -> float:
    """A smooth curve through ``(height_mm, value)`` points, at one height.

    Example:
        >>> round(at(50, (0, 0), (100, 10)), 3)
        5.0
    """
    heights, values = zip(*points, strict=True)
    return float(np.interp(height_mm + _TAPS_MM, heights, values) @ _TAP_WEIGHTS)


def ellipse(
    x: np.ndarray,
    y: np.ndarray,
    center: tuple[float, float],
    radii: tuple[float | np.ndarray, float | np.ndarray],
    power: float = 2,
) -> np.ndarray:
    """Distance along the ray from the center to a (super)ellipse.

    Args:
        x: ``(1, W)`` mm.
        y: ``(H, 1)`` mm.
        center: Its ``(x, y)``.
        radii: Half axes along ``(x, y)``; an array gives each column or row its own.
        power: 2 is an ellipse, more is boxier.

    Returns:
        ``(H, W)``.

    Example:
        >>> ellipse(np.array([[0.0, 5.0]]), np.array([[0.0]]), (0, 0), (3, 3)).round(2)
        array([[-3.,  2.]])
    """
    across, down = np.abs(x - center[0]), np.abs(y - center[1])
    across, down = np.maximum(across, _TINY), np.maximum(down, _TINY)
    scaled = ((across / radii[0]) ** power + (down / radii[1]) ** power) ** (1 / power)
    return np.asarray(np.sqrt(across**2 + down**2) * (1 - 1 / scaled))


def rounded(
    plane: Plane, center: tuple[float, float, float], radii: tuple[float, float, float]
) -> np.ndarray:
    """Distance, within the plane, to an ellipsoid's cross-section; far outside where it has none.

    Example:
        >>> plane = Plane(0, np.zeros((1, 1)), np.zeros((1, 1)), 1)
        >>> float(rounded(plane, (0, 0, 0), (5, 5, 5)).round()[0, 0])
        -5.0
        >>> bool(rounded(plane, (0, 0, 9), (5, 5, 5))[0, 0] > 100)
        True
    """
    scale = 1 - ((plane.height_mm - center[2]) / radii[2]) ** 2
    if scale <= 0:
        return np.full((plane.y.size, plane.x.size), 999, np.float32)
    root = float(scale**0.5)
    return ellipse(plane.x, plane.y, center[:2], (radii[0] * root, radii[1] * root))


def tube(plane: Plane, points: tuple[tuple[float, float, float], ...], radius: float) -> np.ndarray:
    """Distance to a round tube of one radius along a broken line in space.

    Example:
        >>> plane = Plane(0, np.array([[0.0, 4.0]]), np.zeros((1, 1)), 1)
        >>> tube(plane, ((0, 0, -9), (0, 0, 9)), 3)
        array([[-3.,  1.]])
    """
    distance = np.full((plane.y.size, plane.x.size), 999, plane.x.dtype)
    for start, end in pairwise(points):
        heights = sorted((start[2], end[2]))
        if heights[0] - radius - 6 < plane.height_mm < heights[1] + radius + 6:
            distance = np.minimum(distance, segment(plane, start, end) - radius)
    return distance


def segment(
    plane: Plane, start: tuple[float, float, float], end: tuple[float, float, float]
) -> np.ndarray:
    """Distance from each pixel to a line segment in space, ``(H, W)``.

    Example:
        >>> plane = Plane(0, np.array([[0.0, 4.0]]), np.zeros((1, 1)), 1)
        >>> segment(plane, (-1, 0, 0), (1, 0, 0))
        array([[0., 3.]])
    """
    along = [stop - begin for begin, stop in zip(start, end, strict=True)]
    x, y, z = plane.x - start[0], plane.y - start[1], plane.height_mm - start[2]
    length = sum(step * step for step in along)
    share = np.clip((x * along[0] + y * along[1] + z * along[2]) / length, 0, 1)
    squares = (x - share * along[0]) ** 2 + (y - share * along[1]) ** 2
    return np.asarray(np.sqrt(squares + (z - share * along[2]) ** 2))


def union(first: np.ndarray, second: np.ndarray, blend_mm: float = 0) -> np.ndarray:
    """Either shape, the crease between them filled over ``blend_mm``.

    Example:
        >>> union(np.array(-1.0), np.array(4.0))
        np.float64(-1.0)
    """
    nearer: np.ndarray = np.minimum(first, second)
    if not blend_mm:
        return nearer
    crease = np.maximum(blend_mm - np.abs(first - second), 0)
    return np.asarray(nearer - crease**2 / (4 * blend_mm))


def overlap(first: np.ndarray, second: np.ndarray, blend_mm: float = 0) -> np.ndarray:
    """Where both shapes are, its corners rounded over ``blend_mm``.

    Example:
        >>> overlap(np.array(-1.0), np.array(4.0))
        np.float64(4.0)
    """
    return -union(-first, -second, blend_mm)


def paint(hu: np.ndarray, distance: np.ndarray, value: float, edge_mm: float) -> np.ndarray:
    """The picture with a shape laid over it, mixed with what lies below along the edge.

    Example:
        >>> paint(np.zeros(3), np.array([-2.0, 0.0, 2.0]), 50, edge_mm=1)
        array([50., 25.,  0.])
    """
    if distance.min(initial=np.inf) > edge_mm / 2:
        return hu
    return np.asarray(hu + (value - hu) * np.clip(0.5 - distance / edge_mm, 0, 1))


def paint_bone(hu: np.ndarray, distance: np.ndarray, edge_mm: float) -> np.ndarray:
    """The picture with a bone laid over it: 2 mm of cortex round spongy bone.

    Example:
        >>> paint_bone(np.zeros(3), np.array([-5.0, -1.0, 5.0]), edge_mm=1)
        array([220., 700.,   0.])
    """
    return paint(paint(hu, distance, 700, edge_mm), distance + 2, 220, edge_mm)
