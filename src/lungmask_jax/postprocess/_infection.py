"""Infection inside the lungs, and its types."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from lungmask_jax.labels import CONSOLIDATION, GROUND_GLASS
from lungmask_jax.postprocess._components import bounds, filled, without_small
from lungmask_jax.spec import PostprocessSpec
from lungmask_jax.volume import Volume

_CONSOLIDATION_HU = -400.0
_LESION_MM = 1.5


def clean_infection(mask: Volume, lungs: Volume, spec: PostprocessSpec) -> Volume:
    """Infection out of a raw mask: inside the lungs, not at their ends, small specks dropped.

    Args:
        mask: Boolean or 0/1.
        lungs: Of the same scan; what is not 0 is lung.
        spec: Rim to leave out, smallest component to keep, and whether holes are filled.

    Returns:
        uint8, 0 or 1.

    Example:
        >>> raw, lungs = np.ones((1, 4, 4), np.uint8), np.eye(4, dtype=np.uint8)[None]
        >>> clean_infection(Volume(raw), Volume(lungs), PostprocessSpec()).array.sum()
        np.uint64(4)
    """
    result = np.zeros(mask.shape, np.uint8)
    box = (slice(None), *bounds(lungs.array)[1:])  # all slices: the ends of the scan matter
    inner = _without_ends(Volume(lungs.array[box], lungs.affine), spec.rim_mm)
    inside = np.logical_and(mask.array[box], inner)
    kept = without_small(Volume(inside, mask.affine), min_ml=spec.min_component_ml)
    result[box] = filled(kept).array & inner if spec.fill_holes else kept.array
    return mask.with_array(result)


def _without_ends(lungs: Volume, rim_mm: float) -> np.ndarray:
    """Lung that goes on for `rim_mm` above and below; at the ends of the scan it is taken to.

    No more than a tenth of the slices with lung, or one, are left out at each end: the spacing of
    images is not known. Lung that would vanish altogether stays.
    """
    inside: np.ndarray = lungs.array != 0
    slices = int(np.count_nonzero(inside.any(axis=(1, 2))))
    reach = min(math.ceil(rim_mm / lungs.spacing[0] - 1e-6), max(slices // 10, 1))
    if reach == 0 or not slices:
        return inside
    inner = inside.copy()
    for apart in range(1, reach + 1):
        inner[apart:] &= inside[:-apart]
        inner[:-apart] &= inside[apart:]
    return inner if inner.any() else inside


def lesions(infection: Volume, ct: Volume) -> Volume:
    """Infection by its type: what is denser than -400 HU over some millimetres is consolidation.

    What lies beside the infection, such as the chest wall, does not count. Small vessels in ground
    glass stay ground glass, those of some millimetres do not. The limit agrees best with the
    radiologist who labelled the slices of COVID-SemiSeg; the same one is best in every fold of a
    cross-validation, give or take 25 HU.

    Args:
        infection: What is not 0 counts.
        ct: The scan in HU; a wrong window of images moves the limit.

    Returns:
        uint8: 1 ground glass, 2 consolidation, 0 elsewhere.

    References:
        Hansell et al., Fleischner Society: Glossary of Terms for Thoracic Imaging, Radiology 2008,
        10.1148/radiol.2462070712.

    Example:
        >>> hu = np.full((1, 8, 16), -600, np.int16)
        >>> hu[:, :, 8:] = 0
        >>> lesions(Volume(np.ones(hu.shape, np.uint8)), Volume(hu)).array[0, 4, ::5].tolist()
        [1, 1, 2, 2]
    """
    types = np.zeros(infection.shape, np.uint8)
    sigma = [_LESION_MM / mm for mm in infection.spacing[1:]]
    for found, plane, hu in zip(infection, types, ct, strict=True):
        there = found != 0
        if there.any():
            box = _around(there, sigma)
            dense = _mean(hu[box], there[box], sigma) > _CONSOLIDATION_HU
            plane[box] = np.where(dense, CONSOLIDATION, GROUND_GLASS) * there[box]
    return infection.with_array(types)


def _around(mask: np.ndarray, sigma: Sequence[float]) -> tuple[slice, slice]:
    """A box around a mask of one slice, and as much around it as a Gaussian looks at."""
    _, *sides = bounds(mask[None])
    down, across = (
        slice(max(side.start - math.ceil(4 * one), 0), side.stop + math.ceil(4 * one))
        for side, one in zip(sides, sigma, strict=True)
    )
    return down, across


def _mean(hu: np.ndarray, mask: np.ndarray, sigma: Sequence[float]) -> np.ndarray:
    """The mean HU of what the mask holds around each pixel, with the weights of a Gaussian."""
    inside = mask.astype(np.float32)
    total, weight = (ndimage.gaussian_filter(one, sigma) for one in (hu * inside, inside))
    mean: np.ndarray = total / np.maximum(weight, 1e-6)
    return mean
