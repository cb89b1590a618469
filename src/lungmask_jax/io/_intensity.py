"""Stored values, checked and converted to HU.

A scan that may be a CT passes: a crop inside the lungs has no soft tissue, one of the abdomen no
air. Refused scans have values that no CT in HU has.
"""

from typing import Final

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._warn import warn

LOWEST: Final = -1024
HIGHEST: Final = 3071
OFFSET: Final = 1024
AIR: Final = -700
CODED: Final = (-OFFSET, 65535 - OFFSET)
"""The HU of black and white in images of 16 bits whose grey levels are HU + 1024."""

SAMPLE_SIZE: Final = 1_000_000
BELOW_AIR: Final = -1300
PADDINGS: Final = 3
BELOW: Final = 0.05
"""More than this share below air is not padding, apart from its three most common values."""

LABELS: Final = 8
"""At most so many different values are labels, not grey levels."""

ADVICE: Final = (
    "give the original HU, or the HU of black and white: --window -1250 250 for the "
    "windowed half of COVID-19-CT-Seg, window=(-1250, 250) in Python"
)


def hounsfield(
    array: np.ndarray, source: object, *, window: tuple[float, float] | None = None
) -> np.ndarray:
    """HU from the values of a volume, within [-1024, 3071]; int16 if all are whole, else float32.

    Values that are not finite become padding and an offset of 1024 is subtracted, both with a
    warning; padding below -1024 and metal above 3071 are clipped without one. The window is used
    if the volume turns out to hold grey levels up to 255 (or 1).

    Raises:
        ScanError: The values are not those of a CT.

    Example:
        >>> hounsfield(np.array([-3024, -1000, 40, 9000]), "scan.nii")
        array([-1024, -1000,    40,  3071], dtype=int16)
    """
    values = _numbers(array, source)
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise ScanError(f"expected a CT, found {low:g} in every voxel of {source}: export it again")
    sample = _sample(values)
    _refuse_below_air(sample, source)
    real = sample[sample > LOWEST]  # padding says nothing of what the rest is
    real = real if real.size else sample
    if real.min() >= 0 and high <= 255 and values.min(where=values > LOWEST, initial=0) >= 0:
        return _from_gray_volume(np.maximum(values, 0), real, window, source)
    if np.percentile(real, 0.1) > AIR:
        return _compact(_without_offset(values, real, source))
    _refuse_labels(sample, values.size, source)
    return _compact(values)


def from_gray(
    levels: np.ndarray, white: float, window: tuple[float, float], source: object
) -> np.ndarray:
    """HU from grey levels, 0 to `white`, of the same type as from `hounsfield`.

    Raises:
        ScanError: All levels are equal, or only 12 of 16 bits are used.

    Example:
        >>> from_gray(np.array([0, 51, 255], np.uint8), 255, (-1000, 275), "slice.png")
        array([-1000,  -745,   275], dtype=int16)
    """
    low, high = window
    if levels.min() == levels.max():
        raise ScanError(
            f"expected a CT, found grey level {levels.min()} in every pixel of {source}: "
            "export it again"
        )
    if white > 4095 >= levels.max() and high - low <= 4095:
        raise ScanError(
            f"expected 16-bit grey levels up to {white:g}, found none above {levels.max()} in "
            f"{source}: if they are HU + 1024, give --window {CODED[0]} {CODED[1]}"
        )
    return _compact(levels.astype(np.float32) * np.float32((high - low) / white) + np.float32(low))


def _numbers(array: np.ndarray, source: object) -> np.ndarray:
    if array.dtype.kind not in "iufb" or not array.size:
        raise ScanError(
            f"expected the HU of a CT, found an array of {array.dtype} and shape {array.shape} in "
            f"{source}: give real numbers"
        )
    if array.dtype.kind != "f" or np.isfinite([array.min(), array.max()]).all():
        return array
    bad = ~np.isfinite(array)
    share = float(bad.mean())
    if share >= 0.5:
        raise ScanError(
            f"expected numbers, found NaN or infinity in {share:.0%} of {source}: export it again"
        )
    warn(f"treated NaN or infinity in {share:.2%} of {source} as padding ({LOWEST} HU)")
    return np.where(bad, array.dtype.type(LOWEST), array)


def _sample(values: np.ndarray) -> np.ndarray:
    """Every n-th value, n odd so that it does not run along one column."""
    with np.errstate(over="ignore"):
        return values.reshape(-1)[:: (values.size // SAMPLE_SIZE) | 1].astype(np.float32)


def _from_gray_volume(
    values: np.ndarray, sample: np.ndarray, window: tuple[float, float] | None, source: object
) -> np.ndarray:
    high = float(values.max())
    _refuse_labels(sample, values.size, source)
    white = 1 if high <= 1 else 255
    if window is None:
        raise ScanError(
            f"expected HU, found values from {values.min():g} to {high:g} in {source}, which are "
            f"grey levels of a window: {ADVICE}"
        )
    return from_gray(values, white, window, source)


def _without_offset(values: np.ndarray, sample: np.ndarray, source: object) -> np.ndarray:
    """Values without air in HU: an offset of 1024 is subtracted, soft tissue alone passes."""
    if _is_offset(sample):
        warn(f"subtracted {OFFSET} from {source}: its air is near 0, as in CT stored unsigned")
        return values - OFFSET if values.dtype.kind == "f" else values.astype(np.int32) - OFFSET
    if not _is_soft_tissue(sample):
        raise ScanError(
            f"expected HU with air near -1000 and soft tissue near 0, found values from "
            f"{values.min():g} to {values.max():g}, half of them below {np.median(sample):g}, in "
            f"{source}, which is not a CT in HU (normalized, windowed or another modality): "
            "give the original HU; a window is for grey levels from 0 to 255 or 0 to 1 alone"
        )
    return values


def _is_offset(sample: np.ndarray) -> bool:
    """Air near 0, and most of the rest within 150 of water at 1024, as only CT has it."""
    if np.percentile(sample, 0.1) < -200:
        return False
    air = (sample < OFFSET + AIR).mean()
    body = sample > OFFSET - 400
    water = np.abs(sample - OFFSET) < 150
    between = (sample >= OFFSET + AIR) & (sample < OFFSET - 200)
    return bool(air > 0.01 and water.sum() > 0.6 * body.sum() and water.sum() > between.sum())


def _is_soft_tissue(sample: np.ndarray) -> bool:
    """Much within 200 of water, some below as fat is, no cut at the lower end, and little bone."""
    lowest = sample.min()
    near_water, at_lowest = (np.abs(sample) < 200).mean(), (sample == lowest).mean()
    bone = (sample > 600).mean()
    return bool(lowest < -30 and near_water > 0.25 and at_lowest < 0.05 and bone < 0.25)


def _refuse_labels(sample: np.ndarray, size: int, source: object) -> None:
    different = np.unique(sample)
    if len(different) <= LABELS < size:
        raise ScanError(
            f"expected a CT, found only values {', '.join(f'{v:g}' for v in different)} "
            f"in {source}, which looks like a mask: give the scan that belongs to it"
        )


def _refuse_below_air(sample: np.ndarray, source: object) -> None:
    """Refuses values below air, except padding, which has few different values."""
    below = np.rint(sample[sample < BELOW_AIR])
    _, counts = np.unique(below, return_counts=True)
    share = (below.size - np.sort(counts)[-PADDINGS:].sum()) / sample.size
    if share > BELOW:
        raise ScanError(
            f"expected HU, found {share:.0%} of {source} below {BELOW_AIR}, with many values, "
            f"where there is no tissue: if an offset was subtracted twice, add {OFFSET}; if not, "
            "check slope and intercept in its header"
        )


def _compact(values: np.ndarray) -> np.ndarray:
    if values.min() < LOWEST or values.max() > HIGHEST:
        values = np.clip(values, LOWEST, HIGHEST)
    return values.astype(np.int16 if _is_whole(values) else np.float32, copy=False)


def _is_whole(values: np.ndarray) -> bool:
    """Whether all values are integers; a few are enough to exclude most other scans."""
    if values.dtype.kind != "f":
        return True
    sample = _sample(values)
    if (sample != np.rint(sample)).any():
        return False
    return all(bool((part == np.rint(part)).all()) for part in values)  # without a second array
