"""Reading of NRRD, attached (``.nrrd``) or with its voxels in another file (``.nhdr``).

Format: https://teem.sourceforge.net/nrrd/format.html
"""

import io
import re
from pathlib import Path
from typing import Any, Final, Literal

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

_TYPES: Final = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_KINDS: Final = {name: kind for kind, names in _TYPES.items() for name in names.split(", ")}
_PACKINGS: Final[dict[str, Literal["raw", "gzip"]]] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
_SPACES: Final = {
    "right-anterior-superior": np.eye(3),
    "ras": np.eye(3),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0]),
    "las": np.diag([-1.0, 1.0, 1.0]),
    "left-posterior-superior": LPS,
    "lps": LPS,
}
_VECTOR: Final = re.compile(r"\(([^()]*)\)|\b(none)\b")


def read_nrrd(path: Path) -> Volume:
    """A volume in canonical order with the file's values; like `read_described`."""
    return read_described(path, described_nrrd, "NRRD", "nrrd")


def described_nrrd(stream: io.BufferedReader, path: Path) -> Described:
    """The header of a NRRD file; axes of length 1 that are not in space are left out.

    Raises:
        ScanError: Its values are not one volume, or packed in a way that is not read.
        ValueError: It is damaged.
    """
    fields = _fields(stream)
    dimension = whole_numbers(fields["dimension"], 1, "dimension")[0]
    if not 0 < dimension <= 16:
        raise ValueError(f"its dimension is {dimension}")
    sizes = whole_numbers(fields["sizes"], dimension, "sizes")
    spatial, affine = _place(fields, sizes, path)
    if any(size != 1 for axis, size in enumerate(sizes) if axis not in spatial):
        raise ScanError(
            f"expected one 3-D volume of numbers, found axes of {sizes}, of which {len(spatial)} "
            f"are in space, in {path}: save a single volume, or one layer of a segmentation"
        )
    return Described(
        tuple(sizes[axis] for axis in spatial),
        _kind(fields, path),
        affine,
        _packing(fields, path),
        whole_numbers(fields.get("byteskip", "0"), 1, "byte skip")[0],
        _data_file(fields, path),
    )


def _fields(stream: io.BufferedReader) -> dict[str, str]:
    """Fields by name, in lower case and without blanks; an empty line or the end ends them."""
    fields: dict[str, str] = {}
    for line in header_lines(stream):
        if not line:
            break
        name, colon, value = line.partition(": ")
        if colon and not line.startswith("#") and ":=" not in name:
            fields[re.sub(r"[\s_]", "", name.lower())] = value.strip()
    return fields


def _kind(fields: dict[str, str], path: Path) -> np.dtype[Any]:
    name = " ".join(fields["type"].lower().split())
    if name not in _KINDS:
        raise ScanError(
            f"expected numbers, found values of type {name[:40]!r} in {path}: save one volume of "
            "whole numbers or floats"
        )
    kind = np.dtype(_KINDS[name])
    order = fields.get("endian", "").lower()
    if kind.itemsize > 1 and order not in ("little", "big"):
        raise ValueError(f"its endian is {order!r}")
    return kind.newbyteorder("<" if order == "little" else ">")


def _packing(fields: dict[str, str], path: Path) -> Literal["raw", "gzip"]:
    name = fields["encoding"].lower()
    if name not in _PACKINGS or fields.get("lineskip", "0") != "0":
        raise ScanError(
            f"expected the values of {path} raw or packed with gzip, found encoding {name[:40]!r} "
            f"and {fields.get('lineskip', '0')[:20]} lines to skip: save it again, for example "
            "with 3D Slicer"
        )
    return _PACKINGS[name]


def _data_file(fields: dict[str, str], path: Path) -> str:
    name = fields.get("datafile", "")
    if name == "LIST" or name.startswith("LIST ") or "%" in name:
        raise ScanError(
            f"expected the values of {path} in one file, found several ({name[:60]}): save it as "
            "one .nrrd file, for example with 3D Slicer"
        )
    return name


def _place(
    fields: dict[str, str], sizes: tuple[int, ...], path: Path
) -> tuple[list[int], np.ndarray]:
    """The axes in space, and the affine of these; a flat image is one slice of 1 mm."""
    space = fields.get("space", "").lower()
    if space not in _SPACES or "spacedirections" not in fields:
        note_unoriented(path)
    to_ras = _SPACES.get(space, LPS)
    if "spacedirections" in fields:
        spatial, columns = _directions(fields["spacedirections"], len(sizes))
        columns = columns * _units(fields.get("spaceunits", ""), path)[:, None]
    else:
        spatial, columns = _spacings(fields, sizes, path)
    origin = np.zeros(3)
    if "spaceorigin" in fields:
        origin[:] = numbers(fields["spaceorigin"].strip("() "), 3, "space origin")
        origin = origin * _units(fields.get("spaceunits", ""), path)
    affine = np.eye(4)
    affine[:3, :3] = to_ras @ columns
    affine[:3, 3] = to_ras @ origin
    return spatial, affine


def _directions(text: str, dimension: int) -> tuple[list[int], np.ndarray]:
    """The axes in space, and their vectors as columns; those of a flat image get a normal."""
    found = _VECTOR.findall(text)
    if len(found) != dimension:
        raise ValueError(f"space directions are {text[:80]!r}, not {dimension} vectors")
    spatial = [axis for axis, (_, none) in enumerate(found) if not none]
    vectors = [numbers(found[axis][0], 3, "space directions") for axis in spatial]
    if len(vectors) == 2:
        normal = np.cross(*np.array(vectors))
        vectors.append((normal / (np.linalg.norm(normal) or 1.0)).tolist())
    if len(vectors) != 3:
        raise ValueError(f"{len(vectors)} of its axes are in space")
    return spatial, np.array(vectors).T


def _spacings(
    fields: dict[str, str], sizes: tuple[int, ...], path: Path
) -> tuple[list[int], np.ndarray]:
    """Axes of the patient, with spacings where they are given; those of length 1 come last."""
    spatial = [axis for axis, size in enumerate(sizes) if size > 1 or len(sizes) <= 3][:3]
    spacings = fields.get("spacings", "").split() or ["1"] * len(sizes)
    if len(spacings) != len(sizes):
        raise ValueError(f"spacings are {fields['spacings'][:60]!r}")
    steps = [float(spacings[axis]) for axis in spatial]
    steps = steps_mm([step if np.isfinite(step) else 0.0 for step in steps])
    names = re.findall(r'"([^"]*)"', fields.get("units", ""))
    units = [names[axis] if axis < len(names) else "" for axis in spatial]
    lengths = [step * unit_mm(unit, path) for step, unit in zip(steps, units, strict=True)]
    return spatial, np.diag([*lengths, 1.0, 1.0][:3])


def _units(text: str, path: Path) -> np.ndarray:
    """Millimetres of the unit of each axis of space."""
    names = re.findall(r'"([^"]*)"', text)
    return np.array([unit_mm(name, path) for name in [*names, "", "", ""][:3]])
