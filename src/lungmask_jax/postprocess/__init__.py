"""From a raw mask to a clean one: components, holes, and which lung is which.

Masks are ``(slices, rows, columns)`` in canonical order (`Volume`): columns run from the patient's
right to the left, so the right lung has the lower columns.
"""

from lungmask_jax.postprocess._air import with_aerated
from lungmask_jax.postprocess._bowel import without_bowel
from lungmask_jax.postprocess._components import filled, without_small
from lungmask_jax.postprocess._infection import clean_infection, lesions
from lungmask_jax.postprocess._lungs import clean_lungs, sides

__all__ = [
    "clean_infection",
    "clean_lungs",
    "filled",
    "lesions",
    "sides",
    "with_aerated",
    "without_bowel",
    "without_small",
]
