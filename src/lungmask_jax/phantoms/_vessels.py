"""The vessels and airways of the lungs: trees in space, stamped into the grid."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_STEP_MM = 0.8
_LEAF_MM = 0.58
_CLASSES_MM = (0.0, 0.8, 1.6, 99.0)


@dataclass(frozen=True)
class Tree:
    """Points along all branches.

    Attributes:
        points_mm: ``(N, 3)``, as ``(height, y, x)``.
        radii_mm: ``(N,)``.
    """

    points_mm: np.ndarray
    radii_mm: np.ndarray


def grow(root_mm: np.ndarray, targets_mm: np.ndarray, bend: float) -> Tree:
    """A tree that reaches every target ``(N, 3)`` from the root, with a point every 0.8 mm.

    Each target, nearest first, joins where the way to it and the way from there to the root are
    short (the Prim-Dijkstra trade-off). Radii follow Murray's law: the flow of a branch is the sum
    of its twigs. `bend` is a phase that bends all branches slightly.

    Example:
        >>> tree = grow(np.zeros(3), np.array([[0.0, 0.0, 4.0], [0.0, 0.0, 8.0]]), bend=0.0)
        >>> bool(tree.radii_mm[0] > tree.radii_mm[-1])
        True
    """
    order = np.argsort(np.linalg.norm(targets_mm - root_mm, axis=1))
    nodes = np.concatenate([root_mm[None], targets_mm[order]])
    parents = _parents(nodes)
    flow = np.ones(len(nodes))
    for child in range(len(nodes) - 1, 0, -1):
        flow[parents[child]] += flow[child]
    return _sampled(nodes[parents[1:]], nodes[1:], _LEAF_MM * flow[1:] ** 0.39, bend)


def _parents(nodes: np.ndarray) -> np.ndarray:
    parents = np.zeros(len(nodes), np.intp)
    path = np.zeros(len(nodes))
    for index in range(1, len(nodes)):
        way = np.linalg.norm(nodes[:index] - nodes[index], axis=1)
        parents[index] = np.argmin(way + 0.3 * path[:index])
        path[index] = path[parents[index]] + way[parents[index]]
    return parents


def _sampled(starts: np.ndarray, ends: np.ndarray, radii: np.ndarray, bend: float) -> Tree:
    counts = np.ceil(np.linalg.norm(ends - starts, axis=1) / _STEP_MM).astype(int) + 1
    edge = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    share = ((np.arange(len(edge)) - first) / counts[edge])[:, None]
    points = starts[edge] + share * (ends - starts)[edge]
    return Tree(points + 2.5 * np.sin(points[:, [1, 2, 0]] / 11 + bend), radii[edge])


def stamped(
    tree: Tree, origin_mm: np.ndarray, spacing_mm: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """The share of each voxel that the branches fill; the first voxel is centered at the origin.

    Example:
        >>> tree = Tree(np.array([[0.0, 2.0, 2.0]]), np.array([1.0]))
        >>> stamped(tree, np.zeros(3), np.ones(3), (1, 5, 5))[0, 2].round(1)
        array([0. , 0.5, 1. , 0.5, 0. ], dtype=float32)
    """
    filled = np.zeros(np.prod(shape), np.float32)
    for low, high in pairwise(_CLASSES_MM):
        chosen = (tree.radii_mm >= low) & (tree.radii_mm < high)
        if chosen.any():
            part = Tree(tree.points_mm[chosen] - origin_mm, tree.radii_mm[chosen])
            indices, values = _blobs(part, spacing_mm, shape)
            np.maximum.at(filled, indices, values)
    return filled.reshape(shape)


def _blobs(
    tree: Tree, spacing: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices and filled shares of the voxels round each point."""
    edge = min(float(spacing[2]), 8.0)
    reach = np.floor((tree.radii_mm.max() + edge / 2) / spacing + 0.5).astype(int)
    window = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1)
    nearest = np.round(tree.points_mm / spacing).astype(int)
    rest = (nearest * spacing - tree.points_mm).astype(np.float32)
    offset = rest[:, None] + (window.reshape(1, -1, 3) * spacing).astype(np.float32)
    radii = tree.radii_mm[:, None].astype(np.float32)
    share = np.clip((radii - np.sqrt((offset**2).sum(-1))) / edge + 0.5, 0, 1)
    share = share * np.minimum(1, 2 * radii / edge) ** 2
    point, place = np.nonzero(share)
    voxels = nearest[point] + window.reshape(-1, 3)[place]
    kept = ((voxels >= 0) & (voxels < shape)).all(-1)
    return np.ravel_multi_index(tuple(voxels[kept].T), shape), share[point, place][kept]
