"""Volumes that lines of text describe, with their voxels behind them or beside: NRRD, MetaImage.

Nothing is read from outside the folder of the header, and no more is unpacked or allocated than the
header asks for and the file can hold.
"""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._archive import bytes_left, volume_bytes
from lungmask_jax.io._orientation import canonical
from lungmask_jax.io._stream import DEFLATE, inflated, opened, unpacked
from lungmask_jax.io._voxels import (
    LARGEST_OFFSET,
    check_layout,
    read_voxels,
    scaled,
    sound,
)
from lungmask_jax.io._warn import warn
from lungmask_jax.volume import Volume

LONGEST_HEADER: Final = 2**20

LPS: Final = np.diag([-1.0, -1.0, 1.0])
"""From the axes of ITK, left, posterior and superior, to RAS."""

_MILLIMETRES: Final = ("", "mm", "millimeter", "millimeters", "millimetre")
_MICRONS: Final = ("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer")
UNITS_MM: Final = {
    **dict.fromkeys(_MILLIMETRES, 1.0),
    **dict.fromkeys(_MICRONS, 0.001),
    "cm": 10.0,
    "m": 1000.0,
}
"""Units of length, with their millimetres."""


class Described(NamedTuple):
    """What a header says of its voxels.

    Attributes:
        shape: Lengths of the axes, the fastest first.
        kind: Type of the values, with their byte order.
        affine: From indices to mm in RAS.
        packing: How the values are packed.
        skip: Bytes before the first value, after unpacking; -1 if the values end with the file.
        file: Name of the file with the values; empty if they follow the header.
        scale: Slope and intercept.
    """

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    affine: np.ndarray
    packing: Literal["raw", "gzip", "zlib"]
    skip: int = 0
    file: str = ""
    scale: tuple[float, float] = (1.0, 0.0)


def read_described(
    path: Path, parse: Callable[[io.BufferedReader, Path], Described], kind: str, format: str
) -> Volume:
    """A volume in canonical order with the file's values.

    Args:
        path: The file with the header.
        parse: Reads the header from a stream and leaves it behind it.
        kind: The name of the format, for messages.
        format: The format of its masks.

    Raises:
        ScanError: The file is damaged or too large, or is not one 3-D volume of real numbers.

    Warns:
        ScanWarning: The header contradicts itself, or does not fit the file.
    """
    with sound(path, kind), volume_bytes(path) as (stream, most):
        described = parse(stream, path)
        check_layout(described.shape, described.kind, path)
        if described.file:
            with opened(_beside(path, described.file)) as data:
                array = _values(data, os.fstat(data.fileno()).st_size, described, path)
        else:
            array = _values(stream, most, described, path)
    volume = canonical(array, described.affine, path, format=format)
    return volume.with_array(scaled(volume.array, *described.scale))


def header_lines(stream: io.BufferedReader) -> Iterator[str]:
    """The lines of a header, without their ends; the stream stays behind the last one taken.

    Raises:
        ValueError: The header does not end.
    """
    room = LONGEST_HEADER
    while line := stream.readline(room + 1):
        room -= len(line)
        if room < 0:
            raise ValueError(f"its header is longer than {LONGEST_HEADER} bytes")
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def numbers(text: str, count: int, name: str) -> list[float]:
    """So many numbers from a text.

    Raises:
        ValueError: There are more or fewer, or one is not finite.
    """
    values = [float(part) for part in text.replace(",", " ").split()]
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{name} is {text[:60]!r}, not {count} numbers")
    return values


def whole_numbers(text: str, count: int, name: str) -> tuple[int, ...]:
    """So many whole numbers from a text; raises like `numbers`."""
    values = numbers(text, count, name)
    if any(value % 1 for value in values):
        raise ValueError(f"{name} is {text[:60]!r}, not {count} whole numbers")
    return tuple(int(value) for value in values)


def steps_mm(spacing: list[float]) -> list[float]:
    """Distances of voxel centers, made usable as in NIfTI: 0 becomes 1, and signs are lost.

    Example:
        >>> steps_mm([-0.5, 0.0, 2.0])
        [0.5, 1.0, 2.0]
    """
    return [abs(step) or 1.0 for step in spacing]


def unit_mm(name: str, path: Path) -> float:
    """The length of a unit in mm; warns of an unknown one."""
    known = name.strip().lower()
    if known not in UNITS_MM:
        warn(f"the unit of length in {path} is {name[:40]!r}: assumed millimetres")
    return UNITS_MM.get(known, 1.0)


def note_unoriented(path: Path) -> None:
    """Warns of a header that does not state directions in the patient."""
    warn(
        f"{path} does not state its orientation: which lung is right is a guess; check on which "
        "side the heart is"
    )


def _beside(path: Path, name: str) -> Path:
    """The file that a header names, which must be in its folder or below."""
    folder = Path(os.path.realpath(path.parent))
    file = Path(os.path.realpath(folder / name))
    if not file.is_relative_to(folder):
        raise ScanError(
            f"{path} says that its voxels are in {name}, outside of its own folder, which is not "
            "read: move that file beside it, and correct the name in the header"
        )
    if not file.is_file():
        raise ScanError(
            f"{path} says that its voxels are in {name}, which is not there: copy both files"
        )
    return file


def _values(stream: io.BufferedReader, most: int, described: Described, path: Path) -> np.ndarray:
    shape, kind = described.shape, described.kind
    skip, size = described.skip, int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if not -1 <= skip <= LARGEST_OFFSET:
        raise ValueError(f"its values begin at byte {skip}")
    if described.packing != "raw":
        most, stream = most * DEFLATE, _inflated(stream, described.packing)
    elif skip == -1 and stream.seekable():
        stream.seek(max(0, most - size))
    if skip == -1 and not stream.seekable():
        raise ValueError("its values are counted from the end of packed data")
    stream.read(max(skip, 0))
    return read_voxels(stream, shape, kind, bytes_left(stream, most), path)


def _inflated(stream: io.BufferedReader, packing: str) -> io.BufferedReader:
    if packing == "zlib":
        return inflated(stream)
    whole = unpacked(stream)
    if whole is stream:
        raise ValueError("its values are not packed with gzip, as its header says")
    return whole
