"""Reading of MetaImage, attached (``.mha``) or with its voxels in another file (``.mhd``).

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

import io
from pathlib import Path
from typing import Any, Final

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._described import (
    LPS,
    Described,
    header_lines,
    note_unoriented,
    numbers,
    read_described,
    steps_mm,
    unit_mm,
    whole_numbers,
)
from lungmask_jax.volume import Volume

KINDS: Final = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""Types of values; long ones have 4 bytes everywhere."""

_ORIENTATION: Final = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN: Final = ("Offset", "Position", "Origin")
_ORDERS: Final = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")


def read_metaimage(path: Path) -> Volume:
    """A volume in canonical order with the file's values; like `read_described`."""
    return read_described(path, described_metaimage, "MetaImage", "mha")


def described_metaimage(stream: io.BufferedReader, path: Path) -> Described:
    """The header of a MetaImage file.

    Raises:
        ScanError: Its values are not one volume, or written in a way that is not read.
        ValueError: It is damaged.
    """
    fields = _fields(stream)
    axes = whole_numbers(fields["NDims"], 1, "NDims")[0]
    if not 0 < axes <= 16:
        raise ValueError(f"NDims is {axes}")
    shape = whole_numbers(fields["DimSize"], axes, "DimSize")
    _refuse_other_values(fields, path)
    name = fields["ElementDataFile"]
    return Described(
        shape,
        _kind(fields),
        _affine(fields, axes, path),
        "zlib" if _is_true(fields.get("CompressedData", "")) else "raw",
        whole_numbers(fields.get("HeaderSize", "0"), 1, "HeaderSize")[0],
        "" if name.upper() == "LOCAL" else name,
        _scale(fields),
    )


def _fields(stream: io.BufferedReader) -> dict[str, str]:
    """Fields by name; the name of the data file is the last one."""
    fields: dict[str, str] = {}
    for line in header_lines(stream):
        name, _, value = line.partition("=")
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            break
    return fields


def _refuse_other_values(fields: dict[str, str], path: Path) -> None:
    name = fields["ElementDataFile"]
    if name.upper().startswith("LIST") or "%" in name:
        raise ScanError(
            f"expected the values of {path} in one file, found several ({name[:60]}): save it as "
            "one .mha file, for example with 3D Slicer"
        )
    channels = fields.get("ElementNumberOfChannels", "1")
    if channels != "1" or not _is_true(fields.get("BinaryData", "True")):
        raise ScanError(
            f"expected one binary number a voxel, found {channels[:20]} with BinaryData = "
            f"{fields.get('BinaryData', 'True')[:20]} in {path}: save one volume of grey values"
        )


def _kind(fields: dict[str, str]) -> np.dtype[Any]:
    name = fields["ElementType"]
    if name not in KINDS:
        raise ValueError(f"its ElementType is {name[:40]!r}")
    big = any(_is_true(fields.get(order, "")) for order in _ORDERS)
    return np.dtype(KINDS[name]).newbyteorder(">" if big else "<")


def _affine(fields: dict[str, str], axes: int, path: Path) -> np.ndarray:
    """From indices to mm in RAS; each row of the matrix is the direction of an axis, in LPS."""
    matrix, origin = (
        next((fields[name] for name in names if name in fields), "")
        for names in (_ORIENTATION, _ORIGIN)
    )
    if not matrix:
        note_unoriented(path)
    count = min(axes, 3)
    directions, place, steps = np.eye(3), np.zeros(3), np.ones(3)
    if matrix:
        turned = np.reshape(numbers(matrix, axes * axes, "TransformMatrix"), (axes, axes))
        directions[:count, :count] = turned[:count, :count].T
    if origin:
        place[:count] = numbers(origin, axes, "Offset")[:count]
    spacing = fields.get("ElementSpacing", fields.get("ElementSize", ""))
    if spacing:
        steps[:count] = steps_mm(numbers(spacing, axes, "ElementSpacing"))[:count]
    affine = np.eye(4)
    scale = unit_mm(fields.get("DistanceUnits", ""), path)
    affine[:3, :3] = LPS @ directions * steps * scale
    affine[:3, 3] = LPS @ place * scale
    return affine


def _scale(fields: dict[str, str]) -> tuple[float, float]:
    name = "ElementToIntensityFunction"
    slope, offset = (
        numbers(fields.get(f"{name}{part}", default), 1, f"{name}{part}")[0]
        for part, default in (("Slope", "1"), ("Offset", "0"))
    )
    return slope or 1.0, offset


def _is_true(text: str) -> bool:
    return text[:1].upper() in ("T", "1")
