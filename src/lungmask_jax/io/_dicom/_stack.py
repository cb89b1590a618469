"""Slices put one upon the other: are they regular, and where do they lie."""

import math
from typing import Final

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._dicom._series import SAME_MM, positions_mm
from lungmask_jax.io._dicom._slices import Slice

_STEEPEST: Final = 45.0


def affine_of(slices: list[Slice], advice: str) -> tuple[np.ndarray, list[str]]:
    """The affine of a stack of slices, from the lowest to the highest.

    Returns:
        ``(affine, notes)``: ``(4, 4)``, from ``(column, row, slice)`` to RAS mm, and the small
        irregularities that were ignored.

    Raises:
        ScanError: Slices are missing, or several are at one position; with the advice.
    """
    notes: list[str] = []
    middle = slices[len(slices) // 2]
    rows, columns = middle.spacing
    affine = np.eye(4)
    affine[:3, 0] = middle.along_row * columns
    affine[:3, 1] = middle.along_column * rows
    affine[:3, 2] = _step(slices, advice, notes)
    affine[:3, 3] = slices[0].position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, notes  # DICOM counts in LPS


def _step(slices: list[Slice], advice: str, notes: list[str]) -> np.ndarray:
    """From one slice to the next; it is not along the normal where the gantry was tilted."""
    first, last = slices[0], slices[-1]
    if len(slices) == 1:
        if first.thickness is None:
            notes.append(
                f"used 1 mm as the thickness of {first.file}: it has none, so ml are not real"
            )
        return first.normal * (first.thickness or 1.0)
    gaps = np.diff(positions_mm(slices))
    _refuse_duplicate_positions(slices, gaps)
    _check_slice_spacing(slices, gaps, advice, notes)
    step = (last.position - first.position) / (len(slices) - 1)
    _refuse_steep(slices, step)
    _check_in_plane_shift(slices, step, notes)
    return np.asarray(step)


def _refuse_duplicate_positions(slices: list[Slice], gaps: np.ndarray) -> None:
    if gaps.min() >= SAME_MM:
        return
    pair = int(gaps.argmin())
    places = 1 + int((gaps >= SAME_MM).sum())
    raise ScanError(
        f"expected one slice per position, found {len(slices)} slices at {places} positions, such "
        f"as {_pair(slices, pair)} at the same one{_difference(slices, pair)}: "
        "keep one phase of the scan"
    )


def _difference(slices: list[Slice], pair: int) -> str:
    """The tag that tells the phases apart."""
    for tag, value in slices[pair].phase.items():
        values = {one.phase[tag] for one in slices}
        if value != slices[pair + 1].phase[tag] and len(values) <= len(slices) // 2:
            return f", which differ in {tag} ({', '.join(sorted(values)[:5])})"
    return ""


def _check_slice_spacing(
    slices: list[Slice], gaps: np.ndarray, advice: str, notes: list[str]
) -> None:
    usual = float(np.median(gaps))
    widest = int(gaps.argmax())
    if gaps[widest] > 1.5 * usual:
        raise ScanError(
            f"expected slices {usual:.4g} mm apart, found {gaps[widest]:.4g} mm between "
            f"{_pair(slices, widest)}: add the missing slices{advice}"
        )
    if np.ptp(gaps) > 0.05 * usual:
        notes.append(
            f"treated slices {gaps.min():.4g} to {gaps.max():.4g} mm apart as evenly spaced, the "
            f"widest gap is between {_pair(slices, widest)}"
        )


def _refuse_steep(slices: list[Slice], step: np.ndarray) -> None:
    """A tilted gantry shears the stack, but not as much as this."""
    middle = slices[len(slices) // 2]
    cosine = float(step @ middle.normal / np.linalg.norm(step))
    tilt = math.degrees(math.acos(min(cosine, 1.0)))
    if tilt > _STEEPEST:
        raise ScanError(
            f"expected slices across their orientation, found {_pair(slices, 0)} {tilt:.0f} "
            "degrees off it: export the series again, with its geometry"
        )


def _check_in_plane_shift(slices: list[Slice], step: np.ndarray, notes: list[str]) -> None:
    """Off the line from the first to the last slice within their planes; gaps are told apart."""
    middle = slices[len(slices) // 2]
    line = slices[0].position + np.arange(len(slices))[:, None] * step
    off = np.array([one.position for one in slices]) - line
    aside = np.linalg.norm(off - np.outer(off @ middle.normal, middle.normal), axis=1)
    if aside.max() > max(middle.spacing):
        notes.append(
            f"treated slices as aligned that are shifted by up to {aside.max():.3g} mm, "
            f"{slices[int(aside.argmax())].file} most"
        )


def _pair(slices: list[Slice], index: int) -> str:
    return f"{_shown(slices[index])} and {_shown(slices[index + 1], short=True)}"


def _shown(one: Slice, *, short: bool = False) -> str:
    name = one.file.name if short else str(one.file)
    return f"{name} (frame {one.frame + 1})" if one.pixels.frames > 1 else name
