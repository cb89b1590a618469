"""The numbers of each part of an organ, such as a lobe: density, what lies in it, and a score."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from lungmask_jax import tasks
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

_SCORE_PERCENT: Final = (0.5, 5.0, 25.0, 50.0, 75.0)
"""Percent of a lobe above which it scores 1, 2, 3, 4 and 5."""

_DARK_HU: Final = -950
"""Below is emphysema: Gevenois et al., AJRCCM 1995, 10.1164/ajrccm.152.2.7633722."""


def lobe_score(percent: float) -> float:
    """How far a lobe is involved, from 0 to 5; five lobes together score up to 25.

    1 is up to 5 %, 2 up to 25 %, 3 up to 50 %, 4 up to 75 %, and 5 is more. As for
    `lungmask_jax.quantify.severity`, up to 0.5 % are the specks of a network, and none.

    Args:
        percent: Involved share; NaN where the lobe is not there.

    Returns:
        The score; NaN where the lobe is not there.

    References:
        Pan et al., Time Course of Lung Changes at Chest CT during Recovery from COVID-19,
        Radiology 2020, 10.1148/radiol.2020200370, whose radiologists looked.

    Example:
        >>> [lobe_score(percent) for percent in (0.0, 3.0, 20.0, 80.0)]
        [0.0, 1.0, 2.0, 5.0]
    """
    return (
        float("nan") if np.isnan(percent) else float(sum(percent > one for one in _SCORE_PERCENT))
    )


def of_parts(masks: Mapping[str, Volume], ct: Volume | None) -> Iterator[tuple[str, float]]:
    """Of each part of a task that fills another: its HU, what lies inside it, and its score."""
    for name, mask in masks.items():
        task = tasks.registry[name]
        if not task.fills:
            continue
        voxels = _sums(mask, (part != 0 for part in mask), task)
        if ct is not None:
            yield from _densities(mask, ct, task, voxels)
        for inner in map(tasks.registry.__getitem__, masks):
            if inner.inside == task.fills and not inner.divides:
                involved = _sums(mask, (found != 0 for found in masks[inner.name]), task)
                voxel_ml = mask.voxel_ml if mask.has_size else 1.0
                yield from _involved(involved * voxel_ml, voxels * voxel_ml, task, inner)


def _sums(mask: Volume, values: Iterable[np.ndarray], task: Task) -> np.ndarray:
    """The sum of some values in each part, slice by slice."""
    count = max(task.labels) + 1
    total = np.zeros(count)
    for part, value in zip(mask, values, strict=True):
        if part.any():
            total += np.bincount(part.ravel(), value.ravel(), minlength=count)[:count]
    return total


def _densities(
    mask: Volume, ct: Volume, task: Task, voxels: np.ndarray
) -> Iterator[tuple[str, float]]:
    """The mean HU of each part, and how much of it is as dark as emphysema."""
    total = _sums(mask, ct, task)
    dark = _sums(mask, (hu < _DARK_HU for hu in ct), task)
    for label, name in task.labels.items():
        yield f"{name}_mean_hu", _quotient(total[label], voxels[label])
        yield f"{name}_below_minus_950_hu_percent", 100 * _quotient(dark[label], voxels[label])


def _involved(
    ml: np.ndarray, whole_ml: np.ndarray, task: Task, inner: Task
) -> Iterator[tuple[str, float]]:
    """What lies inside each part; and of a task that has a severity, the score of all."""
    shares = [100 * _quotient(ml[label], whole_ml[label]) for label in task.labels]
    for (label, name), share in zip(task.labels.items(), shares, strict=True):
        yield f"{name}_{inner.name}_ml", float(ml[label])
        yield f"{name}_{inner.name}_percent", share
        if inner.severity:
            yield f"{name}_score", lobe_score(share)
    if inner.severity:
        yield "ct_severity_score", sum(map(lobe_score, shares))


def _quotient(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
