"""Voxels out of a stream: as many as a header asks for, if there can be so many."""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError

from lungmask_jax.errors import ScanError
from lungmask_jax.io._stream import LARGEST_VOXELS, PIECE
from lungmask_jax.io._warn import warn

DAMAGED: Final = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    zlib.error,
    struct.error,
    zipfile.BadZipFile,
    HeaderDataError,
    ImageDataError,
    ImageFileError,
)

LARGEST_OFFSET: Final = 2**26
"""More bytes are never skipped before the first voxel."""

_BEHIND: Final = 2**20


@contextmanager
def sound(path: Path, kind: str) -> Iterator[None]:
    """A block that reads a file; whatever its damage raises becomes a `ScanError`.

    Args:
        path: The file.
        kind: What it is, for the message.
    """
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, ScanError):
            raise
        raise ScanError(
            f"{path} is cut short or damaged ({error}): copy or export the {kind} file again"
        ) from error


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


def read_voxels(
    stream: io.BufferedReader, shape: tuple[int, ...], kind: np.dtype[Any], most: int, path: Path
) -> np.ndarray:
    """The values, first axis fastest, as ``(x, y, z)`` in the byte order of this machine.

    Args:
        stream: Stands at the first value.
        shape: As `check_layout` accepts it.
        kind: Type and byte order of the values.
        most: Bytes that can follow at most; nothing is allocated for more.
        path: The file, for messages.

    Raises:
        ScanError: There are too few.

    Warns:
        ScanWarning: There are more.
    """
    needed = math.prod(shape) * kind.itemsize
    if needed > most:
        raise ScanError(_short(needed, max(most, 0), shape, path))
    array = np.empty(shape[::-1], kind)
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
