"""Writing of NIfTI with the position of the file that a volume came from."""

import gzip
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from nibabel.nifti1 import Nifti1Header

from lungmask_jax.files import atomic
from lungmask_jax.io._header import FIELDS, parsed
from lungmask_jax.volume import Header

COMPRESSION: Final = 4
"""Of a 512x512x133 mask: level 1 takes .07 s and .86 MB, 4 .13 s and .57 MB, 6 .24 s and .50 MB."""

_HELD_MM: Final = 0.01


def save_nifti(
    path: Path, array: np.ndarray, kind: np.dtype[Any], affine: np.ndarray, scan: Header | None
) -> None:
    """Writes values ``(x, y, z)`` as a type, with the position of a scan or, without one, in mm."""
    header = _header(scan, kind, array.shape, affine)
    packed = path.name.lower().endswith(".gz")
    with atomic(path) as temporary, temporary.open("wb") as file:
        if packed:
            with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as stream:
                _write(stream, header, array)
        else:
            _write(file, header, array)


def planes(array: np.ndarray, kind: np.dtype[Any]) -> Any:
    """The bytes of each plane of ``(x, y, z)``, the first axis fastest."""
    return (np.ascontiguousarray(plane, kind).tobytes() for plane in array.T)


def _header(
    scan: Header | None, kind: np.dtype[Any], shape: tuple[int, ...], affine: np.ndarray
) -> Any:
    if scan is None or not scan.block:
        header = Nifti1Header()
        header.set_data_shape(shape)
        _set_place(header, affine)
    else:
        said = parsed(scan.block)
        header = type(said)(endianness=said.endianness)
        header.set_data_shape(said.get_data_shape())
        for name in FIELDS:
            header[name] = said[name]
    header.set_data_dtype(kind)
    header["vox_offset"] = len(header.binaryblock) + 4
    return header


def _set_place(header: Any, affine: np.ndarray) -> None:
    """Both forms in mm; the qform counts unless the affine is sheared, which it cannot hold."""
    header.set_xyzt_units("mm")
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    if not np.allclose(header.get_qform(), affine, rtol=1e-4, atol=_HELD_MM):
        header["qform_code"] = 0


def _write(file: IO[bytes] | gzip.GzipFile, header: Any, array: np.ndarray) -> None:
    file.write(header.binaryblock + bytes(4))  # no extensions
    for plane in planes(array, header.get_data_dtype()):
        file.write(plane)
