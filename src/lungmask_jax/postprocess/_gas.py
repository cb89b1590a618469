"""Air that is not lung."""

import numpy as np
from scipy import ndimage

from lungmask_jax.postprocess._components import FACES, bounds, large
from lungmask_jax.volume import Volume

_GAS_HU = -960
_BONE_HU = 400
_GAS_REACH_MM = 1.5


def without_gas(mask: Volume, ct: Volume) -> Volume:
    """A lung mask without the air of airways, stomach, bowel and room.

    Lung holds tissue, and its mean over some millimetres is above -960 HU even in emphysema; gas
    alone is near -1000. Gas of more than 1 ml (150 mm² in a single slice) goes, with a rim of some
    millimetres. Bullae go too, and `filled` brings them back. A scan without bone (nothing above
    400 HU) has been through a window, where lung may be as dark as air, and stays as it is; so does
    one whose lungs are all black.

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
    found: np.ndarray = mask.array != 0
    if not found.any() or ct.array.max() < _BONE_HU:
        return mask.with_array(found)
    box = bounds(found)
    inside, hu = found[box], ct.array[box]
    if _share_of_tissue(hu, inside) < 0.2:
        return mask.with_array(found)
    _, down, across = mask.spacing
    reach = [max(1, round(_GAS_REACH_MM / mm)) for mm in (down, across)]
    smallest = 1 / mask.voxel_ml if len(mask) > 1 else 150 / (down * across)
    gas = large(_black(hu, inside, reach), smallest)
    found[box] &= ~_dilated(gas, 4 * max(reach))
    return mask.with_array(found)


def _share_of_tissue(hu: np.ndarray, inside: np.ndarray) -> float:
    """How much of the mask is neither gas nor soft tissue."""
    tissue = sum(
        np.count_nonzero(there & (plane > _GAS_HU) & (plane < -300))
        for plane, there in zip(hu, inside, strict=True)
    )
    return tissue / np.count_nonzero(inside)


def _black(hu: np.ndarray, inside: np.ndarray, reach: list[int]) -> np.ndarray:
    """Where the mean over some pixels of a slice is that of gas."""
    size = [2 * pixels + 1 for pixels in reach]
    found = np.zeros(inside.shape, bool)
    for black, plane, there in zip(found, hu, inside, strict=True):
        if there.any():
            mean = ndimage.uniform_filter(plane.astype(np.float32), size, mode="nearest")
            np.logical_and(there, mean < _GAS_HU, out=black)
    return found


def _dilated(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask and what is so near in its slice, in steps along rows and columns."""
    if not mask.any():
        return mask
    result = mask.copy()
    depth, *sides = bounds(mask)
    box = (depth, *(slice(max(side.start - pixels, 0), side.stop + pixels) for side in sides))
    result[box] = ndimage.binary_dilation(mask[box], FACES[1:2], iterations=pixels)
    return result
