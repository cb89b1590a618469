"""The density of each lung: a histogram of HU, and the shares of four bands of aeration."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from lungmask_jax.report._parts import organ
from lungmask_jax.volume import Volume

BANDS: Final = (
    ("Hyperinflated", -1000, -900),
    ("Normally aerated", -900, -500),
    ("Poorly aerated", -500, -100),
    ("Not aerated", -100, 100),
)
"""HU: Gattinoni et al., AJRCCM 2001, 10.1164/ajrccm.164.9.2103121. The first counts all that is
darker, too, and the last all that is brighter, which includes large vessels."""

LOW: Final = -1050
HIGH: Final = 150
STEP: Final = 10


class Density(NamedTuple):
    """The density of a part: percent of its voxels in each bin and in each band."""

    name: str
    bins: np.ndarray
    shares: tuple[float, ...]
    mean: float


def densities(ct: Volume, masks: Mapping[str, Volume]) -> list[Density]:
    """The density of each side of the outermost organ that has sides; those with voxels."""
    found = organ(masks)
    if found is None:
        return []
    counts = _counts(ct, masks[found.name], max(found.labels) + 1)
    return [
        _density(name.replace("_", " "), counts[label])
        for label, name in (found.sides or found.labels).items()
        if counts[label].sum()
    ]


def _counts(ct: Volume, mask: Volume, labels: int) -> np.ndarray:
    """Voxels ``(labels, HU)`` from -1100 to 200 HU; those outside are in the first and the last."""
    width = 1301
    counts = np.zeros(labels * width, np.int64)
    for hu, label in zip(ct, mask, strict=True):
        inside = (label > 0) & (label < labels)
        if inside.any():
            known = np.clip(np.nan_to_num(hu[inside], nan=-1100), -1100, width - 1101)
            place = np.rint(known).astype(np.int64) + 1100
            counts += np.bincount(label[inside] * np.int64(width) + place, minlength=len(counts))
    return counts.reshape(labels, width)


def _density(name: str, counts: np.ndarray) -> Density:
    hu = np.arange(-1100, 201)
    percent = 100 * counts / counts.sum()
    bins = np.histogram(hu.clip(LOW, HIGH - 1), np.arange(LOW, HIGH + 1, STEP), weights=percent)[0]
    limits = [low for _, low, _ in BANDS[1:]]
    shares = np.bincount(np.digitize(hu, limits), percent, minlength=len(BANDS))
    return Density(name, bins, tuple(shares.tolist()), float((hu * percent).sum() / 100))


def as_chart(parts: list[Density]) -> dict[str, Any]:
    """Lines and bands for the template: 0 to 1000 across, 0 to 300 from the top down."""
    most = max((float(part.bins.max()) for part in parts), default=1.0)
    x = 1000 * (np.arange(LOW, HIGH, STEP) + STEP / 2 - LOW) / (HIGH - LOW)
    lines = [
        {"name": part.name, "points": points(x, 300 - 285 * part.bins / most)} for part in parts
    ]
    bands = [
        {"name": name, "x": _across(low), "width": _across(high) - _across(low)}
        for name, low, high in BANDS
    ]
    ticks = [{"hu": hu, "x": _across(hu)} for hu in range(-1000, 101, 100)]
    return {"lines": lines, "bands": bands, "ticks": ticks, "most": most}


def points(x: np.ndarray, y: np.ndarray) -> str:
    """Points of a line in SVG."""
    return " ".join(f"{one:.1f},{two:.2f}" for one, two in zip(x, y, strict=True))


def _across(hu: float) -> float:
    return round(1000 * (hu - LOW) / (HIGH - LOW), 1)
