"""Writing of NRRD and MetaImage: a header of text in mm and LPS, and packed values."""

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from lungmask_jax.files import atomic
from lungmask_jax.io._described import LPS
from lungmask_jax.io._metaimage import KINDS
from lungmask_jax.io._save_nifti import COMPRESSION, planes

_NRRD_TYPES: Final = {"u1": "uint8", "i2": "int16", "f4": "float"}
_META_TYPES: Final = {kind: name for name, kind in reversed(KINDS.items())}


def save_nrrd(
    path: Path,
    array: np.ndarray,
    kind: np.dtype[Any],
    affine: np.ndarray,
    pairs: Iterable[tuple[str, str]] = (),
) -> None:
    """Writes values ``(x, y, z)`` as one NRRD file.

    Args:
        path: The file.
        array: The values.
        kind: Their type in the file.
        affine: From indices to mm in RAS.
        pairs: Keys and values of its own, such as names of segments.
    """
    directions = (_vector(column) for column in (LPS @ affine[:3, :3]).T)
    lines = [
        "NRRD0005",
        f"type: {_NRRD_TYPES[kind.str[1:]]}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {_joined(array.shape)}",
        f"space directions: {' '.join(directions)}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        'space units: "mm" "mm" "mm"',
        f"space origin: {_vector(LPS @ affine[:3, 3])}",
        *(f"{key}:={value}" for key, value in pairs),
    ]
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join([*lines, "\n"]).encode())
        with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as stream:
            for plane in planes(array, kind.newbyteorder("<")):
                stream.write(plane)


def save_metaimage(path: Path, array: np.ndarray, kind: np.dtype[Any], affine: np.ndarray) -> None:
    """Writes values ``(x, y, z)`` as a file ``.mha``, or as ``.mhd`` with ``.zraw`` beside it.

    Args:
        path: The file.
        array: The values.
        kind: Their type in the file.
        affine: From indices to mm in RAS.
    """
    packer = zlib.compressobj(COMPRESSION)
    parts = [packer.compress(plane) for plane in planes(array, kind.newbyteorder("<"))]
    packed = b"".join([*parts, packer.flush()])
    apart = path.suffix.lower() == ".mhd"
    values = path.with_suffix(".zraw")
    lines = _meta_lines(array.shape, kind, affine, len(packed), values.name if apart else "LOCAL")
    header = "".join(f"{line}\n" for line in lines).encode()
    if apart:
        with atomic(values) as temporary:
            temporary.write_bytes(packed)
    with atomic(path) as temporary:
        temporary.write_bytes(header if apart else header + packed)


def _meta_lines(
    shape: tuple[int, ...], kind: np.dtype[Any], affine: np.ndarray, size: int, values: str
) -> list[str]:
    lps = LPS @ affine[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    return [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {size}",
        f"TransformMatrix = {_joined((lps[:, :3] / spacing).T.ravel())}",
        f"Offset = {_joined(lps[:, 3])}",
        "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_joined(spacing)}",
        f"DimSize = {_joined(shape)}",
        "DistanceUnits = mm",
        f"ElementType = {_META_TYPES[kind.str[1:]]}",
        f"ElementDataFile = {values}",
    ]


def _joined(values: Iterable[float]) -> str:
    """Numbers with all their digits, whole ones without a point."""
    return " ".join(np.format_float_positional(value, trim="-") for value in map(float, values))


def _vector(values: np.ndarray) -> str:
    return f"({_joined(values).replace(' ', ',')})"
