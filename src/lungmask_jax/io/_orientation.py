"""From a file's order of axes to the canonical one, and exactly back."""

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
from lungmask_jax.volume import CANONICAL, Header, Volume


def canonical(
    array: np.ndarray,
    affine: np.ndarray,
    source: object,
    *,
    block: bytes = b"",
    format: str = "",
    slices: tuple[tuple[Path, int], ...] = (),
) -> Volume:
    """A volume in canonical order; an oblique one is reoriented to the nearest axes.

    `block`, `format` and `slices` are for the `Header` of its masks. The array is contiguous.

    Raises:
        ScanError: The affine does not give three directions in space.

    Example:
        >>> canonical(np.zeros((5, 4, 3)), np.diag([-1.0, -1, 2, 1]), "scan.nii")
        Volume(shape=(3, 4, 5), dtype=float64, spacing=2 x 1 x 1 mm, axcodes='LPS')
    """
    check_affine(affine, source)
    transform = ornt_transform(io_orientation(affine), axcodes2ornt(CANONICAL))
    turned = np.ascontiguousarray(apply_orientation(array, transform))
    place = affine @ inv_ornt_aff(transform, array.shape)
    codes = "".join(aff2axcodes(affine))
    known = block or format or slices
    header = Header(block, place, turned.shape, codes, format, slices) if known else None
    return Volume(turned, place, codes, header)


def stored(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """``(array, affine)`` in the order of the original file: the inverse of `canonical`.

    Example:
        >>> array, affine = stored(Volume(np.zeros((3, 4, 5)), axcodes="LPS"))
        >>> array.shape
        (5, 4, 3)
    """
    transform = ornt_transform(axcodes2ornt(CANONICAL), axcodes2ornt(volume.axcodes))
    array = apply_orientation(volume.array, transform)
    return array, volume.affine @ inv_ornt_aff(transform, volume.shape)


def check_affine(affine: np.ndarray, source: object) -> None:
    """Raises for an affine that does not give three directions in space."""
    turned = np.isfinite(affine).all() and np.linalg.matrix_rank(affine[:3, :3]) == 3
    if not (turned and np.isfinite(io_orientation(affine)).all()):
        raise ScanError(
            f"expected an invertible affine, found {affine.tolist()} in {source}: fix its header"
        )
