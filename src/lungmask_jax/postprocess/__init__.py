"""Post-processing of masks: components, holes, right and left lung, limits by other masks.

Masks are ``(slices, rows, columns)`` in canonical order (`Volume`): columns run from the patient's
right to the left, so the right lung has the lower columns. A bundle lists the steps that make its
mask, with all their parameters; `registry` has those of this library and of packages.
"""

from lungmask_jax.postprocess._air import with_aerated
from lungmask_jax.postprocess._bowel import without_bowel
from lungmask_jax.postprocess._components import fill_holes, largest_components
from lungmask_jax.postprocess._decision import Decision, calibration, most_likely, threshold
from lungmask_jax.postprocess._inside import lesion_types, within
from lungmask_jax.postprocess._regions import fill_outer, join_regions, solid_regions
from lungmask_jax.postprocess._sides import sides
from lungmask_jax.postprocess._steps import (
    Scan,
    applied,
    complete,
    crop,
    decision,
    onto_scan,
    registry,
)

__all__ = [
    "Decision",
    "Scan",
    "applied",
    "calibration",
    "complete",
    "crop",
    "decision",
    "fill_holes",
    "fill_outer",
    "join_regions",
    "largest_components",
    "lesion_types",
    "most_likely",
    "onto_scan",
    "registry",
    "sides",
    "solid_regions",
    "threshold",
    "with_aerated",
    "within",
    "without_bowel",
]
