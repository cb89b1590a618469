"""Right and left lung."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lungmask_jax.labels import LEFT, RIGHT
from lungmask_jax.postprocess._components import FACES, by_component, labelled, sizes
from lungmask_jax.volume import Volume


class _Limits(NamedTuple):
    """The parameters of `sides`."""

    coarse_mm: float
    depths_mm: Sequence[float]
    seed_share: float
    crossing_share: float
    both_sides_share: float


def sides(
    mask: Volume,
    *,
    midline: float | None = None,
    coarse_mm: float = 2.5,
    depths_mm: Sequence[float] = (2.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 27.0, 36.0, 48.0, 64.0),
    seed_share: float = 0.05,
    crossing_share: float = 0.2,
    both_sides_share: float = 0.3,
    mixed_share: float = 0.03,
) -> Volume:
    """Labels each voxel of a lung mask as right or left lung.

    On a coarse copy the mask is eroded, step by step, until it separates into parts on both sides
    of the midline; these are the seeds. A component of the full mask gets the side of the nearest
    seeds, and one that reaches both (lungs that touch) is divided between them. A mask that never
    separates is divided at the midline if 30 % or more lies on either side of it; else it is a
    single lung on its side.

    The parameters were chosen on the real scans of this project, including prone and rotated
    patients, and on phantoms whose lungs touch.

    Args:
        mask: Boolean or 0/1.
        midline: The body's middle column; by default the middle of the slice.
        coarse_mm: Voxel size of the coarse copy.
        depths_mm: Distances of the erosion, step by step.
        seed_share: Smallest seed, as a share of the largest part.
        crossing_share: Largest share of a seed beyond the midline, at first.
        both_sides_share: Smallest share on either side for two lungs in a mask that never
            separates.
        mixed_share: Smallest share of either side for a component to be divided.

    Returns:
        uint8: 0 background, 1 right, 2 left.

    Example:
        >>> touching = np.zeros((1, 40, 80), bool)
        >>> touching[:, 8:32, 8:38] = touching[:, 8:32, 42:72] = touching[:, 10:12, 38:42] = True
        >>> sides(Volume(touching)).array[0, 11, 36:44].tolist()
        [1, 1, 1, 1, 2, 2, 2, 2]
    """
    found = mask.array.astype(bool, copy=False)
    if not found.any():
        return mask.with_array(np.zeros(mask.shape, np.uint8))
    middle = (mask.shape[2] - 1) / 2 if midline is None else midline
    limits = _Limits(coarse_mm, depths_mm, seed_share, crossing_share, both_sides_share)
    side = _nearest_sides(found, mask.spacing, middle, limits)
    components, count = labelled(found, FACES)
    right = sizes(components, count, where=side == RIGHT)
    share = right / np.maximum(sizes(components, count), 1)
    whole = np.select([share > 1 - mixed_share, share < mixed_share], [RIGHT, LEFT], 0).astype(
        np.uint8
    )
    labels = by_component(whole, components)
    np.copyto(labels, side, where=labels == 0)
    labels *= found
    return mask.with_array(labels)


def _nearest_sides(
    found: np.ndarray, spacing: Sequence[float], middle: float, limits: _Limits
) -> np.ndarray:
    """For every voxel the side of the nearest seed, from a coarse copy."""
    steps = [max(1, int(limits.coarse_mm / mm)) for mm in spacing]
    coarse = found[:: steps[0], :: steps[1], :: steps[2]]
    if not coarse.any():  # specks between the points of the coarse copy
        steps, coarse = [1, 1, 1], found
    apart = [mm * step for mm, step in zip(spacing, steps, strict=True)]
    seeds = _seeds(coarse, apart, middle / steps[2], limits)
    nearest = ndimage.distance_transform_edt(
        seeds == 0, sampling=apart, return_distances=False, return_indices=True
    )
    side: np.ndarray = seeds[tuple(nearest)]
    for axis, step in enumerate(steps):
        side = side.repeat(step, axis).take(range(found.shape[axis]), axis)
    return side


def _seeds(mask: np.ndarray, spacing: list[float], middle: float, limits: _Limits) -> np.ndarray:
    """Sure parts of the right and the left lung; one side only if the mask lies on that side.

    Parts that keep to one side of the midline come first. Lungs that still touch do not, whatever
    else lies beside them. In rotated patients a lung may cross: then any parting will do.
    """
    parted: np.ndarray | None = None
    for core in _thinned(mask, spacing, limits.depths_mm):
        components, count = ndimage.label(core, structure=FACES)
        voxels = np.bincount(components.ravel(), minlength=count + 1)
        large = 1 + np.flatnonzero(voxels[1:] >= limits.seed_share * voxels[1:].max(initial=1))
        columns = np.array([c for *_, c in ndimage.center_of_mass(core, components, large)])
        if not ((columns < middle).any() and (columns > middle).any()):
            continue
        table = np.zeros(count + 1, np.uint8)
        table[large] = np.where(columns < middle, RIGHT, LEFT)
        placed: np.ndarray = table[components]
        before = components[:, :, : math.ceil(middle)]
        right = np.bincount(before.ravel(), minlength=count + 1)[large] / voxels[large]
        if (np.minimum(right, 1 - right) < limits.crossing_share).all():
            return placed
        parted = placed if parted is None else parted
    return _by_midline(mask, middle, limits.both_sides_share) if parted is None else parted


def _by_midline(mask: np.ndarray, middle: float, both_sides_share: float) -> np.ndarray:
    """What never falls apart: two lungs where much lies on both sides of the midline, else one."""
    before = np.arange(mask.shape[2]) < middle
    share = np.count_nonzero(mask[:, :, before]) / np.count_nonzero(mask)
    if min(share, 1 - share) < both_sides_share:
        return mask * np.uint8(RIGHT if share > 0.5 else LEFT)
    return mask * np.where(before, RIGHT, LEFT).astype(np.uint8)


def _thinned(
    mask: np.ndarray, spacing: list[float], depths_mm: Sequence[float]
) -> Iterator[np.ndarray]:
    """The mask, then what lies ever deeper inside it within each slice."""
    yield mask
    depth = np.stack([ndimage.distance_transform_edt(s, sampling=spacing[1:]) for s in mask])
    for radius_mm in depths_mm:
        core = depth > radius_mm
        if not core.any():
            return
        yield core
