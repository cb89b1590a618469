"""Bowel in a lung mask, recognized by shape, position and connection, never by HU."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from lungmask_jax.postprocess._components import FACES, bounds, labelled, sizes
from lungmask_jax.volume import Volume


def without_bowel(
    mask: Volume,
    *,
    middle_row: float | None = None,
    neck_mm: float = 4.0,
    above_base_mm: float = 10.0,
    coarse_mm: float = 4.0,
) -> Volume:
    """A lung mask without the gas of stomach and bowel below the lungs.

    Lung reaches lowest at the back. So if a mask reaches lower in front, and only then, it is
    eroded by 4 mm: parts that separate, lie in front and end less than 10 mm above the base of the
    largest part are removed, with the voxels nearest to them. Parts connected by more than 8 mm
    stay, such as the front of a lung above an effusion. A single slice does not change, nor does a
    stack with voxels of 1 x 1 x 1 mm: images have that spacing, because theirs is unknown.

    The parameters were chosen on the real scans of this project with gas below the lungs, so that
    no lung is lost in them.

    Args:
        mask: Boolean or 0/1.
        middle_row: Halfway from the body's front to its back; by default the middle of the slice.
        neck_mm: Distance of the erosion.
        above_base_mm: Largest distance of the end of bowel above the base of the lungs.
        coarse_mm: Voxel size of the coarse copy in use.

    Returns:
        Boolean.

    Example:
        >>> mask = np.zeros((20, 40, 40), bool)
        >>> mask[10:, 5:35, 5:35] = mask[:8, 4:16, 4:16] = True
        >>> left = without_bowel(Volume(mask, np.diag([3.0, 3.0, 3.0, 1.0]))).array
        >>> left[:10].any(), left[10:].sum() == mask[10:].sum()
        (np.False_, np.True_)
    """
    found: np.ndarray = mask.array.astype(bool, copy=False)
    if len(mask) == 1 or not mask.has_size:
        return mask.with_array(found)
    row = (mask.shape[1] - 1) / 2 if middle_row is None else middle_row
    if _lowest(found) >= _lowest(found[:, max(int(np.ceil(row)), 0) :]):
        return mask.with_array(found)
    box = bounds(found)
    left = found.copy()
    left[box] &= ~_nearest_bowel(
        found[box], mask.spacing, row - box[1].start, (neck_mm, above_base_mm, coarse_mm)
    )
    return mask.with_array(left)


def _nearest_bowel(
    found: np.ndarray, spacing: Sequence[float], row: float, lengths_mm: tuple[float, float, float]
) -> np.ndarray:
    """What is nearer to a piece of bowel than to one of lung, from a coarse copy."""
    neck_mm, above_base_mm, coarse_mm = lengths_mm
    steps = [max(1, int(coarse_mm / mm)) for mm in spacing]
    coarse = found[:: steps[0], :: steps[1], :: steps[2]]
    apart = [mm * step for mm, step in zip(spacing, steps, strict=True)]
    pieces, bowel = _bowel(coarse, apart, row / steps[1], neck_mm, above_base_mm)
    if not bowel.any():
        return np.zeros(found.shape, bool)
    nearest = ndimage.distance_transform_edt(
        pieces == 0, sampling=apart, return_distances=False, return_indices=True
    )
    gone: np.ndarray = bowel[pieces[tuple(nearest)]]
    for axis, step in enumerate(steps):
        gone = gone.repeat(step, axis).take(range(found.shape[axis]), axis)
    return gone


def _lowest(found: np.ndarray) -> int:
    """The first slice with anything in it; past the last one if there is none."""
    there = found.any(axis=(1, 2))
    return int(there.argmax()) if there.any() else len(found)


def _bowel(
    mask: np.ndarray, spacing: list[float], row: float, neck_mm: float, above_base_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Numbered pieces of the thinned mask, and for each number whether it is bowel."""
    reach = int(np.ceil(neck_mm / spacing[0]))
    ends = [(0, reach), (0, 0), (0, 0)]  # above the scan the lungs go on
    depth = ndimage.distance_transform_edt(np.pad(mask, ends, mode="edge"), sampling=spacing)
    core = depth[: len(mask)] > neck_mm
    pieces, count = labelled(core, FACES)
    bowel = np.zeros(count + 1, bool)
    if count < 2:
        return pieces, bowel
    boxes = ndimage.find_objects(pieces)
    base = boxes[int(sizes(pieces, count)[1:].argmax())][0].start
    tops = np.array([box[0].stop for box in boxes])
    rows = np.array([r for _, r, _ in ndimage.center_of_mass(core, pieces, range(1, count + 1))])
    bowel[1:] = (tops <= base + above_base_mm / spacing[0]) & (rows < row)
    return pieces, bowel
