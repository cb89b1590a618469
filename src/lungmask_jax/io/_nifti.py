"""Reading of NIfTI-1 and NIfTI-2, plain or compressed."""

import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError

from lungmask_jax.errors import ScanError
from lungmask_jax.io._header import affine_mm, parsed
from lungmask_jax.io._orientation import canonical
from lungmask_jax.io._stream import DEFLATE, LARGEST_VOXELS, PIECE, opened, unpacked
from lungmask_jax.io._warn import warn
from lungmask_jax.volume import Volume

DAMAGED: Final = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    zlib.error,
    struct.error,
    HeaderDataError,
    ImageDataError,
    ImageFileError,
)

_HEADER: Final = {b"n+1": 348, b"n+2": 540}
_LARGEST_OFFSET: Final = 2**26
_BEHIND: Final = 2**20


def read_nifti(path: Path) -> Volume:
    """A volume in canonical order with the file's values, slope and intercept applied.

    No more is decompressed than the header asks for, and no more is allocated than
    `LARGEST_VOXELS` need. One slice may be 2-D; axes beyond the third must have length 1.

    Raises:
        ScanError: The file is damaged or too large, or is not one 3-D volume of real numbers.

    Warns:
        ScanWarning: The header contradicts itself, or does not fit the file.
    """
    try:
        with opened(path) as file:
            stream = unpacked(file)
            header = _header(stream)
            check_layout(header.get_data_shape(), header.get_data_dtype(), path)
            array = _voxels(stream, header, os.fstat(file.fileno()).st_size, path)
    except DAMAGED as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(
            f"{path} is cut short or damaged ({error}): copy or export the NIfTI file again"
        ) from error
    volume = canonical(array, affine_mm(header, path), path, block=header.binaryblock)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    return volume.with_array(scaled(volume.array, *check_scaling(slope, intercept, path)))


def check_layout(shape: tuple[int, ...], kind: np.dtype[Any], source: object) -> None:
    """Raises unless this is one volume of numbers, and not too large for a scan."""
    if len(shape) < 2 or any(length != 1 for length in shape[3:]) or kind.kind not in "iufb":
        raise ScanError(
            f"expected one 3-D volume of numbers, found shape {shape} of {kind} in {source}: "
            "save a single volume, not a series or a color image"
        )
    if not all(length > 0 for length in shape):
        raise ScanError(
            f"expected voxels, found the empty shape {shape} in {source}: export it again"
        )
    if math.prod(shape) > LARGEST_VOXELS:
        raise ScanError(
            f"{source} has {math.prod(shape)} voxels (shape {shape}), more than the "
            f"{LARGEST_VOXELS} that are read: if its header is right, crop or downsample it"
        )


def check_scaling(slope: float, intercept: float, source: object) -> tuple[float, float]:
    """Slope and intercept of the stored values; without a slope ``(1, 0)``, as in the standard.

    Raises:
        ScanError: The intercept is not finite.

    Warns:
        ScanWarning: There is no slope, or one below 0.
    """
    if slope == 0 or not math.isfinite(slope):
        warn(
            f"the slope of the values in {source} is {slope:g} (scl_slope): used them as they are "
            "stored, without slope and intercept"
        )
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise ScanError(
            f"the intercept of the values in {source} is {intercept:g} (scl_inter): fix its header"
        )
    if slope < 0:
        warn(
            f"the slope of the values in {source} is {slope:g} (scl_slope), which inverts the "
            "stored values: applied it; if bone appears dark, it is wrong"
        )
    return slope, intercept


def scaled(values: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Values with slope and intercept applied; the values themselves if nothing changes.

    Example:
        >>> scaled(np.array([0, 1000], np.int16), 0.5, -1024.0)
        array([-1024.,  -524.], dtype=float32)
    """
    if (slope, intercept) == (1.0, 0.0):
        return values
    wide = np.float64 if values.dtype.itemsize >= 4 else np.float32
    result = values.astype(wide)
    np.multiply(result, wide(slope), out=result)
    np.add(result, wide(intercept), out=result)
    return result


def _header(stream: io.BufferedReader) -> Any:
    block = stream.read(348)
    if block[4:7] == b"n+2":
        block += stream.read(540 - 348)
    if len(block) not in _HEADER.values():
        raise EOFError(f"it ends after {len(block)} bytes")
    return parsed(block)


def _voxels(stream: io.BufferedReader, header: Any, size: int, path: Path) -> np.ndarray:
    """The stored values, ``(x, y, z)``, in the byte order of this machine."""
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    skipped = _offset(header) - len(header.binaryblock)
    array = _empty(shape, kind, _possible(stream, size) - skipped, path)
    stream.read(skipped)
    flat = memoryview(array.reshape(-1).view(np.uint8).data)
    done = 0
    while done < len(flat):
        count = stream.readinto(flat[done : done + PIECE])
        if not count:
            raise ScanError(_short(len(flat), done, shape, path))
        done += count
    _check_end(stream, path)
    if not kind.isnative:
        array = array.byteswap(inplace=True).view(kind.newbyteorder("="))
    return array.T.reshape((*shape, 1)[:3])


def _offset(header: Any) -> int:
    """Where the values begin; 0 stands for right behind the header."""
    first = len(header.binaryblock) + 4
    offset = float(header["vox_offset"])
    if not (offset == 0 or first <= offset <= _LARGEST_OFFSET):
        raise ValueError(f"its values begin at byte {offset:g}")
    return int(offset) or first


def _possible(stream: io.BufferedReader, size: int) -> int:
    """The largest possible number of bytes after the header."""
    packed = not isinstance(stream.raw, io.FileIO)
    return size * DEFLATE if packed else size - stream.tell()


def _empty(shape: tuple[int, ...], kind: np.dtype[Any], possible: int, path: Path) -> np.ndarray:
    """An empty array for the values, if the file can fill it."""
    needed = math.prod(shape) * kind.itemsize
    if needed > possible:
        raise ScanError(_short(needed, max(possible, 0), shape, path))
    return np.empty(shape[::-1], kind)


def _short(needed: int, found: int, shape: tuple[int, ...], path: Path) -> str:
    return (
        f"expected {needed} bytes for shape {shape}, found at most {found} in {path}, "
        "which is cut short: copy it again"
    )


def _check_end(stream: io.BufferedReader, path: Path) -> None:
    """Reads to the checksum after compressed values; far more data are ignored."""
    more = len(stream.read(_BEHIND))
    if more:
        warn(
            f"{path} has {more} bytes or more after its last voxel: ignored them; if "
            "slices are missing, the shape in its header is wrong"
        )
