"""Labeled scans: lists of files, paired, checked and split by patient.

A `Case` names files and reads none, so lists are cheap; `load_case` reads one. Slices of a patient
look alike: separating them would test on training data, so splits here never do this.
"""

from lungmask_jax.data._case import Case, fingerprint, load_case
from lungmask_jax.data._folders import by_name, pair_folders, pair_masks
from lungmask_jax.data._metadata import read_metadata
from lungmask_jax.data._names import names, patient
from lungmask_jax.data._split import folds, similar_names, split

__all__ = [
    "Case",
    "by_name",
    "fingerprint",
    "folds",
    "load_case",
    "names",
    "pair_folders",
    "pair_masks",
    "patient",
    "read_metadata",
    "similar_names",
    "split",
]
