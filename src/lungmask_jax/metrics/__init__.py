"""Agreement of a mask with the truth.

Masks are boolean or 0/1 arrays of the same shape. Overlap is computed from counts, and counts of
parts add up to the counts of the whole. Surface metrics are computed from distances, once.

Empty masks: two empty masks agree perfectly. Dice, IoU, F-beta, surface Dice, volume similarity,
lesion F1, MCC and kappa are then 1 and distances 0. If one of two is empty, these are 0 and
distances infinite. A ratio without anything to count is undefined, NaN: sensitivity
without a positive voxel in the truth, precision without one in the prediction, specificity without
a negative one in the truth, the volume error without a true volume. Means over cases should say how
many were undefined.
"""

from lungmask_jax.metrics._lesions import Lesions, lesions
from lungmask_jax.metrics._overlap import (
    Counts,
    counts,
    dice,
    f_beta,
    iou,
    overlap,
    precision,
    sensitivity,
    specificity,
)
from lungmask_jax.metrics._probability import Reliability, brier, calibration_error, reliability
from lungmask_jax.metrics._scores import scores
from lungmask_jax.metrics._structure import (
    Curves,
    mean_absolute_error,
    s_measure,
    stretched,
    threshold_curves,
)
from lungmask_jax.metrics._surface import SurfaceDistances, surface_distances

__all__ = [
    "Counts",
    "Curves",
    "Lesions",
    "Reliability",
    "SurfaceDistances",
    "brier",
    "calibration_error",
    "counts",
    "dice",
    "f_beta",
    "iou",
    "lesions",
    "mean_absolute_error",
    "overlap",
    "precision",
    "reliability",
    "s_measure",
    "scores",
    "sensitivity",
    "specificity",
    "stretched",
    "surface_distances",
    "threshold_curves",
]
