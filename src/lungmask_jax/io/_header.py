"""The position of voxels from the header of a NIfTI file, and its reliability."""

from typing import Any, Final

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from lungmask_jax.errors import ScanError
from lungmask_jax.io._orientation import check_affine
from lungmask_jax.io._warn import warn

FIELDS: Final = (
    "pixdim",
    "xyzt_units",
    *("qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)
"""The fields of a header for the position of its voxels."""

MILLIMETRES: Final = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""By the code of the unit: unknown, metre, millimetre, micron."""

CODES: Final = range(6)
"""Of qform and sform; nibabel takes others for 0."""

APART_MM: Final = 0.5
SAME_SIZE: Final = 0.02


def parsed(block: bytes) -> Any:
    """The header in some bytes, not checked.

    Args:
        block: 348 bytes of NIfTI-1, or 540 of NIfTI-2, of either byte order.
    """
    return (Nifti2Header if block[4:7] == b"n+2" else Nifti1Header)(block, check=False)


def affine_mm(header: Any, source: object) -> np.ndarray:
    """From indices of the stored array to millimetres in RAS, ``(4, 4)`` float64.

    The sform has precedence over the qform, as in nibabel; without either, the first axis points
    to the left. Sizes below 0 lose their sign, those that are 0 or not finite become 1.

    Raises:
        ScanError: It is not invertible, or there is only a qform, and it is not a rotation.

    Warns:
        ScanWarning: The header contradicts itself, or has no orientation.

    Example:
        >>> header = Nifti1Header()
        >>> header.set_sform(np.diag([0.001, 0.001, 0.005, 1]), 1)
        >>> header["pixdim"][1:4] = 0.001, 0.001, 0.005
        >>> header.set_xyzt_units("meter")
        >>> affine_mm(header, "scan.nii")[2].round(3)
        array([0., 0., 5., 0.])
    """
    mended = _mended(header)
    scale = unit_mm(header, source)
    scaled = np.diag([scale, scale, scale, 1.0])
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # what is no number is refused below
            affine = scaled @ np.asarray(mended.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError) as error:
        raise ScanError(
            f"the qform of {source} is not a rotation ({error}), and it has no sform: correct it"
        ) from error
    check_affine(affine, source)
    qform, sform = int(mended["qform_code"]), int(mended["sform_code"])
    if not (qform or sform):
        warn(
            f"{source} does not state its orientation (qform_code and sform_code are 0): "
            "which lung is right is a guess; check on which side the heart is"
        )
    if qform and sform:
        _compare_forms(mended, affine, scaled, source)
    _compare_sizes(header, affine, scale, source)
    return affine


def unit_mm(header: Any, source: object) -> float:
    """The length of a header's unit in millimetres; warns of an unknown one."""
    code = int(header["xyzt_units"]) % 8
    if code not in MILLIMETRES:
        warn(f"the unit of length in {source} has the unknown code {code}: assumed millimetres")
    return MILLIMETRES.get(code, 1.0)


def _mended(header: Any) -> Any:
    """The header with the corrections of nibabel."""
    mended = header.copy()
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    mended["pixdim"][1:4] = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1)
    if mended["pixdim"][0] not in (-1, 1):
        mended["pixdim"][0] = 1
    for name in ("qform_code", "sform_code"):
        if int(header[name]) not in CODES:
            mended[name] = 0
    return mended


def _compare_forms(mended: Any, affine: np.ndarray, scaled: np.ndarray, source: object) -> None:
    try:
        other = scaled @ mended.get_qform()
    except (HeaderDataError, ValueError):
        other = np.full((4, 4), np.nan)
    if not np.isfinite(other).all():
        warn(f"the qform of {source} is not a rotation: used the sform, other programs may not")
        return
    apart = _apart(affine, other, mended.get_data_shape())
    if apart <= APART_MM:
        return
    turned = np.sign(np.diag(affine[:3, :3].T @ other[:3, :3])).min() < 0
    sides = ", in opposite directions, so right and left may be exchanged" if turned else ""
    warn(
        f"qform and sform of {source} lie {apart:.3g} mm apart{sides}: used the sform, as nibabel "
        "does; masks keep both, and other programs may show them by the qform"
    )


def _apart(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance of the corners of a grid, in mm."""
    ends = np.array([*shape, 1, 1, 1][:3]) - 1
    corners = np.array([[*(ends * corner), 1] for corner in np.ndindex(2, 2, 2)])
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


def _compare_sizes(header: Any, affine: np.ndarray, scale: float, source: object) -> None:
    axes = min(len(header.get_data_shape()), 3)
    told = np.asarray(header["pixdim"][1 : axes + 1], np.float64) * scale
    used = np.linalg.norm(affine[:3, :3], axis=0)
    planes = used.copy()  # or the distance of the planes of sheared slices
    planes[2] = abs(np.linalg.det(affine[:3, :3])) / np.prod(used[:2])
    if not any(np.allclose(told, one[:axes], rtol=SAME_SIZE, atol=0) for one in (used, planes)):
        warn(
            f"the voxel sizes in {source} (pixdim) are {_sizes(told)}, those of its affine "
            f"{_sizes(used[:axes])}: used those of the affine; ml may be wrong"
        )


def _sizes(lengths: np.ndarray) -> str:
    return " x ".join(f"{mm:.4g}" for mm in lengths) + " mm"
