"""A checked volume in HU from a scan in any form."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import SpatialImage

from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.io._header import affine_mm, unit_mm
from lungmask_jax.io._load import checked, in_memory, load
from lungmask_jax.io._nifti import check_scaling
from lungmask_jax.io._orientation import canonical
from lungmask_jax.io._place import refuse_turned
from lungmask_jax.io._voxels import DAMAGED, check_layout, scaled
from lungmask_jax.volume import Volume


def as_volume(
    scan: object,
    *,
    spacing: Sequence[float] | None = None,
    window: tuple[float, float] | None = None,
) -> Volume:
    """A checked CT in HU from a scan in any form.

    All forms are checked, corrected and refused in the same way. A volume that was checked before,
    such as one from `load`, is not checked again.

    Args:
        scan: A path that `load` reads; a `Volume`; an array ``(slices, rows, columns)``, slices
            from the feet to the head, rows from front to back, columns from the patient's right to
            the left; a nibabel image; or a SimpleITK image.
        spacing: For an array: distance between voxel centers in mm, ``(slices, rows, columns)``.
        window: HU ``(low, high)`` of black and white, as for `load`.

    Returns:
        The scan, int16 or float32 within [-1024, 3071]. Its masks are saved on the original grid.

    Raises:
        ScanError: It is not a scan, its values are not HU, or its orientation is wrong.
        ShapeError: An array is not 3-D, or has its slices last.
        SpecError: `spacing` or `window` is wrong, or `spacing` is missing or not allowed.

    Warns:
        ScanWarning: Values or slices were corrected, or its position is doubtful.

    Example:
        >>> array = np.linspace(-1000, 1000, 24).round().astype(np.int16).reshape(2, 3, 4)
        >>> as_volume(array, spacing=(5.0, 0.7, 0.7))
        Volume(shape=(2, 3, 4), dtype=int16, spacing=5 x 0.7 x 0.7 mm, axcodes='LPS')
    """
    if isinstance(scan, Volume):
        _refuse_spacing(spacing, "volume")
        refuse_turned(scan)
        return scan if scan.checked else checked(scan, "the volume", window)
    if isinstance(scan, str | os.PathLike):
        _refuse_spacing(spacing, "file")
        return load(scan, window=window)
    if isinstance(scan, SpatialImage):
        _refuse_spacing(spacing, "nibabel image")
        source = scan.get_filename() or "the nibabel image"
        with in_memory(source):
            return checked(_from_nibabel(scan, source), source, window)
    kind = type(scan)
    if (kind.__module__.partition(".")[0], kind.__name__) == ("SimpleITK", "Image"):
        _refuse_spacing(spacing, "SimpleITK image")
        return checked(_from_simpleitk(scan), "the SimpleITK image", window)
    return checked(_from_array(scan, spacing), "the array", window)


def _refuse_spacing(spacing: object, kind: str) -> None:
    if spacing is not None:
        raise SpecError(
            f"spacing={spacing!r} was given with a {kind}, which has its own: leave it out, or "
            "give an array"
        )


def _from_array(scan: Any, spacing: Sequence[float] | None) -> Volume:
    try:
        array = np.asarray(scan)
    except (TypeError, ValueError, RuntimeError) as error:  # of other libraries' arrays
        raise ScanError(_UNKNOWN.format(type(scan).__name__)) from error
    if array.dtype.kind not in "iufb" and not isinstance(scan, np.ndarray):
        raise ScanError(_UNKNOWN.format(type(scan).__name__))
    if isinstance(scan, np.ma.MaskedArray):
        raise ScanError("the array is a masked one: fill it first, for example array.filled(-1024)")
    if spacing is None:
        raise SpecError(
            f"an array of shape {array.shape} has no spacing: give it in mm, slices first, for "
            "example spacing=(5.0, 0.7, 0.7)"
        )
    return Volume.of(array, spacing=spacing)


_UNKNOWN = (
    "expected a scan as a path, a Volume, an array with spacing=, a nibabel or a SimpleITK image, "
    "found {}: give one of these"
)


def _from_nibabel(image: SpatialImage, source: str) -> Volume:
    try:
        data = image.dataobj
        check_layout(image.shape, data.dtype, source)
        slope, intercept = 1.0, 0.0
        if isinstance(data, ArrayProxy):
            slope, intercept = check_scaling(data.slope, data.inter, source)
            data = data.get_unscaled()
        array = np.asarray(data).reshape((*image.shape, 1)[:3])
        affine, block = _nibabel_place(image, source)
    except DAMAGED as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(f"{source} cannot be read with nibabel ({error}): check it") from error
    volume = canonical(_native(array), affine, source, block=block)
    return volume.with_array(scaled(volume.array, slope, intercept))


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _nibabel_place(image: SpatialImage, source: str) -> tuple[np.ndarray, bytes]:
    """The affine in mm, and the header where it is NIfTI and says the same."""
    header, affine = image.header, image.affine
    if not isinstance(header, Nifti1Header):
        return np.asarray(affine, np.float64), b""
    header = header.copy()
    if header.get_data_shape() != image.shape:
        header.set_data_shape(image.shape)
    if affine is None or np.allclose(header.get_best_affine(), affine, rtol=1e-5, atol=1e-6):
        return affine_mm(header, source), header.binaryblock
    scale = unit_mm(header, source)
    return np.diag([scale, scale, scale, 1.0]) @ affine, b""


def _from_simpleitk(image: Any) -> Volume:
    """SimpleITK is loaded already, or there would be no image of it."""
    dimension, parts = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if dimension not in (2, 3) or parts != 1:
        raise ScanError(
            f"the SimpleITK image has {dimension} dimensions and {parts} values a voxel: give one "
            "volume of grey values"
        )
    array = np.transpose(sys.modules["SimpleITK"].GetArrayFromImage(image))
    direction, lps = np.eye(3), np.eye(4)
    direction[:dimension, :dimension] = np.reshape(image.GetDirection(), (dimension, dimension))
    lps[:3, :3] = direction * [*image.GetSpacing(), 1.0][:3]
    lps[:dimension, 3] = image.GetOrigin()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    return canonical(array.reshape((*array.shape, 1)[:3]), affine, "the SimpleITK image")
