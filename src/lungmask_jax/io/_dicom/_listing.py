"""The CT series in a folder, by their headers alone."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._dicom._series import SAME_MM, positions_mm, summary
from lungmask_jax.io._dicom._slices import Slice, read_slices


@dataclass(frozen=True)
class Series:
    """A CT series in a folder.

    Attributes:
        folder: The folder.
        uid: The SeriesInstanceUID.
        patient: The PatientID.
        study: The StudyInstanceUID.
        number: The SeriesNumber, as it is written.
        description: The SeriesDescription.
        slices: Number of positions.
        spacing_mm: Distance of slices; NaN for a single one.
        is_axial: Whether the slices lie across the body.
        is_derived: Whether it was computed from another series, as reformats are.

    Example:
        >>> Series(Path("a"), "1.2", "", "", "3", "Chest", 120, 2.5, True, False).slices
        120
    """

    folder: Path
    uid: str
    patient: str
    study: str
    number: str
    description: str
    slices: int
    spacing_mm: float
    is_axial: bool
    is_derived: bool


def list_series(folder: str | os.PathLike[str]) -> tuple[list[Series], str]:
    """The CT series in a folder, without its subfolders, and the files that are none.

    Args:
        folder: With DICOM files. Their pixels are not read.

    Returns:
        ``(series, others)``: the series in the order of their numbers, and what the other files
        are, in words; empty if there are none.

    Raises:
        ScanError: The folder cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "notes.txt").write_text("no scan")
        ...     list_series(folder)
        7
        ([], 'notes.txt (a text file)')
    """
    try:
        found = [one for one in Path(folder).iterdir() if one.name[0] != "." and one.is_file()]
    except OSError as error:
        raise ScanError(f"{folder} cannot be read ({error.strerror})") from error
    groups: dict[str, list[Slice]] = {}
    slices, strays = read_slices(sorted(found))
    for one in slices:
        groups.setdefault(one.series, []).append(one)
    series = [_series(Path(folder), group) for group in groups.values()]
    return sorted(series, key=lambda one: (_integer(one.number), one.uid)), summary(strays)


def _series(folder: Path, group: list[Slice]) -> Series:
    first = group[0]
    places = np.unique(np.round(positions_mm(group) / SAME_MM)) * SAME_MM
    spacing = float(np.median(np.diff(places))) if len(places) > 1 else float("nan")
    return Series(
        folder,
        first.series,
        first.patient,
        first.study,
        first.number,
        first.name,
        len(places),
        round(spacing, 3),
        abs(first.normal[2]) > 0.7,
        first.derived,
    )


def _integer(number: str) -> int:
    return int(number) if number.isdecimal() else 10**9
