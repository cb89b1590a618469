"""All checks of a scan and its masks."""

from collections.abc import Mapping

from lungmask_jax import tasks
from lungmask_jax.quality._check import Check
from lungmask_jax.quality._masks import of_organ, of_parts
from lungmask_jax.quality._place import of_place
from lungmask_jax.quality._scan import of_noise, of_size, of_slices
from lungmask_jax.volume import Volume


def basic_checks(ct: Volume, masks: Mapping[str, Volume], noise_hu: float) -> tuple[Check, ...]:
    """Checks of masks by themselves, of voxels and of noise, in a scan of one slice or many.

    Their sentences are the notes of `lungmask_jax.inference.Segmentation`.

    Args:
        ct: The scan.
        masks: Masks by the name of their task.
        noise_hu: Noise of the scan.

    Returns:
        The result of each rule that applies: no lungs, one lung missing or less than half of the
        other (a third in a single slice), little lung in several slices, an impossible volume, a
        lobe missing in a volume, no voxel size, much noise.

    Example:
        >>> import numpy as np
        >>> lungs = Volume(np.array([[[1, 1, 0, 0]]], np.uint8), np.diag([5.0, 1.0, 1.0, 1.0]))
        >>> [one.note for one in basic_checks(lungs, {"lungs": lungs}, 20.0) if one.note]
        ['no left lung found: look at the picture']
    """
    of_masks = [
        check
        for name, mask in masks.items()
        for rule in (of_organ, of_parts)
        for check in rule(mask, tasks.registry[name])
    ]
    return (*of_masks, *of_size(ct), *of_noise(ct, noise_hu))


def place_checks(ct: Volume, masks: Mapping[str, Volume]) -> tuple[Check, ...]:
    """Checks of slices, and of the place of organs in their scan.

    Args:
        ct: The scan.
        masks: Masks by the name of their task.

    Returns:
        The result of each rule that applies: the number of slices and their distance; the density
        of an organ, the body around it, right and left, the ends of the scan and the edges of the
        slices; and whether what lies inside an organ follows its border.

    Example:
        >>> import numpy as np
        >>> ct = Volume(np.full((1, 8, 8), 40, np.int16), np.diag([5.0, 1.0, 1.0, 1.0]))
        >>> lungs = ct.with_array(np.ones((1, 8, 8), np.uint8))
        >>> [one.name for one in place_checks(ct, {"lungs": lungs}) if one.result == "look"]
        ['single_slice', 'lungs_density', 'lungs_field']
    """
    return (*of_slices(ct), *of_place(ct, masks))
