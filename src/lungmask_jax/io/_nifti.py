"""Reading of NIfTI-1 and NIfTI-2, plain or compressed."""

import io
import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._archive import bytes_left, volume_bytes
from lungmask_jax.io._header import affine_mm, parsed
from lungmask_jax.io._orientation import canonical
from lungmask_jax.io._voxels import LARGEST_OFFSET, check_layout, read_voxels, scaled, sound
from lungmask_jax.io._warn import warn
from lungmask_jax.volume import Volume

_HEADER: Final = {b"n+1": 348, b"n+2": 540}


def read_nifti(path: Path) -> Volume:
    """A volume in canonical order with the file's values, slope and intercept applied.

    No more is decompressed than the header asks for, and no more is allocated than
    `LARGEST_VOXELS` need. One slice may be 2-D; axes beyond the third must have length 1.

    Raises:
        ScanError: The file is damaged or too large, or is not one 3-D volume of real numbers.

    Warns:
        ScanWarning: The header contradicts itself, or does not fit the file.
    """
    with sound(path, "NIfTI"), volume_bytes(path) as (stream, most):
        header = _header(stream)
        check_layout(header.get_data_shape(), header.get_data_dtype(), path)
        array = _voxels(stream, header, most, path)
    volume = canonical(array, affine_mm(header, path), path, block=header.binaryblock)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    return volume.with_array(scaled(volume.array, *check_scaling(slope, intercept, path)))


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


def _header(stream: io.BufferedReader) -> Any:
    block = stream.read(348)
    if block[4:7] == b"n+2":
        block += stream.read(540 - 348)
    if len(block) not in _HEADER.values():
        raise EOFError(f"it ends after {len(block)} bytes")
    return parsed(block)


def _voxels(stream: io.BufferedReader, header: Any, most: int, path: Path) -> np.ndarray:
    """The stored values, ``(x, y, z)``, in the byte order of this machine."""
    left = bytes_left(stream, most)
    skipped = _offset(header) - len(header.binaryblock)
    stream.read(skipped)
    return read_voxels(
        stream, header.get_data_shape(), header.get_data_dtype(), left - skipped, path
    )


def _offset(header: Any) -> int:
    """Where the values begin; 0 stands for right behind the header."""
    first = len(header.binaryblock) + 4
    offset = float(header["vox_offset"])
    if not (offset == 0 or first <= offset <= LARGEST_OFFSET):
        raise ValueError(f"its values begin at byte {offset:g}")
    return int(offset) or first
