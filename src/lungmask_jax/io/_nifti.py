"""NIfTI-1 and NIfTI-2, plain or compressed."""

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Image
from nibabel.nifti2 import Nifti2Image
from nibabel.spatialimages import HeaderDataError, ImageDataError

from lungmask_jax.errors import ScanError
from lungmask_jax.files import atomic
from lungmask_jax.io._files import GZIP, contents
from lungmask_jax.io._orientation import canonical, stored
from lungmask_jax.volume import Volume

COMPRESSION: Final = 4
"""Of a 512x512x133 mask: level 1 takes .07 s and .86 MB, 4 .13 s and .57 MB, 6 .24 s and .50 MB."""

DAMAGED: Final = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    zlib.error,
    struct.error,
    HeaderDataError,
    ImageDataError,
    ImageFileError,
)


def read_nifti(path: Path) -> Volume:
    """A volume with the file's values, slope and intercept applied.

    Args:
        path: A NIfTI file. One slice may be 2-D; axes beyond the third must have length 1.

    Returns:
        The values in canonical order, of the stored type, or of a float type if they are scaled.

    Raises:
        ScanError: The file is damaged, or is not one 3-D volume of real numbers.
    """
    data = _unpacked(path)
    try:
        image = (Nifti2Image if data[4:7] == b"n+2" else Nifti1Image).from_bytes(data)
        _check_layout(image, len(data), path)
        array = _values(image.dataobj)
        codes = int(image.header["qform_code"]), int(image.header["sform_code"])
    except DAMAGED as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(
            f"expected a NIfTI file, found {path} damaged ({error}): copy or export it again"
        ) from error
    return canonical(array.reshape((*array.shape, 1)[:3]), image.affine, codes, path)


def save(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Writes a scan or a mask as NIfTI-1 on the grid of the file it came from.

    Order of axes, affine and form codes are the file's own, so a mask lies on its scan voxel for
    voxel. The file appears whole or not at all.

    Args:
        volume: HU as int16 or float32, or a mask as uint8; other types become the nearest of these.
        path: Ends in ``.nii`` or ``.nii.gz``; its folder must be there.

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
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise ScanError(f"expected a name in .nii or .nii.gz, found {path}: change the suffix")
    if not path.parent.is_dir():
        raise ScanError(
            f"expected a folder to write {path.name} to, found no {path.parent}: make it"
        )
    try:
        image = _image(volume)
        packed = path.name.lower().endswith(".gz")
        with atomic(path) as temporary, temporary.open("wb") as file:
            if packed:
                with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as stream:
                    image.to_stream(stream)
            else:
                image.to_stream(file)
    except DAMAGED as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(f"expected to write {path}, found: {error}") from error


def _unpacked(path: Path) -> bytes:
    data = contents(path)
    if not data.startswith(GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ScanError(
            f"expected a whole .nii.gz file, found {path} cut short or damaged ({error}): "
            "copy it again"
        ) from error


def _check_layout(image: Any, found_bytes: int, path: Path) -> None:
    shape, kind = image.shape, image.get_data_dtype()
    if len(shape) < 2 or any(length != 1 for length in shape[3:]) or kind.kind not in "iufb":
        raise ScanError(
            f"expected one 3-D volume of numbers, found shape {shape} of {kind} in {path}: "
            "save a single volume, not a series or a color image"
        )
    if not all(length > 0 for length in shape):
        raise ScanError(
            f"expected voxels, found the empty shape {shape} in {path}: export it again"
        )
    expected = int(image.dataobj.offset) + int(np.prod(shape, dtype=object)) * kind.itemsize
    if found_bytes < expected:
        raise ScanError(
            f"expected {expected} bytes for shape {shape}, found {found_bytes} in {path}, "
            "which is cut short: copy it again"
        )


def _values(proxy: Any) -> np.ndarray:
    """Scaled values as float32, where nibabel's default would be float64; else the stored ones."""
    scaled = (proxy.slope, proxy.inter) != (1, 0)
    kind = np.dtype(np.float32) if scaled else proxy.dtype.newbyteorder("=")
    return np.asarray(proxy, kind)


def _image(volume: Volume) -> Nifti1Image:
    array, affine = stored(volume)
    image = Nifti1Image(_storable(array), affine)
    image.set_qform(affine, 1, update_affine=False)
    image.set_sform(affine, 1, update_affine=False)
    image.header.set_xyzt_units("mm")
    image.header["qform_code"], image.header["sform_code"] = volume.form_codes
    if not np.allclose(image.header.get_best_affine(), affine, rtol=1e-4, atol=1e-2):
        image.header["sform_code"] = 1
    return image


def _storable(array: np.ndarray) -> np.ndarray:
    if array.dtype in (np.uint8, np.int16, np.float32):
        return array
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    for kind in (np.uint8, np.int16):
        limits = np.iinfo(kind)
        fits = array.dtype.kind in "iub" and (array.size == 0 or array.min() >= limits.min)
        if fits and (array.size == 0 or array.max() <= limits.max):
            return array.astype(kind)
    raise ScanError(
        f"expected labels or HU that fit uint8, int16 or float32, found {array.dtype}: convert them"
    )
