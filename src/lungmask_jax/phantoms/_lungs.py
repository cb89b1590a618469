"""The content of the lungs: parenchyma, vessels, airways, and COVID-19 pneumonia."""

from dataclasses import dataclass

import numpy as np

from lungmask_jax.phantoms._anatomy import Anatomy
from lungmask_jax.phantoms._grid import Grid, planes, smooth_field, to_patient
from lungmask_jax.phantoms._thorax import lung_depth
from lungmask_jax.phantoms._vessels import Tree, grow, stamped

_TWIGS = 420
_PARENCHYMA_HU, _GROUND_GLASS_HU, _CONSOLIDATION_HU = -850, -560, 5
_VESSEL_HU, _WALL_HU, _LUMEN_HU = 40, -250, -970
_COARSE = Grid((40, 48, 48), (8.0, 380 / 48, 380 / 48))
_ROOTS_MM = ((194, 12, 30), (168, 14, 32))


@dataclass(frozen=True)
class Disease:
    """COVID-19 pneumonia in a list of voxels.

    Attributes:
        mask: ``(N,)`` bool.
        ground_glass: ``(N,)`` float32 0 to 1, how much of a voxel is ground glass.
        consolidation: ``(N,)`` float32 0 to 1, how much is consolidation.
    """

    mask: np.ndarray
    ground_glass: np.ndarray
    consolidation: np.ndarray


def disease_at(
    generator: np.random.Generator, grid: Grid, depth_mm: np.ndarray, fraction: float
) -> Disease:
    """Patches that fill a fraction of the lungs, most at the pleura, the back and the bases.

    The depth is the distance to the lung's outline, positive inside. There is one value for each
    lung voxel, in order.

    Example:
        >>> grid = Grid((2, 8, 8), (160.0, 47.5, 47.5))
        >>> ill = disease_at(np.random.default_rng(0), grid, np.ones(grid.shape), 0.25)
        >>> float(ill.mask.mean())
        0.25
    """
    lung = depth_mm > 0
    side = np.float32(generator.normal(0, 0.25))
    coarse, middle, fine = (smooth_field(generator, grid, mm)[lung] for mm in (26, 17, 8))
    z, y, x = (axis[index] for axis, index in zip(grid.axes_mm, np.nonzero(lung), strict=True))
    pleura = np.exp(-depth_mm[lung] / 14) * np.minimum(1, (x / 75) ** 2)
    score = 1.15 * coarse + 0.35 * fine + 1.3 * pleura
    score = score + (0.9 * y / 80 - 0.5 * (z - 160) / 100 + side * np.sign(x))
    mask = _highest(score, np.ones_like(score, bool), fraction)
    dense = 0.7 * middle + 0.4 * score + 0.8 * pleura
    solid = _highest(dense, mask, 0.22)
    return Disease(mask, _ramp(score, mask, 0.45, 0.35), _ramp(dense, solid, 0.35, 0.3))


def _highest(score: np.ndarray, within: np.ndarray, fraction: float) -> np.ndarray:
    values = score[within]
    count = round(fraction * values.size)
    if not count:
        return np.zeros(score.shape, bool)
    lowest = np.partition(values, values.size - count)[values.size - count]
    return np.asarray(within & (score >= lowest))


def _ramp(score: np.ndarray, mask: np.ndarray, start: float, width: float) -> np.ndarray:
    """``start`` at the edge of the mask, 1 from ``width`` above the score there."""
    above = (score - np.min(score, where=mask, initial=np.inf)) / width
    return np.where(mask, np.clip(start + (1 - start) * above, start, 1), 0).astype(np.float32)


def lung_hu(
    generator: np.random.Generator, grid: Grid, patient: Anatomy, lung: np.ndarray, ill: Disease
) -> np.ndarray:
    """HU of the lungs, one value for each voxel of `lung` in order, like those of `ill`.

    Example:
        >>> from lungmask_jax.phantoms._anatomy import anatomy
        >>> grid, generator = Grid((2, 8, 8), (160.0, 47.5, 47.5)), np.random.default_rng(0)
        >>> ill = disease_at(generator, grid, np.ones(grid.shape), 0)
        >>> hu = lung_hu(generator, grid, anatomy(generator), np.ones(grid.shape, bool), ill)
        >>> bool(-900 < np.median(hu) < -800)
        True
    """
    trees = _trees(generator, patient)
    fine, middle, coarse = (smooth_field(generator, grid, mm)[lung] for mm in (3.5, 14, 30))
    z, y = (grid.axes_mm[axis][np.nonzero(lung)[axis]] for axis in (0, 1))
    hu = _PARENCHYMA_HU + 0.35 * y + 11 * fine + 12 * coarse
    fissure_mm = np.abs(0.76 * (z - 178 - 0.85 * y) + 3 * coarse)
    hu = hu + 130 * np.clip(1.3 - fissure_mm / 1.5, 0, 1)
    cloud = np.clip(_GROUND_GLASS_HU + 30 * fine + 45 * middle, -650, -450)
    hu = hu + (cloud - hu) * ill.ground_glass
    hu = hu + (_VESSEL_HU - hu) * _filled(grid, trees)[lung]
    hu = hu + (_CONSOLIDATION_HU + 9 * fine - hu) * ill.consolidation
    airways = [_airway(tree) for tree in trees[::2]]
    walls = [Tree(tree.points_mm, tree.radii_mm + 0.7) for tree in airways]
    hu = hu + (_WALL_HU - hu) * _filled(grid, walls)[lung]
    return np.asarray(hu + (_LUMEN_HU - hu) * _filled(grid, airways)[lung])


def _filled(grid: Grid, trees: list[Tree]) -> np.ndarray:
    points = np.concatenate([tree.points_mm for tree in trees])
    tree = Tree(points, np.concatenate([tree.radii_mm for tree in trees]))
    origin = np.array([axis[0] for axis in grid.axes_mm])
    return stamped(tree, origin, np.array(grid.spacing_mm), grid.shape)


def _trees(generator: np.random.Generator, patient: Anatomy) -> list[Tree]:
    """Artery and vein of the right lung, artery and vein of the left."""
    depth = np.stack([lung_depth(plane, patient) for plane in planes(_COARSE, patient)])
    points = np.stack(np.meshgrid(*_COARSE.axes_mm, indexing="ij"), -1)[depth > 5]
    points = points.astype(np.float64) + generator.uniform(-4, 4, points.shape)
    trees = []
    for side in (-1, 1):
        own = points[np.sign(points[:, 2] - patient.shift_mm) == side]
        for height, y, x in _ROOTS_MM:
            root = to_patient(np.array([[height, y, side * x]]), patient)[0]
            targets = generator.permutation(own)[:_TWIGS]
            trees.append(grow(root, targets, bend=generator.uniform(0, 6)))
    return trees


def _airway(tree: Tree) -> Tree:
    """A bronchus beside each larger artery."""
    large = tree.radii_mm > 1.15
    radii = tree.radii_mm[large]
    beside = np.array([0.3, -0.7, 0.65]) * (1.75 * radii + 0.6)[:, None]
    return Tree(tree.points_mm[large] + beside, 0.75 * radii)
