"""One series out of many slices."""

from pathlib import Path
from typing import Final

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._dicom._pixels import stored_pixels
from lungmask_jax.io._dicom._slices import Slice, Stray

SAME_MM: Final = 0.01
"""Slices closer than that are at one place."""

_COSINE: Final = 0.005  # a third of a degree; headers are rounded
_SPACING: Final = 0.002  # of its length: one pixel in 500
_NAMES: Final = 3
_COPY: Final = ("a copy of another file", "keep one of them")


def one_series(slices: list[Slice], where: Path) -> tuple[list[Slice], list[Stray], str]:
    """The slices of one series, from the lowest to the highest, each once.

    Of several series the one with the most positions is taken, axial ones first: a coronal
    reformat has more slices than the scan it was made from.

    Returns:
        ``(slices, copies, other)``; `other` names the series that were left out, or is empty.

    Raises:
        ScanError: The slices are of several patients, or two series are alike.
    """
    _refuse_several_patients(slices, where)
    groups = [_without_copies(group) for group in _groups(slices)]
    largest, *others = sorted(groups, key=lambda group: _rank(group[0]), reverse=True)
    names = _listed([_name(group) for group, _ in others])
    if others and _rank(others[0][0]) == _rank(largest[0]):
        raise ScanError(
            f"expected one CT series, found {_name(largest[0])} and {names} in {where}: "
            "move one of them to its own folder"
        )
    copies = [stray for _, found in groups for stray in found]
    other = f"used the CT series {_name(largest[0])}, skipped {names}" if others else ""
    return largest[0], copies, other


def positions_mm(slices: list[Slice]) -> np.ndarray:
    """How far slices lie along the normal of one of them, in mm."""
    middle = slices[len(slices) // 2]
    return np.asarray(np.array([one.position for one in slices]) @ middle.normal)


def summary(strays: list[Stray]) -> str:
    """Skipped files by type, for messages."""
    kinds: dict[str, list[str]] = {}
    for stray in strays:
        kinds.setdefault(stray.what, []).append(stray.file.name)
    return "; ".join(f"{_listed(names)} ({what})" for what, names in kinds.items())


def _refuse_several_patients(slices: list[Slice], where: Path) -> None:
    patients = {one.patient: one.file.name for one in slices if one.patient}
    if len(patients) > 1:
        raise ScanError(
            f"expected slices of one patient, found those of {len(patients)} in {where} "
            f"({_listed(list(patients.values()))}): give each a folder, or name the files"
        )


def _groups(slices: list[Slice]) -> list[list[Slice]]:
    """Slices of one SeriesInstanceUID with one size, orientation and spacing."""
    groups: list[list[Slice]] = []
    for one in slices:
        alike = (group for group in groups if _alike(group[0], one))
        group = next(alike, None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def _alike(one: Slice, other: Slice) -> bool:
    if (one.series, one.size) != (other.series, other.size):
        return False
    turned = max(
        np.abs(one.along_row - other.along_row).max(),
        np.abs(one.along_column - other.along_column).max(),
    )
    return bool(turned < _COSINE and np.allclose(one.spacing, other.spacing, rtol=_SPACING, atol=0))


def _without_copies(group: list[Slice]) -> tuple[list[Slice], list[Stray]]:
    """Sorted by height, without files that show the same at the same place."""
    order = np.argsort(positions_mm(group), kind="stable")
    kept: list[Slice] = []
    copies: list[Stray] = []
    for one in (group[index] for index in order):
        if kept and _is_copy(kept[-1], one):
            copies.append(Stray(one.file, *_COPY))
        else:
            kept.append(one)
    return kept, copies


def _is_copy(one: Slice, other: Slice) -> bool:
    near = np.abs(one.position - other.position).max() < SAME_MM
    return bool(near and one.file != other.file and stored_pixels(one) == stored_pixels(other))


def _rank(group: list[Slice]) -> tuple[bool, int]:
    places = 1 + int((np.diff(positions_mm(group)) >= SAME_MM).sum())
    return abs(group[0].normal[2]) > 0.7, places


def _name(group: list[Slice]) -> str:
    name = group[0].name or group[0].file.name
    return f"{name!r} ({len(group)} slices of {group[0].size})"


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - _NAMES} more"] if len(names) > _NAMES else []
    return ", ".join([*names[:_NAMES], *more])
