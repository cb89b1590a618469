"""From a raw mask to a clean one: components, holes, and which lung is which.

Masks are ``(slices, rows, columns)`` in canonical order (`Volume`): columns run from the patient's
right to the left, so the right lung has the lower columns.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

from lungmask_jax.labels import CONSOLIDATION, GROUND_GLASS, LEFT, RIGHT
from lungmask_jax.spec import PostprocessSpec
from lungmask_jax.volume import Volume

__all__ = [
    "clean_infection",
    "clean_lungs",
    "filled",
    "lesions",
    "sides",
    "without_gas",
    "without_small",
]

_COARSE_MM = 2.5
_SMALL_SHARE = 0.05
_CROSSING = 0.2
_GAS_HU = -960
_BONE_HU = 400
_GAS_REACH_MM = 1.5
_CONSOLIDATION_HU = -400.0
_LESION_MM = 1.5
_FACES = ndimage.generate_binary_structure(3, 1)
_FULL = ndimage.generate_binary_structure(3, 3)


def clean_lungs(mask: Volume, spec: PostprocessSpec, *, midline: float | None = None) -> Volume:
    """Lungs out of a raw lung mask: small pieces dropped, sides told apart, holes filled.

    A piece is small below a twentieth of the largest one, on its side.

    Args:
        mask: Boolean or 0/1.
        spec: Smallest component to keep, and whether holes are filled.
        midline: The body's middle column; the middle of the slice without one.

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
    box = (slice(None), *_bounds(mask.array != 0)[1:])  # all slices: one alone has no volume
    part = Volume(mask.array[box], mask.affine)
    middle = (mask.shape[2] - 1) / 2 if midline is None else midline
    kept = without_small(part, min_ml=spec.min_component_ml, min_share=_SMALL_SHARE)
    labels = sides(kept, midline=middle - box[2].start)
    inside = result[box]
    for side in (RIGHT, LEFT):
        lung = without_small(part.with_array(labels.array == side), min_share=_SMALL_SHARE)
        lung = filled(lung) if spec.fill_holes else lung
        inside[lung.array & (inside == 0)] = side
    return mask.with_array(result)


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
    inner = _without_ends(lungs, spec.rim_mm)
    inside = mask.with_array((mask.array != 0) & inner)
    kept = without_small(inside, min_ml=spec.min_component_ml)
    if spec.fill_holes:
        kept = mask.with_array(filled(kept).array & inner)
    return mask.with_array(kept.array.astype(np.uint8))


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
    inner: np.ndarray = ndimage.minimum_filter1d(inside, 2 * reach + 1, axis=0, mode="nearest")
    return inner if inner.any() else inside


def lesions(infection: Volume, ct: Volume) -> Volume:
    """Infection by its type: what is denser than -400 HU over some millimetres is consolidation.

    Small vessels in ground glass stay ground glass, those of some millimetres do not. The limit
    agrees best with the radiologist who labelled the slices of COVID-SemiSeg; the same one is best
    in every fold of a cross-validation, give or take 25 HU.

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
    found = infection.array != 0
    result = np.zeros(infection.shape, np.uint8)
    if not found.any():
        return infection.with_array(result)
    sigma = [0.0, *(_LESION_MM / mm for mm in infection.spacing[1:])]
    box = _grown(_bounds(found), sigma)
    mean = ndimage.gaussian_filter(ct.array[box].astype(np.float32), sigma)
    types = np.where(mean > _CONSOLIDATION_HU, CONSOLIDATION, GROUND_GLASS)
    result[box] = types * found[box]
    return infection.with_array(result)


def without_small(mask: Volume, *, min_ml: float = 0.0, min_share: float = 0.0) -> Volume:
    """A mask without its small connected components (26 neighbours).

    Args:
        mask: Boolean or 0/1.
        min_ml: Components below this volume go. In a scan of one slice nothing goes by volume.
        min_share: Components below this share of the largest one go.

    Returns:
        Boolean.

    Example:
        >>> mask = np.zeros((2, 4, 8), bool)
        >>> mask[:, :, :3] = mask[0, 0, 7] = True
        >>> without_small(Volume(mask), min_share=0.5).array[0, 0].astype(int).tolist()
        [1, 1, 1, 0, 0, 0, 0, 0]
    """
    found = mask.array != 0
    smallest = min_ml / mask.voxel_ml if len(mask) > 1 else 0.0
    if not found.any() or (smallest <= 1 and min_share <= 0):
        return mask.with_array(found)
    return mask.with_array(_large(found, smallest, min_share))


def without_gas(mask: Volume, ct: Volume) -> Volume:
    """A lung mask without the air of airways, stomach, bowel and room.

    Lung holds tissue, and its mean over some millimetres is above -960 HU even in emphysema; gas
    alone is near -1000. Gas of more than 1 ml (150 mm² in a single slice) goes, with a rim of some
    millimetres. Bullae go too, and `filled`
    brings them back. A scan without bone (nothing above 400 HU) has been through a window, where
    lung may be as dark as air, and stays as it is; so does one whose lungs are all black.

    Args:
        mask: Boolean or 0/1.
        ct: The scan in HU.

    Returns:
        Boolean.

    Example:
        >>> hu = np.full((1, 64, 128), -850, np.int16)
        >>> hu[:, :, 64:], hu[:, 0, 0] = -1000, 700
        >>> left = without_gas(Volume(np.ones(hu.shape, bool)), Volume(hu))
        >>> left.array[0, 32, ::32].astype(int).tolist()
        [1, 1, 0, 0]
    """
    found = mask.array != 0
    if not found.any() or ct.array.max() < _BONE_HU:
        return mask.with_array(found)
    box = _bounds(found)
    inside, hu = found[box], ct.array[box].astype(np.float32)
    lung = np.count_nonzero(inside & (hu > _GAS_HU) & (hu < -300))
    if lung < 0.2 * np.count_nonzero(inside):
        return mask.with_array(found)
    _, down, across = mask.spacing
    area = down * across
    reach = [max(1, round(_GAS_REACH_MM / mm)) for mm in (down, across)]
    mean = ndimage.uniform_filter(hu, (1, *(2 * pixels + 1 for pixels in reach)), mode="nearest")
    gas = _large(inside & (mean < _GAS_HU), 1 / mask.voxel_ml if len(mask) > 1 else 150 / area)
    rim = ndimage.binary_dilation(gas, _FACES[1:2], iterations=4 * max(reach))
    result = found.copy()
    result[box] &= ~rim
    return mask.with_array(result)


def filled(mask: Volume, *, max_hole_mm2: float = 200.0) -> Volume:
    """A mask with its cavities filled.

    A cavity is closed in three dimensions; the first and last slice count as open, so a liver dome
    cut by the edge of the scan is none. Small holes of a single slice (vessels) are filled too.

    Args:
        mask: Boolean or 0/1.
        max_hole_mm2: Largest hole of a single slice that is filled.

    Returns:
        Boolean.

    Example:
        >>> ring = np.ones((3, 5, 5), bool)
        >>> ring[1, 2, 2] = False
        >>> filled(Volume(ring)).array.all()
        np.True_
    """
    result = mask.array != 0
    if not result.any():
        return mask.with_array(result)
    box = _bounds(result)
    region = result[box]
    region |= _enclosed(region, open_ends=True)
    _, down, across = mask.spacing
    for plane in region:
        plane |= _enclosed(plane, largest=max_hole_mm2 / (down * across))
    return mask.with_array(result)


def sides(mask: Volume, *, midline: float | None = None) -> Volume:
    """Which lung every voxel of a lung mask belongs to.

    On a coarse copy the mask is thinned, step by step, until it falls into parts on both sides of
    the midline; these are the seeds. A component of the full mask takes the side of the nearest
    seeds, and one that reaches both (lungs that touch) is divided between them. A single lung
    takes the side of the midline it lies on.

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
    found = mask.array != 0
    labels = np.zeros(mask.shape, np.uint8)
    if not found.any():
        return mask.with_array(labels)
    middle = (mask.shape[2] - 1) / 2 if midline is None else midline
    steps = [max(1, int(_COARSE_MM / mm)) for mm in mask.spacing]
    coarse = found[:: steps[0], :: steps[1], :: steps[2]]
    if not coarse.any():  # specks between the points of the coarse copy
        steps, coarse = [1, 1, 1], found
    spacing = [mm * step for mm, step in zip(mask.spacing, steps, strict=True)]
    seeds = _seeds(coarse, spacing, middle / steps[2])
    nearest = ndimage.distance_transform_edt(
        seeds == 0, sampling=spacing, return_distances=False, return_indices=True
    )
    side = seeds[tuple(nearest)]
    for axis, step in enumerate(steps):
        side = side.repeat(step, axis).take(range(mask.shape[axis]), axis)
    components, count = ndimage.label(found, structure=_FACES)
    right = np.bincount(components[side == RIGHT], minlength=count + 1)
    voxels = np.bincount(components.ravel(), minlength=count + 1)
    share = right / np.maximum(voxels, 1)
    whole = np.select([share > 0.97, share < 0.03], [RIGHT, LEFT], 0).astype(np.uint8)
    labels = np.where(whole[components] > 0, whole[components], side)
    labels[~found] = 0
    return mask.with_array(labels)


def _large(mask: np.ndarray, smallest: float, min_share: float = 0.0) -> np.ndarray:
    """Components of so many voxels, and of such a share of the largest one."""
    components, _ = ndimage.label(mask, structure=_FULL)
    voxels = np.bincount(components.ravel())
    voxels[0] = 0
    kept: np.ndarray = (voxels >= max(smallest, min_share * voxels.max(), 1))[components]
    return kept


def _grown(box: tuple[slice, slice, slice], sigma: Sequence[float]) -> tuple[slice, ...]:
    """The box and as much around it as a Gaussian looks at."""
    reach = [math.ceil(4 * one) for one in sigma]
    return tuple(
        slice(max(side.start - more, 0), side.stop + more)
        for side, more in zip(box, reach, strict=True)
    )


def _bounds(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box around a boolean mask; everything if it is empty."""
    flat = np.any(mask, axis=0)
    lines = (np.any(mask, axis=(1, 2)), np.any(flat, axis=1), np.any(flat, axis=0))
    places = [np.flatnonzero(line) for line in lines]
    first, second, third = (
        slice(int(place[0]), int(place[-1]) + 1) if len(place) else slice(0, None)
        for place in places
    )
    return first, second, third


def _seeds(mask: np.ndarray, spacing: list[float], middle: float) -> np.ndarray:
    """Sure parts of the right and the left lung; one side only if the mask never falls apart.

    Parts that keep to one side of the midline come first. Lungs that still touch do not, whatever
    else lies beside them. In rotated patients a lung may cross: then any parting will do.
    """
    parted: np.ndarray | None = None
    for core in _thinned(mask, spacing):
        components, count = ndimage.label(core, structure=_FACES)
        voxels = np.bincount(components.ravel(), minlength=count + 1)
        large = 1 + np.flatnonzero(voxels[1:] >= 0.05 * voxels[1:].sum())
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
    if parted is not None:
        return parted
    center = ndimage.center_of_mass(mask)[2]
    return mask * np.uint8(RIGHT if center < middle else LEFT)


def _thinned(mask: np.ndarray, spacing: list[float]) -> Iterator[np.ndarray]:
    """The mask, then what lies ever deeper inside it within each slice."""
    yield mask
    depth = np.stack([ndimage.distance_transform_edt(s, sampling=spacing[1:]) for s in mask])
    for radius_mm in (2, 4, 6, 9, 12, 16, 20):
        core = depth > radius_mm
        if not core.any():
            return
        yield core


def _enclosed(
    mask: np.ndarray, *, open_ends: bool = False, largest: float | None = None
) -> np.ndarray:
    """Background that the outside does not reach through faces."""
    width = [(0 if open_ends and axis == 0 else 1,) * 2 for axis in range(mask.ndim)]
    outside = np.pad(~mask, width, constant_values=True)
    components, count = ndimage.label(outside)
    hole = np.ones(count + 1, bool)
    hole[0] = False
    for axis in range(mask.ndim):
        hole[np.unique(components.take((0, -1), axis))] = False
    if largest is not None:
        hole &= np.bincount(components.ravel(), minlength=count + 1) <= largest
    inner = tuple(slice(low, -high or None) for low, high in width)
    enclosed: np.ndarray = hole[components][inner]
    return enclosed
