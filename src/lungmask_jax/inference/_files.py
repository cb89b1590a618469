"""The files of a segmentation: their formats and names."""

import importlib.util
from collections.abc import Iterable
from typing import Final

from lungmask_jax import io
from lungmask_jax.errors import MissingPackageError, ScanError, SpecError, nearest
from lungmask_jax.files import FORMATS
from lungmask_jax.volume import Volume

UNCERTAINTY: Final = "uncertainty"

_DICOM: Final = "dicom-seg"
_MAPS: Final = {"seg.nrrd": "nrrd", _DICOM: "nii.gz", f"{_DICOM}-binary": "nii.gz"}
"""Formats of a map, where that of the masks is for labels alone."""


def mask_format(ct: Volume, *, format: str = "") -> str:
    """The format in which the masks of a scan are written.

    Args:
        ct: The scan.
        format: One of `lungmask_jax.files.FORMATS`; by default that of the scan, if it is NRRD or
            MetaImage, else ``"nii.gz"``.

    Returns:
        The format.

    Raises:
        SpecError: There is no such format.
        ScanError: It is DICOM, and the scan is not.
        MissingPackageError: It is DICOM, and highdicom is missing.

    Example:
        >>> import numpy as np
        >>> mask_format(Volume(np.zeros((2, 3, 4), np.int16)))
        'nii.gz'
    """
    header = ct.header
    chosen = format or (header.format if header else "") or FORMATS[0]
    if chosen not in FORMATS:
        raise SpecError(f"no format {chosen!r}: {nearest(chosen, FORMATS)}")
    if is_dicom(chosen) and not (header and header.slices):
        raise ScanError(
            f"expected a DICOM series for masks in the format {chosen}, which refer to it, found "
            "another scan: give its DICOM files, or another format"
        )
    if is_dicom(chosen) and importlib.util.find_spec("highdicom") is None:
        raise MissingPackageError(
            "masks are written as DICOM by highdicom, which is missing: "
            'pip install "lungmask-jax[dicom]"'
        )
    return chosen


def is_dicom(format: str) -> bool:
    """Whether masks are DICOM segmentations."""
    return format.startswith(_DICOM)


def is_binary(format: str) -> bool:
    """Whether DICOM segmentations have a bit for each segment and voxel."""
    return format != _DICOM


def map_file(name: str, format: str) -> str:
    """The file name of an uncertainty map."""
    return f"{name}_{UNCERTAINTY}.{_MAPS.get(format, format)}"


def mask_file(name: str, task: str, format: str) -> str:
    """The file name of a mask."""
    return f"{name}_{task}.{'dcm' if is_dicom(format) else format}"


def picture_file(name: str) -> str:
    """The file name of the montage."""
    return f"{name}_overlay.png"


def surface_file(name: str) -> str:
    """The file name of the picture of solids."""
    return f"{name}_surface.png"


def page_file(name: str) -> str:
    """The file name of the page to read."""
    return f"{name}.html"


def file_names(
    name: str,
    masks: Iterable[str],
    *,
    uncertainty: bool = False,
    format: str = FORMATS[0],
    page: bool = False,
    surface: bool = False,
) -> list[str]:
    """The file names of `Segmentation.save`.

    Args:
        name: Name of the scan.
        masks: Names of the tasks.
        uncertainty: Whether there is an uncertainty map.
        format: Format of the masks, one of `lungmask_jax.files.FORMATS`.
        page: Whether there is a page to read.
        surface: Whether there is a picture of solids.

    Returns:
        Names of files, that of the measures last.

    Example:
        >>> file_names("a", ["lungs"])
        ['a_lungs.nii.gz', 'a_overlay.png', 'a.json']
        >>> file_names("a", ["lungs"], format="dicom-seg")
        ['a_lungs.dcm', 'a_measures.dcm', 'a_overlay.png', 'a.json']
    """
    files = [mask_file(name, task, format) for task in masks]
    if is_dicom(format):
        files.append(f"{name}_{io.MEASURES}.dcm")
    if uncertainty:
        files.append(map_file(name, format))
    files.append(picture_file(name))
    if surface:
        files.append(surface_file(name))
    if page:
        files.append(page_file(name))
    return [*files, f"{name}.json"]
