"""A labeled scan, as files and as volumes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lungmask_jax import io, labels, tasks
from lungmask_jax.errors import ScanError
from lungmask_jax.volume import Volume

_DIGITS = 16


@dataclass(frozen=True)
class Case:
    """One labeled scan.

    Attributes:
        name: Name for its results.
        image: The CT: a file, or a folder of slices.
        masks: Its masks by the name of their task, such as ``"lungs"``.
        patient: Cases of one patient stay together in a split; the name if empty.

    Example:
        >>> list(Case("a", Path("a.nii.gz"), {"infection": Path("a_mask.nii.gz")}).masks)
        ['infection']
    """

    name: str
    image: Path
    masks: Mapping[str, Path] = field(default_factory=dict, hash=False)
    patient: str = ""


def load_case(
    case: Case, *, window: tuple[float, float] | None = None, by_type: bool = False
) -> tuple[Volume, dict[str, Volume]]:
    """A scan and its masks, checked to have the same grid.

    Args:
        case: The case.
        window: As in `lungmask_jax.io.load`; scans in HU do not change, so one window serves a
            mixed data set.
        by_type: Whether masks have labels for types: for infection, ground glass (1) and
            consolidation (2).

    Returns:
        ``(ct, masks)``: the scan in HU; ``masks["lungs"]`` with 1 for the patient's right lung and
        2 for the left, recognized by position whatever the file's convention (one label for both
        stays 1); ``masks["infection"]`` with 0 and 1, or 2 `by_type`; and the other masks.

    Raises:
        ScanError: A file cannot be used, scan and mask differ in shape or position, or a mask has
            other labels.

    Example:
        >>> load_case(Case("a", Path("nowhere.nii.gz")))
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected a scan, found nothing at nowhere.nii.gz: check ...
    """
    ct = io.load(case.image, window=window)
    masks = {}
    for name, path in case.masks.items():
        task, mask = tasks.registry[name], io.load_mask(path)
        _check_same_place(ct, case.image, mask, path)
        labels.refuse_above(mask.array, task.highest if by_type else max(task.labels), path)
        masks[name] = _by_side(mask) if task.sides else mask
    return ct, masks


def fingerprint(ct: Volume) -> str:
    """An identifier of a scan, independent of file name and compression.

    The scan cannot be reconstructed from it. It does not depend on the position, so a scan with a
    corrected header is the same scan; with another window it is a different one.

    Args:
        ct: A scan in HU.

    Returns:
        The first 16 digits of the SHA-256 of its shape and its HU, rounded to integers.

    Example:
        >>> fingerprint(Volume(np.zeros((2, 4, 4), np.int16)))
        '3f0d5e464dfe3b46'
    """
    limits = np.iinfo(np.int16)
    hu = np.rint(np.clip(ct.array, limits.min, limits.max)).astype("<i2")
    digest = hashlib.sha256(repr(hu.shape).encode())
    digest.update(hu.tobytes())
    return digest.hexdigest()[:_DIGITS]


def _check_same_place(ct: Volume, image: Path, mask: Volume, path: Path) -> None:
    if mask.shape != ct.shape:
        raise ScanError(
            f"expected a mask with the scan's shape, found {mask.shape} in {path} and {ct.shape} "
            f"in {image}: check that they belong together"
        )
    distance_mm = ct.apart_mm(mask)
    if distance_mm > min(ct.spacing) / 2:
        raise ScanError(
            f"expected scan and mask at the same position, found them {distance_mm:.3g} mm apart: "
            f"{image} and {path}; resample the mask to the scan, or copy its header if only that "
            "is wrong"
        )


def _by_side(mask: Volume) -> Volume:
    """Lungs with 1 for the patient's right and 2 for the left, from any convention."""
    columns = np.arange(mask.shape[2])
    first, second = (_mean(columns, (mask.array == label).sum(axis=(0, 1))) for label in (1, 2))
    if first > second:
        return mask.with_array(labels.swap_sides(mask.array))
    return mask


def _mean(columns: np.ndarray, counts: np.ndarray) -> float:
    """The mean position of a label between the patient's right and left; NaN if it is absent."""
    return float((columns * counts).sum() / counts.sum()) if counts.any() else float("nan")
