"""Checks of masks by themselves: presence, volume, sides, parts."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from lungmask_jax.quality._check import Check
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

_SMALL_SHARE: Final = 0.5
_SMALL_SHARE_OF_SLICE: Final = 1 / 3
"""Of 271 single slices of patients one is below, at the dome of the liver; of 10 volumes none."""
_VOLUMES: Final = (
    "a chest CT shows at least 500 ml even of small lungs; more than 12 l is more than the total "
    "lung capacity of any adult"
)
_NARROW_MM: Final = 100
"""The chest of a newborn is about as wide."""
_SIDES: Final = "271 single slices and 10 volumes of patients: one slice below the limit"
_CHEST: Final = "the input must be a chest CT"


def of_organ(mask: Volume, task: Task) -> Iterator[Check]:
    """Checks of an organ that every chest has, with its right and left side."""
    if task.usual_ml is None:
        return
    voxels = {word: int(np.count_nonzero(mask.array == n)) for n, word in task.sides.items()}
    count = int(np.count_nonzero(mask.array))
    if not count:
        note = f"no {task.name} found: is this a chest CT?{_narrowness(mask)}"
        yield Check(f"{task.name}_found", "fail", 0.0, note, _CHEST)
        return
    yield Check(f"{task.name}_found", "pass", float(count), source=_CHEST)
    if mask.has_size:
        yield _of_volume(count * mask.voxel_ml, task, several=len(mask) > 1)
    if voxels:
        least = _SMALL_SHARE if len(mask) > 1 else _SMALL_SHARE_OF_SLICE
        yield _of_sides(voxels, task, least)


def _narrowness(mask: Volume) -> str:
    """That a scan is too small for a chest, as with a header in cm whose unit is not stated."""
    lengths = np.multiply(mask.spacing, mask.shape)
    if not mask.has_size or max(lengths) >= _NARROW_MM:
        return ""
    spans = " x ".join(f"{length:.3g}" for length in lengths)
    return f" It spans {spans} mm: check the unit and the voxel sizes in its header"


def of_parts(mask: Volume, task: Task) -> Iterator[Check]:
    """Parts that are not there in a volume; a slice never shows all."""
    if task.fills and len(mask) > 1:
        there = np.bincount(mask.array.ravel(), minlength=max(task.labels) + 1)
        missing = [name.replace("_", " ") for n, name in task.labels.items() if not there[n]]
        note = f"no {' and no '.join(missing)} found: look at the picture" if missing else ""
        yield Check(
            f"{task.name}_complete",
            "look" if missing else "pass",
            float(len(missing)),
            note,
            "anatomy",
        )


def _of_volume(ml: float, task: Task, *, several: bool) -> Check:
    low, high = task.usual_ml or (0.0, np.inf)
    name, source = f"{task.name}_volume", _VOLUMES
    if ml > high:
        note = (
            f"{ml:.0f} ml of {task.noun}, more than any patient has: check the unit and the voxel "
            "sizes in the header, or look at the picture"
        )
        return Check(name, "fail", ml, note, source)
    if several and ml < low:
        note = (
            f"only {ml:.0f} ml of {task.noun}: is this a whole chest? Shares and severity mean "
            "little"
        )
        return Check(name, "look", ml, note, source)
    return Check(name, "pass", ml, source=source)


def _of_sides(voxels: Mapping[str, int], task: Task, least: float) -> Check:
    """A side that is missing, or far smaller than the other."""
    (small, few), *_, (large, many) = sorted(voxels.items(), key=lambda side: side[1])
    name, share, noun = f"{task.name}_sides", few / max(many, 1), task.noun
    if not few:
        note = f"no {small} {noun} found: look at the picture"
        return Check(name, "look", share, note, _SIDES)
    if few < many * least:
        note = (
            f"the {small} {noun} is {share:.0%} of the {large} one: dense {noun} may be "
            "missing from it, look at the picture"
        )
        return Check(name, "look", share, note, _SIDES)
    return Check(name, "pass", share, source=_SIDES)
