"""The members of an untrusted ``.npz``."""

import math
import re
import zipfile
from typing import Final, NamedTuple

import numpy as np

_CHUNK: Final = 1_000_000
_HEADER_BYTES: Final = 4096
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER: Final = re.compile(
    r"\{'descr': '([<>|=]?[fiubcUS]\d+)', 'fortran_order': (False|True), "
    r"'shape': \(([\d, ]*)\),? ?\}\s*"
)


class Header(NamedTuple):
    """The header of a member.

    Attributes:
        dtype: Of numbers or text, never of objects.
        shape: Its length times that of a number is what the member has after the header.
        fortran: Whether the first axis runs fastest.
        start: Bytes before the numbers.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays by name, as far as the directory tells."""
    there: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename or info.compress_type not in _METHODS:
            raise ValueError(f"{info.filename[:80]!r} is not a plain member")
        if name in there:
            raise ValueError(f"{name[:80]!r} is there twice")
        there[name] = info
    return there


def header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    """The header of a member, which agrees with its size in the directory."""
    with archive.open(info) as member:
        raw = member.read(_HEADER_BYTES)
    start = 10 if raw[6:7] == b"\1" else 12
    end = start + int.from_bytes(raw[8:start], "little")
    known = _HEADER.fullmatch(raw[start:end].decode("latin-1"))
    if raw[:6] != b"\x93NUMPY" or end > _HEADER_BYTES or known is None:
        raise ValueError(f"{info.filename[:80]!r} is not a plain array")
    kind, fortran, sides = known.groups()
    dtype, shape = np.dtype(kind), tuple(int(side) for side in sides.split(",") if side.strip())
    if info.file_size != end + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{info.filename[:80]!r} has {info.file_size} bytes for {kind} {shape}")
    return Header(dtype, shape, fortran == "True", end)


def array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: Header) -> np.ndarray:
    """The numbers of a member, whose header the caller has looked at."""
    data = bytearray()
    with archive.open(info) as member:
        while chunk := member.read(_CHUNK):
            data += chunk
    shape = header.shape[::-1] if header.fortran else header.shape
    found: np.ndarray = np.ndarray(shape, header.dtype, data, header.start)
    return found.T if header.fortran else found


def text(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """The text of a member."""
    found = header(archive, info)
    if found.dtype.kind != "U" or found.shape:
        raise ValueError(f"{info.filename[:80]!r} is not a text")
    return str(array(archive, info, found))
