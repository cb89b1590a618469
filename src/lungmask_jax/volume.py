"""`Volume`: a 3-D array with its place in the patient.

In memory an array is always ``(slices, rows, columns)`` in nibabel's axis codes ``SPL``: slices run
from the feet to the head, rows from front to back, columns from the patient's right to the left.
A slice shown with row 0 on top is what a radiologist sees, and slices are a batch axis as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from lungmask_jax.errors import ShapeError

__all__ = ["CANONICAL", "Volume"]

CANONICAL = "SPL"


def _canonical_affine() -> np.ndarray:
    return np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64)


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT in HU, or a mask, with its place in space.

    Attributes:
        array: ``(slices, rows, columns)``, canonical order ``SPL``. A CT holds HU (int16 or
            float32), a mask uint8 labels.
        affine: ``(4, 4)`` float64, from indices of ``array`` to millimetres in RAS.
        axcodes: Axis codes of the file it came from; saving goes back to them.
        form_codes: The file's NIfTI ``(qform_code, sform_code)``.

    Raises:
        ShapeError: ``array`` is not 3-D, or ``affine`` is not a finite, invertible ``(4, 4)``.

    Example:
        >>> volume = Volume(np.zeros((3, 4, 5), np.int16), affine=np.diag([2.0, 1.0, 1.0, 1.0]))
        >>> volume.spacing
        (2.0, 1.0, 1.0)
        >>> volume.voxel_ml
        0.002
    """

    array: np.ndarray
    affine: np.ndarray = field(default_factory=_canonical_affine)
    axcodes: str = CANONICAL
    form_codes: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ShapeError(
                f"expected an array (slices, rows, columns), found shape {self.array.shape}: "
                "give a single slice as array[None]"
            )
        affine = np.array(self.affine, np.float64)  # its own: later changes do not reach it
        if (
            affine.shape != (4, 4)
            or not np.isfinite(affine).all()
            or np.linalg.matrix_rank(affine) < 4
        ):
            raise ShapeError(
                f"expected an invertible 4x4 affine, found {affine.tolist()}: mend the header"
            )
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(slices, rows, columns)``."""
        slices, rows, columns = self.array.shape
        return slices, rows, columns

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centers in mm along ``(slices, rows, columns)``."""
        slices, rows, columns = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)).tolist()
        return slices, rows, columns

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml (1 ml = 1000 mm^3), shear included."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000)

    def with_array(self, array: np.ndarray) -> Self:
        """Other values at the same place.

        Args:
            array: Same shape as ``self.array``.

        Returns:
            A volume that shares this one's affine and orientation.

        Raises:
            ShapeError: The shapes differ.

        Example:
            >>> ct = Volume(np.full((1, 2, 2), -800, np.int16))
            >>> ct.with_array((ct.array < -500).astype(np.uint8)).array.sum()
            np.uint64(4)
        """
        if array.shape != self.array.shape:
            raise ShapeError(
                f"expected an array of the volume's shape {self.array.shape}, found {array.shape}"
            )
        return replace(self, array=array)

    def apart_mm(self, other: "Volume") -> float:
        """How far the grids of two volumes of one shape lie apart.

        Args:
            other: Another volume.

        Returns:
            Largest distance along an axis, at the corners of the grid, in mm.

        Example:
            >>> affine = np.diag([1.0, 1.0, 5.0, 1.0])
            >>> here = Volume(np.zeros((1, 2, 2)), affine)
            >>> affine[0, 3] = 3
            >>> here.apart_mm(Volume(np.zeros((1, 2, 2)), affine))
            3.0
        """
        corners = np.array([[0, 0, 0, 1], [*self.shape, 1]], np.float64)
        return float(np.abs(corners @ (self.affine - other.affine).T).max())

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.array)

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        spacing = " x ".join(f"{mm:.4g}" for mm in self.spacing)
        return (
            f"Volume(shape={self.shape}, dtype={self.array.dtype}, spacing={spacing} mm, "
            f"axcodes={self.axcodes!r})"
        )
