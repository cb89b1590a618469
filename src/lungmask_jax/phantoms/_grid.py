"""The voxel grid in millimetres, and smooth random fields over it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from lungmask_jax.phantoms._anatomy import Anatomy
from lungmask_jax.phantoms._shapes import Plane

FIELD_MM: Final = (320.0, 380.0, 380.0)
_SPLINE_SPREAD = (151 / 315) ** 1.5


@dataclass(frozen=True)
class Grid:
    """Voxel centers over the field, whose middle is the middle of the grid.

    Attributes:
        shape: ``(slices, rows, columns)``.
        spacing_mm: Along the same.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def axes_mm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Height above the field's lower end, and ``y`` and ``x`` from its middle, each 1-D."""
        z, y, x = (
            ((np.arange(count) - (count - 1) / 2) * step).astype(np.float32)
            for count, step in zip(self.shape, self.spacing_mm, strict=True)
        )
        return z + np.float32(FIELD_MM[0] / 2), y, x

    @property
    def affine(self) -> np.ndarray:
        """``(4, 4)``: the middle of the field is the origin, orientation ``SPL``."""
        slices, rows, columns = self.spacing_mm
        first = [axis[0] for axis in self.axes_mm]
        return np.array(
            [
                [0, 0, -columns, -first[2]],
                [0, -rows, 0, -first[1]],
                [slices, 0, 0, first[0] - FIELD_MM[0] / 2],
                [0, 0, 0, 1],
            ]
        )


def planes(grid: Grid, patient: Anatomy) -> list[Plane]:
    """The slices of a grid in the nominal patient's millimetres.

    Example:
        >>> from lungmask_jax.phantoms._anatomy import anatomy
        >>> grid = Grid((3, 4, 5), (10.0, 1.0, 1.0))
        >>> len(planes(grid, anatomy(np.random.default_rng(0))))
        3
    """
    heights, y, x = grid.axes_mm
    middle = FIELD_MM[0] / 2
    y = y[:, None] / patient.size[1]
    x = (x[None] - patient.shift_mm) / patient.size[2]
    edge = min(max(grid.spacing_mm[1:]), 8.0)
    return [
        Plane(float((height - middle) / patient.size[0] + middle), x, y, edge) for height in heights
    ]


def to_patient(points_mm: np.ndarray, patient: Anatomy) -> np.ndarray:
    """Points ``(N, 3)``, as ``(height, y, x)``, from the nominal patient to this one.

    Example:
        >>> from lungmask_jax.phantoms._anatomy import anatomy
        >>> to_patient(np.array([[160.0, 0.0, 0.0]]), anatomy(np.random.default_rng(0)))[0, 0]
        np.float64(160.0)
    """
    middle = np.array([FIELD_MM[0] / 2, 0, 0])
    return (points_mm - middle) * patient.size + middle + (0, 0, patient.shift_mm)


def smooth_field(generator: np.random.Generator, grid: Grid, scale_mm: float) -> np.ndarray:
    """Random values that vary over ``scale_mm``, of mean 0 and deviation near 1.

    A lattice of normal numbers, interpolated by cubic B-splines along each axis: the same field at
    every resolution.

    Returns:
        ``grid.shape``, float32.

    Example:
        >>> grid = Grid((2, 3, 4), (160.0, 100.0, 90.0))
        >>> smooth_field(np.random.default_rng(0), grid, 40).shape
        (2, 3, 4)
    """
    counts = [int(np.ceil(extent / scale_mm)) + 4 for extent in FIELD_MM]
    lattice = generator.standard_normal(counts, np.float32) / np.float32(_SPLINE_SPREAD)
    starts = (0.0, -FIELD_MM[1] / 2, -FIELD_MM[2] / 2)
    z, y, x = (
        _spline_weights((axis - start) / scale_mm, count)
        for axis, start, count in zip(grid.axes_mm, starts, counts, strict=True)
    )
    rows = np.matmul(y, np.tensordot(z, lattice, axes=1)).reshape(-1, counts[2])
    return np.asarray(np.dot(rows, x.T).reshape(grid.shape))


def _spline_weights(positions: np.ndarray, count: int) -> np.ndarray:
    positions = np.clip(positions + 1, 0, count - 1)
    away = np.abs(positions[:, None] - np.arange(count))
    near = 2 / 3 - away**2 + away**3 / 2
    return np.where(away < 1, near, np.clip(2 - away, 0, None) ** 3 / 6).astype(np.float32)
