"""From a file's own order of axes to the canonical one, and exactly back."""

from pathlib import Path

import numpy as np
from nibabel.orientations import (
    aff2axcodes,
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from lungmask_jax.errors import ScanError
from lungmask_jax.volume import CANONICAL, Volume


def canonical(
    array: np.ndarray, affine: np.ndarray, form_codes: tuple[int, int], source: Path
) -> Volume:
    """A volume in canonical order; an oblique one goes to the nearest axes and keeps its affine.

    Args:
        array: 3-D, in the file's order.
        affine: ``(4, 4)``, from indices of `array` to millimetres in RAS.
        form_codes: The file's ``(qform_code, sform_code)``.
        source: Where it comes from, for messages.

    Returns:
        The volume, its array contiguous.

    Raises:
        ScanError: The affine does not give three directions in space.

    Example:
        >>> canonical(np.zeros((5, 4, 3)), np.diag([-1.0, -1, 2, 1]), (1, 1), Path("scan.nii"))
        Volume(shape=(3, 4, 5), dtype=float64, spacing=2 x 1 x 1 mm, axcodes='LPS')
    """
    if not _is_invertible(affine):
        raise ScanError(
            f"expected an invertible affine, found {affine.tolist()} in {source}: mend its header"
        )
    transform = ornt_transform(io_orientation(affine), axcodes2ornt(CANONICAL))
    return Volume(
        np.ascontiguousarray(apply_orientation(array, transform)),
        affine @ inv_ornt_aff(transform, array.shape),
        "".join(aff2axcodes(affine)),
        form_codes,
    )


def stored(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `canonical`.

    Args:
        volume: In canonical order.

    Returns:
        ``(array, affine)`` in the order of the file it came from.

    Example:
        >>> array, affine = stored(Volume(np.zeros((3, 4, 5)), axcodes="LPS"))
        >>> array.shape
        (5, 4, 3)
    """
    transform = ornt_transform(axcodes2ornt(CANONICAL), axcodes2ornt(volume.axcodes))
    array = apply_orientation(volume.array, transform)
    return array, volume.affine @ inv_ornt_aff(transform, volume.shape)


def _is_invertible(affine: np.ndarray) -> bool:
    """Also not so close to singular that an axis has no direction of its own."""
    finite = np.isfinite(affine).all() and np.linalg.det(affine) != 0
    return bool(finite and np.isfinite(io_orientation(affine)).all())
