"""`Volume`: a 3-D array with its position in the patient.

In memory an array is always ``(slices, rows, columns)`` in nibabel's axis codes ``SPL``: slices run
from feet to head, rows from front to back, columns from the patient's right to left. A slice shown
with row 0 on top is in radiological orientation, and the slice axis serves as a batch axis.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from lungmask_jax.errors import ShapeError, SpecError

__all__ = ["CANONICAL", "Header", "Volume"]

CANONICAL = "SPL"

_MATRIX = 256  # the sides of CT slices are multiples of it


def _canonical_affine() -> np.ndarray:
    return np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64)


@dataclass(frozen=True, eq=False)
class Header:
    """What a mask of a scan takes over from its file, and the position that was read from it.

    With a NIfTI header, a mask is saved with the same unit, voxel sizes, qform, sform and codes;
    with slices of DICOM, it refers to them.

    Attributes:
        block: The NIfTI header, byte for byte; empty for other formats.
        affine: ``(4, 4)``, that of the volume read from the file.
        shape: Of the volume read from the file.
        axcodes: Of the volume read from the file.
        format: Format of its masks, such as ``"nrrd"``; empty if that is NIfTI.
        slices: Of a DICOM series, the file of each slice in the order of the file's last axis, and
            the number of the frame in it, from 0.
        patient: The PatientID of a DICOM series.
        study_date: The StudyDate of a DICOM series, as it is written, usually as ``"20200131"``.

    Example:
        >>> header = Header(bytes(348), np.eye(4), (1, 2, 3), "LPS")
        >>> header.describes(np.eye(4), (1, 2, 3), "LPS")
        True
    """

    block: bytes = field(repr=False)
    affine: np.ndarray
    shape: tuple[int, int, int]
    axcodes: str
    format: str = ""
    slices: tuple[tuple[Path, int], ...] = field(default=(), repr=False)
    patient: str = field(default="", repr=False)
    study_date: str = field(default="", repr=False)

    def describes(self, affine: np.ndarray, shape: tuple[int, ...], axcodes: str) -> bool:
        """Whether a volume still has the position given in the file.

        Args:
            affine: Of the volume.
            shape: Of the volume.
            axcodes: Of the volume.
        """
        same = np.array_equal(affine, self.affine)
        return same and (shape, axcodes) == (self.shape, self.axcodes)


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT in HU, or a mask, with its position in space.

    Attributes:
        array: ``(slices, rows, columns)``, canonical order ``SPL``. A CT holds HU (int16 or
            float32), a mask uint8 labels.
        affine: ``(4, 4)`` float64, from indices of ``array`` to millimetres in RAS.
        axcodes: Axis codes of the file it came from; saving goes back to them.
        header: Header of its file; dropped when position, shape or ``axcodes`` change.
        has_size: Whether the voxel size is known. Images, arrays and headers without a size have
            voxels of 1 x 1 x 1 mm and the origin in a corner or in the middle; a scan resampled
            to 1 mm has another origin, and `of` is given the size.
        checked: Whether it has passed the checks of `lungmask_jax.io`, like volumes from
            `lungmask_jax.io.load`. Other values or another position reset it.

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
    header: Header | None = field(default=None, repr=False)
    has_size: bool = field(default=False, repr=False)
    checked: bool = field(default=False, init=False, repr=False)

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
            or np.linalg.matrix_rank(affine[:3, :3]) < 3
            or not np.array_equal(affine[3], [0, 0, 0, 1])
        ):
            raise ShapeError(
                "expected an invertible 4x4 affine with the last row 0, 0, 0, 1, found "
                f"{affine.tolist()}: correct the header"
            )
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "has_size", self.has_size or self._shows_size())
        if self.header and not self.header.describes(affine, self.array.shape, self.axcodes):
            object.__setattr__(self, "header", None)

    @classmethod
    def of(cls, array: np.ndarray, *, spacing: Sequence[float]) -> Self:
        """A volume from an array and the size of its voxels.

        Slices run from feet to head, rows from front to back, columns from the patient's right to
        left. Saved files have the axes of DICOM converters, columns first.

        Args:
            array: ``(slices, rows, columns)``.
            spacing: Distance between voxel centers in mm, ``(slices, rows, columns)``.

        Returns:
            The volume, its first voxel at the origin.

        Raises:
            ShapeError: The array is not 3-D, or its shape or `spacing` have the slices last.
            SpecError: `spacing` is not three lengths above 0.

        Example:
            >>> Volume.of(np.zeros((40, 512, 512), np.int16), spacing=(5.0, 0.7, 0.7)).spacing
            (5.0, 0.7, 0.7)
            >>> Volume.of(np.zeros((512, 512, 40), np.int16), spacing=(0.7, 0.7, 5.0))
            Traceback (most recent call last):
            ...
            lungmask_jax.errors.ShapeError: an array of shape (512, 512, 40) with spacing ...
        """
        steps = _lengths(spacing)
        _refuse_slices_last(array.shape, steps)
        affine = _canonical_affine()
        affine[:3, :3] *= steps
        return cls(array, affine, "LPS", has_size=True)

    def _shows_size(self) -> bool:
        if self.spacing != (1.0, 1.0, 1.0):
            return True
        origin = np.abs(self.affine[:3, 3])
        ends = np.abs(self.affine[:3, :3] @ (np.array(self.shape) - 1.0))
        return not ((origin == 0) | (origin == ends) | (origin == ends / 2)).all()

    def as_checked(self) -> Self:
        """The same volume, marked as checked.

        `lungmask_jax.inference.segment` then does not check it: the caller guarantees that its
        values are HU.

        Returns:
            A volume that shares the array.

        Example:
            >>> Volume(np.full((1, 2, 2), -800, np.int16)).as_checked().checked
            True
        """
        marked = replace(self)
        object.__setattr__(marked, "checked", True)
        return marked

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
        """A volume with other values at the same position.

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
        """The distance between the grids of two volumes of the same shape.

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


def _lengths(spacing: Sequence[float]) -> np.ndarray:
    try:
        steps = np.array([float(step) for step in spacing])
    except (TypeError, ValueError) as error:
        raise SpecError(_LENGTHS.format(spacing)) from error
    if steps.shape != (3,) or not (np.isfinite(steps) & (steps > 0)).all():
        raise SpecError(_LENGTHS.format(spacing))
    return steps


_LENGTHS = (
    "spacing is {!r}, not three lengths above 0: give the distance in mm between slices, rows "
    "and columns, for example spacing=(5.0, 0.7, 0.7)"
)


def _refuse_slices_last(shape: tuple[int, ...], steps: np.ndarray) -> None:
    """A pixel of a CT is a square, and so is its slice, unless it was cropped."""
    first, second, last = steps
    long_pixels = not 2 / 3 < second / last < 3 / 2 and np.isclose(first, second, rtol=0.01)
    square_first = len(shape) == 3 and shape[0] == shape[1] != shape[2]
    if square_first and (long_pixels or shape[0] % _MATRIX == 0):
        raise ShapeError(
            f"an array of shape {shape} with spacing {tuple(steps.tolist())} has its slices last: "
            "give them first, np.transpose(array, (2, 1, 0)) for one in the order of a NIfTI file, "
            "np.moveaxis(array, 2, 0) for stacked pictures, with the spacing in the same order"
        )
    if long_pixels:
        raise ShapeError(
            f"spacing {tuple(steps.tolist())} makes pixels of {second:g} x {last:g} mm, which has "
            f"the distance of the slices last: give it first, spacing=({last:g}, {second:g}, "
            f"{first:g})"
        )
