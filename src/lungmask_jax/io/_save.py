"""Writing of volumes on the grid of the file that they came from."""

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.spatialimages import HeaderDataError

from lungmask_jax.errors import ScanError
from lungmask_jax.io._orientation import stored
from lungmask_jax.io._save_described import save_metaimage, save_nrrd
from lungmask_jax.io._save_nifti import save_nifti
from lungmask_jax.io._segments import segment_pairs
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

SUFFIXES: Final = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def save(volume: Volume, path: str | os.PathLike[str], *, task: Task | None = None) -> None:
    """Writes a scan or a mask as NIfTI, NRRD or MetaImage on the grid of the file it came from.

    The order of the axes is that of the file. From NIfTI to NIfTI, the position in the header is
    kept byte for byte: unit, voxel sizes, qform, sform and their codes, byte order and version. All
    other files are in mm. Files are written atomically; those named ``.mhd`` have their values
    beside them, in ``.zraw``.

    Args:
        volume: HU as int16 or float32, or a mask as uint8; other types become the nearest of these.
        path: Ends in ``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha`` or ``.mhd``; its folder must exist.
        task: The task of a mask, whose names, colors and codes stand in files for 3D Slicer, named
            ``.seg.nrrd``.

    Raises:
        ScanError: The name, the folder or the type of the values does not fit, or writing fails.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Volume(np.zeros((2, 3, 4), np.uint8)), f"{folder}/mask.nii.gz")
        ...     sorted(os.listdir(folder))
        ['mask.nii.gz']
    """
    path = Path(path)
    name = path.name.lower()
    _check_name(path, task)
    try:
        array, affine = stored(volume)
        kind = _kind(array)
        if name.endswith(".nrrd"):
            pairs = segment_pairs(task, array) if task and name.endswith(".seg.nrrd") else ()
            save_nrrd(path, array, kind, affine, pairs)
        elif name.endswith((".mha", ".mhd")):
            save_metaimage(path, array, kind, affine)
        else:
            save_nifti(path, array, kind, affine, volume.header)
    except (OSError, HeaderDataError, MemoryError) as error:
        raise ScanError(f"expected to write {path}, found: {error}") from error


def _check_name(path: Path, task: Task | None) -> None:
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise ScanError(
            f"expected a name in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, found {path}: "
            "change the suffix"
        )
    if name.endswith(".seg.nrrd") and task is None:
        raise ScanError(
            f"{path} would be a segmentation whose labels have no names: give task=, for example "
            "task=lungmask_jax.tasks.LUNGS, or end the name in .nrrd"
        )
    if not path.parent.is_dir():
        raise ScanError(
            f"expected a folder to write {path.name} to, found no {path.parent}: make it"
        )


def _kind(array: np.ndarray) -> np.dtype[Any]:
    """The type that is stored."""
    if array.dtype in (np.uint8, np.int16, np.float32):
        return array.dtype
    if array.dtype.kind == "f":
        return np.dtype(np.float32)
    for kind in (np.uint8, np.int16):
        limits = np.iinfo(kind)
        fits = array.dtype.kind in "iub" and (array.size == 0 or array.min() >= limits.min)
        if fits and (array.size == 0 or array.max() <= limits.max):
            return np.dtype(kind)
    raise ScanError(
        f"expected labels or HU that fit uint8, int16 or float32, found {array.dtype}: convert them"
    )
