"""Reasons to doubt the masks and measures of a scan, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from lungmask_jax import preprocess, tasks
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

_SMALL_SHARE: Final = 0.5
_SMALL_SHARE_OF_SLICE: Final = 1 / 3
"""Of 271 single slices of patients one is below, at the dome of the liver; of 10 volumes none."""
_MATRIX: Final = 128
_NOISE_LIMIT_HU: Final = 50
"""Tolerable noise, at 128 pixels a side. Noise of 50 to 100 HU was added to seven healthy scans,
four real ones with pixels of 1.3 to 3.3 mm and three phantoms. Up to 96 HU, none gained more than
0.13 % infection, and at 117 HU one had 0.6 %, enough for another class. But true infection is found
less completely: 1.9 % instead of 2.2 % in a patient with 75 HU. The previous networks tolerated
50 HU, and the limit of the note was not changed."""


def notes(ct: Volume, masks: Mapping[str, Volume], noise_hu: float) -> tuple[str, ...]:
    """Reasons to doubt the measures of a scan, of one slice or many; empty if there are none.

    Args:
        ct: The scan.
        masks: Masks by the name of their task.
        noise_hu: Noise of the scan.

    Returns:
        Sentences without a full stop: no lungs, one lung missing or less than half of the other (a
        third in a single slice), little lung in several slices, an impossible volume, a lobe
        missing in a volume, no voxel size, much noise.

    Example:
        >>> lungs = Volume(np.array([[[1, 1, 0, 0]]], np.uint8), np.diag([5.0, 1.0, 1.0, 1.0]))
        >>> notes(lungs, {"lungs": lungs}, 20.0)
        ('no left lung found: look at the picture',)
    """
    of_masks = [
        note
        for name, mask in masks.items()
        for notes_of in (_of_organ, _of_parts)
        for note in notes_of(mask, tasks.registry[name])
    ]
    return (*of_masks, *_of_size(ct), *_of_noise(ct, noise_hu))


def _of_organ(mask: Volume, task: Task) -> Iterator[str]:
    """Notes about an organ that every chest has, with its right and left side."""
    if task.usual_ml is None:
        return
    voxels = {word: int(np.count_nonzero(mask.array == n)) for n, word in task.sides.items()}
    count = int(np.count_nonzero(mask.array))
    ml = count * mask.voxel_ml
    if not count:
        yield f"no {task.name} found: is this a chest CT?"
        return
    if len(mask) > 1 and mask.has_size and ml < task.usual_ml[0]:
        yield (
            f"only {ml:.0f} ml of {task.noun}: is this a whole chest? Shares and severity mean "
            "little"
        )
    if mask.has_size and ml > task.usual_ml[1]:
        yield (
            f"{ml:.0f} ml of {task.noun}, more than any patient has: check the unit and the voxel "
            "sizes in the header, or look at the picture"
        )
    if voxels:
        least = _SMALL_SHARE if len(mask) > 1 else _SMALL_SHARE_OF_SLICE
        yield from _of_sides(voxels, task.noun, least)


def _of_sides(voxels: Mapping[str, int], noun: str, least: float) -> Iterator[str]:
    """Notes about a side that is missing, or far smaller than the other."""
    (small, few), *_, (large, many) = sorted(voxels.items(), key=lambda side: side[1])
    if not few:
        yield f"no {small} {noun} found: look at the picture"
    elif few < many * least:
        yield (
            f"the {small} {noun} is {few / many:.0%} of the {large} one: dense {noun} may be "
            "missing from it, look at the picture"
        )


def _of_parts(mask: Volume, task: Task) -> Iterator[str]:
    """Parts that are not there in a volume; a slice never shows all."""
    if task.fills and len(mask) > 1:
        there = np.bincount(mask.array.ravel(), minlength=max(task.labels) + 1)
        missing = [name.replace("_", " ") for n, name in task.labels.items() if not there[n]]
        if missing:
            yield f"no {' and no '.join(missing)} found: look at the picture"


def _of_size(ct: Volume) -> Iterator[str]:
    if not ct.has_size:
        yield "the size of the voxels is not known: there are percentages, but no ml"


def _of_noise(ct: Volume, noise_hu: float) -> Iterator[str]:
    if preprocess.noise_hu(ct, matrix=_MATRIX) > _NOISE_LIMIT_HU:
        yield (
            f"noise of {noise_hu:.0f} HU, more than the networks were shown to tolerate in pixels "
            "of this size: the marked infection may be noise"
        )
