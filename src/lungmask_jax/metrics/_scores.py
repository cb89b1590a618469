"""All scores of one case."""

from collections.abc import Sequence

import numpy as np

from lungmask_jax.metrics._lesions import lesions
from lungmask_jax.metrics._overlap import counts, overlap
from lungmask_jax.metrics._surface import surface_distances


def scores(
    prediction: np.ndarray,
    target: np.ndarray,
    spacing: Sequence[float],
    *,
    tolerance_mm: float = 1.0,
    min_overlap: float = 0.1,
) -> dict[str, float]:
    """Overlap, surface, volume and lesion scores of one case; surfaces are computed once.

    Args:
        prediction: Boolean or 0/1, ``(D, H, W)`` or ``(H, W)``; one slice of a volume is taken as
            ``(H, W)``.
        target: Same shape.
        spacing: Distance of voxel centers along each axis, in mm.
        tolerance_mm: Tolerance of the surface Dice.
        min_overlap: As in `lesions`.

    Returns:
        The ratios of `overlap`, and ``hausdorff_mm``, ``hausdorff95_mm``, ``assd_mm``,
        ``surface_dice``, ``volume_ml``, ``target_ml`` (3-D only), ``lesion_f1``,
        ``lesion_sensitivity``, ``lesion_precision``.

    Raises:
        ShapeError: The shapes differ, do not fit the spacing, or a mask has values other than 0
            and 1.

    Example:
        >>> mask = np.zeros((4, 8, 8), bool)
        >>> mask[1:3, 2:6, 2:6] = True
        >>> found = scores(mask, mask, (5.0, 1.0, 1.0))
        >>> found["dice"], found["hausdorff95_mm"], found["volume_ml"]
        (1.0, 0.0, 0.16)
    """
    found = counts(prediction, target)
    result = overlap(found)
    if prediction.ndim == 3:
        voxel_ml = float(np.prod(spacing)) / 1000
        result["volume_ml"] = (found.tp + found.fp) * voxel_ml
        result["target_ml"] = (found.tp + found.fn) * voxel_ml
    if prediction.shape[0] == 1 and prediction.ndim == 3:
        prediction, target, spacing = prediction[0], target[0], spacing[1:]
    surfaces = surface_distances(prediction, target, spacing)
    detected = lesions(prediction, target, min_overlap=min_overlap)
    return result | {
        "hausdorff_mm": surfaces.hausdorff(),
        "hausdorff95_mm": surfaces.hausdorff(percent=95),
        "assd_mm": surfaces.mean(),
        "surface_dice": surfaces.dice(tolerance_mm),
        "lesion_f1": detected.f1,
        "lesion_sensitivity": detected.sensitivity,
        "lesion_precision": detected.precision,
    }
