"""Surface area in the cube between eight voxel centers, for each combination of filled corners.

The surface is that of marching cubes: it cuts the edges of the cube in the middle, and where the
corners could be joined in two ways, those that are fewer are cut off one group at a time. In a
slice the cube is a square and the surface an outline.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

Corner = tuple[int, ...]


def surfel_codes(mask: np.ndarray) -> np.ndarray:
    """The filled corners of every cube, one bit per corner.

    Args:
        mask: Boolean, ``(D, H, W)`` or ``(H, W)``, with an empty border.

    Returns:
        uint8, one shorter on each axis: 0 outside, `full_code` inside, between them on the surface.
    """
    codes = mask.view(np.uint8)
    for axis in range(mask.ndim):
        ahead = (slice(None),) * axis
        after = codes[(*ahead, slice(1, None))]
        codes = codes[(*ahead, slice(None, -1))] << np.uint8(2**axis)
        codes |= after
    return codes


def full_code(ndim: int) -> int:
    """The code of a cube whose corners are all filled."""
    return int(2 ** (2**ndim) - 1)


def surfel_areas(spacing: Sequence[float]) -> np.ndarray:
    """Area of the surface in a cube, in mm² (its length in a square, in mm), for every code.

    Args:
        spacing: Distance of voxel centers along each axis, in mm; two or three of them.

    Returns:
        ``(256,)``, or ``(16,)`` for a slice.
    """
    steps = np.asarray(spacing, np.float64)
    faces = np.prod(steps) / steps
    return np.linalg.norm(_normals(len(steps)) * faces, axis=-1).sum(axis=-1)


@functools.cache
def _normals(ndim: int) -> np.ndarray:
    """Normals of the flat pieces, as long as their area at spacing 1: ``(codes, pieces, ndim)``."""
    corners = list(itertools.product((0, 1), repeat=ndim))
    normals = np.zeros((full_code(ndim) + 1, 4, ndim))
    for code in range(len(normals)):
        inside = [corner for corner in corners if code >> _bit(corner) & 1]
        fewer = min(inside, [one for one in corners if one not in inside], key=len)
        pieces = [piece for group in _groups(fewer) for piece in _pieces(group)]
        normals[code, : len(pieces)] = np.reshape(pieces, (-1, ndim))
    return normals


def _bit(corner: Corner) -> int:
    """The bit of a corner in `surfel_codes`."""
    return sum((1 - side) * 2**axis for axis, side in enumerate(corner))


def _groups(corners: list[Corner]) -> list[list[Corner]]:
    """Corners that hang together by edges."""
    groups: list[list[Corner]] = []
    for corner in corners:
        touching = [group for group in groups if any(_edge(corner, one).any() for one in group)]
        groups = [group for group in groups if group not in touching]
        groups.append([corner, *itertools.chain(*touching)])
    return groups


def _edge(one: Corner, other: Corner) -> np.ndarray:
    """The unit vector along the edge between two corners; zeros if there is none."""
    step = np.abs(np.subtract(one, other))
    return step if step.sum() == 1 else 0 * step


def _pieces(group: list[Corner]) -> list[np.ndarray]:
    """Normals of what cuts a group of corners off the rest; signs do not matter.

    At most half of the corners are in a group, so the shapes are few: a corner, an edge, two edges
    that meet, a face, three edges that meet in a corner, and three that form a path.
    """
    edges = [edge for pair in itertools.combinations(group, 2) if (edge := _edge(*pair)).any()]
    every = np.ones(len(group[0]))
    across = every - np.clip(sum(edges, 0 * every), 0, 1)
    if len(every) == 2:
        return [across if edges else every / 2]
    if len(group) == 1:  # a triangle between the middles of three edges
        return [every / 8]
    if len(group) == 2:  # a rectangle
        return [across / 2]
    if len(group) == 3:  # a pentagon: half a face, and three times the triangle of a corner
        return [across / 2, every * 3 / 8]
    if len(edges) == 4:  # a face
        return [across]
    middle = _middle(group)
    if not middle.any():  # a regular hexagon around a corner
        return [every * 3 / 4]
    return [every / 2, *((middle + end) / 4 for end in np.eye(3) if not end @ middle)]


def _middle(group: list[Corner]) -> np.ndarray:
    """The direction of the second of three edges in a row; zeros if they meet in a corner."""
    inner = [one for one in group if sum(_edge(one, other).any() for other in group) == 2]
    return _edge(inner[0], inner[1]) if inner else np.zeros(3)
