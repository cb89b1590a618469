"""Checks of the position and size of a scan."""

from typing import Final

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._warn import warn
from lungmask_jax.volume import Volume

RADIOGRAPH_SIDE: Final = 1024
"""A single slice larger than this on both sides is not a CT."""

FINEST_MM: Final = 0.1
WIDEST_PIXEL_MM: Final = 25.0
FEWEST_PIXELS: Final = 8
LONGEST_PIXEL: Final = 4.0
"""Times as long as wide, in slices across the body; those along it have other axes as pixels."""

LONGEST_MM: Final = 2500.0
"""No patient is longer."""

WIDEST_STEP_MM: Final = 100.0
LONG_MM: Final = 1000.0
"""A few slices of a chest may lie far apart, but not those of more than a metre."""

SHEAR_DEGREES: Final = 1.0
"""Deviation of axes from a right angle without a warning."""

_ALONG: Final = 0.3
"""Cosine, less than that of an axis turned by 70 degrees."""


def refuse_turned(volume: Volume) -> None:
    """Raises for a volume whose affine is not in canonical order."""
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    if min(directions[2, 0], -directions[1, 1], -directions[0, 2]) < _ALONG:
        raise ScanError(
            "expected slices from feet to head, rows from front to back and columns from right to "
            f"left, found an affine that differs, {volume.affine[:3, :3].tolist()}: read "
            "the file with lungmask_jax.load, or turn the array"
        )


def refuse_radiograph(shape: tuple[int, ...], source: object) -> None:
    """Raises for a single image with both sides above `RADIOGRAPH_SIDE`."""
    *others, rows, columns = sorted(shape)
    if max(others) == 1 and min(rows, columns) > RADIOGRAPH_SIDE:
        raise ScanError(
            f"expected CT slices, found one image of {rows} x {columns} pixels in {source}, "
            "which looks like a radiograph: give a CT"
        )


def note_shear(volume: Volume, source: object) -> None:
    """Warns of axes that miss a right angle by more than `SHEAR_DEGREES`."""
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    cosines = np.abs((directions.T @ directions)[np.triu_indices(3, 1)])
    degrees = float(np.rad2deg(np.arcsin(np.clip(cosines.max(), 0, 1))))
    if degrees > SHEAR_DEGREES:
        warn(
            f"the axes of {source} deviate from a right angle by {degrees:.1f} degrees, as with a "
            "tilted gantry: nothing is resampled, and masks are sheared in the same way"
        )


def note_size(volume: Volume, source: object) -> None:
    """Warns of voxel sizes that are unknown, or impossible for a patient."""
    step, *pixel = volume.spacing
    sizes = " x ".join(f"{mm:.4g}" for mm in volume.spacing)
    if not volume.has_size:
        warn(
            f"the voxels of {source} are 1 x 1 x 1 mm at the origin, which often means an unknown "
            "size: there are percentages, but no ml"
        )
    lengths = np.multiply(volume.spacing, volume.shape)
    large = max(pixel) > WIDEST_PIXEL_MM or max(lengths) > LONGEST_MM
    sparse = step > WIDEST_STEP_MM and lengths[0] > LONG_MM
    if large or sparse or min(volume.spacing) < FINEST_MM:
        warn(
            f"the voxels of {source} are {sizes} mm (slices, rows, columns), and there are "
            f"{' x '.join(map(str, volume.shape))}, impossible in a patient: ml and distances are "
            "not real; check the unit and the voxel sizes in its header"
        )
    elif (
        volume.axcodes[2] in "SI"
        and min(volume.shape[1:]) >= FEWEST_PIXELS
        and max(pixel) > LONGEST_PIXEL * min(pixel)
    ):
        warn(
            f"the pixels of {source} are {pixel[0]:.4g} x {pixel[1]:.4g} mm (rows, columns), and "
            "those of a CT are squares: check the voxel sizes, and whether axes were exchanged"
        )
