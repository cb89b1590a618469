"""The numbers a radiologist reads: volumes, shares, severity, signs of pneumonia."""

from typing import Final, NamedTuple

import numpy as np
from scipy import ndimage, special

from lungmask_jax.errors import ShapeError
from lungmask_jax.labels import CONSOLIDATION, GROUND_GLASS, LEFT, RIGHT
from lungmask_jax.volume import Volume

__all__ = ["SEVERITY_PERCENT", "Signs", "measures", "severity", "signs", "slice_shares"]

SEVERITY_PERCENT: Final = (0.5, 25.0, 50.0, 75.0)
"""Percent of the more affected lung above which CT-1, CT-2, CT-3 and CT-4 begin."""

_LEAST_PERCENT: Final = 0.1
"""Added to shares before their logarithm: a speck of 20 mm² in a slice of adult lungs."""
_SLAB_MM: Final = 10.0
"""Of neighboring slices: what is real is there in several, what a network imagines often in one."""


class Signs(NamedTuple):
    """How likely a scan shows signs of pneumonia.

    Attributes:
        scan: Probability for the scan as a whole.
        slices: Of each slice, from the feet to the head.

    Example:
        >>> Signs(0.9, np.array([0.1, 0.9])).scan
        0.9
    """

    scan: float
    slices: np.ndarray


def measures(
    lungs: Volume, infection: Volume | None = None, *, lesions: Volume | None = None
) -> dict[str, float | str]:
    """Volumes in millilitres, infected shares in percent, and the severity class.

    Args:
        lungs: 0 background, 1 right, 2 left.
        infection: 0 or 1; what lies outside the lungs does not count.
        lesions: The infection by its type, 1 ground glass, 2 consolidation.

    Returns:
        ``right_lung_ml``, ``left_lung_ml``, ``lungs_ml``, and with an infection also
        ``right_infection_ml``, ``left_infection_ml``, ``infection_ml``,
        ``right_infection_percent``, ``left_infection_percent``, ``infection_percent`` and
        ``severity``, and with its lesions ``ground_glass_ml``, ``consolidation_ml``,
        ``ground_glass_percent`` and ``consolidation_percent``, shares of the lungs. The share of a
        lung that is not there is NaN, and so are ml above 0 where voxels have no known size.

    Raises:
        ShapeError: The masks have different shapes.

    Example:
        >>> lungs = Volume(np.array([[[1, 1, 0, 2]]], np.uint8), np.diag([10.0, 10.0, 10.0, 1.0]))
        >>> infection = lungs.with_array(np.array([[[1, 0, 0, 0]]], np.uint8))
        >>> result = measures(lungs, infection)
        >>> round(result["lungs_ml"], 6), result["right_infection_percent"], result["severity"]
        (3.0, 50.0, 'CT-2')
    """
    _check_shapes(lungs, infection, lesions)
    voxel_ml = lungs.voxel_ml if lungs.has_size else 1.0
    result = _measured(_table(lungs, infection, lesions) * voxel_ml, infection, lesions)
    if lungs.has_size:
        return result
    return {
        key: float("nan") if key.endswith("_ml") and value else value
        for key, value in result.items()
    }


def severity(right_percent: float, left_percent: float) -> str:
    """The MosMedData class, from the lung that is affected more.

    CT-0 none, CT-1 up to 25 %, CT-2 25 to 50 %, CT-3 50 to 75 %, CT-4 above. Radiologists see no
    findings where a network leaves specks, so CT-0 reaches up to 0.5 %. The class describes an
    extent; whether it is COVID-19 no mask can tell.

    Args:
        right_percent: Infected share of the right lung; NaN for none.
        left_percent: Infected share of the left lung; NaN for none.

    Returns:
        ``"CT-0"`` to ``"CT-4"``; ``"unknown"`` without any lung.

    References:
        Morozov et al., MosMedData: Chest CT Scans With COVID-19 Related Findings Dataset, 2020,
        arXiv:2005.06465.

    Example:
        >>> severity(0.0, 30.0), severity(0.1, 0.0)
        ('CT-2', 'CT-0')
    """
    present = [share for share in (right_percent, left_percent) if not np.isnan(share)]
    if not present:
        return "unknown"
    worst = max(present)
    return f"CT-{sum(worst > limit for limit in SEVERITY_PERCENT)}"


def signs(lungs: Volume, infection: Volume, calibration: tuple[float, float]) -> Signs:
    """The probability of signs of pneumonia, by how much of a slice is infected.

    A slice counts by its infected share ``s``, as `slice_shares` gives it: its log-odds are
    ``slope * log(s + 0.1) + offset``. The scan has the log-odds of the 10 mm of it that are
    infected most, so that one clear slice is enough and a speck in a single thin one is not. Which
    pneumonia it is no mask can tell.

    Args:
        lungs: 0 background, 1 right, 2 left.
        infection: 0 or 1; what lies outside the lungs does not count.
        calibration: ``(slope, offset)``, as a bundle of infection has it: fitted to slices that its
            networks had not learned from, half of them with signs.

    Returns:
        Probabilities in [0, 1]. Without lungs that of the scan is NaN, and so are those of all
        slices.

    Raises:
        ShapeError: The masks have different shapes.

    Example:
        >>> lungs = Volume(np.ones((2, 10, 10), np.uint8))
        >>> infection = lungs.with_array(np.zeros((2, 10, 10), np.uint8))
        >>> infection.array[1, :3] = 1
        >>> signs(lungs, infection, (2.0, 1.0)).slices.round(3).tolist()
        [0.026, 1.0]
    """
    shares = slice_shares(lungs, infection)
    count = max(1, min(len(shares), round(_SLAB_MM / lungs.spacing[0]))) if lungs.has_size else 1
    slabs = ndimage.uniform_filter1d(shares, count, mode="constant")
    likely = [
        special.expit(calibration[0] * np.log(some + _LEAST_PERCENT) + calibration[1])
        for some in (slabs, shares)
    ]
    return Signs(float(likely[0].max(initial=0.0)), likely[1])


def slice_shares(lungs: Volume, infection: Volume) -> np.ndarray:
    """The infected area of each slice, in percent of the lungs where they are largest.

    Args:
        lungs: 0 background, above it lung.
        infection: 0 or 1; what lies outside the lungs does not count.

    Returns:
        Of each slice, from the feet to the head; NaN without lungs.

    Raises:
        ShapeError: The masks have different shapes.

    Example:
        >>> lungs = Volume(np.ones((1, 4, 5), np.uint8))
        >>> slice_shares(lungs, lungs.with_array(np.eye(4, 5, dtype=np.uint8)[None])).tolist()
        [20.0]
    """
    _check_shapes(lungs, infection)
    inside = [(lung != 0, sick != 0) for lung, sick in zip(lungs, infection, strict=True)]
    areas = np.array([(lung.sum(), (lung & sick).sum()) for lung, sick in inside], float)
    largest = areas[:, 0].max(initial=0.0)
    shares: np.ndarray = 100 * areas[:, 1] / largest if largest else np.full(len(areas), np.nan)
    return shares


def _check_shapes(lungs: Volume, *others: Volume | None) -> None:
    for other in others:
        if other is not None and other.shape != lungs.shape:
            raise ShapeError(
                f"expected masks of one scan, found shapes {lungs.shape} and {other.shape}"
            )


def _measured(
    ml: np.ndarray, infection: Volume | None, lesions: Volume | None
) -> dict[str, float | str]:
    """The measures of a table by lung, infection and type."""
    sides = {"right_": ml[RIGHT], "left_": ml[LEFT]}
    result: dict[str, float | str] = {f"{side}lung_ml": _sum(part) for side, part in sides.items()}
    whole = sides["right_"] + sides["left_"]
    result["lungs_ml"] = _sum(whole)
    if infection is None:
        return result
    sides[""] = whole
    sick = {side: _sum(part[1]) for side, part in sides.items()}
    percent = {side: _percent(sick[side], _sum(part)) for side, part in sides.items()}
    result |= {f"{side}infection_ml": value for side, value in sick.items()}
    result |= {f"{side}infection_percent": value for side, value in percent.items()}
    result["severity"] = severity(percent["right_"], percent["left_"])
    if lesions is not None:
        result |= _by_type(whole.sum(axis=0))
    return result


def _by_type(ml: np.ndarray) -> dict[str, float | str]:
    types = {"ground_glass": GROUND_GLASS, "consolidation": CONSOLIDATION}
    parts = {name: float(ml[label]) for name, label in types.items()}
    shares = {f"{name}_percent": _percent(part, _sum(ml)) for name, part in parts.items()}
    return {**{f"{name}_ml": part for name, part in parts.items()}, **shares}


def _table(lungs: Volume, infection: Volume | None, lesions: Volume | None) -> np.ndarray:
    """Voxels by lung label, by being infected, and by type of lesion, ``(3, 2, 10)``."""
    shape = 3, 2, 10
    voxels = np.zeros(np.prod(shape), np.int64)
    for number, lung in enumerate(lungs):
        place = 20 * np.where(np.isin(lung, (RIGHT, LEFT)), lung, 0).astype(np.uint8)
        if infection is not None:
            place += 10 * (infection.array[number] != 0).astype(np.uint8)
        if lesions is not None:
            place += np.minimum(lesions.array[number], 9).astype(np.uint8)
        voxels += np.bincount(place.ravel(), minlength=len(voxels))
    return voxels.reshape(shape)


def _sum(ml: np.ndarray) -> float:
    return float(ml.sum())


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else float("nan")
