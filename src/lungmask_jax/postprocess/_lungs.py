"""Which lung is which."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

from lungmask_jax.labels import LEFT, RIGHT
from lungmask_jax.postprocess._bowel import without_bowel
from lungmask_jax.postprocess._components import (
    FACES,
    bounds,
    filled,
    labelled,
    looked_up,
    sizes,
    without_small,
)
from lungmask_jax.spec import PostprocessSpec
from lungmask_jax.volume import Volume

_COARSE_MM = 2.5
_SMALL_SHARE = 0.05
_CROSSING = 0.2
_BOTH_SIDES = 0.3
_DEPTHS_MM = (2, 4, 6, 9, 12, 16, 20, 27, 36, 48, 64)


def clean_lungs(
    mask: Volume,
    spec: PostprocessSpec,
    *,
    midline: float | None = None,
    middle_row: float | None = None,
) -> Volume:
    """Lungs out of a raw lung mask: no small pieces, no bowel, sides told apart, holes filled.

    A piece is small below a twentieth of the largest one, on its side.

    Args:
        mask: Boolean or 0/1.
        spec: Smallest component to keep, and whether holes are filled.
        midline: The body's middle column; the middle of the slice without one.
        middle_row: The row halfway from its front to its back, for `without_bowel`.

    Returns:
        uint8: 0 background, 1 right, 2 left. An empty mask stays empty.

    Example:
        >>> raw = np.zeros((1, 32, 64), np.uint8)
        >>> raw[:, 8:24, 8:24] = raw[:, 8:24, 40:56] = 1
        >>> lungs = clean_lungs(Volume(raw), PostprocessSpec())
        >>> lungs.array[0, 16, ::16].tolist()
        [0, 1, 0, 2]
    """
    result = np.zeros(mask.shape, np.uint8)
    box = (slice(None), *bounds(mask.array)[1:])  # all slices: one alone has no volume
    part = Volume(mask.array[box], mask.affine)
    middle = (mask.shape[2] - 1) / 2 if midline is None else midline
    row = (mask.shape[1] - 1) / 2 if middle_row is None else middle_row
    kept = without_small(part, min_ml=spec.min_component_ml, min_share=_SMALL_SHARE)
    kept = without_bowel(kept, middle_row=row - box[1].start)
    labels = sides(kept, midline=middle - box[2].start)
    del kept, part  # each is as large as the lungs
    inside = result[box]
    for side in (RIGHT, LEFT):
        lung = without_small(labels.with_array(labels.array == side), min_share=_SMALL_SHARE)
        lung = filled(lung) if spec.fill_holes else lung
        inside[lung.array & (inside == 0)] = side
    return mask.with_array(result)


def sides(mask: Volume, *, midline: float | None = None) -> Volume:
    """Which lung every voxel of a lung mask belongs to.

    On a coarse copy the mask is thinned, step by step, until it falls into parts on both sides of
    the midline; these are the seeds. A component of the full mask takes the side of the nearest
    seeds, and one that reaches both (lungs that touch) is divided between them. What never falls
    apart is divided at the midline if 30 % or more lies on either side of it; else it is a single
    lung, of the side on which it lies.

    Args:
        mask: Boolean or 0/1.
        midline: The body's middle column; the middle of the slice without one.

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
    side = _nearest_sides(found, mask.spacing, middle)
    components, count = labelled(found, FACES)
    right = sizes(components, count, where=side == RIGHT)
    share = right / np.maximum(sizes(components, count), 1)
    whole = np.select([share > 0.97, share < 0.03], [RIGHT, LEFT], 0).astype(np.uint8)
    labels = looked_up(whole, components)
    np.copyto(labels, side, where=labels == 0)
    labels *= found
    return mask.with_array(labels)


def _nearest_sides(found: np.ndarray, spacing: Sequence[float], middle: float) -> np.ndarray:
    """For every voxel the side of the nearest seed, from a coarse copy."""
    steps = [max(1, int(_COARSE_MM / mm)) for mm in spacing]
    coarse = found[:: steps[0], :: steps[1], :: steps[2]]
    if not coarse.any():  # specks between the points of the coarse copy
        steps, coarse = [1, 1, 1], found
    apart = [mm * step for mm, step in zip(spacing, steps, strict=True)]
    seeds = _seeds(coarse, apart, middle / steps[2])
    nearest = ndimage.distance_transform_edt(
        seeds == 0, sampling=apart, return_distances=False, return_indices=True
    )
    side: np.ndarray = seeds[tuple(nearest)]
    for axis, step in enumerate(steps):
        side = side.repeat(step, axis).take(range(found.shape[axis]), axis)
    return side


def _seeds(mask: np.ndarray, spacing: list[float], middle: float) -> np.ndarray:
    """Sure parts of the right and the left lung; one side only if the mask lies on that side.

    Parts that keep to one side of the midline come first. Lungs that still touch do not, whatever
    else lies beside them. In rotated patients a lung may cross: then any parting will do.
    """
    parted: np.ndarray | None = None
    for core in _thinned(mask, spacing):
        components, count = ndimage.label(core, structure=FACES)
        voxels = np.bincount(components.ravel(), minlength=count + 1)
        large = 1 + np.flatnonzero(voxels[1:] >= _SMALL_SHARE * voxels[1:].max(initial=1))
        columns = np.array([c for *_, c in ndimage.center_of_mass(core, components, large)])
        if not ((columns < middle).any() and (columns > middle).any()):
            continue
        table = np.zeros(count + 1, np.uint8)
        table[large] = np.where(columns < middle, RIGHT, LEFT)
        placed: np.ndarray = table[components]
        before = components[:, :, : math.ceil(middle)]
        right = np.bincount(before.ravel(), minlength=count + 1)[large] / voxels[large]
        if (np.minimum(right, 1 - right) < _CROSSING).all():
            return placed
        parted = placed if parted is None else parted
    return _by_midline(mask, middle) if parted is None else parted


def _by_midline(mask: np.ndarray, middle: float) -> np.ndarray:
    """What never falls apart: two lungs where much lies on both sides of the midline, else one."""
    before = np.arange(mask.shape[2]) < middle
    share = np.count_nonzero(mask[:, :, before]) / np.count_nonzero(mask)
    if min(share, 1 - share) < _BOTH_SIDES:
        return mask * np.uint8(RIGHT if share > 0.5 else LEFT)
    return mask * np.where(before, RIGHT, LEFT).astype(np.uint8)


def _thinned(mask: np.ndarray, spacing: list[float]) -> Iterator[np.ndarray]:
    """The mask, then what lies ever deeper inside it within each slice."""
    yield mask
    depth = np.stack([ndimage.distance_transform_edt(s, sampling=spacing[1:]) for s in mask])
    for radius_mm in _DEPTHS_MM:
        core = depth > radius_mm
        if not core.any():
            return
        yield core
