"""Position and scale of a slice, from its header.

Each function adds its corrections to `notes`.
"""

import math
from typing import Final

import numpy as np

from lungmask_jax.io._dicom._elements import Damaged, Item, Unusable, numbers, text

EXPORT: Final = "export it again, with its geometry"

LARGEST_MM: Final = 1e6
SMALLEST_MM: Final = 1e-5
STEEPEST: Final = 1e6
"""What is larger, smaller or scaled by more is no place in a scanner."""

_LENGTHS: Final = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}


def geometry(
    header: Item, group: dict[str, Item], measures: Item
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position (3), directions (6) and spacing (2) of a slice, as written in its header.

    In multi-frame files they are in the groups of the frame, by sequence name, and the spacing is
    in `measures`.

    Raises:
        Unusable: One is missing or impossible in a scanner.
    """
    found = {
        "ImagePositionPatient": group.get("PlanePositionSequence", header),
        "ImageOrientationPatient": group.get("PlaneOrientationSequence", header),
        "PixelSpacing": measures,
    }
    missing = [tag for tag, item in found.items() if not numbers(item, tag)]
    if missing:
        derived = "a derived page" if "DERIVED" in text(header, "ImageType").upper() else "a page"
        raise Unusable(f"{derived} without {', '.join(missing)}", EXPORT)
    for tag, item in found.items():
        values = numbers(item, tag)
        if len(values) != _LENGTHS[tag] or not np.abs(values).max() < LARGEST_MM:
            raise Unusable(f"a page whose {tag} is {_shown(values)}", EXPORT)
    position, orientation, spacing = (np.array(numbers(item, tag)) for tag, item in found.items())
    return position, orientation, spacing


def directions(cosines: np.ndarray, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a row and along a column.

    Raises:
        Unusable: They have no direction, or do not meet at a right angle.
    """
    lengths = np.linalg.norm(cosines.reshape(2, 3), axis=1)
    if lengths.min() < 1e-3:
        raise Unusable(f"a page whose ImageOrientationPatient is {_shown(cosines)}", EXPORT)
    if np.abs(lengths - 1).max() > 0.01:
        notes.append(f"treated the directions {_shown(cosines)}, not of length 1, as unit vectors")
    along_row, along_column = cosines.reshape(2, 3) / lengths[:, None]
    if abs(along_row @ along_column) > 0.02:
        angle = math.degrees(math.acos(np.clip(along_row @ along_column, -1, 1)))
        raise Unusable(f"a page whose rows and columns meet at {angle:.3g} degrees", EXPORT)
    return along_row, along_column


def spacing_of(values: np.ndarray, notes: list[str]) -> tuple[float, float]:
    """Between rows and between columns, in mm.

    Raises:
        Unusable: One is 0.
    """
    if np.abs(values).min() < SMALLEST_MM:
        raise Unusable(f"a page whose PixelSpacing is {_shown(values)}", EXPORT)
    if values.min() < 0:
        notes.append(f"treated the negative PixelSpacing {_shown(values)} as positive")
    rows, columns = np.abs(values).tolist()
    return rows, columns


def thickness_of(measures: Item) -> float | None:
    """Between slices in mm, where the header says so; a single slice needs it."""
    for tag in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            values = numbers(measures, tag)
        except Damaged:
            continue
        if values and SMALLEST_MM < abs(values[0]) < LARGEST_MM:
            return abs(values[0])
    return None


def rescale_of(item: Item, notes: list[str]) -> tuple[float | None, float | None]:
    """Slope and intercept, where the header has them.

    Raises:
        Unusable: They give no values.
    """
    tags = ("RescaleSlope", "RescaleIntercept")
    slope, intercept = ((numbers(item, tag) or (None,))[0] for tag in tags)
    for tag, value in zip(tags, (slope, intercept), strict=True):
        if value is not None and not abs(value) < STEEPEST:
            raise Unusable(f"a page whose {tag} is {value:g}", "export it again")
    if slope == 0:
        raise Unusable("a page whose RescaleSlope is 0", "export it again")
    if slope is not None and slope < 0:
        notes.append(f"applied the negative RescaleSlope {slope:g}")
    unit = text(item, "RescaleType")[:16]
    if unit.upper() not in ("", "HU"):
        notes.append(f"treated values of RescaleType {unit!r} as HU")
    return slope, intercept


def _shown(values: object) -> str:
    return "\\".join(f"{value:g}" for value in np.asarray(values, float))
